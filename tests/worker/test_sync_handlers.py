"""Handlers written as plain functions: their verbs, replays, and what ends them."""

import contextvars
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, TypeAlias

import asyncpg
import pytest

from howdah import (
    Cancelled,
    Context,
    InvocationRetryPolicy,
    ObjectContext,
    RunOptions,
    Service,
    TerminalError,
    VirtualObject,
    Workflow,
    blocking,
)
from howdah.machine.entries import Kind, signal_cid
from howdah.store.units import Mail
from support.engines import assert_healthy, call, result, running_engine, send, until

Database: TypeAlias = "asyncpg.Connection[Any]"
FAST = InvocationRetryPolicy(initial_interval=timedelta(milliseconds=1))
SHORT = timedelta(milliseconds=20)
MODES: dict[str, dict[str, Any]] = {
    "resident": {},
    "always-suspend": {"inactivity_timeout": timedelta(0)},
    "always-replay": {"always_replay": True},
}
WHO: contextvars.ContextVar[str] = contextvars.ContextVar("who", default="nobody")


class Program:
    """Services for one test, with a record of what really ran."""

    def __init__(self) -> None:
        self.effects: list[Any] = []
        self.failures = 0
        self.gate = threading.Event()

        @asynccontextmanager
        async def as_ann() -> AsyncIterator[None]:
            WHO.set("ann")
            self.effects.append("entered")
            try:
                yield
            finally:
                self.effects.append("left")

        self.service = service = Service("Steps", invocation_retry_policy=FAST)
        self.managed = managed = Service("Managed", invocation_context_managers=[as_ann])
        self.counter = counter = VirtualObject("Counter", invocation_retry_policy=FAST)
        self.signup = signup = Workflow("Signup", invocation_retry_policy=FAST)

        def effect(what: Any) -> Any:
            self.effects.append(what)
            return what

        async def later(what: Any) -> Any:
            return effect(what)

        # Steps.

        @service.handler()
        def three(ctx: blocking.Context) -> list[int]:
            return [ctx.run(f"step {n}", effect, args=(n,)) for n in range(3)]

        @service.handler()
        def all_kinds(ctx: blocking.Context, n: int) -> list[Any]:
            def here() -> bool:
                return threading.current_thread().name == name

            name = threading.current_thread().name
            options = RunOptions[int](max_attempts=3)
            return [
                ctx.run("here", here),
                ctx.begin.run("elsewhere", here).result(),
                ctx.run("on the loop", later, args=(n,)),
                ctx.run_typed("typed", effect, options, n + 1),
                ctx.run_typed("begun", later, options, what=n + 2),
                ctx.begin.run_typed("begun as well", effect, options, n + 3).result(),
            ]

        @service.handler()
        def same_every_time(ctx: blocking.Context) -> list[Any]:
            first: list[Any] = [ctx.random().random(), str(ctx.uuid()), ctx.time()]
            ctx.sleep(timedelta(milliseconds=5))
            return [*first, ctx.request().id, ctx.begin.time().result() >= first[2]]

        @service.handler()
        def step_fails(ctx: blocking.Context) -> list[str]:
            def broken(what: str) -> str:
                effect(what)
                raise OSError(f"{what} is broken")

            def refused() -> None:
                raise TerminalError("refused", 403, {"by": "test"})

            options = RunOptions[str](max_attempts=3, initial_retry_interval=timedelta(0))
            errors = []
            for action in (
                lambda: ctx.run_typed("it", broken, options, "it"),
                lambda: ctx.begin.run_typed("other", broken, options, "other").result(),
                lambda: ctx.run("refused", refused),
            ):
                try:
                    action()
                except TerminalError as error:
                    errors.append(f"{error.status_code} {error.message}")
            return errors

        @service.handler()
        def fails_twice(ctx: blocking.Context) -> int:
            ctx.run("before", lambda: effect("before"))

            def fails() -> int:
                self.failures += 1
                if self.failures < 3:
                    raise ValueError(f"failure {self.failures}")
                return self.failures

            return ctx.run("fails", fails)

        @service.handler()
        def exits(ctx: blocking.Context) -> int:
            self.failures += 1
            if self.failures < 3:
                raise SystemExit(3)
            return ctx.run("exit", lambda: exit_once(4))

        def exit_once(at: int) -> int:
            self.failures += 1
            if self.failures == at:
                raise SystemExit(3)
            return self.failures

        @service.handler()
        def refuse(ctx: blocking.Context) -> None:
            raise TerminalError("no such thing", 404, {"thing": "x"})

        # Calls.

        @service.handler()
        def echo(ctx: blocking.Context, text: str) -> str:
            return text

        @service.handler()
        async def aecho(ctx: Context, text: str) -> str:
            return await ctx.service_call(echo, text)

        @service.handler()
        def calls(ctx: blocking.Context, n: int) -> list[str]:
            begun = [ctx.begin.service_call(aecho, arg=str(i)) for i in range(n)]
            direct = [ctx.service_call(echo, "direct"), ctx.service_call(aecho, "twice")]
            raw = ctx.generic_call("Steps", "echo", b'"raw"').decode()
            return [future.result() for future in blocking.gather(*begun)] + [*direct, raw]

        @service.handler()
        def calls_refuse(ctx: blocking.Context) -> str:
            try:
                ctx.service_call(refuse)
            except TerminalError as error:
                return f"{error.status_code} {error.message} {error.metadata}"
            return "?"

        @service.handler()
        def combined(ctx: blocking.Context) -> list[Any]:
            slow, fast = ctx.begin.sleep(timedelta(seconds=30)), ctx.begin.service_call(echo, "a")
            name, value = blocking.select(slow=slow, fast=fast)
            done, pending = blocking.wait_completed(slow, fast)
            order = [one is fast for one in blocking.as_completed(fast, ctx.begin.sleep(SHORT))]
            return [name, value, done == [fast], pending == [slow], order]

        @service.handler()
        def once(ctx: blocking.Context, key: str) -> list[Any]:
            one = ctx.begin.object_call(add, key, 1, idempotency_key="only")
            two = ctx.begin.object_call(add, key, 1, idempotency_key="only")
            sent = ctx.object_send(add, key, 1, idempotency_key="only")
            ids = {one.invocation_id(), two.invocation_id(), sent.invocation_id()}
            attached = ctx.attach_invocation(sent.invocation_id(), type_hint=int)
            again = ctx.begin.attach_invocation(sent.invocation_id(), type_hint=int)
            return [len(ids), one.result(), two.result(), attached, again.result()]

        @service.handler()
        def cancels(ctx: blocking.Context) -> list[str]:
            waiting = ctx.begin.service_call(waits)
            waiting.cancel_invocation()
            sent = ctx.service_send(waits, send_delay=timedelta(milliseconds=1))
            sent.cancel_invocation()
            errors = []
            for wait in (waiting.result, lambda: ctx.attach_invocation(sent.invocation_id())):
                try:
                    wait()
                except TerminalError as error:
                    errors.append(str(error.status_code))
            return errors

        @service.handler()
        def waits(ctx: blocking.Context) -> str:
            try:
                ctx.sleep(timedelta(days=1))
            except Cancelled:
                ctx.run("undo", lambda: effect("undone"))
                raise
            return "?"

        @service.handler()
        def works(ctx: blocking.Context) -> str:
            try:
                ctx.run("work", self.gate.wait)
            except Cancelled:
                return str(ctx.run("undo", lambda: effect("undone")))
            return "?"

        # Signals and awakeables.

        @service.handler()
        def awaits(ctx: blocking.Context) -> list[Any]:
            id_, future = ctx.awakeable(type_hint=str)
            other_id, other = ctx.awakeable()
            me = ctx.request().id
            ctx.service_send(resolves, [id_, other_id, me])
            got = [future.result(), ctx.signal("go", type_hint=int)]
            for wait in (other.result, ctx.begin.signal("stop").result):
                try:
                    wait()
                except TerminalError as error:
                    got.append(error.message)
            return got

        @service.handler()
        def resolves(ctx: blocking.Context, ids: list[str]) -> None:
            ctx.resolve_awakeable(ids[0], "done")
            ctx.reject_awakeable(ids[1], "no")
            ctx.resolve_signal(ids[2], "go", 17)
            ctx.reject_signal(ids[2], "stop", "enough")

        # State.

        @counter.handler()
        def add(ctx: blocking.ObjectContext, n: int) -> int:
            value = (ctx.get("n", type_hint=int) or 0) + n
            ctx.set("n", value)
            return value

        @counter.handler()
        async def add_async(ctx: ObjectContext, n: int) -> int:
            value = (await ctx.get("n", type_hint=int) or 0) + n
            ctx.set("n", value)
            return value

        @counter.handler()
        def writes(ctx: blocking.ObjectContext) -> list[Any]:
            ctx.set("a", 1)
            before = ctx.begin.get("a", type_hint=int)
            ctx.set("b", ctx.key())
            ctx.clear("a")
            ctx.sleep(SHORT)
            ctx.set("c", 3)
            seen = [ctx.state_keys(), ctx.get("a"), before.result(), ctx.get("c")]
            ctx.clear_all()
            ctx.set("d", 4)
            return [*seen, ctx.begin.state_keys().result()]

        @counter.handler(kind="shared")
        def read(ctx: blocking.ObjectSharedContext) -> dict[str, int | None]:
            return {name: ctx.get(name, type_hint=int) for name in ctx.state_keys()}

        @counter.handler(enable_lazy_state=True)
        def read_lazily(ctx: blocking.ObjectContext) -> list[Any]:
            return [ctx.get("n", type_hint=int), ctx.get("missing"), ctx.state_keys()]

        @service.handler()
        def in_order(ctx: blocking.Context, key: str) -> list[int]:
            ctx.object_send(add, key, 1)
            second = ctx.begin.object_call(add_async, key, 10)
            ctx.generic_send("Counter", "add", b"100", key)
            return [second.result(), ctx.object_call(add, key, 1000)]

        @service.handler()
        async def from_async(ctx: Context, key: str) -> list[int]:
            return [await ctx.object_call(add, key, 1), await ctx.object_call(add_async, key, 1)]

        # Workflows.

        @signup.main()
        def run(ctx: blocking.WorkflowContext, email: str) -> list[Any]:
            ctx.set("email", email)
            click = ctx.promise("click", type_hint=str)
            peeked = click.peek()
            begun = ctx.begin.promise("other", type_hint=int)
            try:
                ctx.promise("bad").value()
            except TerminalError as error:
                return [peeked, click.name, click.value(), begun.result(), error.message]
            return []

        @signup.handler()
        def complete(ctx: blocking.WorkflowSharedContext) -> list[Any]:
            ctx.promise("click").resolve("clicked")
            ctx.promise("other").resolve(7)
            ctx.promise("bad").reject("refused")
            try:
                ctx.promise("click").resolve("again")
            except TerminalError as error:
                return [ctx.get("email"), error.status_code, ctx.promise("click").peek()]
            return []

        @service.handler()
        def signs_up(ctx: blocking.Context, key: str) -> list[Any]:
            run_ = ctx.begin.workflow_call(run, key, "joe@example.com")
            ctx.sleep(SHORT)
            return [ctx.workflow_call(complete, key), run_.result(), self._starts_again(ctx, key)]

        self.run = run

        # Around attempts.

        @managed.handler()
        def who(ctx: blocking.Context) -> list[str]:
            WHO.set(WHO.get() + "!")
            ctx.sleep(SHORT)

            async def on_the_loop() -> str:
                return WHO.get()

            return [
                WHO.get(),
                ctx.run("here", WHO.get),
                ctx.begin.run("there", WHO.get).result(),
                ctx.run("on the loop", on_the_loop),
            ]

    def _starts_again(self, ctx: blocking.Context, key: str) -> int:
        ctx.workflow_send(self.run, key, "x").invocation_id()
        try:
            ctx.workflow_call(self.run, key, "x")
        except TerminalError as error:
            return error.status_code
        return 0

    @property
    def services(self) -> list[Service | VirtualObject | Workflow]:
        return [self.service, self.managed, self.counter, self.signup]


