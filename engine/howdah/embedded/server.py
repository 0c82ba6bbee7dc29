"""Starts, adopts, watches and stops the embedded Postgres.

The server belongs to its data directory, not to the process that started it: it outlives a killed
parent, and whoever comes next adopts it. Each user holds a shared lock on `users.lock`; the last
one to stop stops the server. `start.lock` makes starting and stopping one at a time.

There is no TCP and there are no passwords: who may enter the socket's directory (0700) may connect.

    .howdah/
      postgres/        the cluster (or, as root, a link to where the server's account can reach it)
        data/  socket/  postgres.log  start.lock  users.lock
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import asyncpg

from howdah.embedded import accounts, postmaster, programs
from howdah.embedded.accounts import Account
from howdah.embedded.locks import FileLock, exclusive
from howdah.errors import StoreError

logger = logging.getLogger(__name__)

_SOCKET_PATH_BYTES_MAX: Final = 100  # of 107 (Linux) or 103 (macOS), less the name of the lock
_SOCKET_NAME: Final = "/.s.PGSQL.5432.lock"
_SHM_BYTES_MIN: Final = 256 * 1024 * 1024
_ORPHANS_LEAVE_S: Final = 20.0
_STOP_S: Final = 60.0
_POLL_S: Final = 0.05
_WATCH_S: Final = 1.0
_PROGRESS_S: Final = 3.0

_SETTINGS: Final = """
# Written by howdah. Put your own settings below the include: the last one wins.
listen_addresses = ''
unix_socket_permissions = 0700
port = 5432
max_connections = 200
shared_buffers = 256MB
fsync = on
jit = off
max_parallel_workers_per_gather = 0
shared_preload_libraries = 'pg_stat_statements'
log_timezone = 'UTC'
timezone = 'UTC'
log_line_prefix = '%m [%p] %a '
"""


_LOST: Final = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.InterfaceError,
)
"""What a connection says when its server is not there yet, or not any more."""

# Servers that this process started and others still use. Kept, so that they are collected when they
# end, rather than left as zombies for as long as this process lives.
_left_running: list[subprocess.Popen[bytes]] = []


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
        self, data_dir: Path, bin_dir: Path | None, on_progress: Callable[[str], None]
    ) -> None:
        self.data_dir = data_dir
        self.dsn = ""
        self.superuser_dsn = ""
        self.pid = 0
        self._bin_dir = bin_dir
        self._tell = on_progress
        self._home = data_dir
        self._process: subprocess.Popen[bytes] | None = None
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

        Waits for as long as recovery after a crash takes.

        Args:
            data_dir: Where everything is kept.
            bin_dir: Postgres's programs; by default those of the installed wheel.
            on_progress: Told, in words, what takes its time.

        Raises:
            StoreError: There are no programs, or the server does not start; the message says why.
        """
        server = cls(data_dir.absolute(), bin_dir, on_progress or _silent)
        account = await asyncio.to_thread(server._lay_out)
        async with exclusive(server._home / "start.lock"):
            server._use = await FileLock.take(server._home / "users.lock", shared=True)
            try:
                await server._run(account)
            except _LOST as error:
                server._release()
                raise StoreError(
                    f"The embedded Postgres went away while it started: {server._log_tail()}"
                ) from error
            except BaseException:
                server._release()
                raise
        server._watcher = asyncio.create_task(server._watch(account))
        return server

    async def stop(self) -> None:
        """Stop using the server; the last user shuts it down. Safe to call twice."""
        if self._watcher is not None and not self._watcher.done():
            self._watcher.cancel()
            await asyncio.gather(self._watcher, return_exceptions=True)
        if self._use is None:
            return
        async with exclusive(self._home / "start.lock"):
            is_last = self._use.try_lock()
            self._release()
            if is_last:
                await self._shut_down()
            elif self._process is not None:
                _left_running.append(self._process)

    @property
    def _cluster(self) -> Path:
        return self._home / "data"

    def _release(self) -> None:
        if self._use is not None:
            self._use.close()
            self._use = None

    # --- where things are -----------------------------------------------------------------------

    def _lay_out(self) -> Account:
        try:
            self.data_dir.mkdir(
                mode=0o711 if os.geteuid() == 0 else 0o700, parents=True, exist_ok=True
            )
        except OSError as error:
            raise StoreError(
                f"The data directory {self.data_dir} cannot be created: {error}.",
                hint="Choose another with HOWDAH_DATA_DIR or --data-dir.",
            ) from error
        home = self.data_dir / "postgres"
        account = accounts.choose(home.resolve() / "data")
        if account.is_other and not home.exists() and not account.can_reach(self.data_dir):
            self._settle_elsewhere(home)
        home.mkdir(mode=0o711 if account.is_other else 0o700, exist_ok=True)
        self._home = home.resolve()
        if account.is_other and not account.can_reach(self._home):
            raise StoreError(
                f"The account with uid {account.uid}, which runs Postgres, cannot reach {self._home}.",
                hint="Choose another place with HOWDAH_DATA_DIR, or allow the way to it.",
            )
        return account

    def _settle_elsewhere(self, home: Path) -> None:
        """Link `home` to a directory that root keeps for accounts that cannot come here."""
        if home.is_symlink():
            raise StoreError(
                f"{home} points to {home.readlink()}, which is gone.",
                hint="Bring it back, or remove the link to begin with an empty database.",
            )
        programs.make_shared_dir()
        elsewhere = Path(tempfile.mkdtemp(prefix="data-", dir=programs.SHARED_DIR))
        elsewhere.chmod(0o711)
        try:
            home.symlink_to(elsewhere)
        except FileExistsError:  # another process did the same a moment ago
            elsewhere.rmdir()

    def _socket_dir(self, account: Account) -> Path:
        """Return a directory, 0700 and the account's, whose path is short enough for a socket."""
        found = self._home / "socket"
        if len(os.fsencode(found)) + len(_SOCKET_NAME) > _SOCKET_PATH_BYTES_MAX:
            found = Path(tempfile.mkdtemp(prefix="howdah-", dir="/tmp"))
        found.mkdir(mode=0o700, exist_ok=True)
        account.own(found)
        found.chmod(0o700)
        return found

    # --- starting -------------------------------------------------------------------------------

    async def _run(self, account: Account) -> None:
        found = postmaster.find(self._cluster)
        if found is not None and found.socket_dir is None:
            found = await self._found_when_written()
        if found is not None and self._adopt(found) and await self._is_usable():
            return
        await self._launch(account)
        await self._prepare_database()

    async def _is_usable(self) -> bool:
        """Prepare an adopted server; return False if it turns out to have been dying."""
        deadline = time.monotonic() + _ORPHANS_LEAVE_S
        while True:
            try:
                await self._prepare_database()
            except _LOST:
                if not self._is_alive():
                    return False
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(_POLL_S)
            else:
                return True

    async def _found_when_written(self) -> postmaster.Postmaster | None:
        """Give a server that another process has just started the time to write its file."""
        deadline = time.monotonic() + _ORPHANS_LEAVE_S
        while (found := postmaster.find(self._cluster)) and found.socket_dir is None:
            if time.monotonic() > deadline:
                return found
            await asyncio.sleep(_POLL_S)
        return found

    def _adopt(self, found: postmaster.Postmaster) -> bool:
        if found.socket_dir is None or not found.socket_dir.is_dir():
            return False
        self._point_at(found.pid, found.socket_dir)
        return True

    def _point_at(self, pid: int, socket_dir: Path) -> None:
        self.pid = pid
        where = f"host={quote(str(socket_dir), safe='/')}&port=5432"
        self.dsn = f"postgresql://howdah@/howdah?{where}"
        self.superuser_dsn = f"postgresql://postgres@/howdah?{where}"
        self._maintenance_dsn = f"postgresql://postgres@/postgres?{where}"

    async def _launch(self, account: Account) -> None:
        await self._shut_down()  # a server that nobody can reach any more
        chosen = await asyncio.to_thread(programs.find, account, self._bin_dir)
        await asyncio.to_thread(self._create_cluster, account, chosen)
        deadline = time.monotonic() + _ORPHANS_LEAVE_S
        while not await self._try_launch(account, chosen):
            if time.monotonic() > deadline:
                raise StoreError(
                    f"The embedded Postgres does not start: {self._log_tail()}",
                    hint=f"Its log is {self._home / 'postgres.log'}.",
                )
            await asyncio.sleep(0.3)

    async def _try_launch(self, account: Account, chosen: programs.Programs) -> bool:
        """Start the server; return False if it ended because an earlier one's remains linger."""
        postmaster.remove_misleading_pid_file(self._cluster)
        socket_dir = self._socket_dir(account)
        log = self._home / "postgres.log"
        log.touch(mode=0o600)
        command = [
            str(chosen.bin_dir / "postgres"),
            "-D",
            str(self._cluster),
            "-k",
            str(socket_dir),
        ]
        command += ["-c", f"dynamic_shared_memory_type={_shared_memory_type()}"]
        log_at = log.stat().st_size
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd="/",
                env=_environment(),
                start_new_session=True,  # Ctrl-C in the terminal is for howdah, which stops it in order
                **account.popen_options(),
            )
        self._point_at(self._process.pid, socket_dir)
        if await self._answers(self._process):
            logger.info("embedded_postgres.started", extra={"pid": self.pid})
            return True
        said = log.read_bytes()[log_at:].decode("utf-8", "replace")
        if not any(text in said for text in ("pre-existing shared memory", "lock file")):
            raise StoreError(
                f"The embedded Postgres does not start: {self._log_tail()}",
                hint=f"Its log is {log}.",
            )
        return False

    async def _answers(self, process: subprocess.Popen[bytes]) -> bool:
        """Wait until the server answers; return False if it ended instead."""
        told_at = time.monotonic()
        while process.poll() is None:
            try:
                connection = await asyncpg.connect(self._maintenance_dsn, timeout=5)
            except _LOST:
                if time.monotonic() - told_at > _PROGRESS_S:
                    told_at = time.monotonic()
                    self._tell("Postgres is recovering what the last crash left unwritten …")
                await asyncio.sleep(_POLL_S)
            else:
                await connection.close()
                return True
        return False

    def _create_cluster(self, account: Account, chosen: programs.Programs) -> None:
        version = self._cluster / "PG_VERSION"
        if version.is_file():
            major = version.read_text().strip()
            if major != str(chosen.major):
                raise StoreError(
                    f"{self.data_dir} was written by Postgres {major}, but this is "
                    f"Postgres {chosen.major}.",
                    hint="Dump it with the older version (pg_dump) and restore into a new "
                    "directory, or install the older version again.",
                )
            return
        self._tell(f"Creating a Postgres {chosen.major} database in {self.data_dir} …")
        half_made = self._home / "data.new"
        shutil.rmtree(half_made, ignore_errors=True)
        half_made.mkdir(mode=0o700)
        account.own(half_made)
        made = subprocess.run(
            [
                str(chosen.bin_dir / "initdb"),
                f"--pgdata={half_made}",
                "--username=postgres",
                "--auth=trust",
                *chosen.locale_options,
            ],
            check=False,
            capture_output=True,
            text=True,
            cwd="/",
            env=_environment(),
            **account.popen_options(),
        )
        if made.returncode:
            raise StoreError(f"initdb failed: {made.stderr.strip() or made.stdout.strip()}")
        for name, text in (
            ("howdah.conf", _SETTINGS.lstrip()),
            ("postgresql.conf", "\ninclude 'howdah.conf'\n"),
        ):
            with (half_made / name).open("a") as file:
                file.write(text)
            account.own(half_made / name)
            (half_made / name).chmod(0o600)
        half_made.rename(self._cluster)

    async def _prepare_database(self) -> None:
        connection = await self._connected()
        try:
            if not await connection.fetchval("select 1 from pg_roles where rolname = 'howdah'"):
                await connection.execute("create role howdah login")
                await connection.execute("grant pg_monitor to howdah")
            if not await connection.fetchval("select 1 from pg_database where datname = 'howdah'"):
                await connection.execute("create database howdah owner howdah")
        finally:
            await connection.close()
        connection = await asyncpg.connect(self.superuser_dsn)
        try:
            await connection.execute("create extension if not exists pg_stat_statements")
        finally:
            await connection.close()

    async def _connected(self) -> asyncpg.Connection[Any]:
        """Connect, and wait while a server that was adopted is still starting."""
        while True:
            try:
                return await asyncpg.connect(self._maintenance_dsn, timeout=10)
            except _LOST:
                if not self._is_alive():
                    raise
                await asyncio.sleep(_POLL_S)

    # --- watching and stopping ------------------------------------------------------------------

    async def _watch(self, account: Account) -> None:
        """Start the server again if it dies while it is in use."""
        while True:
            await asyncio.sleep(_WATCH_S)
            if self._is_alive():
                continue
            logger.warning("embedded_postgres.died", extra={"pid": self.pid})
            try:
                async with exclusive(self._home / "start.lock"):
                    await self._run(account)
            except (StoreError, *_LOST) as error:
                logger.error("embedded_postgres.restart_failed", extra={"problem": str(error)})

    def _is_alive(self) -> bool:
        if self._process is not None and self._process.pid == self.pid:
            return self._process.poll() is None
        return postmaster.is_postmaster(self.pid, self._cluster)

    async def _shut_down(self) -> None:
        found = postmaster.find(self._cluster)
        if found is None:
            return
        os.kill(
            found.pid, signal.SIGINT
        )  # Postgres's fast shutdown: end sessions, checkpoint, leave
        deadline = time.monotonic() + _STOP_S
        while postmaster.is_postmaster(found.pid, self._cluster):
            self._collect()
            if time.monotonic() > deadline:
                raise StoreError(
                    f"The embedded Postgres (process {found.pid}) does not stop.",
                    hint=f"Its log is {self._home / 'postgres.log'}.",
                )
            await asyncio.sleep(_POLL_S)
        self._collect()
        if found.socket_dir is not None and found.socket_dir.name.startswith("howdah-"):
            shutil.rmtree(found.socket_dir, ignore_errors=True)

    def _collect(self) -> None:
        if self._process is not None:
            self._process.poll()
        _left_running[:] = [process for process in _left_running if process.poll() is None]

    def _log_tail(self) -> str:
        try:
            lines = (self._home / "postgres.log").read_text("utf-8", "replace").splitlines()
        except FileNotFoundError:
            return "it left no log."
        return " | ".join(lines[-5:])


def _environment() -> dict[str, str]:
    """Return a small environment: no PG* variable, and no locale that may not be installed."""
    return {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}


def _shared_memory_type() -> str:
    """Return `mmap` where /dev/shm is too small for Postgres, as it is in a container."""
    try:
        found = os.statvfs("/dev/shm")
    except OSError:
        return "posix" if Path("/proc/self").exists() is False else "mmap"
    return "posix" if found.f_frsize * found.f_blocks >= _SHM_BYTES_MIN else "mmap"
