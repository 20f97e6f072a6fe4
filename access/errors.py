"""Refusals of the application."""

from __future__ import annotations

from wallets.errors import InvalidInput, Refusal


class InvalidKey(InvalidInput):
    """A value that a key cannot have; `field` is its name."""

    code = "key_invalid"


class NameTaken(Refusal):
    """A key of this name exists. Rotate it, or revoke it first."""

    code = "key_name_taken"


class NoSuchKey(Refusal):
    """No key of this name can be used."""

    code = "key_not_found"


class KeyChanged(Refusal):
    """The key was rotated or revoked in the meantime. Look at it again."""

    code = "key_changed"


class KeysUnknown(Exception):
    """This process does not know which keys may be used now.

    Its copy is too old, and could not be read again: the database does not answer.
    """
