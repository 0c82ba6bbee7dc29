import asyncio
import os
import signal
import time
from pathlib import Path

import pytest

from howdah.embedded import EmbeddedPostgres, locks, postmaster
from support.embedded import (
    User,
    end,
    is_alive,
    parent_of,
    query,
    query_when_back,
    wait_until,
)

pytestmark = pytest.mark.durability


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


async def test_processes_that_start_together_share_one_new_server(new_dir: Path) -> None:
    users = await asyncio.gather(*(asyncio.to_thread(User, new_dir) for _ in range(4)))

    assert len({user.server_pid for user in users}) == 1
    for user in users[1:]:
        await asyncio.to_thread(user.leave)
    assert await query(users[0].dsn, "select 1") == 1
    await asyncio.to_thread(users[0].leave)
    assert not is_alive(users[0].server_pid)


async def test_a_server_whose_starter_was_killed_is_adopted(data_dir: Path) -> None:
    user = await asyncio.to_thread(User, data_dir)
    await query(user.dsn, "create table kept as select 7 as n")
    user.kill()

    server = await EmbeddedPostgres.start(data_dir)

    assert server.pid == user.server_pid
    assert server.dsn == user.dsn
    assert await query(server.dsn, "select n from kept") == 7
    await server.stop()
    assert not is_alive(server.pid)


async def test_killing_the_starter_does_not_disturb_another_user(data_dir: Path) -> None:
    starter = await asyncio.to_thread(User, data_dir, idle_seconds=0)
    other = await asyncio.to_thread(User, data_dir)
    connection_survives = asyncio.create_task(query(other.dsn, "select 7 from pg_sleep(2.5)"))
    await asyncio.sleep(0)

    starter.kill()

    assert await connection_survives == 7
    await asyncio.to_thread(other.leave)
    assert not is_alive(other.server_pid)


async def test_a_server_that_nobody_uses_any_more_ends(data_dir: Path) -> None:
    user = await asyncio.to_thread(User, data_dir, idle_seconds=0)
    keeper = parent_of(user.server_pid)

    user.kill()

    wait_until(lambda: not is_alive(user.server_pid))
    wait_until(lambda: not is_alive(keeper))
    assert not (data_dir / "postgres" / "data" / "postmaster.pid").exists()


async def test_who_comes_while_a_server_ends_gets_a_new_one(data_dir: Path) -> None:
    user = await asyncio.to_thread(User, data_dir, idle_seconds=0)
    await query(user.dsn, "create table kept as select 7 as n")
    user.kill()
    wait_until(lambda: not locks.is_free(data_dir / "postgres" / "users.lock"))

    server = await EmbeddedPostgres.start(data_dir)
    try:
        assert server.pid != user.server_pid
        assert await query(server.dsn, "select n from kept") == 7
    finally:
        await server.stop()


async def test_a_killed_server_is_recovered(data_dir: Path) -> None:
    user = await asyncio.to_thread(User, data_dir)
    await query(user.dsn, "create table kept as select 7 as n")
    user.kill()
    os.kill(user.server_pid, signal.SIGKILL)

    server = await EmbeddedPostgres.start(data_dir)
    try:
        assert server.pid != user.server_pid
        assert await query(server.dsn, "select n from kept") == 7
    finally:
        await server.stop()


async def test_a_server_that_dies_in_use_is_started_again(server: EmbeddedPostgres) -> None:
    await query(server.dsn, "create table kept as select 7 as n")
    killed, dsn = server.pid, server.dsn

    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: not is_alive(killed))

    assert await query_when_back(lambda: dsn, "select n from kept") == 7
    assert server.pid != killed


async def test_a_killed_keeper_takes_its_server_along_and_both_come_back(
    server: EmbeddedPostgres,
) -> None:
    first = server.pid
    os.kill(parent_of(first), signal.SIGKILL)
    wait_until(lambda: not is_alive(first))

    assert await query_when_back(lambda: server.dsn, "select 1") == 1
    assert is_alive(parent_of(server.pid))


async def test_signals_that_everyone_gets_leave_the_server_to_its_users(
    server: EmbeddedPostgres,
) -> None:
    keeper = parent_of(server.pid)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(keeper, number)

    assert await query(server.dsn, "select 7 from pg_sleep(0.2)") == 7
    assert is_alive(keeper)
    assert os.getpgid(keeper) != os.getpgrp()


@pytest.mark.parametrize(
    "content", ["", "12", "not a pid\n", "{me}\n/x\n1\n5432\n\n\n  1  2\n"], ids=repr
)
async def test_a_misleading_pid_file_does_not_prevent_a_start(data_dir: Path, content: str) -> None:
    cluster = data_dir / "postgres" / "data"
    (cluster / "postmaster.pid").write_text(content.format(me=os.getpid()))
    socket_lock = data_dir / "postgres" / "socket" / ".s.PGSQL.5432.lock"
    socket_lock.write_text(f"{os.getpid()}\n{cluster}\n1\n5432\n{socket_lock.parent}\n")

    server = await EmbeddedPostgres.start(data_dir)
    try:
        assert await query(server.dsn, "select 1") == 1
    finally:
        await server.stop()


async def test_a_long_recovery_is_waited_for_and_told(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = await asyncio.to_thread(User, data_dir)
    user.kill()
    os.kill(user.server_pid, signal.SIGSTOP)  # as good as a recovery: it runs and does not answer
    monkeypatch.setattr("howdah.embedded.server._PROGRESS_S", 0.2)
    monkeypatch.setattr("howdah.embedded.server._CONNECT_S", 0.2)
    told: list[str] = []

    start = asyncio.create_task(EmbeddedPostgres.start(data_dir, on_progress=told.append))
    began = time.monotonic()
    while len(told) < 2:
        assert time.monotonic() - began < 20
        await asyncio.sleep(0.05)
    os.kill(user.server_pid, signal.SIGCONT)
    server = await start

    assert server.pid == user.server_pid
    assert told[0].startswith("Waiting for Postgres.")
    await server.stop()


async def test_a_server_whose_socket_was_removed_is_replaced(data_dir: Path) -> None:
    user = await asyncio.to_thread(User, data_dir)
    socket_dir = data_dir / "postgres" / "socket"
    for file in socket_dir.iterdir():
        file.unlink()
    socket_dir.rmdir()

    server = await EmbeddedPostgres.start(data_dir)
    try:
        assert server.pid != user.server_pid
        assert await query(server.dsn, "select 1") == 1
    finally:
        await server.stop()
        user.kill()
        end(data_dir / "postgres" / "data")
