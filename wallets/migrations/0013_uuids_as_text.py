"""UUIDs are text on MariaDB: its own type refuses some that are valid.

Tables that were made by an earlier release on MariaDB 10.7 or newer are changed. The
release before this one cannot read them afterwards: stop it first, there only.
"""

from django.db import migrations

from wallets.utils.database import uuid_columns


def forwards(apps, schema_editor):
    models = apps.get_app_config("wallets").get_models()
    columns = uuid_columns.native(schema_editor.connection, models)
    uuid_columns.as_text(schema_editor, columns)


class Migration(migrations.Migration):
    dependencies = [("wallets", "0012_pause_and_cancel_after_failure")]

    operations = [migrations.RunPython(forwards, migrations.RunPython.noop)]
