"""Wallets get a name, a currency and a life; transactions get the client's own words.

Every new column may be NULL or has a default in the database, so the previous release
still creates wallets and transactions. It does not know of freezes: freeze a wallet
when no process of it runs any more. Its queries for due withdrawals lose their indexes
here, and get slower, until it stops.
"""

import django.db.models.deletion
from django.db import migrations, models
from django.db.models.functions import Length, Upper
from django.db.models.lookups import Exact

import wallets.models.base
import wallets.models.fields
from wallets.utils.database import append_only
from wallets.utils.database.table_locks import LockTables

TABLES = ["wallets_walletchange"]


def install(apps, schema_editor):
    append_only.install(schema_editor.connection, TABLES)


def remove(apps, schema_editor):
    append_only.remove(schema_editor.connection, TABLES)


class Migration(migrations.Migration):

    dependencies = [
        ("wallets", "0015_review_proposal"),
    ]

    operations = [
        LockTables("wallets_wallet", "wallets_transaction"),
        migrations.AddField(
            model_name="transaction",
            name="description",
            field=models.CharField(
                blank=True, db_default="", default="", max_length=255
            ),
        ),
        migrations.AddField(
            model_name="transaction",
            name="fails_if_frozen",
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.AddField(
            model_name="transaction",
            name="metadata",
            field=models.CharField(
                blank=True, db_default="", default="", max_length=4096
            ),
        ),
        migrations.AddField(
            model_name="transaction",
            name="reference",
            field=wallets.models.fields.ExactCharField(
                blank=True, db_default="", default="", max_length=255
            ),
        ),
        migrations.AddField(
            model_name="transaction",
            name="waits_for_wallet",
            field=models.BooleanField(db_default=False, default=False, editable=False),
        ),
        migrations.AddField(
            model_name="wallet",
            name="change_count",
            field=models.PositiveIntegerField(db_default=0, default=0, editable=False),
        ),
        migrations.AddField(
            model_name="wallet",
            name="closed",
            field=models.BooleanField(db_default=False, default=False, editable=False),
        ),
        migrations.AddField(
            model_name="wallet",
            name="creation_key",
            field=models.UUIDField(blank=True, editable=False, null=True),
        ),
        migrations.AddField(
            model_name="wallet",
            name="currency",
            field=wallets.models.fields.CurrencyField(),
        ),
        migrations.AddField(
            model_name="wallet",
            name="frozen_in",
            field=models.BooleanField(db_default=False, default=False, editable=False),
        ),
        migrations.AddField(
            model_name="wallet",
            name="frozen_out",
            field=models.BooleanField(db_default=False, default=False, editable=False),
        ),
        migrations.AddField(
            model_name="wallet",
            name="has_waiting",
            field=models.BooleanField(db_default=False, default=False, editable=False),
        ),
        migrations.AddField(
            model_name="wallet",
            name="metadata",
            field=models.CharField(
                blank=True, db_default="", default="", max_length=4096
            ),
        ),
        migrations.AddField(
            model_name="wallet",
            name="reference",
            field=wallets.models.fields.ExactCharField(
                blank=True, max_length=255, null=True
            ),
        ),
        migrations.AlterField(
            model_name="transaction",
            name="failure_code",
            field=models.CharField(
                blank=True,
                choices=[
                    ("", "None"),
                    ("insufficient_balance", "Insufficient Balance"),
                    ("rejected_by_bank", "Rejected"),
                    ("bank_unreachable", "Not Sent"),
                    ("not_found_at_bank", "Not Found"),
                    ("resolved_not_paid", "Not Paid"),
                    ("wallet_frozen", "Wallet Frozen"),
                ],
                default="",
                max_length=24,
            ),
        ),
        migrations.AddIndex(
            model_name="transaction",
            index=models.Index(
                condition=models.Q(("status", "PENDING"), ("waits_for_wallet", False)),
                fields=["scheduled_for", "id"],
                name="transaction_to_pay",
            ),
        ),
        migrations.AddIndex(
            model_name="transaction",
            index=models.Index(
                condition=models.Q(
                    ("final", False), ("status", "FAILED"), ("waits_for_wallet", False)
                ),
                fields=["next_attempt_at", "id"],
                name="transaction_to_retry",
            ),
        ),
        migrations.AddIndex(
            model_name="transaction",
            index=models.Index(
                condition=models.Q(
                    ("status__in", ["PENDING", "PROCESSING"]),
                    models.Q(("final", False), ("status", "FAILED")),
                    _connector="OR",
                ),
                fields=["wallet", "waits_for_wallet"],
                name="transaction_not_ended",
            ),
        ),
        migrations.AddIndex(
            model_name="transaction",
            index=models.Index(
                fields=["status", "final", "waits_for_wallet", "next_attempt_at"],
                name="transaction_next",
            ),
        ),
        migrations.AddIndex(
            model_name="transaction",
            index=models.Index(
                fields=["status", "waits_for_wallet", "scheduled_for"],
                name="transaction_planned",
            ),
        ),
        migrations.AddIndex(
            model_name="wallet",
            index=models.Index(
                condition=models.Q(("frozen_out", False), ("has_waiting", True)),
                fields=["has_waiting", "frozen_out"],
                name="wallet_to_release",
            ),
        ),
        migrations.AddIndex(
            model_name="wallet",
            index=models.Index(fields=["created_at", "id"], name="wallet_by_time"),
        ),
        migrations.AddIndex(
            model_name="transaction",
            index=models.Index(
                fields=["created_at", "id"], name="transaction_by_creation"
            ),
        ),
        migrations.AddIndex(
            model_name="transaction",
            index=models.Index(
                condition=models.Q(("reference", ""), _negated=True),
                fields=["reference", "created_at", "id"],
                name="transaction_by_reference",
            ),
        ),
        migrations.AddConstraint(
            model_name="transaction",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("waits_for_wallet", False),
                    models.Q(("fails_if_frozen", False), ("status", "PENDING")),
                    models.Q(
                        ("fails_if_frozen", False),
                        ("final", False),
                        ("status", "FAILED"),
                    ),
                    _connector="OR",
                ),
                name="transaction_waiting_is_to_be_paid",
            ),
        ),
        migrations.AddConstraint(
            model_name="wallet",
            constraint=models.UniqueConstraint(
                fields=("reference",), name="wallet_reference_unique"
            ),
        ),
        migrations.AddConstraint(
            model_name="wallet",
            constraint=models.UniqueConstraint(
                fields=("creation_key",), name="wallet_creation_key_unique"
            ),
        ),
        migrations.AddConstraint(
            model_name="wallet",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("reference__isnull", True),
                    models.Q(("reference", ""), _negated=True),
                    _connector="OR",
                ),
                name="wallet_reference_not_empty",
            ),
        ),
        migrations.AddConstraint(
            model_name="wallet",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    Exact(Length("currency"), 3), ("currency", Upper("currency"))
                ),
                name="wallet_currency_has_three_letters",
            ),
        ),
        migrations.AddConstraint(
            model_name="wallet",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("closed", False),
                    models.Q(("balance", 0), ("held", 0)),
                    _connector="OR",
                ),
                name="wallet_closed_is_empty",
            ),
        ),
        migrations.RemoveIndex(
            model_name="transaction",
            name="transaction_due",
        ),
        migrations.RemoveIndex(
            model_name="transaction",
            name="transaction_retryable",
        ),
        migrations.RemoveIndex(
            model_name="transaction",
            name="transaction_status_next",
        ),
        migrations.RemoveIndex(
            model_name="transaction",
            name="transaction_status_due",
        ),
        migrations.CreateModel(
            name="WalletChange",
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
                ("sequence", models.PositiveIntegerField()),
                (
                    "event",
                    models.CharField(
                        choices=[
                            ("changed", "Changed"),
                            ("frozen", "Frozen"),
                            ("unfrozen", "Unfrozen"),
                            ("closed", "Closed"),
                        ],
                        max_length=16,
                    ),
                ),
                ("before", models.TextField()),
                ("after", models.TextField()),
                ("actor", models.CharField(max_length=150)),
                ("reason", models.TextField(blank=True, default="")),
                ("created_at", wallets.models.base.WrittenAtField(editable=False)),
                (
                    "wallet",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="changes",
                        to="wallets.wallet",
                    ),
                ),
            ],
            options={
                "ordering": ["wallet_id", "sequence"],
            },
        ),
        migrations.AddConstraint(
            model_name="walletchange",
            constraint=models.UniqueConstraint(
                fields=("wallet", "sequence"), name="wallet_change_sequence_unique"
            ),
        ),
        migrations.AddConstraint(
            model_name="walletchange",
            constraint=models.CheckConstraint(
                condition=models.Q(("sequence__gte", 1)),
                name="wallet_change_sequence_positive",
            ),
        ),
        migrations.AddConstraint(
            model_name="walletchange",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("event__in", ["changed", "frozen", "unfrozen", "closed"])
                ),
                name="wallet_change_event_known",
            ),
        ),
        migrations.RunPython(install, remove),
    ]
