"""To which bank an attempt was sent, and what was declared of it then.

No row is rewritten on a database server. The previous release writes no value: such an
attempt is resolved by the settings at that time, as before.
"""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("wallets", "0021_returns")]

    operations = [
        migrations.AddField(
            "attempt",
            "sent_to",
            models.CharField(
                blank=True, db_default="", default="", editable=False, max_length=64
            ),
        ),
    ]
