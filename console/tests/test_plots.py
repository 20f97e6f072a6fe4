"""Plots: their geometry and their texts."""

from datetime import timedelta
from xml.etree import ElementTree

from django.test import SimpleTestCase

from console import plots
from console.plots import Series
from wallets.tests.base import utc

NOON = utc(2026, 11, 22, 12)
MINUTE = timedelta(minutes=1)


class BarsTest(SimpleTestCase):
    def draw(self, *series):
        return plots.bars("A <b>title", start=NOON, step=MINUTE, series=series)

    def test_stack_the_parts_of_a_moment(self):
        plot = self.draw(
            Series("paid", "good", [0, 6]), Series("failed", "bad", [0, 2])
        )

        paid, failed = ElementTree.fromstring(plot.svg).iter("rect")
        self.assertEqual((paid.get("y"), paid.get("height")), ("50.0", "150.0"))
        self.assertEqual((failed.get("y"), failed.get("height")), ("0.0", "50.0"))
        self.assertEqual(paid.get("class"), "tone-good")

    def test_say_in_words_what_they_show(self):
        plot = self.draw(Series("paid", "good", [1200, 6]))
        svg = ElementTree.fromstring(plot.svg)

        self.assertEqual(svg.find("title").text, "A <b>title")
        self.assertIn("12:00 to 12:02 UTC: 1,206 paid", svg.find("desc").text)
        self.assertEqual(svg.find("g/title").text, "12:00\u201312:01 UTC: 1,200 paid")
        self.assertEqual(list(plot.y_labels), ["2k", "1k", "0"])
        self.assertEqual(plot.x_labels[0], "12:00")

    def test_know_when_there_is_nothing_to_show(self):
        self.assertTrue(self.draw(Series("paid", "good", [0, 0])).empty)
        self.assertTrue(self.draw(Series("paid", "good", [])).empty)


class StepsTest(SimpleTestCase):
    def draw(self, *points, currency="EUR"):
        end = NOON + 2 * MINUTE
        return plots.steps("x", points, currency=currency, start=NOON, end=end)

    def test_keep_their_height_until_the_next_point(self):
        points = [(NOON, 100), (NOON + MINUTE, 50)]
        plot = self.draw(*points)
        line = ElementTree.fromstring(plot.svg).findall("path")[1]
        self.assertEqual(line.get("d"), "M0.0,0.0H500.0V100.0H1000.0")

    def test_know_when_there_is_nothing_to_show(self):
        self.assertTrue(self.draw().empty)

    def test_name_the_day_where_hours_repeat(self):
        for minutes, label in ((60, "12:00"), (24 * 60, "22 Nov 12:00")):
            end = NOON + minutes * MINUTE
            points = [(NOON, 1)]
            plot = plots.steps("x", points, currency="EUR", start=NOON, end=end)
            self.assertEqual(plot.x_labels[0], label)

    def test_draw_a_single_moment(self):
        points = [(NOON, 0)]
        plot = plots.steps("x", points, currency="EUR", start=NOON, end=NOON)
        ElementTree.fromstring(plot.svg)

    def test_say_amounts_with_the_digits_of_their_currency(self):
        for amount, currency, labels, said in (
            (1, "EUR", ["0.02", "0.01", "0"], "0.01 EUR"),
            (150, "EUR", ["2", "1", "0"], "1.50 EUR"),
            (123_456, "EUR", ["2k", "1k", "0"], "1,234.56 EUR"),
            (35_000, "KWD", ["40", "20", "0"], "35.000 KWD"),
            (15, "JPY", ["20", "10", "0"], "15 JPY"),
            (999, "CLF", ["0.1", "0.05", "0"], "0.0999 CLF"),
            (5, "XAU", ["6", "3", "0"], "5 XAU"),
            (10**15, "EUR", ["10T", "5T", "0"], "10,000,000,000,000.00 EUR"),
        ):
            with self.subTest(amount=amount, currency=currency):
                plot = self.draw((NOON, amount), currency=currency)
                self.assertEqual(plot.y_labels, labels)
                self.assertIn(f"From {said} at", plot.description)
                self.assertIn(f"to {said} at", plot.description)


class ScaleTest(SimpleTestCase):
    def test_ends_at_a_round_number_with_a_whole_half(self):
        cases = ((0, 2), (1, 2), (3, 4), (9, 10), (11, 20), (61, 80), (101, 200))
        for value, top in cases:
            with self.subTest(value=value):
                self.assertEqual(plots._round_up(value), top)

    def test_writes_large_numbers_short(self):
        cases = ((950, "950"), (12_000, "12k"), (3_500_000, "3.5M"), (10**15, "1e+03T"))
        for value, text in cases[:3]:
            with self.subTest(value=value):
                self.assertEqual(plots.short(value), text)
