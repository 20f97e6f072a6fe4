"""Keys: made, rotated, revoked, listed. The only writer of keys and their history."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Q

from access.errors import InvalidKey, KeyChanged, NameTaken, NoSuchKey
from access.models.api_key import MAX_NAME, MAX_REASON, ApiKey
from access.models.key_event import KeyEvent
from access.utils import scopes as names
from access.utils import secret as secrets
from wallets.errors import LostRace
from wallets.services.requests.checks import check_actor
from wallets.utils import instants
from wallets.utils.caller import ANYBODY, TENANT, TENANTS
from wallets.utils.database.transactions import (
    database_now,
    guarded_update,
    lock_rows,
    run_in_transaction,
)

Kind = KeyEvent.Kind

# What `_NAME` takes, in words.
NAMES = (
    f"1 to {MAX_NAME} lower-case letters, digits, dots, hyphens and underscores, the first "
    "one a letter or a digit"
)
# One word, so that no key has the name of an operator ("operator oscar") or of a worker.
_NAME = re.compile(rf"[a-z0-9][a-z0-9._-]{{0,{MAX_NAME - 1}}}")
# The actors of what has no key.
RESERVED = frozenset({ANYBODY.actor, "operator", "worker", "manage.py"})
MAX_RATE = 10_000_000
MAX_OVERLAP = 30 * 86400  # seconds


@dataclass(frozen=True)
class Wanted:
    """What a new key may do, and how long it works. `rate`: requests in a minute."""

    scopes: Sequence[str]
    tenant: str = ""
    rate: int | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True)
class Made:
    """A new key, and its secret, which is never shown again."""

    key: ApiKey
    secret: str = field(repr=False)


def create(name: str, wanted: Wanted, *, actor: str) -> Made:
    """Make a key. It works in each process within two seconds.

    Opens its own transaction.

    :raises InvalidInput: a value that a key cannot have.
    :raises NameTaken: a key has this name, and is neither revoked nor rotated away.
    """
    check_actor(actor)
    _check(name, wanted)
    made = secrets.make()

    def work() -> ApiKey:
        earlier = ApiKey.objects.filter(digest=made.digest).first()
        if earlier is not None:
            return earlier  # the reply to an earlier COMMIT was lost
        now = database_now()
        _check_expiry(wanted.expires_at, now)
        if ApiKey.objects.filter(name=name, current=True).exists():
            raise NameTaken(
                f"There is a key {name}. Rotate it, or revoke it and make another one."
            )
        return _insert(name, made, wanted, actor=actor, now=now)

    return Made(run_in_transaction(work), made.secret)


def rotate(
    name: str,
    *,
    overlap: float,
    actor: str,
    expires_at: datetime | None = None,
    expected_prefix: str | None = None,
) -> Made:
    """Give a key a new secret; the old one works for `overlap` more seconds.

    Opens its own transaction. The new key may do the same, and lives as long as the old
    one was to live, if no end is given.

    :raises InvalidInput: an overlap that is negative or longer than 30 days.
    :raises NoSuchKey: there is no key of this name.
    :raises KeyChanged: its prefix is not the expected one.
    """
    check_actor(actor)
    if not 0 <= overlap <= MAX_OVERLAP:
        raise InvalidKey(
            f"The overlap must be from 0 to {MAX_OVERLAP} seconds.", field="overlap"
        )
    made = secrets.make()

    def work() -> ApiKey:
        earlier = ApiKey.objects.filter(digest=made.digest).first()
        if earlier is not None:
            return earlier  # the reply to an earlier COMMIT was lost
        old = _locked(name, expected_prefix)
        now = database_now()
        _check_expiry(expires_at, now)
        wanted = Wanted(old.scopes, old.tenant, old.rate, expires_at)
        if expires_at is None and old.expires_at is not None:
            life = old.expires_at - old.created_at
            wanted = Wanted(old.scopes, old.tenant, old.rate, now + life)
        ends = now + timedelta(seconds=overlap)
        if old.expires_at is not None:
            ends = min(ends, old.expires_at)
        # After this point nothing is refused.
        guarded_update(
            ApiKey, {"pk": old.pk, "current": True}, current=None, expires_at=ends
        )
        said = {"replaced_by": made.prefix, "ends": ends.isoformat()}
        _tell(old, Kind.ROTATED, actor=actor, now=now, said=said)
        return _insert(name, made, wanted, actor=actor, now=now, old=old)

    return Made(run_in_transaction(work), made.secret)


def revoke(
    name: str, *, reason: str, actor: str, expected_prefix: str | None = None
) -> list[ApiKey]:
    """Revoke the key, and those that it replaced and that still work.

    Opens its own transaction. No process takes them five seconds later.

    :raises InvalidInput: no reason, or one that is too long.
    :raises NoSuchKey: no key of this name can be revoked.
    :raises KeyChanged: its prefix is not the expected one.
    """
    check_actor(actor)
    why = reason.strip()
    if not why or len(why) > MAX_REASON or not why.isprintable():
        raise InvalidKey(
            f"Say why, in 1 to {MAX_REASON} printable characters.", field="reason"
        )
    marked: list[int] = []

    def work() -> list[ApiKey]:
        mine = {"revoked_by": actor, "revoked_reason": why}
        earlier = list(ApiKey.objects.filter(pk__in=marked, **mine))
        if marked and len(earlier) == len(marked):
            return earlier  # the reply to an earlier COMMIT was lost
        marked.clear()
        now = database_now()
        rows = _all_locked(name, now)
        if not rows:
            raise NoSuchKey(f"There is no key {name!r} that could be revoked.")
        _check_prefix(rows[-1], expected_prefix)
        # After this point nothing is refused.
        for key in rows:
            guarded_update(
                ApiKey,
                {"pk": key.pk, "revoked_at": None},
                revoked_at=now,
                current=None,
                **mine,
            )
            _tell(key, Kind.REVOKED, actor=actor, now=now, reason=why)
            marked.append(key.pk)
        return list(ApiKey.objects.filter(pk__in=marked))

    return run_in_transaction(work)


def everything() -> list[ApiKey]:
    """Return all keys, also revoked ones, in the order in which they were made."""
    return list(ApiKey.objects.order_by("pk"))


def history(name: str) -> list[KeyEvent]:
    """Return what was done to the keys of this name, in order."""
    rows = KeyEvent.objects.filter(key__name=name).select_related("key")
    return list(rows.order_by("pk"))


def _working(name: str, now: datetime) -> Any:
    """Return the query of what a revocation ends: also a newest key that has expired."""
    alive = Q(current=True) | Q(expires_at__gt=now)
    return ApiKey.objects.filter(alive, name=name, revoked_at=None)


def _all_locked(name: str, now: datetime) -> list[ApiKey]:
    """Lock what a revocation ends, oldest first. Call inside a transaction.

    A rotation that commits while we wait for its lock inserts a row that the waiting
    statement does not see. Once the newest row is locked, nobody can rotate it.
    """
    rows: list[ApiKey] = []
    while True:
        again = list(lock_rows(_working(name, now).order_by("pk")))
        if again == rows:
            return rows
        rows = again


def _locked(name: str, expected_prefix: str | None) -> ApiKey:
    current = ApiKey.objects.filter(name=name, current=True)
    rows = lock_rows(current)
    if not rows and current.exists():
        raise LostRace(f"key {name}")  # rotated while we waited: run again
    if not rows:
        raise NoSuchKey(f"There is no key {name!r}.")
    key: ApiKey = rows[0]
    _check_prefix(key, expected_prefix)
    return key


def _check_prefix(key: ApiKey, expected: str | None) -> None:
    if expected is not None and key.prefix != expected:
        raise KeyChanged(f"The key {key.name} is now {key.prefix}. Look at it again.")


def _insert(
    name: str,
    made: secrets.Made,
    wanted: Wanted,
    *,
    actor: str,
    now: datetime,
    old: ApiKey | None = None,
) -> ApiKey:
    """Write the key and its history. Call inside a transaction."""
    key = ApiKey.objects.create(
        name=name,
        prefix=made.prefix,
        digest=made.digest,
        scopes=sorted(set(wanted.scopes)),
        tenant=wanted.tenant,
        rate=wanted.rate,
        created_at=now,
        created_by=actor,
        expires_at=wanted.expires_at,
        rotated_from=old,
    )
    said = {
        "prefix": key.prefix,
        "scopes": key.scopes,
        "tenant": key.tenant,
        "rate": key.rate,
        "expires": key.expires_at and key.expires_at.isoformat(),
    }
    _tell(key, Kind.CREATED, actor=actor, now=now, said=said)
    return key


def _tell(key: ApiKey, kind: Kind, *, now: datetime, **columns: Any) -> None:
    KeyEvent.objects.create(key=key, kind=kind, created_at=now, **columns)


def _check(name: str, wanted: Wanted) -> None:
    if not _NAME.fullmatch(name) or name in RESERVED:
        raise InvalidKey(
            f"A name has {NAMES}, and is none of {', '.join(sorted(RESERVED))}.",
            field="name",
        )
    if not wanted.scopes:
        raise InvalidKey("Say what the key may do.", field="scopes")
    if strange := names.unknown(wanted.scopes):
        raise InvalidKey(
            f"There is no scope {strange[0][:50]!r}. The scopes are "
            f"{', '.join(names.SCOPES)}, and {names.EVERYTHING} for all.",
            field="scopes",
        )
    if wanted.tenant and not TENANT.fullmatch(wanted.tenant):
        raise InvalidKey(
            f"A tenant has {TENANTS}.",
            field="tenant",
        )
    if wanted.rate is not None and not 1 <= wanted.rate <= MAX_RATE:
        raise InvalidKey(f"The rate must be from 1 to {MAX_RATE}.", field="rate")


def _check_expiry(expires_at: datetime | None, now: datetime) -> None:
    if expires_at is not None and expires_at <= now:
        end = instants.write(expires_at)
        raise InvalidKey(
            f"The key would end at {end}, which is not in the future.",
            field="expires_at",
        )
