"""Starts, adopts, watches and stops the embedded Postgres.

The server belongs to its data directory, not to the process that started it: whoever comes next
adopts it, and the last one to leave stops it. A keeper (`keeper.py`) is its parent and ends it when
all its users were killed. Who is there is told by locks that the kernel drops when a process ends,
never by the existence of a pid.

There is no TCP, and there are no passwords: who may enter the socket's directory (0700) and is
known to Postgres by name may connect.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Final
from urllib.parse import quote

import asyncpg

from howdah.embedded import cluster, keeper, layout, locks, postmaster, programs
from howdah.embedded.locks import FileLock, exclusive
from howdah.errors import StoreError

logger = logging.getLogger(__name__)

IDLE_SECONDS: Final = 10.0
"""How long a server stays when all its users were killed, for the next one to adopt it."""

_STOP_S: Final = 60.0
_POLL_S: Final = 0.02
_WATCH_S: Final = 1.0
_PROGRESS_S: Final = 3.0
_CONNECT_S: Final = 10.0


def _silent(_text: str) -> None:
    """Show nothing."""


class EmbeddedPostgres:
    """A Postgres that runs for whoever uses its data directory.

    Attributes:
        data_dir: The directory that was asked for.
        dsn: The URL of the database `howdah`, over the Unix socket.
        superuser_dsn: The same database as `postgres`, for maintenance.
        pid: The server's process.
    """

    def __init__(
        self, places: layout.Layout, bin_dir: Path | None, on_progress: Callable[[str], None]
    ) -> None:
        self.data_dir = places.data_dir
        self.dsn = ""
        self.superuser_dsn = ""
        self.pid = 0
        self._maintenance_dsn = ""
        self._places = places
        self._bin_dir = bin_dir
        self._tell = on_progress
        self._use: FileLock | None = None
        self._watcher: asyncio.Task[None] | None = None

    @classmethod
    async def start(
        cls,
        data_dir: Path,
        *,
        bin_dir: Path | None = None,
        on_progress: Callable[[str], None] | None = None,
    ) -> EmbeddedPostgres:
        """Return the running server of a data directory, started (and created) if need be.

        Waits for as long as recovery after a crash takes. Any number of processes may do so at the
        same time; they share one server.

        Args:
            data_dir: Where everything is kept.
            bin_dir: Postgres's programs; by default those of the installed wheel.
            on_progress: Told, in words, what takes its time.

        Raises:
            StoreError: There are no programs, or the server does not start; the message says why.
        """
        places = await asyncio.to_thread(layout.lay_out, data_dir)
        server = cls(places, bin_dir, on_progress or _silent)
        async with exclusive(places.start_lock):
            server._use = await FileLock.take(places.users_lock, shared=True)
            try:
                await server._run()
            except BaseException:
                server._release()
                raise
        server._watcher = asyncio.create_task(server._watch())
        return server

    async def stop(self) -> None:
        """Stop using the server; the last user shuts it down. Safe to call twice."""
        if self._watcher is not None and not self._watcher.done():
            self._watcher.cancel()
            await asyncio.gather(self._watcher, return_exceptions=True)
        if self._use is None:
            return
        async with exclusive(self._places.start_lock):
            try:
                if await self._is_last_user():
                    await self._shut_down()
            finally:
                self._release()

    async def _is_last_user(self) -> bool:
        """Turn our shared lock into an exclusive one; the keeper may be in the way for a moment."""
        for _ in range(5):
            if self._use is not None and self._use.try_lock():
                return True
            await asyncio.sleep(_POLL_S)
        return False

    def _release(self) -> None:
        if self._use is not None:
            self._use.close()
            self._use = None

    # --- starting -------------------------------------------------------------------------------

    async def _run(self) -> None:
        """Return when the server answers: the one that is there, or else a new one."""
        told_at = monotonic()
        while not await self._adopt():
            lock = FileLock(self._places.server_lock)
            try:
                if lock.try_lock() and postmaster.find(self._places.cluster) is None:
                    await self._launch(lock)
                    break
            finally:
                lock.close()
            told_at = await self._wait(told_at)
        await self._prepare_database()

    async def _wait(self, told_at: float) -> float:
        if monotonic() - told_at > _PROGRESS_S:
            told_at = monotonic()
            self._tell(f"Waiting for Postgres. It says: {self._places.log_tail(lines=1)}")
        await asyncio.sleep(_POLL_S)
        return told_at

    async def _adopt(self) -> bool:
        """Point at the server that runs, if one does and answers."""
        found = postmaster.find(self._places.cluster)
        if found is None or found.socket_dir is None:
            return False
        if not found.socket_dir.is_dir():  # nobody can reach it any more
            os.kill(found.pid, signal.SIGINT)
            return False
        self._point_at(found.pid, found.socket_dir)
        try:
            connection = await asyncpg.connect(self._maintenance_dsn, timeout=_CONNECT_S)
        except asyncpg.InvalidAuthorizationSpecificationError as error:
            raise StoreError(
                f"The embedded Postgres of {self.data_dir} lets only those in whom it knew when "
                f"it was started: {error}.",
                hint="Stop the howdah that started it, and try again.",
            ) from error
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return False
        await connection.close()
        return True

    def _point_at(self, pid: int, socket_dir: Path) -> None:
        self.pid = pid
        where = f"host={quote(str(socket_dir), safe='/')}&port=5432"
        self.dsn = f"postgresql://howdah@/howdah?{where}"
        self.superuser_dsn = f"postgresql://postgres@/howdah?{where}"
        self._maintenance_dsn = f"postgresql://postgres@/postgres?{where}"

    async def _launch(self, lock: FileLock) -> None:
        """Start a server, which takes `lock` over, and return when it answers."""
        log_at = await asyncio.to_thread(self._spawn, lock)
        lock.close()
        told_at = monotonic()
        while not await self._adopt():
            if locks.is_free(self._places.server_lock):
                raise StoreError(
                    f"The embedded Postgres does not start: {self._places.log_tail(log_at)}",
                    hint=f"Its log is {self._places.log}.",
                )
            told_at = await self._wait(told_at)
        logger.info("embedded_postgres.started", extra={"pid": self.pid})

    def _spawn(self, lock: FileLock) -> int:
        places = self._places
        chosen = programs.find(places.account, self._bin_dir)
        if (places.cluster / "PG_VERSION").is_file():
            cluster.refuse_other_major(places, chosen)
        else:
            self._tell(f"Creating a Postgres {chosen.major} database in {self.data_dir} …")
            cluster.create(places, chosen)
        socket_dir = places.socket_dir()
        postmaster.remove_remains(places.cluster, socket_dir)
        cluster.admit_callers(places)
        account = places.account
        log = places.open_log()
        try:
            log_at = os.fstat(log).st_size
            subprocess.run(
                [
                    *(sys.executable, "-I", "-S", keeper.__file__),
                    *(str(lock.descriptor), str(places.users_lock)),
                    *(str(account.uid if account.is_other else -1), str(account.gid)),
                    *(str(IDLE_SECONDS), *cluster.command(places, chosen, socket_dir)),
                ],
                check=True,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                start_new_session=True,
                pass_fds=[lock.descriptor],
            )
        finally:
            os.close(log)
        return log_at

    async def _prepare_database(self) -> None:
        connection = await asyncpg.connect(self._maintenance_dsn)
        try:
            if not await connection.fetchval("select 1 from pg_roles where rolname = 'howdah'"):
                await connection.execute("create role howdah login")
                await connection.execute("grant pg_monitor to howdah")
            if not await connection.fetchval("select 1 from pg_database where datname = 'howdah'"):
                await connection.execute("create database howdah owner howdah")
            loaded = await connection.fetchval("show shared_preload_libraries")
        finally:
            await connection.close()
        if "pg_stat_statements" not in loaded:
            return
        connection = await asyncpg.connect(self.superuser_dsn)
        try:
            await connection.execute("set client_min_messages = warning")
            await connection.execute("create extension if not exists pg_stat_statements")
        finally:
            await connection.close()

    # --- watching and stopping ------------------------------------------------------------------

    async def _watch(self) -> None:
        """Start the server again if it dies while it is in use."""
        while True:
            await asyncio.sleep(_WATCH_S)
            if postmaster.is_postmaster(self.pid, self._places.cluster):
                continue
            logger.warning("embedded_postgres.died", extra={"pid": self.pid})
            try:
                async with exclusive(self._places.start_lock):
                    await self._run()
            except (StoreError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                logger.error("embedded_postgres.restart_failed", extra={"problem": str(error)})

    async def _shut_down(self) -> None:
        found = postmaster.find(self._places.cluster)
        if found is not None:
            os.kill(found.pid, signal.SIGINT)  # fast shutdown: end sessions, checkpoint, leave
        deadline = monotonic() + _STOP_S
        while not locks.is_free(self._places.server_lock):
            if monotonic() > deadline:
                logger.warning("embedded_postgres.stops_slowly", extra={"pid": self.pid})
                return
            await asyncio.sleep(_POLL_S)
        self._places.remove_socket_dir()
