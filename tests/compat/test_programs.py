"""Programs written for the SDK run when only their import is changed: `programs/`, each checked.

Every test runs twice: with handlers that stay in memory, and with handlers that are suspended
whenever they wait, so that everything is replayed.
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from typing import Any, TypeAlias

import asyncpg
import pytest

from compat.programs import (
    agent,
    chain,
    counter,
    cron,
    fan_out,
    greeter,
    mixed,
    payments,
    resources,
    saga,
    shapes,
    signup,
    state_machine,
    timers,
)
from howdah.restate import Context, InvocationRetryPolicy, ObjectContext, Service, VirtualObject
from howdah.service import AnyService
from howdah.worker.engine import Engine
from support.engines import (
    BOUND_SECONDS,
    assert_healthy,
    call,
    result,
    running_engine,
    send,
    submission,
    until,
)

Database: TypeAlias = "asyncpg.Connection[Any]"
Run: TypeAlias = Callable[..., AbstractAsyncContextManager[Engine]]


@pytest.fixture(params=[timedelta(minutes=1), timedelta(0)], ids=["stays", "suspends"])
def run(request: pytest.FixtureRequest, dsn: str, db: Database) -> Run:
    """Runs services in this process; at the end every invariant holds."""

    @asynccontextmanager
    async def running(*services: AnyService) -> AsyncIterator[Engine]:
        async with running_engine(dsn, services, inactivity_timeout=request.param) as engine:
            yield engine
        await assert_healthy(db)

    return running


async def test_a_service_greets(run: Run) -> None:
    async with run(greeter.greeter) as engine:
        greeting = await result(engine, "Greeter/greet", {"name": "Ann"})
        friends = {"name": "Ann", "friends": ["Bob", "Cid"]}
        introduced = await result(engine, "Greeter/introduce", friends)
        shouted = await result(engine, "Greeter/forward", "quiet")

    assert greeting["message"] == "Hello Ann!"
    assert 1 <= greeting["lucky"] <= 6
    assert introduced == ["Hello Bob!", "Hello Cid!"]
    assert shouted == "QUIET"


async def test_a_request_tells_what_it_is(run: Run) -> None:
    async with run(greeter.greeter) as engine:
        asked = submission(engine, "Greeter/identity", idempotency_key="only")
        asked.headers.append(("x-who", "a tester"))
        accepted = await engine.accept(asked)
        assert accepted.outcome is not None
        outcome = await accepted.outcome

    told = json.loads(outcome.value)
    assert told["id"] == str(accepted.id)
    assert (told["header"], told["key"], told["scope"]) == ("a tester", "only", None)
    assert (told["attempt_headers"], told["is_over"]) == ({}, False)


async def test_failures_end_or_are_retried_as_they_say(run: Run, db: Database) -> None:
    greeter.tries.clear()
    async with run(greeter.greeter) as engine:
        assert await result(engine, "Greeter/stumbles", "here") == 3
        refused = await call(engine, "Greeter/refuses", "Ann")
        wrapped = await call(engine, "Greeter/wraps_a_refusal", "Bob")
        broken = await result(engine, "Greeter/gives_up")

    assert (refused.code, refused.message) == (403, "no greeting for Ann")
    assert refused.metadata == {"name": "Ann"}
    assert (wrapped.code, wrapped.message) == (403, "no greeting for Bob")
    assert broken[0] == 500
    assert "out of order" in broken[1]


async def test_annotations_are_read_as_the_sdk_reads_them(run: Run, db: Database) -> None:
    async with run(shapes.shapes, shapes.kept) as engine:
        commands = [{"type": "add", "value": 1}, {"type": "say", "text": "hi"}]
        assert await result(engine, "Shapes/interpret", {"commands": commands}) == [2, "hi"]
        assert await result(engine, "Shapes/of_a_list", [{"name": "a"}]) == ["dict"]
        assert await result(engine, "Shapes/of_one", {"name": "a"}) == "Item"
        assert await result(engine, "Shapes/of_one") == "NoneType"
        assert await result(engine, "Shapes/move", {"x": 1, "y": 2}) == {"x": 2, "y": 1}
        order = await result(engine, "Shapes/place", {"id": "7", "items": ["a"]})
        assert order == {"id": "7", "items": ["a", "stored"]}
        assert await result(engine, "Shapes/anything", 5) == "int 5"
        assert await result(engine, "Shapes/anything") == "NoneType None"
        assert await result(engine, "Shapes/wrong_about_its_step") == "a text"
        outcome = await call(engine, "Shapes/of_its_own", "abc")
        assert outcome.value == b'!"ABC"'
        kept = await result(engine, "Kept/a/keep", {"name": "b"})
        assert await result(engine, "Kept/a/look") == kept

    model = {"name": "b", "count": 1}
    assert kept == (f"Item(name='b', count=1) {model} [{model}] Point(x=1, y=0) {{'a': 1}} None")
    registered = await db.fetch(
        "select name, input_content_type from howdah.handlers "
        "where name in ('of_its_own', 'anything') order by name"
    )
    assert [tuple(row) for row in registered] == [
        ("anything", "application/json"),
        ("of_its_own", "*/*"),
    ]


async def test_an_object_counts_for_each_key(run: Run) -> None:
    async with run(counter.counter) as engine:
        for value in (2, 3):
            await result(engine, "counter/a/increment", value)
        assert await result(engine, "counter/a/count") == 5
        assert await result(engine, "counter/b/count") == 0
        assert await result(engine, "counter/a/names") == ["a", "counter"]
        await result(engine, "counter/a/reset")
        assert await result(engine, "counter/a/count") == 0
        assert await result(engine, "counter/a/fill", {"y": 2, "x": 1}) == [1, 2]
        assert await result(engine, "counter/a/names") == ["a", "x", "y"]


async def asked_for(effects: list[str]) -> str:
    """The awakeable's id, once the saga has given it away."""
    async with asyncio.timeout(BOUND_SECONDS):
        while not (effects and effects[-1].startswith("asked ")):
            await asyncio.sleep(0.01)
    return effects[-1].removeprefix("asked ")


