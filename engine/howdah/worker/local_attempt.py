"""An attempt whose handler runs in this process, as a coroutine or in a thread.

The handler's verbs become commands of the machine; what comes back is revealed to it in the journal's
order. Steps are in `steps.py`.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime, timedelta
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol
from uuid import UUID

import msgspec

from howdah.errors import (
    Cancelled,
    Interrupt,
    NonDeterminism,
    RetryableError,
    TerminalError,
    UsageError,
)
from howdah.handler import Handler
from howdah.ids import uuid7
from howdah.limits import NOWHERE, Place
from howdah.machine.entries import CANCEL, Entry, Kind, signal_cid
from howdah.machine.machine import WaitKey
from howdah.store.registry import HandlerRow
from howdah.store.units import Ask, Final, Mail, NewInvocation, Outcome, Record, Unit
from howdah.worker.attempt import Attempt
from howdah.worker.failures import failed_outcome, failure_detail
from howdah.worker.steps import Steps

if TYPE_CHECKING:
    from howdah.worker.bridge import Bridge
    from howdah.worker.engine import Engine

logger = logging.getLogger(__name__)

STACKTRACE_CHARACTERS_MAX = 8_000


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


class LocalAttempt(Attempt):
    """One execution of a handler of this process.

    Attributes:
        steps: What it executes and records.
        bridge: To the thread that executes a sync handler, while there is one.
        is_queued: Whether it waits for such a thread.
        waiting_since: When the wait began that it is in, by the monotonic clock.
    """

    __slots__ = (
        "_calls",
        "_task",
        "_waiter",
        "_waiting_for",
        "_written",
        "bridge",
        "is_queued",
        "steps",
        "waiting_since",
    )

    def __init__(
        self, engine: Engine, record: Record, row: HandlerRow, handler: Handler[Any, Any]
    ) -> None:
        super().__init__(engine, record, row, handler)
        self.steps = Steps()
        self.waiting_since = 0.0
        self.bridge: Bridge | None = None
        self.is_queued = False
        self._waiter: Waiter | None = None
        self._waiting_for: tuple[tuple[WaitKey, ...], bool] = ((), False)
        self._calls: dict[int, tuple[UUID, int | None]] = {}
        self._written: dict[str, bool] = {}
        self._task: asyncio.Task[None] | None = None

    # Life.

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
            self.check_size(value, "the result")
            self.machine.finish()
        except Interrupt as interrupt:
            # It is kept to be raised again; its frames would keep all that the handler had.
            interrupt.__traceback__ = None
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
            self._end(value, None)

    def _close(self, reason: BaseException) -> None:
        self.steps.stop()
        super()._close(reason)

    def _interrupt(self, reason: BaseException) -> None:
        """Stop the handler where it waits; a thread that does not is stopped by its next verb."""
        self.steps.stop()
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

    def _arrive(self, entry: Entry) -> None:
        if not self.steps.is_shown(entry):
            self.machine.arrived(entry)

    def _on_stored(self, unit: Unit, wakes: bool) -> None:
        self.steps.on_stored(self)
        if wakes:
            self.try_resume()
        if self._waiter is not None and (unit.wants_clock or not self.inactivity_seconds):
            self.engine.suspending.on_waiting(self)

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
        if unit is not None and not (self.steps.are_under_way and _only_runs(unit)):
            self.flush()
        self.engine.suspending.on_waiting(self)

    def end_wait(self) -> None:
        """The handler goes on."""
        self._waiter = None

    def try_resume(self) -> None:
        """Let the handler go on, if what it waits for is there."""
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
        self.steps.cancel(self)

    @property
    def _is_waiting(self) -> bool:
        return (
            self._waiter is not None
            and not self._waiter.done()
            and not self.uncommitted
            and not self._fresh_sleeps
            and self._finishing is None
            and not self._is_over
        )

    @property
    def is_idle(self) -> bool:
        """Whether it waits for others alone: nothing runs here, nothing of it is on its way."""
        return self._is_waiting and not self.steps.runs

    @property
    def is_at_rest(self) -> bool:
        """Whether it does nothing here until others or the clock do; a step may wait for a retry."""
        paused = self.engine.skipping.paused
        return (
            self._is_waiting and self.unit is None and all(run in paused for run in self.steps.runs)
        )

    def abort_if_stuck(self, seconds: float) -> None:
        """Fail an attempt whose handler neither waits for howdah, nor in a step, nor goes on."""
        if (
            self._waiter is not None
            or self.steps.runs
            or self._finishing is not None
            or self._is_over
        ):
            return
        if self.is_queued:
            return
        if seconds > self.inactivity_seconds + self.abort_seconds:
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

    def leave_soon(self) -> None:
        """As `yield_soon`; a sync handler that still waits for a thread does not begin."""
        if self.is_queued:
            self.release()
        else:
            self.yield_soon()

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

    def lends_thread(self, cid: int) -> Bridge | None:
        """The thread of a sync handler that waits for just this step: it may as well execute it."""
        bridge = self.bridge
        if bridge is not None and self._waiter is bridge and self._waiting_for[0] == (cid,):
            return bridge
        return None

    def sleeps_longer_than(self, seconds: float, now: datetime) -> bool:
        """Whether it waits for timers alone, none of which is due within `seconds`."""
        keys, _ = self._waiting_for
        limit = now + timedelta(seconds=seconds)
        return all(
            isinstance(key, int) and key in self.sleeps and self.sleeps[key] > limit
            for key in keys
            if key not in self.machine.completed
        )

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
            self.check_size(value, name or "a value")
        machine = self.machine
        self.last_tick = self.engine.tick
        entry = machine.command(kind, name, value, ref, detail, cids)
        if entry.idx <= machine.known:
            return entry, False
        self.pending().entries.append(entry)
        return entry, True

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
        place: Place = NOWHERE,
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
        scope, limit_key = place
        if scope is not None:
            facts["scope"] = scope
        if limit_key is not None:
            facts["limit_key"] = limit_key
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
                    is_granted=delay is None and scope is None and self.engine.reserve_slot(row),
                    waits=False,
                    parent_id=self.id,
                    scope=scope,
                    limit_key=limit_key,
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
        self._end(b"", error)

    def _end(self, value: bytes, error: TerminalError | None) -> None:
        if self._is_over or self._finishing is not None:
            return
        detail = None
        if error is None:
            outcome = Outcome(self.id, "succeeded", value, None, None, None, None, self.row.no)
        else:
            detail = failure_detail(error.status_code, error.message, error.metadata)
            outcome = failed_outcome(self.id, self.row.no, detail)
        machine = self.machine
        unit = self.pending()
        unit.entries.append(
            Entry(machine.next_idx, Kind.OUTPUT, None, None, None if error else value, None, detail)
        )
        machine.next_idx += 1
        self._complete(unit, outcome)


def _only_runs(unit: Unit) -> bool:
    """Whether a unit holds nothing but steps that are being executed: it can wait for them."""
    return (
        not (
            unit.calls or unit.writes or unit.clears_all or unit.mail or unit.consumed or unit.asks
        )
        and unit.final is None
        and all(entry.kind == Kind.RUN for entry in unit.entries)
    )