@pytest.fixture(params=list(MODES.values()), ids=list(MODES))
def options(request: pytest.FixtureRequest) -> dict[str, Any]:
    return dict(request.param)


async def test_steps_are_recorded_and_executed_once(
    dsn: str, db: Database, options: dict[str, Any]
) -> None:
    program = Program()
    async with running_engine(dsn, program.services, **options) as engine:
        assert await result(engine, "Steps/three") == [0, 1, 2]
        assert program.effects == [0, 1, 2]
        here, begun, *numbers = await result(engine, "Steps/all_kinds", 5)
        assert here, "a step that is waited for borrows the handler's thread"
        assert isinstance(begun, bool)  # begun before: it may find the thread waiting or not
        assert numbers == [5, 6, 7, 8]
        assert program.effects[3:] == [5, 6, 7, 8]
    await assert_healthy(db)


async def test_facts_are_the_same_on_every_replay(dsn: str, options: dict[str, Any]) -> None:
    program = Program()
    async with running_engine(dsn, program.services, **options) as engine:
        found = await result(engine, "Steps/same_every_time")
        assert found[-1] is True
        assert 0 <= found[0] < 1


async def test_steps_are_tried_again_by_their_own_policy(dsn: str, options: dict[str, Any]) -> None:
    program = Program()
    async with running_engine(dsn, program.services, **options) as engine:
        assert await result(engine, "Steps/step_fails") == [
            "500 step 'it' failed: it is broken",
            "500 step 'other' failed: other is broken",
            "403 refused",
        ]
    assert program.effects == ["it"] * 3 + ["other"] * 3


