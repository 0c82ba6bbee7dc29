"""The commit lane: everything that this process's invocations write, batch by batch.

There is exactly one lane in a process. A waiting unit is written at once; under load the batch
grows by itself while the one before is on its way. Because the lane is serial, what this process
knows of its residents is exact when a batch is built: that is what makes it safe to put a callee's
completion straight into the journal of a caller that is resident here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from uuid import UUID

import asyncpg

from howdah.errors import StoreUnavailable
from howdah.machine.entries import Kind
from howdah.store.batch import (
    APPEND_BATCH,
    COMMIT_BATCH,
    append_arguments,
    commit_arguments,
    is_append_only,
)
from howdah.store.database import DRIVER_ERRORS, connect, is_lost
from howdah.store.units import Delivery, NewInvocation, Record, Unit

if TYPE_CHECKING:
    from howdah.worker.attempt import Attempt

logger = logging.getLogger(__name__)

T = TypeVar("T")

UNITS_MAX = 1000
"""Units in one batch at most."""
REFUSALS_MAX = 5
"""A final that was deferred this often goes alone and waits for its row."""
RETRY_SECONDS = 0.05
"""Pause before a batch that the database refused for the moment is sent again."""
STALL_SECONDS = 0.005
"""Pause after a batch of which nothing was accepted: all that it needs is locked by others."""


class LaneOwner(Protocol):
    """What the lane tells the process that it writes for."""

    worker_no: int
    gen: int
    served: list[int]
    deployments: list[int]
    pinned: list[int]
    eager_bytes: int
    residents: dict[UUID, Attempt]

    def begin(self, record: Record) -> None:
        """An invocation is granted to this worker: execute it. Its slot was reserved."""

    def release_slots(self, count: int) -> None:
        """Slots that were reserved for grants and not used."""

    def on_scheduled(self, new: NewInvocation) -> None:
        """A delayed send is on disk; it is due after `new.delay`."""

    def on_ready(self, queues: set[int]) -> None:
        """Queues have ready work."""

    def on_orders(self) -> None:
        """An order waits to be carried out."""

    def on_mail(self, ids: list[tuple[UUID, int]]) -> None:
        """Invocations running on these workers have mail."""

    def on_wake(self, ids: list[UUID]) -> None:
        """Suspended invocations got mail."""

    def on_sinks(self, ids: list[UUID]) -> None:
        """Others wait for the outcomes of these."""

    async def recover(
        self, units: list[Unit], accepts: list[NewInvocation], deliveries: list[Delivery]
    ) -> None:
        """The reply to a batch was lost, or the worker is fenced: find out what holds."""


class Lane:
    """The one writer of a process.

    Args:
        owner: The process's engine.
        dsn: Where the database is.
        bytes_max: Payload bytes in one batch, about.
        before_call: As for `Database`.
    """

    def __init__(
        self,
        owner: LaneOwner,
        dsn: str,
        bytes_max: int,
        before_call: Callable[[str], None] | None = None,
    ) -> None:
        self._owner = owner
        self._dsn = dsn
        self._bytes_max = bytes_max
        self._before_call = before_call
        self._connection: asyncpg.Connection[Any] | None = None
        self._append: Any = None
        self._commit: Any = None
        self._units: list[Unit] = []
        self._accepts: list[NewInvocation] = []
        self._deliveries: list[Delivery] = []
        self.turn = asyncio.Lock()
        """While somebody else holds it, nothing is on its way and no batch begins."""
        self._wanted = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._is_stalled = False
        self._oldest_at = 0.0

    # What attempts and ingress call. Nothing here waits.

    def queue(self, unit: Unit) -> None:
        """Put a unit into the next batch."""
        if not self._wanted.is_set():
            self._oldest_at = monotonic()
            self._wanted.set()
        self._units.append(unit)

    def accept(self, new: NewInvocation) -> None:
        """Put a request into the next batch."""
        if not self._wanted.is_set():
            self._oldest_at = monotonic()
            self._wanted.set()
        self._accepts.append(new)

    def deliver(self, delivery: Delivery) -> None:
        """Put mail from outside into the next batch."""
        if not self._wanted.is_set():
            self._oldest_at = monotonic()
            self._wanted.set()
        self._deliveries.append(delivery)

    def discard(self, attempt: Attempt) -> None:
        """Forget what an abandoned attempt still wanted to write, and the slots that it reserved."""
        forgotten = [unit for unit in self._units if unit.attempt is attempt]
        if forgotten:
            self._units = [unit for unit in self._units if unit.attempt is not attempt]
        if attempt.unit is not None and attempt.unit not in forgotten:
            forgotten.append(attempt.unit)
        attempt.unit = None
        for unit in forgotten:
            self.free_slots_of(unit)

    def refuse_requests(self, doing: str = "committing") -> None:
        """Tell those whose requests and signals wait that they are not written."""
        accepts, self._accepts = self._accepts, []
        deliveries, self._deliveries = self._deliveries, []
        for new in accepts:
            self._owner.release_slots(int(new.is_granted))
        for future in (*(new.accepted for new in accepts), *(d.accepted for d in deliveries)):
            if future is not None and not future.done():
                future.set_exception(StoreUnavailable(doing=doing))

    def free_slots_of(self, unit: Unit) -> None:
        """Give back the slots that were reserved for callees which this unit will not begin."""
        for new in unit.calls:
            if new.is_granted:
                new.is_granted = False
                self._owner.release_slots(1)

    @property
    def lag_seconds(self) -> float:
        """How long the oldest waiting unit has waited."""
        return monotonic() - self._oldest_at if self._wanted.is_set() else 0.0

    async def settled(self) -> None:
        """Wait until nothing is pending and nothing is on its way."""
        while not self.is_settled:
            await self._idle.wait()
            await asyncio.sleep(0)

    async def landed(self) -> None:
        """Wait until the batch that is on its way now is there, if one is."""
        await self._idle.wait()

    @property
    def is_settled(self) -> bool:
        """Whether nothing is pending and nothing is on its way."""
        return self._idle.is_set() and not (self._units or self._accepts or self._deliveries)

    # The loop.

    async def connect(self) -> None:
        """Open the lane's connection. Raises `StoreUnavailable`."""
        self.disconnect()
        connection = await connect(self._dsn, "lane")
        try:
            self._append = await connection.prepare(APPEND_BATCH)
            self._commit = await connection.prepare(COMMIT_BATCH)
        except BaseException as error:
            connection.terminate()
            if isinstance(error, DRIVER_ERRORS):
                raise StoreUnavailable(doing="preparing the commit lane") from error
            raise
        self._connection = connection

    def disconnect(self) -> None:
        """Close the connection at once: whatever is on its way is unknown."""
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    async def run(self) -> None:
        """Commit batches until cancelled."""
        accepts: list[NewInvocation] = []
        deliveries: list[Delivery] = []
        try:
            while True:
                await self._wanted.wait()
                async with self.turn:
                    self._idle.clear()
                    self._is_stalled = True
                    units, accepts, deliveries = self._take()
                    try:
                        await self._commit_all(units, accepts, deliveries)
                    except Exception:
                        # Whatever it was: the database knows what holds, and the lane goes on.
                        logger.exception("a batch failed in a way that nobody foresaw")
                        await self._owner.recover(units, accepts, deliveries)
                    if self._is_stalled:
                        await asyncio.sleep(STALL_SECONDS)
                    self._idle.set()
        finally:
            self._idle.set()
            # What it was writing is not known, what waits is not written.
            self._accepts += accepts
            self._deliveries += deliveries
            self.refuse_requests("committing: this process is stopping")

    def _take(self) -> tuple[list[Unit], list[NewInvocation], list[Delivery]]:
        accepts, self._accepts = self._accepts[:UNITS_MAX], self._accepts[UNITS_MAX:]
        deliveries, self._deliveries = self._deliveries[:UNITS_MAX], self._deliveries[UNITS_MAX:]
        units: list[Unit] = []
        size = sum(len(new.input) for new in accepts)
        size += sum(len(delivery.mail.value or b"") for delivery in deliveries)
        waiting, self._units = self._units, []
        chosen: set[int] = set()
        for position, unit in enumerate(waiting):
            if id(unit) in chosen:
                continue
            if len(units) >= UNITS_MAX or size > self._bytes_max:
                self._units = [u for u in waiting[position:] if id(u) not in chosen]
                break
            # Units that stand or fall together go together.
            group = [unit]
            for member in group:
                if id(member) in chosen:
                    continue
                chosen.add(id(member))
                units.append(member)
                group += [other for other in member.tied if id(other) not in chosen]
                for entry in member.entries:
                    if entry.value is not None:
                        size += len(entry.value)
        for unit in units:
            unit.attempt.unit = None
        if not self._units and not self._accepts and not self._deliveries:
            self._wanted.clear()
        else:
            self._oldest_at = monotonic()
        return units, accepts, deliveries

    async def _commit_all(
        self, units: list[Unit], accepts: list[NewInvocation], deliveries: list[Delivery]
    ) -> None:
        stubborn: list[list[Unit]] = []
        if any(unit.refusals >= REFUSALS_MAX for unit in units):
            others: list[Unit] = []
            for group in _groups(units):
                if any(unit.refusals >= REFUSALS_MAX for unit in group):
                    stubborn.append(group)
                else:
                    others += group
            units = others
        if units or accepts or deliveries:
            await self._commit_part(units, accepts, deliveries, False)
        for group in stubborn:
            await self._commit_part(group, [], [], len(group) == 1)

    async def _commit_part(
        self,
        units: list[Unit],
        accepts: list[NewInvocation],
        deliveries: list[Delivery],
        block: bool,
    ) -> None:
        try:
            await self._send(units, accepts, deliveries, block)
        except StoreUnavailable:
            self._is_stalled = False
            await self._owner.recover(units, accepts, deliveries)
        except (asyncpg.PostgresError, asyncpg.DataError, ValueError, OverflowError) as error:
            # Nothing of this batch was written. Halve it until the offender stands alone.
            groups = _groups(units)
            count = len(groups) + len(accepts) + len(deliveries)
            if count == 1:
                await self._refused(units, accepts, deliveries, error)
                return
            middle = count // 2
            for first, last in ((0, middle), (middle, count)):
                await self._commit_part(
                    [unit for group in _part(groups, first, last, 0) for unit in group],
                    _part(accepts, first, last, len(groups)),
                    _part(deliveries, first, last, len(groups) + len(accepts)),
                    block,
                )

    async def _refused(
        self,
        units: list[Unit],
        accepts: list[NewInvocation],
        deliveries: list[Delivery],
        error: Exception,
    ) -> None:
        state = getattr(error, "sqlstate", None) or ""
        if state.startswith(("40", "53", "55", "57")):
            await asyncio.sleep(RETRY_SECONDS)
            for unit in units:
                self._again(unit)
            for new in accepts:
                self.accept(new)
            for delivery in deliveries:
                self.deliver(delivery)
            return
        self._is_stalled = False
        logger.error("a batch was refused for its data", extra={"error_code": state or "client"})
        for unit in units:
            # Nobody may add to what none of them has written.
            self.free_slots_of(unit)
            unit.attempt.close_refused()
        for unit in units:
            unit.attempt.on_refused(error)
        for new in accepts:
            self._owner.release_slots(int(new.is_granted))
            if new.accepted is not None and not new.accepted.done():
                new.accepted.set_exception(error)
        for delivery in deliveries:
            if not delivery.accepted.done():
                delivery.accepted.set_exception(error)

    def _again(self, unit: Unit) -> None:
        attempt = unit.attempt
        later = attempt.unit
        if later is not None:
            if later in self._units:
                self._units.remove(later)
            unit.absorb(later)
            attempt.on_absorbed(unit)
        attempt.unit = unit
        unit.is_queued = True
        self.queue(unit)

    async def _send(
        self,
        units: list[Unit],
        accepts: list[NewInvocation],
        deliveries: list[Delivery],
        block: bool,
    ) -> None:
        owner = self._owner
        if self._connection is None:
            raise StoreUnavailable(doing="committing")
        if not accepts and not deliveries and is_append_only(units):
            rows = await self._call(
                self._append, APPEND_BATCH, owner.worker_no, owner.gen, *append_arguments(units)
            )
            if rows:
                if rows[0][0] == b"F":
                    raise StoreUnavailable(doing="committing as a fenced worker")
                lost = {row[1] for row in rows}
                kept = [unit for n, unit in enumerate(units, 1) if n not in lost]
                for n in lost:
                    units[n - 1].attempt.abandon()
                units = kept
            self._is_stalled = False
            for unit in units:
                unit.attempt.on_committed(unit, None)
            return
        clock = any(unit.wants_clock for unit in units)
        for new in (*accepts, *(new for unit in units for new in unit.calls)):
            if new.is_granted and new.handler.service_no not in owner.served:
                # A later version came, or this process drains: others may begin it.
                new.is_granted = False
                owner.release_slots(1)
        arguments, news = commit_arguments(units, accepts, deliveries)
        served = dict(zip(owner.served, owner.deployments, strict=True))
        rows = await self._call(
            self._commit, COMMIT_BATCH, owner.worker_no, owner.gen, owner.served,
            owner.deployments, owner.pinned, owner.eager_bytes, block, clock, *arguments,
        )  # fmt: skip
        self._apply(units, news, deliveries, served, rows)

    async def _call(self, prepared: Any, statement: str, *arguments: Any) -> Sequence[Any]:
        if self._before_call is not None:
            self._before_call(statement)
        try:
            rows: Sequence[Any] = await prepared.fetch(*arguments)
        except DRIVER_ERRORS as error:
            if is_lost(error):
                raise StoreUnavailable(doing="committing") from error
            raise
        if self._before_call is not None:
            self._before_call(statement)
        return rows

    def _apply(
        self,
        units: list[Unit],
        news: list[NewInvocation],
        deliveries: list[Delivery],
        served: dict[int, int],
        rows: Sequence[Any],
    ) -> None:
        """Tell everybody what the batch did. Columns: see the comment on commit_batch."""
        owner = self._owner
        refused: dict[int, bytes] = {}
        granted: set[UUID] = set()
        handed: dict[UUID, Record] = {}
        states: dict[UUID, dict[str, bytes | None]] = {}
        answers: list[Any] = []
        deferred: set[int] = set()
        has_orders = False
        existing: dict[UUID, UUID] = {}
        scheduled: dict[UUID, Any] = {}
        queues: set[int] = set()
        wakes: list[UUID] = []
        mails: list[tuple[UUID, int]] = []
        sinks: list[UUID] = []
        clock = None
        for row in rows:
            what = row[0]
            if what == b"V":
                states.setdefault(row[1], {})[row[3]] = row[4]
            elif what == b"G":
                granted.add(row[1])
            elif what == b"H":
                handed[row[1]] = Record(
                    row[1], row[8], row[9], 1, 1, row[4] or b"", row[6], row[10], row[11],
                    row[12], row[13], deployment=row[2],
                )  # fmt: skip
            elif what == b"T":
                clock = row[7]
            elif what == b"W":
                wakes.append(row[1])
            elif what == b"M":
                if row[2] is not None:
                    mails.append((row[1], row[2]))
            elif what in (b"Q", b"R"):
                queues.add(row[2])
            elif what == b"S":
                sinks.append(row[1])
            elif what == b"D":
                existing[row[1]] = row[5]
                sinks.append(row[5])
            elif what == b"P":
                answers.append(row)
            elif what == b"Y":
                deferred.add(row[2])
            elif what == b"O":
                has_orders = True
            elif what == b"E":
                scheduled[row[1]] = row[7]
            elif what in (b"L", b"B"):
                refused[row[2]] = what
            elif what == b"F":
                raise StoreUnavailable(doing="committing as a fenced worker")
        is_deferred = all(refused.get(n) == b"B" for n in range(1, len(units) + 1))
        if news or not is_deferred or len(deferred) < len(deliveries):
            self._is_stalled = False
        for new in news:
            new.existing = existing.get(new.id)
            new.execution_time = scheduled.get(new.id)

        if existing:
            _show_existing(units, existing)
        held: set[int] = set()
        for position, unit in enumerate(units, 1):
            verdict = refused.get(position)
            if verdict is None:
                unit.attempt.on_committed(unit, clock)
                unit.tied.clear()  # they refer to each other
                continue
            held.update(id(new) for new in unit.calls)
            if verdict == b"L":
                self.free_slots_of(unit)
                for other in unit.tied:
                    other.tied.remove(unit)
                    other.attempt.on_tie_lost(other, unit)
                unit.attempt.abandon()
            else:
                unit.refusals += 1
                self._again(unit)

        for row in answers:
            attempt = owner.residents.get(row[1])
            if attempt is not None and attempt.is_open:
                attempt.consume(int(row[3]), row[8], row[2], row[4], row[6], None, None)
        for position, delivery in enumerate(deliveries, 1):
            if position in deferred:
                self.deliver(delivery)
            elif not delivery.accepted.done():
                delivery.accepted.set_result(None)
        for id_, record in handed.items():
            _add_state(record, states.get(id_))
            owner.begin(record)
        for new in news:
            if id(new) in held:
                continue
            self._settle_new(new, served, granted, states, queues)
        if queues:
            owner.on_ready(queues)
        if wakes:
            owner.on_wake(wakes)
        if mails:
            owner.on_mail(mails)
        if sinks:
            owner.on_sinks(sinks)
        if has_orders:
            owner.on_orders()

    def _settle_new(
        self,
        new: NewInvocation,
        deployments: dict[int, int],
        granted: set[UUID],
        states: dict[UUID, dict[str, bytes | None]],
        queues: set[int],
    ) -> None:
        owner = self._owner
        is_new = new.existing is None
        runs_here = is_new and new.is_granted and (not new.is_exclusive or new.id in granted)
        if new.is_granted:
            # An attempt that begins below takes the slot over.
            owner.release_slots(1)
        if new.accepted is not None and not new.accepted.done():
            new.accepted.set_result(new)
        if runs_here:
            record = Record(
                new.id, new.handler.no, new.key, 1, 1, new.input, new.headers, new.parent_id,
                new.cid, owner.worker_no if new.waits else None, new.idempotency_key or None,
            )  # fmt: skip
            _add_state(record, states.get(new.id))
            record.deployment = deployments.get(new.handler.service_no)
            owner.begin(record)
        elif is_new and new.delay is not None:
            owner.on_scheduled(new)
        elif is_new and not new.is_granted:
            queues.add(new.handler.service_no)


