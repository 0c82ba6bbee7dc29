"""The steps of one attempt: executed in this process, recorded in the journal.

The result of a step is shown to the handler at once, if everything before it in the journal was. What
the handler records then is in the same commit or a later one. What it begins outside, another step,
waits for that commit (docs/decisions/0001-reveal-after-commit.md).
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from contextvars import Context, ContextVar, copy_context
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from howdah.errors import Interrupt, RetryableError, TerminalError, UsageError
from howdah.machine.entries import Entry, Kind
from howdah.retry import RunOptions, delay_after
from howdah.serde import Serde
from howdah.worker.failures import failure_detail, storable

if TYPE_CHECKING:
    from howdah.worker.local_attempt import LocalAttempt


executing: ContextVar[LocalAttempt | None] = ContextVar("howdah.executing", default=None)
"""Whose step this code is part of, also in the thread that executes it; None outside of steps."""


class _Step(NamedTuple):
    cid: int
    name: str
    action: Callable[[], Any]
    is_async: bool
    serde: Serde[Any]
    options: RunOptions[Any]


class Steps:
    """What one attempt executes outside of the journal.

    It is told its attempt with each call and keeps no reference to it: so an attempt that is over is
    freed at once. Garbage collection would cost more than all that a step does.

    Attributes:
        runs: The steps under way.
    """

    __slots__ = ("_gated", "_shown", "runs")

    def __init__(self) -> None:
        self.runs: dict[asyncio.Task[None], _Step] = {}
        self._shown: set[int] = set()
        self._gated: list[tuple[_Step, Context]] = []

    @property
    def are_under_way(self) -> bool:
        """Whether steps are executed, or will be as soon as what they rest on is on disk."""
        return bool(self.runs or self._gated)

    @property
    def must_wait(self) -> bool:
        """Whether the handler was shown what is not on disk yet: a step that begins now waits."""
        return bool(self._shown)

    def is_shown(self, entry: Entry) -> bool:
        """Whether the handler was shown this notification before its commit, which is now."""
        if entry.idx not in self._shown:
            return False
        self._shown.discard(entry.idx)
        return True

    def on_stored(self, attempt: LocalAttempt) -> None:
        """A unit is on disk: steps that rest on it begin."""
        if (
            self._gated
            and not self._shown
            and not attempt.is_leaving
            and attempt.machine.closed is None
        ):
            gated, self._gated = self._gated, []
            for step, context in gated:
                self._begin(attempt, step, context)

    def stop(self) -> None:
        """The attempt is over: nothing more is executed."""
        self._gated.clear()
        for run in list(self.runs):
            if run is not asyncio.current_task():
                run.cancel()

    def cancel(self, attempt: LocalAttempt) -> None:
        """The invocation is cancelled: steps under way end, others do not begin."""
        for run, step in list(self.runs.items()):
            if run.done():
                continue
            run.cancel(f"cancelled: {step.cid}")
            if not _has_begun(run):
                # It will not run a line, its own end included.
                del self.runs[run]
                self._record_cancelled(attempt, step)
        gated, self._gated = self._gated, []
        for step, _ in gated:
            self._record_cancelled(attempt, step)

    def _record_cancelled(self, attempt: LocalAttempt, step: _Step) -> None:
        attempt.notify(Kind.RUN_COMPLETED, step.cid, None, _cancelled_step(step.name))
        attempt.flush()

    def start(
        self,
        attempt: LocalAttempt,
        name: str,
        action: Callable[[], Any],
        is_async: bool,
        serde: Serde[Any],
        options: RunOptions[Any],
    ) -> int:
        """Record a step and execute it, unless its result is recorded. Returns the cid."""
        entry, _ = attempt.command(Kind.RUN, name, cids=1)
        cid = entry.cid
        assert cid is not None
        if attempt.machine.has_arrived(cid):
            return cid
        step = _Step(cid, name, action, is_async, serde, options)
        if self.must_wait:
            # It begins with the commit of what it rests on.
            self._gated.append((step, copy_context()))
        else:
            self._begin(attempt, step, None)
        return cid

    def _begin(self, attempt: LocalAttempt, step: _Step, context: Context | None) -> None:
        coroutine = self._execute(attempt, step)
        run = asyncio.get_running_loop().create_task(coroutine, context=context)
        self.runs[run] = step

    def _record(
        self, attempt: LocalAttempt, cid: int, value: bytes | None, detail: str | None
    ) -> None:
        """Record a step's result; show it at once if it is next in the journal."""
        is_next = attempt.uncommitted == len(self._shown) and not attempt.engine.always_replay
        entry = attempt.notify(Kind.RUN_COMPLETED, cid, value, detail).entries[-1]
        if not is_next:
            attempt.flush()
            return
        self._shown.add(entry.idx)
        attempt.machine.arrived(entry)
        attempt.try_resume()
        # After the handler has had its turn.
        asyncio.get_running_loop().call_soon(attempt.flush)

    async def _execute(self, attempt: LocalAttempt, step: _Step) -> None:
        try:
            result = await self._result_of(attempt, step)
        finally:
            run = asyncio.current_task()
            if run is not None:
                self.runs.pop(run, None)
        if result is not None and attempt.is_open:
            self._record(attempt, step.cid, *result)

    async def _result_of(
        self, attempt: LocalAttempt, step: _Step
    ) -> tuple[bytes | None, str | None] | None:
        """Its value or its failure; None: it has none, the attempt failed or is over."""
        skipping = attempt.engine.skipping
        count, started, pause = 0, skipping.seconds(), 0.0
        while True:
            count += 1
            try:
                if pause:
                    await skipping.pause(pause)
                return await self._try(attempt, step), None
            except TerminalError as error:
                return None, failure_detail(error.status_code, error.message, error.metadata)
            except Interrupt:
                return None
            except asyncio.CancelledError:
                if attempt.machine.closed is not None:
                    raise
                # A step that its invocation's cancellation ended is not executed again.
                return None, _cancelled_step(step.name)
            except Exception as error:
                policy = step.options.retry_policy()
                if policy is None:
                    attempt.fail(error, step.name)
                    return None
                elapsed = timedelta(seconds=skipping.seconds() - started)
                delay = delay_after(policy, count, attempt.engine.jitter(), elapsed=elapsed)
                if delay is None:
                    return None, _failed_step(step.name, error)
                asked = error.retry_after if isinstance(error, RetryableError) else None
                pause = (delay if asked is None else asked).total_seconds()

    async def _try(self, attempt: LocalAttempt, step: _Step) -> bytes:
        result = await self._executed(attempt, step)
        try:
            value = step.serde.serialize(result)
        except UsageError as error:
            raise TerminalError(
                f"the result of step {step.name!r} can't be written: {error}", 500
            ) from error
        attempt.check_size(value, f"the result of step {step.name!r}")
        return value

    async def _executed(self, attempt: LocalAttempt, step: _Step) -> Any:
        """What its action returns."""
        token = executing.set(attempt)
        try:
            if step.is_async:
                return await step.action()
            bridge = attempt.lends_thread(step.cid)
            if bridge is not None:
                result = await bridge.execute(step.action)
            else:
                result = await attempt.engine.in_thread(step.action)
            return await result if inspect.isawaitable(result) else result
        finally:
            executing.reset(token)


def _failed_step(name: str, error: Exception) -> str:
    return failure_detail(500, f"step {name!r} failed: {storable(error)}", None)


def _cancelled_step(name: str) -> str:
    return failure_detail(409, f"step {name!r} was cancelled", None)


def _has_begun(run: asyncio.Task[None]) -> bool:
    coroutine = run.get_coro()
    return (
        not inspect.iscoroutine(coroutine)
        or inspect.getcoroutinestate(coroutine) != inspect.CORO_CREATED
    )
