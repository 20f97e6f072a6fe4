"""Settings of the removable applications: which are switched on, and what they add."""

from wallet.environment import Env
from wallet.keys import *  # noqa: F403
from wallet.keys import ACCESS_ENABLED
from wallet.webhooks import *  # noqa: F403
from wallets.utils.messaging.beat import every

_env = Env()

# Each can be switched off; nothing else depends on it.
ADMIN_ENABLED = _env.bool("ADMIN_ENABLED", default=True)
CONSOLE_ENABLED = _env.bool("CONSOLE_ENABLED", default=True)
# The feed of events. Off: its tables are not made, read or written.
EVENTS_ENABLED = _env.bool("EVENTS_ENABLED", default=True)
EXTENSION_APPS = [
    *["django_htmx", "console"] * CONSOLE_ENABLED,
    *["events"] * EVENTS_ENABLED,
    *["access"] * ACCESS_ENABLED,
]
# Who may call the API: see `wallets.views.http.authentication`. "": everybody.
API_AUTHENTICATION = "access.views.authentication.authenticate" * ACCESS_ENABLED
# How the OpenAPI document names it.
API_SECURITY_SCHEME = {
    "type": "http",
    "scheme": "bearer",
    "description": "A key of the operator: `Authorization: Bearer wk_…`.",
}
# Whether the API corrects deposits and transfers. Without keys off, because whoever
# reaches an API that asks nobody who it is could take money out of any wallet.
API_CORRECTIONS = _env.bool("API_CORRECTIONS", default=ACCESS_ENABLED)
# The applications that add to the API: see `wallets.utils.extensions`.
API_EXTENSIONS: list[str] = [
    *["events"] * EVENTS_ENABLED,
    *["access"] * ACCESS_ENABLED,
]
# Those that are off by default; the page of problems has theirs, too.
API_OPTIONAL_EXTENSIONS = ["access"]
# When callers are asked, in the words of the documents.
API_CALLERS_ARE_ASKED = "with `API_AUTH=keys`"
API_EXTENSION_TAGS = [
    {"name": "Events", "description": "Every committed change, in one order."},
    {"name": "Webhooks", "description": "Events, sent to URLs of your own."},
] * EVENTS_ENABLED
HEALTH_EXTENSIONS: list[str] = API_EXTENSIONS
# Ticks of Beat that they add: the task, and its interval in seconds.
EXTENSION_TICKS = {
    task.split(".")[-1]: {"task": task, "schedule": every(interval)}
    for task, interval in [("events.tasks.give_places", 10.0)] * EVENTS_ENABLED
}
# What they add to the console: see `console.extensions`.
CONSOLE_EXTENSIONS = [f"{name}.pages" for name in API_EXTENSIONS]
