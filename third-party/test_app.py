"""Tests of the bank simulator: real processes on loopback, as its users run it.

Other tests rely on the list of payments: it is correct with every fault, and after
every killed process. Every mode is tested with both servers.
"""

import http.client
import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import uuid
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from faults import LOOKUP_MODES
from store import Store

HERE = Path(__file__).resolve().parent
WALLET = "a1b2c3d4-5e6f-4a8b-9c0d-1e2f3a4b5c6d"

PAID_AND_LOST = (
    *("accept_hang", "accept_reset", "accept_close", "drip", "drip_headers"),
    *("accept_500", "accept_502", "accept_503", "accept_504"),
)
PAID_AND_UNBELIEVABLE = (
    *("garbage", "empty", "null", "list", "other_object", "wrong_type", "truncated"),
    *("huge", "duplicate_keys", "wrong_reference", "wrong_amount"),
)
NOT_PAID = (
    *("reset", "error", "redirect", "redirect_301", "redirect_303", "redirect_307"),
    *("redirect_308", "html_403", "html_404", "html_407", "html_413", "html_429"),
)
FAULTS_OFF = {
    **{"mode": "normal", "failure_rate": 0, "latency": 0, "bare": False},
    **{"dedupes": True, "lookup_mode": "normal", "booking_delay": 0.8, "seed": None},
}
ELSEWHERE = ("normal", "refuse", "no_echo", "pay_twice", "late_booking")


