"""`manage.py api_key`: makes, rotates and revokes keys of the API, or lists them."""

from argparse import ArgumentParser, ArgumentTypeError
from typing import Any

from django.core.management.base import CommandError

from access.models.api_key import ApiKey
from access.services import keys
from access.services.keys import Made, Wanted
from access.utils.scopes import SCOPES
from wallets.management.arguments import add_actor, moment, one_line, seconds
from wallets.management.base import DatabaseCommand, refused
from wallets.utils.database.transactions import database_now

DAY = 86400


class Command(DatabaseCommand):
    help = (
        "Make, rotate or revoke a key of the API, or list them: api_key create NAME "
        "--scopes SCOPE... --by NAME, api_key rotate NAME --overlap SECONDS --by NAME, "
        "api_key revoke NAME --reason TEXT --by NAME, api_key list. A secret is printed "
        f"once, and nobody can show it again. Scopes: {', '.join(SCOPES)}; * is all."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        verbs.add_parser("list", help="show all keys, without secrets")
        history = verbs.add_parser("history", help="show who did what to a key")
        history.add_argument("name", type=_name)
        create = verbs.add_parser("create", help="make a key")
        create.add_argument("name", help="who calls: the actor of what it changes")
        create.add_argument("--scopes", nargs="+", required=True, metavar="SCOPE")
        create.add_argument("--tenant", default="", help="only wallets of this tenant")
        create.add_argument("--rate", type=int, help="requests in a minute, a process")
        rotate = verbs.add_parser("rotate", help="give it a new secret")
        rotate.add_argument("name", type=_name)
        rotate.add_argument(
            "--overlap",
            type=seconds,
            default=DAY,
            help="seconds that the old secret works on (default: a day)",
        )
        for one in (create, rotate):
            one.add_argument(
                "--expires", type=moment, help="when it ends, as 2030-01-31"
            )
        revoke = verbs.add_parser("revoke", help="end it, within five seconds")
        revoke.add_argument("name", type=_name)
        revoke.add_argument("--reason", required=True, help="why, for the record")
        for one in (create, rotate, revoke):
            add_actor(one)

    def handle(self, *args: Any, verb: str, **options: Any) -> None:
        with refused("Nothing was changed"):
            getattr(self, f"_{verb}")(**options)

    def _create(self, *, name: str, by: str, **options: Any) -> None:
        wanted = Wanted(
            options["scopes"], options["tenant"], options["rate"], options["expires"]
        )
        self._show(keys.create(name, wanted, actor=by))

    def _rotate(self, *, name: str, overlap: float, by: str, **options: Any) -> None:
        expires = options["expires"]
        self._show(keys.rotate(name, overlap=overlap, actor=by, expires_at=expires))

    def _revoke(self, *, name: str, reason: str, by: str, **options: Any) -> None:
        for key in keys.revoke(name, reason=reason, actor=by):
            self.stdout.write(f"revoked {key.name} {key.prefix}")

    def _list(self, **options: Any) -> None:
        now = database_now()
        for key in keys.everything():
            self.stdout.write(_line(key, key.state(now)))

    def _history(self, *, name: str, **options: Any) -> None:
        events = keys.history(name)
        if not events:
            raise CommandError(f"There is no key {name!r}.")
        for event in events:
            self.stdout.write(
                f"{event.created_at:%Y-%m-%dT%H:%M:%SZ} {event.key.prefix} {event.kind} "
                f"by {one_line(event.actor)}: {one_line(event.reason) or '-'}"
            )

    def _show(self, made: Made) -> None:
        """Print the secret to the standard output, alone on its line."""
        self.stderr.write(
            f"{_line(made.key, 'works')}\n"
            "Its secret follows. It is shown once: store it now."
        )
        self.stdout.write(made.secret)


def _name(text: str) -> str:
    """Return the name of a key, without characters that no database stores.

    :raises ArgumentTypeError: argparse prints it as one line.
    """
    if not text.isprintable():
        raise ArgumentTypeError(f"there is no key {text[:70]!r}")
    return text


def _line(key: ApiKey, state: str) -> str:
    end = f"{key.expires_at:%Y-%m-%dT%H:%M:%SZ}" if key.expires_at else "never"
    used = f"{key.last_used_at:%Y-%m-%dT%H:%MZ}" if key.last_used_at else "never"
    return (
        f"{key.name} {key.prefix} {state}, may {' '.join(key.scopes)}, tenant "
        f"{key.tenant or '-'}, rate {key.rate or 'default'}, expires {end}, used {used}"
    )
