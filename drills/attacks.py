"""The attacks of hostile clients, each bounded in connections and seconds."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from drills.hostile import Connections, Outcome, Script, allow_many_files

# How long an attacker waits for an answer, in seconds.
ANSWER_SECONDS = 10.0
# Bulk deposits that are sent at the same time: the turns, and the keys of one.
TURN_SECONDS, KEYS = 0.25, 200
# A file of more than a megabyte, which Django sends.
LONG_FILE = "/static/drf_spectacular_sidecar/swagger-ui-dist/swagger-ui-bundle.js"


@dataclass(frozen=True)
class Target:
    """The API, and wallets in it: one with a long statement, others without."""

    port: int
    count: int  # of connections in one attack
    seconds: float
    long_wallet: str
    wallets: tuple[str, ...]


def _head(line: str, *fields: str) -> bytes:
    return "\r\n".join([line, "Host: 127.0.0.1", *fields, ""]).encode()


def half_heads(target: Target) -> Script:
    """A head without its end."""
    head = _head("GET /healthz HTTP/1.1", "X-Half: a")
    return Script(head)


def half_bodies(target: Target) -> Script:
    """A body without its end."""
    fields = ["Content-Type: application/json", "Content-Length: 12", ""]
    head = _head(f"POST /wallets/{target.wallets[0]}/withdraw HTTP/1.1", *fields)
    return Script(head + b'{"am')


def half_chunks(target: Target) -> Script:
    """A chunk without its end."""
    fields = ["Content-Type: application/json", "Transfer-Encoding: chunked", ""]
    head = _head("POST /wallets/ HTTP/1.1", *fields)
    return Script(head + b"ff\r\n{")


def dripping_heads(target: Target) -> Script:
    """Another byte of the head every second."""
    head = _head("GET /healthz HTTP/1.1") + b"X-Drip: "
    return Script(head, b"a", 1.0)


def dripping_bodies(target: Target) -> Script:
    """Another byte of the body every second."""
    fields = ["Content-Type: application/json", "Content-Length: 9000", ""]
    head = _head(f"POST /wallets/{target.wallets[0]}/withdraw HTTP/1.1", *fields)
    return Script(head, b" ", 1.0)


def endless_heads(target: Target) -> Script:
    """Header fields without an end, as fast as possible; a tenth of the connections."""
    head = _head("GET /healthz HTTP/1.1")
    drip = b"".join(b"X-%04d: %s\r\n" % (n, b"a" * 500) for n in range(16))
    return Script(head, drip, 0.05, share=0.1)


def silent(target: Target) -> Script:
    """Nothing at all."""
    return Script()


def idle(target: Target) -> Script:
    """One request, and then nothing on a connection that is kept alive."""
    return Script(_head("GET /healthz HTTP/1.1") + b"\r\n")


def unread_exports(target: Target) -> Script:
    """A long statement as CSV, whose client does not read it."""
    line = f"GET /wallets/{target.long_wallet}/statement/ HTTP/1.1"
    head = _head(line, "Accept: text/csv") + b"\r\n"
    return Script(head, reads=False)


def unread_answers(target: Target) -> Script:
    """A hundred requests at once for the longest document, and no answer is read."""
    head = _head("GET /api/schema/ HTTP/1.1") + b"\r\n"
    return Script(head * 100, reads=False)


def unread_files(target: Target) -> Script:
    """Eight requests at once for the longest script of a page, and no answer is read."""
    return Script((_head(f"GET {LONG_FILE} HTTP/1.1") + b"\r\n") * 8, reads=False)


def uploads(target: Target) -> Script:
    """A hundred megabytes for the login page of the console."""
    fields = [
        "Content-Type: multipart/form-data; boundary=b",
        "Content-Length: 104857600",
        "",
    ]
    head = _head("POST /console/login HTTP/1.1", *fields)
    head += b'--b\r\nContent-Disposition: form-data; name="a"; filename="a"\r\n\r\n'
    return Script(head, b"a" * 65536, 0.02, share=0.01)


def _requests(
    target: Target, threads: int, requests: Callable[[int], Iterator[_Request]]
) -> Outcome:
    """Run some clients that send one request after the other until the end."""
    outcome = Outcome(opened=threads)
    ends = time.monotonic() + target.seconds
    began = time.monotonic()

    def ask(number: int) -> None:
        connection = http.client.HTTPConnection(
            "127.0.0.1", target.port, timeout=ANSWER_SECONDS
        )
        for request in requests(number):
            if time.monotonic() >= ends:
                break
            try:
                connection.request(*request.line, request.body, request.headers)
                answer = connection.getresponse()
                outcome.received += len(answer.read())
                outcome.answers[str(answer.status)] += 1
            except (OSError, http.client.HTTPException):
                outcome.cut.append(time.monotonic() - began)
                connection.close()
            time.sleep(request.pause)
        connection.close()

    clients = [
        threading.Thread(target=ask, args=[n], daemon=True) for n in range(threads)
    ]
    for client in clients:
        client.start()
    for client in clients:
        client.join(max(ends - time.monotonic(), 0) + ANSWER_SECONDS)
    return outcome


@dataclass(frozen=True)
class _Request:
    line: tuple[str, str]
    body: str | None
    headers: Mapping[str, str]
    pause: float = 0.0


def _post(path: str, body: object, pause: float = 0.0) -> _Request:
    headers = {
        "Content-Type": "application/json",
        "Idempotency-Key": str(uuid.uuid4()),
    }
    return _Request(("POST", path), json.dumps(body), headers, pause)


def poisonous_batches(target: Target) -> Outcome:
    """Bulk deposits with refused, repeated and invalid items: 4 clients.

    In each turn all use the same new keys at the same time, half of them in opposite
    order, and each for wallets of its own: clients that wait for a wallet would not
    meet at the keys.
    """
    began, own = time.monotonic(), uuid.uuid4()

    def requests(number: int) -> Iterator[_Request]:
        wallets = itertools.cycle(target.wallets[number % len(target.wallets) :: 4])
        turn = 0
        while True:
            turn = max(turn, int((time.monotonic() - began) / TURN_SECONDS)) + 1
            time.sleep(max(0.0, began + turn * TURN_SECONDS - time.monotonic()))
            items = [
                {"wallet": next(wallets), "amount": 1, "idempotency_key": str(key)}
                for key in (uuid.uuid5(own, f"{turn} {n}") for n in range(KEYS))
            ]
            items[3]["amount"] = -1
            items[7]["wallet"] = str(uuid.uuid4())
            if number == 3:
                items[11]["idempotency_key"] = "x"  # refused alone
            yield _post("/deposits/", items[:: -1 if number % 2 else 1])

    return _requests(target, 4, requests)


def near_withdrawals(target: Target) -> Outcome:
    """A hundred withdrawals a second, due within ten: 4 clients."""

    def requests(number: int) -> Iterator[_Request]:
        while True:
            due = datetime.now(timezone.utc) + timedelta(seconds=5)
            path = f"/wallets/{target.wallets[number % len(target.wallets)]}/withdraw"
            yield _post(path, {"amount": 1, "scheduled_for": due.isoformat()}, 0.04)

    return _requests(target, 4, requests)


def logins(target: Target) -> Outcome:
    """Twelve clients that guess passwords, each for another user."""

    def requests(number: int) -> Iterator[_Request]:
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        for _ in range(100):
            connection = http.client.HTTPConnection("127.0.0.1", target.port, timeout=5)
            token = ""
            with contextlib.suppress(OSError, http.client.HTTPException):
                connection.request("GET", "/console/login")
                page = connection.getresponse()
                cookie = (page.getheader("Set-Cookie") or "").partition(";")[0]
                text = page.read().decode()
                token = text.partition('csrfmiddlewaretoken" value="')[2][:64]
                headers["Cookie"] = cookie
            connection.close()
            body = f"csrfmiddlewaretoken={token}&username=u{number}&password=wrong"
            yield _Request(("POST", "/console/login"), body, dict(headers))

    return _requests(target, 12, requests)


def long_exports(target: Target) -> Outcome:
    """A long statement as CSV, read by 8 clients."""

    def requests(number: int) -> Iterator[_Request]:
        path = f"/wallets/{target.long_wallet}/statement/"
        for _ in range(1000):
            yield _Request(("GET", path), None, {"Accept": "text/csv"}, 0.05)

    return _requests(target, 8, requests)


def long_pages(target: Target) -> Outcome:
    """Pages of a long statement, and balances in its past, by 8 clients."""

    def requests(number: int) -> Iterator[_Request]:
        base = f"/wallets/{target.long_wallet}"
        for _ in range(10_000):
            yield _Request(("GET", f"{base}/statement/?limit=100"), None, {})
            yield _Request(
                ("GET", f"{base}/balance/?at=2026-01-01T00:00:00Z"), None, {}
            )

    return _requests(target, 8, requests)


def _by_name(functions: Iterable[Any]) -> dict[str, Any]:
    return {one.__name__.replace("_", "-"): one for one in functions}


SCRIPTS: dict[str, Callable[[Target], Script]] = _by_name(
    (
        half_heads,
        half_bodies,
        half_chunks,
        dripping_heads,
        dripping_bodies,
        endless_heads,
        silent,
        idle,
        unread_exports,
        unread_answers,
        unread_files,
        uploads,
    )
)
REQUESTS: dict[str, Callable[[Target], Outcome]] = _by_name(
    (
        poisonous_batches,
        near_withdrawals,
        logins,
        long_exports,
        long_pages,
    )
)
NAMES = [*SCRIPTS, *REQUESTS]


def run(name: str, target: Target) -> Outcome:
    """Run one attack, in a process of its own."""
    allow_many_files(target.count)
    if name in REQUESTS:
        return REQUESTS[name](target)
    script = SCRIPTS[name](target)
    count = max(int(target.count * script.share), 1)
    return Connections(target.port, script, count, target.seconds).run()
