"""Creating wallets: many in one call, with one result each.

Wallets without reference and key are created by one INSERT. The others may conflict
with existing ones: those that conflict are looked at one by one, and do not stop the
others.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import NamedTuple

from django.db import connection

from wallets.errors import IdempotencyKeyReused, LostRace, ReferenceTaken, Refusal
from wallets.models.fields import default_currency
from wallets.models.wallet import Wallet
from wallets.services.ledger import ledger_postgresql
from wallets.services.requests import idempotency
from wallets.services.requests.busy import Busy
from wallets.services.requests.group import KEY_WAIT_SECONDS, in_halves
from wallets.services.wallets import history
from wallets.utils.caller import ANYBODY, Caller
from wallets.utils.database.batch import as_stored
from wallets.utils.database.transactions import (
    CLIENT_PATIENCE_SECONDS,
    database_now,
    limit_lock_wait,
    run_in_transaction,
    run_unless_locked,
)
from wallets.utils.words import canonical


class CreateRequest(NamedTuple):
    """A wallet to create, with words that `utils.words` allows.

    `metadata` is canonical JSON. None: the default currency, or no words.
    """

    reference: str | None = None
    currency: str | None = None
    metadata: str | None = None
    key: uuid.UUID | None = None

    @property
    def is_plain(self) -> bool:
        """Whether it conflicts with no other wallet."""
        return self == _PLAIN


_PLAIN = CreateRequest()


class CreateReceipt(NamedTuple):
    """A wallet that this request, or an earlier one with its key, has created."""

    wallet: Wallet
    replayed: bool = False


CreateResult = CreateReceipt | Refusal | Busy
# A request with the UUID that its wallet gets.
_Asked = tuple[uuid.UUID, CreateRequest]
_Results = dict[int, CreateResult]


def create_many(
    requests: Sequence[CreateRequest],
    *,
    caller: Caller = ANYBODY,
    now: datetime | None = None,
    wait: bool = True,
) -> list[CreateResult]:
    """Create a caller's wallets; return one result for each request, in order.

    Keys and references belong to the caller's tenant. Opens its own transactions. A
    result is the receipt, or the refusal: `IdempotencyKeyReused` (the key stands for another request) or `ReferenceTaken`. A
    repeated key returns the wallet as it is now. With `wait=False` a request that would
    wait for another transaction gets `Busy`.

    If the reply to a COMMIT is lost, a request without a key may create two plain
    wallets; the first one stays empty and unknown to clients.
    """
    asked = dict(enumerate((uuid.uuid4(), one) for one in requests))
    plain = [n for n, (_, one) in asked.items() if one.is_plain]
    answers: _Results = {}
    if plain:
        made = run_in_transaction(
            lambda: open_plain([asked[n][0] for n in plain], now, caller),
            patience=CLIENT_PATIENCE_SECONDS,
            one_statement=True,
        )
        answers |= zip(plain, map(CreateReceipt, made), strict=True)
    named = {n: one for n, one in asked.items() if n not in answers}
    if named and wait:
        work = partial(_create_in_steps, named, now, caller)
        answers |= run_in_transaction(work, patience=CLIENT_PATIENCE_SECONDS)
    elif named:
        unless_locked = partial(_unless_locked, now=now, caller=caller)
        found = in_halves(unless_locked, [*named.values()])
        answers |= zip(named, found, strict=True)
    return [answers[n] for n in asked]


def open_plain(
    uuids: Sequence[uuid.UUID], now: datetime | None, caller: Caller = ANYBODY
) -> list[Wallet]:
    """Create a caller's empty wallets. One statement: call inside a transaction or as its own."""
    if connection.vendor == "postgresql":
        opened = ledger_postgresql.open_wallets(uuids, caller=caller, now=now)
        currency = default_currency()
        made = {
            one: as_stored(
                Wallet,
                id=pk,
                uuid=one,
                currency=currency,
                tenant=caller.tenant,
                created_by=caller.actor,
                created_at=at,
                updated_at=at,
            )
            for one, pk, at in opened
        }
        return [made[one] for one in uuids]
    moment = now or database_now()
    rows = [_row(one, _PLAIN, moment, caller) for one in uuids]
    Wallet.objects.bulk_create(rows)
    if connection.features.can_return_rows_from_bulk_insert:
        return rows
    # MySQL does not return their ids.
    known = Wallet.objects.in_bulk(list(uuids), field_name="uuid")
    return [known[one] for one in uuids]


