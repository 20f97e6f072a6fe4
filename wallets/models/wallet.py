"""Wallets: identity, name, life and stored balance."""

import uuid

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Length, Upper
from django.db.models.lookups import Exact

from wallets.models.base import MAX_MONEY, BaseModel
from wallets.models.fields import CurrencyField, ExactCharField
from wallets.utils.actors import MAX_ACTOR
from wallets.utils.caller import MAX_TENANT
from wallets.utils.words import MAX_METADATA, MAX_REFERENCE


class Wallet(BaseModel):
    """An account of one customer.

    `balance` is what can be spent now, `held` what is in flight to the bank (minor
    units). Only `services.ledger.postings` and `services.ledger.ledger_postgresql` change them,
    together with a movement. `movement_count` is the number of the last movement, so
    two writers cannot use the same number. The cap is on the sum of both: held money
    must always have room to return.

    `reference` is the owner's name of the wallet, `metadata` a flat object of texts as
    canonical JSON ("": none). Only `services.wallets.history` changes them and the life of the
    wallet (`frozen_in`, `frozen_out`, `closed`), together with a `WalletChange`, whose
    last number is `change_count`. `updated_at` dates the last movement, not a change.

    `tenant` is that of the caller who created it ("": an unlimited one), `created_by`
    the caller's name. They never change. Reference and creation key are unique within
    the tenant.
    """

    class State(models.TextChoices):
        ACTIVE = "active"
        FROZEN_IN = "frozen_in"  # takes no money
        FROZEN_OUT = "frozen_out"  # gives no money
        FROZEN = "frozen"  # both
        CLOSED = "closed"  # for good

    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    balance = models.PositiveBigIntegerField(default=0)
    held = models.PositiveBigIntegerField(default=0, editable=False)
    movement_count = models.PositiveBigIntegerField(default=0, editable=False)
    reference = ExactCharField(max_length=MAX_REFERENCE, null=True, blank=True)
    currency = CurrencyField()
    metadata = models.CharField(
        max_length=MAX_METADATA, default="", db_default="", blank=True
    )
    frozen_in = models.BooleanField(default=False, db_default=False, editable=False)
    frozen_out = models.BooleanField(default=False, db_default=False, editable=False)
    closed = models.BooleanField(default=False, db_default=False, editable=False)
    # Withdrawals of this wallet may wait until it is not frozen any more.
    has_waiting = models.BooleanField(default=False, db_default=False, editable=False)
    # The idempotency key of the request that created it, if it had one.
    creation_key = models.UUIDField(null=True, blank=True, editable=False)
    change_count = models.PositiveIntegerField(default=0, db_default=0, editable=False)
    tenant = ExactCharField(
        max_length=MAX_TENANT, default="", db_default="", blank=True, editable=False
    )
    created_by = models.CharField(
        max_length=MAX_ACTOR, default="client", db_default="client", editable=False
    )

    class Meta:
        indexes = [
            # Wallets that are not frozen any more, and whose withdrawals still wait.
            models.Index(
                fields=["has_waiting", "frozen_out"],
                name="wallet_to_release",
                condition=Q(has_waiting=True, frozen_out=False),
            ),
            # For the list of all wallets.
            models.Index(fields=["created_at", "id"], name="wallet_by_time"),
            # For the list of a tenant's wallets.
            models.Index(
                fields=["tenant", "created_at", "id"], name="wallet_by_tenant"
            ),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(balance__gte=0) & Q(balance__lte=MAX_MONEY),
                name="wallet_balance_within_limits",
            ),
            models.CheckConstraint(
                condition=Q(held__gte=0) & Q(held__lte=MAX_MONEY - F("balance")),
                name="wallet_held_has_room_to_return",
            ),
            models.UniqueConstraint(
                fields=["reference", "tenant"],
                name="wallet_reference_of_tenant_unique",
            ),
            models.UniqueConstraint(
                fields=["creation_key", "tenant"],
                name="wallet_creation_key_of_tenant_unique",
            ),
            models.CheckConstraint(
                condition=Q(reference__isnull=True) | ~Q(reference=""),
                name="wallet_reference_not_empty",
            ),
            models.CheckConstraint(
                condition=Q(Exact(Length("currency"), 3), currency=Upper("currency")),
                name="wallet_currency_has_three_letters",
            ),
            models.CheckConstraint(
                condition=Q(closed=False) | Q(balance=0, held=0),
                name="wallet_closed_is_empty",
            ),
        ]

    def __str__(self) -> str:
        return str(self.uuid)

    @property
    def state(self) -> str:
        """The state of its life, as clients see it."""
        if self.closed:
            return self.State.CLOSED.value
        if self.frozen_in and self.frozen_out:
            return self.State.FROZEN.value
        if self.frozen_in:
            return self.State.FROZEN_IN.value
        return (self.State.FROZEN_OUT if self.frozen_out else self.State.ACTIVE).value
