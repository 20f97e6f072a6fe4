"""Webhooks in requests and answers."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import ValidationError

from events.models.endpoint import MAX_DESCRIPTION, Endpoint, Keep
from events.utils.addresses import MAX_URL
from wallets.serializers import strict
from wallets.serializers.fields import (
    CountField,
    InstantField,
    KeywordNames,
    RequestSerializer,
    WordField,
)
from wallets.utils import instants
from wallets.utils.limits import MAX_BIGINT

# More than there are types.
MAX_TYPES = 100


def _refused(name: str, text: str) -> ValidationError:
    return ValidationError(text, f"webhook_{name}_invalid")


def read_url(value: object) -> str:
    """Return a URL: text. The service checks where it leads."""
    if type(value) is not str:
        raise ValidationError("Send the URL, as text.", "webhook_url_refused")
    return value


def read_types(value: object) -> list[str]:
    """Return types of events: a list of different texts."""
    if type(value) is not list or len(value) > MAX_TYPES:
        raise _refused("types", f"Send a list of at most {MAX_TYPES} types.")
    if any(type(one) is not str for one in value) or len(set(value)) < len(value):
        raise _refused("types", "Send each type once, as text.")
    return value


def read_description(value: object) -> str:
    """Return a text for people."""
    if type(value) is not str:
        raise _refused("description", "Send text.")
    return value


def read_enabled(value: object) -> bool:
    """Return true or false."""
    if type(value) is not bool:
        raise _refused("enabled", "Send true or false.")
    return value


def read_start(value: object) -> int | datetime:
    """Return a position of the feed, or a moment."""
    if type(value) is int and 1 <= value <= MAX_BIGINT:
        return value
    try:
        if type(value) is str:
            return instants.parse(value)
    except ValueError:
        pass
    raise _refused(
        "from",
        "Send a position of the feed, an integer of 1 or more; or a time with its "
        "offset, such as 2026-02-17T12:00:00Z.",
    )


def read_keep(value: object) -> Keep:
    """Return which of two valid secrets stays."""
    if type(value) is str and value in set(Keep):
        return Keep(value)
    raise _refused("keep", f"Send one of {', '.join(Keep)}.")


class UrlField(serializers.CharField):
    """Where events are sent."""

    to_internal_value = staticmethod(read_url)  # type: ignore[assignment]

    def __init__(self, **options: Any) -> None:
        text = "Where events are sent: https, to a public address."
        super().__init__(max_length=MAX_URL, help_text=text, **options)


class TypesField(serializers.ListField):
    """Types of events."""

    child = serializers.CharField()
    to_internal_value = staticmethod(read_types)  # type: ignore[assignment]

    def __init__(self, **options: Any) -> None:
        text = "The wanted types of events; none: all, also those of later releases."
        super().__init__(
            max_length=MAX_TYPES, required=False, help_text=text, **options
        )


class DescriptionField(serializers.CharField):
    """A text for people."""

    to_internal_value = staticmethod(read_description)  # type: ignore[assignment]

    def __init__(self, **options: Any) -> None:
        super().__init__(
            max_length=MAX_DESCRIPTION,
            allow_blank=True,
            required=False,
            help_text="A text of your own.",
            **options,
        )


class EnabledField(serializers.BooleanField):
    """Whether events are sent."""

    to_internal_value = staticmethod(read_enabled)  # type: ignore[assignment]


@extend_schema_field(
    {
        "anyOf": [
            {"type": "integer", "format": "int64", "minimum": 1, "maximum": MAX_BIGINT},
            {"type": "string", "format": "date-time"},
        ]
    }
)
class StartField(serializers.Field):
    """A position of the feed, or a moment."""

    to_internal_value = staticmethod(read_start)  # type: ignore[assignment]


@extend_schema_field({"type": "string", "pattern": f"^({'|'.join(Keep)})$"})
class KeepField(serializers.Field):
    """Which of two valid secrets stays."""

    to_internal_value = staticmethod(read_keep)  # type: ignore[assignment]


class WebhookRequestSerializer(RequestSerializer):
    """A webhook to make."""

    url = UrlField()
    types = TypesField()
    description = DescriptionField()


class WebhookChangeRequestSerializer(RequestSerializer):
    """What to change of a webhook; what is not sent stays as it is."""

    url = UrlField(required=False)
    types = TypesField()
    description = DescriptionField()
    enabled = EnabledField(
        required=False,
        help_text="false: send nothing, and keep the place. true: go on there.",
    )


class WebhookRotationRequestSerializer(RequestSerializer):
    """Which of two valid secrets stays beside the new one."""

    keep = KeepField(
        required=False,
        help_text="Needed while two secrets are valid, and without effect otherwise. "
        "`old`: the secret of the last rotation ends at once, because the receiver has not "
        "got it. `present`: it stays, and the one before it ends at once.",
    )


class WebhookReplayRequestSerializer(KeywordNames, RequestSerializer):
    """Where to begin again."""

    from_ = StartField(
        help_text="The position of the first event, as in the feed; or a time: all events "
        "from then on are sent, and those between them in the feed that are older."
    )


class WebhookSerializer(serializers.Serializer):
    """A webhook. Its secrets are not shown."""

    uuid = serializers.UUIDField(help_text="The webhook.")
    url = serializers.CharField(help_text="Where events are sent.")
    types = serializers.ListField(
        child=serializers.CharField(), help_text="The wanted types; none: all."
    )
    description = serializers.CharField(help_text="The client's text.")
    enabled = serializers.BooleanField(help_text="Whether events are sent.")
    off_because = WordField(
        [choice for choice in Endpoint.OffBecause.choices if choice[0]],
        allow_null=True,
        help_text="Why none are sent: `switched_off` by hand; `failing`, after the last "
        "retry; `gone`, after the answer 410.",
    )
    position = CountField(
        help_text="Up to this position of the feed, events were sent or wait to be sent."
    )
    failures_in_row = CountField(help_text="Failed attempts since the last success.")
    quiet_until = InstantField(
        allow_null=True,
        help_text="Nothing is sent until then, because the receiver asked for that by "
        "`Retry-After`. It may be over.",
    )
    old_secret_ends_at = InstantField(
        allow_null=True,
        help_text="Until then events are signed with the secret before the last rotation, "
        "too.",
    )
    created_at = InstantField(help_text="When it was made.")
    created_by = serializers.CharField(
        allow_null=True,
        help_text="Who made it: the name of a key, for example. null: it was made by a "
        "release that did not note it.",
    )


class NewWebhookSerializer(WebhookSerializer):
    """A webhook with its new secret, which is shown only here."""

    secret = serializers.CharField(
        help_text="For the library of Standard Webhooks. Keep it: it is not shown again."
    )


_NEW = WebhookRequestSerializer.readers()
_NEW_OPTIONAL = WebhookRequestSerializer.readers(required=False)
_CHANGES = WebhookChangeRequestSerializer.readers(required=False)
_REPLAY = WebhookReplayRequestSerializer.readers()
_ROTATION = WebhookRotationRequestSerializer.readers(required=False)


def read_webhook(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a new webhook.

    :raises ValidationError: with every error of every field.
    """
    return strict.read_fields(body, _NEW, _NEW_OPTIONAL)


