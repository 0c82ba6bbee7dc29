"""Waiting for several things at once: who is first is decided once, by the journal."""

from uuid import UUID

import pytest

from acceptance.world import Failed, World

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_sleep_wins_over_an_awakeable_that_never_comes(world: World, key: str) -> None:
    assert await world.call(f"Waiting/{key}/awakeable_or_sleep") == "sleep"


async def test_a_timeout_is_an_error_of_the_request(world: World, key: str) -> None:
    answer = await world.http.post(f"/Waiting/{key}/awakeable_or_timeout")

    assert answer.status_code == 408
    assert "await-timeout" in answer.json()["message"]


async def test_an_awakeable_in_time_wins_over_the_timeout(world: World, key: str) -> None:
    id_ = await world.send(f"Waiting/{key}/first_of_awakeables_and_steps")
    made = await world.eventually(f"Waiting/{key}/ids")

    await world.call(f"Waiting/{key}/reject", [made[2], "no"])
    await world.call(f"Waiting/{key}/resolve", [made[1], "second"])

    assert await world.attach(id_) == "second"


async def with_signals(world: World, handler: str, values: dict[str, object]) -> UUID:
    id_ = await world.send(f"Signals/{handler}")
    for name, value in values.items():
        await world.signal(id_, name, value)
    return id_


async def test_the_first_success_is_awaited_past_failures(world: World) -> None:
    values: dict[str, object] = {
        "sig0": ValueError("no"), "sig2": ValueError("no"), "sig1": "success1"
    }  # fmt: skip
    id_ = await with_signals(world, "first_success", values)

    assert await world.attach(id_) == "success1"


async def test_nothing_but_failures_is_a_failure(world: World) -> None:
    values: dict[str, object] = {f"sig{n}": ValueError(f"no {n}") for n in (2, 0, 1)}
    id_ = await with_signals(world, "first_success", values)

    with pytest.raises(Failed, match="no 1"):
        await world.attach(id_)


async def test_all_successes_come_in_the_order_asked_for(world: World) -> None:
    values: dict[str, object] = {f"sig{n}": f"val{n}" for n in (1, 2, 0)}
    id_ = await with_signals(world, "all_successes", values)

    assert await world.attach(id_) == "val0|val1|val2"


async def test_one_failure_ends_the_wait_for_all(world: World) -> None:
    id_ = await with_signals(world, "all_successes", {"sig1": ValueError("no")})

    with pytest.raises(Failed, match="no"):
        await world.attach(id_)


async def test_all_are_told_failures_included(world: World) -> None:
    values: dict[str, object] = {"sig0": "val0", "sig1": ValueError("err1"), "sig2": "val2"}
    id_ = await with_signals(world, "all_told", values)

    assert await world.attach(id_) == "ok:val0|err:err1|ok:val2"


async def test_the_first_to_be_done_is_the_only_one_there_is(world: World) -> None:
    id_ = await with_signals(world, "first_done", {"sig2": "val2"})

    assert await world.attach(id_) == "val2"


async def test_a_step_wins_over_a_signal_that_never_comes(world: World) -> None:
    assert await world.call("Signals/step_or_signal") == "runval"


async def test_a_signal_wins_over_a_step_that_failed(world: World) -> None:
    id_ = await with_signals(world, "failed_step_or_signal", {"sig0": "sigval"})

    assert await world.attach(id_) == "sigval"


async def test_a_step_and_a_signal_are_awaited_together(world: World) -> None:
    id_ = await with_signals(world, "step_and_signal", {"sig0": "sigval"})

    assert await world.attach(id_) == "runval|sigval"


async def test_steps_and_a_signal_are_all_told(world: World) -> None:
    id_ = await with_signals(world, "steps_and_signal_told", {"sig0": "sigval"})

    assert await world.attach(id_) == "ok:runval|ok:sigval|err:fail"


async def test_the_id_of_a_send_is_good_for_signals_and_for_attaching_at_once(
    world: World,
) -> None:
    assert await world.call("Signals/send_signal_and_attach") == "hello"
