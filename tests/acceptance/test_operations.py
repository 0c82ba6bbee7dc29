"""What operators do: look at a journal, repair and resume, start again."""

import pytest

from acceptance.world import Failed, World

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_completed_journal_says_what_happened_and_in_which_order(world: World) -> None:
    id_ = await world.send("Steps/nap", 1)
    await world.attach(id_)

    entries = await world.db.fetch(
        "select index, type from howdah.journal where invocation_id = $1 order by index", id_
    )

    assert await world.status(id_) == "completed"
    assert [tuple(entry) for entry in entries] == [
        (0, "input"), (1, "sleep"), (2, "sleep completed"), (3, "output"),
    ]  # fmt: skip


async def test_what_failed_too_often_pauses_and_is_resumed_after_a_repair(
    world: World, key: str
) -> None:
    await world.forbid("repaired")
    id_ = await world.send(f"Failing/{key}/until_repaired")
    await world.until_status(id_, "paused")

    await world.allow("repaired")
    await world.resume(id_)

    assert await world.attach(id_) == "repaired"
    assert await world.status(id_) == "completed"


@pytest.mark.parametrize(("from_entry", "drawn"), [(0, "draw 2"), (1, "draw 1")])
async def test_a_failed_invocation_is_started_again_with_or_without_its_steps(
    world: World, key: str, from_entry: int, drawn: str
) -> None:
    id_ = await world.send(f"Failing/{key}/run_then_fail", "no")
    with pytest.raises(Failed, match="no"):
        await world.attach(id_)

    await world.allow(f"{key} may succeed")
    new_id = await world.restart_as_new(id_, from_entry)

    assert new_id != id_
    assert await world.attach(new_id) == drawn
    assert await world.status(id_) == "completed"
