"""Endpoints: made, read, changed, and deleted by clients and operators."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

from django.conf import settings
from django.db.models import Min

from events.errors import TooManyWebhooks, WebhookNotFound
from events.models.endpoint import Endpoint
from events.services import feed
from events.services.webhooks import switch
from events.services.webhooks.checks import check_description, check_url, checked_types
from events.utils import signatures
from events.utils.webhook_client import Resolve, system_resolve
from wallets.services.requests.checks import check_actor
from wallets.utils.database.transactions import (
    CLIENT_PATIENCE_SECONDS,
    database_now,
    guarded_update,
    lock_rows,
    run_in_transaction,
)

logger = logging.getLogger(__name__)

T = TypeVar("T")

# What is stored of the secret of a deleted endpoint.
_NOTHING = "deleted"


class Made(NamedTuple):
    """An endpoint, and its new secret, which is shown once."""

    endpoint: Endpoint
    secret: str


@dataclass(frozen=True)
class Changes:
    """What a client changes; None: nothing."""

    url: str | None = None
    types: Sequence[str] | None = None
    description: str | None = None
    enabled: bool | None = None


def create(
    *,
    url: str,
    types: Sequence[str] = (),
    description: str = "",
    actor: str,
    tenant: str = "",
    resolve: Resolve = system_resolve,
) -> Made:
    """Make an endpoint that gets the events from now on, of these types or of all.

    With a tenant only those of its wallets. Opens its own transaction, after it has
    resolved the URL's name.

    :raises AddressRefused: webhooks are not sent to this URL.
    :raises Unresolved: its name could not be resolved in time.
    :raises ResolverBusy: it was not looked up: another name of the tenant is slow.
    :raises InvalidWebhook: an unknown type, or a description that cannot be stored.
    :raises TooManyWebhooks: the tenant has as many as allowed, or all together have.
    """
    check_actor(actor)
    wanted = checked_types(types)
    check_description(description)
    check_url(url, tenant=tenant, resolve=resolve)
    made_uuid = uuid.uuid4()
    stored, secret = signatures.made()

    def work() -> Endpoint:
        mine = Endpoint.objects.filter(uuid=made_uuid).first()
        if mine is not None:
            return mine  # the reply to an earlier COMMIT was lost
        _check_room(tenant)
        now = database_now()
        return Endpoint.objects.create(
            uuid=made_uuid,
            url=url,
            types=wanted,
            description=description,
            tenant=tenant,
            created_by=actor,
            changed_by=actor,
            position=feed.last_position(),
            secret_seed=stored.seed,
            secret_fingerprint=stored.fingerprint,
            **dict.fromkeys(("moved_at", "created_at", "updated_at"), now),
        )

    made = run_in_transaction(work, patience=CLIENT_PATIENCE_SECONDS)
    logger.info("webhook %s made by %s", made.uuid, actor)
    return Made(made, secret)


def _check_room(tenant: str) -> None:
    """Refuse another endpoint of this tenant if there are as many as allowed.

    Call inside a transaction. Callers of one tenant wait here for each other, at its
    oldest row, which may be deleted: only two that find none do not wait, and each makes
    one. The total has no lock: at the worst it is exceeded by as many as are made at the
    same moment for different tenants, and it only keeps the couriers' work in bounds.

    :raises TooManyWebhooks: the tenant, or all tenants together, have as many.
    """
    oldest = Endpoint.objects.filter(tenant=tenant).aggregate(pk=Min("pk"))["pk"]
    lock_rows(Endpoint.objects.filter(pk=oldest))
    rows = Endpoint.objects.filter(deleted_at=None)
    if rows.filter(tenant=tenant).count() >= settings.WEBHOOK_MAX_ENDPOINTS:
        raise TooManyWebhooks("WEBHOOK_MAX_ENDPOINTS", "one tenant")
    if rows.count() >= settings.WEBHOOK_MAX_TOTAL:
        raise TooManyWebhooks("WEBHOOK_MAX_TOTAL", "all tenants together")


def _all(tenant: str = "") -> Any:
    """Return the endpoints that exist for a caller of this tenant; "": all."""
    rows = Endpoint.objects.filter(deleted_at=None)
    return rows.filter(tenant=tenant) if tenant else rows


def everything(tenant: str = "") -> list[Endpoint]:
    """Return the endpoints, in the order in which they were made."""
    return list(_all(tenant).order_by("pk"))


def find_many(
    uuids: Sequence[uuid.UUID], *, tenant: str = ""
) -> list[Endpoint | WebhookNotFound]:
    """Return the endpoint of each UUID, or the refusal, in order. One query."""
    found = {row.uuid: row for row in _all(tenant).filter(uuid__in=uuids)}
    return [found.get(one) or not_found(one) for one in uuids]


def not_found(endpoint_uuid: uuid.UUID) -> WebhookNotFound:
    """Return the refusal for a UUID that no endpoint has."""
    return WebhookNotFound(f"There is no webhook {endpoint_uuid}.")


def with_lock(
    endpoint_uuid: uuid.UUID, work: Callable[[Endpoint, datetime], T], tenant: str = ""
) -> T:
    """Do the work on the locked endpoint, at the database's time.

    Opens its own transaction; the work may run more than once.

    :raises WebhookNotFound: there is no such endpoint.
    """

    def locked() -> T:
        rows = lock_rows(_all(tenant).filter(uuid=endpoint_uuid))
        if not rows:
            raise not_found(endpoint_uuid)
        return work(rows[0], database_now())

    return run_in_transaction(locked, patience=CLIENT_PATIENCE_SECONDS)


def change(
    endpoint_uuid: uuid.UUID,
    changes: Changes,
    *,
    actor: str,
    tenant: str = "",
    resolve: Resolve = system_resolve,
) -> Endpoint:
    """Change the endpoint; deliveries that are open go to a new URL, at once.

    Opens its own transaction. Other types count for the events that are not planned yet.

    :raises WebhookNotFound: there is no such endpoint.
    :raises AddressRefused, Unresolved, ResolverBusy, InvalidWebhook: as `create`.
    """
    check_actor(actor)
    written: dict[str, Any] = {}
    if changes.types is not None:
        written["types"] = checked_types(changes.types)
    if changes.description is not None:
        check_description(changes.description)
        written["description"] = changes.description
    if changes.url is not None:
        check_url(changes.url, tenant=tenant, resolve=resolve)
        written["url"] = changes.url

    def work(endpoint: Endpoint, now: datetime) -> Endpoint:
        if changes != Changes():
            changed = written | {"changed_by": actor, "updated_at": now}
            guarded_update(Endpoint, {"pk": endpoint.pk}, **changed)
        if written.get("url", endpoint.url) != endpoint.url:
            switch.begin_anew(endpoint, now=now)
        if changes.enabled is True:
            switch.on(endpoint, actor=actor, now=now)
        elif changes.enabled is False:
            switch.off_by_hand(endpoint, actor=actor, now=now)
        return Endpoint.objects.get(pk=endpoint.pk)

    changed = with_lock(endpoint_uuid, work, tenant)
    logger.info("webhook %s changed by %s", endpoint_uuid, actor)
    return changed


def delete(endpoint_uuid: uuid.UUID, *, actor: str, tenant: str = "") -> Endpoint:
    """Delete the endpoint and what its secrets were derived from; return it as it was.

    Opens its own transaction. Nothing more is sent, except what is under way. The rows
    of its deliveries are removed later.

    :raises WebhookNotFound: there is no such endpoint.
    """
    check_actor(actor)

    def work(endpoint: Endpoint, now: datetime) -> Endpoint:
        switch.off_by_hand(endpoint, actor=actor, now=now)
        guarded_update(
            Endpoint,
            {"pk": endpoint.pk, "deleted_at": None},
            deleted_at=now,
            updated_at=now,
            changed_by=actor,
            secret_seed=_NOTHING,
            secret_fingerprint=_NOTHING,
            old_seed="",
            old_fingerprint="",
            old_ends_at=None,
        )
        switch.end_alarms(endpoint, actor=actor, now=now)
        return endpoint

    deleted = with_lock(endpoint_uuid, work, tenant)
    logger.info("webhook %s deleted by %s", endpoint_uuid, actor)
    return deleted
