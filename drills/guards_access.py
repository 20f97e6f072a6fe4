"""Guards of keys: who may call, what for, how often, and until when."""

from __future__ import annotations

from drills.guard import POSTGRESQL, Guard

_API = "access/tests/test_api.py"
_LIVE = "access/tests/test_live.py"
_KEYS = "access/tests/test_keys.py"
_PAGES = "access/tests/test_pages.py"
_ROUTES = "access/tests/test_routes.py"
_CHECK = "access/views/authentication.py"
_COPY = "access/services/live.py"
_SERVICE = "access/services/keys.py"
_HTTP = "wallets/views/http"

ACCESS_GUARDS = (
    Guard(
        "a key is checked for its scope",
        _CHECK,
        "    if not key.may(scope):\n",
        "    if False:\n",
        f"{_API}::ScopeTest",
    ),
    Guard(
        "an operator makes no key without the permission",
        "access/pages/actions.py",
        "@page_for(MAKE)\n",
        '@page_for("wallets.change_transaction")\n',
        _PAGES,
    ),
    Guard(
        "an operator gets no new secret of a key without the permission",
        "access/pages/actions.py",
        "@page_for(CHANGE)\ndef rotate",
        '@page_for("wallets.change_transaction")\ndef rotate',
        _PAGES,
    ),
    Guard(
        "the API answers no cookie",
        f"{_HTTP}/middleware.py",
        "            request.COOKIES = {}\n",
        "",
        _ROUTES,
    ),
    Guard(
        "a key has a limit of requests",
        _CHECK,
        "    if wait := live.LIVE.rates.wait_for(key.caller.actor, key.limit):\n",
        "    if wait := 0:\n",
        f"{_API}::RateTest",
    ),
    Guard(
        "an Authorization header is taken whole",
        "access/utils/secret.py",
        "    found = _HEADER.fullmatch(header)\n",
        "    found = _HEADER.search(header)\n",
        f"{_API}::KeyTest",
    ),
    Guard(
        "an old copy of the keys is not used",
        _COPY,
        "        if now - copy.at > STALE:\n",
        "        if copy.at < 0:\n",
        f"{_API}::OutageTest {_LIVE}::AgeTest",
    ),
    Guard(
        "the age of a copy counts from before its reading",
        _COPY,
        "        found = read(self.elapsed())\n",
        "        found = read(0.0)\n        found = Copy(self.elapsed(), found.keys)\n",
        f"{_LIVE}::AgeTest",
    ),
    Guard(
        "a newer copy is not replaced by an older one",
        _COPY,
        "        if found.at >= self._copy.at:\n",
        "        if True:\n",
        f"{_LIVE}::AgeTest",
    ),
    Guard(
        "a key ends between two readings",
        _COPY,
        "        if key is None or now >= key.ends:\n",
        "        if key is None:\n",
        f"{_API}::KeyTest",
    ),
    Guard(
        "a revoked key is not read",
        _COPY,
        "    for key in ApiKey.objects.filter(revoked_at=None):\n",
        "    for key in ApiKey.objects.all():\n",
        f"{_API}::KeyTest {_KEYS}::RevokeTest",
    ),
    Guard(
        "a forked process reads the keys itself",
        _COPY,
        "os.register_at_fork(after_in_child=lambda: LIVE._begin_anew())\n",
        "",
        f"{_LIVE}::ForkTest",
    ),
    Guard(
        "an event loop does not wait for the keys",
        _COPY,
        "        if _is_on_event_loop():\n",
        "        if False:\n",
        f"{_API}::OutageTest",
    ),
    Guard(
        "a revocation ends all secrets of the name",
        _SERVICE,
        "    alive = Q(current=True) | Q(expires_at__gt=now)\n",
        "    alive = Q(current=True)\n",
        f"{_KEYS}::RevokeTest",
    ),
    Guard(
        "a revocation ends what is rotated meanwhile",
        _SERVICE,
        "        if again == rows:\n            return rows\n",
        "        return again\n",
        "access/tests/test_races.py::KeyRaceTest",
        POSTGRESQL,
    ),
    Guard(
        "a key has no name of another actor",
        _SERVICE,
        "    if not _NAME.fullmatch(name) or name in RESERVED:\n",
        "    if not name:\n",
        f"{_KEYS}::CreateTest",
    ),
    Guard(
        "a rotated key does not live longer",
        _SERVICE,
        "            ends = min(ends, old.expires_at)\n",
        "            pass\n",
        f"{_KEYS}::RotateTest",
    ),
    Guard(
        "a page acts on the key that it shows",
        _SERVICE,
        "    if expected is not None and key.prefix != expected:\n",
        "    if False:\n",
        f"{_KEYS}::RotateTest",
    ),
    Guard(
        "the caller is checked before anything else",
        f"{_HTTP}/rest_framework.py",
        "        authentication.admit(self.scope_of(str(request.method)), self.asked)\n",
        "",
        f"{_API}::OrderTest {_ROUTES}::RouteTest",
    ),
    Guard(
        "no body is read for a caller without a key",
        "wallets/asgi/application.py",
        "        answer = _not_admitted(operation, request)\n",
        "        answer = None\n",
        f"{_API}::BodyTest",
    ),
    Guard(
        "a resource is closed unless it says otherwise",
        f"{_HTTP}/rest_framework.py",
        "        return None if self.is_open else authentication.SOMEBODY\n",
        "        return None\n",
        f"{_ROUTES}::RouteTest",
    ),
    Guard(
        "an operation without a capability is refused at import",
        f"{_HTTP}/rest_framework.py",
        '            if not hasattr(operation, "capability"):\n',
        "            if False:\n",
        f"{_ROUTES}::CapabilityTest",
    ),
    Guard(
        "the figures are not open",
        "wallets/views/metrics.py",
        "    if not settings.METRICS_TOKEN and settings.API_AUTHENTICATION:\n",
        "    if False:\n",
        f"{_ROUTES}::MetricsTest",
    ),
    Guard(
        "the figures of all tenants are not for one of them",
        "wallets/views/metrics.py",
        "    if authentication.caller_of(SCOPE, request_of(request, {})).tenant:\n",
        "    if authentication.caller_of(SCOPE, request_of(request, {})) is None:\n",
        f"{_ROUTES}::MetricsTest::test_are_not_for_keys_of_one_tenant",
    ),
    Guard(
        "what is noted of keys does not age their copy",
        _COPY,
        "            self._teller.start()\n",
        "            self._teller.start()\n            self._teller.join()\n",
        f"{_LIVE}::BackgroundTest::test_stays_fresh_while_the_use_of_keys_cannot_be_noted",
    ),
    Guard(
        "a locked key keeps no other from being noted",
        "access/services/usage.py",
        "lock_rows(rows, skip_locked=True)",
        "lock_rows(rows)",
        f"{_LIVE}::LockedTest",
        POSTGRESQL,
    ),
    Guard(
        "the use of a locked key is noted later",
        _COPY,
        "            late = usage.note(used)\n",
        "            usage.note(used)\n            late = set()\n",
        f"{_LIVE}::BackgroundTest",
    ),
)
