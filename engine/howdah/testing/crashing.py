"""Crashes a handler's process at every place where it can make a difference, one after the other.

Between two commits nothing of an invocation is kept, so there are two places for each: just before
the commit, where what the code did since the last one is lost, and just after it, where it is
recorded and nobody has seen it yet. Each of them gets a run of its own, on a database of its own.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic
from typing import Any, Final, Self

from howdah.errors import HowdahError, TerminalError, UsageError
from howdah.handler import Handler
from howdah.options import Options
from howdah.service import AnyService
from howdah.store.batch import APPEND_BATCH, COMMIT_BATCH
from howdah.testing.bench import Bench, opened, result_of
from howdah.testing.environments import TIMEOUT, Environment
from howdah.testing.journals import JOURNAL, Journal, journal_of
from howdah.testing.mortal import Mortal, mortal_tasks
from howdah.testing.problems import CrashFailure, Unfinished
from howdah.testing.serving import check_services, handler_in, options_of

IDEMPOTENCY_KEY: Final = "crash_everywhere"
"""With which the handler is called: the client repeats its call after the crash."""
BOUNDARIES_MAX: Final = 2000
_LOOK_SECONDS: Final = 0.005

_INVOCATION: Final = """
select i.id, i.status from howdah.invocations i
 where i.parent_id is null and i.service = $1 and i.handler = $2 and i.key is not distinct from $3
   and (i.idempotency_key = $4 or $5)
"""
_TWICE: Final = """
select j.name, count(*) as n from howdah.journal j
 where j.type = 'run completed' group by j.invocation_id, j.completes, j.name having count(*) > 1
