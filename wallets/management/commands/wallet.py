"""`manage.py wallet`: freezes, unfreezes or closes a wallet, or shows it."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from wallets.management.arguments import add_actor, one_line, row_uuid
from wallets.management.base import DatabaseCommand, refused
from wallets.models.wallet import Wallet
from wallets.services.reads.current import wallets_by_uuid
from wallets.services.wallets import life


class Command(DatabaseCommand):
    help = (
        "Freeze, unfreeze or close a wallet, or show it: wallet freeze UUID --direction "
        "in|out|both --reason TEXT --by NAME, wallet close UUID --reason TEXT --by NAME, "
        "wallet show UUID"
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        for verb, told in (
            ("show", "show its state and its history"),
            ("freeze", "stop what comes in, what goes out, or both"),
            ("unfreeze", "end a freeze; what waited is paid"),
            ("close", "close it for good: it must be empty"),
        ):
            one = verbs.add_parser(verb, help=told)
            one.add_argument("uuid", type=row_uuid, help="the wallet")
            if verb == "show":
                continue
            if verb != "close":
                one.add_argument("--direction", choices=life.DIRECTIONS, default="both")
            one.add_argument("--reason", required=True, help="why, for the record")
            add_actor(one)

    def handle(self, *args: Any, verb: str, **options: Any) -> None:
        said: Any = {"reason": options.get("reason"), "actor": options.get("by")}
        try:
            with refused("Nothing was changed"):
                if verb == "freeze":
                    life.freeze(options["uuid"], options["direction"], **said)
                elif verb == "unfreeze":
                    life.unfreeze(options["uuid"], options["direction"], **said)
                elif verb == "close":
                    life.close(options["uuid"], **said)
        except Wallet.DoesNotExist:
            raise CommandError(f"There is no wallet {options['uuid']}.") from None
        self._show(options["uuid"])

    def _show(self, uuid: Any) -> None:
        (wallet,) = wallets_by_uuid([uuid])
        if isinstance(wallet, Exception):
            raise CommandError(f"There is no wallet {uuid}.")
        self.stdout.write(
            f"wallet {wallet.uuid} {wallet.state}, {wallet.balance} {wallet.currency}"
            f" minor units, {wallet.held} held"
        )
        for one in wallet.changes.order_by("sequence"):
            self.stdout.write(
                f"{one.created_at:%Y-%m-%dT%H:%M:%SZ} {one.event} by "
                f"{one_line(one.actor)}: {one_line(one.reason) or '-'} "
                f"({one_line(one.before)} to {one_line(one.after)})"
            )
