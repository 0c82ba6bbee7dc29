"""Calls and sends of one handler reach a key in the order in which they were made."""

import pytest

from acceptance.world import World

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.mark.parametrize(
    "verbs", [["send", "call", "call"], ["call", "send", "call"], ["send", "send", "call"]]
)
async def test_a_key_is_served_in_the_order_of_issue(
    world: World, key: str, verbs: list[str]
) -> None:
    await world.call("Ordering/issue", {"key": key, "verbs": verbs})

    assert await world.call(f"Names/{key}/listed") == ["0", "1", "2"]
