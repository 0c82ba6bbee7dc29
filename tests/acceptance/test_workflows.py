"""A workflow runs once for each key; the handlers beside it read its state and unblock it."""

import asyncio

import pytest

from acceptance.world import Failed, World

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_workflow_is_submitted_seen_unblocked_and_attached_to(
    world: World, key: str
) -> None:
    sent = await world.http.post(f"/Block/{key}/run/send", json="Till")
    seen = await world.eventually(f"Block/{key}/state")
    early = await world.http.get(f"/restate/workflow/Block/{key}/output")
    headers = {"idempotency-key": "once"}
    unblocked = await world.http.post(f"/Block/{key}/unblock", json="Bill", headers=headers)
    attached = await world.http.get(f"/restate/workflow/Block/{key}/attach")
    output = await world.http.get(f"/restate/workflow/Block/{key}/output")

    assert (sent.status_code, sent.json()["status"]) == (202, "Accepted")
    assert seen == "waits for Till"
    assert early.status_code == 470
    assert unblocked.status_code == 200
    assert (attached.status_code, attached.json()) == (200, "Till Bill")
    assert (output.status_code, output.json()) == (200, "Till Bill")
    assert await world.call(f"Block/{key}/state") == "done"


async def test_a_second_submission_finds_the_first_run(world: World, key: str) -> None:
    first = await world.http.post(f"/Block/{key}/run/send", json="Till")
    again = await world.http.post(f"/Block/{key}/run/send", json="Anna")
    await world.call(f"Block/{key}/unblock", "Bill")
    attached = await world.http.get(f"/restate/workflow/Block/{key}/attach")
    late = await world.http.post(f"/Block/{key}/run/send", json="Anna")

    assert again.json()["status"] == late.json()["status"] == "PreviouslyAccepted"
    assert first.json()["invocationId"] == again.json()["invocationId"]
    assert first.json()["invocationId"] == late.json()["invocationId"]
    assert attached.json() == "Till Bill"


async def test_many_submissions_at_once_are_one_run(world: World, key: str) -> None:
    sends = [world.http.post(f"/Block/{key}/run/send", json=f"{n}") for n in range(20)]
    answers = await asyncio.gather(*sends)
    await world.call(f"Block/{key}/unblock", "Bill")
    await world.http.get(f"/restate/workflow/Block/{key}/attach")

    assert len({answer.json()["invocationId"] for answer in answers}) == 1
    words = sorted(answer.json()["status"] for answer in answers)
    assert words == ["Accepted"] + ["PreviouslyAccepted"] * 19


async def test_everybody_waits_for_the_same_promise(world: World, key: str) -> None:
    run = await world.send(f"Block/{key}/run", "Till")
    beside = [await world.send(f"Block/{key}/wait_beside") for _ in range(5)]
    assert await world.call(f"Block/{key}/peek") is None

    await world.call(f"Block/{key}/unblock", "Bill")

    assert await world.attach(run) == "Till Bill"
    assert [await world.attach(id_) for id_ in beside] == ["Bill"] * 5
    assert await world.call(f"Block/{key}/peek") == "Bill"


async def test_a_promise_is_completed_once(world: World, key: str) -> None:
    answers = await asyncio.gather(
        *(world.call(f"Block/{key}/unblock", f"{n}") for n in range(5)), return_exceptions=True
    )
    found = await world.call(f"Block/{key}/peek")

    failures = [str(answer) for answer in answers if isinstance(answer, Failed)]
    assert failures == ["409 promise was already completed"] * 4
    assert answers.index(None) == int(found)
    assert await world.call(f"Block/{key}/run", "Till") == f"Till {found}"


async def test_a_rejected_promise_fails_whoever_awaits_it(world: World, key: str) -> None:
    id_ = await world.send(f"Block/{key}/run", "Till")

    await world.call(f"Block/{key}/refuse", "not today")

    with pytest.raises(Failed, match="not today"):
        await world.attach(id_)


async def test_a_workflow_that_runs_cannot_be_called_again(world: World, key: str) -> None:
    called = asyncio.ensure_future(world.call("Proxy/call_workflow", key))
    await world.eventually(f"Block/{key}/state")

    again = await world.call("Proxy/call_workflow", key)
    await world.call(f"Block/{key}/unblock", "Bill")

    assert again == "409 the workflow method was already invoked"
    assert await called == "called Bill"


async def test_a_run_executes_its_code_before_the_promise_once_for_each_attempt(
    world: World, key: str
) -> None:
    id_ = await world.send(f"Block/{key}/run", "Till")
    await world.eventually(f"Block/{key}/state")
    await world.call(f"Block/{key}/unblock", "Bill")
    await world.attach(id_)

    attempts = await world.db.fetchval("select attempts from howdah.invocations where id = $1", id_)
    assert await world.executed(f"{key} run") == attempts
