"""What a webhook may be: its URL, its types and its description."""

from __future__ import annotations

from collections.abc import Sequence

from django.conf import settings

from events.errors import InvalidWebhook
from events.models.endpoint import MAX_DESCRIPTION
from events.models.event import EventType
from events.utils import addresses
from events.utils.addresses import Policy
from events.utils.names import TURNS
from events.utils.webhook_client import Resolve, check_target, system_resolve
from wallets.utils.database.transactions import refuse_inside_transaction


def check_url(url: str, *, tenant: str, resolve: Resolve = system_resolve) -> None:
    """Refuse a URL that webhooks are not sent to. Resolves its name. Writes nothing.

    Call outside a transaction. A tenant's names are resolved one at a time.

    :raises AddressRefused: it is not https, or leads to an address that is not allowed.
    :raises Unresolved: its name could not be resolved in time.
    :raises ResolverBusy: another name of the tenant is being resolved, or too many are.
    """
    refuse_inside_transaction("a name was resolved")
    policy = Policy.of(settings)
    target = addresses.read(url, policy)
    if target.address is not None:
        return  # `addresses.read` has checked it
    seconds = settings.WEBHOOK_CONNECT_TIMEOUT
    with TURNS.of(tenant):
        check_target(target, policy, seconds=seconds, resolve=resolve)


def checked_types(types: Sequence[str]) -> list[str]:
    """Return the types in a fixed order; empty: all. Pure.

    :raises InvalidWebhook: there is no such type.
    """
    unknown = sorted(set(types) - set(EventType.values))
    if unknown:
        raise InvalidWebhook(
            f"There are no events of type {unknown[0][:100]!r}.",
            field="types",
            code="webhook_types_invalid",
        )
    return [value for value in EventType.values if value in types]


def check_description(text: str) -> None:
    """Refuse a description that cannot be stored or shown. Pure.

    :raises InvalidWebhook: it is too long, or has characters that cannot be printed.
    """
    if len(text) > MAX_DESCRIPTION or not (text.isprintable()):
        raise InvalidWebhook(
            f"It must have at most {MAX_DESCRIPTION} printable characters.",
            field="description",
            code="webhook_description_invalid",
        )
