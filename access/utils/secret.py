"""Secrets of keys: made, recognised, hashed. They are never stored or logged."""

from __future__ import annotations

import hashlib
import re
import secrets
from typing import NamedTuple

# Without letters and digits that look alike: people read prefixes aloud.
_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"
_BYTES = 32
_HEADER = re.compile(
    r"(?i:bearer) (wk_[a-z0-9]{8}_[A-Za-z0-9_-]{43})",
)


class Made(NamedTuple):
    """A new secret, and what is stored of it."""

    secret: str
    prefix: str
    digest: str


def make() -> Made:
    """Return a new secret of 256 random bits."""
    prefix = "wk_" + "".join(secrets.choice(_ALPHABET) for _ in range(8))
    secret = f"{prefix}_{secrets.token_urlsafe(_BYTES)}"
    return Made(secret, prefix, digest_of(secret))


def digest_of(secret: str) -> str:
    """Return the SHA-256 of an ASCII text, in hexadecimal."""
    return hashlib.sha256(secret.encode("ascii")).hexdigest()


def digest_in(header: str) -> str | None:
    """Return the digest of the secret in an Authorization header; None: it has none.

    Exactly `Bearer`, in any case (RFC 9110, 11.1), one space, and one secret. Repeated
    headers are joined by a comma, so they have none.
    """
    found = _HEADER.fullmatch(header)
    return None if found is None else digest_of(found[1])