class Bank:
    """A bank in a process of its own."""

    def __init__(self, data: Path, *, workers: int = 0, **environment: str) -> None:
        self.port = _free_port()
        settings = {"BANK_DATA": str(data), "BANK_PORT": str(self.port), **environment}
        self.process = _start(workers, self.port, settings)
        deadline = time.monotonic() + 60
        while True:
            try:
                self.get("/faults")
                return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    self.kill()
                    raise
                time.sleep(0.05)

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        timeout: float = 20,
        **headers: str,
    ) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            content = body if isinstance(body, bytes | None) else json.dumps(body)
            connection.request(method, path, content, headers)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def get(self, path: str) -> Any:
        return json.loads(self.call("GET", path)[1])

    def pay(self, reference: str | None = None, amount: int = 5, **more: Any) -> Any:
        order = {"wallet_uuid": WALLET, "amount": amount, "reference": reference}
        return self.call("POST", "/", order, **more)

    def set(self, **faults: Any) -> None:
        status, body = self.call("PUT", "/faults", faults)
        assert status == 200, body

    def paid(self) -> list[str | None]:
        return [payment["reference"] for payment in self.get("/payments")]

    def kill(self) -> None:
        # The group, because gunicorn's workers survive their killed parent for a while.
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process.stderr.close()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def _start(
    workers: int, port: int, settings: dict[str, str]
) -> "subprocess.Popen[str]":
    command = [sys.executable, "app.py"]
    if workers:
        command = [sys.executable, "-m", "gunicorn", "-b", f"127.0.0.1:{port}"]
        command += ["app:app", "--worker-class", "gthread", "--threads", "16"]
        command += ["-w", str(workers), "--no-control-socket"]
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("BANK_")}
    return subprocess.Popen(
        command,
        cwd=HERE,
        env={"BANK_FAILURE_RATE": "0", **inherited, **settings},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def together(*calls: Any) -> list[Any]:
    """Run the calls in threads that start at one barrier; return their results."""
    barrier = threading.Barrier(len(calls))
    results: list[Any] = [None] * len(calls)

    def run(number: int, call: Any) -> None:
        barrier.wait()
        results[number] = call()

    threads = [
        threading.Thread(target=run, args=pair, daemon=True)
        for pair in enumerate(calls)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return results


class BankTestCase(unittest.TestCase):
    """A directory for each test, and banks that end with it."""

    workers = 0

    def setUp(self) -> None:
        folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        self.data = Path(folder) / "bank.sqlite3"

    def start(self, **options: Any) -> Bank:
        bank = Bank(self.data, **{"workers": self.workers, **options})
        self.addCleanup(bank.kill)
        return bank


class SharedBankTestCase(unittest.TestCase):
    """One bank for all tests of a class; each begins without faults."""

    workers = 0

    @classmethod
    def setUpClass(cls) -> None:
        folder = tempfile.mkdtemp()
        cls.addClassCleanup(shutil.rmtree, folder, ignore_errors=True)
        cls.bank = Bank(Path(folder) / "bank.sqlite3", workers=cls.workers)
        cls.addClassCleanup(cls.bank.kill)

    def setUp(self) -> None:
        self.bank.set(**FAULTS_OFF)
        self.reference = str(uuid.uuid4())

    def times_paid(self) -> int:
        return self.bank.paid().count(self.reference)

    def wait_until(self, done: Callable[[], object]) -> None:
        deadline = time.monotonic() + 30
        while not done():
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.05)

    def look_up(self) -> tuple[int, Any]:
        status, body = self.bank.call("GET", f"/payments/{self.reference}")
        return status, json.loads(body)


class PaymentTest(SharedBankTestCase):
    """A payment order…"""

    def test_is_paid_and_answered_with_the_specifications_two_fields(self) -> None:
        before = len(self.bank.paid())
        answer = self.bank.call("POST", "/", {"wallet_uuid": WALLET, "amount": 7})
        self.assertEqual(answer, (200, '{"data": "success", "status": 200}'))
        (payment,) = self.bank.get("/payments")[before:]
        paid_at = datetime.fromisoformat(payment.pop("paid_at"))
        self.assertEqual(paid_at.utcoffset(), timedelta(0))
        self.assertEqual(
            payment, {"reference": None, "wallet_uuid": WALLET, "amount": 7}
        )

    def test_is_answered_with_its_reference_and_amount(self) -> None:
        status, body = self.bank.pay(self.reference)
        expected = {"data": "success", "status": 200}
        expected |= {"reference": self.reference, "amount": 5}
        self.assertEqual((status, json.loads(body)), (200, expected))

    def test_takes_the_idempotency_key_as_its_reference(self) -> None:
        order = {"wallet_uuid": WALLET, "amount": 5}
        for key in (self.reference, f'"{self.reference}"'):
            _, body = self.bank.call("POST", "/", order, **{"Idempotency-Key": key})
            self.assertEqual(json.loads(body)["reference"], self.reference)
        self.assertEqual(self.times_paid(), 1)

    def test_is_refused_with_http_200(self) -> None:
        self.bank.set(failure_rate=1)
        status, body = self.bank.pay(self.reference)
        expected = {"data": "failed", "status": 503}
        expected |= {"reference": self.reference, "amount": 5}
        self.assertEqual((status, json.loads(body)), (200, expected))
        self.assertEqual(self.times_paid(), 0)

    def test_is_answered_the_same_again_and_paid_once(self) -> None:
        first = self.bank.pay(self.reference)
        self.bank.set(mode="refuse")
        self.assertEqual(self.bank.pay(self.reference), first)
        self.assertEqual(self.times_paid(), 1)

    def test_stays_refused_when_asked_again(self) -> None:
        self.bank.set(mode="refuse")
        first = self.bank.pay(self.reference)
        self.bank.set(mode="normal")
        self.assertEqual(self.bank.pay(self.reference), first)
        self.assertEqual(self.times_paid(), 0)

    def test_conflicts_with_another_order_under_its_reference(self) -> None:
        self.bank.pay(self.reference)
        other = {"wallet_uuid": "other", "amount": 5, "reference": self.reference}
        for status, body in (
            self.bank.pay(self.reference, amount=6),
            self.bank.call("POST", "/", other),
        ):
            self.assertEqual(status, 409)
            self.assertEqual(json.loads(body)["data"], "conflict")
        self.assertEqual(self.times_paid(), 1)

    def test_is_looked_up_with_the_same_body(self) -> None:
        self.assertEqual(
            self.look_up(),
            (404, {"data": "unknown", "status": 404, "reference": self.reference}),
        )
        _, body = self.bank.pay(self.reference)
        self.assertEqual(self.look_up(), (200, json.loads(body)))

    def test_is_listed_within_a_period(self) -> None:
        self.bank.pay(self.reference)
        lines = self.bank.get("/payments")
        paid_at = next(
            line["paid_at"] for line in lines if line["reference"] == self.reference
        )
        moment = datetime.fromisoformat(paid_at)
        before, after = (moment + timedelta(microseconds=n) for n in (-1, 1))
        for query, listed in (
            (f"from={paid_at}&to={paid_at}", True),
            (f"from={after.isoformat()}", False),
            (f"to={before.isoformat()}", False),
            (f"from={before.isoformat().replace('+00:00', 'Z')}", True),
            ("from=2999-01-01T00:00:00Z", False),
        ):
            path = f"/payments?{query.replace('+', '%2B')}"
            found = [line["reference"] for line in self.bank.get(path)]
            with self.subTest(query):
                self.assertEqual(self.reference in found, listed)
        for query in ("from=yesterday", "to=2026-11-01", "to=2026-11-01T00:00:00"):
            self.assertEqual(self.bank.call("GET", f"/payments?{query}")[0], 400)

    def test_of_the_past_is_put_into_the_list(self) -> None:
        old, known = str(uuid.uuid4()), self.reference
        self.bank.pay(known)
        lines = [
            {"wallet_uuid": WALLET, "amount": 7, "reference": reference}
            | {"paid_at": "2020-02-17T12:00:00Z"}
            for reference in (old, known)
        ]
        for new in (1, 0):
            answer = self.bank.call("PUT", "/payments", {"payments": lines})
            self.assertEqual(answer, (200, json.dumps({"new": new})))
        found = self.bank.get(f"/payments/{old}")
        self.assertEqual((found["data"], found["amount"]), ("success", 7))
        listed = [p for p in self.bank.get("/payments") if p["reference"] == old]
        self.assertEqual(listed[0]["paid_at"], "2020-02-17T12:00:00.000000+00:00")
        self.assertEqual(self.bank.get(f"/payments/{known}")["amount"], 5)

    def test_of_the_past_is_refused_with_all_others_if_one_is_invalid(self) -> None:
        reference = str(uuid.uuid4())
        good = {"wallet_uuid": WALLET, "amount": 7, "reference": reference}
        good["paid_at"] = "2020-02-17T12:00:00Z"
        for bad in (
            {**good, "paid_at": "2020-02-17"},
            {**good, "amount": 0},
            {"reference": "x"},
            None,
        ):
            body = {"payments": [good, bad]}
            status, _ = self.bank.call("PUT", "/payments", body)
            self.assertEqual(status, 400, bad)
        self.assertEqual(self.bank.call("PUT", "/payments", [])[0], 400)
        self.assertEqual(self.bank.call("GET", f"/payments/{reference}")[0], 404)

    def test_waits_for_the_latency_without_blocking_others(self) -> None:
        self.bank.set(latency=2)
        started = time.monotonic()
        together(*[lambda: self.bank.pay(str(uuid.uuid4()))] * 8)
        self.assertGreaterEqual(time.monotonic() - started, 2)
        self.assertLess(time.monotonic() - started, 12, "8 waits of 2 s in a row")

    def test_is_refused_as_bad_input_and_not_paid(self) -> None:
        good = {"wallet_uuid": WALLET, "amount": 5}
        bad: list[Any] = [None, b"", b"{", b"\xff", b"[" * 50_000, b"null", [], 5, "x"]
        bad += [{"amount": 5}, {"wallet_uuid": WALLET}, good | {"wallet_uuid": 5}]
        bad += [good | {"wallet_uuid": t} for t in ("", None, "x" * 256, "\x00")]
        amounts = [0, -1, 1.0, 1.5, "5", True, None, [], 2**63, 10**30, float("nan")]
        bad += [good | {"amount": amount} for amount in amounts]
        bad += [good | {"reference": text} for text in ("", 5, [], "\ud800", "a\nb")]
        bad += [b'{"wallet_uuid": "w", "amount": 1, "amount": 2}']
        before = self.bank.paid()
        for body in bad:
            with self.subTest(body=str(body)[:60]):
                status, answer = self.bank.call("POST", "/", body)
                self.assertEqual(status, 400, answer)
                self.assertIn("error", json.loads(answer))
        keys = [(good | {"reference": "a"}, "b"), (good, ""), (good, "x" * 256)]
        for body, key in keys:
            answer = self.bank.call("POST", "/", body, **{"Idempotency-Key": key})
            self.assertEqual(answer[0], 400)
        self.assertEqual(self.bank.call("POST", "/", b" " * 70_000)[0], 413)
        self.assertEqual(self.bank.paid(), before)

    def test_may_follow_another_on_the_same_connection(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.bank.port, timeout=9)
        self.addCleanup(connection.close)
        connection.connect()
        first = connection.sock
        for body in (b"bad", b'{"wallet_uuid": "w", "amount": 1}') * 3:
            connection.request("POST", "/", body)
            connection.getresponse().read()
        self.assertIs(connection.sock, first)


class PaymentUnderGunicornTest(PaymentTest):
    """The same, with two worker processes."""

    workers = 2


class FaultTest(SharedBankTestCase):
    """A fault…"""

    def ask(self, patience: float = 20) -> tuple[str, int, str]:
        """Pay on a raw connection; return how it ended, the HTTP status, the body."""
        order = {"wallet_uuid": WALLET, "amount": 5, "reference": self.reference}
        body = json.dumps(order).encode()
        head = f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
        received, end = b"", "answer"
        with socket.create_connection(("127.0.0.1", self.bank.port)) as client:
            client.sendall(head.encode() + b"Connection: close\r\n\r\n" + body)
            deadline = time.monotonic() + patience
            try:
                while True:
                    client.settimeout(max(deadline - time.monotonic(), 0.001))
                    if not (part := client.recv(1_000_000)):
                        break
                    received += part
            except TimeoutError:
                end = "silence"
            except ConnectionResetError:
                end = "reset"
        top, _, content = received.decode().partition("\r\n\r\n")
        status = int(top[9:12]) if top[9:12].isdigit() else 0
        return end, status, content

    def test_is_listed_in_this_test(self) -> None:
        _, body = self.bank.call("PUT", "/faults", {"mode": "?"})
        known = json.loads(body)["error"].split("one of ")[1].split(", ")
        here = PAID_AND_LOST + PAID_AND_UNBELIEVABLE + NOT_PAID + ELSEWHERE
        self.assertEqual(sorted(known), sorted(here))

    def test_pays_and_loses_the_answer(self) -> None:
        ends = {"accept_hang": "silence", "drip": "silence", "drip_headers": "silence"}
        ends["accept_reset"] = "reset"
        for mode in PAID_AND_LOST:
            with self.subTest(mode):
                self.reference = str(uuid.uuid4())
                self.bank.set(mode=mode)
                silent = ends.get(mode) == "silence"
                end, status, content = self.ask(1.2 if silent else 20)
                self.assertEqual(end, ends.get(mode, "answer"))
                self.assertNotIn("success", content)
                if mode[-3:].isdigit():
                    self.assertEqual(status, int(mode[-3:]))
                self.wait_until(self.times_paid)
                self.assertEqual(self.times_paid(), 1)
                self.assertEqual(self.look_up()[1]["data"], "success")
                self.ask(0.2 if silent else 20)
                self.assertEqual(self.times_paid(), 1)

    def test_pays_and_gives_an_answer_that_is_no_proof(self) -> None:
        honest = {"data": "success", "status": 200, "reference": "r", "amount": 5}
        for mode in PAID_AND_UNBELIEVABLE:
            with self.subTest(mode):
                self.reference = str(uuid.uuid4())
                self.bank.set(mode=mode)
                end, status, content = self.ask()
                self.assertEqual((end, status or 200), ("answer", 200))
                if mode == "huge":
                    self.assertGreater(len(content), 5_000_000)
                elif mode == "duplicate_keys":
                    self.assertEqual(content.count('"data"'), 2)
                else:
                    expected = json.dumps(honest | {"reference": self.reference})
                    self.assertNotEqual(content, expected)
                self.assertEqual(self.times_paid(), 1)

    def test_keeps_an_order_from_being_paid_or_remembered(self) -> None:
        for mode in NOT_PAID:
            with self.subTest(mode):
                self.reference = str(uuid.uuid4())
                self.bank.set(mode=mode)
                end, status, _ = self.ask()
                self.assertEqual(end, "reset" if mode == "reset" else "answer")
                if mode[-3:].isdigit():
                    self.assertEqual(status, int(mode[-3:]))
                self.assertEqual(self.look_up()[0], 404)
                self.assertEqual(self.times_paid(), 0)
                self.bank.set(mode="normal")
                self.bank.pay(self.reference)
                self.assertEqual(self.times_paid(), 1)

    def test_redirects_to_a_page_that_says_success_and_pays_nothing(self) -> None:
        self.bank.set(mode="redirect")
        connection = http.client.HTTPConnection("127.0.0.1", self.bank.port)
        self.addCleanup(connection.close)
        order = {"wallet_uuid": WALLET, "amount": 5, "reference": self.reference}
        connection.request("POST", "/", json.dumps(order))
        response = connection.getresponse()
        self.assertEqual((response.status, response.read()), (302, b""))
        page = json.loads(self.bank.call("GET", response.headers["Location"])[1])
        expected = {"data": "success", "status": 200}
        self.assertEqual(page, expected | {"reference": self.reference, "amount": 5})
        self.assertEqual(self.times_paid(), 0)

    def test_answers_the_specifications_two_fields_only(self) -> None:
        self.bank.set(mode="no_echo")
        _, body = self.bank.pay(self.reference)
        self.assertEqual(body, '{"data": "success", "status": 200}')
        self.assertEqual(self.times_paid(), 1)

    def test_pays_twice_for_one_reference_and_not_three_times(self) -> None:
        self.bank.set(mode="pay_twice")
        self.assertEqual(self.bank.pay(self.reference), self.bank.pay(self.reference))
        self.assertEqual(self.times_paid(), 2)

    def test_books_late(self) -> None:
        self.bank.set(mode="late_booking", booking_delay=1.5)
        asked_at = datetime.now(timezone.utc)
        self.assertEqual(self.ask(), ("answer", 0, ""))
        self.wait_until(self.times_paid)
        booked_at = datetime.fromisoformat(self.bank.get("/payments")[-1]["paid_at"])
        self.assertLess(booked_at, datetime.now(timezone.utc))
        self.assertGreaterEqual(booked_at - asked_at, timedelta(seconds=1.5))
        self.assertEqual(self.look_up()[0], 200)

    def test_hides_a_late_booking_until_it_is_booked(self) -> None:
        self.bank.set(mode="late_booking", booking_delay=600)
        self.ask()
        self.assertEqual(self.look_up()[0], 404)
        self.assertEqual(self.times_paid(), 0)

    def test_books_late_but_not_later_than_it_answers(self) -> None:
        self.bank.set(mode="late_booking", booking_delay=600)
        self.ask()
        self.bank.set(mode="normal")
        self.assertEqual(self.times_paid(), 0)
        self.assertIn("success", self.bank.pay(self.reference)[1])
        self.assertEqual(self.times_paid(), 1)

    def test_hits_as_many_orders_as_requested(self) -> None:
        self.bank.set(mode="error", times=5)
        answers = together(*[lambda: self.bank.pay(str(uuid.uuid4()))[0]] * 12)
        self.assertEqual(sorted(answers), [200] * 7 + [500] * 5)
        faults = self.bank.get("/faults")
        self.assertEqual((faults["mode"], faults["times"]), ("normal", None))

    def test_is_not_ended_by_the_times_of_an_earlier_fault(self) -> None:
        self.bank.set(mode="error", times=5)
        self.bank.set(mode="refuse")
        self.assertIsNone(self.bank.get("/faults")["times"])

    def test_repeats_with_a_seed(self) -> None:
        runs = []
        for _ in range(2):
            self.bank.set(seed=42, failure_rate=0.5)
            runs.append(["failed" in self.bank.pay()[1] for _ in range(20)])
        self.assertEqual(runs[0], runs[1])
        self.assertEqual(set(runs[0]), {True, False})

    def test_makes_the_bank_bare(self) -> None:
        self.bank.set(bare=True)
        for _ in range(2):
            answer = self.bank.pay(self.reference)
            self.assertEqual(answer, (200, '{"data": "success", "status": 200}'))
        self.assertEqual(self.times_paid(), 2)
        status, body = self.bank.call("GET", f"/payments/{self.reference}")
        self.assertEqual(status, 404)
        self.assertIn("<!doctype html>", body)
        self.bank.set(bare=False)
        self.bank.pay(self.reference)
        self.assertEqual(self.times_paid(), 2)
        self.assertEqual(self.look_up()[0], 200)

    def test_forgets_references_but_still_looks_them_up(self) -> None:
        self.bank.set(dedupes=False)
        for _ in range(2):
            self.bank.pay(self.reference)
        self.assertEqual(self.times_paid(), 2)
        self.assertEqual(self.look_up()[0], 200)

    def test_makes_the_look_up_fail(self) -> None:
        self.bank.pay(self.reference)
        self.bank.set(lookup_mode="not_found")
        self.assertEqual(self.look_up()[0], 404)
        self.bank.set(lookup_mode="stale", booking_delay=600)
        self.assertEqual(self.look_up()[0], 404)
        self.bank.set(booking_delay=0)
        self.assertEqual(self.look_up()[0], 200)
        self.bank.set(lookup_mode="error")
        path = f"/payments/{self.reference}"
        self.assertEqual(self.bank.call("GET", path)[0], 500)
        for mode in ("garbage", "html_200"):
            self.bank.set(lookup_mode=mode)
            with self.assertRaises(ValueError):
                self.look_up()
        self.bank.set(lookup_mode="hang")
        with self.assertRaises(TimeoutError):
            self.bank.call("GET", path, timeout=0.5)
        self.bank.set(lookup_mode="reset")
        with self.assertRaises(ConnectionResetError):
            self.bank.call("GET", path)

    def test_makes_a_look_up_fail_with_the_body_of_a_refusal(self) -> None:
        self.bank.pay(self.reference)
        refusal = {"data": "failed", "status": 503}
        another = refusal | {"reference": f"not-{self.reference}"}
        for mode, expected in (
            ("refuses_503", (503, refusal)),
            ("refuses_200", (200, refusal)),
            ("another_payment", (200, another)),
            ("busy_429", (429, {"data": "busy", "status": 429})),
            ("no_echo", (200, {"data": "success", "status": 200})),
        ):
            self.bank.set(lookup_mode=mode)
            with self.subTest(mode):
                self.assertEqual(self.look_up(), expected)

    def test_that_hangs_blocks_nobody(self) -> None:
        self.bank.set(mode="accept_hang", times=40)
        clients = []
        for _ in range(40):  # More than gunicorn has threads here.
            order = b'{"wallet_uuid": "w", "amount": 1}'
            client = socket.create_connection(("127.0.0.1", self.bank.port))
            self.addCleanup(client.close)
            client.sendall(
                b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(order)
            )
            client.sendall(order)
            clients.append(client)
        self.wait_until(lambda: self.bank.get("/faults")["mode"] == "normal")
        self.assertEqual(self.bank.pay(self.reference)[0], 200)

    def test_is_refused_if_unknown_or_out_of_range(self) -> None:
        before = self.bank.get("/faults")
        bad: list[Any] = [{"failure_rate": r} for r in (-0.1, 1.1, "0", True, None)]
        bad += [{"latency": -1}, {"latency": float("nan")}, {"bare": 1}, {"mode": None}]
        bad += [{"mode": "nope"}, {"mode": []}, {"times": 0}, {"times": 1.0}, [], b"{"]
        bad += [{"latenzy": 1}, {"lookup_mode": "nope"}, {"seed": "x"}, {"seed": -1}]
        bad += [{"mode": "refuse", "times": -1}, b'{"times": 1, "times": 2}', b""]
        for body in bad:
            with self.subTest(body=body):
                status, answer = self.bank.call("PUT", "/faults", body)
                self.assertEqual(status, 400, answer)
                self.assertIn("error", json.loads(answer))
        self.assertEqual(self.bank.get("/faults"), before)


class FaultUnderGunicornTest(FaultTest):
    """The same, with two worker processes."""

    workers = 2


class DurabilityTest(BankTestCase):
    """What the bank answered…"""

    def test_is_paid_once_for_one_reference_from_many_at_once(self) -> None:
        banks = [self.start(workers=2), self.start()]
        for reference in map(str, range(4)):
            answers = together(
                *[lambda b=bank, r=reference: b.pay(r) for bank in banks * 25]
            )
            self.assertEqual({status for status, _ in answers}, {200})
            self.assertEqual(len({body for _, body in answers}), 1)
        self.assertEqual(banks[0].paid(), ["0", "1", "2", "3"])
        self.assertEqual(banks[0].get("/payments"), banks[1].get("/payments"))

    def test_is_one_decision_when_success_and_refusal_race(self) -> None:
        bank = self.start(workers=2, BANK_FAILURE_RATE="0.5")
        for reference in map(str, range(20)):
            answers = together(*[lambda r=reference: bank.pay(r)] * 10)
            self.assertEqual(len(set(answers)), 1)
            success = int("success" in answers[0][1])
            self.assertEqual(bank.paid().count(reference), success)

    def test_is_in_the_list_after_kill_9(self) -> None:
        for workers in (0, 2):
            bank = self.start(workers=workers)
            answered: list[str] = []
            asked: list[str] = []

            def client(bank: Bank = bank, answered=answered, asked=asked) -> None:
                while True:
                    reference = str(uuid.uuid4())
                    asked.append(reference)
                    try:
                        bank.pay(reference)
                    except (OSError, http.client.HTTPException):
                        return
                    answered.append(reference)

            def killer(bank: Bank = bank, answered=answered) -> None:
                while len(answered) < 50:
                    time.sleep(0.01)
                bank.kill()

            together(killer, *[client] * 8)
            paid = self.start().paid()
            self.assertEqual(len(paid), len(set(paid)))
            self.assertLessEqual(set(answered), set(paid))
            mine = [r for r in paid if r in set(asked)]
            self.assertGreaterEqual(len(mine), 50)

    def test_is_remembered_after_a_restart_with_the_faults(self) -> None:
        bank = self.start()
        bank.set(mode="refuse", times=9)
        first = bank.pay("again")
        bank.kill()
        bank = self.start()
        self.assertEqual(bank.get("/faults")["times"], 8)
        bank.set(mode="normal")
        self.assertEqual(bank.pay("again"), first)

    def test_is_booked_late_even_if_the_bank_is_killed_before(self) -> None:
        bank = self.start()
        bank.set(mode="late_booking", booking_delay=2)
        with self.assertRaises((OSError, http.client.HTTPException)):
            bank.pay("late")
        bank.kill()
        bank = self.start()
        deadline = time.monotonic() + 30
        while bank.paid() != ["late"]:
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.05)


