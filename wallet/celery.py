"""The Celery app. It carries bells, never truth: every message may be lost or doubled."""

import os

from celery import Celery, Task
from celery.signals import (
    beat_init,
    setup_logging,
    worker_init,
    worker_process_init,
    worker_shutting_down,
)
from django_structlog.celery.signals import bind_extra_task_metadata
from django_structlog.celery.steps import DjangoStructLogInitStep
from structlog.contextvars import bind_contextvars

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "wallet.settings")

app = Celery("wallet")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
# Each line of a task carries its id, and the id of the request that rang for it.
app.steps["worker"].add(DjangoStructLogInitStep)


@bind_extra_task_metadata.connect
def _name_the_task(task: Task, **_kwargs: object) -> None:
    bind_contextvars(task=task.name)


@setup_logging.connect
def _leave_logging_to_django(**_kwargs: object) -> None:
    """Celery sets nothing up when somebody listens to this signal."""


@worker_init.connect
def _refuse_unsafe_settings(**_kwargs: object) -> None:
    """Celery runs Django's checks and starts whatever they say; with money it must not."""
    from django.core.checks import run_checks

    serious = [message for message in run_checks() if message.is_serious()]
    if serious:
        raise SystemExit("\n".join(str(message) for message in serious))


@worker_init.connect
@beat_init.connect
def _compare_clocks(**_kwargs: object) -> None:
    """Say it at the start if this host's clock is off; keep no connection for children."""
    from django.db import connections

    from wallets.services import host_clock

    host_clock.warn(at_once=True)
    connections.close_all()


@worker_shutting_down.connect
def _stop_draining(**_kwargs: object) -> None:
    """A drain waits for due withdrawals; a worker that is told to stop must not wait."""
    from wallets.utils import stopping

    stopping.announce()


@worker_process_init.connect
def _forked(**_kwargs: object) -> None:
    from wallets.utils import stopping

    stopping.after_fork()
