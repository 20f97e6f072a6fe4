"""Guards of a wallet's name and life; see `drills.guard`."""

from __future__ import annotations

from drills.guard import MARIADB, POSTGRESQL, Guard

_LIFE = "wallets/services/wallets/life.py"
_HISTORY = "wallets/services/wallets/history.py"
_CREATE = "wallets/services/wallets/create.py"
_WAITING = "wallets/services/payouts/waiting.py"
_POSTINGS = "wallets/services/ledger/postings.py"
_LIVES = "test_wallet_life.py"

WALLET_GUARDS = (
    Guard(
        "a closed wallet is empty",
        _LIFE,
        "    if not (wallet.balance or wallet.held or left):\n",
        "    if not left:\n",
        f"{_LIVES}::CloseTest",
    ),
    Guard(
        "a closed wallet has no open withdrawal",
        _LIFE,
        "    if not (wallet.balance or wallet.held or left):\n",
        "    if not (wallet.balance or wallet.held):\n",
        f"{_LIVES}::CloseTest",
    ),
    Guard(
        "nothing is scheduled while a wallet is being closed",
        _HISTORY,
        "against_new_rows=True",
        "against_new_rows=False",
        f"{_LIVES}::LifeRaceTest",
        POSTGRESQL,
    ),
    Guard(
        "a schedule step by step locks its wallet",
        _POSTINGS,
        '    sql += " FOR KEY SHARE" if wait else " FOR KEY SHARE SKIP LOCKED"\n',
        "",
        f"{_LIVES}::LifeRaceTest",
        POSTGRESQL,
    ),
    Guard(
        "the fast path takes no deposit into a frozen wallet",
        "wallets/services/ledger/ledger_postgresql.py",
        " AND NOT frozen_in AND NOT closed\n",
        "\n",
        f"{_LIVES}::FreezeTest",
        POSTGRESQL,
    ),
    Guard(
        "the fast path schedules nothing from a frozen wallet",
        "wallets/services/withdrawals/schedule_postgresql.py",
        " AND NOT frozen_out AND NOT closed\n",
        "\n",
        f"{_LIVES}::FreezeTest {_LIVES}::CloseTest",
        POSTGRESQL,
    ),
    Guard(
        "a frozen wallet takes no deposit",
        _POSTINGS,
        "    if wallet.frozen_in:\n",
        "    if False:\n",
        f"{_LIVES}::FreezeTest",
    ),
    Guard(
        "a frozen wallet schedules no withdrawal",
        _POSTINGS,
        "    if wallet.frozen_out:\n",
        "    if False:\n",
        f"{_LIVES}::FreezeTest",
    ),
    Guard(
        "what is due waits for its frozen wallet",
        "wallets/services/payouts/due.py",
        "    return wallet.frozen_out and not row.fails_if_frozen\n",
        "    return False\n",
        f"{_LIVES}::DueWhileFrozenTest",
    ),
    Guard(
        "what is due fails if its owner said so",
        "wallets/services/payouts/due.py",
        "    if wallet.frozen_out:\n",
        "    if False:\n",
        f"{_LIVES}::DueWhileFrozenTest",
    ),
    Guard(
        "no sweep reads what waits",
        "wallets/models/transaction.py",
        "        return Q(status=cls.Status.PENDING, waits_for_wallet=False)\n",
        "        return Q(status=cls.Status.PENDING)\n",
        f"{_LIVES}::DueWhileFrozenTest",
    ),
    Guard(
        "a wallet knows that withdrawals wait for it",
        _WAITING,
        "    wallets.update(has_waiting=True)\n",
        "",
        f"{_LIVES}::DueWhileFrozenTest",
    ),
    Guard(
        "a burst of a frozen wallet delays others by one batch",
        "wallets/services/payouts/claiming.py",
        "            rows = waiting.without_frozen(rows)\n",
        "            pass\n",
        f"{_LIVES}::DueBurstWhileFrozenTest",
    ),
    Guard(
        "a burst of a frozen wallet waits completely after one sweep",
        "wallets/services/payouts/claiming.py",
        "            self.busy.leave(busy_wallets.FROZEN, self._mark_frozen)\n",
        "            pass\n",
        f"{_LIVES}::DueBurstWhileFrozenTest",
    ),
    Guard(
        "only what is frozen is marked as waiting",
        _WAITING,
        "pk, wallet in wallets.items() if wallet.frozen_out}\n",
        "pk, wallet in wallets.items()}\n",
        f"{_LIVES}::DueBurstWhileFrozenTest",
    ),
    Guard(
        "a wallet knows it until nothing waits",
        _WAITING,
        "    if not left.exists():\n",
        "    if True:\n",
        f"{_LIVES}::DueWhileFrozenTest",
    ),
    Guard(
        "each sweep looks for what has waited",
        "wallets/services/payouts/dispatch.py",
        "    waiting.end()\n",
        "",
        f"{_LIVES}::DueWhileFrozenTest",
    ),
    Guard(
        "a change of a wallet is in its history",
        _HISTORY,
        "    WalletChange.objects.create(\n",
        "    WalletChange(\n",
        "test_api_wallet.py",
    ),
    Guard(
        "a key creates one wallet",
        _CREATE,
        "    if made is not None and _as_created(made) == _as_asked(request):\n",
        "    if made is not None:\n",
        "test_wallet_create.py test_api_wallet.py",
    ),
    Guard(
        "a wallet is compared as it was created",
        "wallets/services/wallets/history.py",
        "            first[pk] |= json.loads(before)\n",
        "            pass\n",
        "test_api_wallet.py",
    ),
    Guard(
        "words belong to the request of a key",
        "wallets/services/requests/idempotency.py",
        "        and _same_words(made, fails_if_frozen, words)\n",
        "",
        "test_api_wallet_life.py",
    ),
    Guard(
        "a list reads a bounded number of rows",
        "wallets/services/reads/listing.py",
        "    if others and found is Found.IN_WINDOWS:\n",
        "    if False:\n",
        "test_api_wallet_list.py test_api_transaction_list.py",
    ),
    Guard(
        "a reference is compared exactly",
        "wallets/models/fields.py",
        'parameters["collation"] = "utf8mb4_bin"',
        'parameters["collation"] = "utf8mb4_general_ci"',
        "test_api_wallet.py",
        MARIADB,
    ),
    Guard(
        "a currency has a minor unit",
        "wallets/utils/words.py",
        "    if type(value) is str and value in DIGITS:\n",
        "    if type(value) is str and value in CODES:\n",
        "test_api_wallet.py",
    ),
)
