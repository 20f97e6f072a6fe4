"""The project's rules that a test can check; messages name the file and the rule."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from unittest import mock

from django.test import SimpleTestCase

from wallet.logs import EXTRA
from wallets.tests import marks

ROOT = Path(__file__).resolve().parents[2]
PRODUCT = ("wallet", "wallets", "console", "events", "access")
TOOLS = ("third-party", "scripts", "drills")
MAX_FUNCTION, MAX_MODULE = 50, 300
DATABASE_ERRORS = {
    "DatabaseError",
    "DataError",
    "Error",
    "IntegrityError",
    "InterfaceError",
    "InternalError",
    "NotSupportedError",
    "OperationalError",
    "ProgrammingError",
}
HTTP_CLIENTS = {"requests", "httpx", "aiohttp", "urllib3", "http.client"}
HTTP_CLIENTS |= {"h11", "urllib.request", "http.server"}
MONEY = {"balance", "held", "movement_count"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def sources() -> dict[str, str]:
    """Return the product's modules by path, without tests and migrations."""
    return {
        str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
        for package in PRODUCT
        for path in sorted((ROOT / package).rglob("*.py"))
        if not {"tests", "migrations"} & set(path.relative_to(ROOT).parts)
    }


@cache
def tools() -> dict[str, str]:
    """Return the modules outside of the product's layers by path, without tests."""
    return {
        str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
        for folder in TOOLS
        for path in sorted((ROOT / folder).rglob("*.py"))
        if not path.name.startswith("test_")
    }


@cache
def trees() -> dict[str, ast.Module]:
    return {path: ast.parse(source) for path, source in sources().items()}


def nodes(*kinds: type[ast.AST], under: str = "") -> Iterator[tuple[str, ast.AST]]:
    """Yield every node of these kinds, with the path of its module."""
    for path, tree in trees().items():
        if path.startswith(under):
            for node in ast.walk(tree):
                if isinstance(node, kinds):
                    yield path, node


