"""A kill ends a whole tree of calls, and frees its keys."""

import pytest

from acceptance.world import Failed, World
from support.engines import until

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_kill_of_the_root_frees_the_deepest_key(world: World, key: str) -> None:
    id_ = await world.send(f"Tree/{key}/grow", 3)
    deepest = "select exists (select from howdah.locks where service = 'Tree' and key = $1)"
    await until(world.db, deepest, f"{key}-1")

    await world.kill(id_)

    with pytest.raises(Failed, match="409 killed"):
        await world.attach(id_)
    for depth in (1, 2, 3):
        assert await world.call(f"Tree/{key}-{depth}/is_free") is True
    assert await world.call(f"Tree/{key}/is_free") is True
    left = "select count(*) from howdah.invocations where key like $1 and status <> 'completed'"
    assert await world.db.fetchval(left, f"{key}%") == 0
