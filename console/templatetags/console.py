"""Template tags for money, times and states."""

from __future__ import annotations

from datetime import datetime, timedelta
from datetime import timezone as dt_timezone

from django import template
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from console import access, extensions
from wallets.models.states import State
from wallets.models.transaction import Transaction
from wallets.services.operations import pause
from wallets.services.operations.pause import Standing
from wallets.utils import words as words_of

register = template.Library()

NOTHING = "\u2013"

# The name of a state, and its tone in the style sheet.
STATES = {
    State.PENDING: ("Scheduled", "muted"),
    State.SENDING: ("Sending", "busy"),
    State.UNKNOWN: ("Outcome unknown", "warn"),
    State.NEEDS_REVIEW: ("Needs review", "warn"),
    State.COMPLETED: ("Paid", "good"),
    State.FAILED_RETRYABLE: ("Failed, will retry", "bad"),
    State.FAILED_FINAL: ("Failed", "bad"),
    State.CANCELLED: ("Cancelled", "muted"),
}
_LOOKS = {state.value: look for state, look in STATES.items()}


@register.filter
def money(amount: int | str | None, currency: str = "") -> str:
    """Minor units with separators: 1,234,567; of a currency: 1,234.567 KWD.

    A damaged row may have text.
    """
    if amount is None:
        return NOTHING
    if not isinstance(amount, int):
        return str(amount)
    return words_of.money(amount, currency)


@register.filter
def seconds(value: float | None) -> str:
    """A length of time: 120 ms, 1.25 s, 3 min 5 s, 2 h 10 min."""
    if value is None:
        return NOTHING
    if abs(value) < 1:
        return f"{value * 1000:.0f} ms"
    if abs(value) < 60:
        return f"{value:.2f} s"
    size, small, names = (60, 1, "min s") if value < 3600 else (3600, 60, "h min")
    first, second = names.split()
    return f"{value // size:.0f} {first} {value % size // small:.0f} {second}"


@register.filter
def utc(moment: datetime | None) -> SafeString | str:
    """A time to the second, never broken over two lines."""
    if moment is None:
        return NOTHING
    text = to_the_second(moment)
    return format_html('<time datetime="{}Z">{}</time>', text.replace(" ", "T"), text)


def to_the_second(moment: datetime) -> str:
    """2026-11-22 12:00:00, in UTC."""
    return f"{moment.astimezone(dt_timezone.utc):%Y-%m-%d %H:%M:%S}"


@register.simple_tag
def when(moment: datetime | None) -> SafeString | str:
    """A time relative to now; the exact one is its title. `console.js` updates it."""
    if moment is None:
        return NOTHING
    return format_html(
        '<time datetime="{}" title="{} UTC" data-relative>{}</time>',
        moment.astimezone(dt_timezone.utc).isoformat(),
        to_the_second(moment),
        relative(moment, timezone.now()),
    )


def relative(moment: datetime, now: datetime) -> str:
    """ "in 5 s", "3 min ago", "2 d ago"."""
    distance = moment - now
    if abs(distance) < timedelta(seconds=1):
        return "now"
    words = span(abs(distance))
    return f"in {words}" if distance > timedelta(0) else f"{words} ago"


def span(distance: timedelta) -> str:
    """The largest unit that is not zero, rounded down; `console.js` does the same."""
    total = int(distance.total_seconds())
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if total >= size:
            return f"{total // size} {unit}"
    return f"{total} s"


@register.simple_tag
def badge(withdrawal: Transaction) -> SafeString:
    """The state of a withdrawal as a coloured word."""
    state = withdrawal.known_state
    return state_badge(state.value if state else withdrawal.status)


@register.simple_tag
def state_badge(value: str) -> SafeString:
    """A state by its value, as in transitions. A damaged row may have any value."""
    name, tone = _LOOKS.get(value, (f"Damaged: {value or 'no state'}", "bad"))
    return format_html('<span class="badge tone-{}">{}</span>', tone, name)


@register.simple_tag
def payouts_standing() -> Standing:
    """Whether payouts are paused, for the banner of every page."""
    return pause.standing()


@register.simple_tag
def added_links() -> list[extensions.Link]:
    """What removable applications add to the navigation."""
    return list(extensions.links())


@register.filter
def may_see(user: object, model: str) -> bool:
    """Whether the user may see rows of this model, for links and parts of pages."""
    return access.may_see(user, model)


@register.filter
def words(code: str) -> str:
    """A code as words: needs_review → Needs review."""
    return code.replace("_", " ").capitalize()


@register.filter
def short_id(value: object) -> str:
    """The first part of a UUID; the link's title has the whole one."""
    return str(value).split("-")[0]
