"""The steps of one attempt: executed in this process, recorded in the journal.

The result of a step is shown to the handler at once, if everything before it in the journal was. What
the handler records then is in the same commit or a later one. What it begins outside, another step,
waits for that commit (docs/decisions/0001-reveal-after-commit.md).
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable
from contextvars import ContextVar, copy_context
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from howdah.errors import Interrupt, RetryableError, TerminalError, UsageError
from howdah.machine.entries import Entry, Kind
from howdah.retry import RunOptions, delay_after
from howdah.serde import Serde
from howdah.worker.attempt import failure_detail

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

    Attributes:
        runs: The steps under way, with their completion ids.
    """

    __slots__ = ("_attempt", "_gated", "_shown", "runs")

    def __init__(self, attempt: LocalAttempt) -> None:
        self._attempt = attempt
        self.runs: dict[asyncio.Task[None], int] = {}
        self._shown: set[int] = set()
        self._gated: dict[int, tuple[str, Callable[[], None]]] = {}

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

    def on_stored(self) -> None:
        """A unit is on disk: steps that rest on it begin."""
        attempt = self._attempt
        if (
            self._gated
            and not self._shown
            and not attempt.is_leaving
            and attempt.machine.closed is None
        ):
            gated, self._gated = self._gated, {}
            for _, begin in gated.values():
                begin()

    def stop(self) -> None:
        """The attempt is over: nothing more is executed."""
        self._gated.clear()
        for run in list(self.runs):
            if run is not asyncio.current_task():
                run.cancel()

    def cancel(self) -> None:
        """The invocation is cancelled: steps under way end, others do not begin."""
        for run, cid in list(self.runs.items()):
            if not run.done():
                run.cancel(f"cancelled: {cid}")
        gated, self._gated = self._gated, {}
        for cid, (name, _) in gated.items():
            self._attempt.notify(Kind.RUN_COMPLETED, cid, None, _cancelled_step(name))
            self._attempt.flush()

    def start(
        self,
        name: str,
        action: Callable[[], Any],
        is_async: bool,
        serde: Serde[Any],
        options: RunOptions[Any],
    ) -> int:
        """Record a step and execute it, unless its result is recorded. Returns the cid."""
        attempt = self._attempt
        entry, _ = attempt.command(Kind.RUN, name, cids=1)
        cid = entry.cid
        assert cid is not None
        if attempt.machine.has_arrived(cid):
            return cid
        step = _Step(cid, name, action, is_async, serde, options)
        if self.must_wait:
            # It begins with the commit of what it rests on.
            self._gated[cid] = (name, functools.partial(copy_context().run, self._begin, step))
        else:
            self._begin(step)
        return cid

    def _begin(self, step: _Step) -> None:
        run = asyncio.get_running_loop().create_task(self._execute(step))
        self.runs[run] = step.cid
        run.add_done_callback(functools.partial(self._on_done, step))

    def _on_done(self, step: _Step, run: asyncio.Task[None]) -> None:
        """A step that was cancelled before it began has run nothing, its own end included."""
        attempt = self._attempt
        is_unsaid = self.runs.pop(run, None) is not None
        if is_unsaid and attempt.machine.closed is None and attempt.is_open:
            self._record(step.cid, None, _cancelled_step(step.name))

    def _record(self, cid: int, value: bytes | None, detail: str | None) -> None:
        """Record a step's result; show it at once if it is next in the journal."""
        attempt = self._attempt
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

    async def _execute(self, step: _Step) -> None:
        attempt = self._attempt
        try:
            result = await self._result_of(step)
        finally:
            run = asyncio.current_task()
            if run is not None:
                self.runs.pop(run, None)
        if result is not None and attempt.is_open:
            self._record(step.cid, *result)

    async def _result_of(self, step: _Step) -> tuple[bytes | None, str | None] | None:
        """Its value or its failure; None: it has none, the attempt failed or is over."""
        attempt = self._attempt
        skipping = attempt.engine.skipping
        count, started, pause = 0, skipping.seconds(), 0.0
        policy = step.options.retry_policy()
        while True:
            count += 1
            try:
                if pause:
                    await skipping.pause(pause)
                return await self._try(step), None
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
                if policy is None:
                    attempt.fail(error, step.name)
                    return None
                elapsed = timedelta(seconds=skipping.seconds() - started)
                delay = delay_after(policy, count, attempt.engine.jitter(), elapsed=elapsed)
                if delay is None:
                    return None, failure_detail(500, f"step {step.name!r} failed: {error}", None)
                asked = error.retry_after if isinstance(error, RetryableError) else None
                pause = (delay if asked is None else asked).total_seconds()

    async def _try(self, step: _Step) -> bytes:
        attempt = self._attempt
        result = await self._executed(step)
        try:
            value = step.serde.serialize(result)
        except UsageError as error:
            raise TerminalError(
                f"the result of step {step.name!r} can't be written: {error}", 500
            ) from error
        attempt.check_size(value, f"the result of step {step.name!r}")
        return value

    async def _executed(self, step: _Step) -> Any:
        """What its action returns."""
        attempt = self._attempt
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


def _cancelled_step(name: str) -> str:
    return failure_detail(409, f"step {name!r} was cancelled", None)