class SlowClientTest(BankTestCase):
    """A client that is slow to send its order…"""

    def test_delays_no_other_client(self) -> None:
        order = json.dumps({"wallet_uuid": WALLET, "amount": 5, "reference": "slow"})
        head = f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {len(order)}\r\n"
        for workers in (0, 1):
            with self.subTest(workers=workers):
                bank = self.start(workers=workers)
                with socket.create_connection(("127.0.0.1", bank.port), 20) as client:
                    client.sendall(f"{head}Expect: 100-continue\r\n\r\n".encode())
                    # A thread sends this line, and then waits for the order.
                    self.assertIn(b" 100 Continue", client.recv(1000))
                    client.sendall(order[:9].encode())
                    self.assertEqual(bank.pay(str(workers))[0], 200)
                    client.sendall(order[9:].encode())
                    self.assertIn(b" 200 OK", client.recv(1000))
            self.assertEqual(bank.paid().count("slow"), 1)


class ReadmeTest(BankTestCase):
    """The README…"""

    readme = (HERE / "README.md").read_text()

    def test_shows_what_its_commands_answer(self) -> None:
        bank = self.start(BANK_FAILURE_RATE="")
        walk = re.findall(r"```console\n(.*?)```", self.readme, re.DOTALL)
        steps = re.findall(r"^\$ (.*)\n((?:[^$].*\n)*)", "".join(walk), re.MULTILINE)
        self.assertGreater(len(steps), 5)
        for command, shown in steps:
            with self.subTest(command):
                local = command.replace("localhost:8010", f"127.0.0.1:{bank.port}")
                done = subprocess.run(
                    local, shell=True, capture_output=True, text=True, check=True
                )
                answer = re.sub(r'"paid_at": "[^"]+"', '"paid_at": "…"', done.stdout)
                self.assertEqual(answer, shown.rstrip("\n"))

    def test_names_every_mode_and_setting(self) -> None:
        named = set(re.findall(r"`(\w+)`", self.readme))
        modes = PAID_AND_LOST + PAID_AND_UNBELIEVABLE + NOT_PAID + ELSEWHERE
        settings = self.start().get("/faults")
        self.assertEqual({*modes, *settings} - named, set())

    def test_names_every_mode_of_look_ups(self) -> None:
        table = self.readme.partition("| `lookup_mode` | a look-up")[2]
        named = re.findall(r"`(\w+)`", table.partition("\n\n")[0])
        self.assertEqual(set(LOOKUP_MODES) - set(named), set())


