"""Reads settings from the environment, and ends a program whose settings are refused.

A value that cannot be read is never quoted, because it may contain a password.
"""

from __future__ import annotations

import logging
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
        """Return the value of a variable.

        :raises ImproperlyConfigured: it is not what it must be.
        """
        try:
            return super().get_value(var, cast, *more, **options)
        except ValueError:
            expected = EXPECTED.get(cast, "another value")
            raise ImproperlyConfigured(f"{var} must be {expected}.") from None


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
    int: "a whole number",
    float: "a number",
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
