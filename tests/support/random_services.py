"""Random programs as real handlers, with a record of what they executed, and on what it rested."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

from howdah import (
    Context,
    DurableFuture,
    InvocationRetryPolicy,
    ObjectContext,
    Service,
    TerminalError,
    VirtualObject,
    Workflow,
    WorkflowContext,
    WorkflowSharedContext,
)
from howdah.service import AnyService
from support.random_programs import LEAVES, SCOPE, Operation, execute

FAST = InvocationRetryPolicy(initial_interval=timedelta(milliseconds=1))


class RandomServices:
    """The services of one test.

    Attributes:
        histories: What each attempt of an invocation saw, in the order in which they began.
        rested: What an invocation had seen whenever the code of one of its steps began.
        executed: How often the code of a step ran, by invocation and step.
    """

    def __init__(self) -> None:
        self.histories: defaultdict[UUID, list[list[str]]] = defaultdict(list)
        self.rested: defaultdict[UUID, list[list[str]]] = defaultdict(list)
        self.executed: Counter[tuple[UUID, int]] = Counter()
        self.leaf = leaf = VirtualObject("Leaf", invocation_retry_policy=FAST)
        self.program = program = Workflow("Program", invocation_retry_policy=FAST)

        @leaf.handler()
        async def answer(ctx: ObjectContext, number: int) -> str:
            """Count the calls of a key; every fourth argument fails."""
            count = (await ctx.get("count", type_hint=int) or 0) + 1
            ctx.set("count", count)
            if number % 2:
                await ctx.sleep(timedelta(milliseconds=number))
            if number % 4 == 3:
                raise TerminalError("leaf failed")
            return f"leaf {count}"

        self.answer = answer
        self.scoped = scoped = Service("Scoped", invocation_retry_policy=FAST)

        @scoped.handler("answer")
        async def answer_in_scope(ctx: Context, number: int) -> str:
            """Take a step and a rest, alone in its limit key."""
            await ctx.run("step", lambda: None)
            await ctx.sleep(timedelta(milliseconds=number % 5))
            return f"scoped {number}"

        self.answer_in_scope = answer_in_scope

        @program.main()
        async def run(ctx: WorkflowContext, operations: list[Operation]) -> list[str]:
            id_ = UUID(ctx.request().id)
            seen: list[str] = []
            self.histories[id_].append(seen)
            await execute(operations, _Real(self, ctx, id_, seen), seen)
            return seen

        @program.handler()
        async def resolve(ctx: WorkflowSharedContext, what: list[str]) -> None:
            """Resolve promise `what[0]` with `what[1]`, or reject it with `what[2]`."""
            promise = ctx.promise(what[0], type_hint=str)
            if len(what) > 2:
                await promise.reject(what[2])
            else:
                await promise.resolve(what[1])

        @program.handler()
        async def pass_on(ctx: WorkflowSharedContext, what: list[str]) -> None:
            """Do to invocation `what[1]` what `what[0]` says, from a handler."""
            if what[0] == "signal":
                ctx.resolve_signal(what[1], what[2], what[3])
            elif what[0] == "awakeable":
                ctx.resolve_awakeable(what[1], what[2])
            else:
                ctx.cancel_invocation(what[1])

    @property
    def all(self) -> list[AnyService]:
        return [self.leaf, self.scoped, self.program]


class _Real:
    """A real context's verbs, for `execute`."""

    def __init__(
        self, services: RandomServices, ctx: WorkflowContext, id_: UUID, seen: list[str]
    ) -> None:
        self._services = services
        self._seen = seen
        self._ctx = ctx
        self._id = id_

    def make(self, kind: str, number: int) -> DurableFuture[Any]:
        ctx = self._ctx
        if kind in ("step", "failing step"):
            return ctx.run(str(number), self._step(number, is_failing=kind != "step"))
        if kind == "sleep":
            return ctx.sleep(timedelta(milliseconds=number * 3))
        if kind == "call":
            return ctx.object_call(self._services.answer, key=str(number % LEAVES), arg=number)
        if kind == "scoped call":
            scope = ctx.scope(SCOPE, f"leaf{number % LEAVES}")
            return scope.service_call(self._services.answer_in_scope, number)
        if kind == "awakeable":
            return ctx.awakeable(type_hint=str)[1]
        if kind.startswith("signal"):
            return ctx.signal(kind, type_hint=str)
        promise = ctx.promise(f"promise {kind[-1]}", type_hint=str)
        if kind.startswith("promise"):
            return promise.value()
        peeked = promise.peek()
        assert isinstance(peeked, DurableFuture)
        return peeked

    def _step(self, number: int, *, is_failing: bool) -> Callable[[], Any]:
        async def step() -> str:
            self._services.rested[self._id].append(list(self._seen))
            self._services.executed[self._id, number] += 1
            count = self._services.executed[self._id, number]
            await asyncio.sleep(0.001 * (number % 4))
            if is_failing:
                raise TerminalError("broken")
            return f"run {count}"

        return step
