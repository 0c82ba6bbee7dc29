"""Code that does something else when it is repeated ends, instead of waiting or going on."""

import pytest

from acceptance.world import Failed, World

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.mark.replaying
@pytest.mark.parametrize(
    "handler", ["sleep_or_call", "another_handler", "another_target", "another_key"]
)
async def test_a_handler_that_changed_its_mind_fails(world: World, key: str, handler: str) -> None:
    await world.call(f"Counter/{key}-counter/add", 1)

    # It may be executed once. That its first attempt was suspended does not count.
    with pytest.raises(Failed, match=world.mismatch):
        await world.call(f"Changing/{key}/{handler}")

    assert await world.call(f"Counter/{key}-counter/total") == 1
