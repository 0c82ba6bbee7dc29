import asyncio
from datetime import timedelta
from uuid import uuid4

import httpx
import pytest

from howdah import Context, NonDeterminism, Service, TerminalError, VirtualObject
from howdah.errors import Conflict, NotAHandler, NotFound, UnknownTarget, UsageError, WrongContext
from howdah.testing import EnvironmentFactory, ForgottenAwait, Unfinished
from testing.shop import (
    DAY,
    absent,
    add,
    approve,
    cart,
    confirm,
    count,
    elsewhere,
    fail,
    greet,
    greet_blocking,
    greeter,
    listen,
    refuse,
    run,
    signup,
    stubborn,
    wander,
)

SHORT = timedelta(milliseconds=200)


async def test_handlers_are_called_by_reference(serve: EnvironmentFactory) -> None:
    async with serve([greeter, cart]) as env:
        assert await env.call(greet, "Ada") == "Hello Ada"
        assert await env.call(add, "bread", key="joe") == 1
        assert await env.call(add, "salt", key="joe", idempotency_key="once") == 2
        assert await env.call(add, "salt", key="joe", idempotency_key="once") == 2
        assert await env.call(count, key="joe") == 2
        assert await asyncio.gather(*(env.call(greet, str(n)) for n in range(5))) == [
            f"Hello {n}" for n in range(5)
        ]
        with pytest.raises(TerminalError, match="no greetings today") as failed:
            await env.call(fail)
        assert failed.value.status_code == 418
        await env.check()


async def test_what_its_scope_holds_back_is_nothing_to_wait_for(serve: EnvironmentFactory) -> None:
    async with serve([greeter]) as env, env.client() as client:
        await env.sql("select howdah.set_limit_rule('shop', 0)")
        sent = await client.service_send(greet, "Ada", scope="shop")
        await env.until_idle()
        assert [row[0] for row in await env.sql("select status from howdah.invocations")] == [
            "held"
        ]
        await env.sql("select howdah.set_limit_rule('shop', 1)")
        await env.until_idle()
        assert await client.attach(sent, greet) == "Hello Ada"


@pytest.mark.parametrize("always_replay", [False, True])
async def test_sync_handlers_are_called_alike(
    serve: EnvironmentFactory, always_replay: bool
) -> None:
    async with serve([greeter], always_replay=always_replay) as env:
        sent = await env.send(greet_blocking, "Ada")
        await env.skip(DAY)
        assert await env.attach(sent) == "Hello Hello Ada"
        await env.check()


async def test_sends_are_attached_to(serve: EnvironmentFactory) -> None:
    async with serve([greeter]) as env:
        sent = await env.send(greet, "Ada", idempotency_key="a")
        again = await env.send(greet, "Ada", idempotency_key="a")
        assert (sent.is_new, again.is_new, sent.id == again.id) == (True, False, True)
        assert await env.attach(sent) == "Hello Ada"
        assert await env.attach(str(sent.id)) == "Hello Ada"
        assert await env.status(sent) == "completed"
        with pytest.raises(NotFound):
            await env.attach(uuid4())


async def test_state_is_read_and_put_there(serve: EnvironmentFactory) -> None:
    async with serve([greeter, cart]) as env:
        assert await env.state(cart, "joe") == {}
        await env.set_state(cart, "joe", {"items": ["bread"], "note": None})
        assert await env.call(add, "salt", key="joe") == 2
        assert await env.state(cart, "joe") == {"items": ["bread", "salt"], "note": None}
        assert await env.state("Cart", "ann") == {}
        with pytest.raises(WrongContext, match="Greeter is a service, which has none"):
            await env.state(greeter, "joe")


async def test_a_journal_reads_as_a_text(serve: EnvironmentFactory) -> None:
    async with serve([greeter]) as env:
        sent = await env.send(greet, "Ada")
        await env.until_idle()
        journal = await env.journal(sent)
        assert [entry.type for entry in journal] == ["input", "run", "run completed", "output"]
        assert journal.steps() == ["greet"]
        assert str(journal).splitlines() == [
            '  0  input Greeter/greet              "Ada"',
            "  1  run greet",
            '  2  run completed greet              "Hello Ada"',
            '  3  output                           "Hello Ada"',
        ]
        with pytest.raises(NotFound):
            await env.journal(uuid4())


async def test_what_comes_from_outside_arrives(serve: EnvironmentFactory) -> None:
    async with serve([greeter], inactivity_timeout=timedelta(0)) as env:
        sent = await env.send(approve)
        await env.until_idle()
        id_ = (await env.journal(sent))[2].value
        assert id_ is not None
        await env.resolve_awakeable(id_.strip('"'), "yes")
        assert await env.attach(sent) == "yes"
        with pytest.raises(Conflict, match="is completed: it waits for nothing"):
            await env.reject_awakeable(id_.strip('"'), "no")

        heard = await env.send(listen)
        await env.signal(heard, "word", "hello")
        assert await env.attach(heard) == "hello"

        ended = await env.send(listen)
        await env.until_idle()
        assert await env.cancel(ended) == "accepted"
        with pytest.raises(TerminalError, match="cancelled"):
            await env.attach(ended)
        killed = await env.send(listen)
        await env.until_idle()
        assert await env.kill(killed) == "done"


async def test_a_workflow_runs_once(serve: EnvironmentFactory) -> None:
    async with serve([signup]) as env:
        sent = await env.send(run, "ann@example.org", key="ann")
        await env.until_idle()
        with pytest.raises(TerminalError, match="has been started at 'ann' already"):
            await env.call(run, "ann@example.org", key="ann")
        await env.call(confirm, "1234", key="ann")
        assert await env.attach(sent) == "ann@example.org: 1234"


