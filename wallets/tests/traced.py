"""The API as an operator wraps it: by OpenTelemetry and Sentry, both as documented.

What they would send goes to files: one line for each span, one for each report.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any
from unittest import mock

import sentry_sdk
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor
from sentry_sdk.envelope import Envelope
from sentry_sdk.integrations.asgi import SentryAsgiMiddleware
from sentry_sdk.integrations.logging import ignore_logger
from sentry_sdk.transport import Transport

from wallet.asgi import application as service

SPANS, REPORTS = (
    Path(os.environ["TRACED_FOLDER"], name) for name in ("spans", "reports")
)
# This query string raises an error in the service, as a bug would.
BUG = "a-bug"


class _ToFile(Transport):
    def capture_envelope(self, envelope: Envelope) -> None:
        event = envelope.get_event()
        if event:
            with REPORTS.open("a") as file:
                file.write(f"{json.dumps(event, default=str)}\n")


def _line(span: ReadableSpan) -> str:
    status = (span.attributes or {}).get("http.status_code")
    return f"{span.name} {status}\n"


def _provider() -> TracerProvider:
    provider = TracerProvider()
    exporter = ConsoleSpanExporter(out=SPANS.open("a"), formatter=_line)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider


def _with_a_bug() -> None:
    from wallets.asgi import application

    before = application.prepare

    def prepare(operation: Any, request: Any) -> Any:
        if request.query == BUG:
            raise RuntimeError("a bug")
        return before(operation, request)

    mock.patch.object(application, "prepare", prepare).start()


_with_a_bug()
# The line about the request; the line before it has the exception.
ignore_logger("wallets.views.http.request_log")
sentry_sdk.init(
    dsn="http://key@127.0.0.1:9/1",
    transport=_ToFile,
    include_local_variables=False,
    max_request_body_size="never",
)
application = OpenTelemetryMiddleware(
    SentryAsgiMiddleware(service), tracer_provider=_provider()
)
