"""Guards of what a client may send, and of what it is shown; see `drills.guard`."""

from __future__ import annotations

from drills.guard import Guard

_SERVER = "test_server.py::ServerTest::test_"
_LOOK_ALIKE = "refuses_a_header_that_only_looks_like_the_keys"

HTTP_GUARDS = (
    Guard(
        "no figures under a stranger's name",
        "wallets/views/metrics.py",
        "        HttpRequest.get_host(request)\n",
        "        request.get_host()\n",
        "test_metrics.py::ScrapeTest::test_is_not_read_under_a_strangers_name "
        f"{_SERVER}shows_no_figures_under_a_strangers_name",
    ),
    Guard(
        "no header that only looks like the key's",
        "wallets/views/http/idempotency_key.py",
        "        if name != _NAME and resembles_key(name):\n",
        "        if False:\n",
        f"test_api_idempotency.py::IdempotencyApiTest::test_{_LOOK_ALIKE}",
    ),
    Guard(
        "a look-alike of the key is found however it is spelt",
        "wallets/views/http/idempotency_key.py",
        'return "idempot" in name.replace("-", "").replace("_", "")',
        'return "idempoten" in name',
        f"test_api_idempotency.py::IdempotencyApiTest::test_{_LOOK_ALIKE}",
    ),
    Guard(
        "a look-alike of the key is not dropped for its underscore",
        "wallets/asgi/heads.py",
        'b"_" in name and not resembles_key(name.decode("latin-1"))',
        'b"_" in name',
        f"{_SERVER}{_LOOK_ALIKE}",
    ),
    Guard(
        "Django takes no look-alike for the key",
        "wallets/asgi/django.py",
        '        (name.replace(b"_", b"--"), value)\n',
        "        (name, value)\n",
        f"{_SERVER}{_LOOK_ALIKE}",
    ),
    Guard(
        "gunicorn drops no look-alike of the key",
        "gunicorn.conf.py",
        'header_map = "refuse"\n',
        "",
        "test_server.py::GunicornTest::test_refuses_a_key_that_it_would_drop",
    ),
)
