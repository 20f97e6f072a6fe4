"""The rotation of an endpoint's secret."""

from __future__ import annotations

import logging
import uuid
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings

from events.errors import TwoSecrets
from events.models.endpoint import Endpoint, Keep
from events.services.webhooks import switch
from events.services.webhooks.endpoints import Made, with_lock
from events.utils import signatures
from events.utils.signatures import Stored
from wallets.services.requests.checks import check_actor
from wallets.utils import instants
from wallets.utils.database.transactions import guarded_update

logger = logging.getLogger(__name__)


def rotate_secret(
    endpoint_uuid: uuid.UUID, *, keep: Keep | None = None, actor: str, tenant: str = ""
) -> Made:
    """Give the endpoint a new secret; the present one signs beside it for a while.

    Opens its own transaction. If two secrets are valid, one of them would end, and it
    may be the only one that the receiver has: the answer to the last rotation may have
    been lost. So the caller says which one to `keep`. One that cannot be read any more
    ends in any case.

    :raises WebhookNotFound: there is no such endpoint.
    :raises TwoSecrets: two secrets are valid, and `keep` is not given.
    """
    check_actor(actor)
    stored, secret = signatures.made()

    def work(endpoint: Endpoint, now: datetime) -> Endpoint:
        if endpoint.secret == stored:
            return endpoint  # the reply to an earlier COMMIT was lost
        kept = _kept(endpoint, keep, now)
        guarded_update(
            Endpoint,
            {"pk": endpoint.pk, "secret_fingerprint": endpoint.secret_fingerprint},
            secret_seed=stored.seed,
            secret_fingerprint=stored.fingerprint,
            changed_by=actor,
            updated_at=now,
            **_old(kept, now),
        )
        switch.end_unreadable_secret(endpoint, actor=actor, now=now)
        return Endpoint.objects.get(pk=endpoint.pk)

    changed = with_lock(endpoint_uuid, work, tenant)
    logger.info("secret of webhook %s rotated by %s", endpoint_uuid, actor)
    return Made(changed, secret)


def _kept(endpoint: Endpoint, keep: Keep | None, now: datetime) -> Stored | None:
    """Return the secret that stays beside the new one, if any can be read.

    :raises TwoSecrets: two could stay, and the caller does not say which.
    """
    valid = [one for one in endpoint.active_secrets(now) if _is_readable(one)]
    if len(valid) < 2:
        return valid[0] if valid else None
    if keep is None:
        raise TwoSecrets(instants.write(endpoint.old_ends_at))
    present, old = valid
    return old if keep is Keep.OLD else present


def _old(kept: Stored | None, now: datetime) -> dict[str, Any]:
    """Return the columns of the old secret."""
    if kept is None:
        return {"old_seed": "", "old_fingerprint": "", "old_ends_at": None}
    return {
        "old_seed": kept.seed,
        "old_fingerprint": kept.fingerprint,
        "old_ends_at": now + timedelta(seconds=settings.WEBHOOK_SECRET_OVERLAP),
    }


def _is_readable(stored: Stored) -> bool:
    try:
        signatures.secret_of(stored)
    except signatures.UnreadableSecret:
        return False
    return True
