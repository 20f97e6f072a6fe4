"""Heartbeats: when each sweep last did its work.

"pending" and "retry" say that a worker looked for what was due and could claim it: either
there was nothing, or a drain has claimed. A drain that was kept from claiming, because
payouts are paused, the worker is being stopped or others are draining, says nothing.
"resolve" says that unknown outcomes whose check was due have been looked into.
"""

from django.db import connection

from wallets.models.heartbeat import Heartbeat
from wallets.services.operations import host_clock
from wallets.services.payouts.payout import actor_name
from wallets.utils.database.transactions import database_now, run_in_transaction

PENDING, RETRY, RESOLVE = "pending", "retry", "resolve"


def beat(name: str) -> None:
    """Note that a sweep has done its work now. Opens its own transaction.

    Once in a while it also says that this host's clock is off.
    """
    host_clock.warn()
    run_in_transaction(lambda: _beat(name))


def _beat(name: str) -> None:
    # One statement: of many that look first and then insert, MariaDB lets one live.
    target = connection.features.supports_update_conflicts_with_target
    Heartbeat.objects.bulk_create(
        [Heartbeat(name=name, ran_at=database_now(), by=actor_name())],
        update_conflicts=True,
        update_fields=["ran_at", "by"],
        unique_fields=["name"] if target else None,
    )
