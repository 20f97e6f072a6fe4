"""Checks of the services' arguments."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import datetime, timedelta

from django.conf import settings
from django.utils import timezone

from wallets.errors import InvalidAmount, InvalidInput, InvalidSchedule
from wallets.models.base import MAX_MONEY
from wallets.models.wallet import Wallet
from wallets.utils import words
from wallets.utils.actors import MAX_ACTOR


class UnknownWallet(Wallet.DoesNotExist):
    """No wallet has the UUID that a field of the request has."""

    def __init__(self, wallet_uuid: uuid.UUID, *, field: str) -> None:
        super().__init__(f"no wallet {wallet_uuid}")
        self.field = field


def check_actor(actor: str) -> None:
    """Refuse an actor that the history cannot hold. Pure.

    :raises InvalidInput: the actor is empty, too long, or not printable.
    """
    if not actor.strip() or len(actor) > MAX_ACTOR or not actor.isprintable():
        raise InvalidInput(
            f"Say who you are, in 1 to {MAX_ACTOR} printable characters.", field="actor"
        )


def is_amount(amount: object) -> bool:
    """Whether it is an integer from 1 to 10**15 (minor units)."""
    return type(amount) is int and 1 <= amount <= MAX_MONEY


def checked_amount(amount: object) -> int:
    """Return the amount: an integer from 1 to 10**15 (minor units).

    :raises InvalidAmount: anything else; a boolean or a float is no integer.
    """
    if type(amount) is not int:
        raise InvalidAmount("The amount must be an integer.", field="amount")
    if amount < 1:
        raise InvalidAmount("The amount must be positive.", field="amount")
    if amount > MAX_MONEY:
        raise InvalidAmount(
            f"The amount must be at most {MAX_MONEY}.",
            field="amount",
            code="amount_too_large",
        )
    return amount


def checked_words(
    field: str, check: Callable[[object], str], value: object
) -> str | None:
    """Return what `check`, a function of `utils.words`, makes of the value. Pure.

    None stays None.

    :raises InvalidInput: the words are not allowed; `field` is their name.
    """
    try:
        return None if value is None else check(value)
    except words.NotAllowed as refusal:
        raise InvalidInput(str(refusal), field=field, code=refusal.code) from None


def is_instant(moment: object) -> bool:
    """Whether it is a date and a time with an offset."""
    return isinstance(moment, datetime) and not timezone.is_naive(moment)


def checked_schedule(scheduled_for: object, *, now: datetime) -> datetime:
    """Return the time: an instant after `now`, within the horizon.

    :raises InvalidSchedule: a naive, past or too distant time.
    """
    if not isinstance(scheduled_for, datetime) or not is_instant(scheduled_for):
        raise InvalidSchedule(
            "The time must have a date, a time and an offset.", field="scheduled_for"
        )
    if scheduled_for <= now:
        raise InvalidSchedule(
            "The time must be in the future.",
            field="scheduled_for",
            code="scheduled_for_in_the_past",
        )
    horizon = timedelta(days=settings.WITHDRAWAL_MAX_HORIZON_DAYS)
    if scheduled_for - now > horizon:
        raise InvalidSchedule(
            f"The time must be within {horizon.days} days from now.",
            field="scheduled_for",
            code="scheduled_for_too_far",
        )
    return scheduled_for


def checked_uuid(wallet_uuid: uuid.UUID | str) -> uuid.UUID:
    """Return the wallet's UUID.

    :raises Wallet.DoesNotExist: it is not a UUID, so no wallet has it.
    """
    try:
        return (
            wallet_uuid
            if isinstance(wallet_uuid, uuid.UUID)
            else uuid.UUID(wallet_uuid)
        )
    except (ValueError, AttributeError, TypeError):
        raise Wallet.DoesNotExist(f"no wallet {wallet_uuid!r}") from None