def _add_state(record: Record, state: dict[str, bytes | None] | None) -> None:
    """A key's state as it came; an entry without a value says that there is more."""
    if state is not None:
        record.state = {name: value for name, value in state.items() if value is not None}
        record.is_partial = len(record.state) < len(state)


def _part(items: Sequence[T], first: int, last: int, offset: int) -> list[T]:
    """Those of the items numbered from `offset` on whose numbers are in [first, last)."""
    return list(items[max(first - offset, 0) : max(last - offset, 0)])


def _show_existing(units: list[Unit], existing: dict[UUID, UUID]) -> None:
    """An idempotent call's id is that of the first one, as the journal has it."""
    for unit in units:
        if unit.calls:
            unit.entries = [
                entry._replace(ref=existing[entry.ref])
                if entry.kind == Kind.INVOCATION_ID and entry.ref in existing
                else entry
                for entry in unit.entries
            ]


def _groups(units: list[Unit]) -> list[list[Unit]]:
    """Units by ties: what stands or falls together."""
    groups: list[list[Unit]] = []
    seen: set[int] = set()
    for unit in units:
        if id(unit) in seen:
            continue
        group = [unit]
        seen.add(id(unit))
        for member in group:
            for other in member.tied:
                if id(other) not in seen:
                    seen.add(id(other))
                    group.append(other)
        groups.append(group)
    return groups
