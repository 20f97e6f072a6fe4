"""The problems that the application adds to the catalogue."""

from __future__ import annotations

from wallets.views.problems.problem import Problem

PROBLEMS: tuple[Problem, ...] = (
    Problem(
        "position_ahead",
        409,
        "Position ahead of the feed",
        "The feed has not reached the position of `after`, although it was read: the "
        "database was restored from a backup. Go back to a position from before the "
        "backup, and leave out the events whose `id` you know.",
    ),
    Problem(
        "webhook_url_refused",
        400,
        "The URL is refused",
        "A webhook's URL must be https, on port 443, without user name and fragment, and "
        "every address of its host must be public, unless the operator allows more.",
    ),
    Problem(
        "webhook_types_invalid",
        400,
        "Invalid types",
        "The types must be a list of different types of events that exist.",
    ),
    Problem(
        "webhook_description_invalid",
        400,
        "Invalid description",
        "The description must be text of at most 255 printable characters.",
    ),
    Problem(
        "webhook_enabled_invalid",
        400,
        "Invalid switch",
        "The field `enabled` must be true or false.",
    ),
    Problem(
        "webhook_from_invalid",
        400,
        "Invalid beginning",
        "A replay begins at a position of the feed, an integer of 1 or more, or at a time "
        "with its offset.",
    ),
    Problem(
        "webhook_keep_invalid",
        400,
        "Invalid choice of a secret",
        "The field `keep` must be `present` or `old`.",
    ),
    Problem(
        "webhook_not_found",
        404,
        "No such webhook",
        "No webhook has this UUID.",
    ),
    Problem(
        "webhook_off",
        409,
        "The webhook is switched off",
        "Nothing is sent to a webhook that is switched off. Switch it on first.",
    ),
    Problem(
        "webhook_two_secrets",
        409,
        "Two secrets are valid",
        "The secret was rotated a short time ago, and the one before it is still valid. "
        "Another rotation ends one of the two: send `keep` to say which one stays. `old` "
        "if the receiver has not got the secret of the last rotation, for example because "
        "its answer was lost; `present` if it has.",
    ),
    Problem(
        "too_many_webhooks",
        409,
        "Too many webhooks",
        "The tenant has as many webhooks as the operator allows, or all tenants together "
        "have. Delete one first.",
    ),
    Problem(
        "webhook_url_unresolved",
        422,
        "The name is not resolved",
        "The host of the URL has no address now, or its name could not be resolved in "
        "time. Try again when it can be.",
    ),
)
