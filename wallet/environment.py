"""Reads settings from the environment, and ends a program whose settings are refused.

A value that cannot be read is never quoted, because it may contain a password. Nothing is
guessed: a misspelt switch would otherwise be off, and what it protects unprotected.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured

# The spellings of a switch, in any case; empty is off.
TRUE = frozenset({"true", "on", "ok", "y", "yes", "1"})
# "not true" is what docker-compose.yaml writes for abilities that nobody has declared.
FALSE = frozenset({"false", "off", "no", "n", "0", "", "not true"})
# The standard's names; the server knows no others.
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


class Env(environ.Env):
    """The environment's values; one that cannot be read is named."""

    def get_value(
        self,
        var: str,
        cast: Any = None,
        default: Any = environ.Env.NOTSET,
        parse_default: bool = False,
    ) -> Any:
        """Return the value of a variable, read by `cast`; `default` if it is not set.

        django-environ would skip letters in a number, take each unknown spelling of a
        switch for "off", and read the variable that a value with `$` names.

        :raises ImproperlyConfigured: it is missing, or not what it must be.
        """
        text = os.environ.get(var)
        if text is None:
            if default is self.NOTSET:
                raise ImproperlyConfigured(f"{var} must be set.")
            return default
        try:
            return self.parse_value(text, _READERS.get(cast, cast))
        except ValueError:
            expected = EXPECTED.get(cast, "another value")
            raise ImproperlyConfigured(f"{var} must be {expected}.") from None


def switch(text: str) -> bool:
    """Return whether the switch is on."""
    word = text.strip().lower()
    if word not in TRUE | FALSE:
        raise ValueError
    return word in TRUE


def number(text: str) -> float:
    """Return the number, which is finite and not negative.

    With "not a number" all comparisons are false, so a wait would be over at once.
    """
    value = float(text)
    if not 0 <= value < math.inf:
        raise ValueError
    return value


def endless(text: str) -> float:
    """Return the number of seconds, or infinity: for ever."""
    value = float(text)
    if not value >= 0:
        raise ValueError
    return value


def whole(text: str) -> int:
    """Return the whole number, which is not negative."""
    value = int(text)
    if value < 0:
        raise ValueError
    return value


def count(name: str, default: int, *, most: int | None = None) -> int:
    """Return a number of processes, threads or seconds; `default` if it is not set.

    :raises ImproperlyConfigured: it is not a whole number above 0, or above `most`.
    """
    text = os.environ.get(name) or str(default)
    if not text.isdecimal() or not int(text):
        raise ImproperlyConfigured(f"{name} must be a whole number above 0.")
    if most is not None and int(text) > most:
        raise ImproperlyConfigured(f"{name} must be at most {most}.")
    return int(text)


def address(text: str) -> str:
    """Return the URL, whose host and port can be read."""
    urlsplit(text).port  # noqa: B018 (raises ValueError)
    return text


def level(text: str) -> str:
    """Return the name of a level of the log."""
    if text not in LEVELS:
        raise ValueError
    return text


def log_format(text: str) -> str:
    """Return the form of the lines of the log."""
    if text not in ("json", "console"):
        raise ValueError
    return text


# Our readers of types, of which django-environ has its own.
_READERS: dict[Any, Callable[[str], Any]] = {bool: switch, int: whole, float: number}
# What a value must be, by its reader; a module with readers of its own adds to it.
EXPECTED: dict[Any, str] = {
    bool: "true or false",
    int: "a whole number, 0 or more",
    float: "a number, 0 or more",
    endless: "a number, 0 or more, or inf",
    address: "a URL; percent-encode the password in it",
    log_format: "json or console",
    level: f"a level in capitals: {', '.join(LEVELS[:-1])} or {LEVELS[-1]}",
}


@contextmanager
def refused_in_one_line() -> Iterator[None]:
    """End the program with one line if a setting or a driver is missing or wrong."""
    try:
        yield
    except ImproperlyConfigured as error:
        cause: BaseException = error
        while isinstance(cause.__cause__, (ImportError, ImproperlyConfigured)):
            cause = cause.__cause__
        sys.exit(" ".join(str(cause).split()))
