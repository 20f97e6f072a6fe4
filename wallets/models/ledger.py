"""The ledger: one row per movement of money, from one account to another.

Only `services.ledger.postings`, and on PostgreSQL the statements of
`services.ledger.ledger_postgresql` and `transfers_postgresql`, write rows. Triggers refuse
every change of a row. Each row names both accounts and one positive amount, so the
accounts always balance. pgledger and TigerBeetle have the same design.
"""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Least
from django.db.models.lookups import In

from wallets.models.base import MAX_MONEY, WrittenAtField
from wallets.models.composite_key import LEG, ForeignKeyConstraint
from wallets.models.counterparty import Counterparty
from wallets.models.expressions import Joined
from wallets.models.states import TRANSITIONS
from wallets.models.transaction import Transaction
from wallets.models.wallet import Wallet

# Kind, leg, accounts from and to; 1 for a movement of an attempt, or 0.
MOVEMENTS = [
    "deposit open outside wallet 0",
    "hold open wallet in_flight 1",
    "settle close in_flight outside 1",
    "release close in_flight wallet 1",
    "transfer_out out wallet clearing 0",
    "transfer_in in clearing wallet 0",
    "correction_out back wallet outside 0",
    "correction_in back outside wallet 0",
    "return bank outside wallet 0",
]
_LEGS = {kind: leg for kind, leg, *_ in map(str.split, MOVEMENTS)}
# The legs of the movements that an event of a withdrawal posts, in order. A movement of
# an attempt belongs to the event that has its leg.
LEGS_OF_EVENTS = {
    event.value: tuple(_LEGS[kind] for kind in rule.movements)
    for (_, event), rule in TRANSITIONS.items()
    if rule.money
}


class Account(models.TextChoices):
    """The accounts between which money moves. Only wallets have a stored balance."""

    WALLET = "wallet"
    IN_FLIGHT = "in_flight"  # held for an open attempt
    OUTSIDE = "outside"  # everything outside of the service
    CLEARING = "clearing"  # between the two wallets of a transfer; always 0


