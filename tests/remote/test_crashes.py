"""Runtimes and endpoints that are killed in the middle: nothing is lost, and nothing is done twice."""

import asyncio
import itertools
import json
import signal
import sys
import time
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest
from pytest_postgresql.executors import NoopExecutor

from howdah.options import Options
from howdah.remote.connecting import Connector
from howdah.remote.registering import Registrar, Registration
from howdah.store.database import Database
from support import postgres
from support.commands import until
from support.engines import assert_healthy
from support.runtimes import NEAR, Runtime
from support.sdk_processes import SdkEndpoint
from support.servers import Servers

# Each test starts three programs or more, which takes most of a minute where others keep the machine busy.
pytestmark = pytest.mark.timeout(240)

PROCESS = Path(__file__).with_name("crashing_runtime.py")
SWEEPS = 4
"""Databases that are swept side by side: most of a sweep is waiting for a takeover."""
LOOKS_MIN = 10
TOTAL = "select value from howdah.state where service = 'Counter' and name = 'total'"
WIPE = """
truncate howdah_core.invocation, howdah_core.live, howdah_core.outcome, howdah_core.journal,
  howdah_core.mailbox, howdah_core.keylock, howdah_core.inbox, howdah_core.state, howdah_core.idem,
  howdah_core.sink, howdah_core.failure, howdah_core.worker
"""


async def register(dsn: str, uri: str) -> None:
    options = Options(endpoint_allow=("127.0.0.1",))
    database = Database(dsn)
    await database.open()
    try:
        await Registrar(database, Connector(options), options).register(Registration(uri=uri))
    finally:
        await database.close()


