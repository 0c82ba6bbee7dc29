"""Services that howdah executes itself and services of an endpoint call each other.

The folder of each SDK says how those of the endpoint are served: the fixture `_shared_neighbours`.
"""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from acceptance.world import Failed
from sdk.world import HttpWorld
from support.engines import assert_healthy, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

PROGRAM = Path(__file__).with_name("near_services.py")
SIDES = ["Near", "Far"]


@pytest_asyncio.fixture(loop_scope="module")
async def neighbours(_shared_neighbours: HttpWorld) -> AsyncIterator[HttpWorld]:
    """Both kinds of services; after the test, no invariant is violated."""
    yield _shared_neighbours
    await assert_healthy(_shared_neighbours.db)


@pytest.mark.parametrize("side", SIDES)
async def test_calls_go_to_and_fro(neighbours: HttpWorld, key: str, side: str) -> None:
    names = SIDES if side == "Near" else SIDES[::-1]
    expected = [f"{names[n % 2].lower()} {5 - n}" for n in range(6)]

    assert await neighbours.call(f"{side}/{key}/countdown", 5) == expected


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("verb", ["cancel", "kill"])
async def test_an_end_reaches_the_callees_of_the_other_side(
    neighbours: HttpWorld, key: str, side: str, verb: str
) -> None:
    id_ = await neighbours.send(f"{side}/{key}/hold", 3)
    deepest = "select exists (select from howdah.locks where key = $1)"
    await until(neighbours.db, deepest, f"{key}---")

    await (neighbours.cancel(id_) if verb == "cancel" else neighbours.kill(id_))

    with pytest.raises(Failed, match="409"):
        await neighbours.attach(id_)
    other = SIDES[1 - SIDES.index(side)]
    for depth, one in enumerate([side, other, side, other]):
        cancelled = await neighbours.call(f"{one}/{key}{'-' * depth}/was_cancelled")
        assert cancelled is (verb == "cancel")


@pytest.mark.parametrize("side", SIDES)
async def test_an_awakeable_is_resolved_by_the_other_side(
    neighbours: HttpWorld, key: str, side: str
) -> None:
    expected = "from afar" if side == "Near" else "from nearby"

    assert await neighbours.call(f"{side}/{key}/ask") == expected


@pytest.mark.parametrize("side", SIDES)
async def test_a_failure_is_the_same_on_the_other_side(neighbours: HttpWorld, side: str) -> None:
    caught: list[Any] = await neighbours.call(f"{side}Caller/catch", "no tea")

    assert caught == [418, "no tea", {"key": "value"}]


@pytest.mark.parametrize("side", SIDES)
async def test_an_idempotency_key_is_good_for_both_sides(
    neighbours: HttpWorld, key: str, side: str
) -> None:
    other = SIDES[1 - SIDES.index(side)]

    assert await neighbours.call(f"{side}Caller/once", key) == ["1", "1"]
    assert await neighbours.call(f"{other}/{key}/total") == 1


@pytest.mark.parametrize("side", SIDES)
async def test_the_other_side_is_signalled_and_attached_to(
    neighbours: HttpWorld, side: str
) -> None:
    assert await neighbours.call(f"{side}Caller/signal") == "hello"