class Movement(models.Model):
    """One movement of money into or out of a wallet, or out of its money in flight.

    `sequence` is the number in the wallet's statement, without gaps. `balance_after` is
    the wallet's balance after the movement (minor units). A settle does not change the
    balance: the hold has reduced it.
    """

    class Kind(models.TextChoices):
        DEPOSIT = "deposit"
        HOLD = "hold"
        SETTLE = "settle"
        RELEASE = "release"
        TRANSFER_OUT = "transfer_out"
        TRANSFER_IN = "transfer_in"
        CORRECTION_OUT = "correction_out"
        CORRECTION_IN = "correction_in"
        RETURN = "return"

    class Leg(models.TextChoices):
        """A hold opens the money of an attempt; a settle or a release closes it.

        The halves of a transfer, corrections, and what a bank has returned have legs of
        their own, to which their rows refer.
        """

        OPEN = "open"
        CLOSE = "close"
        OUT = "out"
        IN = "in"
        BACK = "back"
        BANK = "bank"

    # No columns: `services.reads.relations` reads what the row refers to.
    counterparty: Counterparty | None = None
    corrected: int | None = None
    returned: int | None = None
    # Nor this: `services.reads.actors` finds who made it.
    actor: str = ""

    # Neither has a foreign key of its own in the database:
    # `movement_in_its_transactions_wallet` covers both. Unique constraints begin with
    # each of them, so neither needs an index of its own.
    wallet = models.ForeignKey(
        Wallet,
        on_delete=models.PROTECT,
        related_name="movements",
        db_constraint=False,
        db_index=False,
    )
    transaction = models.ForeignKey(
        Transaction,
        on_delete=models.PROTECT,
        related_name="movements",
        db_constraint=False,
        db_index=False,
    )
    # The transfer of which it is one half; NULL for other kinds. Its key is
    # `movement_half_of_a_transfer`.
    transfer = models.ForeignKey(
        "wallets.Transfer",
        to_field="uuid",
        on_delete=models.PROTECT,
        related_name="movements",
        null=True,
        blank=True,
        db_constraint=False,
        db_index=False,
    )
    # The number of the attempt; 0 if the movement has none.
    attempt_number = models.PositiveSmallIntegerField(default=0)
    kind = models.CharField(max_length=16, choices=Kind.choices)
    leg = models.CharField(max_length=5, choices=Leg.choices)
    from_account = models.CharField(max_length=9, choices=Account.choices)
    to_account = models.CharField(max_length=9, choices=Account.choices)
    amount = models.PositiveBigIntegerField()
    sequence = models.PositiveBigIntegerField()
    balance_after = models.PositiveBigIntegerField()
    created_at = WrittenAtField(editable=False)

    class Meta:
        ordering = ["id"]
        indexes = [
            # A past balance is found as one row of this index.
            models.Index(
                fields=["wallet", "created_at", "sequence"], name="movement_by_time"
            )
        ]
        constraints = [
            ForeignKeyConstraint(
                fields=["wallet", "transaction"],
                to_fields=["wallet", "id"],
                name="movement_in_its_transactions_wallet",
            ),
            models.UniqueConstraint(
                fields=["wallet", "sequence"], name="movement_sequence_unique"
            ),
            # One per leg, because a transaction has one wallet. The target of the keys
            # of transfers, corrections and returns.
            models.UniqueConstraint(fields=LEG, name="movement_leg_unique"),
            # The row of a transfer is written after both halves, so this key must be
            # checked at COMMIT.
            ForeignKeyConstraint(
                fields=["transfer"],
                to_fields=["uuid"],
                name="movement_half_of_a_transfer",
                only_deferred=True,
            ),
            models.UniqueConstraint(
                fields=["transfer", "leg"],
                condition=Q(transfer__isnull=False),
                name="movement_one_per_half",
            ),
            models.CheckConstraint(
                condition=Q(
                    kind__in=["transfer_out", "transfer_in"], transfer__isnull=False
                )
                | Q(
                    ~Q(kind__in=["transfer_out", "transfer_in"]), transfer__isnull=True
                ),
                name="movement_transfer_matches_kind",
            ),
            models.CheckConstraint(
                condition=Q(amount__gte=1) & Q(amount__lte=MAX_MONEY),
                name="movement_amount_within_limits",
            ),
            models.CheckConstraint(
                condition=Q(balance_after__gte=0) & Q(balance_after__lte=MAX_MONEY),
                name="movement_balance_within_limits",
            ),
            models.CheckConstraint(
                condition=Q(sequence__gte=1), name="movement_sequence_positive"
            ),
            models.CheckConstraint(
                condition=~Q(from_account=F("to_account")),
                name="movement_between_two_accounts",
            ),
            # PostgreSQL reads each rule anew for each statement: a short one costs less.
            models.CheckConstraint(
                condition=In(
                    Joined(
                        *("kind", "leg", "from_account", "to_account"),
                        Least("attempt_number", 1),
                    ),
                    MOVEMENTS,
                ),
                name="movement_accounts_match_kind",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.amount} ({self.wallet_id}/{self.sequence})"

    @property
    def can_be_corrected(self) -> bool:
        """Whether a correction may name it: a deposit, half of a transfer, a return."""
        kinds = self.Kind
        return self.kind in (
            kinds.DEPOSIT,
            kinds.TRANSFER_OUT,
            kinds.TRANSFER_IN,
            kinds.RETURN,
        )

    @property
    def change(self) -> int:
        """The change of the wallet's balance (minor units): positive, negative or 0."""
        return change_of(self.amount, self.from_account, self.to_account)


def change_of(amount: int, from_account: str, to_account: str) -> int:
    """Return the change of a wallet's balance by a movement (minor units)."""
    wallet = Account.WALLET.value
    return amount * ((to_account == wallet) - (from_account == wallet))
