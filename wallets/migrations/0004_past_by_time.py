"""Indexes of a wallet's history by time replace the indexes of the foreign keys.

SQLite changes a table by creating it again, which would drop its triggers.
"""

import django.db.models.deletion
from django.db import migrations, models

from wallets.utils.database import append_only


def install(apps, schema_editor):
    append_only.install(schema_editor.connection)


def remove(apps, schema_editor):
    append_only.remove(schema_editor.connection)


def wallet(related_name):
    return models.ForeignKey(
        db_index=False,
        on_delete=django.db.models.deletion.PROTECT,
        related_name=related_name,
        to="wallets.wallet",
    )


class Migration(migrations.Migration):
    dependencies = [("wallets", "0003_transition_by_time")]

    operations = [
        migrations.RunPython(remove, install),
        migrations.AddIndex(
            model_name="movement",
            index=models.Index(
                fields=["wallet", "created_at", "sequence"], name="movement_by_time"
            ),
        ),
        migrations.AddIndex(
            model_name="transaction",
            index=models.Index(
                fields=["wallet", "created_at"], name="transaction_by_time"
            ),
        ),
        migrations.AlterField("movement", "wallet", wallet("movements")),
        migrations.AlterField("transaction", "wallet", wallet("transactions")),
        migrations.RunPython(install, remove),
    ]
