"""The servers that tests use if they answer: databases and brokers on loopback.

The only module here that needs drivers, so it is for code inside of `.venv`. It never
touches a database that a test run did not make.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

CONNECT_TIMEOUT = 3


@dataclass(frozen=True)
class Server:
    """A kind of server, its address, and how to ask for its version."""

    name: str
    variable: str
    default_url: str
    ask_version: Callable[[str], str]

    @property
    def url(self) -> str:
        return os.environ.get(self.variable) or self.default_url

    @property
    def address(self) -> str:
        parts = urlsplit(self.url)
        return f"{parts.hostname}:{parts.port or '?'}"

    def probe(self) -> tuple[str, str]:
        """Return its version and "", or "" and why it cannot be used."""
        try:
            return self.ask_version(self.url), ""
        except Exception as error:  # noqa: BLE001 - any driver's any error: not usable
            reason = " ".join(str(error).split()) or type(error).__name__
            return "", reason[:120]


def database_url(server_url: str, name: str) -> str:
    """Return the address of the database `name` on the server of `server_url`."""
    return urlunsplit(urlsplit(server_url)._replace(path=f"/{name}"))


def _postgres(url: str) -> Any:
    import psycopg

    return psycopg.connect(
        database_url(url, urlsplit(url).path.strip("/") or "postgres"),
        autocommit=True,
        connect_timeout=CONNECT_TIMEOUT,
    )


def _mariadb(url: str) -> Any:
    import pymysql

    parts = urlsplit(url)
    return pymysql.connect(
        host=parts.hostname or "127.0.0.1",
        port=parts.port or 3306,
        user=unquote(parts.username or "root"),
        password=unquote(parts.password or ""),
        connect_timeout=CONNECT_TIMEOUT,
        autocommit=True,
    )


def _postgres_version(url: str) -> str:
    with _postgres(url) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = current_user"
        )
        if not cursor.fetchone()[0]:
            raise PermissionError("the user may not create databases")
        cursor.execute("SHOW server_version")
        return str(cursor.fetchone()[0]).split()[0]


def _mariadb_version(url: str) -> str:
    with _mariadb(url) as connection, connection.cursor() as cursor:
        name = f"test_wallet_{os.getpid()}_probe"
        cursor.execute(f"CREATE DATABASE {name}")
        cursor.execute(f"DROP DATABASE {name}")
        cursor.execute("SELECT VERSION()")
        return str(cursor.fetchone()[0]).split("-")[0]


def _redis_version(url: str) -> str:
    import redis

    client = redis.Redis.from_url(
        url, socket_connect_timeout=CONNECT_TIMEOUT, socket_timeout=CONNECT_TIMEOUT
    )
    with client:
        return str(client.info("server")["redis_version"])


def _rabbitmq_version(url: str) -> str:
    import kombu

    with kombu.Connection(url, connect_timeout=CONNECT_TIMEOUT) as connection:
        connection.connect()
        return str(connection.connection.server_properties.get("version", "?"))


POSTGRESQL = Server(
    "PostgreSQL",
    "TEST_POSTGRES_URL",
    "postgres://postgres@127.0.0.1:5432/postgres",
    _postgres_version,
)
MARIADB = Server(
    "MariaDB", "TEST_MARIADB_URL", "mysql://root@127.0.0.1:3306", _mariadb_version
)
# Database 15, because 0 may have another project's queue.
REDIS = Server("Redis", "TEST_REDIS_URL", "redis://127.0.0.1:6379/15", _redis_version)
RABBITMQ = Server(
    "RabbitMQ",
    "TEST_RABBITMQ_URL",
    "amqp://guest:guest@127.0.0.1:5672//",
    _rabbitmq_version,
)
ALL = (POSTGRESQL, MARIADB, REDIS, RABBITMQ)


@contextmanager
def own_database(server: Server, name: str) -> Iterator[str]:
    """An empty database `test_<name>` of the run; dropped afterwards."""
    connection = (_postgres if server is POSTGRESQL else _mariadb)(server.url)
    with connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE test_{name}")
    try:
        yield database_url(server.url, f"test_{name}")
    finally:
        drop_test_databases(server, name)


def drop_test_databases(server: Server, name: str) -> None:
    """Drop databases of an interrupted run: `test_<name>`, `…_gwN`."""
    ours = f"test_{name}"
    if server is POSTGRESQL:
        connection = _postgres(server.url)
        find = "SELECT datname FROM pg_database"
        drop = 'DROP DATABASE IF EXISTS "{}" WITH (FORCE)'
    else:
        connection = _mariadb(server.url)
        find = "SELECT schema_name FROM information_schema.schemata"
        drop = "DROP DATABASE IF EXISTS `{}`"
    with connection, connection.cursor() as cursor:
        cursor.execute(find)
        for (found,) in cursor.fetchall():
            if found == ours or found.startswith(f"{ours}_gw"):
                cursor.execute(drop.format(found))