async def test_a_failing_step_fails_the_attempt(
    dsn: str, db: Database, options: dict[str, Any]
) -> None:
    program = Program()
    async with running_engine(dsn, program.services, **options) as engine:
        assert await result(engine, "Steps/fails_twice") == 3
    assert program.effects == ["before"]
    failure = await db.fetchval("select last_failure from howdah.invocations")
    assert failure is None or "failure 2" in failure
    await assert_healthy(db)


async def test_an_exit_in_a_thread_is_a_failure(dsn: str) -> None:
    program = Program()
    async with running_engine(dsn, program.services) as engine:
        assert await result(engine, "Steps/exits") == 6


async def test_calls_between_sync_and_async_handlers(
    dsn: str, db: Database, options: dict[str, Any]
) -> None:
    program = Program()
    async with running_engine(dsn, program.services, **options) as engine:
        expected = ["0", "1", "2", "direct", "twice", '"raw"']
        assert await result(engine, "Steps/calls", 3) == expected
        assert await result(engine, "Steps/in_order", "k") == [11, 1111]
        assert await result(engine, "Steps/from_async", "k") == [1112, 1113]
        assert await result(engine, "Steps/once", "other") == [1, 1, 1, 1, 1]
        refused = await result(engine, "Steps/calls_refuse")
        assert refused == "404 no such thing {'thing': 'x'}"
        outcome = await call(engine, "Steps/refuse")
        assert (outcome.code, outcome.message, outcome.metadata) == (
            404, "no such thing", {"thing": "x"}
        )  # fmt: skip
    await assert_healthy(db)