def name_of(node: ast.AST) -> str:
    """Return the last part of a dotted name; "" for any other node."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def owner_of(call: ast.Call) -> str:
    """Return `Movement` for `Movement.objects.update(…)`; "" for a function."""
    node: ast.AST = call.func
    while isinstance(node, (ast.Attribute, ast.Call)):
        node = node.value if isinstance(node, ast.Attribute) else node.func
    return name_of(node) if node is not call.func else ""


def keywords_of(call: ast.Call) -> set[str | None]:
    """Return the names of the keywords, also those of `**{"balance": 1}`.

    None stands for names that only the running program knows: `**changes`.
    """
    found: set[str | None] = set()
    for keyword in call.keywords:
        if keyword.arg is None and isinstance(keyword.value, ast.Dict):
            keys = keyword.value.keys
            found |= {str(getattr(key, "value", "")) if key else None for key in keys}
        else:
            found.add(keyword.arg)
    return found


class HouseRule(SimpleTestCase):
    def assert_none(self, found: list[str], rule: str) -> None:
        self.assertEqual(found, [], f"{rule}\n  " + "\n  ".join(found))


class SizeTest(HouseRule):
    @marks.slow
    def test_of_a_function_is_bounded(self):
        found = [
            f"{path}:{node.lineno} {node.name}: {length} lines"
            for path, source in (sources() | tools()).items()
            for node in ast.walk(ast.parse(source))
            if isinstance(node, Function)
            and (length := node.end_lineno - node.lineno + 1) > MAX_FUNCTION
        ]
        self.assert_none(
            found, f"A function has at most {MAX_FUNCTION} lines: split it"
        )

    def test_of_a_module_is_bounded(self):
        found = [
            f"{path}: {length} lines"
            for path, source in (sources() | tools()).items()
            if (length := source.count("\n")) > MAX_MODULE
        ]
        self.assert_none(found, f"A module has at most {MAX_MODULE} lines: split it")

    def test_is_measured_on_the_whole_product(self):
        self.assertGreater(len(sources()), 60)
        self.assertIn("wallets/services/ledger/postings.py", sources())
        self.assertIn("third-party/app.py", tools())


class DocstringTest(HouseRule):
    LAYERS = (
        *("wallets/services/", "wallets/models/", "wallets/utils/"),
        *("events/services/", "events/models/"),
        *("access/services/", "access/models/", "access/utils/"),
    )

    def test_opens_every_module(self):
        found = [
            path
            for path, tree in trees().items()
            if sources()[path].strip() and not ast.get_docstring(tree)
        ]
        self.assert_none(found, "A module's docstring says what lives in it: write one")

    def test_is_on_everything_public_of_services_models_and_utils(self):
        found = [
            f"{path}:{node.lineno} {node.name}"
            for path, tree in trees().items()
            if path.startswith(self.LAYERS)
            for node in self.public(tree)
            if not ast.get_docstring(node)
        ]
        self.assert_none(found, "What is public says what it does: write a docstring")

    def public(self, tree: ast.Module) -> Iterator[Function | ast.ClassDef]:
        """Yield top-level functions and classes, and the methods of those classes."""
        for node in tree.body:
            if not isinstance(node, (Function, ast.ClassDef)) or node.name[0] == "_":
                continue
            yield node
            if isinstance(node, ast.ClassDef):
                yield from (
                    method
                    for method in node.body
                    if isinstance(method, Function)
                    and method.name[0] != "_"
                    and not self.is_plain(method)
                )

    def is_plain(self, method: Function) -> bool:
        """Whether it is a property of one line, also of a protocol: it needs none."""
        return len(method.body) == 1 and any(
            name_of(decorator) == "property" for decorator in method.decorator_list
        )


class WriterTest(HouseRule):
    """The writer of each model's rows, whichever function writes them."""

    OWNERS = {
        "Attempt": {"wallets/services/payouts/attempt.py"},
        "Movement": {"wallets/services/ledger/postings.py"},
        "Correction": {"wallets/services/corrections/correction.py"},
        "PaymentReturn": {"wallets/services/operations/payment_return.py"},
        "Transaction": {
            "wallets/services/corrections/correction.py",
            "wallets/services/deposits/deposit_batch.py",
            "wallets/services/operations/payment_return.py",
            "wallets/services/operations/record.py",
            "wallets/services/payouts/damage.py",  # only names one in an alarm
            "wallets/services/payouts/put_aside.py",  # the same
            "wallets/services/payouts/transition.py",
            "wallets/services/transfers/transfer_batch.py",
            "wallets/services/withdrawals/schedule_batch.py",
        },
        "Transfer": {"wallets/services/transfers/transfer_batch.py"},
        "Transition": {"wallets/services/payouts/transition.py"},
        "Wallet": {
            "wallets/services/ledger/postings.py",
            "wallets/services/payouts/waiting.py",  # whether withdrawals wait
            "wallets/services/wallets/create.py",
            "wallets/services/wallets/history.py",  # name and life
        },
        "WalletChange": {"wallets/services/wallets/history.py"},
    }
    # Functions of utils/database that write; their first argument is the model.
    FUNCTIONS = {"as_new", "guarded_update", "guarded_updates", "insert_rows"}
    METHODS = re.compile("create|update|delete|save")
    # The methods of rows that write, whatever the variable of the rows is called.
    OF_ROWS = re.compile("(bulk_)?(create|update)|(get|update)_or_create|delete|save")
    # The layers above the services, and their calls that change no row of the product.
    ABOVE = re.compile(
        r"console/|wallets/(views|serializers|asgi|management|tasks\.py|admin\.py)"
        r"|(events|access)/(views|serializers|pages|management|tasks\.py)"
    )
    NO_ROWS_OF_OURS = (
        "console/management/commands/demo_login.py",  # a user
        "console/queries/overview.py",  # the cache
    )
    # The tables that each module writes by SQL of its own.
    SQL_WRITERS = {
        "wallets/services/ledger/ledger_postgresql.py": {
            *("wallets_transaction", "wallets_movement", "wallets_wallet")
        },
        "wallets/services/ledger/transfers_postgresql.py": {
            *("wallets_transaction", "wallets_movement", "wallets_wallet"),
            "wallets_transfer",
        },
        "wallets/services/withdrawals/schedule_postgresql.py": {
            *("wallets_transaction", "wallets_transition")
        },
        "events/services/sequencer.py": {"events_event"},
    }
    SQL = re.compile(
        r"\b(?:INSERT\s+INTO|UPDATE|DELETE\s+FROM|MERGE\s+INTO|TRUNCATE(?:\s+TABLE)?)"
        r"\s+[\"`]?((?:wallets|events|access)_\w+)",
        re.IGNORECASE,
    )
    # What runs SQL, however it is written.
    EXECUTES = {"cursor", "executemany", "execute_prepared", "extra", "raw", "RawSQL"}
    # The modules that may run SQL.
    MAY_EXECUTE = (
        "wallets/checks.py",  # reads the names of the tables
        "wallets/management/",  # waits for a connection
        "wallets/services/",
        "events/services/",
        "wallets/utils/database/",
    )

    def written(self, call: ast.Call) -> str:
        """Return the name of the model whose rows a call writes; "" for other calls."""
        name = name_of(call.func)
        if name in self.FUNCTIONS and call.args:
            return name_of(call.args[0])
        if name in self.OWNERS:
            return name
        return owner_of(call) if self.METHODS.search(name) else ""

    def strangers(self) -> list[str]:
        return [
            f"{path}:{node.lineno} {model}"
            for path, node in nodes(ast.Call)
            if path not in self.OWNERS.get(model := self.written(node), {path})
        ]

    def guards(self) -> list[str]:
        """Return the guarded updates that are made outside the owners of models."""
        owners = set().union(*self.OWNERS.values())
        return [
            f"{path}:{node.lineno}"
            for path, node in nodes(ast.Call)
            if name_of(node.func) == "GuardedUpdate" and path not in owners
        ]

    def statements(self) -> list[str]:
        """Return the statements of SQL outside the services."""
        return [
            f"{path}:{node.lineno}"
            for path, node in nodes(ast.Call)
            if name_of(node.func) in self.EXECUTES
            and not path.startswith(self.MAY_EXECUTE)
        ]

    def written_by_sql(self) -> list[str]:
        """Return the tables that a module writes by SQL, and is not meant to."""
        return [
            f"{path}:{node.lineno} {table}"
            for path, node in nodes(ast.Constant)
            if isinstance(node.value, str)
            for table in set(self.SQL.findall(node.value))
            if table not in self.SQL_WRITERS.get(path, ())
        ]

    def written_above(self) -> list[str]:
        """Return the calls above the services that write rows by themselves."""
        return [
            f"{path}:{node.lineno}"
            for path, node in nodes(ast.Call)
            if self.ABOVE.match(path)
            and path not in self.NO_ROWS_OF_OURS
            and isinstance(node.func, ast.Attribute)
            and self.OF_ROWS.fullmatch(node.func.attr)
            and owner_of(node) not in self.names_of_services(trees()[path])
        ]

    def names_of_services(self, tree: ast.Module) -> set[str]:
        """Return the names under which a module has imported services."""
        return {
            alias.asname or alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom)
            and re.search(r"\bservices\b", node.module or "")
            for alias in node.names
        }

    def balances(self) -> list[str]:
        """Return the calls outside of the ledger that write a balance."""
        return [
            f"{path}:{node.lineno}"
            for path, node in nodes(ast.Call)
            if path != "wallets/services/ledger/postings.py"
            and re.search("update|create", name_of(node.func))
            and MONEY & keywords_of(node)
        ]

    def unknown_columns(self) -> list[str]:
        """Return the updates of which nobody can read what they write."""
        return [
            f"{path}:{node.lineno}"
            for path, node in nodes(ast.Call, under="wallets/services/")
            if isinstance(node.func, ast.Attribute)
            and node.func.attr == "update"
            and None in keywords_of(node)
        ]

    @marks.slow
    def test_of_a_model_is_its_owner(self):
        self.assert_none(
            self.strangers(), "Rows are written by the owner of their model only"
        )
        self.assert_none(self.guards(), "The owner of a model makes guarded updates")

    @marks.slow
    def test_by_sql_is_a_service(self):
        self.assert_none(self.statements(), "Only services and utils/database run SQL")
        self.assert_none(
            self.written_by_sql(),
            "Only the fast paths write by SQL: name the table in SQL_WRITERS",
        )

    @marks.slow
    def test_is_no_layer_above_the_services(self):
        self.assert_none(
            self.written_above(), "A view, page or command writes by a service only"
        )

    @marks.slow
    def test_is_found_in_a_view_however_it_writes(self):
        """The rule detects each way in which a view has once written a balance."""
        for line, find in (
            ("Wallet.objects.filter(pk=1).update(balance=1)", self.strangers),
            ("insert_rows(Movement, rows)", self.strangers),
            ("guarded_update(Wallet, {'pk': 1}, balance=1)", self.strangers),
            ("batch.guarded_updates(Wallet, updates)", self.strangers),
            ("Movement(amount=1)", self.strangers),
            ("GuardedUpdate({'pk': 1}, {'balance': 1})", self.guards),
            ("connection.cursor().execute('UPDATE wallets_wallet')", self.statements),
            ("execute_prepared('UPDATE ' + table, {})", self.statements),
            ("rows.extra(where=[text])", self.statements),
            ("Transaction.objects.create(amount=1)", self.strangers),
            ("as_new(Transaction, amount=1)", self.strangers),
            ("Transaction.objects.filter(pk=1).update(amount=1)", self.strangers),
            ('rows.update(**{"balance": 1})', self.balances),
            ('rows.update(**{"balance": 1})', self.written_above),
            ("rows.update(amount=1)", self.written_above),
            ("wallet.transactions.create(amount=1)", self.written_above),
            ("rows.filter(pk=1).delete()", self.written_above),
            ("wallet.save()", self.written_above),
        ):
            view = {"wallets/views/wallet.py": ast.parse(line)}
            with self.subTest(line=line), mock.patch.dict(trees(), view):
                self.assertEqual(len(find()), 1)

    @marks.slow
    def test_is_found_in_a_service_that_is_no_owner(self):
        for line, find in (
            ("Transaction.objects.create(amount=1)", self.strangers),
            ('rows.update(**{"balance": 1})', self.balances),
            ("rows.update(**changes)", self.unknown_columns),
            ("SQL = 'UPDATE wallets_wallet SET balance = 1'", self.written_by_sql),
            ("SQL = 'insert into \"wallets_movement\" (id)'", self.written_by_sql),
            ("SQL = 'DELETE\\nFROM wallets_transaction'", self.written_by_sql),
        ):
            service = {"wallets/services/reads/current.py": ast.parse(line)}
            with self.subTest(line=line), mock.patch.dict(trees(), service):
                self.assertEqual(len(find()), 1)

    def test_above_the_services_may_call_one(self):
        line = (
            "from wallets.services.wallet import WalletService\nWalletService.create()"
        )
        view = {"wallets/views/wallet.py": ast.parse(line)}
        with mock.patch.dict(trees(), view):
            self.assertEqual(self.written_above(), [])

    def test_of_a_balance_is_the_ledger(self):
        self.assert_none(
            self.balances(), "Only services/ledger/postings.py writes balances"
        )
        self.assert_none(
            self.unknown_columns(),
            "An update names its columns: no `update(**changes)`",
        )

    def test_of_a_status_is_the_transition(self):
        found = [
            f"{path}:{node.lineno}"
            for path, node in nodes(ast.Call)
            if path != "wallets/services/payouts/transition.py"
            and "update" in name_of(node.func)
            and "status" in keywords_of(node)
        ]
        self.assert_none(found, "Only services/payouts/transition.py moves a status")

    def test_never_saves_an_instance(self):
        """`save()` writes all columns, also those that another transaction changed."""
        found = [
            f"{path}:{node.lineno}"
            for path, node in nodes(ast.Call, under="wallets/")
            if name_of(node.func) in ("save", "bulk_update")
            and isinstance(node.func, ast.Attribute)
        ]
        self.assert_none(found, "Change rows by guarded UPDATE, never by save()")


