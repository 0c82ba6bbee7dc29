"""Scopes: how many run at once, and what is idempotent."""

import asyncio
import json
from typing import Any

import pytest

from acceptance.world import World

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.scoped]

STATUSES = (
    "select status, count(*) as n from restate.sys_invocation where scope = $1 group by status"
)


async def until_statuses(world: World, scope: str, **expected: int) -> None:
    async with asyncio.timeout(20):
        found: dict[str, int] = {}
        while found != expected:
            found = {row["status"]: row["n"] for row in await world.db.fetch(STATUSES, scope)}
            assert found.get("running", 0) <= expected.get("running", 0) + 1
            await asyncio.sleep(0.01)


async def test_no_more_run_at_once_than_the_rule_allows(world: World, key: str) -> None:
    await world.db.execute("select howdah.set_limit_rule($1, 2)", f"{key}/joe")
    wanted: dict[str, Any] = {
        "service": "Proxy", "handler": "take_room", "argument": json.dumps(key), "scope": key,
        "limit_key": "joe", "count": 4,
    }  # fmt: skip

    ids = await world.call("Proxy/send", wanted)

    await until_statuses(world, key, running=2, pending=2)
    await world.allow(f"{key} may go")
    await until_statuses(world, key, running=2, pending=1, completed=1)
    await world.allow(f"{key} may go")
    await until_statuses(world, key, running=2, completed=2)
    await world.allow(f"{key} may go")
    await until_statuses(world, key, running=1, completed=3)
    await world.allow(f"{key} may go")
    assert [await world.attach(id_) for id_ in ids] == [[key, "joe"]] * 4
    assert await world.executed(f"{key} most") == 2
    assert await world.db.fetchval("select howdah.delete_limit_rule($1)", f"{key}/joe") is True


async def test_the_same_idempotency_key_in_two_scopes_is_two_invocations(
    world: World, key: str
) -> None:
    wanted: dict[str, Any] = {
        "service": "Proxy", "handler": "upper", "argument": "x", "idempotency_key": key,
    }  # fmt: skip

    ids = [
        (await world.call("Proxy/send", {**wanted, "scope": scope}))[0]
        for scope in ("a", "b", "a", None)
    ]

    assert ids[0] == ids[2]
    assert len(set(ids)) == 3
    assert await world.call("Proxy/call", {**wanted, "scope": "b"}) == "X"
