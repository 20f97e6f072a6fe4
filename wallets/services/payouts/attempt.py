"""A new attempt at the bank: its reference, its lease. Nothing is written here."""

from __future__ import annotations

import uuid
from datetime import timedelta

from django.conf import settings

from wallets.models.attempt import Attempt
from wallets.models.transaction import Transaction
from wallets.models.wallet import Wallet
from wallets.services.payouts.moment import Moment
from wallets.services.withdrawals.reference import reference_of
from wallets.utils.database.batch import as_new


def begun(
    row: Transaction, wallet: Wallet, number: int, token: uuid.UUID, moment: Moment
) -> Attempt:
    """An attempt that begins at this moment, with a lease from then on.

    The moment is read once the locks are taken. Its elapsed time is read after the
    lease began: what counts from it must never count too much.
    """
    now = moment.now
    lease_expires_at = now + timedelta(seconds=settings.WITHDRAWAL_LEASE)
    attempt = as_new(
        Attempt,
        transaction_id=row.pk,
        number=number,
        created_at=now,
        reference=reference_of(row, wallet.uuid, number),
        claim_token=token,
        started_at=now,
        last_sent_at=now,
        lease_expires_at=lease_expires_at,
        next_check_at=lease_expires_at,
        waits=moment.begun(),
    )
    attempt.transaction = row
    return attempt
