"""The version of the service protocol with which official SDKs are driven."""

import pytest

from sdk.world import HttpWorld

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_the_sdk_is_driven_with_the_version_of_the_setting(
    world: HttpWorld, key: str
) -> None:
    id_ = await world.send(f"Counter/{key}/add", 1)
    await world.attach(id_)

    query = "select pinned_service_protocol_version from restate.sys_invocation where id_uuid = $1"
    expected = 7 if world.mode == "version 7" else 6
    assert await world.db.fetchval(query, id_) == expected
