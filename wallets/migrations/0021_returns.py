"""Returns of payments by the bank: their rows, and their movements in the ledger.

The rules of movements, transactions and corrections become wider, never narrower, so the
previous release still runs. Its sequencer of events stops at the first return. SQLite
changes a table by creating it again, which would drop its triggers.
"""

import django.db.models.deletion
from django.db import IntegrityError, migrations, models

from wallets.models.base import WrittenAtField
from wallets.models.composite_key import ForeignKeyConstraint
from wallets.models.fields import ExactCharField
from wallets.utils.database import append_only
from wallets.utils.database.table_locks import LockTables

TABLES = ["wallets_paymentreturn"]


def remove_to_rebuild(apps, schema_editor):
    if schema_editor.connection.vendor == "sqlite":
        append_only.remove(schema_editor.connection)


def install_after_rebuild(apps, schema_editor):
    if schema_editor.connection.vendor == "sqlite":
        append_only.install(schema_editor.connection)


def install(apps, schema_editor):
    if schema_editor.connection.vendor == "sqlite":
        append_only.install(schema_editor.connection)
    else:
        append_only.install(schema_editor.connection, TABLES)


def remove(apps, schema_editor):
    """Stop before anything is changed if there are returns.

    MySQL and MariaDB do not roll back half a migration.
    """
    if apps.get_model("wallets", "paymentreturn").objects.exists():
        raise IntegrityError("there are returns: the release before has no place")
    if schema_editor.connection.vendor == "sqlite":
        append_only.remove(schema_editor.connection)
    else:
        append_only.remove(schema_editor.connection, TABLES)


def key(to):
    return models.ForeignKey(
        db_constraint=False,
        db_index=False,
        on_delete=django.db.models.deletion.PROTECT,
        related_name="+",
        to=to,
    )