class TransactionTest(HouseRule):
    # `transactions` runs whole transactions again; the others have none open.
    MAY_CATCH = {
        "wallets/utils/database/transactions.py": "runs whole transactions again",
        "wallets/utils/database/outage.py": "does so for as long as the database is away",
        "wallets/services/payouts/payout.py": "asks, in a new one, what its COMMIT came to",
        "wallets/management/commands/wait_for_db.py": "waits for the database",
        "wallets/utils/database/backends/postgresql/driver.py": "closes the connection, raises",
        "wallets/management/base.py": "says so and ends",
        "wallets/management/commands/check.py": "says so, and checks what needs none",
        "wallets/services/payouts/sweeper.py": "goes on with the next sweep, on a new connection",
        "events/services/runner.py": "goes on with the next pass, on a new connection",
        "wallets/services/operations/readiness.py": "says whether the database answers",
        "wallets/services/operations/host_clock.py": "looks again later",
        "wallets/services/operations/metrics.py": "returns figures, stored or not",
        "wallets/utils/database/backends/mysql/schema.py": "leaves out what is done; DDL",
        "console/views/base.py": "shows a page that says so",
        "access/services/live.py": "reads the keys again, on a new connection",
        "events/services/webhooks/courier.py": "keeps its results and goes on, on a new connection",
    }

    # Whose run_in_transaction may wait for locks again and again: nobody waits for an
    # answer of the API.
    MAY_BE_PATIENT = {
        "wallets/services/payouts/": "workers",
        "wallets/services/operations/": "operators and their commands",
        "wallets/checks.py": "checks before a start",
        "access/services/": "operators, and a thread",
        "events/services/sequencer.py": "a runner",
        "events/services/webhooks/prune.py": "a runner",
        "events/services/webhooks/record.py": "a courier",
        "events/services/webhooks/claim.py": "a courier",
    }

    def without_patience(self) -> list[str]:
        return [
            f"{path}:{node.lineno}"
            for path, node in nodes(ast.Call)
            if name_of(node.func) == "run_in_transaction"
            and "patience" not in keywords_of(node)
            and not path.startswith(tuple(self.MAY_BE_PATIENT))
        ]

    def test_of_a_client_waits_for_a_lock_once(self):
        self.assert_none(
            self.without_patience(),
            "A client gets an answer after one lock time-out: pass patience=",
        )
        line = "run_in_transaction(lambda: work(), one_statement=True)"
        service = {"wallets/services/wallets/new.py": ast.parse(line)}
        with mock.patch.dict(trees(), service):
            self.assertEqual(len(self.without_patience()), 1)

    def caught(self, handler: ast.ExceptHandler) -> set[str]:
        kinds = handler.type
        names = kinds.elts if isinstance(kinds, ast.Tuple) else [kinds]
        return {name_of(name) for name in names if name is not None}

    def test_is_not_gone_on_with_after_a_database_error(self):
        found = [
            f"{path}:{node.lineno}"
            for path, node in nodes(ast.ExceptHandler)
            if self.caught(node) & DATABASE_ERRORS and path not in self.MAY_CATCH
        ]
        self.assert_none(
            found,
            "A database error is caught by utils/database/transactions.py only: on MariaDB a deadlock has "
            "rolled back half, and going on commits the other (views answer, they do "
            "not go on: name them in TransactionTest.MAY_CATCH with the reason)",
        )

    def test_has_no_except_inside(self):
        found = [
            f"{path}:{inner.lineno}"
            for path, node in nodes(ast.With)
            if any(
                isinstance(item.context_expr, ast.Call)
                and name_of(item.context_expr.func) == "atomic"
                for item in node.items
            )
            for inner in ast.walk(node)
            if isinstance(inner, ast.Try) and inner.handlers
        ]
        self.assert_none(found, "No except inside atomic(): let it roll back whole")

    def test_is_opened_in_one_module(self):
        found = [
            f"{path}:{node.lineno}"
            for path, node in nodes(ast.Attribute, ast.Name, under="wallets/")
            if name_of(node) in ("atomic", "set_autocommit", "savepoint")
            and path != "wallets/utils/database/transactions.py"
        ]
        self.assert_none(
            found, "Open transactions by utils.database.transactions.run_in_transaction"
        )

    def test_locks_rows_in_one_module(self):
        found = [
            f"{path}:{node.lineno}"
            for path, node in nodes(ast.Attribute)
            if node.attr == "select_for_update"
            and path != "wallets/utils/database/transactions.py"
        ]
        self.assert_none(
            found, "Lock rows by utils.database.transactions.lock_rows, in one order"
        )


