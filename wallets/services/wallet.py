"""Wallets and deposits."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime

from wallets.errors import InvalidInput, ReferenceTaken
from wallets.models.transaction import Transaction
from wallets.models.wallet import Wallet
from wallets.models.wallet_change import WalletChange
from wallets.services.deposits.deposit import DepositRequest, deposit_many
from wallets.services.ledger import postings
from wallets.services.requests import idempotency
from wallets.services.requests.checks import (
    check_actor,
    checked_amount,
    checked_uuid,
    checked_words,
)
from wallets.services.wallets import history
from wallets.services.wallets.create import CreateRequest, create_many, open_plain
from wallets.utils import words as check
from wallets.utils.caller import ANYBODY, Caller
from wallets.utils.database.transactions import (
    CLIENT_PATIENCE_SECONDS,
    database_now,
    run_in_transaction,
)
from wallets.utils.words import NO_WORDS, Words


class WalletService:
    """Creating wallets, changing them, and depositing."""

    @staticmethod
    def create(
        *,
        wallet_uuid: uuid.UUID | None = None,
        reference: str | None = None,
        currency: str | None = None,
        metadata: Mapping[str, str] | None = None,
        idempotency_key: uuid.UUID | str | None = None,
        tenant: str = "",
        actor: str = "client",
        now: datetime | None = None,
    ) -> Wallet:
        """Create an empty wallet of a tenant ("": of none). Opens its own transaction.

        `wallet_uuid` is for a wallet that a restored backup does not have; default: a
        new one. A repeated key returns the first wallet as it is now.

        :raises InvalidInput: a wallet with this UUID exists; or the reference, the
            currency, the metadata or the actor is not allowed.
        :raises ReferenceTaken: another wallet has the reference.
        :raises InvalidIdempotencyKey: not a UUID.
        :raises IdempotencyKeyReused: the key stands for another request.
        """
        check_actor(actor)
        caller = Caller(actor, tenant)
        if wallet_uuid is not None:
            return _create_again(wallet_uuid, now, caller)
        request = CreateRequest(
            checked_words("reference", check.reference, reference),
            checked_words("currency", check.currency, currency),
            checked_words("metadata", check.metadata, _plain(metadata)),
            None if idempotency_key is None else idempotency.parse_key(idempotency_key),
        )
        (result,) = create_many([request], caller=caller, now=now)
        if isinstance(result, Exception):
            raise result
        return result.wallet

    @staticmethod
    def change(
        wallet_uuid: uuid.UUID | str,
        changes: Mapping[str, str | None],
        *,
        actor: str = "client",
        now: datetime | None = None,
    ) -> Wallet:
        """Set `reference`, `metadata` (canonical JSON) or both; None: without.

        Opens its own transaction; locks the wallet. Without a difference nothing is
        written.

        :raises InvalidInput: the actor is empty or too long.
        :raises ReferenceTaken: another wallet has the reference.
        :raises WalletClosed: the wallet is closed.
        :raises Wallet.DoesNotExist: no such wallet.
        """
        check_actor(actor)
        target = checked_uuid(wallet_uuid)
        columns: dict[str, str | None] = dict(changes)
        if "metadata" in columns:
            columns["metadata"] = columns["metadata"] or ""

        def work() -> Wallet:
            wallet = history.lock(target)
            postings.check_open(wallet)
            wanted = columns.get("reference")
            others = Wallet.objects.exclude(pk=wallet.pk).filter(
                reference=wanted, tenant=wallet.tenant
            )
            if wanted is not None and others.exists():
                raise ReferenceTaken("Another wallet has this reference.")

            # After this point the change must be written.
            history.record(
                wallet,
                WalletChange.Event.CHANGED,
                columns,
                actor=actor,
                now=now or database_now(),
            )
            return wallet

        return run_in_transaction(work, patience=CLIENT_PATIENCE_SECONDS)

    @staticmethod
    def deposit(
        wallet_uuid: uuid.UUID | str,
        amount: int,
        idempotency_key: uuid.UUID | str | None = None,
        *,
        words: Words = NO_WORDS,
        caller: Caller = ANYBODY,
        now: datetime | None = None,
    ) -> Transaction:
        """Add money (minor units) to a wallet, at once.

        Opens its own transaction; on return it is committed. Locks the wallet. A
        repeated key returns the first deposit. `deposit_many` returns a receipt, which
        also says whether it is a replay, and the balance after the deposit.

        :raises InvalidAmount: (a `ValueError`) not an integer from 1 to 10**15.
        :raises InvalidIdempotencyKey: (a `ValueError`) not a UUID.
        :raises IdempotencyKeyReused: the key stands for another request.
        :raises BalanceLimit: the wallet has no room for the amount.
        :raises WalletFrozen: the wallet is frozen for what comes in.
        :raises WalletClosed: the wallet is closed.
        :raises Wallet.DoesNotExist: no such wallet.
        """
        amount = checked_amount(amount)
        key = idempotency.parse_key(idempotency_key)
        target = checked_uuid(wallet_uuid)
        request = DepositRequest(target, amount, key, words)
        (result,) = deposit_many([request], caller=caller, now=now)
        if isinstance(result, Exception):
            raise result
        return result.transaction


def _create_again(
    wallet_uuid: uuid.UUID, now: datetime | None, caller: Caller
) -> Wallet:
    def work() -> Wallet:
        if Wallet.objects.filter(uuid=wallet_uuid).exists():
            raise InvalidInput(
                f"There is a wallet {wallet_uuid} already.", field="uuid"
            )
        (wallet,) = open_plain([wallet_uuid], now, caller)
        return wallet

    return run_in_transaction(work, patience=CLIENT_PATIENCE_SECONDS)


def _plain(metadata: Mapping[str, str] | None) -> dict[str, str] | None:
    return None if metadata is None else dict(metadata)
