"""The engine of one process: its identity, its lane, its residents, its loops.

Postgres decides everything durable; the engine asks. It keeps two promises of its own: a resident
attempt always has its lease (or is dropped as soon as that is in doubt), and a waiting client is
answered from what is stored.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import socket
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from time import monotonic
from typing import Any
from uuid import UUID

import asyncpg
import msgspec

from howdah.errors import NotFound, StoreUnavailable
from howdah.handler import Handler
from howdah.ids import uuid7
from howdah.options import Options
from howdah.service import Service, VirtualObject, code_digest, describe
from howdah.store.database import Database
from howdah.store.lane import Lane
from howdah.store.registry import HandlerRow, Registry
from howdah.store.rows import Loaded, load
from howdah.store.units import Final, NewInvocation, Outcome, Record, Unit
from howdah.store.wakeups import REGISTRY, WORK, Listener, Notifier, channel_of
from howdah.worker.attempt import Attempt
from howdah.worker.fencing import Fencing
from howdah.worker.heartbeat import Heartbeat

logger = logging.getLogger(__name__)

REGISTER_DEPLOYMENT = "select howdah_core.register_deployment($1, $2)"
REGISTER_WORKER = "select howdah_core.register_worker($1, $2, $3, $4, $5, $6, $7)"
UNREGISTER_WORKER = "select howdah_core.unregister_worker($1)"
NEXT_GENERATION = "select howdah_core.next_generation($1)"
RECONCILE = "select * from howdah_core.reconcile($1, $2, $3, $4, $5)"
CLAIM = "select * from howdah_core.claim($1, $2, $3, $4, $5)"
PROMOTE = "select * from howdah_core.promote($1, $2, $3)"
SWEEP = "select * from howdah_core.sweep($1, $2)"
WAKE = "select * from howdah_core.wake($1)"
DELIVER_SINKS = "select * from howdah_core.deliver_sinks($1, $2)"
READ_MAIL = "select * from howdah_core.read_mail($1)"
READ_OUTCOMES = "select * from howdah_core.read_outcomes($1)"
WATCH = "select * from howdah_core.watch($1, $2)"
FIND_IDEMPOTENT = "select howdah_core.find_idempotent($1, $2, $3)"
EXISTING = "select * from howdah_core.existing($1)"

TICK_SECONDS = 0.1
"""How often idle attempts are looked at and lone steps are written."""
SWEEP_SECONDS = 1.0
LAG_SECONDS_MAX = 0.02
"""Grants stop while the lane is later than this: the queue is fairer."""
PROMOTE_MAX = 200
SWEEP_MAX = 1000
RECONNECT_SECONDS_MAX = 2.0
LEASE_PART = 0.8
"""After this part of the lease without a beat the residents are dropped."""
CANCEL_SECONDS = 0.2
"""How long a loop may take to end before it is cancelled again."""
POLL_PART_MAX = 1.25
"""A poll comes after at most this many poll intervals."""
RELEASE_SECONDS = 5.0
"""How long a stopping process waits for the commit that gives its last leases back."""
THREADS_MAX = 32


@dataclass(slots=True)
class Submission:
    """A request from outside. `headers` in order, names in lower case; `wait`: for the outcome."""

    handler: HandlerRow
    key: str | None
    body: bytes
    headers: list[tuple[str, str]]
    idempotency_key: str | None = None
    delay: timedelta | None = None
    wait: bool = True


@dataclass(slots=True)
class Accepted:
    """An accepted request: durable. `outcome` is there when the submission waits for it."""

    id: UUID
    is_new: bool
    execution_time: datetime | None
    outcome: Awaitable[Outcome] | None


class Engine:
    """Everything that one process does between HTTP and Postgres."""

    def __init__(
        self,
        *,
        dsn: str,
        options: Options,
        services: Sequence[Service | VirtualObject],
        before_call: Callable[[str], None] | None = None,
    ) -> None:
        self.options = options
        self.dsn = dsn
        self._services = list(services)
        self.database = Database(dsn, before_call)
        self.registry = Registry(self.database)
        self.lane = Lane(self, dsn, options.batch_bytes_max, before_call)
        self.worker_no = 0
        self.gen = 1
        self.deployment_no: int | None = None
        self.served: list[int] = []
        self.residents: dict[UUID, Attempt] = {}
        self._handlers: dict[int, Handler[Any, Any]] = {}
        self._waiting: dict[UUID, Attempt] = {}
        self._reserved = 0
        self._has_backlog = False
        self._is_draining = False
        self._is_up = False
        self._is_claiming = asyncio.Lock()
        self._is_recovering = False
        self._claim_now = asyncio.Event()
        self._one_ended = asyncio.Event()
        self._promote_now = asyncio.Event()
        self._clients: dict[UUID, list[asyncio.Future[Outcome]]] = {}
        self._client_ids_asked: set[UUID] = set()
        self._now = (datetime.now(UTC), monotonic())
        self._tasks: list[asyncio.Task[None]] = []
        self._background: set[asyncio.Task[None]] = set()
        self._notifier = Notifier(dsn)
        self._listener = Listener(dsn, self._channels, self._on_words, self._on_gap)
        self._fencing = Fencing(self.database, options.lease.total_seconds())
        self._heartbeat: Heartbeat | None = None
        self._threads = ThreadPoolExecutor(THREADS_MAX, "howdah step")
        self._random = random.Random()

    @classmethod
    def create(
        cls, *, dsn: str, options: Options, services: Sequence[Service | VirtualObject]
    ) -> Engine:
        """An engine for one process; nothing is connected yet."""
        return cls(dsn=dsn, options=options, services=services)

    # Start and stop.

    @property
    def _is_worker(self) -> bool:
        return "worker" in self.options.roles and bool(self._services)

    async def start(self) -> None:
        """Connect, register, and start the loops that the roles ask for.

        Raises:
            StoreUnavailable: the database does not answer.
            StoreError: the schema is missing or another.
        """
        await self.database.open()
        if self._services and "worker" in self.options.roles:
            name = self.options.deployment or code_digest(self._services)
            described = msgspec.json.encode(describe(self._services, self.options)).decode()
            rows = await self.database.fetch(REGISTER_DEPLOYMENT, name, described)
            self.deployment_no = rows[0][0]
        await self._reload_registry()
        await self._register()
        await self.lane.connect()
        loop = asyncio.get_running_loop()

        def fenced(worker_no: int) -> None:
            loop.call_soon_threadsafe(self._on_fenced, worker_no)

        self._heartbeat = Heartbeat(
            self.dsn,
            self.options.lease.total_seconds(),
            lambda: self.worker_no,
            fenced,
        )
        self._heartbeat.start()
        self._is_up = True
        self._spawn(self.lane.run())
        self._spawn(self._notifier.run())
        self._spawn(self._listener.run())
        self._spawn(self._every(SWEEP_SECONDS, self._sweep_once))
        self._spawn(self._every(TICK_SECONDS, self._tick_once))
        self._spawn(self._every(SWEEP_SECONDS, self._observe_once))
        self._spawn(self._poll(self._promote_now, self._promote_once))
        if self._is_worker:
            self._spawn(self._poll(self._claim_now, self._claim_once))
        logger.info("worker started", extra={"worker_no": self.worker_no})

    async def _register(self) -> None:
        options = self.options
        rows = await self.database.fetch(
            REGISTER_WORKER,
            uuid.uuid4(),
            socket.gethostname(),
            os.getpid(),
            sorted(options.roles),
            options.max_resident if self._is_worker else 0,
            self.deployment_no,
            version("howdah"),
        )
        self.worker_no = rows[0][0]
        self.gen = 1

    async def drain(self) -> None:
        """Give back all leases: waiting attempts at once, running ones after a grace time."""
        self._is_draining = True
        self.served = []
        deadline = monotonic() + self.options.drain_timeout.total_seconds()
        # What was granted or claimed in this very moment becomes resident first.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(RELEASE_SECONDS), self._is_claiming:
                await self.lane.settled()
        await self._until_empty(deadline, self._suspend_all)
        for attempt in list(self.residents.values()):
            attempt.release()
        await self._until_empty(monotonic() + RELEASE_SECONDS, self._flush_all)

    async def _until_empty(self, deadline: float, step: Callable[[], None]) -> None:
        while self.residents and self._is_up and (left := deadline - monotonic()) > 0:
            step()
            self._one_ended.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(left, TICK_SECONDS)):
                    await self._one_ended.wait()

    def _suspend_all(self) -> None:
        for attempt in list(self._waiting.values()):
            if attempt.is_idle:
                attempt.suspend()
        self._flush_all()

    def _flush_all(self) -> None:
        for attempt in list(self.residents.values()):
            attempt.flush()

    async def stop(self) -> None:
        """Stop everything; what was not given back is reclaimed by others."""
        self._is_draining = True
        # Until 3.12 `wait_for`, which drivers use, may swallow a cancellation: ask again.
        pending: set[asyncio.Task[None]] = {*self._tasks, *self._background}
        while pending:
            for task in pending:
                task.cancel()
            _, pending = await asyncio.wait(pending, timeout=CANCEL_SECONDS)
        for attempt in list(self.residents.values()):
            attempt.abandon()
        if self._heartbeat is not None:
            await asyncio.to_thread(self._heartbeat.stop)
        self.lane.disconnect()
        if self.worker_no:
            try:
                await asyncio.wait_for(
                    self.database.fetch(UNREGISTER_WORKER, self.worker_no), timeout=5
                )
            except (StoreUnavailable, TimeoutError, asyncpg.PostgresError):
                logger.warning("the worker could not sign off", extra={"worker_no": self.worker_no})
        self._fail_clients(StoreUnavailable(doing="answering: this process is stopping"))
        await self.database.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    @property
    def is_ready(self) -> bool:
        """Whether the database answers and this process's lease is renewed."""
        heartbeat = self._heartbeat
        lease = self.options.lease.total_seconds()
        return (
            self._is_up
            and not self._is_recovering
            and heartbeat is not None
            and monotonic() - heartbeat.renewed_at < lease
        )

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(asyncio.get_running_loop().create_task(coroutine))

    def _later(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Work for the side: it may fail when the database is away; the sweep repeats it."""
        task = asyncio.get_running_loop().create_task(self._quietly(coroutine))
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    @staticmethod
    async def _quietly(coroutine: Coroutine[Any, Any, None]) -> None:
        try:
            await coroutine
        except (StoreUnavailable, asyncpg.PostgresError) as error:
            logger.debug("left to the sweep", extra={"error": str(error)})

    # What ingress calls.

    async def accept(self, submission: Submission) -> Accepted:
        """Make a request durable, and execute it here when there is room.

        Durability: the invocation is on disk when this returns.

        Raises:
            StoreUnavailable: the database is away; the request was not accepted, or it is not
                known whether it was (repeat it with an idempotency key).
        """
        if not self._is_up or self._is_draining:
            raise StoreUnavailable(doing="accepting a request")
        handler = submission.handler
        headers = submission.headers
        accepted: asyncio.Future[NewInvocation] = asyncio.get_running_loop().create_future()
        new = NewInvocation(
            id=uuid7(),
            handler=handler,
            key=submission.key,
            is_exclusive=handler.kind == "exclusive",
            cid=None,
            input=submission.body,
            headers=msgspec.json.encode(headers).decode() if headers else None,
            idempotency_key=submission.idempotency_key,
            delay=submission.delay,
            is_granted=submission.delay is None and self.reserve_slot(handler),
            waits=submission.wait,
            accepted=accepted,
        )
        outcome = self._client(new.id) if submission.wait else None
        self.lane.accept(new)
        try:
            await accepted
        except BaseException:
            if outcome is not None:
                self._forget_client(new.id, outcome)
            raise
        if new.existing is None:
            return Accepted(new.id, True, new.execution_time, outcome)
        if outcome is None:
            return Accepted(new.existing, False, None, None)
        self._forget_client(new.id, outcome)
        return Accepted(new.existing, False, None, self.attach(new.existing))

    def on_scheduled(self, new: NewInvocation) -> None:
        """A delayed send is on disk."""
        assert new.delay is not None
        wake = self._promote_now if new.is_exclusive else self._claim_now
        self._wake_in(new.delay.total_seconds(), wake)

    def _wake_in(self, seconds: float, loop_of: asyncio.Event) -> None:
        """Wake a polling loop when a row is due, unless it asks before that anyway.

        What sleeps in the database costs no timer here: each poll learns when the next is due.
        """
        if seconds <= self.options.poll_interval.total_seconds() * POLL_PART_MAX:
            asyncio.get_running_loop().call_later(max(seconds, 0.0), loop_of.set)

    async def attach(self, invocation_id: UUID) -> Outcome:
        """The outcome of an invocation, when it has one. Raises `NotFound`."""
        client = self._client(invocation_id)
        try:
            rows = await self.database.fetch(WATCH, self.worker_no, invocation_id)
            stored = self._stored(rows[0], invocation_id)
            if stored is not None:
                return stored
            return await client
        finally:
            self._forget_client(invocation_id, client)

    async def output(self, invocation_id: UUID) -> Outcome | None:
        """The outcome, or None when it is not completed yet. Raises `NotFound`."""
        rows = await self.database.fetch(READ_OUTCOMES, [invocation_id])
        return self._stored(rows[0], invocation_id)

    @staticmethod
    def _stored(row: Any, invocation_id: UUID) -> Outcome | None:
        if row[0] == b"U":
            raise NotFound(what="invocation", name=invocation_id)
        return _outcome(row) if row[0] == b"O" else None

    async def find_idempotent(
        self, handler: HandlerRow, key: str | None, idempotency_key: str
    ) -> UUID | None:
        """The invocation that was accepted with this idempotency key, if any."""
        rows = await self.database.fetch(FIND_IDEMPOTENT, handler.no, key, idempotency_key)
        found: UUID | None = rows[0][0]
        return found

    def _client(self, id_: UUID) -> asyncio.Future[Outcome]:
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._clients.setdefault(id_, []).append(future)
        return future

    def _forget_client(self, id_: UUID, future: asyncio.Future[Outcome]) -> None:
        waiting = self._clients.get(id_)
        if waiting is not None and future in waiting:
            waiting.remove(future)
            if not waiting:
                del self._clients[id_]
        future.cancel()

    def _fail_clients(self, error: Exception) -> None:
        for waiting in self._clients.values():
            for future in waiting:
                if not future.done():
                    future.set_exception(error)
                    future.exception()
        self._clients.clear()

    def on_outcome(self, outcome: Outcome, origin: int | None) -> None:
        """An invocation completed here: answer those who wait for it, wherever they are."""
        waiting = self._clients.pop(outcome.id, None)
        if waiting is not None:
            for future in waiting:
                if not future.done():
                    future.set_result(outcome)
        elif origin is not None and origin != self.worker_no:
            self._notifier.add(channel_of(origin), f"c:{outcome.id}")

    # Slots and attempts.

    def reserve_slot(self, row: HandlerRow) -> bool:
        """Reserve room for a grant: only while nobody who came earlier waits in the queue."""
        if (
            row.no not in self._handlers
            or self._is_draining
            or self._has_backlog
            or not self._is_up
            or len(self.residents) + self._reserved >= self.options.max_resident
            or self.lane.lag_seconds > LAG_SECONDS_MAX
        ):
            return False
        self._reserved += 1
        return True

    def release_slots(self, count: int) -> None:
        """Reserved slots that were not used."""
        self._reserved -= count

    def begin(self, record: Record) -> None:
        """Execute an invocation whose lease this worker has."""
        row = self.registry.handlers.get(record.handler_no)
        handler = self._handlers.get(record.handler_no)
        assert row is not None
        assert handler is not None
        attempt = Attempt(self, record, row, handler)
        self.residents[record.id] = attempt
        attempt.begin()

    def ended(self, attempt: Attempt) -> None:
        """An attempt left this process."""
        if self.residents.get(attempt.id) is attempt:
            del self.residents[attempt.id]
            self._waiting.pop(attempt.id, None)
            self._one_ended.set()
            if self._has_backlog:
                self._claim_now.set()

    def on_waiting(self, attempt: Attempt) -> None:
        """An attempt waits for something that is not there yet."""
        self._waiting.pop(attempt.id, None)
        self._waiting[attempt.id] = attempt
        if not self.options.inactivity_timeout:
            asyncio.get_running_loop().call_soon(self._suspend_if_idle, attempt)

    @staticmethod
    def _suspend_if_idle(attempt: Attempt) -> None:
        if attempt.is_idle:
            attempt.suspend()

    def on_given_back(self, attempt: Attempt, final: Final) -> None:
        """A lease was given back: remember when the row is due."""
        if final.delay is not None:
            self._wake_in(final.delay.total_seconds(), self._claim_now)
        if final.run_at is not None:
            seconds = (final.run_at - self.database_now()).total_seconds()
            self._wake_in(seconds, self._claim_now)
        if final.status == "ready":
            self._notifier.add(WORK, str(attempt.row.service_no))

    async def in_thread(self, action: Callable[[], Any]) -> Any:
        """Run a plain function without blocking the loop."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, action)

    def jitter(self) -> float:
        """A number in [0, 1) for back-off."""
        return self._random.random()

    def database_now(self) -> datetime:
        """The database's clock, as last read and carried on by the monotonic one."""
        read, at = self._now
        return read + timedelta(seconds=monotonic() - at)

    def refresh_registry(self) -> None:
        """Read the services again soon."""
        self._later(self._reload_registry())

    async def _reload_registry(self) -> None:
        await self.registry.refresh(force=True)
        handlers: dict[int, Handler[Any, Any]] = {}
        served: list[int] = []
        for service in self._services if self._is_worker else []:
            row = self.registry.service(service.name)
            if row is None:
                continue
            served.append(row.no)
            for name, handler in service.handlers.items():
                if name in row.handlers:
                    handlers[row.handlers[name].no] = handler
        self._handlers = handlers
        if not self._is_draining:
            self.served = served

    # Hints.

    def _channels(self) -> list[str]:
        return [WORK, REGISTRY, channel_of(self.worker_no)]

    def _on_words(self, channel: str, words: list[str]) -> None:
        if channel == WORK:
            if any(int(word) in self.served for word in words if word.isdigit()):
                self._claim_now.set()
        elif channel == REGISTRY:
            self.refresh_registry()
        else:
            mail = [UUID(word[2:]) for word in words if word.startswith("m:")]
            done = [UUID(word[2:]) for word in words if word.startswith("c:")]
            if mail:
                self._later(self._read_mail(mail))
            if done:
                self._later(self._ask_outcomes([id_ for id_ in done if id_ in self._clients]))

    def _on_gap(self) -> None:
        self._claim_now.set()
        self._promote_now.set()
        self.refresh_registry()

    def on_ready(self, queues: set[int]) -> None:
        """Queues have ready work: take it, or tell others."""
        if self._is_worker and any(queue in self.served for queue in queues):
            self._claim_now.set()
        for queue in queues:
            self._notifier.add(WORK, str(queue))

    def on_mail(self, ids: list[tuple[UUID, int]]) -> None:
        """Running invocations have mail."""
        own = [id_ for id_, worker_no in ids if worker_no == self.worker_no]
        for id_, worker_no in ids:
            if worker_no != self.worker_no:
                self._notifier.add(channel_of(worker_no), f"m:{id_}")
        if own:
            self._later(self._read_mail(own))

    def on_wake(self, ids: list[UUID]) -> None:
        """Suspended invocations have mail."""
        self._later(self._wake(ids))

    def on_sinks(self, ids: list[UUID]) -> None:
        """Others wait for these outcomes."""
        self._later(self._deliver_sinks(ids))

    async def _wake(self, ids: list[UUID]) -> None:
        rows = await self.database.fetch(WAKE, ids)
        if rows:
            self.on_ready({row[1] for row in rows})

    async def _deliver_sinks(self, ids: list[UUID]) -> None:
        rows = await self.database.fetch(DELIVER_SINKS, ids, SWEEP_MAX)
        self._on_deliveries(rows)

    def _on_deliveries(self, rows: Sequence[Any]) -> None:
        wakes = [row[1] for row in rows if row[0] == b"W"]
        mails = [(row[1], row[2]) for row in rows if row[0] == b"M" and row[2] is not None]
        if wakes:
            self.on_wake(wakes)
        if mails:
            self.on_mail(mails)
        own = []
        for row in rows:
            if row[0] == b"C":
                if row[2] == self.worker_no:
                    own.append(row[1])
                else:
                    self._notifier.add(channel_of(row[2]), f"c:{row[1]}")
        if own:
            self._later(self._ask_outcomes(own))

    async def _read_mail(self, ids: list[UUID]) -> None:
        rows = await self.database.fetch(READ_MAIL, ids)
        for row in rows:
            attempt = self.residents.get(row[0])
            if attempt is not None and attempt.is_open:
                attempt.consume(row[1], row[2], row[3], row[5], row[7], row[6])

    async def _ask_outcomes(self, ids: list[UUID]) -> None:
        if not ids:
            return
        for row in await self.database.fetch(READ_OUTCOMES, ids):
            if row[0] == b"O":
                self.on_outcome(_outcome(row), None)

    # Loops. Each is a shell around one step.

    async def _every(self, seconds: float, step: Callable[[], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(seconds)
            try:
                await step()
            except (StoreUnavailable, asyncpg.PostgresError) as error:
                self._fencing.forget()
                logger.debug("a loop's step failed", extra={"error": str(error)})

    async def _poll(self, now: asyncio.Event, step: Callable[[], Awaitable[float]]) -> None:
        pause = 0.0
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await now.wait()
            now.clear()
            try:
                pause = await step()
            except (StoreUnavailable, asyncpg.PostgresError) as error:
                logger.warning("a poll failed", extra={"error": str(error)}, exc_info=True)
                pause = self.options.poll_interval.total_seconds()

    def _pause_until(self, next_at: datetime | None) -> float:
        pause = self.options.poll_interval.total_seconds() * (0.75 + self.jitter() / 2)
        if next_at is not None:
            pause = min(pause, max((next_at - self.database_now()).total_seconds(), 0.0))
        return pause

    async def _claim_once(self) -> float:
        """Take ready work, as much as there is room for."""
        if self._is_draining or self._is_recovering or not self.served:
            return self.options.poll_interval.total_seconds()
        free = self.options.max_resident - len(self.residents) - self._reserved
        if free <= 0:
            self._make_room()
            return TICK_SECONDS
        limit = min(free, self.options.claim_batch_max)
        async with self._is_claiming:
            gen, worker_no = self.gen, self.worker_no
            try:
                rows = await self.database.fetch(
                    CLAIM, worker_no, gen, self.deployment_no, self.served, limit
                )
            except StoreUnavailable:
                self._later(self._recover_claim())
                raise
            loaded = load(rows)
            if loaded.is_fenced:
                if (gen, worker_no) == (self.gen, self.worker_no):
                    self._on_fenced(worker_no)
                return TICK_SECONDS
            self._take(loaded)
        self._has_backlog = len(loaded.records) == limit
        if self._has_backlog:
            self._claim_now.set()
        return self._pause_until(loaded.next_at)

    def _take(self, loaded: Loaded) -> None:
        if loaded.now is not None:
            self._now = (loaded.now, monotonic())
        for record in loaded.records:
            if record.handler_no not in self._handlers:
                logger.error(
                    "a claimed handler is unknown", extra={"handler_no": record.handler_no}
                )
                continue
            earlier = self.residents.get(record.id)
            if earlier is not None:
                earlier.abandon()
            self.begin(record)

    def _make_room(self) -> None:
        """Slots are short: those that wait longest give theirs up."""
        count = 0
        for attempt in list(self._waiting.values()):
            if attempt.is_idle:
                attempt.suspend()
                count += 1
                if count >= self.options.claim_batch_max:
                    break

    async def _promote_once(self) -> float:
        """Let due delayed sends enter their keys' inboxes."""
        if self._is_draining or self._is_recovering:
            return self.options.poll_interval.total_seconds()
        rows = await self.database.fetch(PROMOTE, self.worker_no, self.gen, PROMOTE_MAX)
        queues = {row[0] for row in rows if row[0] is not None}
        if queues:
            self.on_ready(queues)
            self._promote_now.set()
        return self._pause_until(rows[-1][1] if rows else None)

    async def _sweep_once(self) -> None:
        """Repeat every hint that may have been lost."""
        if self._is_recovering:
            return
        rows = await self.database.fetch(SWEEP, self.worker_no, SWEEP_MAX)
        queues = {row[2] for row in rows if row[0] == b"Q"}
        if queues:
            self.on_ready(queues)
        mail = [row[1] for row in rows if row[0] == b"M"]
        if mail:
            await self._read_mail(mail)
        self._on_deliveries([row for row in rows if row[0] == b"C"])
        others = [id_ for id_ in self._clients if id_ not in self.residents]
        # Those that were there at the last sweep already: their hint may be lost.
        again = [id_ for id_ in others if id_ in self._client_ids_asked]
        self._client_ids_asked = set(others)
        for first in range(0, len(again), SWEEP_MAX):
            await self._ask_outcomes(again[first : first + SWEEP_MAX])

    async def _observe_once(self) -> None:
        """Fence who stopped beating, and free what fenced workers held."""
        heartbeat = self._heartbeat
        assert heartbeat is not None
        lease = self.options.lease.total_seconds()
        if monotonic() - heartbeat.renewed_at > lease * LEASE_PART and self.residents:
            logger.warning("the lease could not be renewed", extra={"worker_no": self.worker_no})
            for attempt in list(self.residents.values()):
                attempt.abandon()
            self._later(self._recover_claim())
        await self._fencing.run_once(self.worker_no)
        freed = await self._fencing.reclaim()
        if freed:
            logger.info("invocations were reclaimed", extra={"count": sum(freed.values())})
            self.on_ready(set(freed))

    async def _tick_once(self) -> None:
        """Write steps that take long; suspend those that waited long enough."""
        timeout = self.options.inactivity_timeout.total_seconds()
        now = monotonic()
        database_now = self.database_now()
        self._flush_all()
        for attempt in list(self._waiting.values()):
            if attempt.is_idle and (
                now - attempt.waiting_since >= timeout
                or attempt.sleeps_longer_than(timeout, database_now)
            ):
                attempt.suspend()

    # Recovery.

    async def _recover_claim(self) -> None:
        if not self._is_recovering:
            await self.lane.settled()
            await self.recover([], [])

    async def recover(self, units: list[Unit], accepts: list[NewInvocation]) -> None:
        """A reply was lost: make sure that nothing of it is still running, then ask what holds.

        Attempts with a unit in the lost batch start again from their journals; requests whose
        invocation is there are accepted, the others go into the next batch.
        """
        self._is_recovering = True
        lost = {id(unit.attempt): unit.attempt for unit in units}
        for unit in units:
            for new in unit.calls:
                self.release_slots(int(new.is_granted))
        for attempt in lost.values():
            attempt.abandon()
        for new in accepts:
            self.release_slots(int(new.is_granted))
            new.is_granted = False
        pause = 0.05
        try:
            async with self._is_claiming:
                while True:
                    try:
                        await self._recover_once(accepts)
                        break
                    except (StoreUnavailable, asyncpg.PostgresError) as error:
                        self._is_up = False
                        logger.warning("the database is away", extra={"error": str(error)})
                        self._refuse_accepts(accepts)
                        accepts = []
                        await asyncio.sleep(pause * (0.5 + self.jitter()))
                        pause = min(pause * 2, RECONNECT_SECONDS_MAX)
        finally:
            self._is_recovering = False
        self._is_up = True
        self._claim_now.set()
        logger.info("the database is back", extra={"worker_no": self.worker_no})

    def _refuse_accepts(self, accepts: list[NewInvocation]) -> None:
        for new in accepts:
            if new.accepted is not None and not new.accepted.done():
                new.accepted.set_exception(StoreUnavailable(doing="accepting a request"))

    async def _recover_once(self, accepts: list[NewInvocation]) -> None:
        await self.lane.connect()
        rows = await self.database.fetch(NEXT_GENERATION, self.worker_no)
        gen = rows[0][0]
        if gen is None:
            await self._start_over()
        else:
            self.gen = gen
        attempts = list(self.residents.values())
        rows = await self.database.fetch(
            RECONCILE,
            self.worker_no,
            self.gen,
            self.deployment_no,
            [attempt.id for attempt in attempts],
            [attempt.epoch for attempt in attempts],
        )
        loaded = load(rows)
        if loaded.is_fenced:
            raise StoreUnavailable(doing="reconciling as a fenced worker")
        if accepts:
            found = await self.database.fetch(EXISTING, [new.id for new in accepts])
            known = {row[0] for row in found}
            for new in accepts:
                if new.id not in known:
                    self.lane.accept(new)
                elif new.accepted is not None and not new.accepted.done():
                    new.accepted.set_result(new)
        for id_ in loaded.lost:
            attempt = self.residents.get(id_)
            if attempt is not None:
                attempt.abandon()
        self._take(loaded)

    def _on_fenced(self, worker_no: int) -> None:
        """Others took this worker's right to write: start over under a new identity."""
        if worker_no == self.worker_no and not self._is_recovering and not self._is_draining:
            logger.warning("this worker was fenced", extra={"worker_no": worker_no})
            for attempt in list(self.residents.values()):
                attempt.abandon()
            self._is_recovering = True
            self._later(self._recover_fenced())

    async def _recover_fenced(self) -> None:
        await self.lane.settled()
        await self.recover([], [])

    async def _start_over(self) -> None:
        for attempt in list(self.residents.values()):
            attempt.abandon()
        await self._register()
        self._listener.renew()
        if self._heartbeat is not None:
            self._heartbeat.renewed_at = monotonic()


def _outcome(row: Any) -> Outcome:
    metadata = row["metadata"]
    return Outcome(
        row["id"],
        row["outcome"],
        row["value"] or b"",
        row["code"],
        row["message"],
        msgspec.json.decode(metadata) if metadata else None,
        row["expires_at"],
        row["handler"],
    )