def imported(node: ast.AST) -> set[str]:
    """Return the modules, and the names in them, that an import statement may name."""
    if isinstance(node, ast.Import):
        return {alias.name for alias in node.names}
    assert isinstance(node, ast.ImportFrom)
    module = node.module or ""
    return {module, *(f"{module}.{alias.name}" for alias in node.names)}


def packages(node: ast.AST) -> set[str]:
    """Return the top-level packages that an import statement names."""
    return {name.partition(".")[0] for name in imported(node)}


class StandardPartsTest(HouseRule):
    """A maintained server parses HTTP; the product uses its documented interface."""

    SOCKETS = {"selectors", "socket", "socketserver"}

    @marks.slow
    def test_opens_no_sockets(self):
        """`names.py` opens none: it asks the resolver, in threads that it may leave."""
        found = [
            f"{path}:{node.lineno}"
            for path, node in nodes(ast.Import, ast.ImportFrom)
            if packages(node) & self.SOCKETS and path != "events/utils/names.py"
        ]
        self.assert_none(found, "Connections are asyncio's or a server's")

    def test_reaches_into_no_server(self):
        """`gunicorn.conf.py` is excluded: it is the settings of gunicorn."""
        found = [
            f"{path}:{node.lineno}"
            for path, node in nodes(ast.Import, ast.ImportFrom)
            if "gunicorn" in packages(node)
            or ("granian" in packages(node) and path != "wallet/serve.py")
        ]
        self.assert_none(
            found, "Only wallet/serve.py and gunicorn.conf.py name a server"
        )


