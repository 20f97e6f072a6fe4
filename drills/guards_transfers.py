"""Guards of transfers; see `drills.guard`."""

from __future__ import annotations

from drills.guard import MARIADB, POSTGRESQL, Guard

_BATCH = "wallets/services/transfers/transfer_batch.py"
_STATEMENT = "wallets/services/ledger/transfers_postgresql.py"
_CORRECTION = "wallets/services/corrections/correction.py"
_AUDIT = "wallets/services/ledger/transfer_audit.py"

TRANSFER_GUARDS = (
    Guard(
        "a transfer takes no more than the balance after those before it",
        _BATCH,
        "        if available.balance < request.amount:\n",
        "        if source.balance < request.amount:\n",
        "test_transfer.py::TransferManyTest",
    ),
    Guard(
        "a transfer leaves the other wallet room for what it holds",
        _BATCH,
        "        if room.total + request.amount > MAX_MONEY:\n",
        "        if room.balance + request.amount > MAX_MONEY:\n",
        "test_transfer.py::TransferTest",
    ),
    Guard(
        "a transfer does not change the currency",
        _BATCH,
        "        if source.currency != target.currency:\n",
        "        if False:\n",
        "test_transfer.py::TransferTest",
    ),
    Guard(
        "a frozen wallet pays no transfer",
        _BATCH,
        "        postings.check_can_pay(source)\n",
        "",
        "test_transfer.py::TransferTest",
    ),
    Guard(
        "a frozen wallet gets no transfer",
        _BATCH,
        "        postings.check_can_receive(target)\n",
        "",
        "test_transfer.py::TransferTest",
    ),
    Guard(
        "the key of a transfer stands for its other wallet, too",
        _BATCH,
        "        if to_wallet != request.to_wallet:\n",
        "        if False:\n",
        "test_transfer.py::TransferManyTest",
    ),
    Guard(
        "transfers are judged again when one of their keys was taken meanwhile",
        _BATCH,
        "        if len(rows) < len(self._asked):\n",
        "        if False:\n",
        "test_transfer.py::TransferManyTest",
    ),
    Guard(
        "transfers lock wallets before they read keys",
        _BATCH,
        "    made = idempotency.find_made(keys, tenant=caller.tenant, wait=wait)\n",
        "    made = {}\n",
        "test_transfer.py::TransferManyTest",
    ),
    Guard(
        "transfers lock the wallets of a batch in one order on MariaDB",
        "wallets/services/ledger/postings.py",
        '    if connection.vendor == "mysql":\n'
        "        # MySQL locks rows in the order in which it reads them, and sorts"
        " afterwards.\n",
        "    if False:\n",
        "test_transfer.py::OneOrderTest",
        MARIADB,
    ),
    Guard(
        "transfers lock the wallets of a batch in one order on PostgreSQL",
        "wallets/services/ledger/postings.py",
        '    wallets = lock_rows(rows.order_by("pk"), skip_locked=not wait)\n'
        "    return {wallet.uuid",
        '    wallets = lock_rows(rows.order_by("uuid"), skip_locked=not wait)\n'
        "    return {wallet.uuid",
        "test_deadlocks.py::AnyMixTest",
        POSTGRESQL,
    ),
    Guard(
        "nothing stays between two wallets",
        _AUDIT,
        "    if left:\n",
        "    if False:\n",
        "test_transfer_audit.py",
    ),
    Guard(
        "a half without its transfer is found",
        _AUDIT,
        "        strays = Movement.objects.filter(~Exists(its), kind=kind)\n",
        "        strays = Movement.objects.none()\n",
        "test_transfer_audit.py",
    ),
    Guard(
        "a transfer without its halves is found",
        _AUDIT,
        "    for uuid in Transfer.objects.exclude(whole)",
        "    for uuid in Transfer.objects.none()",
        "test_transfer_audit.py",
    ),
    Guard(
        "the other wallet's balance is not told",
        _BATCH,
        'f"the receiving wallet holds {MAX_MONEY} at most"',
        'f"the receiving wallet holds {room.total}"',
        "test_transfer.py::TransferTest",
    ),
    # --- the single statement of PostgreSQL ---
    Guard(
        "the single statement takes no more than a wallet has",
        _STATEMENT,
        "    WHERE paid <= balance AND",
        "    WHERE true AND",
        "test_transfer.py::TransferManyTest test_transfer.py::TransferTest",
        POSTGRESQL,
    ),
    Guard(
        "the single statement leaves a wallet room for what it holds",
        _STATEMENT,
        "balance + held + got <= {max_money}",
        "balance + got <= {max_money}",
        "test_transfer.py::TransferTest",
        POSTGRESQL,
    ),
    Guard(
        "the single statement changes no currency",
        _STATEMENT,
        "source.id <> target.id AND source.currency = target.currency",
        "source.id <> target.id",
        "test_transfer.py::TransferTest",
        POSTGRESQL,
    ),
    Guard(
        "the single statement moves no money of a frozen wallet",
        _STATEMENT,
        "            AND NOT (source.closed OR source.frozen_out)\n",
        "",
        "test_transfer.py::TransferTest test_transfer.py::TransferManyTest",
        POSTGRESQL,
    ),
    Guard(
        "the single statement moves no money into a frozen wallet",
        _STATEMENT,
        "            AND NOT (target.closed OR target.frozen_in), false)",
        ", false)",
        "test_transfer.py::TransferTest",
        POSTGRESQL,
    ),
    Guard(
        "the single statement makes a request whole, so that its order counts",
        "wallets/services/transfers/transfer.py",
        "caller=caller, whole=len(requests) > 1\n",
        "caller=caller, whole=False\n",
        "test_transfer.py::TransferManyTest",
        POSTGRESQL,
    ),
    Guard(
        "the single statement makes no request of several if a wallet is unknown",
        _STATEMENT,
        "(target.closed OR target.frozen_in), false)",
        "(target.closed OR target.frozen_in), NULL)",
        "test_transfer.py::TransferManyTest",
        POSTGRESQL,
    ),
    Guard(
        "the single statement compares no transfer with each of the others",
        _STATEMENT,
        "        AND to_id IN (SELECT id FROM able) AS is_planned\n    FROM judged\n",
        "        AND to_id IN (SELECT id FROM able) AS is_planned\n    FROM judged\n"
        "    WHERE is_possible AND from_id IN (SELECT id FROM able)\n"
        "        AND to_id IN (SELECT id FROM able)\n",
        "test_batch_plans.py",
        POSTGRESQL,
    ),
    Guard(
        "the single statement numbers transfers in the order of the requests",
        _STATEMENT,
        "PARTITION BY moved.id ORDER BY half)",
        "PARTITION BY moved.id ORDER BY -half)",
        "test_transfer.py::TransferManyTest",
        POSTGRESQL,
    ),
    Guard(
        "the single statement locks wallets in one order",
        _STATEMENT,
        "    ORDER BY id FOR NO KEY UPDATE {skip_locked}\n",
        "    ORDER BY uuid FOR NO KEY UPDATE {skip_locked}\n",
        "test_transfer.py::OneOrderTest",
        POSTGRESQL,
    ),
    # --- corrections ---
    Guard(
        "a correction takes no more than is left",
        _CORRECTION,
        "    if asked.amount > found.left:\n",
        "    if asked.amount > found.transaction.amount:\n",
        "test_correction.py::DepositCorrectionTest",
    ),
    Guard(
        "a correction is read again under the lock of its wallets",
        _CORRECTION,
        "    found = look(transaction_id)\n    made =",
        "    made =",
        "test_correction.py::RaceTest",
        POSTGRESQL,
    ),
    Guard(
        "a withdrawal is not corrected",
        _CORRECTION,
        "    elif row.transaction_type not in _LEGS:\n",
        "    elif row.transaction_type == _Type.CORRECTION_OUT:\n",
        "test_correction.py::DepositCorrectionTest",
    ),
    Guard(
        "an API that asks nobody who it is corrects nothing",
        "wallets/urls.py",
        "        if not settings.API_CORRECTIONS:\n",
        "        if False:\n",
        "test_api_correction.py::CorrectionsSwitchedOffTest",
    ),
    Guard(
        "a client corrects the transactions of the wallet that it names",
        "wallets/services/corrections/of_wallet.py",
        "    (named,) = transactions_by_id([(wallet_uuid, transaction_id)])\n",
        "    named = Transaction.objects.get(pk=transaction_id)\n",
        "test_api_correction.py::CorrectionApiTest",
    ),
    Guard(
        "a closed wallet is not corrected",
        _CORRECTION,
        "        postings.check_open(wallet)\n",
        "        pass\n",
        "test_correction.py",
    ),
    Guard(
        "a key of another request corrects nothing",
        _CORRECTION,
        "        if one.debit_id == made.pk and (one.amount, one.reason) == said:\n",
        "        if one.debit_id == made.pk:\n",
        "test_correction.py::DepositCorrectionTest",
    ),
    Guard(
        "two operators do not post the same correction",
        _CORRECTION,
        "    if asked.number is not None and asked.number != found.number:\n",
        "    if False:\n",
        "test_correction.py::DepositCorrectionTest",
    ),
    Guard(
        "money that was corrected twice is found",
        "wallets/services/ledger/correction_audit.py",
        '        yield Finding("corrected_twice",',
        '        Finding("corrected_twice",',
        "test_correction.py::VerifyTest",
    ),
    Guard(
        "an array of transfers waits for a moment while others are made",
        "wallets/services/transfers/transfer_whole.py",
        "LOCK_WAIT_SECONDS if waits else KEY_WAIT_SECONDS",
        "KEY_WAIT_SECONDS",
        "test_transfer.py::ArrayOfALockedWalletTest",
        POSTGRESQL,
    ),
    Guard(
        "an array of transfers does not wait after one has waited in vain",
        "wallets/services/transfers/transfer_whole.py",
        "            self._patience.lose()\n",
        "            pass\n",
        "test_transfer.py::ArrayOfALockedWalletTest",
        POSTGRESQL,
    ),
)
