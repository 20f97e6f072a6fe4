"""Heartbeats: when each sweep last did its work.

"pending" and "retry": a worker looked for due withdrawals and could claim them. Either
none was due, or a drain has claimed. A drain that may not claim sends no heartbeat:
payouts are paused, the worker is being stopped, or other drains have all slots.
"resolve": the unknown outcomes whose check was due have been processed.
"statement": the ledger has been compared with the bank's list.
"""

from django.db import connection

from wallets.models.heartbeat import Heartbeat
from wallets.services.operations import host_clock
from wallets.services.payouts.payout import actor_name
from wallets.utils.database.transactions import database_now, run_in_transaction

PENDING, RETRY, RESOLVE = "pending", "retry", "resolve"
STATEMENT = "statement"


def beat(name: str) -> None:
    """Store that a sweep has done its work now. Opens its own transaction.

    From time to time it also logs a wrong clock of this host.
    """
    host_clock.warn()
    run_in_transaction(lambda: _beat(name))


def _beat(name: str) -> None:
    # One statement: concurrent "select, then insert" transactions deadlock on MariaDB.
    target = connection.features.supports_update_conflicts_with_target
    Heartbeat.objects.bulk_create(
        [Heartbeat(name=name, ran_at=database_now(), by=actor_name())],
        update_conflicts=True,
        update_fields=["ran_at", "by"],
        unique_fields=["name"] if target else None,
    )