class OutsideWorldTest(HouseRule):
    def test_is_used_from_utils_only(self):
        found = [
            f"{path}:{node.lineno} {', '.join(sorted(names))}"
            for path, node in nodes(ast.Import, ast.ImportFrom)
            if not path.startswith("wallets/utils/")
            and (
                names := {
                    name
                    for name in imported(node)
                    if name in HTTP_CLIENTS or name.split(".")[0] in HTTP_CLIENTS
                }
            )
        ]
        self.assert_none(found, "HTTP to others lives in wallets/utils/")

    def test_does_not_reach_into_the_tests(self):
        found = [
            f"{path}:{node.lineno}"
            for path, node in nodes(ast.Import, ast.ImportFrom)
            if any(".tests" in name or name == "unittest" for name in imported(node))
        ]
        self.assert_none(found, "The product knows nothing of its tests")


class HostClockTest(HouseRule):
    """Only the database's clock dates money and decides what is due, not a host's."""

    MAY_READ = {
        "wallets/utils/messaging/beat_alive.py": "compares it with what it wrote on a file",
        "wallets/utils/database/transactions.py": "SQLite's clock is this machine's",
        "wallets/services/operations/host_clock.py": "compares it with the database's",
        "wallets/services/payouts/moment.py": "a clock of several, none of which is believed alone",
        "console/templatetags/console.py": "shows how long ago, as the browser then does",
    }
    READS = {
        ("timezone", "now"),
        ("timezone", "localtime"),
        ("timezone", "localdate"),
        ("datetime", "now"),
        ("datetime", "utcnow"),
        ("datetime", "today"),
        ("date", "today"),
        ("time", "time"),
        ("time", "time_ns"),
    }

    def test_is_read_where_there_is_a_reason(self):
        found = [
            f"{path}:{node.lineno}"
            for path, node in nodes(ast.Attribute)
            if path.startswith(("wallets/", "console/"))
            and (name_of(node.value), node.attr) in self.READS
            and path not in self.MAY_READ
        ]
        self.assert_none(
            found,
            "Take utils.database.transactions.database_now (or name the reason in MAY_READ)",
        )

    def test_stamps_no_column(self):
        """Nor does a default of Django, or MySQL's own clock, which has a time zone."""
        found = [
            f"{path}:{node.lineno}"
            for path, node in nodes(ast.keyword, ast.ImportFrom, under="wallets/")
            if (
                isinstance(node, ast.keyword)
                and node.arg in ("auto_now", "auto_now_add")
            )
            or (
                isinstance(node, ast.ImportFrom)
                and "Now" in {alias.name for alias in node.names}
            )
        ]
        self.assert_none(
            found, "Say when a row was written by models.base.WrittenAtField"
        )

    @marks.slow
    def test_is_read_in_each_module_with_a_reason(self):
        for path in self.MAY_READ:
            with self.subTest(path=path):
                self.assertTrue(
                    any(
                        (name_of(node.value), node.attr) in self.READS
                        for found, node in nodes(ast.Attribute)
                        if found == path
                    )
                )


