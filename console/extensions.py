"""What removable applications add to the console.

The setting `CONSOLE_EXTENSIONS` names their packages of pages; the console knows none of
them. Each one has these modules:

- `urls`: its pages, all under /console/ (the project includes them);
- `contents`, with `LINKS` (what the navigation shows) and `ALARMS` (the meanings of its
  own kinds of alarms).
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any, NamedTuple

from django.conf import settings


class Link(NamedTuple):
    """A link of the navigation: its text, the name of its page, and the needed model."""

    text: str
    page: str
    model: str


def links() -> Iterator[Link]:
    """Yield the links of all extensions, in order."""
    for found in _of_each("LINKS"):
        yield from found


def alarms() -> Mapping[str, str]:
    """Return the meanings of the alarms of all extensions, by kind."""
    return ChainMap(*(dict(found) for found in _of_each("ALARMS")))


def _of_each(name: str) -> Iterator[Any]:
    for package in settings.CONSOLE_EXTENSIONS:
        yield getattr(import_module(f"{package}.contents"), name)
