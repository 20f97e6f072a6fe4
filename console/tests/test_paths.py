"""The console's and the admin's path without its last slash, by both transports."""

from __future__ import annotations

from django.test import Client
from django.urls import set_script_prefix

from wallets.tests.asgi import AsgiClient
from wallets.tests.base import WalletTestCase

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


class SlashTest(WalletTestCase):
    """Without its slash the path of the first page…"""

    def answers(self, method: str, path: str, **headers: str):
        """Yield the answer of each transport; both must be the same."""
        both = [
            client(enforce_csrf_checks=True).generic(method, path, b"", headers=headers)
            for client in (Client, AsgiClient)
        ]
        one, other = (
            (answer.status_code, answer.content, dict(answer.headers))
            for answer in both
        )
        for told in one, other:
            told[2].pop("X-Request-ID")
        self.assertEqual(one, other)
        return both[0]

    def test_leads_there(self) -> None:
        for path, to in (
            ("/console", "/console/"),
            ("/admin", "/admin/"),
            ("/console?live=off&x=%0d%0a", "/console/?live=off&x=%0d%0a"),
            ("/console?", "/console/"),
        ):
            for accept in (BROWSER, "application/json", "*/*", "image/png"):
                for method in ("GET", "HEAD"):
                    with self.subTest(path=path, method=method, accept=accept):
                        answer = self.answers(method, path, accept=accept)
                        self.assertEqual(answer.status_code, 302)
                        self.assertEqual(answer.headers["Location"], to)
                        self.assertEqual(answer.content, b"")

    def test_takes_no_other_method(self) -> None:
        """A redirect would drop the body of a POST."""
        for path in ("/console", "/admin"):
            for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
                with self.subTest(path=path, method=method):
                    answer = self.answers(method, path)
                    self.assertEqual(answer.json()["code"], "method_not_allowed")
                    self.assertEqual(answer.status_code, 405)
                    self.assertEqual(answer.headers["Allow"], "GET, HEAD")

    def test_leads_to_no_other_form(self) -> None:
        for path in ("/Console", "/ADMIN", "/consol", "/console.", "//console"):
            with self.subTest(path):
                answer = self.answers("GET", f"http://testserver{path}")
                self.assertEqual(answer.status_code, 404)

    def test_has_the_prefix_that_the_service_is_below(self) -> None:
        self.addCleanup(set_script_prefix, "/")
        set_script_prefix("/money/")
        answer = Client().get("/console")
        self.assertEqual(answer.headers["Location"], "/money/console/")
