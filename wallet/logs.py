"""The form of log lines: JSON objects or readable lines, without secrets.

Lines of every origin (ours, Django's, Celery's, gunicorn's) pass the same processors.
An exception is logged with its type and stack. Its message may quote a client's input,
so it is left out by default.
"""

from __future__ import annotations

import functools
import logging
import sys
import traceback
from collections.abc import Iterable
from datetime import datetime, timezone
from types import TracebackType
from typing import Any

import orjson
import structlog
from structlog.typing import EventDict, Processor

# The allowed names in `extra={…}` of a standard logger; a test finds any other one.
EXTRA = (
    *("withdrawal_id", "attempt", "state", "actor", "reference", "outcome"),
    *("method", "path", "status", "ms", "request_id"),
    *("subject", "user_id", "address", "answers", "offset"),
)
REQUEST_LOGGER = "wallets.views.http.request_log"
# The members of a request's line; other lines may have all of `EXTRA`.
_OF_REQUESTS = ("method", "path", "status", "ms", "request_id")
# Texts of exceptions that some libraries pass.
_TEXTS = ("error", "exception", "reason")
MAX_FRAMES = 30
# Shorter secrets could occur inside of ordinary words.
MIN_SECRET = 6

# No line tells thread or process, and each record would look them up.
logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False

LOGGERS: dict[str, dict[str, Any]] = {
    # These loggers write arguments and exceptions into their messages; django-structlog
    # logs tasks instead.
    "celery.app.trace": {"level": "CRITICAL"},
    "celery.worker.strategy": {"level": "WARNING"},
    # Each request has its own line, with its id and without its content.
    "django.request": {"level": "ERROR"},
    "django.server": {"level": "CRITICAL"},
    # It quotes user names; we log logins ourselves.
    "axes": {"level": "ERROR"},
    # It quotes the request at level ERROR; the request's line has the status.
    "django.security": {"level": "CRITICAL"},
    **{
        name: {"handlers": [], "propagate": True}
        for name in ("django", "gunicorn.error")
    },
}


def logging_config(
    *,
    level: str,
    as_json: bool,
    service: str,
    secrets: Iterable[str] = (),
    with_messages: bool = False,
) -> dict[str, Any]:
    """Return the settings for `logging.config.dictConfig`; configure structlog, too."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(allow=EXTRA),
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        _Service(service),
        _Exceptions(with_messages),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    request_line = {"()": RequestLine, "service": service, "secrets": tuple(secrets)}
    lines = {"class": "logging.StreamHandler", "formatter": "line"}
    requests = lines | {"formatter": "request" if as_json else "line"}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "request": request_line,
            "line": {
                "()": structlog.stdlib.ProcessorFormatter,
                "foreign_pre_chain": shared,
                "processors": [
                    structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                    *_renderers(as_json),
                    _Hide(secrets),
                ],
            },
        },
        "handlers": {"stderr": lines, "requests": requests},
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": LOGGERS
        | {REQUEST_LOGGER: {"handlers": ["requests"], "propagate": False}},
    }


def _renderers(as_json: bool) -> list[Processor]:
    if as_json:
        return [structlog.processors.JSONRenderer(ensure_ascii=False)]
    console = structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(), timestamp_key="time"
    )
    return [_stack_as_text, console]


class RequestLine(logging.Formatter):
    """Formats the line of a request as JSON, ten times as fast as the processors.

    Most lines are those of requests. The members are the same as those of the
    processors; a test compares them.
    """

    def __init__(self, service: str, secrets: Iterable[str]) -> None:
        super().__init__()
        self._service = service
        self._hide = _Hide(secrets)

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without an exception: it is logged where it is caught."""
        told = record.__dict__
        line = {
            "event": record.getMessage(),
            **structlog.contextvars.get_contextvars(),
            "level": record.levelname.lower(),
            "logger": record.name,
            **{name: told[name] for name in _OF_REQUESTS if name in told},
            "time": _instant(record.created),
            "service": self._service,
        }
        return self._hide(None, "", orjson.dumps(line))


def _instant(moment: float) -> str:
    seconds = int(moment)
    return f"{_whole(seconds)}.{int((moment - seconds) * 1_000_000):06}Z"


@functools.lru_cache(maxsize=4)
def _whole(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, timezone.utc):%Y-%m-%dT%H:%M:%S}"


class _Service:
    """Adds the name of the process: api, worker, beat."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, _logger: Any, _method: str, event: EventDict) -> EventDict:
        event["service"] = self._name
        return event


class _Exceptions:
    """Replaces an exception by its type and its frames, without values of variables."""

    def __init__(self, with_messages: bool) -> None:
        self._with_messages = with_messages

    def __call__(self, _logger: Any, _method: str, event: EventDict) -> EventDict:
        for key in _TEXTS:
            event.pop(key, None)
        found = _exception_of(event.pop("exc_info", None))
        if found is not None:
            event["exception"] = type(found).__name__
            if self._with_messages:
                event["exception"] += f": {found}"
            event["stack"] = _frames(found.__traceback__)
            if found.__cause__ is not None:
                event["cause"] = type(found.__cause__).__name__
        return event


def _exception_of(exc_info: Any) -> BaseException | None:
    if isinstance(exc_info, BaseException):
        return exc_info
    if isinstance(exc_info, tuple):
        return exc_info[1]
    return sys.exc_info()[1] if exc_info else None


def _frames(trace: TracebackType | None) -> list[str]:
    frames = traceback.extract_tb(trace)[-MAX_FRAMES:]
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]


def _stack_as_text(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """Write the frames as lines, for people."""
    if "stack" in event:
        event["stack"] = "\n".join(f"  {frame}" for frame in event["stack"])
    return event


class _Hide:
    """Replaces secrets of the configuration in each line."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._secrets = [one for one in secrets if len(one) >= MIN_SECRET]

    def __call__(self, _logger: Any, _method: str, line: str | bytes) -> str:
        text = line if isinstance(line, str) else line.decode()
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text