@pytest.fixture
def effects() -> list[str]:
    """What the saga's program did outside; empty at first."""
    saga.effects.clear()
    return saga.effects


async def test_a_saga_books_what_is_confirmed(run: Run, db: Database, effects: list[str]) -> None:
    async with run(saga.trips) as engine:
        accepted = await engine.accept(
            submission(engine, "Trips/book", {"customer": "Ann", "card": "good"})
        )
        assert accepted.outcome is not None
        awakeable = await asked_for(effects)
        await db.execute("select howdah.resolve_awakeable($1, '\"room 7\"')", awakeable)
        outcome = await accepted.outcome

    assert json.loads(outcome.value) == "room 7"
    assert effects == ["flight booked", "car booked", "paid", f"asked {awakeable}"]


async def test_a_saga_undoes_what_it_did_when_it_fails(run: Run, effects: list[str]) -> None:
    async with run(saga.trips) as engine:
        outcome = await call(engine, "Trips/book", {"customer": "Ann", "card": "expired"})

    assert (outcome.code, outcome.message) == (402, "the trip was undone: the card was refused")
    undone = ["refunded 4", "car cancelled", "flight cancelled"]
    assert effects == ["flight booked", "car booked", "paid", *undone]


async def test_a_cancelled_saga_undoes_what_it_did(
    run: Run, db: Database, effects: list[str]
) -> None:
    async with run(saga.trips) as engine:
        accepted = await engine.accept(
            submission(engine, "Trips/book", {"customer": "Ann", "card": "good"})
        )
        assert accepted.outcome is not None
        await asked_for(effects)
        await db.execute("select howdah.cancel($1)", accepted.id)
        outcome = await accepted.outcome

    assert (outcome.code, outcome.message) == (409, "the trip was undone: cancelled")
    assert effects[-3:] == ["refunded 4", "car cancelled", "flight cancelled"]
    recorded = await db.fetch(
        "select name from howdah.journal where invocation_id = $1 and type = 'run' order by index",
        accepted.id,
    )
    assert [row["name"] for row in recorded][-3:] == ["refund", "cancel car", "cancel flight"]


async def test_a_workflow_waits_for_a_click(run: Run, db: Database) -> None:
    signup.mails.clear()
    user = {"name": "Ann", "email": "ann@example.org"}
    async with run(signup.signup) as engine:
        running = await engine.accept(submission(engine, "Signup/ann/run", user))
        assert running.outcome is not None
        waiting = await engine.accept(submission(engine, "Signup/ann/wait_for_click"))
        assert waiting.outcome is not None
        await until(db, "select value = '\"waiting\"' from howdah.state where name = 'status'")
        assert await result(engine, "Signup/ann/status") == ["ann", "waiting", None]
        await result(engine, "Signup/ann/click", "s3cret")
        outcome, waited = await running.outcome, await waiting.outcome
        assert await result(engine, "Signup/ann/status") == ["ann", "verified", "s3cret"]
        late = await call(engine, "Signup/ann/click", "another")

    assert json.loads(outcome.value) == {"user": "Ann", "success": True}
    assert json.loads(waited.value) == "s3cret"
    assert signup.mails == ["ann@example.org s3cret"]
    assert late.code == 409


