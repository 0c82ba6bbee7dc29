"""The commit lane: everything that this process's invocations write, batch by batch.

There is exactly one lane in a process. A waiting unit is written at once; under load the batch
grows by itself while the one before is on its way. Because the lane is serial, what this process
knows of its residents is exact when a batch is built: that is what makes it safe to put a callee's
completion straight into the journal of a caller that is resident here.

What is large travels beside it, on a connection of its own, so that nobody waits for the megabytes of
another (docs/decisions/0005-large-values.md). To an attempt both are the same: as long as one of its
units is on its way, its next one waits.
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
    Batch,
    append_arguments,
    commit_arguments,
    is_append_only,
)
from howdah.store.batch_connection import BatchConnection
from howdah.store.units import Delivery, NewInvocation, Record, Unit

if TYPE_CHECKING:
    from howdah.worker.attempt import Attempt

logger = logging.getLogger(__name__)

T = TypeVar("T")
Q = TypeVar("Q", NewInvocation, Delivery)

UNITS_MAX = 1000
"""Units in one batch at most."""
REFUSALS_MAX = 5
"""A final that was deferred this often goes alone and waits for its row."""
RETRY_SECONDS = 0.05
"""Pause before a batch that the database refused for the moment is sent again."""
STALL_SECONDS = 0.005
"""Pause after a batch of which nothing was accepted: all that it needs is locked by others."""
LARGE_BYTES = 256 * 1024
"""`Lane.large_bytes`: of megabytes, a commit takes tens of milliseconds."""
LANDING_SECONDS = 1.0
"""How long a recovery waits for what travels beside the lane before it cuts that off."""
STOPPING = "committing: this process is stopping"
DETOUR_SECONDS = 10.0
"""How long large values go through the lane when there was no second connection to be had."""


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

    async def recover(self, unknown: Batch) -> None:
        """The reply to a batch was lost, or the worker is fenced: find out what holds."""

    def on_doubt(self) -> None:
        """As `recover`, of a batch that `grounded` will tell: when the lane is at rest."""


class Lane:
    """The one writer of a process.

    Args:
        owner: The process's engine.
        dsn: Where the database is.
        bytes_max: Payload bytes in one batch, about.
        before_call: As for `Database`.

    Attributes:
        large_bytes: Units that stand or fall together, requests and deliveries of more than this
            travel beside the lane.
    """

    def __init__(
        self,
        owner: LaneOwner,
        dsn: str,
        bytes_max: int,
        before_call: Callable[[str], None] | None = None,
    ) -> None:
        self._owner = owner
        self._bytes_max = bytes_max
        self._main = BatchConnection(dsn, "lane", before_call)
        self._beside = BatchConnection(dsn, "large values", before_call)
        self._flight: asyncio.Task[None] | None = None
        self._away: set[Attempt] = set()
        self._unknown: list[Batch] = []
        self._detour_until = 0.0
        self.large_bytes = LARGE_BYTES
        self._units: list[Unit] = []
        self._accepts: list[NewInvocation] = []
        self._deliveries: list[Delivery] = []
        self.turn = asyncio.Lock()
        """While somebody else holds it, nothing is on its way and no batch begins."""
        self._wanted = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
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
        waiting = Batch([], self._accepts, self._deliveries)
        self._accepts, self._deliveries = [], []
        for new in waiting.accepts:
            self._owner.release_slots(int(new.is_granted))
        waiting.refuse_requests(doing)

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
            await self.landed()
            await asyncio.sleep(0)

    async def landed(self) -> None:
        """Wait until what is on its way now is there, if anything is."""
        flight = self._flight
        await self._idle.wait()
        if flight is not None:
            await asyncio.wait({flight})

    @property
    def is_settled(self) -> bool:
        """Whether nothing is pending and nothing is on its way."""
        return (
            self._idle.is_set()
            and self._flight is None
            and not (self._units or self._accepts or self._deliveries)
        )

    # The loop.

    async def connect(self) -> None:
        """Open the lane's connection. Raises `StoreUnavailable`."""
        await self._main.connect()

    def disconnect(self) -> None:
        """Close the connections at once: whatever is on its way is unknown."""
        self._main.disconnect()
        self._beside.disconnect()

    async def run(self) -> None:
        """Commit batches until cancelled."""
        batch = _empty()
        try:
            while True:
                await self._wanted.wait()
                async with self.turn:
                    self._idle.clear()
                    batch = self._take()
                    await self._commit(self._main, batch)
                    self._idle.set()
        finally:
            self._idle.set()
            # What it was writing is not known, what waits is not written.
            self._accepts += batch.accepts
            self._deliveries += batch.deliveries
            if self._flight is not None:
                self._flight.cancel()
                await asyncio.wait({self._flight})
            for unknown in self._unknown:
                unknown.refuse_requests(STOPPING)
            self.refuse_requests(STOPPING)

    async def grounded(self) -> Batch:
        """Let nothing be on its way beside the lane; returns what is not known of it.

        The caller has the lane's turn.
        """
        if self._flight is not None:
            await asyncio.wait({self._flight}, timeout=LANDING_SECONDS)
        if self._flight is not None:
            self._beside.disconnect()
            await asyncio.wait({self._flight})
        unknown, self._unknown = self._unknown, []
        self._away.clear()
        self._look_again()
        return Batch(
            [unit for batch in unknown for unit in batch.units],
            [new for batch in unknown for new in batch.accepts],
            [delivery for batch in unknown for delivery in batch.deliveries],
        )

    def _take(self) -> Batch:
        """The next batch of the lane; what is large begins its way beside it, or waits for that."""
        batch, aside = self._take_requests()
        large, postponed = (aside, _empty()) if self._flight is None else (_empty(), aside)
        units = batch.units
        size = sum(new.size for new in batch.accepts) + sum(one.size for one in batch.deliveries)
        waiting, self._units = self._units, []
        chosen: set[int] = set()
        for position, unit in enumerate(waiting):
            if id(unit) in chosen:
                continue
            if len(units) >= UNITS_MAX or size > self._bytes_max:
                self._units = [u for u in waiting[position:] if id(u) not in chosen]
                break
            group, group_size = _group(unit, chosen)
            if self._away and any(member.attempt in self._away for member in group):
                postponed.units.extend(group)
            elif group_size > self.large_bytes and self._may_fly:
                is_next = self._flight is None and not large.units
                (large if is_next else postponed).units.extend(group)
            else:
                units += group
                size += group_size
        for unit in units:
            unit.attempt.unit = None
        if self._units or self._accepts or self._deliveries:
            self._oldest_at = monotonic()
        else:
            self._wanted.clear()
        # What is on its way beside the lane wakes this loop when it is there.
        self._units = postponed.units + self._units
        self._accepts = postponed.accepts + self._accepts
        self._deliveries = postponed.deliveries + self._deliveries
        if large:
            for unit in large.units:
                unit.attempt.unit = None
                self._away.add(unit.attempt)
            self._flight = asyncio.get_running_loop().create_task(self._fly(large))
        return batch

    @property
    def _may_fly(self) -> bool:
        return monotonic() >= self._detour_until

    def _take_requests(self) -> tuple[Batch, Batch]:
        """Requests and deliveries of the next batch, and the large ones."""
        accepts, self._accepts = self._accepts[:UNITS_MAX], self._accepts[UNITS_MAX:]
        deliveries, self._deliveries = self._deliveries[:UNITS_MAX], self._deliveries[UNITS_MAX:]
        if not self._may_fly:
            return Batch([], accepts, deliveries), _empty()
        accepts, large_accepts = _parted(accepts, self.large_bytes)
        deliveries, large_deliveries = _parted(deliveries, self.large_bytes)
        return Batch([], accepts, deliveries), Batch([], large_accepts, large_deliveries)

    async def _fly(self, batch: Batch) -> None:
        """Commit a batch beside the lane."""
        try:
            if not self._beside.is_open:
                try:
                    await self._beside.connect()
                except StoreUnavailable:
                    self._detour_until = monotonic() + DETOUR_SECONDS
                    self._put_back(batch)
                    return
            await self._commit(self._beside, batch)
        except asyncio.CancelledError:
            self._accepts += batch.accepts
            self._deliveries += batch.deliveries
            raise
        finally:
            self._flight = None
            if not self._unknown:
                self._away.clear()
            self._look_again()

    def _look_again(self) -> None:
        """What was postponed may be next."""
        if self._units or self._accepts or self._deliveries:
            self._wanted.set()

    async def _commit(self, connection: BatchConnection, batch: Batch) -> None:
        if not batch:
            return
        connection.has_moved = False
        try:
            await self._commit_all(connection, batch)
        except Exception:
            # Whatever it was: the database knows what holds, and the lane goes on.
            logger.exception("a batch failed in a way that nobody foresaw")
            await self._on_unknown(connection, batch)
        if not connection.has_moved:
            await asyncio.sleep(STALL_SECONDS)

    async def _on_unknown(self, connection: BatchConnection, batch: Batch) -> None:
        """It is not known what was written of a batch."""
        connection.has_moved = True
        if connection is self._main:
            await self._owner.recover(batch)
        else:
            self._unknown.append(batch)
            self._owner.on_doubt()

    async def _commit_all(self, connection: BatchConnection, batch: Batch) -> None:
        units, accepts, deliveries = batch
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
            await self._commit_part(connection, Batch(units, accepts, deliveries), False)
        for group in stubborn:
            await self._commit_part(connection, Batch(group, [], []), len(group) == 1)

    async def _commit_part(self, connection: BatchConnection, batch: Batch, block: bool) -> None:
        try:
            await self._send(connection, batch, block)
        except StoreUnavailable:
            await self._on_unknown(connection, batch)
        except (asyncpg.PostgresError, asyncpg.DataError, ValueError, OverflowError) as error:
            # Nothing of this batch was written. Halve it until the offender stands alone.
            groups = _groups(batch.units)
            count = len(groups) + len(batch.accepts) + len(batch.deliveries)
            if count == 1:
                await self._refused(connection, batch, error)
                return
            middle = count // 2
            for first, last in ((0, middle), (middle, count)):
                part = Batch(
                    [unit for group in _part(groups, first, last, 0) for unit in group],
                    _part(batch.accepts, first, last, len(groups)),
                    _part(batch.deliveries, first, last, len(groups) + len(batch.accepts)),
                )
                await self._commit_part(connection, part, block)

    async def _refused(self, connection: BatchConnection, batch: Batch, error: Exception) -> None:
        units, accepts, deliveries = batch
        state = getattr(error, "sqlstate", None) or ""
        if state.startswith(("40", "53", "55", "57")):
            await asyncio.sleep(RETRY_SECONDS)
            self._put_back(batch)
            return
        connection.has_moved = True
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

    def _put_back(self, batch: Batch) -> None:
        """Nothing of a batch was written: it goes with a later one."""
        for unit in batch.units:
            self._again(unit)
        for new in batch.accepts:
            self.accept(new)
        for delivery in batch.deliveries:
            self.deliver(delivery)

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

    async def _send(self, connection: BatchConnection, batch: Batch, block: bool) -> None:
        owner = self._owner
        units, accepts, deliveries = batch
        if not accepts and not deliveries and is_append_only(units):
            rows = await connection.call(
                APPEND_BATCH, owner.worker_no, owner.gen, *append_arguments(units)
            )
            if rows:
                if rows[0][0] == b"F":
                    raise StoreUnavailable(doing="committing as a fenced worker")
                lost = {row[1] for row in rows}
                kept = [unit for n, unit in enumerate(units, 1) if n not in lost]
                for n in lost:
                    units[n - 1].attempt.abandon()
                units = kept
            connection.has_moved = True
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
        rows = await connection.call(
            COMMIT_BATCH, owner.worker_no, owner.gen, owner.served, owner.deployments,
            owner.pinned, owner.eager_bytes, block, clock, *arguments,
        )  # fmt: skip
        if self._apply(units, news, deliveries, served, rows):
            connection.has_moved = True

    def _apply(
        self,
        units: list[Unit],
        news: list[NewInvocation],
        deliveries: list[Delivery],
        served: dict[int, int],
        rows: Sequence[Any],
    ) -> bool:
        """Tell everybody what the batch did; False: nothing, all that it needs is locked.

        Columns: see the comment on commit_batch.
        """
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
        has_moved = (
            not is_deferred
            or len(deferred) < len(deliveries)
            or len(news) > sum(len(unit.calls) for unit in units)
        )
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
        return has_moved

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
            queue = new.handler.service_no
            queues.add(queue if new.scope is None else -queue)


def _add_state(record: Record, state: dict[str, bytes | None] | None) -> None:
    """A key's state as it came; an entry without a value says that there is more."""
    if state is not None:
        record.state = {name: value for name, value in state.items() if value is not None}
        record.is_partial = len(record.state) < len(state)


def _empty() -> Batch:
    return Batch([], [], [])


def _parted(requests: list[Q], large_bytes: int) -> tuple[list[Q], list[Q]]:
    """Those of no more bytes, and those of more."""
    large = [one for one in requests if one.size > large_bytes]
    return ([one for one in requests if one.size <= large_bytes] if large else requests), large


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


def _group(unit: Unit, chosen: set[int]) -> tuple[list[Unit], int]:
    """A unit with those that stand or fall together with it, and their bytes; adds to `chosen`."""
    chosen.add(id(unit))
    size = unit.size
    group = [unit]
    if unit.tied:
        for member in group:
            for other in member.tied:
                if id(other) not in chosen:
                    chosen.add(id(other))
                    group.append(other)
                    size += other.size
    return group, size


def _groups(units: list[Unit]) -> list[list[Unit]]:
    """Units by ties: what stands or falls together."""
    chosen: set[int] = set()
    return [_group(unit, chosen)[0] for unit in units if id(unit) not in chosen]
