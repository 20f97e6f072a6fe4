"""The time of writing of a row is always the time of the database's clock.

The columns stay the same: only the values that Django sets differ. No table is changed.
"""

from django.db import migrations

from wallets.models.base import WrittenAtField

STAMPED = {
    "alarm": ("created_at", "updated_at"),
    "attempt": ("created_at", "updated_at"),
    "movement": ("created_at",),
    "transaction": ("created_at", "updated_at"),
    "transition": ("created_at",),
    "wallet": ("created_at", "updated_at"),
}


class Migration(migrations.Migration):
    dependencies = [("wallets", "0013_uuids_as_text")]

    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.AlterField(model, name, WrittenAtField(editable=False))
                for model, names in STAMPED.items()
                for name in names
            ]
        )
    ]
