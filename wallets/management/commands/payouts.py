"""`manage.py payouts`: pauses all payouts, resumes them, or shows the state."""

from argparse import ArgumentParser
from typing import Any

from wallets.management.arguments import add_actor, one_line
from wallets.management.base import DatabaseCommand, refused
from wallets.services.operations import pause
from wallets.services.operations.pause import Standing

_SETTING = (
    "WITHDRAWALS_PAUSED is set in this process's environment: payouts stay paused in every "
    "process that has it, until it is unset and the process is restarted."
)


class Command(DatabaseCommand):
    help = (
        "Pause all payouts, resume them, or show the state: payouts pause --reason "
        "TEXT --by NAME, payouts resume --by NAME, payouts status"
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        verbs = parser.add_subparsers(dest="verb")
        verbs.add_parser("status", help="whether they are paused (the default)")
        pausing = verbs.add_parser("pause", help="send no payment from now on")
        pausing.add_argument("--reason", required=True, help="why, for the record")
        add_actor(pausing)
        resuming = verbs.add_parser("resume", help="resume payouts")
        add_actor(resuming)

    def handle(self, *args: Any, verb: str | None, **options: Any) -> None:
        with refused("Nothing was changed"):
            if verb == "pause":
                pause.pause(reason=options["reason"], actor=options["by"])
            elif verb == "resume" and pause.resume(actor=options["by"]) is None:
                self.stdout.write("No operator had paused them.")
        for line in _lines(pause.standing()):
            self.stdout.write(line)


def _lines(standing: Standing) -> list[str]:
    lines = []
    if standing.pause is not None:
        lasting = standing.pause
        lines.append(
            f"Payouts are paused since {lasting.paused_at:%Y-%m-%dT%H:%M:%SZ}"
            f" by {one_line(lasting.paused_by)}: {one_line(lasting.reason)}"
        )
    if standing.by_setting:
        lines.append(_SETTING)
    return lines or ["Payouts run."]
