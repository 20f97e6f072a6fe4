"""When a row was written is said by the database's clock, in every path.

The columns stay as they are: only what Django fills in differs. No table is touched.
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
