"""Content negotiation: the media type that Accept prefers, otherwise JSON."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Sequence
from typing import Any

from rest_framework.exceptions import NotAcceptable
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request

_QUALITY = re.compile(r"q=(0(\.[0-9]{0,3})?|1(\.0{0,3})?)")


class Negotiation(BaseContentNegotiation):
    """Chooses the parser, and the renderer that the client prefers.

    The first renderer is the default and wins a tie. No query parameter chooses.
    """

    def select_parser(
        self, request: Request, parsers: Iterable[BaseParser]
    ) -> BaseParser:
        return next(iter(parsers))

    def select_renderer(
        self,
        request: Request,
        renderers: Iterable[BaseRenderer],
        format_suffix: str | None = None,
    ) -> tuple[BaseRenderer, str]:
        choices = {renderer.media_type: renderer for renderer in renderers}
        best = choose(request.headers.get("Accept", ""), list(choices))
        return choices[best], best


class CSVRenderer(BaseRenderer):
    """Declares the media type; the view writes the lines itself, as a stream."""

    media_type = "text/csv"
    format = "csv"

    def render(self, data: Any, *_args: Any, **_options: Any) -> Any:
        return data


@functools.lru_cache(maxsize=256)
def _choose(accept: str, media_types: tuple[str, ...]) -> str | None:
    liked = [_quality(accept, media_type) for media_type in media_types]
    if not accept.strip():
        liked[0] = 1.0
    return media_types[liked.index(max(liked))] if max(liked) else None


def choose(accept: str, media_types: Sequence[str]) -> str:
    """Return the media type that the Accept header prefers; the first wins a tie.

    :raises NotAcceptable: it accepts none.
    """
    best = _choose(accept.lower(), tuple(media_types))
    if best is None:
        raise NotAcceptable
    return best


def _quality(accept: str, media_type: str) -> float:
    """Return the quality of this media type (RFC 9110, 12.5.1); 0: not acceptable."""
    ranges = ["*/*", media_type.partition("/")[0] + "/*", media_type]
    found: dict[str, float] = {}
    for choice in accept.split(","):
        name, *options = (part.strip() for part in choice.split(";"))
        if name in ranges:
            matches = [_QUALITY.fullmatch(option) for option in options]
            named = [float(match[1]) for match in matches if match]
            quality = named[0] if named else 1.0
            found[name] = max(found.get(name, 0.0), quality)
    # The most specific range counts.
    return next((found[name] for name in reversed(ranges) if name in found), 0.0)
