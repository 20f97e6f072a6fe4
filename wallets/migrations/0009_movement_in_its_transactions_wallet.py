"""A movement belongs to the wallet of its transaction: one foreign key of both columns.

It replaces the two foreign keys of a movement, which could name the wallet of one
customer and the transaction of another. The unique constraint that it refers to
replaces an index: read backwards, it lists a wallet's transactions, the newest first.

It is created before the old keys are dropped, so movements always have a foreign key.
SQLite changes a table by creating it again, which would drop its triggers.
"""

import django.db.models.deletion
from django.db import IntegrityError, migrations, models

from wallets.models.composite_key import ForeignKeyConstraint
from wallets.utils.database import append_only
from wallets.utils.database.table_locks import LockTables


def check(apps, schema_editor):
    """Name a movement that breaks the rule, before anything is changed.

    MySQL and MariaDB do not roll back half a migration.
    """
    movements = apps.get_model("wallets", "movement").objects
    foreign = movements.exclude(wallet=models.F("transaction__wallet"))
    pk = foreign.values_list("pk", flat=True).first()
    if pk is not None:
        raise IntegrityError(
            f"movement {pk} is not in the wallet of its transaction: the books are damaged,"
            " `manage.py verify_ledger` names every such row"
        )


def install(apps, schema_editor):
    if schema_editor.connection.vendor == "sqlite":
        append_only.install(schema_editor.connection)


def remove(apps, schema_editor):
    if schema_editor.connection.vendor == "sqlite":
        append_only.remove(schema_editor.connection)


def without_key_of_its_own(to):
    return models.ForeignKey(
        db_constraint=False,
        db_index=False,
        on_delete=django.db.models.deletion.PROTECT,
        related_name="movements",
        to=to,
    )


class Migration(migrations.Migration):
    dependencies = [("wallets", "0008_room_for_balances")]

    operations = [
        LockTables("wallets_wallet", "wallets_transaction", "wallets_movement"),
        migrations.RunPython(check, migrations.RunPython.noop),
        migrations.RunPython(remove, install),
        migrations.AddConstraint(
            model_name="transaction",
            constraint=models.UniqueConstraint(
                fields=["wallet", "id"], name="transaction_wallet_and_id_unique"
            ),
        ),
        migrations.AddConstraint(
            model_name="movement",
            constraint=ForeignKeyConstraint(
                fields=["wallet", "transaction"],
                to_fields=["wallet", "id"],
                name="movement_in_its_transactions_wallet",
            ),
        ),
        migrations.AlterField(
            "movement", "wallet", without_key_of_its_own("wallets.wallet")
        ),
        migrations.AlterField(
            "movement", "transaction", without_key_of_its_own("wallets.transaction")
        ),
        migrations.RemoveIndex("transaction", "transaction_by_wallet"),
        migrations.RunPython(install, remove),
    ]
