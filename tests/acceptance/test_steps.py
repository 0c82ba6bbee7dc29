"""Steps: recorded once, retried by their own policy."""

import asyncio

import pytest

from acceptance.world import World

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.mark.replaying(after="step")
async def test_at_most_one_step_is_executed_by_an_attempt(world: World) -> None:
    id_ = await world.send("Steps/three_local")

    # The attempt that returned executed none of them.
    assert await world.attach(id_) == 0
    assert await world.executed(str(id_)) == 3
    attempts = await world.db.fetchval("select attempts from howdah.invocations where id = $1", id_)
    assert attempts == 4


async def test_a_step_that_is_recorded_is_not_executed_again(world: World) -> None:
    id_ = await world.send("Steps/three_local")
    await world.attach(id_)

    assert await world.executed(str(id_)) == 3


async def test_a_step_without_a_limit_is_retried_until_it_succeeds(world: World) -> None:
    assert await world.call("Steps/succeeds_at", 3) == 3


@pytest.mark.parametrize("times", [1, 3])
async def test_a_step_with_a_limit_fails_for_good_when_it_is_used_up(
    world: World, times: int
) -> None:
    answer = await world.call("Steps/fails_after", times)

    assert answer.startswith(f"{times}: ")
    assert "broken" in answer


async def test_many_wide_results_side_by_side(world: World) -> None:
    size = 64 * 1024

    totals = await asyncio.gather(*(world.call("Steps/wide", size) for _ in range(10)))

    assert totals == [10 * size] * 10
