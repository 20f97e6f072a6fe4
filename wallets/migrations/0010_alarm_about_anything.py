"""An alarm names its subject as text, because it may concern no withdrawal.

Examples are a payment that only the bank's list has, a damaged row, and paused payouts.
"""

import django.db.models.deletion
from django.db import migrations, models
from django.db.models import CharField, Value
from django.db.models.functions import Cast, Concat


def name_subjects(apps, schema_editor):
    alarms = apps.get_model("wallets", "alarm").objects
    number = Cast("transaction_id", CharField(max_length=20))
    alarms.update(subject=Concat(Value("withdrawal "), number))


class Migration(migrations.Migration):
    dependencies = [("wallets", "0009_movement_in_its_transactions_wallet")]

    operations = [
        migrations.RemoveConstraint("alarm", "alarm_once_per_attempt"),
        migrations.AddField(
            "alarm", "subject", models.CharField(max_length=100, default="")
        ),
        migrations.RunPython(name_subjects, migrations.RunPython.noop),
        migrations.AlterField("alarm", "subject", models.CharField(max_length=100)),
        migrations.AlterField(
            "alarm",
            "transaction",
            models.ForeignKey(
                "wallets.transaction",
                on_delete=django.db.models.deletion.PROTECT,
                related_name="alarms",
                null=True,
                blank=True,
            ),
        ),
        migrations.AlterField(
            "alarm",
            "kind",
            models.CharField(
                max_length=24,
                choices=[
                    ("needs_review", "Needs Review"),
                    ("paid_after_release", "Paid After Release"),
                    ("contradiction", "Contradiction"),
                    ("paid_twice", "Paid Twice"),
                    ("unknown_payment", "Unknown Payment"),
                    ("not_on_statement", "Not On Statement"),
                    ("paid_otherwise", "Paid Otherwise"),
                    ("no_statement", "No Statement"),
                    ("damaged_rows", "Damaged Rows"),
                    ("payouts_paused", "Payouts Paused"),
                ],
            ),
        ),
        migrations.AddConstraint(
            "alarm",
            models.UniqueConstraint(
                fields=["subject", "attempt_number", "kind"],
                name="alarm_once_per_subject",
            ),
        ),
    ]