async def test_a_workflow_times_out_or_is_refused(run: Run) -> None:
    user = {"name": "Bob", "email": "bob@example.org", "patience_seconds": 0.05}
    async with run(signup.signup) as engine:
        late = await call(engine, "Signup/late/run", user)
        running = await engine.accept(
            submission(engine, "Signup/refused/run", {**user, "patience_seconds": 60})
        )
        assert running.outcome is not None
        await result(engine, "Signup/refused/give_up", "no such address")
        refused = await running.outcome

    assert (late.code, late.message) == (410, "verification timed out")
    assert (refused.code, refused.message) == (409, "no such address")


async def test_a_payment_is_made_once_and_expires(run: Run, db: Database) -> None:
    payments.charges.clear()
    payment = {"account": "ann", "cents": 500}
    async with run(payments.payments, payments.checkout) as engine:
        assert await result(engine, "Checkout/pay_twice", payment) == ["charge 500 to ann"] * 2
        again = await result(engine, "Payments/order-ann/make", payment)
        assert again in ("payment was made before", "charge 500 to ann")  # it may have expired
        await until(db, "select not exists (select from howdah.state)")
        assert await result(engine, "Payments/new/cancel") is None
        assert await result(engine, "Payments/new/make", payment) == "payment was cancelled before"

    assert payments.charges.count("order-ann") == (2 if again.startswith("charge") else 1)


async def test_work_fans_out_and_in(run: Run) -> None:
    async with run(fan_out.workers) as engine:
        task = {"words": ["one", "three", "eleven"]}
        assert await result(engine, "FanOutWorker/run", task) == {"one": 3, "three": 5, "eleven": 6}
        assert await result(engine, "FanOutWorker/as_they_come", [400, 0, 200]) == [0, 200, 400]
        assert await result(engine, "FanOutWorker/the_first", [0, 60_000]) == [0]
        assert await result(engine, "FanOutWorker/nothing") == [0, 0, 0, 0]
        assert await result(engine, "FanOutWorker/mixed", "abc") == [3, "cba", None]


async def test_timers_sleep_and_time_out(run: Run, db: Database) -> None:
    async with run(timers.timers, timers.reminders) as engine:
        assert await result(engine, "Timers/nap", 20) >= 0.02
        assert await result(engine, "Timers/with_timeout", 60_000) == "too slow"
        first = await result(engine, "Timers/remind", "call home")
        assert await result(engine, "Timers/remind", "call home") == first
        await until(db, "select exists (select from howdah.state where name = 'notes')")
        assert await result(engine, "Reminders/me/notes") == ["call home"]


async def test_a_state_machine_takes_one_step_at_a_time(run: Run) -> None:
    state_machine.log.clear()
    async with run(state_machine.machines) as engine:
        refused = await call(engine, "machine-operator/m1/tearDown")
        said = await asyncio.gather(
            *(result(engine, "machine-operator/m1/setUp") for _ in range(3))
        )
        down = await result(engine, "machine-operator/m1/tearDown")

    assert (refused.code, refused.message) == (409, "m1 is not up, cannot tear down")
    assert sorted(said) == ["m1 is already up, so nothing to do"] * 2 + ["m1 is now up"]
    assert down == "m1 is now down"
    assert state_machine.log == ["m1 up", "m1 down"]


async def test_calls_go_through_services_objects_and_workflows(run: Run, db: Database) -> None:
    async with run(chain.front, chain.store, chain.flow) as engine:
        assert await result(engine, "Front/start", "k") == [3, 6, 6, 409, 7]
        assert await db.fetchval("select value from howdah.state where name = 'from'") == '"nobody"'


async def test_signals_and_awakeables_arrive(run: Run) -> None:
    async with run(chain.front, chain.store, chain.flow) as engine:
        waiting = await engine.accept(submission(engine, "Front/waits_for_signals"))
        assert waiting.outcome is not None
        await send(engine, "Front/signals", str(waiting.id))
        outcome = await waiting.outcome
        asked = await result(engine, "Front/asks_two_people")

    assert json.loads(outcome.value) == ["one", "two", [418, "enough"]]
    assert asked == [42, [404, "no idea"]]


