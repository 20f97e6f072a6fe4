"""Who created a wallet, and one withdrawal for each key of a tenant's wallet.

The new columns have defaults in the database, so no row is rewritten but the withdrawals
from wallets of tenants. A release before this one writes such withdrawals without their
mark, so it must not run any more once there are tenants. If two withdrawals of a wallet
have one key, the migration stops: only one of them can be paid. SQLite changes a table by
creating it again, which would drop its triggers.
"""

from django.db import migrations, models
from django.db.models import Q

from wallets.utils.database import append_only
from wallets.utils.database.table_locks import LockTables


def remove_to_rebuild(apps, schema_editor):
    if schema_editor.connection.vendor == "sqlite":
        append_only.remove(schema_editor.connection)


def install_after_rebuild(apps, schema_editor):
    if schema_editor.connection.vendor == "sqlite":
        append_only.install(schema_editor.connection)


def mark(apps, schema_editor):
    wallets = apps.get_model("wallets", "wallet").objects.exclude(tenant="")
    rows = apps.get_model("wallets", "transaction").objects
    for pk in wallets.values_list("pk", flat=True).iterator():
        made = rows.filter(wallet=pk, transaction_type="WITHDRAWAL")
        made.update(from_tenants_wallet=True)


class Migration(migrations.Migration):
    dependencies = [("wallets", "0022_attempt_sent_to")]

    operations = [
        LockTables("wallets_wallet", "wallets_transaction"),
        migrations.RunPython(remove_to_rebuild, install_after_rebuild),
        migrations.AddField(
            "wallet",
            "created_by",
            models.CharField(
                db_default="client", default="client", editable=False, max_length=150
            ),
        ),
        migrations.AddField(
            "transaction",
            "from_tenants_wallet",
            models.BooleanField(db_default=False, default=False, editable=False),
        ),
        migrations.RunPython(mark, migrations.RunPython.noop),
        migrations.AddConstraint(
            "transaction",
            models.UniqueConstraint(
                condition=Q(from_tenants_wallet=True),
                fields=["idempotency_key", "wallet"],
                name="transaction_key_of_tenants_wallet_unique",
            ),
        ),
        migrations.AddConstraint(
            "transaction",
            models.CheckConstraint(
                condition=Q(from_tenants_wallet=False)
                | Q(transaction_type="WITHDRAWAL"),
                name="transaction_from_tenants_wallet_is_withdrawal",
            ),
        ),
        migrations.RunPython(install_after_rebuild, remove_to_rebuild),
    ]
