"""Heartbeats: when each sweep last ran."""

from wallets.models.heartbeat import Heartbeat
from wallets.services.payout import actor_name
from wallets.utils.db import database_now


def beat(name: str) -> None:
    """Note that a sweep has run to its end now. One statement, no transaction needed."""
    Heartbeat.objects.update_or_create(
        name=name, defaults={"ran_at": database_now(), "by": actor_name()}
    )
