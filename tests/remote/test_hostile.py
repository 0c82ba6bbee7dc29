"""An endpoint that lies, hangs, trickles, resets and floods harms its own invocations only."""

import os
from collections.abc import AsyncIterator
from pathlib import Path
from statistics import median
from time import monotonic

import pytest
import pytest_asyncio
from pytest_postgresql.executors import NoopExecutor

from howdah.remote.attempt import UNCOMMITTED_BYTES_MAX
from howdah.remote.http2 import STREAM_WINDOW
from remote.hostile import ATTEMPTS, FLOODS, LIES, WAYS, Hostile
from sdk.world import HttpWorld, running_howdah
from support import postgres
from support.endpoints import serving
from support.engines import assert_healthy
from support.sdk_processes import SdkEndpoint

pytestmark = pytest.mark.asyncio(loop_scope="module")

MEGABYTE = 1 << 20
PIECE_BYTES = 32 << 10  # what a flood says at once, about
ON_DISK = "select coalesce(sum(length(name)), 0) from howdah_core.journal where id = $1"
CODES = {name: code for name, (code, _) in [*LIES.items(), *WAYS.items()]}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(
    postgres_server: postgres.Server,
    template_database: NoopExecutor,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[HttpWorld]:
    """A howdah, the hostile endpoint, and one that behaves."""
    folder: Path = tmp_path_factory.mktemp("hostile")
    endpoint = SdkEndpoint(folder)
    try:
        async with (
            postgres.database(postgres_server, template_database.template_dbname) as dsn,
            serving(Hostile) as server,
            running_howdah(dsn, "hostile", folder, HOWDAH_JOURNAL_BYTES_MAX="32MiB") as world,
        ):
            await world.register(endpoint.uri)
            await world.register(server.uri)
            yield world
    finally:
        endpoint.stop()


@pytest.mark.parametrize("name", CODES)
async def test_what_an_endpoint_does_wrong_is_a_failure_of_its_attempt(
    world: HttpWorld, name: str
) -> None:
    id_ = await world.send(f"Hostile/{name}")

    await world.until_status(id_, "paused")

    failures = await world.db.fetch(
        "select error_code from howdah.failures where invocation_id = $1 order by failed_at", id_
    )
    codes = [failure["error_code"] for failure in failures]
    assert len(codes) == ATTEMPTS
    # What it did not take back is in the journal: to do it again is a mistake of its own.
    assert codes in ([CODES[name]] * ATTEMPTS, [CODES[name], "RT0012"])
    assert await world.call("Greeter/greet", "Ann") == "Hello Ann!"
    await assert_healthy(world.db)


async def test_others_stay_fast_while_it_floods_and_hangs(world: HttpWorld) -> None:
    quiet = await seconds_of_calls(world, 1)
    names = [*FLOODS, "hangs", "trickles"]
    sent = [await world.send(f"Hostile/{name}") for name in names for _ in range(3)]

    took = await seconds_of_calls(world, 5)
    for id_ in sent:
        await world.kill(id_)

    # On a machine that others keep busy, calls take longer with nothing else here, too.
    assert max(took) < max(2, 30 * median(quiet)), took
    assert median(took) < max(0.3, 15 * median(quiet)), (took, quiet)
    await assert_healthy(world.db)


async def seconds_of_calls(world: HttpWorld, seconds: float) -> list[float]:
    """Call one that behaves again and again; how long each call took."""
    took: list[float] = []
    began = monotonic()
    while monotonic() - began < seconds:
        before = monotonic()
        assert await world.call("Greeter/greet", "Ann") == "Hello Ann!"
        took.append(monotonic() - before)
    return took


async def test_a_flood_is_slowed_to_what_postgres_commits(world: HttpWorld) -> None:
    flood = await world.send("Hostile/floods_with_values")
    ahead: list[int] = []

    while await world.db.fetchval(ON_DISK, flood) < 20 * MEGABYTE:
        said = Hostile.said[str(flood)]
        ahead.append(said - await world.db.fetchval(ON_DISK, flood))
        assert await world.call("Greeter/greet", "Ann") == "Hello Ann!"
    await world.kill(flood)

    assert max(ahead) < UNCOMMITTED_BYTES_MAX + STREAM_WINDOW + PIECE_BYTES, ahead
    # It was ahead, or this test tells nothing.
    assert max(ahead) > STREAM_WINDOW // 2, ahead
    await assert_healthy(world.db)


async def test_a_flood_ends_where_its_journal_is_full(world: HttpWorld) -> None:
    flood = await world.send("Hostile/floods_with_values")

    await world.until_status(flood, "paused")

    failures = await world.db.fetch(
        "select error_code, message from howdah.failures where invocation_id = $1", flood
    )
    assert {failure["error_code"] for failure in failures} <= {"RT0003", "RT0012"}
    assert "HOWDAH_JOURNAL_BYTES_MAX" in failures[0]["message"]
    assert 31 * MEGABYTE < await world.db.fetchval(ON_DISK, flood) < 33 * MEGABYTE
    await assert_healthy(world.db)


async def test_memory_stays_bounded_while_it_floods(world: HttpWorld) -> None:
    before = resident_bytes(world.server.process.pid)
    sent = [await world.send(f"Hostile/{name}") for name in FLOODS for _ in range(8)]
    taken: list[int] = []

    began = monotonic()
    while monotonic() - began < 5:
        assert await world.call("Greeter/greet", "Ann") == "Hello Ann!"
        taken.append(resident_bytes(world.server.process.pid) - before)
    for id_ in sent:
        await world.kill(id_)

    assert max(taken) < 200 * MEGABYTE


def resident_bytes(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
