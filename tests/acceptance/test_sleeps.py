"""Sleeps: never early, any number of them."""

import asyncio
import random
from time import monotonic

import pytest

from acceptance.world import World

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_sleep_takes_its_time(world: World) -> None:
    began = monotonic()

    await world.call("Steps/nap", 10)

    assert monotonic() - began >= 0.01


async def test_a_thousand_sleeps_side_by_side(world: World) -> None:
    numbers = random.Random(7)
    lengths = [[numbers.randint(10, 50) for _ in range(20)] for _ in range(50)]

    done = await asyncio.gather(*(world.call("Steps/naps", each) for each in lengths))

    assert done == [20] * 50
