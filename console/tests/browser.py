"""A real browser for tests: Debian's Chromium, controlled by Playwright.

A test fails if a page logs an error in the browser's console or calls another host.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from unittest import SkipTest
from unittest.mock import patch

from django.conf import settings
from django.contrib.auth.models import Permission, User
from django.contrib.staticfiles.testing import StaticLiveServerTestCase
from django.core.cache import cache
from django.db import connection

from wallets.tests.base import CommittingTestCase

PASSWORD = "correct horse battery staple"
SECONDS = 60  # the longest wait for the expected content, for a loaded machine
DESKTOP = {"width": 1280, "height": 860}
PHONE = {"width": 390, "height": 844}
PICTURES = Path(settings.BASE_DIR) / "artifacts" / "console"


def missing() -> str:
    """Return what is missing for a browser on this machine; "" if nothing is."""
    try:
        import playwright.sync_api  # noqa: F401
    except ImportError:
        return "Playwright is not installed (requirements-browser.txt)"
    return "" if shutil.which("chromium") else "Chromium is not installed"


class BrowserTestCase(CommittingTestCase, StaticLiveServerTestCase):
    """The whole service behind a live server, and a browser that uses it."""

    @classmethod
    def setUpClass(cls) -> None:
        if connection.vendor != "sqlite":
            raise SkipTest("the browser looks once, on SQLite")
        if reason := missing():
            if os.environ.get("WALLET_REQUIRE_SERVERS") == "1":
                raise AssertionError(reason)
            raise SkipTest(f"not seen in a browser: {reason}")
        super().setUpClass()
        from playwright.sync_api import expect, sync_playwright

        expect.set_options(timeout=SECONDS * 1000)
        # Django refuses queries in a thread with an event loop. Playwright's loop is
        # in this thread, but the tests' queries do it no harm.
        unsafe = patch.dict(os.environ, {"DJANGO_ALLOW_ASYNC_UNSAFE": "true"})
        unsafe.start()
        cls.addClassCleanup(unsafe.stop)
        playwright = sync_playwright().start()
        cls.addClassCleanup(playwright.stop)
        cls.browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        cls.addClassCleanup(cls.browser.close)
        PICTURES.mkdir(parents=True, exist_ok=True)

    def setUp(self) -> None:
        super().setUp()
        cache.clear()
        self.complaints: list[str] = []
        self.expected_complaints: tuple[str, ...] = ()
        oscar = User.objects.create_user("oscar", password=PASSWORD, is_staff=True)
        oscar.user_permissions.add(
            Permission.objects.get(codename="change_transaction")
        )

    def tearDown(self) -> None:
        unexpected = [
            line
            for line in self.complaints
            if not any(known in line for known in self.expected_complaints)
        ]
        assert not unexpected, unexpected
        super().tearDown()

    def open(self, *, size=None, dark=False, log_in=True):
        """Open a page in a new window, logged in as Oscar."""
        context = self.browser.new_context(
            viewport=size or DESKTOP,
            color_scheme="dark" if dark else "light",
            base_url=self.live_server_url,
        )
        self.addCleanup(context.close)
        context.set_default_timeout(SECONDS * 1000)
        page = context.new_page()
        page.on("console", self._listen)
        page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        page.on("request", self._watch)
        if log_in:
            page.goto("/console/")
            page.get_by_label("Username").fill("oscar")
            page.get_by_label("Password").fill(PASSWORD)
            page.get_by_role("button", name="Log in").click()
            page.get_by_role("heading", name="Overview").wait_for()
        return page

    def picture(self, page, name: str, *, whole: bool = False) -> None:
        """Store a picture of the page, for people."""
        page.screenshot(path=PICTURES / f"{name}.png", full_page=whole)

    def _listen(self, message) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"{message.type}: {message.text}")

    def _watch(self, request) -> None:
        if not request.url.startswith((self.live_server_url, "data:")):
            self.complaints.append(f"outside: {request.url}")
