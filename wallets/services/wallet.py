"""Wallets and deposits."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime

from django.db import connection

from wallets.errors import InvalidInput
from wallets.models.transaction import Transaction
from wallets.models.wallet import Wallet
from wallets.services.deposits.deposit import DepositRequest, deposit_many
from wallets.services.ledger import ledger_postgresql
from wallets.services.requests import idempotency
from wallets.services.requests.checks import checked_amount, checked_uuid
from wallets.utils.database.batch import as_stored
from wallets.utils.database.transactions import database_now, run_in_transaction


class WalletService:
    """Creating wallets and depositing."""

    @staticmethod
    def create(
        *, wallet_uuid: uuid.UUID | None = None, now: datetime | None = None
    ) -> Wallet:
        """Create an empty wallet. Opens its own transaction; one INSERT.

        `wallet_uuid` is for a wallet that a restored backup does not have; default: a
        new one.

        :raises InvalidInput: a wallet with this UUID exists.
        """
        if wallet_uuid is None:
            (wallet,) = WalletService.create_many(1, now=now)
            return wallet

        def work() -> Wallet:
            if Wallet.objects.filter(uuid=wallet_uuid).exists():
                raise InvalidInput(
                    f"There is a wallet {wallet_uuid} already.", field="uuid"
                )
            (wallet,) = _open([wallet_uuid], now)
            return wallet

        return run_in_transaction(work)

    @staticmethod
    def create_many(count: int, *, now: datetime | None = None) -> list[Wallet]:
        """Create `count` empty wallets. Opens its own transaction; one INSERT.

        If the reply to its COMMIT is lost, the call creates other wallets; the first
        ones stay empty and unknown to clients.
        """

        def work() -> list[Wallet]:
            return _open([uuid.uuid4() for _ in range(count)], now)

        return run_in_transaction(work, one_statement=True)

    @staticmethod
    def deposit(
        wallet_uuid: uuid.UUID | str,
        amount: int,
        idempotency_key: uuid.UUID | str | None = None,
        *,
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
        :raises Wallet.DoesNotExist: no such wallet.
        """
        amount = checked_amount(amount)
        key = idempotency.parse_key(idempotency_key)
        target = checked_uuid(wallet_uuid)
        (result,) = deposit_many([DepositRequest(target, amount, key)], now=now)
        if isinstance(result, Exception):
            raise result
        return result.transaction


def _open(uuids: Sequence[uuid.UUID], now: datetime | None) -> list[Wallet]:
    """Create empty wallets. One statement: call inside a transaction or as its own."""
    if connection.vendor == "postgresql":
        opened = ledger_postgresql.open_wallets(uuids, now=now)
        made = {
            one: as_stored(Wallet, id=pk, uuid=one, created_at=at, updated_at=at)
            for one, pk, at in opened
        }
        return [made[one] for one in uuids]
    moment = now or database_now()
    rows = [Wallet(uuid=one, created_at=moment) for one in uuids]
    Wallet.objects.bulk_create(rows)
    if connection.features.can_return_rows_from_bulk_insert:
        return rows
    # MySQL does not return their ids.
    known = Wallet.objects.in_bulk(list(uuids), field_name="uuid")
    return [known[one] for one in uuids]
