"""What was accepted goes on, whatever is killed: the endpoint, or howdah."""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from time import monotonic
from typing import Any
from uuid import UUID

import pytest

from sdk.world import HttpWorld, running_howdah
from support.engines import BOUND_SECONDS, assert_healthy
from support.sdk_processes import SdkEndpoint

SETTINGS: dict[str, dict[str, Any]] = {
    "bidirectional": {},
    "request response": {"use_http_11": True},
    "suspending": {"HOWDAH_INACTIVITY_TIMEOUT": "0"},
}
WAYS = [
    (setting, how) for setting in ("bidirectional", "suspending") for how in ("killed", "stopped")
]
NAP_SECONDS = 2.0
STEP_SECONDS = 1.5


@pytest.fixture
def endpoint(tmp_path: Path) -> Iterator[SdkEndpoint]:
    """A process that serves `remote.sdk_program`."""
    started = SdkEndpoint(tmp_path)
    yield started
    started.stop()


def howdah(
    dsn: str, tmp_path: Path, setting: dict[str, Any]
) -> AbstractAsyncContextManager[HttpWorld]:
    environment = {name: value for name, value in setting.items() if name.isupper()}
    return running_howdah(dsn, "", tmp_path, HOWDAH_LEASE="2s", **environment)


async def register(world: HttpWorld, endpoint: SdkEndpoint, setting: dict[str, Any]) -> None:
    await world.register(endpoint.uri, use_http_11=setting.get("use_http_11", False))


async def busy(world: HttpWorld, endpoint: SdkEndpoint) -> tuple[UUID, UUID]:
    """One invocation in the middle of a sleep, and one in the middle of a step."""
    nap = await world.send("Greeter/nap", NAP_SECONDS)
    step = await world.send("Greeter/slow_step", {"name": "it", "seconds": STEP_SECONDS})
    await world.until_waiting(nap, "sleep")
    async with asyncio.timeout(BOUND_SECONDS):
        while "it begins" not in endpoint.executed():
            await asyncio.sleep(0.01)
    return nap, step


async def assert_completed(
    world: HttpWorld, endpoint: SdkEndpoint, nap: UUID, step: UUID, began: float, times: set[int]
) -> None:
    assert await world.attach(nap) == "awake"
    assert monotonic() - began >= NAP_SECONDS
    assert await world.attach(step) == "it ends"
    assert endpoint.executed().count("it begins") in times
    types = await world.db.fetch(
        "select type from howdah.journal where invocation_id = $1 order by index", step
    )
    assert [row["type"] for row in types] == ["input", "run", "run completed", "output"]
    await assert_healthy(world.db)


@pytest.mark.parametrize(("name", "how"), [*WAYS, ("request response", "killed")])
async def test_invocations_survive_their_endpoint(
    dsn: str, tmp_path: Path, endpoint: SdkEndpoint, name: str, how: str
) -> None:
    setting = SETTINGS[name]
    async with howdah(dsn, tmp_path, setting) as world:
        await register(world, endpoint, setting)
        began = monotonic()
        nap, step = await busy(world, endpoint)

        await asyncio.to_thread(endpoint.kill if how == "killed" else endpoint.stop)
        await asyncio.to_thread(endpoint.start)

        # One that is stopped ends its steps if they are short.
        times = {2} if how == "killed" else {1, 2}
        await assert_completed(world, endpoint, nap, step, began, times)


@pytest.mark.parametrize(("name", "how"), WAYS)
async def test_invocations_survive_howdah(
    dsn: str, tmp_path: Path, endpoint: SdkEndpoint, name: str, how: str
) -> None:
    setting = SETTINGS[name]
    headers = {"idempotency-key": "once"}
    async with howdah(dsn, tmp_path, setting) as world:
        await register(world, endpoint, setting)
        first = await world.http.post("/Counter/k/add", json=1, headers=headers)
        began = monotonic()
        nap, step = await busy(world, endpoint)
        number = signal.SIGKILL if how == "killed" else signal.SIGTERM
        await asyncio.to_thread(world.server.stop, number)
    async with howdah(dsn, tmp_path, setting) as world:
        again = await world.http.post("/Counter/k/add", json=1, headers=headers)
        second = await world.http.post("/Counter/k/add", json=2)

        assert (first.json(), again.json(), second.json()) == (1, 1, 3)
        times = {2} if how == "killed" else {1, 2}
        await assert_completed(world, endpoint, nap, step, began, times)
