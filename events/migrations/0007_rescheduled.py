"""A type of events: a withdrawal was rescheduled. The column stays the same."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("events", "0006_endpoint_of_tenant"),
        ("wallets", "0020_reschedule"),
    ]

    operations = [
        migrations.AlterField(
            "event",
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
                    ("withdrawal.rescheduled", "Withdrawal Rescheduled"),
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
    ]
