"""Signals by name: each is received once, in the order of arrival."""

from uuid import uuid4

import pytest

from acceptance.world import Failed, World

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_handler_resolves_the_signal_of_another(world: World) -> None:
    id_ = await world.send("Signals/receive", 1)

    await world.call("Signals/resolve_other", [str(id_), "word", "hello"])

    assert await world.attach(id_) == ["hello"]


async def test_a_handler_rejects_the_signal_of_another(world: World) -> None:
    id_ = await world.send("Signals/receive", 1)

    await world.call("Signals/reject_other", [str(id_), "word", "for a reason"])

    with pytest.raises(Failed, match="for a reason"):
        await world.attach(id_)


async def test_signals_of_one_name_are_received_in_the_order_of_their_arrival(
    world: World,
) -> None:
    id_ = await world.send("Signals/receive", 5)

    for number in range(7):
        await world.signal(id_, "word", number)
        await world.signal(id_, "other", number)

    assert await world.attach(id_) == ["0", "1", "2", "3", "4"]


async def test_a_signal_to_nobody_is_dropped(world: World) -> None:
    id_ = await world.send("Signals/receive", 0)
    await world.attach(id_)

    await world.signal(id_, "word", "too late")
    await world.signal(uuid4(), "word", "to nobody")
    await world.call("Signals/resolve_other", [str(id_), "word", "too late"])

    assert (
        await world.db.fetchval("select count(*) from howdah_core.mailbox where id = $1", id_) == 0
    )
