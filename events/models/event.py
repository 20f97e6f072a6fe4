"""Events: the place of each change of the ledger in the one order of the feed.

Only `services.sequencer` writes rows. Triggers refuse every change of a row.
"""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from wallets.models.wallet import Wallet


class Source(models.IntegerChoices):
    """The append-only tables from whose rows events are made."""

    WALLET = 1  # wallets_wallet: the row's creation
    MOVEMENT = 2  # wallets_movement
    TRANSITION = 3  # wallets_transition
    WALLET_CHANGE = 4  # wallets_walletchange


class EventType(models.TextChoices):
    """What happened. A release may add types; none ever changes its meaning."""

    WALLET_CREATED = "wallet.created"
    # Its reference or its metadata.
    WALLET_CHANGED = "wallet.changed"
    WALLET_FROZEN = "wallet.frozen"
    WALLET_UNFROZEN = "wallet.unfrozen"
    WALLET_CLOSED = "wallet.closed"
    DEPOSIT_COMPLETED = "deposit.completed"
    # Each transfer is one `completed`, of the wallet that paid, and one `received`, of
    # the other one: each wallet has the event at its place in its own statement.
    TRANSFER_COMPLETED = "transfer.completed"
    TRANSFER_RECEIVED = "transfer.received"
    # Of a corrected transfer there is one for each wallet.
    CORRECTION_POSTED = "correction.posted"
    WITHDRAWAL_SCHEDULED = "withdrawal.scheduled"
    # It has another time, and no attempt was made yet.
    WITHDRAWAL_RESCHEDULED = "withdrawal.rescheduled"
    # The money is held, and a request to the bank has begun.
    WITHDRAWAL_PROCESSING = "withdrawal.processing"
    WITHDRAWAL_COMPLETED = "withdrawal.completed"
    # Not paid, the money is back, and there will be another attempt.
    WITHDRAWAL_ATTEMPT_FAILED = "withdrawal.attempt_failed"
    # Not paid, the money is back, and there will be no other attempt.
    WITHDRAWAL_FAILED = "withdrawal.failed"
    WITHDRAWAL_CANCELLED = "withdrawal.cancelled"
    # The bank's answer proved nothing. The money stays held.
    WITHDRAWAL_UNKNOWN = "withdrawal.unknown"
    # The same request was sent again, to a bank that pays a reference once.
    WITHDRAWAL_RESENT = "withdrawal.resent"
    # Only an operator can find out. The money stays held.
    WITHDRAWAL_NEEDS_REVIEW = "withdrawal.needs_review"
    # An operator asked for the next attempt at once.
    WITHDRAWAL_RETRY_REQUESTED = "withdrawal.retry_requested"
    # The bank has sent a completed payment back, and the money is back in the wallet.
    WITHDRAWAL_RETURNED = "withdrawal.returned"


class Event(models.Model):
    """One change of the ledger, and its place.

    `position` is 1, 2, 3 … without gaps, in the order of the commits that gave it: a
    reader that has seen position n finds every later event above n. The content of an
    event is not stored here: it is read from the row of the ledger, which never changes.
    `created_at` is that row's time (UTC); it may decrease from one event to the next.
    """

    append_only = True

    position = models.PositiveBigIntegerField(primary_key=True)
    source = models.PositiveSmallIntegerField(choices=Source.choices)
    source_id = models.PositiveBigIntegerField()
    # No key in the database: the row of the ledger has one, and neither ever changes.
    wallet = models.ForeignKey(
        Wallet,
        on_delete=models.PROTECT,
        related_name="+",
        db_constraint=False,
        db_index=False,
    )
    type = models.CharField(max_length=32, choices=EventType.choices)
    created_at = models.DateTimeField(editable=False)

    class Meta:
        ordering = ["position"]
        indexes = [
            models.Index(fields=["wallet", "position"], name="event_by_wallet"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["source", "source_id"], name="event_once_per_row"
            ),
            models.CheckConstraint(
                condition=Q(position__gte=1), name="event_position_positive"
            ),
            models.CheckConstraint(condition=~Q(type=""), name="event_type_not_empty"),
        ]

    def __str__(self) -> str:
        return f"{self.position} {self.type}"