"""


@dataclass(frozen=True, slots=True)
class CrashReport:
    """What `crash_everywhere` found: nothing that a crash would change.

    Attributes:
        boundaries: At how many places it crashed the process.
        result: The handler's result, in all of the runs.
    """

    boundaries: int
    result: Any


@dataclass(frozen=True, slots=True)
class _Ending:
    """How a run ended: its result, or its failure."""

    result: Any
    failure: tuple[int, str] | None

    def __str__(self) -> str:
        if self.failure is None:
            return repr(self.result)
        return f"TerminalError {self.failure[0]}: {self.failure[1]}"


@dataclass(slots=True)
class _Run:
    """One run.

    Attributes:
        looks: How many boundaries it passed, or at which it was killed.
        is_killed: Whether it was.
        ending: How it ended.
        before: The journal when the process had died; None when the request was not accepted yet.
    """

    looks: int = 0
    is_killed: bool = False
    ending: _Ending | None = None
    before: Journal | None = None


@dataclass(frozen=True, slots=True)
class _Prepared:
    """What a run begins with, and what closes it."""

    bench: Bench
    env: Environment
    mortal: Mortal
    stack: AsyncExitStack


async def crash_everywhere(
    handler: Callable[..., Any],
    arg: Any = None,
    *,
    services: Sequence[AnyService],
    key: str | None = None,
    setup: Callable[[Environment], Awaitable[Any]] | None = None,
    invariant: Callable[[Environment], Awaitable[Any]] | None = None,
    normalize: Callable[[Any], Any] | None = None,
    only: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    inactivity_timeout: timedelta | None = None,
    options: Options | None = None,
    database_url: str | None = None,
    timeout: timedelta = TIMEOUT,
) -> CrashReport:
    """Run a handler once for each place where a crash can matter, and crash it there.

    A run without a crash says what is right. In each other run the process ends as by `kill -9`
    just before or just after one of the commits, another one takes over, and the client repeats
    its request. Then result and database must be the same as without a crash: the result is equal,
    `howdah.check()` finds nothing, each step is recorded once, and `invariant` holds.

    All runs share this process and this event loop: `setup` puts back what the handlers change in
    memory. What the crashed code held, such as connections of a pool, is given back after the run.
    Sleeps are skipped.

    Args:
        handler: The decorated function.
        arg: Its argument.
        services: Its service, and those that it calls.
        key: The key, for an object or a workflow.
        setup: Called before each run, with its environment; nothing crashes meanwhile.
        invariant: Called after each run, with its environment; it raises when something is wrong.
        normalize: What is compared of a result, where it holds a time or a new id.
        only: The one boundary to crash at, as a failure named it.
        on_progress: Called with the number of the run and how many there will be, about; without
            it, a line tells on a terminal.
        inactivity_timeout: How long a waiting handler stays in memory; see `environment`.
        options: Of the engine.
        database_url: See `environment`.
        timeout: How long a run may take, in real time.

    Raises:
        CrashFailure: a crash made a difference; the message tells where and which.
        Unfinished: the run without a crash has no result in time, or is wrong.
        UsageError: the handler cannot be called.
    """
    checked = check_services(services)
    sweep = _Sweep(
        handler_in(checked, handler, "call"), arg, key, checked, setup, invariant, normalize,
        options_of(options, inactivity_timeout), database_url, timeout,
    )  # fmt: skip
    tell = on_progress or _tell
    count = 0
    with mortal_tasks():
        async with sweep:
            expected = await sweep.run(0)
            assert expected.ending is not None
            for number in range(1, BOUNDARIES_MAX) if only is None else (only,):
                run = await sweep.run(number, expected)
                if not run.is_killed:
                    break
                count += 1
                tell(number, max(expected.looks, number))
    if only is not None and not count:
        raise UsageError(f"There is no boundary {only}: a run has {expected.looks}.")
    return CrashReport(count, expected.ending.result)


class _Sweep:
    """What all runs have in common."""

    def __init__(
        self,
        handler: Handler[Any, Any],
        arg: Any,
        key: str | None,
        services: Sequence[AnyService],
        setup: Callable[[Environment], Awaitable[Any]] | None,
        invariant: Callable[[Environment], Awaitable[Any]] | None,
        normalize: Callable[[Any], Any] | None,
        options: Options,
        database_url: str | None,
        timeout: timedelta,
    ) -> None:
        self._handler = handler
        self._arg = arg
        self._key = key
        self._services = services
        self._setup = setup
        self._invariant = invariant
        self._normalize = normalize
        self._options = options
        self._database_url = database_url
        self._timeout = timeout
        self._next: asyncio.Task[_Prepared] | None = None
        self._closing: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._next is not None:
            self._close((await self._next).stack)
        await asyncio.gather(*self._closing)

    async def _prepare(self) -> _Prepared:
        stack, mortal = AsyncExitStack(), Mortal()
        try:
            bench = await stack.enter_async_context(
                opened(self._services, self._options, False, self._database_url, self._timeout)
            )
            await bench.start(mortal)
        except BaseException:
            await stack.aclose()
            raise
        return _Prepared(bench, Environment(bench), mortal, stack)

    def _prepare_next(self) -> None:
        """Make database and engine of the next run beside this one: most of it is waiting."""
        self._next = asyncio.get_running_loop().create_task(self._prepare())

    def _close(self, stack: AsyncExitStack) -> None:
        self._closing.add(asyncio.get_running_loop().create_task(stack.aclose()))

    async def run(self, kill_at: int, expected: _Run | None = None) -> _Run:
        """Run once, killed at a boundary; 0: never. Compares with the run that is expected.

        Raises:
            CrashFailure: it ended otherwise.
        """
        run = _Run()
        if self._next is None:
            self._prepare_next()
        assert self._next is not None
        prepared, self._next = await self._next, None
        try:
            await self._run(run, kill_at, expected, prepared)
        finally:
            self._close(prepared.stack)
        return run

    async def _run(
        self, run: _Run, kill_at: int, expected: _Run | None, prepared: _Prepared
    ) -> None:
        bench, env, mortal = prepared.bench, prepared.env, prepared.mortal
        if self._setup is not None:
            await self._setup(env)
            await bench.until_idle()
        self._prepare_next()

        def look(statement: str) -> None:
            if statement in (APPEND_BATCH, COMMIT_BATCH):
                run.looks += 1
                if run.looks == kill_at:
                    bench.die()

        bench.on_call = look
        try:
            run.ending = await self._ending(bench, mortal)
        finally:
            bench.on_call = None
        run.is_killed = run.ending is None
        if not run.is_killed:
            await self._verify(bench, env, run, expected)
            return
        bury = await bench.replace_dead()
        try:
            run.before = await self._journal(bench)
            try:
                run.ending = await self._ending(bench, None)
            except (Unfinished, HowdahError) as error:
                raise self._failure(run, str(error), expected) from error.__cause__ or error
            await self._verify(bench, env, run, expected)
        finally:
            await bury()

    async def _ending(self, bench: Bench, mortal: Mortal | None) -> _Ending | None:
        """Call the handler, letting time pass when it only waits; None: the process was killed."""
        call = asyncio.ensure_future(self._call(bench))
        ends: set[asyncio.Future[Any]] = {call} if mortal is None else {call, mortal.died}
        deadline = monotonic() + self._timeout.total_seconds()
        try:
            while not any(end.done() for end in ends):
                await asyncio.wait(ends, timeout=_LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                if not any(end.done() for end in ends):
                    await self._let_time_pass(bench, mortal, deadline)
            if mortal is not None and mortal.died.done():
                return None
            try:
                return _Ending(call.result(), None)
            except TerminalError as error:
                return _Ending(None, (error.status_code, error.message))
        finally:
            call.cancel()
            await asyncio.wait({call})

    async def _call(self, bench: Bench) -> Any:
        """Ask for the result as a client that repeats its request: the first one counts."""
        handler = self._handler
        submission = await bench.submission(
            handler, self._arg, self._key,
            idempotency_key=None if handler.kind == "workflow" else IDEMPOTENCY_KEY,
        )  # fmt: skip
        accepted = await bench.engine.accept(submission)
        return result_of(await bench.outcome(accepted.id, accepted.outcome, None), handler)

    async def _let_time_pass(self, bench: Bench, mortal: Mortal | None, deadline: float) -> None:
        try:
            busy = await bench.look()
            if not busy:
                rows = await self._invocation(bench)
                if rows and rows[0]["status"] != "completed" and not await bench.jump_to_next():
                    raise await bench.unfinished("It waits, and nothing here ends that.")
            if monotonic() > deadline:
                raise await bench.unfinished(f"There is no result after {self._timeout}.", busy)
        except Exception:
            # If it was killed meanwhile, that is why.
            if mortal is None or not mortal.died.done():
                raise

    async def _verify(
        self, bench: Bench, env: Environment, run: _Run, expected: _Run | None
    ) -> None:
        assert run.ending is not None
        try:
            await bench.until_idle()
            await env.check()
        except AssertionError as error:
            raise self._failure(run, str(error), expected) from error
        for row in await bench.fetch(_TWICE):
            what = f"The step {row['name']!r} is recorded {row['n']} times."
            raise self._failure(run, what, expected)
        if expected is not None and self._compared(run) != self._compared(expected):
            what = f"It ended otherwise.\n  expected: {expected.ending}\n       got: {run.ending}"
            raise self._failure(run, what, expected)
        if self._invariant is not None:
            try:
                await self._invariant(env)
            except Exception as error:
                what = f"The invariant does not hold: {type(error).__name__}: {error}"
                raise self._failure(run, what, expected) from error

    def _compared(self, run: _Run) -> Any:
        ending = run.ending
        assert ending is not None
        if self._normalize is None or ending.failure is not None:
            return ending
        return self._normalize(ending.result)

    async def _invocation(self, bench: Bench) -> list[Any]:
        """The invocation that was asked for: its id and status, in one row or none."""
        handler = self._handler
        return await bench.fetch(
            _INVOCATION, handler.service, handler.name, self._key, IDEMPOTENCY_KEY,
            handler.kind == "workflow",
        )  # fmt: skip

    async def _journal(self, bench: Bench) -> Journal | None:
        rows = await self._invocation(bench)
        return journal_of(await bench.fetch(JOURNAL, rows[0]["id"])) if rows else None

    @staticmethod
    def _failure(run: _Run, what: str, expected: _Run | None) -> AssertionError:
        if not run.is_killed or expected is None:
            return Unfinished(f"Without any crash:\n{what}")
        commit, is_after = divmod(run.looks - 1, 2)
        where = "after it, before anybody saw it" if is_after else "before it"
        journal = "  it was not accepted yet" if run.before is None else str(run.before)
        return CrashFailure(
            f"A crash at boundary {run.looks} of {expected.looks} made a difference.\n{what}\n"
            f"The process was killed at commit {commit + 1}, {where}.\n"
            f"What the journal held then:\n{journal}\n"
            f"To crash it only there: crash_everywhere(..., only={run.looks}).",
            run.looks,
        )


def _tell(number: int, count: int) -> None:
    if sys.stderr.isatty():
        end = "\n" if number == count else ""
        sys.stderr.write(f"\rcrash_everywhere: {number} of {count}{end}")
        sys.stderr.flush()