async def test_handlers_are_served_over_http(serve: EnvironmentFactory) -> None:
    async with serve([greeter]) as env, env.client() as client:
        assert await client.service_call(greet, "Ada") == "Hello Ada"
        async with httpx.AsyncClient() as http:
            answer = await http.post(f"{client.base_url}/Greeter/greet", json="Ada")
        assert answer.json() == "Hello Ada"


async def test_databases_are_of_the_test_alone(serve: EnvironmentFactory) -> None:
    async with serve([cart]) as one, serve([cart]) as two:
        await one.call(add, "bread", key="joe")
        assert await two.call(count, key="joe") == 0
        assert await two.sql("select 1 from howdah.state where key = $1", "joe") == []
        urls = {one.database_url, two.database_url}
    assert len(urls) == 2


async def test_another_version_of_the_code_goes_on(serve: EnvironmentFactory) -> None:
    old, new = Service("Greeter"), Service("Greeter")

    @old.handler("greet")
    async def before(ctx: Context) -> str:
        await ctx.run("first", lambda: 1)
        await ctx.sleep(timedelta(days=1))
        return "old"

    @new.handler("greet")
    async def after(ctx: Context) -> str:
        await ctx.run("another", lambda: 1)
        await ctx.sleep(timedelta(days=1))
        return "new"

    async with serve([old], inactivity_timeout=timedelta(0)) as env:
        sent = await env.send(before)
        await env.until_idle()
        await env.restart([new])
        await env.skip_to_next()
        with pytest.raises(NonDeterminism) as found:
            await env.attach(sent)
        assert "recorded:  run 'first'" in str(found.value)
        assert "attempted: run 'another'" in str(found.value)
        await env.restart([old])
        await env.skip(timedelta(days=2))
        assert await env.attach(sent) == "old"


# What a test is told.


async def test_what_is_not_served_is_named(serve: EnvironmentFactory) -> None:
    async with serve([greeter]) as env:
        with pytest.raises(UsageError, match=r"Cart/add is not served here.* given Greeter"):
            await env.call(add, "bread", key="joe")
        with pytest.raises(WrongContext, match=r"is a service, not one of its handlers.*greet"):
            await env.call(greeter)  # type: ignore[call-overload]
        with pytest.raises(NotAHandler):
            await env.call(lambda ctx: None)
        with pytest.raises(WrongContext, match=r"Greeter is a service.*Leave the key out"):
            await env.call(greet, "Ada", key="joe")
        with pytest.raises(UsageError, match="'Cart' is not served here"):
            await env.state(cart, "joe")
    async with serve([cart]) as env:
        with pytest.raises(WrongContext, match=r"Cart is a object.*key=|Give the key"):
            await env.call(add, "bread")


async def test_a_call_of_a_service_that_is_not_given_is_told_at_once(
    serve: EnvironmentFactory,
) -> None:
    async with serve([greeter]) as env:
        with pytest.raises(UnknownTarget, match="No deployment has registered Elsewhere/absent"):
            await env.call(wander)
        assert await env.call(greet, "Ada") == "Hello Ada"
    async with serve([greeter, elsewhere]) as env:
        assert await env.call(wander) == "never"
        assert await env.call(absent) == "never"


async def test_services_are_checked(serve: EnvironmentFactory) -> None:
    for services, problem in [
        (greeter, "Give a list: environment"),
        ([], "was given no services"),
        ([greet], "It is a handler: give the service Greeter instead"),
        ([greeter, Service("Greeter")], "two services named 'Greeter'"),
        ([VirtualObject("Empty")], "has no handlers"),
    ]:
        with pytest.raises(UsageError, match=problem):
            async with serve(services):  # type: ignore[arg-type]
                pass


async def test_a_forgotten_await_is_told(serve: EnvironmentFactory) -> None:
    with pytest.raises(ForgottenAwait, match=r"env.send\(Greeter/greet\) at .*test_environment.py"):
        async with serve([greeter]) as env:
            env.send(greet, "Ada")
    async with serve([greeter]) as env:
        call = env.call(greet, "Ada")
        assert "not awaited: write `await` before it" in repr(call)
        assert await call == "Hello Ada"
        assert repr(call) == "<env.call(Greeter/greet)>"


async def test_what_waits_for_ever_is_named(serve: EnvironmentFactory) -> None:
    async with serve([greeter]) as env:
        with pytest.raises(Unfinished) as late:
            await env.call(listen, timeout=SHORT)
        assert "There is no result after 0:00:00.200000" in str(late.value)
        assert "Greeter/listen (" in str(late.value)


async def test_a_step_that_does_not_end_is_named(serve: EnvironmentFactory) -> None:
    slow, gate = Service("Slow"), asyncio.Event()

    @slow.handler()
    async def work(ctx: Context) -> bool:
        return await ctx.run("long", gate.wait)

    async with serve([slow]) as env:
        sent = await env.send(work)
        with pytest.raises(Unfinished) as busy:
            await env.until_idle(timeout=SHORT)
        assert f"Slow/work ({sent.id}) is running: in step long" in str(busy.value)
        gate.set()
        assert await env.attach(sent) is True


async def test_retries_that_are_used_up_end_the_wait(serve: EnvironmentFactory) -> None:
    async with serve([stubborn]) as env:
        call = asyncio.create_task(env.call(refuse))
        while not call.done():
            await env.until_idle()
            if not call.done() and await env.sql(
                "select 1 from howdah_core.live where run_at > now()"
            ):
                await env.skip_to_next()
            await asyncio.sleep(0)
        with pytest.raises(Unfinished, match="retries are used up") as paused:
            call.result()
        assert "is paused: waits for an operator; last failure" in str(paused.value)
        assert isinstance(paused.value.__cause__, RuntimeError)
