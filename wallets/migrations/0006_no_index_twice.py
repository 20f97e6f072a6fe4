"""Each query has one index; a unique constraint on the transaction is one, too.

On PostgreSQL the partial index `transaction_retryable` serves the queries of
`transaction_status_next`, which every deposit had to update. SQLite changes a table by
creating it again, which would drop its triggers.
"""

import django.db.models.deletion
from django.db import migrations, models

from wallets.utils.database import append_only


def install(apps, schema_editor):
    append_only.install(schema_editor.connection)


def remove(apps, schema_editor):
    append_only.remove(schema_editor.connection)


def drop_full(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("DROP INDEX IF EXISTS transaction_status_next")


def add_full(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        model = apps.get_model("wallets", "transaction")
        (index,) = (
            index
            for index in model._meta.indexes
            if index.name == "transaction_status_next"
        )
        schema_editor.add_index(model, index)


def transaction(related_name):
    return models.ForeignKey(
        db_index=False,
        on_delete=django.db.models.deletion.PROTECT,
        related_name=related_name,
        to="wallets.transaction",
    )


class Migration(migrations.Migration):
    dependencies = [("wallets", "0005_tally")]

    operations = [
        migrations.RunPython(remove, install),
        migrations.AlterField("movement", "transaction", transaction("movements")),
        migrations.AlterField("transition", "transaction", transaction("transitions")),
        migrations.AlterField("attempt", "transaction", transaction("attempts")),
        migrations.RunPython(install, remove),
        migrations.RunPython(drop_full, add_full),
    ]
