"""The Postgres of a test session, and a database for each test, copied from a migrated template.

One server for one process, started when the first test asks for it: an embedded one in memory, gone
when the process ends, or one whose URL is given. Of a given server nothing is touched but databases
whose names begin with `howdah_test_`.
"""

from __future__ import annotations

import asyncio
import atexit
import hashlib
import os
import shutil
import tempfile
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg

from howdah import migrate
from howdah.embedded import EmbeddedPostgres
from howdah.embedded.locks import is_free
from howdah.errors import UsageError
from howdah.store import access

PREFIX: Final = "howdah_test_"
LEFT_SECONDS: Final = 24 * 3600
"""Databases of killed sessions are removed from a given server when they are older than this."""
_MEMORY_BYTES_MIN: Final = 1024**3
_ADVISORY_LOCK: Final = 0x686F7764_74657374  # "howdtest"; who makes the template holds it
_HOME: Final = "howdah-testing-"

# What is lost with the machine is of no worth here.
_EMBEDDED_SETTINGS: Final = (
    "alter system set fsync = off",
    "alter system set full_page_writes = off",
    "alter system set max_wal_size = '256MB'",
    "select pg_reload_conf()",
)


class Server:
    """Where databases for tests are made."""

    def __init__(self, url: str, strategy: str, embedded: EmbeddedPostgres | None) -> None:
        self.url = url
        self._strategy = strategy
        self._embedded = embedded
        self._template = ""

    @classmethod
    async def start(cls, url: str | None) -> Server:
        """Start the embedded server, or connect to the one that is given; make the template.

        Raises:
            StoreError: the embedded server does not start.
            StoreUnavailable: the given one does not answer.
            UsageError: it does not let us in, or make databases.
        """
        if url is not None:
            server = cls(url, "", None)
        else:
            embedded = await EmbeddedPostgres.start(_new_home())
            server = cls(embedded.superuser_dsn, " strategy file_copy", embedded)
        connection = await access.connect(server.url)
        try:
            if server._embedded is not None:
                for statement in _EMBEDDED_SETTINGS:
                    await connection.execute(statement)
            await server._prepare(connection)
        except asyncpg.InsufficientPrivilegeError as error:
            raise UsageError(
                f"The role of {access.redacted(server.url)} may not make databases: {error}.",
                hint="Let it (alter role ... createdb), or give no URL: then howdah starts a "
                "Postgres of its own.",
            ) from error
        finally:
            await connection.close()
        return server

    async def _prepare(self, connection: asyncpg.Connection[Any]) -> None:
        """Make the template, unless an earlier session of this release did."""
        clock = (files("howdah.testing") / "clock.sql").read_text("utf-8")
        digest = hashlib.sha256(f"{migrate.signature()}{clock}".encode()).hexdigest()[:16]
        self._template = f"{PREFIX}template_{digest}"
        await connection.execute("select pg_advisory_lock($1)", _ADVISORY_LOCK)
        try:
            names = [
                row[0]
                for row in await connection.fetch(
                    "select datname from pg_database where starts_with(datname, $1)", PREFIX
                )
            ]
            for name in names:
                if _is_left(name):
                    await connection.execute(f'drop database if exists "{name}" with (force)')
            if self._template in names:
                return
            # Under another name until it is whole: its maker may be killed.
            await connection.execute(f"drop database if exists {PREFIX}half with (force)")
            await connection.execute(f"create database {PREFIX}half template template0")
            await migrate.upgrade(self._url_of(f"{PREFIX}half"))
            half = await access.connect(self._url_of(f"{PREFIX}half"))
            try:
                await half.execute(clock)
            finally:
                await half.close()
            await connection.execute(f"alter database {PREFIX}half rename to {self._template}")
        finally:
            await connection.execute("select pg_advisory_unlock($1)", _ADVISORY_LOCK)

    @asynccontextmanager
    async def database(self) -> AsyncIterator[str]:
        """Make a database for the length of a block; its URL."""
        name = f"{PREFIX}{int(time.time())}_{uuid4().hex[:16]}"
        await self._maintain(f"create database {name} template {self._template}{self._strategy}")
        try:
            yield self._url_of(name)
        finally:
            await self._maintain(f"drop database if exists {name} with (force)")

    async def _maintain(self, statement: str) -> None:
        connection = await access.connect(self.url)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    def _url_of(self, database: str) -> str:
        return urlunsplit(urlsplit(self.url)._replace(path=f"/{database}"))

    async def stop(self) -> None:
        """Stop the embedded server, and remove its files."""
        if self._embedded is not None:
            await self._embedded.stop()
            # Not in a thread: there are none any more when the process ends.
            shutil.rmtree(self._embedded.data_dir, ignore_errors=True)


default_url: str | None = None
"""Where databases are made, when it is not said; set by an option of pytest."""
_lock = threading.Lock()
_servers: dict[str | None, Server] = {}
_owner = os.getpid()


async def server_at(url: str | None) -> Server:
    """The server of this process: the embedded one, or the one at a URL."""
    found = _servers.get(url)
    return await asyncio.to_thread(_started, url) if found is None else found


def _started(url: str | None) -> Server:
    # In a thread and a loop of its own: the server outlives the loop of the test that came first.
    with _lock:
        if url not in _servers:
            if not _servers:
                atexit.register(stop_all)
            _servers[url] = asyncio.run(Server.start(url))
        return _servers[url]


def stop_all() -> None:
    """Stop what this process started; a process that was forked from it leaves it running."""
    if os.getpid() == _owner:
        while _servers:
            asyncio.run(_servers.popitem()[1].stop())


def _is_left(name: str) -> bool:
    made_at = name.removeprefix(PREFIX).partition("_")[0]
    return made_at.isdigit() and time.time() - int(made_at) > LEFT_SECONDS


def _fast_place() -> str | None:
    """Memory, if there is plenty; else where temporary files go."""
    try:
        found = os.statvfs("/dev/shm")
    except OSError:
        return None
    return "/dev/shm" if found.f_frsize * found.f_bavail >= _MEMORY_BYTES_MIN else None


def _new_home() -> Path:
    _remove_what_killed_sessions_left()
    home = Path(tempfile.mkdtemp(prefix=_HOME, dir=_fast_place()))
    home.chmod(0o711)  # as root, for the account that runs Postgres
    return home


def _remove_what_killed_sessions_left() -> None:
    for home in Path(_fast_place() or tempfile.gettempdir()).glob(f"{_HOME}*/postgres"):
        # The server's lock is made after the users' was taken: this is no session that begins.
        try:
            if (home / "server.lock").exists() and is_free(home / "users.lock"):
                shutil.rmtree(home.parent, ignore_errors=True)
        except OSError:
            continue  # somebody else's
