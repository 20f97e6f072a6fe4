"""Facts about endpoints. The previous release makes endpoints without these columns."""

from django.db import migrations, models

import wallets.models.fields


class Migration(migrations.Migration):
    dependencies = [("events", "0008_withdrawal_returned")]

    operations = [
        migrations.AddField(
            "endpoint",
            "beginnings",
            models.PositiveIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            "endpoint",
            "unsigned_since",
            models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            "endpoint",
            "unsigned_times",
            models.PositiveSmallIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            "endpoint",
            "moved_at",
            models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            "endpoint",
            "busy_until",
            models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            "endpoint",
            "created_by",
            wallets.models.fields.ExactCharField(
                blank=True, db_default="", default="", editable=False, max_length=150
            ),
        ),
        migrations.AddField(
            "endpoint",
            "changed_by",
            wallets.models.fields.ExactCharField(
                blank=True, db_default="", default="", editable=False, max_length=150
            ),
        ),
    ]
