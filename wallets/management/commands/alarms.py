"""`manage.py alarms`: lists and acknowledges alarms."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from wallets.management.arguments import add_actor, row_id
from wallets.management.base import DatabaseCommand, refused
from wallets.models.alarm import Alarm
from wallets.services.operations import alarm as alarm_service


class Command(DatabaseCommand):
    help = (
        "List the alarms that nobody has acknowledged, or acknowledge one: "
        "alarms acknowledge ID --by NAME"
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        verbs = parser.add_subparsers(dest="verb")
        verbs.add_parser("list", help="open alarms, the newest first (the default)")
        acknowledge = verbs.add_parser("acknowledge", help="acknowledge an alarm")
        acknowledge.add_argument("id", type=row_id)
        add_actor(acknowledge)

    def handle(self, *args: Any, verb: str | None, **options: Any) -> None:
        if verb == "acknowledge":
            self._acknowledge(options["id"], options["by"])
            return
        count = 0
        for alarm in alarm_service.unacknowledged().iterator(chunk_size=500):
            count += 1
            self.stdout.write(
                f"{alarm.pk}  {alarm.kind}  {alarm.created_at:%Y-%m-%dT%H:%M:%SZ}"
                f"  {alarm.subject} attempt {alarm.attempt_number}"
                f"  {' '.join(alarm.detail.split())[:200]!a}"
            )
        self.stdout.write(f"{count} not acknowledged")

    def _acknowledge(self, alarm_id: int, actor: str) -> None:
        try:
            with refused("Not acknowledged"):
                alarm = alarm_service.acknowledge(alarm_id, actor=actor)
        except Alarm.DoesNotExist:
            raise CommandError(f"No alarm {alarm_id}.") from None
        self.stdout.write(
            self.style.SUCCESS(
                f"alarm {alarm.pk}: acknowledged by {alarm.acknowledged_by}"
            )
        )
