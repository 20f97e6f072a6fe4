"""The models, for Django. In the project, import from the defining module."""

from access.models.api_key import ApiKey
from access.models.key_event import KeyEvent

__all__ = ["ApiKey", "KeyEvent"]
