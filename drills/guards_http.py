"""Guards of what a client may send, and of what it is shown; see `drills.guard`."""

from __future__ import annotations

from drills.guard import POSTGRESQL, Guard

_CONSOLE = "console/tests/"
_HOSTILE = f"{_CONSOLE}test_hostile.py::HostileTest::test_"
_SERVER = "test_server.py::ServerTest::test_"
_TROUBLE = "test_deployment.py::TroubleTest::test_of_"
_LOGIN = "test_security.py::LoginLimitTest::test_"
_LOOK_ALIKE = "refuses_a_header_with_a_similar_name"

HTTP_GUARDS = (
    Guard(
        "no figures under a stranger's name",
        "wallets/views/metrics.py",
        "        HttpRequest.get_host(request)\n",
        "        request.get_host()\n",
        "test_metrics.py::ScrapeTest::test_is_not_read_under_another_host_name "
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
        "gunicorn drops no look-alike of the key",
        "gunicorn.conf.py",
        'header_map = "refuse"\n',
        "",
        "test_server.py::GunicornTest::test_refuses_a_key_that_it_would_drop",
    ),
    Guard(
        "who sends no password has not logged in",
        "wallets/views/login.py",
        '        if not (name and self.cleaned_data.get("password")):\n',
        "        if False:\n",
        f"{_LOGIN}records_no_login_of_who_sends_no_password_and_hashes_nothing "
        f"{_CONSOLE}test_access.py::LoginTest::test_is_not_recorded_without_a_password",
    ),
    Guard(
        "who could not try to log in is recorded",
        "wallets/views/login.py",
        "            if not ours:\n                self._record(False)\n",
        "            if not ours:\n",
        f"{_LOGIN}records_from_where_whom_it_did_not_let_try",
    ),
    Guard(
        "a forwarder's text is an address or does not count",
        "wallets/utils/login_limit.py",
        "        seen = _address_in(hops[-settings.PROXY_COUNT])\n",
        "        seen = hops[-settings.PROXY_COUNT].strip()[:45]\n",
        f"{_LOGIN}believes_no_forwarder_who_names_no_address",
    ),
    Guard(
        "wrong passwords are counted by name, whatever the address",
        "wallet/logins.py",
        'AXES_LOCKOUT_PARAMETERS = ["username"]\n',
        'AXES_LOCKOUT_PARAMETERS = ["ip_address"]\n',
        f"{_LOGIN}makes_a_guesser_wait_who_has_many_addresses",
    ),
    Guard(
        "a known browser does not wait for others' failures",
        "wallet/logins.py",
        'AXES_WHITELIST_CALLABLE = "wallets.utils.login_limit.is_known_device"\n',
        "",
        f"{_LOGIN}does_not_lock_out_a_known_browser",
    ),
    Guard(
        "a known browser that guesses waits",
        "wallets/utils/login_limit.py",
        "return int(cache.get(_key(request), 0)) < settings.AXES_FAILURE_LIMIT",
        "return True",
        f"{_LOGIN}makes_a_known_browser_wait_too_when_it_guesses",
    ),
    Guard(
        "a browser is known for one name",
        "wallets/utils/login_limit.py",
        "    if username is None or known != _mark_of(username):\n",
        "    if username is None or known is None:\n",
        f"{_LOGIN}knows_a_browser_for_one_name_only",
    ),
    Guard(
        "a name in any letters can log in",
        "wallets/utils/login_limit.py",
        '    return hashlib.sha256(username.encode("utf-8", "replace")).hexdigest()\n',
        "    return username\n",
        f"{_LOGIN}knows_a_browser_whatever_letters_the_name_has",
    ),
    Guard(
        "one password is hashed at a time on a machine",
        "wallets/utils/login_limit.py",
        "            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)\n",
        "            pass\n",
        f"{_LOGIN}hashes_one_password_at_a_time "
        f"{_LOGIN}hashes_one_at_a_time_in_all_processes",
    ),
    Guard(
        "logins that wait for their turn are few",
        "wallets/utils/login_limit.py",
        "    if not _waiting[known].acquire(blocking=False):\n",
        "    _waiting[known].acquire(blocking=False)\n    if False:\n",
        f"{_LOGIN}refuses_at_once_when_too_many_wait",
    ),
    Guard(
        "the evidence of a proposal needs its permission",
        "console/templates/console/_proposal.html",
        '{% if proposal and request.user|may_see:"reviewproposal" %}',
        "{% if proposal %}",
        f"{_CONSOLE}test_access.py::PermissionTest",
    ),
    Guard(
        "the amount beside an alarm needs its permission",
        "console/templates/console/alarms.html",
        '{% if request.user|may_see:"transaction" %} · {{ alarm.transaction.amount',
        "{% if True %} · {{ alarm.transaction.amount",
        f"{_CONSOLE}test_access.py::PermissionTest",
    ),
    Guard(
        "who was too late in the admin is told so",
        "wallets/admin.py",
        "        except LostRace:\n",
        "        except ZeroDivisionError:\n",
        "test_admin.py::AdminTest::test_tells_who_was_too_late",
    ),
    Guard(
        "the body of a page is refused by its length",
        "wallets/views/http/middleware.py",
        "        if not length.isdigit() or "
        "int(length[:20]) > settings.PAGE_MAX_BODY_BYTES:\n",
        "        if False:\n",
        f"{_HOSTILE}a_long_body_is_refused_before_it_is_read",
    ),
    Guard(
        "a cookie with NUL is ignored",
        "wallets/views/http/middleware.py",
        "            del request.COOKIES[name]\n",
        "            pass\n",
        f"{_HOSTILE}a_cookie_is_no_failure",
        POSTGRESQL,
    ),
    Guard(
        "an actor's name fits into its column",
        "wallets/utils/actors.py",
        "    if len(name) <= MAX_ACTOR:\n",
        "    if True:\n",
        f"{_HOSTILE}a_user_with_the_longest_name_presses_every_button",
        POSTGRESQL,
    ),
    Guard(
        "a cursor has as many numbers as it must",
        "wallets/views/http/pagination.py",
        "        if type(found) is not list or len(found) != numbers:\n",
        "        if False:\n",
        "test_api_statement.py::StatementApiTest::test_checks_the_content_of_a_cursor",
    ),
    Guard(
        "a cursor has numbers only",
        "wallets/views/http/pagination.py",
        "        if not all(type(one) is int and 0 <= one <= MAX_BIGINT for one in found):\n",
        "        if False:\n",
        "test_api_statement.py::StatementApiTest::test_checks_the_content_of_a_cursor",
    ),
    Guard(
        "another host is not served with a key that the machine made",
        "wallet/settings.py",
        "if SECRET_KEY_IS_MADE and set(ALLOWED_HOSTS) - set(LOOPBACK_HOSTS):",
        "if False:",
        "test_deployment.py::TroubleTest::test_of_a_key_that_is_missing",
    ),
    Guard(
        "a value that cannot be read is named and not quoted",
        "wallet/environment.py",
        "        except ValueError:\n            expected",
        "        except ZeroDivisionError:\n            expected",
        f"{_TROUBLE}a_value_that_cannot_be_read_names_it_and_quotes_nothing",
    ),
    Guard(
        "a password in DATABASE_URL is not quoted",
        "wallet/databases.py",
        "            except ValueError:\n",
        "            except ZeroDivisionError:\n",
        f"{_TROUBLE}a_value_that_cannot_be_read_names_it_and_quotes_nothing",
    ),
    Guard(
        "a server whose settings are refused ends",
        "wallet/serve.py",
        "        django_settings.WEB_THREADS  # noqa: B018\n",
        "        pass\n",
        "test_deployment.py::TroubleTest::test_ends_worker_beat_and_server_as_well",
    ),
    Guard(
        "a worker whose settings are refused ends with one line",
        "wallet/celery.py",
        "    with refused_in_one_line():\n        _lines_are_for_machines()\n",
        "    pass\n",
        "test_deployment.py::TroubleTest::test_ends_worker_beat_and_server_as_well",
    ),
    Guard(
        "a bank's address has a scheme that can pay",
        "wallets/deployment.py",
        '    elif bank.scheme not in ("http", "https"):\n',
        "    elif False:\n",
        "test_deployment.py::BankTest::test_is_told_by_what_its_address_is",
    ),
    Guard(
        "no body of the API is read before it is known who calls",
        "wallets/asgi/application.py",
        '            if is_of_api(scope["path"]):\n',
        "            if False:\n",
        "test_asgi_application.py::UnreadBodyTest",
    ),
    Guard(
        "a path with an encoded slash is another one for both transports",
        "wallets/asgi/application.py",
        " or _has_encoded_slash(scope):\n",
        ":\n",
        "test_asgi_application.py::UnreadBodyTest",
    ),
    Guard(
        "the API judges its requests itself, by both transports",
        "wallets/views/http/api_paths.py",
        '    return frozenset(path.partition("/")[0] for path in paths)\n',
        '    return frozenset(("wallets", "deposits", "transfers")) if paths else frozenset()\n',
        "test_asgi_same.py",
    ),
)
