"""The feed: its events, and how far the sequencer has come. New tables only."""

import django.db.models.deletion
from django.db import migrations, models

from wallets.utils.database import append_only

TABLES = ["events_event"]


def install(apps, schema_editor):
    append_only.install(schema_editor.connection, TABLES)


def remove(apps, schema_editor):
    append_only.remove(schema_editor.connection, TABLES)


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ("wallets", "0018_corrections"),
    ]

    operations = [
        migrations.CreateModel(
            name="Cursor",
            fields=[
                (
                    "source",
                    models.PositiveSmallIntegerField(
                        choices=[
                            (1, "Wallet"),
                            (2, "Movement"),
                            (3, "Transition"),
                            (4, "Wallet Change"),
                        ],
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("row_id", models.PositiveBigIntegerField(default=0)),
            ],
        ),
        migrations.CreateModel(
            name="Gap",
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
                    "source",
                    models.PositiveSmallIntegerField(
                        choices=[
                            (1, "Wallet"),
                            (2, "Movement"),
                            (3, "Transition"),
                            (4, "Wallet Change"),
                        ]
                    ),
                ),
                ("first", models.PositiveBigIntegerField()),
                ("last", models.PositiveBigIntegerField()),
                ("missing", models.TextField()),
                ("seen_at", models.DateTimeField()),
                ("look_at", models.DateTimeField()),
            ],
            options={
                "ordering": ["id"],
                "indexes": [
                    models.Index(fields=["look_at"], name="gap_by_next_look"),
                    models.Index(fields=["source", "first"], name="gap_by_first_id"),
                ],
            },
        ),
        migrations.CreateModel(
            name="Event",
            fields=[
                (
                    "position",
                    models.PositiveBigIntegerField(primary_key=True, serialize=False),
                ),
                (
                    "source",
                    models.PositiveSmallIntegerField(
                        choices=[
                            (1, "Wallet"),
                            (2, "Movement"),
                            (3, "Transition"),
                            (4, "Wallet Change"),
                        ]
                    ),
                ),
                ("source_id", models.PositiveBigIntegerField()),
                (
                    "type",
                    models.CharField(
                        choices=[
                            ("wallet.created", "Wallet Created"),
                            ("wallet.changed", "Wallet Changed"),
                            ("wallet.frozen", "Wallet Frozen"),
                            ("wallet.unfrozen", "Wallet Unfrozen"),
                            ("wallet.closed", "Wallet Closed"),
                            ("deposit.completed", "Deposit Completed"),
                            ("transfer.completed", "Transfer Completed"),
                            ("transfer.received", "Transfer Received"),
                            ("correction.posted", "Correction Posted"),
                            ("withdrawal.scheduled", "Withdrawal Scheduled"),
                            ("withdrawal.processing", "Withdrawal Processing"),
                            ("withdrawal.completed", "Withdrawal Completed"),
                            ("withdrawal.attempt_failed", "Withdrawal Attempt Failed"),
                            ("withdrawal.failed", "Withdrawal Failed"),
                            ("withdrawal.cancelled", "Withdrawal Cancelled"),
                            ("withdrawal.unknown", "Withdrawal Unknown"),
                            ("withdrawal.resent", "Withdrawal Resent"),
                            ("withdrawal.needs_review", "Withdrawal Needs Review"),
                            (
                                "withdrawal.retry_requested",
                                "Withdrawal Retry Requested",
                            ),
                        ],
                        max_length=32,
                    ),
                ),
                ("created_at", models.DateTimeField(editable=False)),
                (
                    "wallet",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="wallets.wallet",
                    ),
                ),
            ],
            options={
                "ordering": ["position"],
                "indexes": [
                    models.Index(fields=["wallet", "position"], name="event_by_wallet")
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("source", "source_id"), name="event_once_per_row"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("position__gte", 1)),
                        name="event_position_positive",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("type", ""), _negated=True),
                        name="event_type_not_empty",
                    ),
                ],
            },
        ),
        migrations.RunPython(install, remove),
    ]
