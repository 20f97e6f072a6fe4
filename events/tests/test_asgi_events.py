"""The tests of the feed's API again, with the ASGI application."""

from __future__ import annotations

from events.tests.test_api_events import EventListApiTest
from wallets.tests import marks
from wallets.tests.asgi import AsgiClient


@marks.slow
class AsgiEventListApiTest(EventListApiTest):
    client_class = AsgiClient


del EventListApiTest
