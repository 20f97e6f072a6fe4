"""App configuration: registers the system checks and the tasks."""

from django.apps import AppConfig


class WalletsConfig(AppConfig):
    name = "wallets"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from wallets import checks, tasks  # noqa: F401  (importing registers them)
        from wallets.utils import timestamps

        timestamps.install()
