"""On PostgreSQL half of each page of wallets is left free for their next balances.

A balance that finds room on its own page needs no new entry in the wallets' indexes
(a HOT update). In full pages one in fifty did; now all do. Pages that are full already
get room by VACUUM FULL, or as they are rewritten.
"""

from django.db import migrations


def leave_room(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("ALTER TABLE wallets_wallet SET (fillfactor = 50)")


def fill(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("ALTER TABLE wallets_wallet RESET (fillfactor)")


class Migration(migrations.Migration):
    dependencies = [("wallets", "0007_ordered_by_own_columns")]

    operations = [migrations.RunPython(leave_room, fill)]