def _unless_locked(
    asked: dict[int, _Asked], *, now: datetime | None, caller: Caller
) -> _Results | None:
    """Create without waiting. None, and no change: another transaction is in the way."""

    def work() -> _Results:
        limit_lock_wait(KEY_WAIT_SECONDS)
        return _create_in_steps(asked, now, caller)

    return run_unless_locked(work)


def _create_in_steps(
    asked: dict[int, _Asked], now: datetime | None, caller: Caller
) -> _Results:
    """Create the wallets whose key and reference are free. Call inside a transaction.

    Among requests with the same key or reference the first one counts.
    """
    tenant = caller.tenant
    requests = [one for _, one in asked.values()]
    keys = [one.key for one in requests if one.key is not None]
    used = idempotency.find_made(keys, tenant=tenant) if keys else {}
    taken = _taken(requests, tenant) | used.keys()
    rows, moment = [], now or database_now()
    for uuid_, one in asked.values():
        names = {name for name in (one.key, one.reference) if name is not None}
        if taken.isdisjoint(names) or not names:
            taken |= names
            rows.append(_row(uuid_, one, moment, caller))
    # In the order of their keys and references, so that the same requests, made twice
    # at once, wait for each other in one order. A conflict is not an error: an error
    # would undo the others.
    rows.sort(key=lambda row: (str(row.creation_key or ""), row.reference or ""))
    Wallet.objects.bulk_create(rows, ignore_conflicts=True)
    uuids = [one for one, _ in asked.values()]
    made = Wallet.objects.in_bulk(uuids, field_name="uuid")
    known = Wallet.objects.filter(creation_key__in=keys, tenant=tenant)
    by_key = {row.creation_key: row for row in known}
    return {
        n: (
            CreateReceipt(made[uuid_])
            if uuid_ in made
            else _conflict(one, by_key.get(one.key), one.key in used, tenant)
        )
        for n, (uuid_, one) in asked.items()
    }


def _taken(
    requests: Sequence[CreateRequest], tenant: str
) -> set[uuid.UUID | str | None]:
    """Return these requests' keys and references that the tenant's wallets have."""
    found: set[uuid.UUID | str | None] = set()
    for column, asked in (
        ("creation_key", {one.key for one in requests}),
        ("reference", {one.reference for one in requests}),
    ):
        # One query for each, because each has an index of its own.
        rows = Wallet.objects.filter(**{f"{column}__in": asked - {None}}, tenant=tenant)
        found.update(rows.values_list(column, flat=True))
    return found


def _row(
    uuid_: uuid.UUID, request: CreateRequest, moment: datetime, caller: Caller
) -> Wallet:
    return Wallet(
        uuid=uuid_,
        reference=request.reference,
        currency=request.currency or default_currency(),
        metadata=request.metadata or "",
        creation_key=request.key,
        tenant=caller.tenant,
        created_by=caller.actor,
        created_at=moment,
    )


def _conflict(
    request: CreateRequest, made: Wallet | None, used_elsewhere: bool, tenant: str
) -> CreateResult:
    """Return the result of a request whose wallet was not inserted.

    :raises LostRace: nothing is in its way any more.
    """
    if made is not None and _as_created(made) == _as_asked(request):
        return CreateReceipt(made, replayed=True)
    if made is not None or used_elsewhere:
        return IdempotencyKeyReused(
            "This idempotency key was used for another request before."
        )
    taken = Wallet.objects.filter(reference=request.reference, tenant=tenant)
    if request.reference is not None and taken.exists():
        return ReferenceTaken("Another wallet has this reference.")
    raise LostRace("a wallet was in the way and is not there any more")


def _as_asked(request: CreateRequest) -> tuple[str | None, str, str]:
    currency = request.currency or default_currency()
    return request.reference, currency, request.metadata or ""


def _as_created(wallet: Wallet) -> tuple[str | None, str, str]:
    """Return reference, currency and metadata as the wallet was created with them."""
    first = history.as_created([wallet])[wallet.pk]
    metadata = canonical(first["metadata"]) if first["metadata"] else ""
    return first["reference"], wallet.currency, metadata
