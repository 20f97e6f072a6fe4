"""App configuration: registers the system checks and the tasks."""

from django.apps import AppConfig


class WalletsConfig(AppConfig):
    name = "wallets"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        # Importing these modules registers their checks and tasks.
        from wallets import checks, deployment, tasks  # noqa: F401
        from wallets.utils.database import timestamps

        timestamps.install()
