"""Awakeables: one id, one answer, from wherever it comes."""

import asyncio

import pytest

from acceptance.world import Failed, World

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_an_awakeable_is_resolved_over_http(world: World, key: str) -> None:
    asked = asyncio.ensure_future(world.http.post(f"/Waiting/{key}/one"))
    (name,) = await world.eventually(f"Waiting/{key}/ids")

    resolved = await world.http.post(f"/restate/awakeables/{name}/resolve", json="solve!")
    answer = await asked

    assert resolved.status_code == 202
    assert (answer.status_code, answer.json()) == (200, "solve!")


async def test_an_awakeable_is_rejected_over_http(world: World, key: str) -> None:
    asked = asyncio.ensure_future(world.http.post(f"/Waiting/{key}/one"))
    (name,) = await world.eventually(f"Waiting/{key}/ids")

    headers = {"content-type": "text/plain"}
    await world.http.post(f"/restate/awakeables/{name}/reject", content="my bad", headers=headers)
    answer = await asked

    assert answer.status_code == 500
    assert "my bad" in answer.json()["message"]


async def test_the_first_answer_is_the_one_that_counts(world: World, key: str) -> None:
    id_ = await world.send(f"Waiting/{key}/one")
    (name,) = await world.eventually(f"Waiting/{key}/ids")

    await world.complete_awakeable(name, "first")
    await world.complete_awakeable(name, "second")
    await world.call(f"Waiting/{key}/reject", [name, "third"])

    assert await world.attach(id_) == "first"


async def test_an_awakeable_is_answered_in_sql(world: World, key: str) -> None:
    id_ = await world.send(f"Waiting/{key}/one")
    (name,) = await world.eventually(f"Waiting/{key}/ids")

    said = await world.db.fetchval("select howdah.reject_awakeable($1, 'no')", name)

    assert said == "accepted"
    with pytest.raises(Failed, match="no"):
        await world.attach(id_)
    assert await world.db.fetchval("select howdah.resolve_awakeable($1)", name) == "completed"
