"""Corrections: their rows, and their movements in the ledger.

The rules of movements and transactions become wider, never narrower, so the previous
release still runs. SQLite changes a table by creating it again, which would drop its
triggers.
"""

import django.db.models.deletion
from django.db import IntegrityError, migrations, models
from django.db.models.expressions import CombinedExpression

from wallets.models.base import WrittenAtField
from wallets.models.composite_key import ForeignKeyConstraint
from wallets.utils.database import append_only
from wallets.utils.database.table_locks import LockTables

TABLES = ["wallets_correction"]


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
    """Stop before anything is changed if there are corrections.

    MySQL and MariaDB do not roll back half a migration.
    """
    if apps.get_model("wallets", "correction").objects.exists():
        raise IntegrityError("there are corrections: the release before has no place")
    if schema_editor.connection.vendor == "sqlite":
        append_only.remove(schema_editor.connection)
    else:
        append_only.remove(schema_editor.connection, TABLES)


def key(to, **options):
    return models.ForeignKey(
        db_constraint=False,
        db_index=False,
        on_delete=django.db.models.deletion.PROTECT,
        related_name="+",
        to=to,
        **options,
    )


def maybe(to):
    return key(to, blank=True, null=True)


class Migration(migrations.Migration):
    dependencies = [("wallets", "0017_transfers")]

    operations = [
        LockTables("wallets_transaction", "wallets_movement"),
        migrations.RunPython(remove_to_rebuild, install_after_rebuild),
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
                ],
                max_length=16,
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
            name="Correction",
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
                ("corrects", key("wallets.transaction")),
                ("number", models.PositiveIntegerField()),
                ("previous", models.PositiveIntegerField(blank=True, null=True)),
                ("amount", models.PositiveBigIntegerField()),
                ("left_before", models.PositiveBigIntegerField()),
                ("left_after", models.PositiveBigIntegerField()),
                ("debit", key("wallets.transaction")),
                ("payer", maybe("wallets.wallet")),
                ("credit", maybe("wallets.transaction")),
                ("credit_corrects", maybe("wallets.transaction")),
                ("reason", models.TextField()),
                ("actor", models.CharField(max_length=150)),
                ("created_at", WrittenAtField(editable=False)),
                ("corrects_leg", models.CharField(editable=False, max_length=5)),
                (
                    "attempt_number",
                    models.PositiveSmallIntegerField(default=0, editable=False),
                ),
                ("leg", models.CharField(default="back", editable=False, max_length=5)),
            ],
            options={
                "ordering": ["id"],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("corrects", "number"), name="correction_number_unique"
                    ),
                    models.UniqueConstraint(
                        fields=("corrects", "number", "left_after"),
                        name="correction_link_unique",
                    ),
                    models.UniqueConstraint(
                        fields=("debit",), name="correction_debit_unique"
                    ),
                    models.UniqueConstraint(
                        fields=("credit",), name="correction_credit_unique"
                    ),
                    ForeignKeyConstraint(
                        fields=("corrects", "previous", "left_before"),
                        name="correction_goes_on_from_the_one_before",
                        to="wallets.Correction",
                        to_fields=("corrects", "number", "left_after"),
                    ),
                    ForeignKeyConstraint(
                        fields=("wallet", "corrects"),
                        name="correction_of_its_wallets_transaction",
                        to_fields=("wallet", "id"),
                    ),
                    ForeignKeyConstraint(
                        fields=("corrects", "attempt_number", "corrects_leg"),
                        name="correction_of_money_that_came_in",
                        to="wallets.Movement",
                        to_fields=("transaction", "attempt_number", "leg"),
                    ),
                    ForeignKeyConstraint(
                        fields=("wallet", "debit"),
                        name="correction_debit_in_its_wallet",
                        to_fields=("wallet", "id"),
                    ),
                    ForeignKeyConstraint(
                        fields=("debit", "attempt_number", "leg"),
                        name="correction_takes_the_money",
                        to="wallets.Movement",
                        to_fields=("transaction", "attempt_number", "leg"),
                    ),
                    ForeignKeyConstraint(
                        fields=("payer", "credit"),
                        name="correction_credit_in_the_payers_wallet",
                        to_fields=("wallet", "id"),
                    ),
                    ForeignKeyConstraint(
                        fields=("payer", "credit_corrects"),
                        name="correction_of_the_payers_transaction",
                        to_fields=("wallet", "id"),
                    ),
                    ForeignKeyConstraint(
                        fields=("credit", "attempt_number", "leg"),
                        name="correction_gives_the_money",
                        to="wallets.Movement",
                        to_fields=("transaction", "attempt_number", "leg"),
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("amount__gte", 1), ("amount__lte", 1000000000000000)
                        ),
                        name="correction_amount_within_limits",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("left_after__gte", 0),
                            (
                                "left_before",
                                CombinedExpression(
                                    models.F("left_after"), "+", models.F("amount")
                                ),
                            ),
                        ),
                        name="correction_leaves_the_rest",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("number", 1), ("previous__isnull", True)),
                            models.Q(
                                ("number__gte", 2),
                                (
                                    "previous",
                                    CombinedExpression(
                                        models.F("number"), "-", models.Value(1)
                                    ),
                                ),
                                ("previous__isnull", False),
                            ),
                            _connector="OR",
                        ),
                        name="correction_after_the_one_before",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("corrects_leg", "open"),
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
                    models.CheckConstraint(
                        condition=models.Q(("attempt_number", 0), ("leg", "back")),
                        name="correction_refers_to_its_movements",
                    ),
                ],
            },
        ),
        migrations.RunPython(install, remove),
    ]