async def test_the_journal_decides_which_future_is_first(dsn: str, options: dict[str, Any]) -> None:
    program = Program()
    async with running_engine(dsn, program.services, **options) as engine:
        found = await result(engine, "Steps/combined")
        assert found == ["fast", "a", True, True, [True, False]]


async def test_state(dsn: str, db: Database, options: dict[str, Any]) -> None:
    program = Program()
    async with running_engine(dsn, program.services, **options) as engine:
        assert await result(engine, "Counter/k/writes") == [["b", "c"], None, 1, 3, ["d"]]
        assert await result(engine, "Counter/k/add", 2) == 2
        assert await result(engine, "Counter/k/read") == {"d": 4, "n": 2}
        assert await result(engine, "Counter/k/read_lazily") == [2, None, ["d", "n"]]
    await assert_healthy(db)


async def test_workflows_and_promises(dsn: str, db: Database, options: dict[str, Any]) -> None:
    program = Program()
    async with running_engine(dsn, program.services, **options) as engine:
        completed, ran, again = await result(engine, "Steps/signs_up", "joe")
        assert completed == ["joe@example.com", 409, "clicked"]
        assert ran == [None, "click", "clicked", 7, "refused"]
        assert again == 409
    await assert_healthy(db)


async def test_awakeables_and_signals(dsn: str, options: dict[str, Any]) -> None:
    program = Program()
    async with running_engine(dsn, program.services, **options) as engine:
        assert await result(engine, "Steps/awaits") == ["done", 17, "no", "enough"]


