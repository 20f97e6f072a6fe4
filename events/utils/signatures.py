"""Secrets and signatures of webhooks, as Standard Webhooks describes them.

No secret is stored. A secret is derived from a random seed, which is stored, and
SECRET_KEY, which is not in the database: a copy of the database alone signs nothing. A
fingerprint tells whether the derived secret is still the one that the receiver got, so
nothing is ever signed with another one.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.utils.crypto import salted_hmac
from standardwebhooks import Webhook

SEED_BYTES = 32
_SALT = "events.webhooks.secret"
_PREFIX = "whsec_"


class UnreadableSecret(Exception):
    """SECRET_KEY is not the one that the secret was derived from.

    Set the old key in SECRET_KEY_FALLBACKS, or rotate the endpoint's secret.
    """


@dataclass(frozen=True)
class Stored:
    """What is stored of a secret; both are hexadecimal text."""

    seed: str
    fingerprint: str


def made() -> tuple[Stored, str]:
    """Return a new secret: what is stored of it, and the text that is shown once."""
    seed = secrets.token_hex(SEED_BYTES)
    text = _derived(seed, settings.SECRET_KEY)
    return Stored(seed, _fingerprint(text)), text


def secret_of(stored: Stored) -> str:
    """Return the secret: `whsec_…`.

    :raises UnreadableSecret: no known key derives it.
    """
    for key in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS):
        text = _derived(stored.seed, key)
        if hmac.compare_digest(_fingerprint(text), stored.fingerprint):
            return text
    raise UnreadableSecret("no known SECRET_KEY derives the secret of the endpoint")


def headers(
    event_id: str, body: str, active: Sequence[Stored], *, now: datetime
) -> tuple[tuple[str, str], ...]:
    """Return the three headers of a webhook, with a signature for each active secret.

    `now`: when it is sent (UTC).

    :raises UnreadableSecret: no known key derives one of the secrets.
    """
    signatures = [
        Webhook(secret_of(stored)).sign(event_id, now, body) for stored in active
    ]
    return (
        ("webhook-id", event_id),
        ("webhook-timestamp", str(int(now.timestamp()))),
        ("webhook-signature", " ".join(signatures)),
    )


def _derived(seed: str, key: str) -> str:
    digest = salted_hmac(_SALT, seed, secret=key, algorithm="sha256").digest()
    return _PREFIX + base64.b64encode(digest).decode("ascii")


def _fingerprint(text: str) -> str:
    return hashlib.sha256(text.encode("ascii")).hexdigest()
