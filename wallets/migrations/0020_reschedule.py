"""Rescheduled withdrawals: the time of the request, and the time after each reschedule.

Both new columns may be NULL, so no row is rewritten, and the previous release still
writes its rows. It takes a repeated request of a rescheduled withdrawal for another
one: reschedule when no process of it runs any more. Each new rule reads its table once.
SQLite changes a table by creating it again, which would drop its triggers.
"""

from django.db import IntegrityError, migrations, models
from django.db.models import Q

from wallets.utils.database import append_only
from wallets.utils.database.table_locks import LockTables


def remove_to_rebuild(apps, schema_editor):
    if schema_editor.connection.vendor == "sqlite":
        append_only.remove(schema_editor.connection)


def install_after_rebuild(apps, schema_editor):
    if schema_editor.connection.vendor == "sqlite":
        append_only.install(schema_editor.connection)


def stop_if_something_was_rescheduled(apps, schema_editor):
    """Stop before anything is changed: the times of requests would be lost.

    MySQL and MariaDB do not roll back half a migration.
    """
    transitions = apps.get_model("wallets", "transition").objects
    if transitions.filter(event="reschedule").exists():
        raise IntegrityError("withdrawals were rescheduled: their times would be lost")
    remove_to_rebuild(apps, schema_editor)


class Migration(migrations.Migration):
    dependencies = [("wallets", "0019_tenants")]

    operations = [
        LockTables("wallets_transaction", "wallets_transition"),
        migrations.RunPython(remove_to_rebuild, install_after_rebuild),
        migrations.AddField(
            "transaction",
            "first_scheduled_for",
            models.DateTimeField(blank=True, editable=False, null=True),
        ),
        migrations.AddField(
            "transition",
            "scheduled_for",
            models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddConstraint(
            "transaction",
            models.CheckConstraint(
                condition=Q(first_scheduled_for=None)
                | Q(transaction_type="WITHDRAWAL"),
                name="transaction_rescheduled_is_withdrawal",
            ),
        ),
        migrations.AddConstraint(
            "transition",
            models.CheckConstraint(
                condition=Q(event="reschedule", scheduled_for__isnull=False)
                | ~Q(event="reschedule") & Q(scheduled_for__isnull=True),
                name="transition_reschedule_has_its_time",
            ),
        ),
        migrations.RunPython(install_after_rebuild, stop_if_something_was_rescheduled),
    ]