class StartTest(BankTestCase):
    """The bank…"""

    def test_takes_its_environments_settings_at_every_start(self) -> None:
        bank = self.start(BANK_FAILURE_RATE="0.25", BANK_LATENCY="0.01", BANK_SEED="7")
        faults = bank.get("/faults")
        self.assertEqual(
            [faults[name] for name in ("failure_rate", "latency", "seed")],
            [0.25, 0.01, 7],
        )
        bank.set(failure_rate=1, latency=0.02)
        bank.kill()
        faults = self.start(BANK_FAILURE_RATE="0.5").get("/faults")
        self.assertEqual((faults["failure_rate"], faults["latency"]), (0.5, 0.02))

    def test_has_the_specifications_defaults(self) -> None:
        faults = self.start(BANK_FAILURE_RATE="").get("/faults")
        self.assertEqual((faults["failure_rate"], faults["latency"]), (0.1, 0))

    def test_keeps_what_was_set_when_gunicorn_replaces_a_worker(self) -> None:
        bank = self.start(workers=1)
        bank.set(failure_rate=0.75)
        children = Path(f"/proc/{bank.process.pid}/task/{bank.process.pid}/children")
        if not children.exists():
            self.skipTest("needs Linux to find the worker")
        (worker,) = children.read_text().split()
        os.kill(int(worker), signal.SIGKILL)
        deadline = time.monotonic() + 30
        while children.read_text().split() in ([worker], []):
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.05)
        self.assertEqual(bank.get("/faults")["failure_rate"], 0.75)

    def test_waits_for_another_worker_that_has_just_made_the_file(self) -> None:
        # The file is not in WAL mode yet. SQLite does not wait for the switch.
        other = sqlite3.connect(
            self.data, isolation_level=None, check_same_thread=False
        )
        self.addCleanup(other.close)
        other.execute("CREATE TABLE anything (id)")
        other.execute("BEGIN IMMEDIATE")
        threading.Timer(0.2, other.execute, ["COMMIT"]).start()
        store = Store(self.data)
        self.addCleanup(store.close)
        store.start(server="a worker", explicit={"failure_rate": 0.25})
        self.assertEqual(store.faults().failure_rate, 0.25)

    def test_ends_at_once_with_open_requests(self) -> None:
        for workers in (0, 2):
            for number in (signal.SIGTERM, signal.SIGINT):
                with self.subTest(workers=workers, signal=number.name):
                    bank = self.start(workers=workers)
                    bank.set(mode="accept_hang", latency=0)
                    with self.assertRaises(TimeoutError):
                        bank.pay(timeout=0.3)
                    bank.set(mode="normal", latency=30)
                    with self.assertRaises(TimeoutError):
                        bank.pay(timeout=0.3)
                    os.kill(bank.process.pid, number)
                    self.assertEqual(bank.process.wait(timeout=25), 0)
                    with self.assertRaises(ProcessLookupError):
                        os.killpg(bank.process.pid, 0)
                # SQLite may fail on a new file beside the log of a removed one.
                self.data = self.data.with_name(f"{workers}-{number.name}.sqlite3")

    def test_refuses_bad_settings_in_one_line(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            bad = [("BANK_FAILURE_RATE", "2"), ("BANK_FAILURE_RATE", "x")]
            bad += [("BANK_LATENCY", "-1"), ("BANK_LATENCY", "nan"), ("BANK_SEED", "x")]
            bad += [("BANK_PORT", "x"), ("BANK_PORT", "70000"), ("BANK_DATA", "/dev")]
            bad += [("BANK_PORT", str(taken.getsockname()[1])), ("BANK_DATA", __file__)]
            bad += [("BANK_HOST", "192.0.2.1")]
            for name, value in bad:
                with self.subTest(name=name, value=value):
                    settings = {"BANK_DATA": str(self.data), "BANK_PORT": "0"}
                    process = _start(0, 0, settings | {name: value})
                    _, errors = process.communicate(timeout=20)
                    self.assertEqual(process.returncode, 2, errors)
                    self.assertEqual(errors.count("\n"), 1, errors)

    def test_ends_under_gunicorn_too_if_a_setting_is_bad(self) -> None:
        settings = {"BANK_DATA": str(self.data), "BANK_LATENCY": "-1"}
        process = _start(1, _free_port(), settings)
        _, errors = process.communicate(timeout=20)
        self.assertNotEqual(process.returncode, 0)
        self.assertIn("bank: BANK_LATENCY=-1: latency must be", errors)
        self.assertNotIn("Traceback", errors)


if __name__ == "__main__":
    unittest.main()