async def ask(dsn: str, inactivity: float, kill_at: int) -> tuple[int, str]:
    """Run the process; returns (exit code, what it printed)."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(PROCESS), dsn, str(inactivity), str(kill_at),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode in (0, -9), err.decode()
    assert process.returncode is not None
    return process.returncode, out.decode().strip()


async def ask_to_the_end(dsn: str, inactivity: float) -> str:
    """Run the process until it is through, as its supervisor would."""
    code, out = await ask(dsn, inactivity, 0)
    assert code == 0
    return out


@pytest.mark.timeout(900)
@pytest.mark.parametrize("inactivity", [0, 60])
async def test_a_runtime_that_crashes_at_any_round_trip_changes_nothing(
    inactivity: float,
    endpoint: SdkEndpoint,
    postgres_server: postgres.Server,
    template_database: NoopExecutor,
) -> None:
    looks = itertools.count(1)
    survived: list[int] = []

    async def sweep() -> None:
        async with postgres.database(postgres_server, template_database.template_dbname) as dsn:
            await register(dsn, endpoint.uri)
            db = await asyncpg.connect(dsn)
            try:
                expected = await ask_to_the_end(dsn, inactivity)
                assert json.loads(expected) == ["first", 11, 12, "yes", "now", "second"]
                for kill_at in looks:
                    if survived:
                        return
                    await db.execute(WIPE)
                    code, _ = await ask(dsn, inactivity, kill_at)
                    if code == 0:
                        survived.append(kill_at)
                        return
                    found = await ask_to_the_end(dsn, inactivity)
                    assert found == expected, f"killed at look {kill_at}"
                    assert await db.fetchval(TOTAL) == "12", f"killed at look {kill_at}"
                    await assert_healthy(db)
            finally:
                await db.close()

    async with asyncio.TaskGroup() as sweeps:
        for _ in range(SWEEPS):
            sweeps.create_task(sweep())
    # It was killed at every look until the scenario ran to its end.
    assert min(survived) > LOOKS_MIN


@pytest.fixture
def load() -> list[str]:
    """Names for invocations that are under way while something is killed."""
    return [uuid4().hex for _ in range(20)]


def begin(runtime: Runtime, load: list[str]) -> list[str]:
    """Send what takes about a second, in steps."""
    return [
        runtime.send("Greeter/slowly", {"name": name, "key": name[0], "seconds": 0.2})
        for name in load
    ]


def assert_all_is_done(
    runtime: Runtime, endpoint: SdkEndpoint, load: list[str], ids: list[str]
) -> None:
    assert [runtime.result(one) for one in ids] == [f"{name} done" for name in load]
    executed = endpoint.executed()
    for name in load:
        # A step that was under way may have been begun twice, and ends at least once.
        assert [line for line in executed if line == f"{name} 1"]
        assert [line for line in executed if line == f"{name} 2"]
    for key in {name[0] for name in load}:
        count = sum(name[0] == key for name in load)
        assert runtime.call(f"Counter/{key}/total") == count


async def test_a_runtime_is_killed(
    servers: Servers, endpoint: SdkEndpoint, dsn: str, load: list[str]
) -> None:
    environment = {**NEAR, "HOWDAH_LEASE": "2s"}
    first = Runtime.of(servers.serve(dsn, "--roles", "ingress,admin,worker", **environment))
    first.register(endpoint.uri)
    ids = begin(first, load)
    until(lambda: [line for line in endpoint.executed() if line.endswith(" 1")])

    first.server.stop(signal.SIGKILL)
    first.close()
    second = Runtime.of(servers.serve(dsn, "--roles", "ingress,admin,worker", **environment))

    assert_all_is_done(second, endpoint, load, ids)
    second.close()
    await healthy(dsn)


async def test_one_of_two_runtimes_is_killed_again_and_again(
    servers: Servers, endpoint: SdkEndpoint, dsn: str, load: list[str]
) -> None:
    environment = {**NEAR, "HOWDAH_LEASE": "2s", "HOWDAH_INACTIVITY_TIMEOUT": "100ms"}
    steady = Runtime.of(servers.serve(dsn, "--roles", "ingress,admin,worker", **environment))
    steady.register(endpoint.uri)
    ids = begin(steady, load)
    for _ in range(3):
        other = servers.serve(dsn, "--roles", "worker,admin", **environment)
        other.wait_until_said("Try next")
        time.sleep(0.3)
        other.stop(signal.SIGKILL)

    assert_all_is_done(steady, endpoint, load, ids)
    steady.close()
    await healthy(dsn)


@pytest.mark.parametrize("use_http_11", [False, True])
async def test_an_endpoint_is_killed(
    runtime: Runtime, endpoint: SdkEndpoint, dsn: str, load: list[str], use_http_11: bool
) -> None:
    runtime.register(endpoint.uri, use_http_11=use_http_11)
    ids = begin(runtime, load)
    until(lambda: [line for line in endpoint.executed() if line.endswith(" 1")])

    endpoint.kill()
    time.sleep(0.3)
    endpoint.start()

    assert_all_is_done(runtime, endpoint, load, ids)
    await healthy(dsn)


async def test_an_endpoint_is_stopped_in_good_order(
    runtime: Runtime, endpoint: SdkEndpoint, dsn: str, load: list[str]
) -> None:
    runtime.register(endpoint.uri)
    ids = begin(runtime, load)
    until(lambda: [line for line in endpoint.executed() if line.endswith(" 1")])

    endpoint.stop()
    endpoint.start()

    assert_all_is_done(runtime, endpoint, load, ids)
    await healthy(dsn)


async def test_a_runtime_that_stops_gives_its_leases_back(
    servers: Servers, endpoint: SdkEndpoint, dsn: str, load: list[str]
) -> None:
    first = Runtime.of(servers.serve(dsn, "--roles", "ingress,admin,worker", **NEAR))
    first.register(endpoint.uri)
    ids = begin(first, load)
    waiting = first.send("Greeter/ask", "key")
    name = until(lambda: first.call("Counter/key/kept"))

    began = time.monotonic()
    assert first.server.stop() == 0
    assert time.monotonic() - began < 10
    first.close()
    second = Runtime.of(servers.serve(dsn, "--roles", "ingress,admin,worker", **NEAR))

    assert_all_is_done(second, endpoint, load, ids)
    second.http.post(f"/restate/awakeables/{name}/resolve", json="yes")
    assert second.result(waiting) == "yes"
    second.close()
    await healthy(dsn)


async def healthy(dsn: str) -> None:
    db = await asyncpg.connect(dsn)
    try:
        await assert_healthy(db)
    finally:
        await db.close()
