"""State of objects."""

import asyncio

import pytest

from acceptance.world import Failed, World
from support.engines import until

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_state_is_kept_from_one_invocation_to_the_next(world: World, key: str) -> None:
    assert await world.call(f"Counter/{key}/add", 1) == {"old": 0, "new": 1}
    assert await world.call(f"Counter/{key}/add", 2) == {"old": 1, "new": 3}


async def test_sends_add_up(world: World, key: str) -> None:
    wanted = {
        "service": "Counter", "key": key, "handler": "add", "argument": "1", "count": 3
    }  # fmt: skip

    await world.call("Proxy/send", wanted)

    await world.eventually(f"Counter/{key}/total", until=lambda total: total == 3)


async def test_clearing_all_of_a_key_leaves_other_keys_alone(world: World, key: str) -> None:
    await world.call(f"Names/{key}/put", {"a": "1", "b": "2"})
    await world.call(f"Names/{key}-other/put", {"a": "3"})

    assert await world.call(f"Names/{key}/clear_all") == ["a", "b"]

    assert await world.call(f"Names/{key}/everything") == {}
    assert await world.call(f"Names/{key}-other/everything") == {"a": "3"}


async def test_state_that_was_set_before_a_failure_is_kept(world: World, key: str) -> None:
    with pytest.raises(Failed, match="after all"):
        await world.call(f"Counter/{key}/add_then_fail", "after all")

    assert await world.call(f"Counter/{key}/total") == 1


async def test_state_is_replaced_from_outside(world: World, key: str) -> None:
    await world.call(f"Names/{key}/put", {"a": "1", "b": "2"})

    query = "select howdah.set_state('Names', $1, $2)"
    id_ = await world.db.fetchval(query, key, '{"a": "patched", "c": "new"}')
    await until(world.db, "select status = 'completed' from howdah.invocations where id = $1", id_)

    assert await world.call(f"Names/{key}/everything") == {"a": "patched", "c": "new"}


async def test_many_large_states_side_by_side(world: World, key: str) -> None:
    text = "x" * 65_536
    keys = [f"{key}-{number}" for number in range(20)]

    await asyncio.gather(*(world.call(f"Names/{one}/put", {"a": text}) for one in keys))
    found = await asyncio.gather(*(world.call(f"Names/{one}/everything") for one in keys))

    assert found == [{"a": text}] * 20
