"""What webhooks add to the console's navigation and alarms."""

from __future__ import annotations

from console.extensions import Link
from events.services.webhooks import switch

LINKS = (Link("Webhooks", "webhook_pages:webhooks", "events.endpoint"),)
ALARMS = {
    switch.SWITCHED_OFF: (
        "A webhook is switched off: its receiver failed up to the last retry, or wants no "
        "events any more. It keeps its place. Tell its owner; switched on, it goes on "
        "where it stopped."
    ),
    switch.NO_SECRET: (
        "Events cannot be signed for a webhook, so none are sent to it. SECRET_KEY has "
        "changed: set the old one in SECRET_KEY_FALLBACKS, or rotate the secret and give "
        "the new one to its owner."
    ),
}