def read_changes(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields to change.

    :raises ValidationError: with every error of every field.
    """
    return strict.read_fields(body, {}, _CHANGES)


def read_replay(body: Mapping[str, Any]) -> int | datetime:
    """Return where a replay begins.

    :raises ValidationError: with every error of every field.
    """
    return strict.read_fields(body, _REPLAY)["from"]


def read_rotation(body: Mapping[str, Any]) -> Keep | None:
    """Return which of two valid secrets stays; None: the caller does not say.

    :raises ValidationError: with every error of every field.
    """
    return strict.read_fields(body, {}, _ROTATION).get("keep")


def webhook_line(endpoint: Endpoint) -> dict[str, Any]:
    """Return the same as `WebhookSerializer`, for `strict_json.dumps`."""
    return {
        "uuid": endpoint.uuid,
        "url": endpoint.url,
        "types": endpoint.types,
        "description": endpoint.description,
        "enabled": endpoint.enabled,
        "off_because": endpoint.off_because or None,
        "position": endpoint.position,
        "failures_in_row": endpoint.failures_in_row,
        "quiet_until": endpoint.quiet_until,
        "old_secret_ends_at": endpoint.old_ends_at,
        "created_at": endpoint.created_at,
        "created_by": endpoint.created_by or None,
    }
