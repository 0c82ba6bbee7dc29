"""The Postgres that everything is measured on: howdah's embedded one, or HOWDAH_DATABASE_URL.

Every measurement gets a database of its own, made new and dropped afterwards, so that none feels
what another left behind. howdah and the peers use the same server with the same settings.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from howdah.embedded import EmbeddedPostgres
from howdah.migrate import upgrade

SETTINGS = (
    "server_version",
    "shared_buffers",
    "fsync",
    "synchronous_commit",
    "full_page_writes",
    "max_wal_size",
    "wal_compression",
    "jit",
)


class Postgres:
    """The server, and databases on it."""

    def __init__(self, dsn: str, maintenance_dsn: str, where: str) -> None:
        self._dsn = dsn
        self._maintenance_dsn = maintenance_dsn
        self.where = where
        self._made = 0

    @asynccontextmanager
    async def database(self, label: str, *, is_howdah: bool = False) -> AsyncIterator[str]:
        """Yield the URL of a new, empty database, with howdah's schema when asked for."""
        self._made += 1
        name = f"benchmark_{os.getpid()}_{self._made}_{label}"
        await self._execute(self._dsn, f"create database {name}")
        try:
            dsn = urlunsplit(urlsplit(self._dsn)._replace(path=f"/{name}"))
            if is_howdah:
                await upgrade(dsn)
            await self._settle()
            yield dsn
        finally:
            # As the superuser, if we are: others may not end a worker of autovacuum.
            drop = f"drop database if exists {name} with (force)"
            await self._execute(self._maintenance_dsn, drop)

    async def settings(self) -> dict[str, str]:
        """The settings of the server that matter to a figure, as it shows them."""
        connection = await asyncpg.connect(self._dsn)
        try:
            return {name: await connection.fetchval(f"show {name}") for name in SETTINGS}
        finally:
            await connection.close()

    async def _settle(self) -> None:
        """Begin each measurement just after a checkpoint, where we may ask for one."""
        try:
            await self._execute(self._maintenance_dsn, "checkpoint")
        except asyncpg.InsufficientPrivilegeError:
            pass

    @staticmethod
    async def _execute(dsn: str, statement: str) -> None:
        connection = await asyncpg.connect(dsn)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()


@asynccontextmanager
async def server(folder: Path) -> AsyncIterator[Postgres]:
    """Yield the server of HOWDAH_DATABASE_URL, or an embedded one that keeps its data in `folder`.

    With a URL, its user must be allowed to create databases.
    """
    given = os.environ.get("HOWDAH_DATABASE_URL")
    if given:
        yield Postgres(given, given, "HOWDAH_DATABASE_URL")
        return
    embedded = await EmbeddedPostgres.start(folder)
    try:
        yield Postgres(await _as_owner(embedded), embedded.superuser_dsn, "embedded")
    finally:
        await embedded.stop()


async def _as_owner(embedded: EmbeddedPostgres) -> str:
    """Let howdah's role own the databases that are made for it."""
    connection = await asyncpg.connect(embedded.superuser_dsn)
    try:
        await connection.execute("alter role howdah createdb")
    finally:
        await connection.close()
    return embedded.dsn
