"""Calls from handler to handler, and what idempotency keys make of them."""

import asyncio
import json
from time import monotonic

import pytest

from acceptance.world import World

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_call_passes_bytes_through(world: World) -> None:
    wanted = {"service": "Proxy", "handler": "upper", "argument": '"ping"'}

    assert await world.call("Proxy/call", wanted) == '"PING"'


async def test_a_send_arrives(world: World, key: str) -> None:
    wanted = {"service": "Counter", "key": key, "handler": "add", "argument": "1"}

    await world.call("Proxy/send", wanted)

    assert await world.eventually(f"Counter/{key}/total") == 1


async def test_sends_with_one_idempotency_key_are_one(world: World, key: str) -> None:
    wanted = {
        "service": "Counter", "key": key, "handler": "add", "argument": "1",
        "idempotency_key": "a", "count": 3,
    }  # fmt: skip

    ids = [id_ for _ in range(2) for id_ in await world.call("Proxy/send", wanted)]
    attached = await world.http.get(f"/restate/invocation/Counter/{key}/add/a/attach")
    output = await world.http.get(f"/restate/invocation/Counter/{key}/add/a/output")

    assert len(set(ids)) == 1
    assert attached.json() == output.json() == {"old": 0, "new": 1}
    assert await world.call(f"Counter/{key}/total") == 1


async def test_calls_with_one_idempotency_key_are_one_however_they_come(
    world: World, key: str
) -> None:
    wanted = {
        "service": "Counter", "key": key, "handler": "add", "argument": "1",
        "idempotency_key": "a",
    }  # fmt: skip

    called = await asyncio.gather(*(world.call("Proxy/call", wanted) for _ in range(4)))
    posted = await world.http.post(f"/Counter/{key}/add", json=1, headers={"idempotency-key": "a"})
    output = await world.http.get(f"/restate/invocation/Counter/{key}/add/a/output")

    assert [json.loads(answer) for answer in called] == [{"old": 0, "new": 1}] * 4
    assert posted.json() == output.json() == {"old": 0, "new": 1}
    assert await world.executed(key) == await world.call(f"Counter/{key}/total") == 1


async def test_delays_are_waited_for_outside_of_the_key(world: World, key: str) -> None:
    began = monotonic()
    wanted = {
        "service": "Counter", "key": key, "handler": "add", "argument": "1", "count": 10,
        "delay_ms": 500,
    }  # fmt: skip

    await world.call("Proxy/send", wanted)
    at_once = await world.call(f"Counter/{key}/add", 100)
    await world.eventually(f"Counter/{key}/total", until=lambda total: total == 110)

    assert at_once == {"old": 0, "new": 100}
    # One after the other they would take ten times the delay.
    assert 0.5 <= monotonic() - began < 4
