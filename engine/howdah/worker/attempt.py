"""One attempt: a lease in hand, a handler run, an outcome recorded (or the lease given back).

The attempt is the only writer of its invocation's journal. It fills a `Unit`, which the commit lane
writes; what comes back is revealed to the handler only after its commit. Authority over whether
the attempt may still write lies with Postgres: a unit that comes back lost ends it.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
import traceback
from collections.abc import Callable
from contextvars import copy_context
from datetime import datetime, timedelta
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol
from uuid import UUID

import msgspec

from howdah.errors import (
    AttemptAbandoned,
    Cancelled,
    HowdahError,
    Interrupt,
    NonDeterminism,
    RemoteFailure,
    RetryableError,
    Suspended,
    TerminalError,
    UsageError,
)
from howdah.handler import Handler, HandlerOptions
from howdah.ids import uuid7
from howdah.machine.entries import CANCEL, NOTIFICATION, Entry, Kind, signal_cid
from howdah.machine.machine import Machine, WaitKey
from howdah.retry import RetryPolicy, RunOptions, delay_after
from howdah.serde import Serde
from howdah.store.registry import HandlerRow
from howdah.store.units import Ask, Final, Mail, NewInvocation, Outcome, Record, Unit

if TYPE_CHECKING:
    from howdah.worker.bridge import Bridge
    from howdah.worker.engine import Engine

logger = logging.getLogger(__name__)

STACKTRACE_CHARACTERS_MAX = 8_000


def failure_detail(code: int, message: str, metadata: dict[str, str] | None) -> str:
    """The JSON of a failed notification or output."""
    facts: dict[str, Any] = {"code": code, "message": message}
    if metadata:
        facts["metadata"] = metadata
    return msgspec.json.encode(facts).decode().replace("\\u0000", "\\ufffd")


def error_of(detail: str) -> TerminalError:
    """The error that a failed notification stands for."""
    facts = msgspec.json.decode(detail)
    return TerminalError(facts["message"], facts["code"], facts.get("metadata"))


class Executable(Protocol):
    """What an attempt must know of its handler, wherever that runs."""

    @property
    def options(self) -> HandlerOptions:
        """Timeouts, and what of the state is there at the start."""
        ...

    @property
    def retry_policy(self) -> RetryPolicy:
        """How failed attempts are retried."""
        ...


class Waiter(Protocol):
    """Who is told how a wait ended: a future of the loop, or the thread of a sync handler."""

    def done(self) -> bool:
        """Whether it was told."""
        ...

    def set_result(self, result: None, /) -> None:
        """What was waited for is there."""
        ...

    def set_exception(self, exception: BaseException, /) -> None:
        """It will not come, or something else came first."""
        ...


class Attempt:
    """One execution of an invocation in this process.

    Attributes:
        bridge: To the thread that executes a sync handler, while there is one.
        is_queued: Whether it waits for such a thread.
    """

    __slots__ = (
        "_calls",
        "_consumed",
        "_due",
        "_finishing",
        "_fresh_sleeps",
        "_gated",
        "_is_over",
        "_runs",
        "_shown",
        "_task",
        "_timers",
        "_uncommitted",
        "_waiter",
        "_waiting_for",
        "_written",
        "bridge",
        "engine",
        "epoch",
        "handler",
        "id",
        "inactivity_seconds",
        "is_partial",
        "is_queued",
        "key",
        "last_tick",
        "machine",
        "record",
        "row",
        "sleeps",
        "state",
        "unit",
        "waiting_since",
    )

    def __init__(
        self, engine: Engine, record: Record, row: HandlerRow, handler: Executable
    ) -> None:
        self.engine = engine
        self.record = record
        self.id: UUID = record.id
        self.epoch = record.epoch
        self.key = record.key
        self.row = row
        self.handler = handler
        self.machine = Machine(f"{row.service}/{row.name}", record.journal)
        self.state = record.state
        self.is_partial = record.is_partial
        preloads = handler.options.preloads
        if preloads is not True:
            self.is_partial = True
            self.state = {
                name: record.state[name] for name in preloads or () if name in record.state
            }
        self.last_tick = engine.tick
        inactivity = handler.options.inactivity_timeout
        self.inactivity_seconds = (
            engine.options.inactivity_timeout if inactivity is None else inactivity
        ).total_seconds()
        self.sleeps = record.sleeps
        self.unit: Unit | None = None
        self.waiting_since = 0.0
        self.bridge: Bridge | None = None
        self.is_queued = False
        self._waiter: Waiter | None = None
        self._waiting_for: tuple[tuple[WaitKey, ...], bool] = ((), False)
        self._runs: dict[asyncio.Task[None], int] = {}
        self._calls: dict[int, tuple[UUID, int | None]] = {}
        self._written: dict[str, bool] = {}
        self._timers: dict[int, asyncio.TimerHandle] = {}
        self._due: list[int] = []
        self._task: asyncio.Task[None] | None = None
        self._finishing: Unit | None = None
        self._uncommitted = 0
        self._shown: set[int] = set()
        self._gated: dict[int, tuple[str, Callable[[], None]]] = {}
        self._fresh_sleeps = 0
        self._consumed: set[int] = set()
        self._is_over = False

    # Life.

    def begin(self) -> None:
        """Start executing the handler."""
        attempts = self.record.attempts
        if attempts > 1 and attempts > (self.handler.retry_policy.max_attempts or attempts):
            self._give_up(
                TerminalError(
                    f"the process ended during {self.record.attempts - 1} attempts in a row"
                ),
                "",
            )
            return
        self._start()

    def _start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._main())

    async def _main(self) -> None:
        from howdah.worker.blocking import run_in_thread
        from howdah.worker.local import LocalContext

        handler = self.handler
        assert isinstance(handler, Handler)
        try:
            context = LocalContext(self)
            arguments: tuple[Any, ...] = ()
            if handler.takes_input:
                try:
                    arguments = (handler.input_serde.deserialize(self.record.input),)
                except UsageError as error:
                    raise TerminalError(f"the input can't be read: {error}", 400) from error
            if handler.is_async:
                result = await handler.fn(context, *arguments)
            else:
                result = await run_in_thread(self, handler, context, arguments)
            if self._is_over or self.machine.closed is not None:
                return
            try:
                value = handler.output_serde.serialize(result)
            except UsageError as error:
                raise TerminalError(f"the result can't be written: {error}", 500) from error
            self._check_size(value, "the result")
            self.machine.finish()
        except Interrupt:
            return
        except TerminalError as error:
            self._end_failed(error)
        except asyncio.CancelledError:
            if not self._is_over:
                self._fail(RetryableError("the handler was cancelled from inside"))
        except BaseExceptionGroup as group:
            if group.subgroup(Interrupt) is None:
                self._fail(group)
        except Exception as error:
            self._fail(error)
        else:
            self._end("succeeded", value, None)

    def _close(self, reason: BaseException) -> None:
        """End the handler's code: every verb raises from here on."""
        self._is_over = True
        if self.machine.closed is None:
            self.machine.closed = reason
        for run in list(self._runs):
            run.cancel()
        for timer in self._timers.values():
            timer.cancel()
        self._interrupt(reason)

    def _interrupt(self, reason: BaseException) -> None:
        """Stop the handler where it waits; a thread that does not is stopped by its next verb."""
        waiter, task = self._waiter, self._task
        if waiter is not None and not waiter.done():
            waiter.set_exception(reason)
        elif (
            self.bridge is None
            and task is not None
            and not task.done()
            and task is not asyncio.current_task()
        ):
            task.cancel()

    def abandon(self) -> None:
        """The lease is gone: drop everything. Whoever has it now goes on from the journal."""
        if self._is_over and self.engine.residents.get(self.id) is not self:
            return
        self.engine.lane.discard(self)
        self.unit = None
        self._close(AttemptAbandoned())
        self.engine.ended(self)

    # What the lane tells.

    def on_committed(self, unit: Unit, clock: datetime | None) -> None:
        """A unit is on disk: show the handler what came back with it."""
        if self._is_over and unit.final is None:
            return
        machine = self.machine
        wakes = False
        for entry in unit.entries:
            if entry.kind >= NOTIFICATION:
                if entry.idx in self._shown:
                    self._shown.discard(entry.idx)
                else:
                    machine.arrived(entry)
                self._uncommitted -= 1
                wakes = True
            elif entry.kind == Kind.SLEEP and clock is not None:
                assert entry.cid is not None
                assert entry.detail is not None
                delay = timedelta(milliseconds=msgspec.json.decode(entry.detail)["delay_ms"])
                self.sleeps[entry.cid] = clock + delay
                self._fresh_sleeps -= 1
                self._start_timer(entry.cid, delay.total_seconds())
        final = unit.final
        if final is not None:
            self._finish(final)
            return
        if self._gated and not self._shown and self._finishing is None and machine.closed is None:
            gated, self._gated = self._gated, {}
            for _, begin in gated.values():
                begin()
        if wakes:
            self._try_resume()
        if self._waiter is not None and (unit.wants_clock or not self.inactivity_seconds):
            self.engine.suspending.on_waiting(self)

    def on_absorbed(self, unit: Unit) -> None:
        """A busy unit took over what was added meanwhile."""
        if unit.final is not None:
            self._finishing = unit

    def on_refused(self, error: Exception) -> None:
        """The database can't store what this attempt wrote. Nothing of the unit was written."""
        self.unit = None
        self.engine.lane.discard(self)
        logger.warning(
            "the database refused an attempt's data",
            extra={"invocation_id": str(self.id), "error_code": getattr(error, "sqlstate", "")},
        )
        self._finishing = None
        self._give_back_failed(
            RetryableError(f"Postgres can't store what this attempt recorded: {error}"), None
        )

    def on_tie_lost(self, unit: Unit, lost: Unit) -> None:
        """What this unit was tied to is not written: the lease of its attempt is gone.

        A caller that left this process gets its completion by mail. A callee's completion leaves
        the unit of its caller: another attempt will complete the call.
        """
        if lost.attempt.id == self.record.parent_id:
            outcome = unit.final.outcome if unit.final else None
            if outcome is not None and self.record.parent_cid is not None:
                mail = _completion_mail(lost.attempt.id, self.record.parent_cid, outcome)
                unit.mail.append(mail)
        elif lost.final is not None and lost.final.outcome is not None:
            cid = lost.attempt.record.parent_cid
            value, detail = _completion(lost.final.outcome)
            self._withdraw(unit, (Kind.CALL_COMPLETED, cid, None, value, None, detail))

    def _withdraw(self, unit: Unit, facts: tuple[Any, ...]) -> None:
        """Take a notification that nobody saw yet out of its unit; what follows moves up."""
        place = next(n for n, entry in enumerate(unit.entries) if entry[1:] == facts)
        del unit.entries[place]
        rest = [(unit, place)]
        if self.unit is not None and self.unit is not unit:
            rest.append((self.unit, 0))
        for later, first in rest:
            later.entries[first:] = [
                entry._replace(idx=entry.idx - 1) for entry in later.entries[first:]
            ]
        self.machine.next_idx -= 1
        self._uncommitted -= 1

    # Writing.

    def pending(self) -> Unit:
        """The unit that collects what this attempt writes next."""
        unit = self.unit
        if unit is None:
            unit = self.unit = Unit(self)
        return unit

    def flush(self) -> None:
        """Send what is collected with the next batch."""
        unit = self.unit
        if unit is not None and not unit.is_queued:
            unit.is_queued = True
            self.engine.lane.queue(unit)

    def notify(
        self,
        kind: int,
        cid: int,
        value: bytes | None,
        detail: str | None,
        ref: UUID | None = None,
        name: str | None = None,
    ) -> Unit:
        """Give a notification its place in the journal; it is revealed after its commit."""
        unit = self.pending()
        unit.entries.append(self.machine.notification(kind, cid, value, detail, ref, name))
        self._uncommitted += 1
        return unit

    @property
    def is_open(self) -> bool:
        """Whether notifications may still be written into the journal from here.

        A suspension that was not sent yet is called off by what arrives.
        """
        if self._is_over:
            return False
        finishing = self._finishing
        if finishing is None:
            return True
        assert finishing.final is not None
        if finishing.final.status == "suspended" and finishing is self.unit:
            finishing.final = None
            self._finishing = None
            for cid in self._due:
                self._start_timer(cid, 0.0)
            self._due.clear()
            return True
        return False

    def consume(self, seq: int, kind: int, cid: int, value: bytes | None, detail: str | None,
                ref: UUID | None, name: str | None) -> None:  # fmt: skip
        """Take a piece of mail into the journal; the mailbox row goes with the same commit."""
        # The mailbox may have been read before the commit that took this piece out of it: then the
        # journal has it already. Signals may come more than once; their place in the mailbox tells.
        if seq in self._consumed or (kind != Kind.SIGNAL and self.machine.has_arrived(cid)):
            return
        self._consumed.add(seq)
        self.notify(kind, cid, value, detail, ref, name).consumed.append(seq)
        self.flush()

    # Waiting.

    def completion(self, key: WaitKey) -> Entry | None:
        """A revealed completion."""
        return self.machine.completed.get(key)

    async def wait(self, keys: tuple[WaitKey, ...], wait_all: bool) -> None:
        """Return when any (or all) completions are there; the handler's only way to pause.

        Raises:
            Cancelled: a cancellation is in the journal before them.
        """
        if self.is_there(keys, wait_all):
            return
        waiter = asyncio.get_running_loop().create_future()
        self.begin_wait(keys, wait_all, waiter)
        try:
            await waiter
        finally:
            self.end_wait()

    def is_there(self, keys: tuple[WaitKey, ...], wait_all: bool) -> bool:
        """Whether the handler may see any (or all) of these completions now.

        Raises:
            Cancelled: a cancellation is in the journal before them.
            Interrupt: the attempt is over.
        """
        if self.machine.closed is not None:
            raise self.machine.closed
        return self._reveal(keys, wait_all)

    def begin_wait(self, keys: tuple[WaitKey, ...], wait_all: bool, waiter: Waiter) -> None:
        """Tell `waiter` once these completions are there; `end_wait` follows."""
        if self._waiter is not None:
            raise UsageError(
                "two awaits at once on durable futures of one invocation",
                hint="Use howdah.gather, select or wait_completed instead of asyncio's.",
            )
        self._waiting_for = (keys, wait_all)
        self._waiter = waiter
        self.waiting_since = monotonic()
        unit = self.unit
        if unit is not None and not ((self._runs or self._gated) and _only_runs(unit)):
            self.flush()
        self.engine.suspending.on_waiting(self)

    def end_wait(self) -> None:
        """The handler goes on."""
        self._waiter = None

    def _try_resume(self) -> None:
        waiter = self._waiter
        if waiter is None or waiter.done():
            return
        try:
            if not self._reveal(*self._waiting_for):
                return
        except Cancelled as cancelled:
            waiter.set_exception(cancelled)
            return
        except NonDeterminism as mismatch:
            self._fail(mismatch)
            return
        if self.engine.always_replay:
            self.release()
        else:
            self.last_tick = self.engine.tick
            waiter.set_result(None)

    def _reveal(self, keys: tuple[WaitKey, ...], wait_all: bool) -> bool:
        machine = self.machine
        try:
            return machine.reveal_all(keys) if wait_all else machine.reveal_any(keys)
        except Cancelled:
            self._pass_on_cancellation()
            raise

    def _pass_on_cancellation(self) -> None:
        """The invocation is cancelled: so are the callees that it has no result of, and its steps.

        Which callees these are follows from what was revealed, so a replay does the same.
        """
        completed = self.machine.completed
        for cid, (callee, id_cid) in self._calls.items():
            if cid in completed:
                continue
            if id_cid is None:
                self.send_cancellation(callee)
                continue
            known = completed.get(id_cid)
            if known is not None and known.ref is not None:
                self.send_cancellation(known.ref)
        for run, cid in list(self._runs.items()):
            if not run.done():
                run.cancel(f"cancelled: {cid}")
        gated, self._gated = self._gated, {}
        for cid, (name, _) in gated.items():
            self.notify(Kind.RUN_COMPLETED, cid, None, _cancelled_step(name))
            self.flush()

    @property
    def _is_waiting(self) -> bool:
        return (
            self._waiter is not None
            and not self._waiter.done()
            and not self._uncommitted
            and not self._fresh_sleeps
            and self._finishing is None
            and not self._is_over
        )

    @property
    def is_idle(self) -> bool:
        """Whether it waits for others alone: nothing runs here, nothing of it is on its way."""
        return self._is_waiting and not self._runs

    @property
    def is_at_rest(self) -> bool:
        """Whether it does nothing here until others or the clock do; a step may wait for a retry."""
        paused = self.engine.skipping.paused
        return self._is_waiting and self.unit is None and all(run in paused for run in self._runs)

    def next_due_at(self) -> datetime | None:
        """When the first of its timers rings, by the database's clock."""
        return min((self.sleeps[cid] for cid in self._timers), default=None)

    @property
    def is_leaving(self) -> bool:
        """Whether its lease is being given back, or its outcome written."""
        return self._finishing is not None

    def abort_if_stuck(self, seconds: float) -> None:
        """Fail an attempt whose handler neither waits for howdah, nor in a step, nor goes on."""
        if self._waiter is not None or self._runs or self._finishing is not None or self._is_over:
            return
        if self.is_queued:
            return
        abort = self.handler.options.abort_timeout
        limit = self.engine.options.abort_timeout if abort is None else abort
        if seconds > self.inactivity_seconds + limit.total_seconds():
            self._fail(
                RetryableError(
                    f"the handler reached no verb of its context for {seconds:.0f} s; put slow "
                    "work into ctx.run, or raise abort_timeout"
                )
            )

    def yield_soon(self) -> bool:
        """Give the lease back if nothing is lost by it; False: it goes on."""
        if not self.is_idle:
            return False
        self.suspend()
        return True

    def suspend(self) -> None:
        """Give the lease back until what it waits for is there."""
        keys, wait_all = self._waiting_for
        missing = [key for key in keys if key not in self.machine.completed]
        due = [self.sleeps[key] for key in missing if isinstance(key, int) and key in self.sleeps]
        run_at = None
        if due:
            run_at = max(due) if wait_all and len(due) == len(missing) else min(due)
        names = sorted({key[0] for key in missing if not isinstance(key, int)})
        ids = {key if isinstance(key, int) else signal_cid(key[0]) for key in missing}
        unit = self.pending()
        unit.final = Final(
            "S",
            status="suspended",
            run_at=run_at,
            wait_ids=tuple(ids),
            wait_all=wait_all,
            wait_note=", ".join(f"signal {name}" for name in names) or None,
        )
        self._finishing = unit
        self.flush()

    def sleeps_longer_than(self, seconds: float, now: datetime) -> bool:
        """Whether it waits for timers alone, none of which is due within `seconds`."""
        keys, _ = self._waiting_for
        limit = now + timedelta(seconds=seconds)
        return all(
            isinstance(key, int) and key in self.sleeps and self.sleeps[key] > limit
            for key in keys
            if key not in self.machine.completed
        )

    def _start_timer(self, cid: int, seconds: float) -> None:
        self._timers[cid] = asyncio.get_running_loop().call_later(
            max(seconds, 0.0), self._timer_due, cid
        )

    def rearm_timers(self) -> None:
        """The database's clock jumped: timers ring when their sleeps are due by the new time."""
        now = self.engine.database_now()
        for cid, timer in list(self._timers.items()):
            timer.cancel()
            self._start_timer(cid, (self.sleeps[cid] - now).total_seconds())

    def _timer_due(self, cid: int) -> None:
        self._timers.pop(cid, None)
        if self.is_open:
            self.notify(Kind.SLEEP_COMPLETED, cid, None, None)
            self.flush()
        else:
            # Its suspension is on its way. Should it be called off, nobody else will say this.
            self._due.append(cid)

    # Verbs: what LocalContext turns into.

    def command(
        self,
        kind: int,
        name: str | None = None,
        value: bytes | None = None,
        ref: UUID | None = None,
        detail: str | None = None,
        cids: int = 0,
    ) -> tuple[Entry, bool]:
        """The handler's next command; True: it is new and collected for the next commit.

        Raises:
            TerminalError: 413, the value is above `Options.value_bytes_max`.
        """
        if value is not None:
            self._check_size(value, name or "a value")
        machine = self.machine
        self.last_tick = self.engine.tick
        entry = machine.command(kind, name, value, ref, detail, cids)
        if entry.idx <= machine.known:
            return entry, False
        self.pending().entries.append(entry)
        return entry, True

    def _check_size(self, value: bytes, what: str) -> None:
        limit = self.engine.options.value_bytes_max
        if len(value) > limit:
            raise TerminalError(
                f"{what}: {len(value):,} bytes, and a value may have {limit:,}; keep it elsewhere "
                "and pass on where it is, or raise HOWDAH_VALUE_BYTES_MAX",
                413,
            )

    def start_run(
        self,
        name: str,
        action: Callable[[], Any],
        is_async: bool,
        serde: Serde[Any],
        options: RunOptions[Any],
    ) -> int:
        """Record a step and execute it, unless its result is recorded. Returns the cid."""
        entry, _ = self.command(Kind.RUN, name, cids=1)
        cid = entry.cid
        assert cid is not None
        if self.machine.has_arrived(cid):
            return cid
        if self._shown:
            # It rests on what is not on disk yet: it begins with that commit.
            begin = functools.partial(self._begin_run, cid, name, action, is_async, serde, options)
            self._gated[cid] = (name, functools.partial(copy_context().run, begin))
        else:
            self._begin_run(cid, name, action, is_async, serde, options)
        return cid

    def _begin_run(
        self,
        cid: int,
        name: str,
        action: Callable[[], Any],
        is_async: bool,
        serde: Serde[Any],
        options: RunOptions[Any],
    ) -> None:
        run = asyncio.get_running_loop().create_task(
            self._run(cid, name, action, is_async, serde, options)
        )
        self._runs[run] = cid
        run.add_done_callback(functools.partial(self._on_run_done, cid, name))

    def _on_run_done(self, cid: int, name: str, run: asyncio.Task[None]) -> None:
        """A step that was cancelled before it began has run nothing, its own end included."""
        if self._runs.pop(run, None) is not None and self.machine.closed is None and self.is_open:
            self._end_run(cid, None, _cancelled_step(name))

    def _end_run(self, cid: int, value: bytes | None, detail: str | None) -> None:
        """Record a step's result; show it at once if it is next in the journal.

        What the handler records on the strength of it is in the same commit or a later one, and
        whatever it begins outside waits for that (see `start_run`): so the commit of a result
        carries the next command, or the end.
        """
        is_next = self._uncommitted == len(self._shown) and not self.engine.always_replay
        entry = self.notify(Kind.RUN_COMPLETED, cid, value, detail).entries[-1]
        if not is_next:
            self.flush()
            return
        self._shown.add(entry.idx)
        self.machine.arrived(entry)
        self._try_resume()
        # After the handler has had its turn.
        asyncio.get_running_loop().call_soon(self.flush)

    async def _run(
        self,
        cid: int,
        name: str,
        action: Callable[[], Any],
        is_async: bool,
        serde: Serde[Any],
        options: RunOptions[Any],
    ) -> None:
        value: bytes | None = None
        detail: str | None = None
        skipping = self.engine.skipping
        attempt, started, pause = 0, skipping.seconds(), 0.0
        policy = options.retry_policy()
        try:
            while True:
                attempt += 1
                try:
                    if pause:
                        await skipping.pause(pause)
                    if is_async:
                        result = await action()
                    else:
                        result = await self._in_thread(cid, action)
                        if inspect.isawaitable(result):
                            result = await result
                    try:
                        value = serde.serialize(result)
                    except UsageError as error:
                        raise TerminalError(
                            f"the result of step {name!r} can't be written: {error}", 500
                        ) from error
                    self._check_size(value, f"the result of step {name!r}")
                    break
                except TerminalError as error:
                    detail = failure_detail(error.status_code, error.message, error.metadata)
                    break
                except Interrupt:
                    return
                except asyncio.CancelledError:
                    if self._is_over or self.machine.closed is not None:
                        raise
                    # A step that its invocation's cancellation ended is not executed again.
                    detail = _cancelled_step(name)
                    break
                except Exception as error:
                    if policy is None:
                        self._fail(error, name)
                        return
                    elapsed = timedelta(seconds=skipping.seconds() - started)
                    delay = delay_after(policy, attempt, self.engine.jitter(), elapsed=elapsed)
                    if delay is None:
                        detail = failure_detail(500, f"step {name!r} failed: {error}", None)
                        break
                    asked = error.retry_after if isinstance(error, RetryableError) else None
                    pause = (delay if asked is None else asked).total_seconds()
        finally:
            run = asyncio.current_task()
            if run is not None:
                self._runs.pop(run, None)
        if self.is_open:
            self._end_run(cid, value, detail)

    async def _in_thread(self, cid: int, action: Callable[[], Any]) -> Any:
        """Execute a plain function: in the handler's thread, if that waits for just this step."""
        bridge = self.bridge
        if bridge is not None and self._waiter is bridge and self._waiting_for[0] == (cid,):
            return await bridge.execute(action)
        return await self.engine.in_thread(action)

    def start_sleep(self, delay: timedelta, name: str | None) -> int:
        """Record a timer, or go on waiting for a recorded one. Returns the cid."""
        milliseconds = -(-delay // timedelta(milliseconds=1))
        entry, is_new = self.command(
            Kind.SLEEP, name, detail=f'{{"delay_ms": {milliseconds}}}', cids=1
        )
        cid = entry.cid
        assert cid is not None
        if is_new:
            # Until its commit nobody knows when it is due.
            self._fresh_sleeps += 1
            self.pending().wants_clock = True
            self.flush()
        elif not self.machine.has_arrived(cid):
            remaining = (self.sleeps[cid] - self.engine.database_now()).total_seconds()
            if remaining <= 0:
                self._timer_due(cid)
            else:
                self._start_timer(cid, remaining)
        return cid

    def start_call(
        self,
        row: HandlerRow,
        key: str | None,
        argument: bytes,
        *,
        is_send: bool,
        delay: timedelta | None = None,
        idempotency_key: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> Entry:
        """Record a call or send together with its callee. Returns the command."""
        facts: dict[str, Any] = {}
        if row.kind == "workflow":
            # The key itself is the run's identity.
            idempotency_key = ""
        if delay is not None:
            facts["delay_ms"] = -(-delay // timedelta(milliseconds=1))
        if idempotency_key is not None:
            facts["idempotency_key"] = idempotency_key
        if headers:
            facts["headers"] = list(headers.items())
        callee = uuid7()
        cids = (0 if is_send else 1) + (0 if idempotency_key is None else 1)
        entry, is_new = self.command(
            Kind.SEND if is_send else Kind.CALL,
            row.target(key),
            argument,
            callee,
            msgspec.json.encode(facts).decode() if facts else None,
            cids,
        )
        if is_new:
            unit = self.pending()
            unit.calls.append(
                NewInvocation(
                    id=callee,
                    handler=row,
                    key=key,
                    is_exclusive=row.is_exclusive,
                    cid=None if is_send else entry.cid,
                    input=argument,
                    headers=msgspec.json.encode(facts["headers"]).decode() if headers else None,
                    idempotency_key=idempotency_key,
                    delay=delay,
                    is_granted=delay is None and self.engine.reserve_slot(row),
                    waits=False,
                    parent_id=self.id,
                )
            )
            if idempotency_key is not None:
                assert entry.cid is not None
                id_cid = entry.cid if is_send else entry.cid + 1
                self.notify(Kind.INVOCATION_ID, id_cid, None, None, callee)
            self.flush()
        if not is_send:
            assert entry.cid is not None
            assert entry.ref is not None
            self._calls[entry.cid] = (
                entry.ref, None if idempotency_key is None else entry.cid + 1
            )  # fmt: skip
        return entry

    def ask(
        self,
        kind: int,
        name: str | None = None,
        target: UUID | None = None,
        value: bytes | None = None,
        detail: str | None = None,
    ) -> int:
        """Ask the database for something; the answer is a completion. Returns the cid.

        Command and answer (or the order that brings it later) are one commit, so a replay without
        an answer has nothing to repeat.
        """
        label = name if target is None else str(target)
        entry, is_new = self.command(kind, label, value, None, detail, 1)
        assert entry.cid is not None
        if is_new:
            self.pending().asks.append(Ask(kind, entry.cid, name, target, value, detail))
            self.flush()
        return entry.cid

    def send_signal(
        self,
        kind: int,
        label: str | None,
        target: UUID,
        cid: int,
        name: str | None,
        value: bytes | None,
        failure: str | None,
    ) -> None:
        """Record a signal for another invocation, and send it with the same commit."""
        _, is_new = self.command(kind, label, value, target, failure)
        if is_new:
            self.pending().mail.append(Mail(target, Kind.SIGNAL, cid, value, failure, name))
            self.flush()

    def send_cancellation(self, target: UUID) -> None:
        """Ask another invocation to stop."""
        self.send_signal(Kind.SEND_SIGNAL, "cancel", target, CANCEL, None, None, None)

    def read_state(self, name: str) -> tuple[Entry | None, int]:
        """Read a state entry: the recorded command, or the cid of an answer to wait for.

        What came with the lease is there at once; of a large state the rest is asked for. A replay
        does what the journal says was done.
        """
        is_asked = self.machine.next_kind() == Kind.GET_LAZY_STATE or (
            self.machine.next_kind() is None
            and self.is_partial
            and name not in self.state
            and name not in self._written
        )
        if is_asked:
            return None, self.ask(Kind.GET_LAZY_STATE, name)
        entry, _ = self.command(Kind.GET_STATE, name, self.state.get(name))
        return entry, 0

    def read_state_keys(self) -> tuple[Entry, int]:
        """Read the names of all state entries: the command, and the cid of an answer or 0.

        What this attempt wrote may not be in the answer yet: the command says it.
        """
        is_asked = self.machine.next_kind() == Kind.GET_LAZY_STATE_KEYS or (
            self.machine.next_kind() is None and self.is_partial
        )
        if not is_asked:
            names = msgspec.json.encode(sorted(self.state))
            return self.command(Kind.GET_STATE_KEYS, None, names)[0], 0
        written = {
            "set": sorted(name for name, is_set in self._written.items() if is_set),
            "cleared": sorted(name for name, is_set in self._written.items() if not is_set),
        }
        detail = msgspec.json.encode(written).decode()
        entry, is_new = self.command(Kind.GET_LAZY_STATE_KEYS, None, None, None, detail, 1)
        assert entry.cid is not None
        if is_new:
            self.pending().asks.append(Ask(Kind.GET_LAZY_STATE_KEYS, entry.cid))
            self.flush()
        return entry, entry.cid

    def write_state(self, name: str, value: bytes | None) -> None:
        """Set (or, with None, clear) a state entry."""
        kind = Kind.SET_STATE if value is not None else Kind.CLEAR_STATE
        _, is_new = self.command(kind, name, value)
        if is_new:
            self.pending().writes[name] = value
            if value is None:
                self.state.pop(name, None)
            else:
                self.state[name] = value
            self._written[name] = value is not None

    def clear_all_state(self) -> None:
        """Clear every state entry of the key."""
        _, is_new = self.command(Kind.CLEAR_ALL_STATE)
        if is_new:
            unit = self.pending()
            unit.clears_all = True
            unit.writes.clear()
            self.state.clear()
            self.is_partial = False

    # Ending.

    def _end_failed(self, error: TerminalError) -> None:
        try:
            self.machine.finish()
        except NonDeterminism as mismatch:
            self._fail(mismatch)
            return
        self._end("failed", b"", error)

    def _end(self, how: str, value: bytes, error: TerminalError | None) -> None:
        if self._is_over or self._finishing is not None:
            return
        detail = None
        message = None
        if error is not None:
            message = error.message.replace("\x00", "\ufffd")
            detail = failure_detail(error.status_code, error.message, error.metadata)
        outcome = Outcome(
            self.id, how, value, error.status_code if error else None, message,
            error.metadata if error else None, None, self.row.no,
        )  # fmt: skip
        machine = self.machine
        unit = self.pending()
        unit.entries.append(
            Entry(machine.next_idx, Kind.OUTPUT, None, None, None if error else value, None, detail)
        )
        machine.next_idx += 1
        self._complete(unit, outcome)

    def _complete(self, unit: Unit, outcome: Outcome) -> None:
        record, row = self.record, self.row
        retention = row.journal_retention
        if row.kind == "workflow":
            retention = row.workflow_retention
        elif record.idempotency_key:
            retention = row.idempotency_retention
        unit.final = Final(
            "D", outcome=outcome, retention=retention, journal_retention=row.journal_retention,
            holds_key=row.is_exclusive,
        )  # fmt: skip
        self._finishing = unit
        if record.parent_cid is not None and record.parent_id is not None:
            parent = self.engine.residents.get(record.parent_id)
            if parent is not None and parent.is_open:
                value, detail = _completion(outcome)
                theirs = parent.notify(Kind.CALL_COMPLETED, record.parent_cid, value, detail)
                unit.tied.append(theirs)
                theirs.tied.append(unit)
                parent.flush()
            else:
                unit.mail.append(_completion_mail(record.parent_id, record.parent_cid, outcome))
        self.flush()

    def fail(self, error: BaseException) -> BaseException:
        """End this attempt for a retry by policy; returns what the handler's verb must raise."""
        self._fail(error)
        return self.machine.closed or Suspended()

    def _fail(self, error: BaseException, step: str | None = None) -> None:
        """The attempt failed: retry by policy, or pause, or end the invocation."""
        if self._is_over or self._finishing is not None:
            return
        logger.log(
            logging.WARNING if self.record.attempts & (self.record.attempts - 1) == 0 else
            logging.DEBUG,
            "attempt failed",
            extra={
                "invocation_id": str(self.id), "attempt": self.record.attempts,
                "service": self.row.service, "handler": self.row.name,
                "error": f"{type(error).__name__}: {error}",
            },
        )  # fmt: skip
        self._give_back_failed(error, step)

    def _give_back_failed(self, error: BaseException, step: str | None) -> None:
        if self.engine.on_attempt_failed is not None:
            self.engine.on_attempt_failed(self, error)
        stack = "".join(traceback.format_exception(error))[-STACKTRACE_CHARACTERS_MAX:]
        failure: dict[str, Any] = {
            "code": getattr(error, "status_code", 500),
            "error_code": error.code if isinstance(error, HowdahError) else None,
            "message": _words_of(error),
            "stacktrace": stack,
            "entry_name": step,
        }
        if isinstance(error, RemoteFailure):
            failure["error_code"] = error.remote_code
            failure["stacktrace"] = error.remote_stacktrace
        if isinstance(error, NonDeterminism):
            failure["entry_index"] = error.entry_index
        text = msgspec.json.encode(failure).decode().replace("\\u0000", "\\ufffd")
        delay = None
        is_uncounted = False
        if isinstance(error, RetryableError) and error.retry_after is not None:
            delay = error.retry_after
            is_uncounted = True
        else:
            delay = delay_after(
                self.handler.retry_policy, self.record.attempts, self.engine.jitter()
            )
        if self.engine.observer is not None:
            self.engine.observer.failed(
                self.id, self.row, self.record.key, self.record.attempts, error, delay
            )
        if delay is None:
            self._give_up(error, text)
            return
        unit = self.pending()
        unit.final = Final(
            "S", status="backing_off", delay=delay, failure=text, queue=self._unpinned(),
            is_uncounted=is_uncounted,
        )  # fmt: skip
        self._finishing = unit
        self._stop_code()
        self.flush()

    def _give_up(self, error: BaseException, failure: str) -> None:
        """Retries are exhausted: pause, or kill, as the policy says."""
        if not failure:
            failure = failure_detail(500, str(error), None)
        self._stop_code()
        unit = self.pending()
        if self.handler.retry_policy.on_max_attempts == "kill":
            message = _words_of(error).replace("\x00", "\ufffd")
            outcome = Outcome(self.id, "killed", b"", 500, message, None, None, self.row.no)
            self._complete(unit, outcome)
            if unit.final is not None:
                unit.final.failure = failure
            return
        unit.final = Final("S", status="paused", failure=failure, queue=self._unpinned())
        self._finishing = unit
        self.flush()

    def _unpinned(self) -> int | None:
        """The queue of new invocations, when this one has recorded nothing that binds it."""
        is_untouched = self.machine.next_idx == 1 and not self.record.journal
        return self.row.service_no if is_untouched else None

    def release(self) -> None:
        """Give the lease back at once, for another worker: this process is stopping."""
        if self._is_over or self._finishing is not None:
            return
        unit = self.pending()
        unit.final = Final("S", status="ready")
        self._finishing = unit
        self._stop_code()
        self.flush()

    def _stop_code(self) -> None:
        """Stop the handler's code now, though the end is not on disk yet."""
        self.machine.closed = self.machine.closed or Suspended()
        for run in list(self._runs):
            if run is not asyncio.current_task():
                run.cancel()
        self._interrupt(self.machine.closed)

    def _finish(self, final: Final) -> None:
        """The attempt's end is on disk."""
        engine = self.engine
        if final.letter == "D":
            self._is_over = True
            self._close(AttemptAbandoned("it is completed"))
            engine.ended(self)
            assert final.outcome is not None
            engine.clients.on_outcome(final.outcome, self.record.origin)
            if engine.observer is not None:
                engine.observer.completed(self.row, self.record.key, final.outcome)
            return
        self._close(Suspended())
        engine.ended(self)
        engine.claiming.on_given_back(self, final)


def _cancelled_step(name: str) -> str:
    return failure_detail(409, f"step {name!r} was cancelled", None)


def _completion(outcome: Outcome) -> tuple[bytes | None, str | None]:
    """What an outcome is to the caller: a value, or the JSON of a failure."""
    if outcome.code is None:
        return outcome.value, None
    return None, failure_detail(outcome.code, outcome.message or "", outcome.metadata)


def _completion_mail(target: UUID, cid: int, outcome: Outcome) -> Mail:
    return Mail(target, Kind.CALL_COMPLETED, cid, *_completion(outcome))


def _words_of(error: BaseException) -> str:
    if isinstance(error, RemoteFailure):
        return error.message
    return f"{type(error).__name__}: {error}"


def _only_runs(unit: Unit) -> bool:
    """Whether a unit holds nothing but steps that are being executed: it can wait for them."""
    return (
        not (
            unit.calls or unit.writes or unit.clears_all or unit.mail or unit.consumed or unit.asks
        )
        and unit.final is None
        and all(entry.kind == Kind.RUN for entry in unit.entries)
    )
