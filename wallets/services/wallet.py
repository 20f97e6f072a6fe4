"""Wallets and deposits."""

from __future__ import annotations

import uuid
from datetime import datetime

from wallets.errors import InvalidInput
from wallets.models.transaction import Transaction
from wallets.models.wallet import Wallet
from wallets.services import idempotency
from wallets.services.checks import checked_amount, checked_uuid
from wallets.services.deposit import DepositRequest, deposit_many
from wallets.utils.db import database_now, run_in_transaction


class WalletService:
    """What a customer does with a wallet at once."""

    @staticmethod
    def create(
        *, wallet_uuid: uuid.UUID | None = None, now: datetime | None = None
    ) -> Wallet:
        """Open an empty wallet. One INSERT, a transaction of its own.

        `wallet_uuid` is for a wallet that the books have forgotten, after a restored
        backup; a new one unless given.

        :raises InvalidInput: there is a wallet of this UUID.
        """
        moment = now or database_now()
        if wallet_uuid is None:
            return Wallet.objects.create(created_at=moment)

        def work() -> Wallet:
            if Wallet.objects.filter(uuid=wallet_uuid).exists():
                raise InvalidInput(
                    f"There is a wallet {wallet_uuid} already.", field="uuid"
                )
            return Wallet.objects.create(uuid=wallet_uuid, created_at=moment)

        return run_in_transaction(work)

    @staticmethod
    def create_many(count: int, *, now: datetime | None = None) -> list[Wallet]:
        """Open so many empty wallets. One INSERT, a transaction of its own."""
        moment = now or database_now()
        rows = [Wallet(created_at=moment) for _ in range(count)]
        made = Wallet.objects.bulk_create(rows)
        if any(wallet.pk is None for wallet in made):  # MySQL does not say their ids
            known = Wallet.objects.in_bulk(
                [wallet.uuid for wallet in made], field_name="uuid"
            )
            return [known[wallet.uuid] for wallet in made]
        return made

    @staticmethod
    def deposit(
        wallet_uuid: uuid.UUID | str,
        amount: int,
        idempotency_key: uuid.UUID | str | None = None,
        *,
        now: datetime | None = None,
    ) -> Transaction:
        """Add money (minor units) to a wallet, at once.

        Opens its own transaction; on return it is committed. Locks the wallet. The
        transaction returned carries `balance_after` and its `wallet` with that balance;
        `replayed` says that the same key made it before.

        :raises InvalidAmount: (a `ValueError`) not an integer from 1 to 10**15.
        :raises InvalidIdempotencyKey: (a `ValueError`) not a UUID.
        :raises IdempotencyKeyReused: the key stands for another request.
        :raises BalanceLimit: the wallet has no room for it.
        :raises Wallet.DoesNotExist: no such wallet.
        """
        amount = checked_amount(amount)
        key = idempotency.parse_key(idempotency_key)
        target = checked_uuid(wallet_uuid)
        (answer,) = deposit_many([DepositRequest(target, amount, key)], now=now)
        if isinstance(answer, Exception):
            raise answer
        return answer
