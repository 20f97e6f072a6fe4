"""Refusals of the feed and of webhooks."""

from __future__ import annotations

from wallets.errors import InvalidInput, Refusal


class PositionAhead(Refusal):
    """The feed has not reached this position: a backup was restored since it was read.

    Go back to a position from before the backup, and leave out the events whose id you
    know.
    """

    code = "position_ahead"


class UnknownRow(Exception):
    """The ledger has a row that this release does not know: of a later release.

    A feed that went past it would never have its event. So this sequencer gives no
    place until it is replaced by one of the release that has written the row.
    """

    def __init__(self, table: str, row_id: int) -> None:
        super().__init__(
            f"{table} has a row {row_id} of a kind that this release does not know: run "
            "the sequencer of the release that has written it"
        )


class WebhookNotFound(Refusal):
    """There is no webhook with this UUID."""

    code = "webhook_not_found"


class WebhookOff(Refusal):
    """The webhook is switched off, so nothing is sent to it. Switch it on first."""

    code = "webhook_off"


class TwoSecrets(Refusal):
    """Two secrets of the webhook are valid, and a rotation would end one of them."""

    code = "webhook_two_secrets"

    def __init__(self, ends: str) -> None:
        super().__init__(
            f"Two secrets are valid until {ends}: that of the last rotation, and the one "
            "before it. A new one would end one of them. Send `keep`: `old` if the "
            "receiver has not got the secret of the last rotation, for example because "
            "its answer was lost; `present` if it has."
        )


class TooManyWebhooks(Refusal):
    """There are as many webhooks as a setting allows."""

    code = "too_many_webhooks"

    def __init__(self, setting: str, whose: str) -> None:
        super().__init__(
            f"There are as many webhooks of {whose} as {setting} allows. Delete one first."
        )


class InvalidWebhook(InvalidInput):
    """A value that a webhook cannot have; each field has a code of its own."""


class AddressRefused(InvalidInput):
    """Webhooks are not sent to this address; the message says why."""

    code = "webhook_url_refused"

    def __init__(self, detail: str) -> None:
        super().__init__(detail, field="url")


class Unresolved(InvalidInput):
    """The addresses of the URL's name could not be learnt in time."""

    code = "webhook_url_unresolved"

    def __init__(self, detail: str) -> None:
        super().__init__(detail, field="url")


class ResolverBusy(Unresolved):
    """Our resolver has too many unfinished look-ups; the name may be a good one."""
