"""Webhooks: make, show, change, delete, rotate the secret, replay, test."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

from django.urls import reverse

from events.models.endpoint import Endpoint, Keep
from events.serializers.delivery import OUTCOMES, delivery_line
from events.serializers.webhook import (
    read_changes,
    read_replay,
    read_rotation,
    read_webhook,
    webhook_line,
)
from events.services.webhooks import endpoints, history, repeat, rotation
from events.services.webhooks.endpoints import Changes, Made
from events.services.webhooks.history import Shown
from events.views.resolver import busy_resolver_told
from wallets.serializers.strict import read_no_fields
from wallets.utils.caller import Caller
from wallets.views.http.body import read_nothing, read_object
from wallets.views.http.operation import Operation, SingleOperation
from wallets.views.http.pagination import Pages
from wallets.views.http.query import one_of, page_limit
from wallets.views.http.request import ApiResponse, Request, json_response
from wallets.views.http.rest_framework import OperationView

C = TypeVar("C")
R = TypeVar("R")


class _Shown(Operation[C, R]):
    """Shows webhooks: those of the caller's tenant. A webhook names no wallet."""

    def wallets_of(self, call: C) -> Collection[UUID]:
        return ()


class _Change(SingleOperation[C, R]):
    """Changes a webhook of the caller's tenant."""

    def wallets_of(self, call: C) -> Collection[UUID]:
        return ()

    def contends_for(self, call: C) -> Collection[Hashable]:
        named = call[0] if isinstance(call, tuple) else call
        return (named,) if isinstance(named, UUID) else ()


def _uuid_of(request: Request) -> UUID:
    found: UUID = request.arguments["webhook_uuid"]
    return found


class CreateWebhook(_Change[dict[str, Any], Made]):
    """Make a webhook; the answer has its secret."""

    capability = "webhooks"

    def read(self, request: Request, query: Mapping[str, Any]) -> dict[str, Any]:
        return read_webhook(read_object(request))

    def one(self, call: dict[str, Any], caller: Caller) -> Made:
        with busy_resolver_told():
            return endpoints.create(**call, actor=caller.actor, tenant=caller.tenant)

    def write(
        self, request: Request, call: dict[str, Any], result: Made
    ) -> ApiResponse:
        path = reverse("webhook", args=[result.endpoint.uuid])
        return json_response(
            _with_secret(result),
            status=201,
            headers={"Location": request.url_of(path)},
        )


class ListWebhooks(_Shown[None, list[Endpoint]]):
    """Show all webhooks. There are at most WEBHOOK_MAX_TOTAL."""

    capability = "webhooks"

    def read(self, request: Request, query: Mapping[str, Any]) -> None:
        return None

    def many(
        self, calls: Sequence[None], *, caller: Caller, wait: bool
    ) -> Sequence[list[Endpoint] | Exception]:
        return [endpoints.everything(caller.tenant)] * len(calls)

    def write(
        self, request: Request, call: None, result: list[Endpoint]
    ) -> ApiResponse:
        return json_response([webhook_line(one) for one in result])


class GetWebhook(_Shown[UUID, Endpoint]):
    """Show a webhook."""

    capability = "webhooks"

    def read(self, request: Request, query: Mapping[str, Any]) -> UUID:
        return _uuid_of(request)

    def many(
        self, calls: Sequence[UUID], *, caller: Caller, wait: bool
    ) -> Sequence[Endpoint | Exception]:
        return endpoints.find_many(calls, tenant=caller.tenant)

    def write(self, request: Request, call: UUID, result: Endpoint) -> ApiResponse:
        return json_response(webhook_line(result))


class ChangeWebhook(_Change[tuple[UUID, Changes], Endpoint]):
    """Change the given fields of a webhook."""

    capability = "webhooks"
    method = "PATCH"

    def read(self, request: Request, query: Mapping[str, Any]) -> tuple[UUID, Changes]:
        return _uuid_of(request), Changes(**read_changes(read_object(request)))

    def one(self, call: tuple[UUID, Changes], caller: Caller) -> Endpoint:
        with busy_resolver_told():
            return endpoints.change(*call, actor=caller.actor, tenant=caller.tenant)

    def write(
        self, request: Request, call: tuple[UUID, Changes], result: Endpoint
    ) -> ApiResponse:
        return json_response(webhook_line(result))


class DeleteWebhook(_Change[UUID, Endpoint]):
    """Delete a webhook; the answer shows it for the last time."""

    capability = "webhooks"
    method = "DELETE"
    max_body = 0

    def read(self, request: Request, query: Mapping[str, Any]) -> UUID:
        return _uuid_of(request)

    def one(self, call: UUID, caller: Caller) -> Endpoint:
        return endpoints.delete(call, actor=caller.actor, tenant=caller.tenant)

    def write(self, request: Request, call: UUID, result: Endpoint) -> ApiResponse:
        return json_response(webhook_line(result))


