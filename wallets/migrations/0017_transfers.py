"""Transfers: their rows, and the two halves of each in the ledger.

The rules of movements and transactions become wider, never narrower, so the previous
release still runs. SQLite changes a table by creating it again, which would drop its
triggers.
"""

import uuid

import django.db.models.deletion
from django.db import IntegrityError, migrations, models
from django.db.models import F, Q

from wallets.models.base import MAX_MONEY, WrittenAtField
from wallets.models.composite_key import ForeignKeyConstraint
from wallets.utils.database import append_only
from wallets.utils.database.table_locks import LockTables

TABLES = ["wallets_transfer"]
HALVES = ["transfer_out", "transfer_in"]


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
    """Stop before anything is changed if there are transfers.

    MySQL and MariaDB do not roll back half a migration.
    """
    if apps.get_model("wallets", "transfer").objects.exists():
        raise IntegrityError("there are transfers: the release before has no place")
    if schema_editor.connection.vendor == "sqlite":
        append_only.remove(schema_editor.connection)
    else:
        append_only.remove(schema_editor.connection, TABLES)


def half(to):
    return models.ForeignKey(
        db_constraint=False,
        db_index=False,
        on_delete=django.db.models.deletion.PROTECT,
        related_name="+",
        to=to,
    )


def account():
    return models.CharField(
        choices=[
            ("wallet", "Wallet"),
            ("in_flight", "In Flight"),
            ("outside", "Outside"),
            ("clearing", "Clearing"),
        ],
        max_length=9,
    )


def accounts_match_kind(*more):
    """Return the rule about a movement's accounts, with `more` kinds."""
    condition = Q(
        kind="deposit",
        leg="open",
        from_account="outside",
        to_account="wallet",
        attempt_number=0,
    )
    for kind, leg, source, target in (
        ("hold", "open", "wallet", "in_flight"),
        ("settle", "close", "in_flight", "outside"),
        ("release", "close", "in_flight", "wallet"),
    ):
        condition |= Q(
            kind=kind,
            leg=leg,
            from_account=source,
            to_account=target,
            attempt_number__gte=1,
        )
    for kind, leg, source, target in more:
        condition |= Q(
            kind=kind,
            leg=leg,
            from_account=source,
            to_account=target,
            attempt_number=0,
        )
    return models.CheckConstraint(
        condition=condition, name="movement_accounts_match_kind"
    )


