"""Attempts and transitions are ordered by their own columns, without a join.

An ordering by `transaction` uses the ordering of that table, so PostgreSQL read all of
it.
"""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("wallets", "0006_no_index_twice")]

    operations = [
        migrations.AlterModelOptions(
            "attempt", {"ordering": ["transaction_id", "number"]}
        ),
        migrations.AlterModelOptions(
            "transition", {"ordering": ["transaction_id", "sequence"]}
        ),
    ]
