"""Endpoints belong to the tenant of the caller who made them."""

from django.db import migrations

import wallets.models.fields


class Migration(migrations.Migration):
    dependencies = [
        ("events", "0005_last_attempts"),
        ("wallets", "0019_tenants"),
    ]

    operations = [
        migrations.AddField(
            "endpoint",
            "tenant",
            wallets.models.fields.ExactCharField(
                blank=True, db_default="", default="", editable=False, max_length=63
            ),
        ),
    ]