async def test_callees_are_cancelled(dsn: str, db: Database, options: dict[str, Any]) -> None:
    program = Program()
    async with running_engine(dsn, program.services, **options) as engine:
        assert await result(engine, "Steps/cancels") == ["409", "409"]
        await until(db, "select bool_and(status = 'completed') from howdah.invocations")
    assert set(program.effects) <= {"undone"}
    await assert_healthy(db)


async def test_a_cancellation_is_raised_where_the_thread_waits(dsn: str, db: Database) -> None:
    program = Program()
    async with running_engine(dsn, program.services) as engine:
        accepted = await send(engine, "Steps/waits")
        await until(db, "select count(*) = 1 from howdah_core.journal where kind = 4")
        assert await engine.operate("cancel", accepted.id) == "accepted"
        await until(db, "select status = 'completed' from howdah.invocations")
        code = await db.fetchval("select failure_code from howdah.invocations")
    assert code == 409
    assert program.effects == ["undone"]


async def test_a_cancelled_step_runs_to_its_end_and_is_not_recorded(dsn: str, db: Database) -> None:
    program = Program()
    async with running_engine(dsn, program.services) as engine:
        accepted = await send(engine, "Steps/works")
        await until(db, "select count(*) = 1 from howdah_core.journal where kind = 3")
        assert await engine.operate("cancel", accepted.id) == "accepted"
        await until(db, "select count(*) = 1 from howdah_core.journal where kind = 103")
        program.gate.set()
        await until(db, "select status = 'completed' from howdah.invocations")
    assert await db.fetchval("select output from howdah.invocations") == '"undone"'


async def test_context_managers_and_variables_surround_the_thread(
    dsn: str, options: dict[str, Any]
) -> None:
    program = Program()
    async with running_engine(dsn, program.services, **options) as engine:
        assert await result(engine, "Managed/who") == ["ann!"] * 4
    assert program.effects == ["entered", "left"] * (len(program.effects) // 2)
    assert WHO.get() == "nobody"


async def test_changed_code_is_reported_and_the_journal_is_unharmed(dsn: str, db: Database) -> None:
    def version(name: str, writes: bool) -> VirtualObject:
        changing = VirtualObject("Changing", invocation_retry_policy=FAST)

        @changing.handler()
        def go(ctx: blocking.ObjectContext) -> None:
            if writes:
                ctx.set("x", 1)
            ctx.run(name, lambda: None)
            ctx.sleep(timedelta(seconds=3))

        return changing

    old = version("old name", True)
    async with running_engine(dsn, [old], deployment="old") as engine:
        await send(engine, "Changing/k/go")
        await until(db, "select status = 'suspended' from howdah.invocations")
        await engine.drain()
    for changed in (version("new name", True), version("old name", False)):
        await db.execute("update howdah_core.live set run_at = howdah_core.clock()")
        async with running_engine(dsn, [changed], deployment="old") as engine:
            await until(db, "select last_failure like '%NonDet%' from howdah.invocations")
            await engine.drain()
    async with running_engine(dsn, [old], deployment="old"):
        await until(db, "select status = 'completed' from howdah.invocations")
    await assert_healthy(db)


async def test_signals_of_other_processes_reach_a_waiting_thread(dsn: str, db: Database) -> None:
    service = Service("Waits")

    @service.handler()
    def wait(ctx: blocking.Context) -> int:
        return ctx.signal("go", type_hint=int)

    async with running_engine(dsn, [service]) as engine, running_engine(dsn, []) as other:
        accepted = await send(engine, "Waits/wait")
        await until(db, "select count(*) = 1 from howdah_core.live where worker is not null")
        await other.deliver(Mail(accepted.id, Kind.SIGNAL, signal_cid("go"), b"5", None, "go"))
        await until(db, "select status = 'completed' from howdah.invocations")
    assert await db.fetchval("select output from howdah.invocations") == "5"
