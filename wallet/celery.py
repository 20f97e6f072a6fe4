"""The Celery app. Messages are only wake-ups: they may be lost or doubled."""

import logging
import os
from typing import Any

from celery import Celery, Task
from celery.app.utils import Settings
from celery.apps.beat import Beat
from celery.apps.worker import Worker
from celery.exceptions import SoftTimeLimitExceeded
from celery.signals import (
    beat_init,
    celeryd_after_setup,
    celeryd_init,
    setup_logging,
    task_failure,
    worker_init,
    worker_process_init,
    worker_process_shutdown,
    worker_shutting_down,
)
from django_structlog.celery.signals import bind_extra_task_metadata
from django_structlog.celery.steps import DjangoStructLogInitStep
from structlog.contextvars import bind_contextvars

from wallet.environment import refused_in_one_line

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "wallet.settings")


def _lines_are_for_machines() -> bool:
    from django.conf import settings

    return bool(settings.LOG_FORMAT != "console")


class QuietBeat(Beat):
    """Prints no banner between lines of JSON, as with Celery's option `--quiet`."""

    quiet: bool

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.quiet = self.quiet or _lines_are_for_machines()


class WalletCelery(Celery):
    """Celery's app with our Beat."""

    @property
    def Beat(self, **_kwargs: Any) -> type[Beat]:
        """The class that `celery beat` starts."""
        found: type[Beat] = self.subclass_with_self(QuietBeat)
        return found


app = WalletCelery("wallet")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
# Each log line of a task has its id, and the id of the request that woke it.
app.steps["worker"].add(DjangoStructLogInitStep)


@app.on_configure.connect
def _refuse_settings(**_kwargs: object) -> None:
    """Tell what is wrong with the settings before Celery does, with a stack."""
    with refused_in_one_line():
        _lines_are_for_machines()


@bind_extra_task_metadata.connect
def _name_the_task(task: Task, **_kwargs: object) -> None:
    bind_contextvars(task=task.name)


@setup_logging.connect
def _leave_logging_to_django(**_kwargs: object) -> None:
    """With a receiver of this signal Celery does not configure logging."""
    logging.captureWarnings(True)


@celeryd_init.connect
def _print_no_banner(instance: Worker, **_kwargs: object) -> None:
    """Every line is JSON from the first one on, as with Celery's option `--quiet`."""
    if _lines_are_for_machines():
        instance.quiet = True
        logging.captureWarnings(True)


@worker_init.connect
def _refuse_unsafe_settings(**_kwargs: object) -> None:
    """Celery starts even if Django's checks fail; a worker here must not."""
    from django.core.checks import run_checks

    serious = [message for message in run_checks() if message.is_serious()]
    if serious:
        raise SystemExit("\n".join(str(message) for message in serious))


@worker_init.connect
@beat_init.connect
def _compare_clocks(**_kwargs: object) -> None:
    """Log a wrong clock of this host at the start; leave no connection to children."""
    from django.db import connections

    from wallets.services.operations import host_clock

    host_clock.warn(at_once=True)
    connections.close_all()


@worker_shutting_down.connect
def _stop_draining(**_kwargs: object) -> None:
    """A drain waits for due withdrawals; a worker that is being stopped must not."""
    from wallets.utils.messaging import stopping

    stopping.announce()


@worker_process_init.connect
def _in_pool_process(**_kwargs: object) -> None:
    from wallets.utils.messaging import stopping

    stopping.in_pool_process()


@worker_process_shutdown.connect
def _record_what_is_kept(**_kwargs: object) -> None:
    """A child of the pool ends without waiting for its threads."""
    from wallets.services.payouts import kept

    kept.finish()


@celeryd_init.connect
def _refuse_greenlets(
    conf: Settings, options: dict[str, Any], **_kwargs: object
) -> None:
    """Greenlets replace the sockets and the sleep of the whole process."""
    pool = options.get("pool_cls") or conf.worker_pool
    name = pool if isinstance(pool, str) else pool.__module__
    if "gevent" in name or "eventlet" in name:
        raise SystemExit(
            "Payouts need real threads: start the worker with -P prefork (the default), "
            "-P threads or -P solo."
        )


@celeryd_after_setup.connect
def _divide_the_pool(instance: Worker, **_kwargs: object) -> None:
    """Keep processes of the pool free for the resolver and the ticks.

    Of four processes two run drains of due withdrawals, one a drain of retries, and one
    is free. In a pool of one or two, drains run one after the other; they end, so the
    other tasks get their turn.
    """
    from wallets.services.operations import heartbeat
    from wallets.utils.messaging import slots

    slots.bound(
        {heartbeat.PENDING: max(1, instance.concurrency - 2), heartbeat.RETRY: 1}
    )


@task_failure.connect
def _leave_no_connection_in_the_middle(
    exception: BaseException, **_kwargs: object
) -> None:
    """Close the connections after the soft time limit.

    It may interrupt the reading of a server's answer; its rest would be taken for the
    next answer.
    """
    if isinstance(exception, SoftTimeLimitExceeded):
        from django.db import connections

        connections.close_all()
