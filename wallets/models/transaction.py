"""Transactions, as clients see them: deposits, withdrawals, halves of transfers, …"""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta

from django.conf import settings
from django.db import models
from django.db.models import Case, Q, QuerySet, Value, When

from wallets.models.base import BaseModel
from wallets.models.counterparty import Counterparty
from wallets.models.fields import ExactCharField
from wallets.models.states import State, is_cancelable, state_of
from wallets.models.transaction_indexes import INDEXES
from wallets.models.transaction_rules import CONSTRAINTS
from wallets.models.wallet import Wallet
from wallets.utils.actors import MAX_ACTOR
from wallets.utils.caller import MAX_TENANT
from wallets.utils.database.transactions import database_now
from wallets.utils.words import MAX_DESCRIPTION, MAX_METADATA, MAX_REFERENCE


class Transaction(BaseModel):
    """A deposit, a withdrawal, one half of a transfer, part of a correction, or a return.

    A withdrawal is in one of its states; all others are COMPLETED when written. Only
    `services.payouts.transition` changes a withdrawal's status, by a guarded UPDATE of
    `version`. The idempotency key is the client's or, without one, a new one: so a
    writer that lost the reply to its COMMIT finds its own row.

    `actor` is who asked for it, and `tenant` the caller's, in which the key is unique:
    the wallet's tenant, or "" of an unlimited caller. Of the withdrawals from a tenant's
    wallet (`from_tenants_wallet`; False of all else) only one has a key, whoever asked:
    the bank's references are derived from wallet and key.
    """

    class TransactionType(models.TextChoices):
        DEPOSIT = "DEPOSIT"
        WITHDRAWAL = "WITHDRAWAL"
        TRANSFER_OUT = "TRANSFER_OUT"
        TRANSFER_IN = "TRANSFER_IN"
        CORRECTION_OUT = "CORRECTION_OUT"
        CORRECTION_IN = "CORRECTION_IN"
        RETURN = "RETURN"

    class Status(models.TextChoices):
        PENDING = "PENDING"
        PROCESSING = "PROCESSING"
        COMPLETED = "COMPLETED"
        FAILED = "FAILED"
        CANCELLED = "CANCELLED"

    class FailureCode(models.TextChoices):
        NONE = ""
        INSUFFICIENT_BALANCE = "insufficient_balance"
        REJECTED = "rejected_by_bank"
        NOT_SENT = "bank_unreachable"
        NOT_FOUND = "not_found_at_bank"
        NOT_PAID = "resolved_not_paid"
        WALLET_FROZEN = "wallet_frozen"

    # No columns: `services.reads.relations` reads what the row refers to.
    counterparty: Counterparty | None = None
    corrected: int | None = None
    returned: int | None = None

    wallet = models.ForeignKey(
        Wallet, on_delete=models.PROTECT, related_name="transactions", db_index=False
    )
    transaction_type = models.CharField(max_length=16, choices=TransactionType.choices)
    amount = models.PositiveBigIntegerField()
    status = models.CharField(
        max_length=10, choices=Status.choices, default=Status.PENDING
    )
    idempotency_key = models.UUIDField(default=uuid.uuid4, editable=False)
    scheduled_for = models.DateTimeField(null=True, blank=True)
    # The time of the request, since the first reschedule; NULL: never rescheduled.
    first_scheduled_for = models.DateTimeField(null=True, blank=True, editable=False)
    # When the money moved (UTC): the deposit's time, or when the payment was sent. If
    # only a look-up or an operator knows of the payment: when its attempt began.
    executed_at = models.DateTimeField(null=True, blank=True)
    retry_count = models.PositiveSmallIntegerField(default=0)
    next_attempt_at = models.DateTimeField(null=True, blank=True)
    # The withdrawal has failed, and there is no retry.
    final = models.BooleanField(default=False)
    # Since when the outcome is unknown (UTC); NULL while a sender may be at work.
    unknown_since = models.DateTimeField(null=True, blank=True)
    needs_review = models.BooleanField(default=False)
    failure_code = models.CharField(
        max_length=24, choices=FailureCode.choices, default="", blank=True
    )
    third_party_response = models.TextField(default="", blank=True)
    version = models.PositiveIntegerField(default=0, editable=False)
    # The client's own words, "" without; metadata is canonical JSON, as a wallet's.
    description = models.CharField(
        max_length=MAX_DESCRIPTION, default="", db_default="", blank=True
    )
    reference = ExactCharField(
        max_length=MAX_REFERENCE, default="", db_default="", blank=True
    )
    metadata = models.CharField(
        max_length=MAX_METADATA, default="", db_default="", blank=True
    )
    # If its wallet is frozen when it is due, it fails, or it waits for the end of that.
    fails_if_frozen = models.BooleanField(default=False, db_default=False)
    # It was due while its wallet was frozen. No sweep sees it until the freeze ends.
    waits_for_wallet = models.BooleanField(
        default=False, db_default=False, editable=False
    )
    tenant = ExactCharField(
        max_length=MAX_TENANT, default="", db_default="", blank=True, editable=False
    )
    actor = models.CharField(
        max_length=MAX_ACTOR, default="client", db_default="client", editable=False
    )
    from_tenants_wallet = models.BooleanField(
        default=False, db_default=False, editable=False
    )

    class Meta:
        ordering = ["-id"]
        indexes = INDEXES
        constraints = CONSTRAINTS

    def __str__(self) -> str:
        return f"{self.transaction_type} {self.pk} {self.status}"

    @property
    def state(self) -> State:
        """The internal state of a withdrawal.

        :raises KeyError: the row is damaged: its status is unknown.
        """
        known = self.known_state
        if known is None:
            raise KeyError(self.status)
        return known

    @property
    def known_state(self) -> State | None:
        """The internal state; None for a damaged row, whose status is unknown."""
        return state_of(self)

    @property
    def cancelable(self) -> bool:
        """Whether it can be cancelled: a withdrawal without an open attempt."""
        return is_cancelable(self)

    @property
    def requested_for(self) -> datetime | None:
        """The time of a withdrawal's request, whatever it was rescheduled for."""
        return self.first_scheduled_for or self.scheduled_for

    @classmethod
    def state_in_sql(cls) -> Case:
        """Return `known_state` as an expression of a query; "" if it is unknown."""
        processing, failed = cls.Status.PROCESSING, cls.Status.FAILED
        cases = [
            (Q(status=processing, needs_review=True), State.NEEDS_REVIEW),
            (Q(status=processing, unknown_since__isnull=False), State.UNKNOWN),
            (Q(status=processing), State.SENDING),
            (Q(status=failed, final=True), State.FAILED_FINAL),
            (Q(status=failed), State.FAILED_RETRYABLE),
            (Q(status=cls.Status.PENDING), State.PENDING),
            (Q(status=cls.Status.COMPLETED), State.COMPLETED),
            (Q(status=cls.Status.CANCELLED), State.CANCELLED),
        ]
        return Case(
            *(When(condition, then=Value(state.value)) for condition, state in cases),
            default=Value(""),
        )

    @classmethod
    def is_pending(cls) -> Q:
        """Return the condition of a withdrawal that will be due at its time."""
        return Q(status=cls.Status.PENDING, waits_for_wallet=False)

    @classmethod
    def is_under_way(cls) -> Q:
        """Return the condition of a withdrawal with an open attempt; an index has them."""
        return Q(
            transaction_type=cls.TransactionType.WITHDRAWAL,
            status=cls.Status.PROCESSING,
            waits_for_wallet=False,
        )

    @classmethod
    def has_not_ended(cls) -> Q:
        """Return the condition of a withdrawal that has not ended; an index has them."""
        return Q(status__in=[cls.Status.PENDING, cls.Status.PROCESSING]) | Q(
            status=cls.Status.FAILED, final=False
        )

    @classmethod
    def is_due(cls, now: datetime) -> Q:
        """Return the condition of a pending withdrawal that is due."""
        return cls.is_pending() & Q(
            transaction_type=cls.TransactionType.WITHDRAWAL, scheduled_for__lte=now
        )

    @classmethod
    def is_retryable(cls, now: datetime) -> Q:
        """Return the condition of a failed withdrawal whose next attempt is due.

        What is planned further ahead than any wait was planned by a wrong clock.
        """
        cap = settings.WITHDRAWAL_RETRY_CAP * (1 + settings.WITHDRAWAL_RETRY_JITTER)
        latest = now + timedelta(seconds=cap)
        return Q(
            transaction_type=cls.TransactionType.WITHDRAWAL,
            status=cls.Status.FAILED,
            final=False,
            waits_for_wallet=False,
        ) & ~Q(next_attempt_at__gt=now, next_attempt_at__lte=latest)

    @classmethod
    def get_due_pending_withdrawals(
        cls, now: datetime | None = None
    ) -> QuerySet[Transaction]:
        """Return the due pending withdrawals, earliest first."""
        due = cls.is_due(now or database_now())
        return cls.objects.filter(due).order_by("scheduled_for", "id")

    @classmethod
    def get_failed_retryable_withdrawals(
        cls, max_retries: int | None = None, now: datetime | None = None
    ) -> QuerySet[Transaction]:
        """Return the failed withdrawals whose retry is due, also beyond a lowered limit.

        `max_retries`: only those with fewer retries.
        """
        due = cls.is_retryable(now or database_now())
        if max_retries is not None:
            due &= Q(retry_count__lt=max_retries)
        return cls.objects.filter(due).order_by("next_attempt_at", "id")
