"""One attempt: a lease in hand, an invocation executed, an outcome recorded (or the lease given back).

The attempt is the only writer of its invocation's journal. It fills a `Unit`, which the commit lane
writes. Authority over whether the attempt may still write lies with Postgres: a unit that comes back
lost ends it. Where the handler's code runs is a matter of the kinds of attempts: `LocalAttempt`
(`local_attempt.py`) in this process, `RemoteAttempt` (`howdah.remote`) elsewhere.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from abc import ABC, abstractmethod
from datetime import datetime, timedelta
from time import monotonic
from typing import TYPE_CHECKING, Any, Literal, Protocol
from uuid import UUID

import msgspec

from howdah.errors import (
    AttemptAbandoned,
    HowdahError,
    NonDeterminism,
    RemoteFailure,
    RetryableError,
    Suspended,
    TerminalError,
)
from howdah.handler import HandlerOptions
from howdah.machine.entries import NOTIFICATION, Entry, Kind
from howdah.machine.machine import Machine
from howdah.retry import RetryPolicy, delay_after
from howdah.store.registry import HandlerRow
from howdah.store.units import Final, Mail, Outcome, Record, Unit
from howdah.worker.failures import failure_detail, storable, words_of

if TYPE_CHECKING:
    from howdah.worker.engine import Engine

logger = logging.getLogger(__name__)

STACKTRACE_CHARACTERS_MAX = 8_000


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


class Attempt(ABC):
    """One execution of an invocation by this process."""

    __slots__ = (
        "_consumed",
        "_due",
        "_finishing",
        "_fresh_sleeps",
        "_is_over",
        "_timers",
        "abort_seconds",
        "engine",
        "epoch",
        "handler",
        "id",
        "inactivity_seconds",
        "is_partial",
        "key",
        "last_tick",
        "machine",
        "record",
        "row",
        "sleeps",
        "state",
        "uncommitted",
        "unit",
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
        options = handler.options
        self.inactivity_seconds = _first_given(
            row.inactivity_timeout, options.inactivity_timeout, engine.options.inactivity_timeout
        ).total_seconds()
        self.abort_seconds = _first_given(
            row.abort_timeout, options.abort_timeout, engine.options.abort_timeout
        ).total_seconds()
        self.sleeps = record.sleeps
        self.unit: Unit | None = None
        self._timers: dict[int, asyncio.TimerHandle] = {}
        self._due: list[int] = []
        self._finishing: Unit | None = None
        self.uncommitted = 0
        self._fresh_sleeps = 0
        self._consumed: set[int] = set()
        self._is_over = False

    # What the kinds of attempts differ in.

    @abstractmethod
    def _start(self) -> None:
        """Let the handler's code begin."""

    @abstractmethod
    def _interrupt(self, reason: BaseException) -> None:
        """Stop the handler's code now."""

    @abstractmethod
    def yield_soon(self) -> bool:
        """Give the lease back if nothing is lost by it; False: it goes on."""

    def leave_soon(self) -> None:
        """The process stops: give the lease back as soon as nothing is lost by it."""
        self.yield_soon()

    @abstractmethod
    def abort_if_stuck(self, seconds: float) -> None:
        """Fail an attempt whose handler has made no progress for so long."""

    def _arrive(self, entry: Entry) -> None:
        """A notification is on disk."""
        self.machine.arrived(entry)

    @abstractmethod
    def _on_stored(self, unit: Unit, wakes: bool) -> None:
        """A unit is on disk, and it was not the last; `wakes`: notifications were in it."""

    @property
    def is_at_rest(self) -> bool:
        """Whether it does nothing here until others or the clock do."""
        return False

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
        try:
            self._start()
        except Exception as error:
            self._fail(error)

    def _close(self, reason: BaseException) -> None:
        """End the handler's code: every verb raises from here on."""
        self._is_over = True
        if self.machine.closed is None:
            self.machine.closed = reason
        # The unit refers back: without this the attempt would be freed by garbage collection only.
        self._finishing = None
        for timer in self._timers.values():
            timer.cancel()
        self._interrupt(reason)

    def abandon(self) -> None:
        """The lease is gone: drop everything. Whoever has it now goes on from the journal."""
        if self._is_over and self.engine.residents.get(self.id) is not self:
            return
        self.engine.lane.discard(self)
        self._close(AttemptAbandoned())
        self.engine.ended(self)

    def on_committed(self, unit: Unit, clock: datetime | None) -> None:
        """A unit is on disk: show the handler what came back with it."""
        if self._is_over and unit.final is None:
            return
        wakes = False
        for entry in unit.entries:
            if entry.kind >= NOTIFICATION:
                self._arrive(entry)
                self.uncommitted -= 1
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
        self._on_stored(unit, wakes)

    def on_absorbed(self, unit: Unit) -> None:
        """A busy unit took over what was added meanwhile."""
        if unit.final is not None:
            self._finishing = unit

    def close_refused(self) -> None:
        """The database refused a unit of this attempt: it is over, nothing more goes into its journal."""
        self.engine.lane.discard(self)
        self.machine.closed = self.machine.closed or Suspended()

    def on_refused(self, error: Exception) -> None:
        """The database can't store what this attempt wrote. Nothing of the unit was written."""
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
        self.uncommitted -= 1

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
        self.uncommitted += 1
        return unit

    @property
    def is_open(self) -> bool:
        """Whether notifications may still be written into the journal from here.

        A suspension that was not sent yet is called off by what arrives.
        """
        if self._is_over or self.machine.closed is not None:
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

    def next_due_at(self) -> datetime | None:
        """When the first of its timers rings, by the database's clock."""
        return min((self.sleeps[cid] for cid in self._timers), default=None)

    @property
    def is_leaving(self) -> bool:
        """Whether its lease is being given back, or its outcome written."""
        return self._finishing is not None

    def _start_timer(self, cid: int, seconds: float) -> None:
        seconds = max(seconds, 0.0)
        self._timers[cid] = asyncio.get_running_loop().call_later(
            seconds, self._timer_rings, cid, monotonic() + seconds
        )

    def _timer_rings(self, cid: int, due: float) -> None:
        early = due - monotonic()
        if early <= 0:
            self._timer_due(cid)
            return
        # uvloop counts whole milliseconds: it may ring more than one of them too soon.
        self._timers[cid] = asyncio.get_running_loop().call_later(
            max(early, 0.001), self._timer_rings, cid, due
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

    def check_size(self, value: bytes, what: str) -> None:
        """Refuse a value above the limit. Raises `TerminalError` 413."""
        limit = self.engine.options.value_bytes_max
        if len(value) > limit:
            raise TerminalError(
                f"{what}: {len(value):,} bytes, and a value may have {limit:,}; keep it elsewhere "
                "and pass on where it is, or raise HOWDAH_VALUE_BYTES_MAX",
                413,
            )

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

    def fail(self, error: BaseException, step: str | None = None) -> BaseException:
        """End this attempt for a retry by policy; returns what the handler's verb must raise."""
        self._fail(error, step)
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
                "error": words_of(error),
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
            "message": words_of(error),
            "stacktrace": storable(stack),
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
        ending = error.ending if isinstance(error, RemoteFailure) else None
        if ending is not None:
            pass  # nothing is tried again
        elif isinstance(error, RetryableError) and error.retry_after is not None:
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
            self._give_up(error, text, ending)
            return
        unit = self.pending()
        unit.final = Final(
            "S", status="backing_off", delay=delay, failure=text, queue=self._unpinned(),
            is_uncounted=is_uncounted,
        )  # fmt: skip
        self._finishing = unit
        self._stop_code()
        self.flush()

    def _give_up(
        self, error: BaseException, failure: str, ending: Literal["pause", "fail"] | None = None
    ) -> None:
        """Nothing is tried again: end as the error asks; or else pause, or kill, as the policy says."""
        if not failure:
            failure = failure_detail(500, error, None)
        self._stop_code()
        unit = self.pending()
        word, code = "", getattr(error, "status_code", 500)
        if ending == "fail":
            word = "failed"
        elif ending is None and self.handler.retry_policy.on_max_attempts == "kill":
            word = "killed"
        if word:
            outcome = Outcome(self.id, word, b"", code, words_of(error), None, None, self.row.no)
            self._complete(unit, outcome)
            if unit.final is not None:
                unit.final.failure = failure
            return
        unit.final = Final(
            "S", status="paused", failure=failure, queue=self._unpinned(), is_at_once=bool(ending)
        )
        self._finishing = unit
        self.flush()

    def _unpinned(self) -> int | None:
        """The queue of new invocations, when this one has recorded nothing that binds it."""
        if self.machine.next_idx > 1 or self.record.journal:
            return None
        return self.row.service_no if self.record.scope is None else -self.row.service_no

    def release(self) -> None:
        """Give the lease back at once, for another worker: this process is stopping."""
        if self._is_over or self._finishing is not None:
            return
        unit = self.pending()
        unit.final = Final("S", status="ready", queue=self._unpinned())
        self._finishing = unit
        self._stop_code()
        self.flush()

    def _stop_code(self) -> None:
        """Stop the handler's code now, though the end is not on disk yet."""
        self.machine.closed = self.machine.closed or Suspended()
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
        if final.status == "paused":
            logger.error(
                "an invocation is paused: its failure is not to be tried again" if final.is_at_once
                else "an invocation is paused: its attempts are used up",
                extra={
                    "invocation_id": str(self.id), "attempt": self.record.attempts,
                    "service": self.row.service, "handler": self.row.name,
                },
            )  # fmt: skip
        self._close(Suspended())
        engine.ended(self)
        claiming = engine.claiming if self.record.scope is None else engine.limiting
        claiming.on_given_back(self, final)


def _first_given(*durations: timedelta | None) -> timedelta:
    return next(duration for duration in durations if duration is not None)


def _completion(outcome: Outcome) -> tuple[bytes | None, str | None]:
    """What an outcome is to the caller: a value, or the JSON of a failure."""
    if outcome.code is None:
        return outcome.value, None
    return None, failure_detail(outcome.code, outcome.message or "", outcome.metadata)


def _completion_mail(target: UUID, cid: int, outcome: Outcome) -> Mail:
    return Mail(target, Kind.CALL_COMPLETED, cid, *_completion(outcome))
