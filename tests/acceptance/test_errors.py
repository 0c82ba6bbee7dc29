"""What a failing handler says reaches whoever waits for it."""

import pytest

from acceptance.world import World

pytestmark = pytest.mark.asyncio(loop_scope="session")

WAYS = ["terminally", "through_a_call", "through_a_step"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("times", [1, 3])
async def test_message_code_and_metadata_reach_the_client(
    world: World, key: str, way: str, times: int
) -> None:
    for number in range(times):
        answer = await world.http.post(
            f"/Failing/{key}/{way}",
            json="sad reasons",
            headers={"idempotency-key": f"{key}-{number}"},
        )

        assert answer.status_code == 418
        assert answer.json()["message"] == "sad reasons"
        assert answer.json()["metadata"] == {"key1": "value1", "key2": "value2"}


async def test_a_handler_is_retried_until_it_succeeds(world: World, key: str) -> None:
    assert await world.call(f"Failing/{key}/until_attempt_four") == 4