class SQLTest(HouseRule):
    # Triggers and LOCK TABLE with names of the project's tables, and no other values.
    MAY_FORMAT = {
        "wallets/utils/database/append_only.py",
        "wallets/utils/database/table_locks.py",
    }

    def is_built(self, node: ast.AST) -> bool:
        """Whether the text is built by an f-string, by +, by % or by format()."""
        if isinstance(node, ast.JoinedStr):
            return any(isinstance(part, ast.FormattedValue) for part in node.values)
        if isinstance(node, ast.BinOp):
            return True
        return isinstance(node, ast.Call) and name_of(node.func) == "format"

    def test_takes_values_as_parameters(self):
        found = [
            f"{path}:{node.lineno}"
            for path, node in nodes(ast.Call)
            if name_of(node.func)
            in ("execute", "executemany", "raw", "RawSQL", "extra")
            and path not in self.MAY_FORMAT
            and node.args
            and self.is_built(node.args[0])
        ]
        self.assert_none(found, "SQL is a constant; values are its parameters")


class LogLineTest(HouseRule):
    def test_prints_every_value_that_it_is_given(self):
        """The processors drop what `EXTRA` does not name, as the ids of a payment."""
        found = [
            f"{path}:{node.lineno} {name}"
            for path, node in nodes(ast.keyword)
            if node.arg == "extra" and isinstance(node.value, ast.Dict)
            for name in (getattr(key, "value", None) for key in node.value.keys)
            if name not in EXTRA
        ]
        self.assert_none(found, "Name it in wallet.logs.EXTRA")