class Migration(migrations.Migration):
    dependencies = [("wallets", "0016_wallet_name_and_life")]

    operations = [
        LockTables("wallets_transaction", "wallets_movement"),
        migrations.RunPython(remove_to_rebuild, install_after_rebuild),
        migrations.RemoveConstraint("transaction", "transaction_schedule_matches_type"),
        migrations.AlterField(
            "transaction",
            "transaction_type",
            models.CharField(
                choices=[
                    ("DEPOSIT", "Deposit"),
                    ("WITHDRAWAL", "Withdrawal"),
                    ("TRANSFER_OUT", "Transfer Out"),
                    ("TRANSFER_IN", "Transfer In"),
                ],
                max_length=16,
            ),
        ),
        migrations.AddConstraint(
            "transaction",
            models.CheckConstraint(
                condition=Q(
                    transaction_type__in=["DEPOSIT", "TRANSFER_OUT", "TRANSFER_IN"],
                    scheduled_for__isnull=True,
                )
                | Q(transaction_type="WITHDRAWAL", scheduled_for__isnull=False),
                name="transaction_schedule_matches_type",
            ),
        ),
        migrations.CreateModel(
            name="Transfer",
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
                (
                    "uuid",
                    models.UUIDField(default=uuid.uuid4, editable=False, unique=True),
                ),
                ("from_wallet", half("wallets.wallet")),
                ("to_wallet", half("wallets.wallet")),
                ("debit", half("wallets.transaction")),
                ("credit", half("wallets.transaction")),
                ("amount", models.PositiveBigIntegerField()),
                ("created_at", WrittenAtField(editable=False)),
                (
                    "attempt_number",
                    models.PositiveSmallIntegerField(default=0, editable=False),
                ),
                (
                    "debit_leg",
                    models.CharField(default="out", editable=False, max_length=5),
                ),
                (
                    "credit_leg",
                    models.CharField(default="in", editable=False, max_length=5),
                ),
            ],
            options={
                "ordering": ["id"],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("debit",), name="transfer_debit_unique"
                    ),
                    models.UniqueConstraint(
                        fields=("credit",), name="transfer_credit_unique"
                    ),
                    ForeignKeyConstraint(
                        fields=("from_wallet", "debit"),
                        to_fields=("wallet", "id"),
                        name="transfer_debit_in_its_wallet",
                    ),
                    ForeignKeyConstraint(
                        fields=("to_wallet", "credit"),
                        to_fields=("wallet", "id"),
                        name="transfer_credit_in_its_wallet",
                    ),
                    ForeignKeyConstraint(
                        fields=("debit", "attempt_number", "debit_leg"),
                        to="wallets.Movement",
                        to_fields=("transaction", "attempt_number", "leg"),
                        name="transfer_takes_the_money",
                    ),
                    ForeignKeyConstraint(
                        fields=("credit", "attempt_number", "credit_leg"),
                        to="wallets.Movement",
                        to_fields=("transaction", "attempt_number", "leg"),
                        name="transfer_gives_the_money",
                    ),
                    models.CheckConstraint(
                        condition=~Q(from_wallet=F("to_wallet")),
                        name="transfer_between_two_wallets",
                    ),
                    models.CheckConstraint(
                        condition=Q(amount__gte=1) & Q(amount__lte=MAX_MONEY),
                        name="transfer_amount_within_limits",
                    ),
                    models.CheckConstraint(
                        condition=Q(attempt_number=0, debit_leg="out", credit_leg="in"),
                        name="transfer_refers_to_its_halves",
                    ),
                ],
            },
        ),
        migrations.RemoveConstraint("movement", "movement_accounts_match_kind"),
        migrations.AlterField(
            "movement",
            "kind",
            models.CharField(
                choices=[
                    ("deposit", "Deposit"),
                    ("hold", "Hold"),
                    ("settle", "Settle"),
                    ("release", "Release"),
                    ("transfer_out", "Transfer Out"),
                    ("transfer_in", "Transfer In"),
                ],
                max_length=16,
            ),
        ),
        migrations.AlterField(
            "movement",
            "leg",
            models.CharField(
                choices=[
                    ("open", "Open"),
                    ("close", "Close"),
                    ("out", "Out"),
                    ("in", "In"),
                ],
                max_length=5,
            ),
        ),
        migrations.AlterField("movement", "from_account", account()),
        migrations.AlterField("movement", "to_account", account()),
        migrations.AddField(
            "movement",
            "transfer",
            models.ForeignKey(
                blank=True,
                db_constraint=False,
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="movements",
                to="wallets.transfer",
                to_field="uuid",
            ),
        ),
        migrations.AddConstraint(
            "movement",
            accounts_match_kind(
                ("transfer_out", "out", "wallet", "clearing"),
                ("transfer_in", "in", "clearing", "wallet"),
            ),
        ),
        migrations.AddConstraint(
            "movement",
            models.CheckConstraint(
                condition=Q(kind__in=HALVES, transfer__isnull=False)
                | Q(~Q(kind__in=HALVES), transfer__isnull=True),
                name="movement_transfer_matches_kind",
            ),
        ),
        migrations.AddConstraint(
            "movement",
            models.UniqueConstraint(
                condition=Q(transfer__isnull=False),
                fields=("transfer", "leg"),
                name="movement_one_per_half",
            ),
        ),
        migrations.AddConstraint(
            "movement",
            ForeignKeyConstraint(
                fields=("transfer",),
                to_fields=("uuid",),
                name="movement_half_of_a_transfer",
                only_deferred=True,
            ),
        ),
        migrations.RunPython(install, remove),
    ]
