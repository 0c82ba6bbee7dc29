"""A cancellation is seen where the handler waits, and reaches what it called."""

import asyncio
from uuid import UUID

import pytest

from acceptance.world import Failed, World

pytestmark = pytest.mark.asyncio(loop_scope="session")

OPERATIONS = ["call", "sleep", "awakeable"]


async def blocked_runner(world: World, key: str, operation: str) -> UUID:
    """A runner whose callee holds the lock `key` and waits for what never comes."""
    id_ = await world.send(f"Runner/{key}/start", operation)
    type_ = {"call": "call", "sleep": "sleep", "awakeable": "input"}[operation]
    lock = "select id from howdah.invocations where service = 'Lock' and key = $1"
    async with asyncio.timeout(20):
        while not (callee := await world.db.fetchval(lock, key)):
            await asyncio.sleep(0.01)
    await world.until_waiting(callee, type_)
    return id_


async def assert_cancelled(world: World, key: str, id_: UUID) -> None:
    with pytest.raises(Failed, match=r"409 (c|C)ancelled"):
        await world.attach(id_)
    assert await world.call(f"Runner/{key}/verify") == 409
    assert await world.call(f"Lock/{key}/is_unlocked") is True


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_a_cancellation_by_an_operator_unlocks_the_callees(
    world: World, key: str, operation: str
) -> None:
    id_ = await blocked_runner(world, key, operation)

    await asyncio.gather(*(world.cancel(id_) for _ in range(3)))

    await assert_cancelled(world, key, id_)
    if operation == "call":
        assert await world.call(f"Lock/{key}-deeper/is_unlocked") is True


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_a_cancellation_by_a_handler_unlocks_the_callees(
    world: World, key: str, operation: str
) -> None:
    id_ = await blocked_runner(world, key, operation)

    await world.call(f"Runner/{key}-other/cancel", str(id_))

    await assert_cancelled(world, key, id_)


async def test_a_cancelled_handler_can_undo_what_it_did(world: World, key: str) -> None:
    id_ = await world.send(f"Runner/{key}/compensate")
    await world.until_waiting(id_, "sleep")

    await world.cancel(id_)

    assert await world.attach(id_) == ["done", "undone", "1"]


async def test_what_waits_for_its_key_is_cancelled_at_once(world: World, key: str) -> None:
    holder = await world.send(f"Lock/{key}/hold", "awakeable")
    waits = await world.send(f"Lock/{key}/hold", "awakeable")

    await world.cancel(waits)

    with pytest.raises(Failed, match="409 canceled"):
        await world.attach(waits)
    await world.cancel(holder)
    with pytest.raises(Failed, match=r"409 (c|C)ancelled"):
        await world.attach(holder)
    assert await world.call(f"Lock/{key}/is_unlocked") is True


async def test_a_handler_cancels_what_waits_for_its_key(world: World, key: str) -> None:
    holder = await world.send(f"Lock/{key}/hold", "awakeable")
    waits = await world.send(f"Lock/{key}/hold", "awakeable")

    await world.call(f"Runner/{key}/cancel", str(waits))

    with pytest.raises(Failed, match="409"):
        await world.attach(waits)
    await world.cancel(holder)
    assert await world.call(f"Lock/{key}/is_unlocked") is True
