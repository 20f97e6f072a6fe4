"""Which wallets a caller may see and change: the only place that decides it.

Both transports call operations through `serve`. To a caller with a tenant, a wallet of
another tenant is as one that does not exist: it is refused here, before the service is
called. Operations that name no wallet get the caller, and choose by its tenant.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar
from uuid import UUID

from django.core.exceptions import ObjectDoesNotExist
from django.db import InterfaceError, OperationalError

from wallets.models.wallet import Wallet
from wallets.services.reads.tenants import tenants_of
from wallets.services.requests.busy import Busy
from wallets.utils.caller import Caller

if TYPE_CHECKING:
    from wallets.views.http.operation import Operation

logger = logging.getLogger(__name__)

C = TypeVar("C")
R = TypeVar("R")

# What concerns all calls of a service call: the database is out of reach.
CONCERNS_ALL = (OperationalError, InterfaceError)


@dataclass(slots=True)
class Asked(Generic[C]):
    """The arguments of a service call, and who asks."""

    caller: Caller
    call: C


def serve(
    operation: Operation[C, R], asked: Sequence[Asked[C]], *, wait: bool
) -> Sequence[R | Exception]:
    """Call the service once for each caller; return one result each, in order.

    So keys that two tenants have in common never meet in one call.

    :raises Exception: the calls of the only caller have failed. Of several callers, a
        failure is the result of the calls of one: the others' may have been done.
    """
    first = asked[0].caller
    if all(one.caller == first for one in asked):
        return _of_one(operation, first, [one.call for one in asked], wait=wait)
    numbers: dict[Caller, list[int]] = {}
    for number, one in enumerate(asked):
        numbers.setdefault(one.caller, []).append(number)
    answers: dict[int, R | Exception] = {}
    for caller, its in numbers.items():
        calls = [asked[number].call for number in its]
        try:
            results = _of_one(operation, caller, calls, wait=wait)
        except Exception as error:  # noqa: BLE001 (the others' must not fail)
            results = [_failure(error, len(calls))] * len(calls)
        answers |= zip(its, results, strict=True)
    return [answers[number] for number in range(len(asked))]


def _failure(error: Exception, count: int) -> Exception:
    """Return the result of calls that failed together: each may be made alone."""
    if count == 1 or isinstance(error, CONCERNS_ALL):
        return error
    logger.warning("%d calls of a batch failed: %s", count, type(error).__name__)
    return Busy()


def _of_one(
    operation: Operation[C, R], caller: Caller, calls: Sequence[C], *, wait: bool
) -> Sequence[R | Exception]:
    """Call the service for a caller, without what the caller may not see."""
    if not caller.tenant:
        return operation.many(calls, caller=caller, wait=wait)
    answers: dict[int, R | Exception] = {}
    left: dict[int, C] = {}
    named = [operation.wallets_of(call) for call in calls]
    unknown = hidden(caller, {uuid for some in named for uuid in some})
    for number, (call, some) in enumerate(zip(calls, named, strict=True)):
        try:
            concerned = unknown.intersection(some)
            left[number] = operation.without(call, concerned) if concerned else call
        except ObjectDoesNotExist as refusal:
            answers[number] = refusal
    if left:
        results = operation.many([*left.values()], caller=caller, wait=wait)
        answers |= zip(left, results, strict=True)
    return [answers[number] for number in range(len(calls))]


def hidden(caller: Caller, wallets: Collection[UUID]) -> set[UUID]:
    """Return those of the wallets that the caller may not see, or that do not exist.

    None for an unlimited caller, without a query.
    """
    if not caller.tenant or not wallets:
        return set()
    found = tenants_of(wallets)
    return {one for one in wallets if found.get(one) != caller.tenant}


def check(caller: Caller, wallet: UUID) -> None:
    """Refuse a wallet that the caller may not see, for an answer without `serve`.

    :raises Wallet.DoesNotExist: it is another tenant's, or does not exist.
    """
    if hidden(caller, [wallet]):
        raise Wallet.DoesNotExist(f"no wallet {wallet}")