class TidinessTest(HouseRule):
    UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")

    def test_leaves_nothing_for_later(self):
        found = [
            f"{path}:{number}"
            for path, source in sources().items()
            for number, line in enumerate(source.splitlines(), start=1)
            if self.UNFINISHED.search(line)
        ]
        self.assert_none(found, "Finish it, or file it: no TODO in the code")

    @marks.slow
    def test_uses_no_signals_of_models(self):
        found = [
            f"{path}:{node.lineno}"
            for path, node in nodes(ast.ImportFrom)
            if node.module and node.module.startswith("django.db.models.signals")
        ]
        self.assert_none(found, "No model signals: bulk writes pass them by")

    def test_opens_no_transaction_around_requests(self):
        self.assertNotIn("ATOMIC_REQUESTS", "".join(sources().values()))

    @marks.slow
    def test_gives_each_test_a_sentence(self):
        """A name finishes the sentence of its class: words, not only a number."""
        path = ROOT / "wallets" / "tests"
        found = []
        for file in sorted(path.glob("test_*.py")):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, Function) and node.name.startswith("test_"):
                    words = node.name.split("_")[1:]
                    if all(word.isdigit() for word in words):
                        found.append(f"{file.name}:{node.lineno} {node.name}")
        self.assert_none(found, "A test's name is a sentence")

    def test_makes_each_migration_say_its_rule(self):
        names = re.compile(r"00\d\d_[a-z0-9_]+\.py")
        found = [
            path.name
            for path in (ROOT / "wallets" / "migrations").glob("0*.py")
            if not names.fullmatch(path.name) or "auto" in path.name
        ]
        self.assert_none(found, "A migration's name says what it does")
