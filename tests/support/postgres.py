"""The session's Postgres and one database for each test, cloned from a migrated template."""

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote
from uuid import uuid4

import asyncpg

from howdah import migrate
from howdah.embedded import EmbeddedPostgres
from howdah.embedded.locks import is_free

_MEMORY_BYTES_MIN = 4 * 1024**3


@dataclass(frozen=True)
class Server:
    """Where the session's server is, in the words of pytest-postgresql's `depends_on`."""

    host: str
    port: int = 5432
    user: str = "postgres"
    password: str | None = None
    options: str = ""
    dbname: str = "howdah"
    maintenance_dbname: str = "postgres"
    template_dbname: str | None = None

    def dsn(self, database: str) -> str:
        where = f"host={quote(self.host, safe='/')}&port={self.port}"
        return f"postgresql://{self.user}@/{database}?{where}"


@contextmanager
def running_server() -> Iterator[Server]:
    """Run a server for the session, from HOWDAH_TEST_POSTGRES (a bin directory) or the wheel."""
    named = os.environ.get("HOWDAH_TEST_POSTGRES")
    place = _fast_place()
    _remove_what_killed_sessions_left(place)
    home = Path(tempfile.mkdtemp(prefix="howdah-tests-", dir=place))
    home.chmod(0o711)
    server = asyncio.run(_started(home, Path(named) if named else None))
    try:
        yield Server(host=str(home / "postgres" / "socket"))
    finally:
        asyncio.run(server.stop())
        shutil.rmtree(home, ignore_errors=True)


def _fast_place() -> str:
    """Memory, if there is plenty: a clone is some four hundred files, and many disks are slow."""
    try:
        found = os.statvfs("/dev/shm")
    except OSError:
        return "/tmp"
    return "/dev/shm" if found.f_frsize * found.f_bavail >= _MEMORY_BYTES_MIN else "/tmp"


def _remove_what_killed_sessions_left(place: str) -> None:
    for home in Path(place).glob("howdah-tests-*/postgres"):
        # The server's lock is made after the users' was taken: this is no session that begins.
        if (home / "server.lock").exists() and is_free(home / "users.lock"):
            shutil.rmtree(home.parent, ignore_errors=True)


async def _started(home: Path, bin_dir: Path | None) -> EmbeddedPostgres:
    server = await EmbeddedPostgres.start(home, bin_dir=bin_dir)
    connection = await asyncpg.connect(server.superuser_dsn)
    try:
        # Tests that are about durability have a server of their own.
        await connection.execute("alter system set fsync = off")
        await connection.execute("alter system set full_page_writes = off")
        await connection.execute("alter system set max_wal_size = '256MB'")
        await connection.execute("select pg_reload_conf()")
    finally:
        await connection.close()
    return server


def install_schema(*, host: str, port: int, user: str, dbname: str, **_: object) -> None:
    """Migrate the template database; pytest-postgresql calls it with the address in pieces."""
    asyncio.run(migrate.upgrade(Server(host=host, port=port, user=user).dsn(dbname)))


@asynccontextmanager
async def database(server: Server, template: str | None = None) -> AsyncIterator[str]:
    """Create a database for the length of a block and yield its URL."""
    name = f"t_{uuid4().hex}"
    await _maintain(server, f'create database {name} template "{template or "template0"}"')
    try:
        yield server.dsn(name)
    finally:
        await _maintain(server, f"drop database {name} with (force)")


async def _maintain(server: Server, statement: str) -> None:
    connection = await asyncpg.connect(server.dsn(server.maintenance_dbname))
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
