"""App configuration."""

from django.apps import AppConfig


class EventsConfig(AppConfig):
    name = "events"

    def ready(self) -> None:
        # Importing these modules registers their checks and tasks.
        from events import checks, tasks  # noqa: F401
