"""Tenants of wallets, and the caller of each transaction.

The new columns have defaults in the database, so no row is rewritten. Idempotency keys
and references become unique for each tenant: the new constraints are added before the
old ones are dropped. The previous release names the old constraint of keys in its
statements, so it must not run any more. SQLite changes a table by creating it again,
which would drop its triggers.
"""

from django.db import IntegrityError, migrations, models

import wallets.models.fields
from wallets.utils.database import append_only
from wallets.utils.database.table_locks import LockTables


def remove_to_rebuild(apps, schema_editor):
    if schema_editor.connection.vendor == "sqlite":
        append_only.remove(schema_editor.connection)


def install_after_rebuild(apps, schema_editor):
    if schema_editor.connection.vendor == "sqlite":
        append_only.install(schema_editor.connection)


def stop_if_there_are_tenants(apps, schema_editor):
    """Stop before anything is changed: the release before would mix the tenants.

    MySQL and MariaDB do not roll back half a migration.
    """
    for model in ("wallet", "transaction"):
        if apps.get_model("wallets", model).objects.exclude(tenant="").exists():
            raise IntegrityError("there are tenants: the release before mixes them")
    remove_to_rebuild(apps, schema_editor)


def tenant():
    return wallets.models.fields.ExactCharField(
        blank=True, db_default="", default="", editable=False, max_length=63
    )


class Migration(migrations.Migration):
    dependencies = [("wallets", "0018_corrections")]

    operations = [
        LockTables("wallets_wallet", "wallets_transaction"),
        migrations.RunPython(remove_to_rebuild, install_after_rebuild),
        migrations.AddField("wallet", "tenant", tenant()),
        migrations.AddField("transaction", "tenant", tenant()),
        migrations.AddField(
            "transaction",
            "actor",
            models.CharField(
                db_default="client", default="client", editable=False, max_length=150
            ),
        ),
        migrations.AddIndex(
            "wallet",
            models.Index(
                fields=["tenant", "created_at", "id"], name="wallet_by_tenant"
            ),
        ),
        migrations.AddConstraint(
            "transaction",
            models.UniqueConstraint(
                fields=["idempotency_key", "tenant"],
                name="transaction_idempotency_key_of_tenant_unique",
            ),
        ),
        migrations.AddConstraint(
            "wallet",
            models.UniqueConstraint(
                fields=["reference", "tenant"],
                name="wallet_reference_of_tenant_unique",
            ),
        ),
        migrations.AddConstraint(
            "wallet",
            models.UniqueConstraint(
                fields=["creation_key", "tenant"],
                name="wallet_creation_key_of_tenant_unique",
            ),
        ),
        migrations.RemoveConstraint(
            "transaction", "transaction_idempotency_key_unique"
        ),
        migrations.RemoveConstraint("wallet", "wallet_reference_unique"),
        migrations.RemoveConstraint("wallet", "wallet_creation_key_unique"),
        migrations.RunPython(install_after_rebuild, stop_if_there_are_tenants),
    ]
