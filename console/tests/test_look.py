"""The style sheet: all text has enough contrast in both colour schemes (WCAG AA)."""

from __future__ import annotations

import re
from pathlib import Path

from django.test import SimpleTestCase

CSS = Path(__file__).resolve().parents[1] / "static" / "console" / "console.css"
WORDS = ("ink", "soft", "accent", "good", "bad", "warn", "busy", "muted")
FILLS = ("good-fill", "bad-fill", "warn-fill", "accent")
BADGE = 0.13  # the share of its tone in the background of a badge

Colour = tuple[float, ...]


def themes() -> dict[str, dict[str, Colour]]:
    """Return the colours by name, of the light and of the dark colour scheme."""
    css = CSS.read_text()
    light, dark = re.findall(r":root \{(.*?)\}", css, re.S)[:2]
    found = {"light": colours(light)}
    found["dark"] = found["light"] | colours(dark)
    return found


def colours(block: str) -> dict[str, Colour]:
    pairs = re.findall(r"--([\w-]+): #([0-9a-f]{6});", block)
    return {
        name: tuple(int(value[i : i + 2], 16) / 255 for i in (0, 2, 4))
        for name, value in pairs
    }


def luminance(colour: Colour) -> float:
    red, green, blue = (
        part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4
        for part in colour
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: Colour, other: Colour) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def mixed(tone: Colour, share: float, ground: Colour) -> Colour:
    return tuple(t * share + g * (1 - share) for t, g in zip(tone, ground, strict=True))


class ContrastTest(SimpleTestCase):
    def test_of_words_is_enough_to_read_them(self) -> None:
        for theme, named in themes().items():
            for word in WORDS:
                for ground in ("page", "surface"):
                    tinted = mixed(named[word], BADGE, named[ground])
                    for behind in (named[ground], tinted):
                        with self.subTest(theme=theme, word=word, ground=ground):
                            found = contrast(named[word], behind)
                            self.assertGreaterEqual(found, 4.5)

    def test_of_bars_is_enough_to_see_them(self) -> None:
        for theme, named in themes().items():
            for fill in FILLS:
                with self.subTest(theme=theme, fill=fill):
                    found = contrast(named[fill], named["surface"])
                    self.assertGreaterEqual(found, 3)

    def test_of_buttons_is_enough_to_read_them(self) -> None:
        for theme, named in themes().items():
            for tone in ("accent", "good", "bad"):
                with self.subTest(theme=theme, tone=tone):
                    found = contrast(named["on-accent"], named[tone])
                    self.assertGreaterEqual(found, 4.5)
