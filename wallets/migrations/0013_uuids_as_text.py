"""UUIDs are text on MariaDB, because its own type refuses some valid UUIDs.

Tables of an earlier release on MariaDB 10.7 or newer are changed. The previous release
cannot read them afterwards: there, and only there, stop it before the migration.
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
