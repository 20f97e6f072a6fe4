"""The models, for Django. In the project, import from the defining module."""

from events.models.block import Block
from events.models.delivery import Delivery
from events.models.endpoint import Endpoint
from events.models.event import Event
from events.models.progress import Cursor, Gap

__all__ = ["Block", "Cursor", "Delivery", "Endpoint", "Event", "Gap"]