class Migration(migrations.Migration):
    dependencies = [("wallets", "0020_reschedule")]

    operations = [
        LockTables("wallets_transaction", "wallets_movement", "wallets_correction"),
        migrations.RunPython(remove_to_rebuild, install_after_rebuild),
        migrations.RemoveConstraint(
            model_name="correction",
            name="correction_of_a_deposit_or_of_both_halves",
        ),
        migrations.RemoveConstraint(
            model_name="movement",
            name="movement_accounts_match_kind",
        ),
        migrations.RemoveConstraint(
            model_name="transaction",
            name="transaction_schedule_matches_type",
        ),
        migrations.AlterField(
            model_name="movement",
            name="kind",
            field=models.CharField(
                choices=[
                    ("deposit", "Deposit"),
                    ("hold", "Hold"),
                    ("settle", "Settle"),
                    ("release", "Release"),
                    ("transfer_out", "Transfer Out"),
                    ("transfer_in", "Transfer In"),
                    ("correction_out", "Correction Out"),
                    ("correction_in", "Correction In"),
                    ("return", "Return"),
                ],
                max_length=16,
            ),
        ),
        migrations.AlterField(
            model_name="movement",
            name="leg",
            field=models.CharField(
                choices=[
                    ("open", "Open"),
                    ("close", "Close"),
                    ("out", "Out"),
                    ("in", "In"),
                    ("back", "Back"),
                    ("bank", "Bank"),
                ],
                max_length=5,
            ),
        ),
        migrations.AlterField(
            model_name="transaction",
            name="transaction_type",
            field=models.CharField(
                choices=[
                    ("DEPOSIT", "Deposit"),
                    ("WITHDRAWAL", "Withdrawal"),
                    ("TRANSFER_OUT", "Transfer Out"),
                    ("TRANSFER_IN", "Transfer In"),
                    ("CORRECTION_OUT", "Correction Out"),
                    ("CORRECTION_IN", "Correction In"),
                    ("RETURN", "Return"),
                ],
                max_length=16,
            ),
        ),
        migrations.AddConstraint(
            model_name="correction",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("corrects_leg__in", ["open", "bank"]),
                        ("credit__isnull", True),
                        ("credit_corrects__isnull", True),
                        ("payer__isnull", True),
                    ),
                    models.Q(
                        ("corrects_leg", "in"),
                        ("credit__isnull", False),
                        ("credit_corrects__isnull", False),
                        ("payer__isnull", False),
                    ),
                    _connector="OR",
                ),
                name="correction_of_a_deposit_or_of_both_halves",
            ),
        ),
        migrations.AddConstraint(
            model_name="movement",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("attempt_number", 0),
                        ("from_account", "outside"),
                        ("kind", "deposit"),
                        ("leg", "open"),
                        ("to_account", "wallet"),
                    ),
                    models.Q(
                        ("attempt_number__gte", 1),
                        ("from_account", "wallet"),
                        ("kind", "hold"),
                        ("leg", "open"),
                        ("to_account", "in_flight"),
                    ),
                    models.Q(
                        ("attempt_number__gte", 1),
                        ("from_account", "in_flight"),
                        ("kind", "settle"),
                        ("leg", "close"),
                        ("to_account", "outside"),
                    ),
                    models.Q(
                        ("attempt_number__gte", 1),
                        ("from_account", "in_flight"),
                        ("kind", "release"),
                        ("leg", "close"),
                        ("to_account", "wallet"),
                    ),
                    models.Q(
                        ("attempt_number", 0),
                        ("from_account", "wallet"),
                        ("kind", "transfer_out"),
                        ("leg", "out"),
                        ("to_account", "clearing"),
                    ),
                    models.Q(
                        ("attempt_number", 0),
                        ("from_account", "clearing"),
                        ("kind", "transfer_in"),
                        ("leg", "in"),
                        ("to_account", "wallet"),
                    ),
                    models.Q(
                        ("attempt_number", 0),
                        ("from_account", "wallet"),
                        ("kind", "correction_out"),
                        ("leg", "back"),
                        ("to_account", "outside"),
                    ),
                    models.Q(
                        ("attempt_number", 0),
                        ("from_account", "outside"),
                        ("kind", "correction_in"),
                        ("leg", "back"),
                        ("to_account", "wallet"),
                    ),
                    models.Q(
                        ("attempt_number", 0),
                        ("from_account", "outside"),
                        ("kind", "return"),
                        ("leg", "bank"),
                        ("to_account", "wallet"),
                    ),
                    _connector="OR",
                ),
                name="movement_accounts_match_kind",
            ),
        ),
        migrations.AddConstraint(
            model_name="transaction",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("scheduled_for__isnull", True),
                        (
                            "transaction_type__in",
                            [
                                "DEPOSIT",
                                "TRANSFER_OUT",
                                "TRANSFER_IN",
                                "CORRECTION_OUT",
                                "CORRECTION_IN",
                                "RETURN",
                            ],
                        ),
                    ),
                    models.Q(
                        ("scheduled_for__isnull", False),
                        ("transaction_type", "WITHDRAWAL"),
                    ),
                    _connector="OR",
                ),
                name="transaction_schedule_matches_type",
            ),
        ),
        migrations.CreateModel(
            name="PaymentReturn",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True,
                        primary_key=True,
                        serialize=False,
                        verbose_name="ID",
                    ),
                ),
                ("wallet", key("wallets.wallet")),
                ("withdrawal", key("wallets.transaction")),
                ("attempt_number", models.PositiveSmallIntegerField()),
                ("paid", models.PositiveBigIntegerField()),
                ("amount", models.PositiveBigIntegerField()),
                ("credit", key("wallets.transaction")),
                ("return_reference", ExactCharField(max_length=255)),
                ("reason", models.TextField()),
                ("actor", models.CharField(max_length=150)),
                ("created_at", WrittenAtField(editable=False)),
                (
                    "paid_leg",
                    models.CharField(default="close", editable=False, max_length=5),
                ),
                (
                    "credit_attempt",
                    models.PositiveSmallIntegerField(default=0, editable=False),
                ),
                (
                    "credit_leg",
                    models.CharField(default="bank", editable=False, max_length=5),
                ),
            ],
            options={
                "ordering": ["id"],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("withdrawal",), name="return_once_per_withdrawal"
                    ),
                    models.UniqueConstraint(
                        fields=("credit",), name="return_credit_unique"
                    ),
                    ForeignKeyConstraint(
                        fields=("wallet", "withdrawal"),
                        name="return_of_its_wallets_withdrawal",
                        to_fields=("wallet", "id"),
                    ),
                    ForeignKeyConstraint(
                        fields=("withdrawal", "attempt_number", "paid_leg"),
                        name="return_of_an_ended_attempt",
                        to="wallets.Movement",
                        to_fields=("transaction", "attempt_number", "leg"),
                    ),
                    ForeignKeyConstraint(
                        fields=("wallet", "credit"),
                        name="return_credit_in_its_wallet",
                        to_fields=("wallet", "id"),
                    ),
                    ForeignKeyConstraint(
                        fields=("credit", "credit_attempt", "credit_leg"),
                        name="return_gives_the_money",
                        to="wallets.Movement",
                        to_fields=("transaction", "attempt_number", "leg"),
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("amount__gte", 1),
                            ("amount__lte", models.F("paid")),
                            ("paid__lte", 1000000000000000),
                        ),
                        name="return_of_no_more_than_was_paid",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("return_reference", ""), _negated=True),
                        name="return_has_its_evidence",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("attempt_number__gte", 1),
                            ("credit_attempt", 0),
                            ("credit_leg", "bank"),
                            ("paid_leg", "close"),
                        ),
                        name="return_refers_to_its_movements",
                    ),
                ],
            },
        ),
        migrations.RunPython(install, remove),
    ]