class RotateSecret(_Change[tuple[UUID, Keep | None], Made]):
    """Give a webhook a new secret; the answer has it."""

    capability = "webhooks"

    def read(
        self, request: Request, query: Mapping[str, Any]
    ) -> tuple[UUID, Keep | None]:
        return _uuid_of(request), read_rotation(read_nothing(request))

    def one(self, call: tuple[UUID, Keep | None], caller: Caller) -> Made:
        webhook_uuid, keep = call
        return rotation.rotate_secret(
            webhook_uuid, keep=keep, actor=caller.actor, tenant=caller.tenant
        )

    def write(
        self, request: Request, call: tuple[UUID, Keep | None], result: Made
    ) -> ApiResponse:
        return json_response(_with_secret(result))


class TestWebhook(_Change[UUID, Shown]):
    """Send a test event."""

    __test__ = False  # no class of tests

    capability = "webhooks"

    def read(self, request: Request, query: Mapping[str, Any]) -> UUID:
        read_no_fields(read_nothing(request))
        return _uuid_of(request)

    def one(self, call: UUID, caller: Caller) -> Shown:
        return repeat.send_test(call, actor=caller.actor, tenant=caller.tenant)

    def write(self, request: Request, call: UUID, result: Shown) -> ApiResponse:
        return json_response(delivery_line(result))


class ReplayWebhook(_Change[tuple[UUID, int | datetime], Endpoint]):
    """Send all events again from a position or a time on."""

    capability = "webhooks"

    def read(
        self, request: Request, query: Mapping[str, Any]
    ) -> tuple[UUID, int | datetime]:
        return _uuid_of(request), read_replay(read_object(request))

    def one(self, call: tuple[UUID, int | datetime], caller: Caller) -> Endpoint:
        return repeat.replay(*call, actor=caller.actor, tenant=caller.tenant)

    def write(
        self, request: Request, call: tuple[UUID, int | datetime], result: Endpoint
    ) -> ApiResponse:
        return json_response(webhook_line(result))


class DeliveriesCall(NamedTuple):
    """A requested page of deliveries, and the writer of its links."""

    page: history.PageRequest
    pages: Pages


class ListDeliveries(_Shown[DeliveriesCall, list[Shown]]):
    """Show what was sent to a webhook, the newest first."""

    capability = "webhooks"
    known_parameters = {
        "status": one_of(*OUTCOMES),
        "limit": page_limit,
        "cursor": str,
    }

    def read(self, request: Request, query: Mapping[str, Any]) -> DeliveriesCall:
        pages = Pages(request, query)
        position = pages.position(numbers=1)
        before = position[0] if position else None
        outcome = OUTCOMES[query["status"]] if "status" in query else None
        # One more row shows whether another page follows.
        page = history.PageRequest(_uuid_of(request), before, pages.limit + 1, outcome)
        return DeliveriesCall(page, pages)

    def many(
        self, calls: Sequence[DeliveriesCall], *, caller: Caller, wait: bool
    ) -> Sequence[list[Shown] | Exception]:
        return history.pages([call.page for call in calls], tenant=caller.tenant)

    def write(
        self, request: Request, call: DeliveriesCall, result: list[Shown]
    ) -> ApiResponse:
        page = result[: call.pages.limit]
        following = [page[-1].delivery.sequence] if len(result) > len(page) else None
        return json_response(
            [delivery_line(row) for row in page], headers=call.pages.links(following)
        )


def _with_secret(made: Made) -> dict[str, Any]:
    return webhook_line(made.endpoint) | {"secret": made.secret}


class WebhookListView(OperationView):
    """GET and POST /webhooks/."""

    operations = (ListWebhooks(), CreateWebhook())


class WebhookView(OperationView):
    """GET, PATCH and DELETE /webhooks/<uuid>/."""

    operations = (GetWebhook(), ChangeWebhook(), DeleteWebhook())


class RotateSecretView(OperationView):
    """POST /webhooks/<uuid>/rotate-secret."""

    operations = (RotateSecret(),)


class ReplayView(OperationView):
    """POST /webhooks/<uuid>/replay."""

    operations = (ReplayWebhook(),)


class TestView(OperationView):
    """POST /webhooks/<uuid>/test."""

    __test__ = False  # no class of tests

    operations = (TestWebhook(),)


class DeliveryListView(OperationView):
    """GET /webhooks/<uuid>/deliveries/."""

    operations = (ListDeliveries(),)
