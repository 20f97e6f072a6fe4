"""Reads settings from the environment, and ends a program whose settings are refused.

A value that cannot be read is never quoted, because it may contain a password.
"""

from __future__ import annotations

import logging
import math
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured


class Env(environ.Env):
    """The environment's values; one that cannot be read is named."""

    def get_value(
        self,
        var: str,
        cast: Callable[..., Any] | None = None,
        *more: Any,
        **options: Any,
    ) -> Any:
        """Return the value of a variable; as a number, it is finite and not negative.

        :raises ImproperlyConfigured: it is not what it must be.
        """
        # django-environ would skip letters, and read 1e3 as 13.
        read = number if cast is float else whole if cast is int else cast
        try:
            return super().get_value(var, read, *more, **options)
        except ValueError:
            expected = EXPECTED.get(cast, "another value")
            raise ImproperlyConfigured(f"{var} must be {expected}.") from None


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


def count(name: str, default: int) -> int:
    """Return a number of processes, threads or seconds; `default` if it is not set.

    :raises ImproperlyConfigured: it is not a whole number above 0.
    """
    text = os.environ.get(name) or str(default)
    if not text.isdecimal() or not int(text):
        raise ImproperlyConfigured(f"{name} must be a whole number above 0.")
    return int(text)


def address(text: str) -> str:
    """Return the URL, whose host and port can be read."""
    urlsplit(text).port  # noqa: B018 (raises ValueError)
    return text


def level(text: str) -> str:
    """Return the name of a level of the log."""
    if not isinstance(logging.getLevelName(text), int):
        raise ValueError
    return text


# What a value must be, by its reader; a module with readers of its own adds to it.
EXPECTED: dict[Any, str] = {
    int: "a whole number, 0 or more",
    float: "a number, 0 or more",
    endless: "a number, 0 or more, or inf",
    address: "a URL; percent-encode the password in it",
    level: "a level in capitals: DEBUG, INFO, WARNING, ERROR or CRITICAL",
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