async def test_a_job_sends_itself_until_it_is_stopped(run: Run, db: Database) -> None:
    async with run(cron.jobs) as engine:
        await result(engine, "CronJob/short/initiate", {"every_milliseconds": 5, "times": 3})
        await until(db, "select value = '3' from howdah.state where name = 'runs'")
        assert await result(engine, "CronJob/short/runs") == 3

        plan = {"every_milliseconds": 60_000, "times": 9}
        first = await result(engine, "CronJob/long/initiate", plan)
        twice = await call(engine, "CronJob/long/initiate", plan)
        assert twice.code == 409
        assert await result(engine, "CronJob/long/stop") == first
        await until(
            db, "select outcome = 'failed' from howdah.invocations where id = $1::text::uuid", first
        )


async def test_an_agent_loops_and_asks_a_person(run: Run, db: Database) -> None:
    agent.asked.clear()
    async with run(agent.agent, agent.tools) as engine:
        assert await result(engine, "Agent/s1/chat", "what is 2 plus 3 ?") == "It is 5."
        running = await engine.accept(submission(engine, "Agent/s1/chat", "and 99 plus 2 ?"))
        assert running.outcome is not None
        shown = await until(db, "select value from howdah.state where name = 'approval'")
        await db.execute("select howdah.resolve_awakeable($1, 'true')", json.loads(shown))
        outcome = await running.outcome
        history = json.loads(await result(engine, "Agent/s1/history"))

    assert json.loads(outcome.value) == "It is 101 (approved)."
    assert [message["role"] for message in history] == [
        *("user", "tool", "assistant"),
        *("user", "tool", "assistant", "assistant"),
    ]
    assert len(agent.asked) == 6  # no model is asked twice, whatever was replayed


async def test_services_of_both_packages_call_each_other(run: Run) -> None:
    async with run(mixed.old, mixed.new) as engine:
        assert await result(engine, "New/start", "Ann") == "Hello ann"


async def test_calls_in_a_scope(run: Run) -> None:
    caller = Service("Caller")

    @caller.handler()
    async def identify(ctx: Context) -> list[list[str | None]]:
        scope = ctx.scope("tenant")
        told = [
            await scope.service_call(greeter.identity, None, "joe", idempotency_key="k"),
            json.loads(
                await ctx.generic_call("Greeter", "identity", b"", scope="other", limit_key="a/b")
            ),
        ]
        sent = scope.service_send(greeter.identity, None, limit_key="ann")
        told.append(
            await ctx.attach_invocation(await sent.invocation_id(), type_hint=dict[str, Any])
        )
        return [[one["scope"], one["limit_key"]] for one in told]

    async with run(caller, greeter.greeter) as engine:
        assert await result(engine, "Caller/identify") == [
            ["tenant", "joe"], ["other", "a/b"], ["tenant", "ann"],
        ]  # fmt: skip


async def test_resources_surround_each_attempt(
    run: Run, db: Database, caplog: pytest.LogCaptureFixture
) -> None:
    resources.opened.clear()
    resources.watchers.clear()
    with caplog.at_level(logging.WARNING, "programs.resources"):
        async with run(resources.resources) as engine:
            used = await result(engine, "Resources/use")
            await asyncio.gather(*resources.watchers)

    assert used == ["a connection", "a connection", "helped"]
    attempts = await db.fetchval("select attempts from howdah.invocations")
    for what in ("open", "close", "session closed", "attempt over"):
        assert resources.opened.count(what) == attempts
    # A replay repeats code, but not what it logs.
    assert [record.message for record in caplog.records] == ["before", "after"]


@pytest.mark.parametrize(
    "verb", ["object_call", "workflow_send", "get", "set", "clear", "all", "keys"]
)
async def test_what_howdah_does_not_have_is_refused_when_it_is_used(run: Run, verb: str) -> None:
    thing = VirtualObject(
        "Thing",
        invocation_retry_policy=InvocationRetryPolicy(max_attempts=1, on_max_attempts="kill"),
    )

    @thing.handler()
    async def use(ctx: ObjectContext, verb: str) -> None:
        match verb:
            case "object_call":
                ctx.scope("tenant").object_call(use, "b", "get")
            case "workflow_send":
                ctx.scope("tenant").workflow_send(use, "b", "get", limit_key="joe")
            case "get":
                await ctx.get("name", entry_name="shown")
            case "set":
                ctx.set("name", 1, entry_name="shown")
            case "clear":
                ctx.clear("name", entry_name="shown")
            case "all":
                ctx.clear_all(entry_name="shown")
            case "keys":
                await ctx.state_keys(entry_name="shown")

    async with run(thing) as engine:
        outcome = await call(engine, "Thing/a/use", verb)
    assert outcome.outcome == "killed"
    assert "is not supported by howdah" in (outcome.message or "")
