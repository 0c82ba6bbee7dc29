"""The engine of one process: its identity, its slots and residents, and the parts it is made of.

Postgres decides everything durable; the engine asks. It keeps two promises of its own: a resident
attempt always has its lease (or is dropped as soon as that is in doubt), and a waiting client is
answered from what is stored.

Each part is a file named by what it does; they reach each other through the engine.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import socket
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from time import monotonic
from typing import Any, Protocol
from uuid import UUID

import asyncpg
import msgspec

from howdah.errors import StoreUnavailable, UsageError
from howdah.handler import Handler
from howdah.ids import uuid7
from howdah.options import Options
from howdah.service import SET_STATE, AnyService, code_digest, describe
from howdah.store.database import Database
from howdah.store.lane import Lane
from howdah.store.registry import HandlerRow, Registry
from howdah.store.units import Delivery, Mail, NewInvocation, Outcome, Record
from howdah.worker.attempt import Attempt
from howdah.worker.claiming import Claiming, Limiting
from howdah.worker.cleaning import Cleaning
from howdah.worker.clients import Clients
from howdah.worker.delivering import Delivering
from howdah.worker.draining import Draining
from howdah.worker.fencing import Fencing
from howdah.worker.heartbeat import Heartbeat
from howdah.worker.hints import Hints
from howdah.worker.local_attempt import LocalAttempt
from howdah.worker.loops import Loops
from howdah.worker.missing import missing_handler
from howdah.worker.observer import Observer
from howdah.worker.observing import OBSERVE_SECONDS, Observing
from howdah.worker.operating import Operating
from howdah.worker.patching import patch_handler
from howdah.worker.promoting import Promoting
from howdah.worker.recovery import Recovery
from howdah.worker.showing import SHOW_SECONDS, Showing
from howdah.worker.skipping import Skipping
from howdah.worker.suspending import TICK_SECONDS, Suspending
from howdah.worker.sweeping import SWEEP_SECONDS, Sweeping
from howdah.worker.threads import Threads

logger = logging.getLogger(__name__)

REGISTER_DEPLOYMENT = "select howdah_core.register_deployment($1, $2, $3)"
SERVING = "select * from howdah_core.serving($1)"
STRANDED = "select * from howdah_core.stranded()"
REGISTER_WORKER = "select howdah_core.register_worker($1, $2, $3, $4, $5, $6, $7)"
UNREGISTER_WORKER = "select howdah_core.unregister_worker($1)"

REGISTRY_SECONDS = 10.0
"""How often services and versions are read again, should a hint be lost."""
LAG_SECONDS_MAX = 0.02
"""Grants stop while the lane is later than this: the queue is fairer."""
STEP_THREADS_MAX = 32
"""How many steps that are plain functions run at once, beside those of sync handlers."""


@dataclass(slots=True)
class Submission:
    """A request from outside. `headers` in order, names in lower case; `wait`: for the outcome.

    `scope` is for services without keys only, `limit_key` only with a scope.
    """

    handler: HandlerRow
    key: str | None
    body: bytes
    headers: list[tuple[str, str]]
    idempotency_key: str | None = None
    delay: timedelta | None = None
    wait: bool = True
    scope: str | None = None
    limit_key: str | None = None


@dataclass(slots=True)
class Accepted:
    """An accepted request: durable. `outcome` is there when the submission waits for it."""

    id: UUID
    is_new: bool
    execution_time: datetime | None
    outcome: Awaitable[Outcome] | None


class RemoteExecutor(Protocol):
    """Executes handlers that run elsewhere; see `howdah.remote.deployments`."""

    async def refresh(self, engine: Engine) -> None:
        """Read the remote deployments again."""

    def attempt(self, engine: Engine, record: Record, row: HandlerRow) -> Attempt:
        """An attempt of an invocation that such a deployment has begun, or is to begin."""
        ...

    def close(self) -> None:
        """Close all connections."""


class Engine:
    """Everything that one process does between HTTP and Postgres."""

    def __init__(
        self,
        *,
        dsn: str,
        options: Options,
        services: Sequence[AnyService],
        before_call: Callable[[str], None] | None = None,
        always_replay: bool = False,
        is_breaking: bool = False,
        remote: RemoteExecutor | None = None,
        observer: Observer | None = None,
    ) -> None:
        self.options = options
        self.always_replay = always_replay
        self.observer = observer
        self._is_breaking = is_breaking
        self._remote = remote
        self.dsn = dsn
        self._services = list(services)
        self.is_worker = "worker" in options.roles and (bool(services) or remote is not None)
        self.database = Database(dsn, before_call)
        self.registry = Registry(self.database)
        self.lane = Lane(self, dsn, options.batch_bytes_max, before_call)
        self.worker_no = 0
        self.gen = 1
        self.deployment_no: int | None = None
        self.served: list[int] = []
        """Services whose new invocations this process may begin; a later version may take them."""
        self.deployments: list[int] = []
        """For each of `served`, the deployment that executes them: its latest version."""
        self.pinned: list[int] = []
        """For each of `served`, the queue of what that deployment has begun."""
        self.queues: list[int] = []
        """What is claimed from: `served`, and the queues of what served versions have begun."""
        self.queue_deployments: list[int] = []
        """For each of `queues`, the deployment that executes it."""
        self.queues_pinned: list[int] = []
        """For each of `queues`, where it goes once that deployment has begun it."""
        self.eager_bytes = options.state_eager_bytes_max
        self.tick: int = 0
        """Counts ticks of the suspending loop: a clock that costs nothing to read."""
        self.handlers: dict[int, Handler[Any, Any]] = {}
        self.residents: dict[UUID, Attempt] = {}
        self._grantable: frozenset[int] = frozenset()
        self._pinned_queues: dict[tuple[int, int], int] = {}
        self._reserved = 0
        self._reloading = asyncio.Lock()
        self.is_up = False
        self.is_draining = False
        self._clock = (datetime.now(UTC), monotonic())
        self.on_attempt_failed: Callable[[Attempt, BaseException], None] | None = None
        """Told of each attempt that fails, for tests: what is stored of an error is its text."""
        self._random = random.Random()
        self.handler_threads = Threads("howdah handler", options.sync_threads_max)
        self._step_threads = Threads("howdah step", STEP_THREADS_MAX)
        self.heartbeat: Heartbeat | None = None
        self.fencing = Fencing(self.database, options.lease.total_seconds())
        self.loops = Loops(on_failure=self.fencing.forget)

        self.clients = Clients(self)
        self.hints = Hints(self)
        self.delivering = Delivering(self)
        self.claiming = Claiming(self)
        self.limiting = Limiting(self)
        self.promoting = Promoting(self)
        self.sweeping = Sweeping(self)
        self.observing = Observing(self)
        self.showing = Showing(self)
        self.skipping = Skipping(self)
        self.suspending = Suspending(self)
        self.recovery = Recovery(self)
        self.draining = Draining(self)
        self.operating = Operating(self)
        self.cleaning = Cleaning(self)

        # What others call on the engine goes straight to the part that does it.
        self.in_thread = self._step_threads.run
        self.drain = self.draining.drain
        self.attach = self.clients.attach
        self.output = self.clients.output
        self.find_idempotent = self.clients.find_idempotent
        self.on_ready = self.hints.on_ready
        self.on_mail = self.hints.on_mail
        self.on_wake = self.delivering.on_wake
        self.on_sinks = self.delivering.on_sinks
        self.recover = self.recovery.recover
        self.on_doubt = self.recovery.on_doubt
        self.on_orders = self.operating.on_orders
        self.operate = self.operating.operate
        self.restart_as_new = self.operating.restart_as_new
        self.on_clock_moved = self.skipping.on_clock_moved

    @classmethod
    def create(
        cls,
        *,
        dsn: str,
        options: Options,
        services: Sequence[AnyService],
        is_breaking: bool = False,
        observer: Observer | None = None,
        remote: RemoteExecutor | None = None,
    ) -> Engine:
        """An engine for one process; nothing is connected yet.

        Args:
            dsn: The database, migrated.
            options: Of this process.
            services: What its worker executes.
            is_breaking: A service may lose handlers, and change its kind once nothing of it is
                under way.
            observer: Told what becomes of invocations here.
            remote: Executes handlers that run elsewhere; None: nobody does in this process.
        """
        return cls(
            dsn=dsn,
            options=options,
            services=services,
            is_breaking=is_breaking,
            observer=observer,
            remote=remote,
        )

    # Start and stop.

    async def start(self) -> None:
        """Connect, register, and start the loops that the roles ask for.

        Raises:
            StoreUnavailable: the database does not answer.
            StoreError: the schema is missing or another.
            UsageError: a service would lose handlers, or change its kind.
        """
        await self.database.open()
        if self.is_worker and self._services:
            name = self.options.deployment or code_digest(self._services)
            described = msgspec.json.encode(describe(self._services, self.options)).decode()
            try:
                rows = await self.database.fetch(
                    REGISTER_DEPLOYMENT, name, described, self._is_breaking
                )
            except asyncpg.PostgresError as error:
                if error.sqlstate not in ("WD011", "WD014"):
                    raise
                said = str(error.args[0])  # str(error) has the hint in it
                raise UsageError(
                    f"{said[:1].upper()}{said[1:]}.", hint=getattr(error, "hint", None)
                ) from error
            self.deployment_no = rows[0][0]
        await self.register()
        await self.reload_registry()
        await self._warn_of_stranded()
        await self.lane.connect()
        loop = asyncio.get_running_loop()

        def fenced(worker_no: int) -> None:
            loop.call_soon_threadsafe(self.recovery.on_fenced, worker_no)

        self.heartbeat = Heartbeat(
            self.dsn,
            self.options.lease.total_seconds(),
            lambda: self.worker_no,
            fenced,
        )
        self.heartbeat.start()
        self.is_up = True
        self.loops.start(self.lane.run())
        self.loops.start(self.hints.notifier.run())
        self.loops.start(self.hints.listener.run())
        self.loops.every(SWEEP_SECONDS, self.sweeping.run_once)
        self.loops.every(TICK_SECONDS, self.suspending.run_once)
        self.loops.every(OBSERVE_SECONDS, self.observing.run_once)
        self.loops.every(SHOW_SECONDS, self.showing.run_once)
        self.loops.every(self.options.cleanup_interval.total_seconds(), self.cleaning.run_once)
        self.loops.every(REGISTRY_SECONDS, self.reload_registry)
        self.loops.start(self.promoting.poll.run(self.promoting.run_once))
        if self.is_worker:
            self.loops.start(self.claiming.poll.run(self.claiming.run_once))
            self.loops.start(self.limiting.poll.run(self.limiting.run_once))
        logger.info("worker started", extra={"worker_no": self.worker_no})

    async def register(self) -> None:
        """Become a worker that nobody has seen before; residents of the old one must be gone."""
        options = self.options
        rows = await self.database.fetch(
            REGISTER_WORKER,
            uuid.uuid4(),
            socket.gethostname(),
            os.getpid(),
            sorted(options.roles),
            options.max_resident if self.is_worker else 0,
            self.deployment_no,
            version("howdah"),
        )
        self.worker_no = rows[0][0]
        self.gen = 1

    async def stop(self) -> None:
        """Stop everything; what was not given back is reclaimed by others."""
        self.is_draining = True
        await self.loops.stop()
        self.abandon_all()
        if self.heartbeat is not None:
            await asyncio.to_thread(self.heartbeat.stop)
        self.lane.disconnect()
        if self.worker_no:
            try:
                await asyncio.wait_for(
                    self.database.fetch(UNREGISTER_WORKER, self.worker_no), timeout=5
                )
            except (StoreUnavailable, TimeoutError, asyncpg.PostgresError):
                logger.warning("the worker could not sign off", extra={"worker_no": self.worker_no})
        if self._remote is not None:
            self._remote.close()
        self.clients.fail(StoreUnavailable(doing="answering: this process is stopping"))
        await self.database.close()
        self.handler_threads.stop()
        self._step_threads.stop()

    @property
    def is_ready(self) -> bool:
        """Whether the database answers and this process's lease is renewed."""
        heartbeat = self.heartbeat
        lease = self.options.lease.total_seconds()
        return (
            self.is_up
            and not self.recovery.is_running
            and heartbeat is not None
            and monotonic() - heartbeat.renewed_at < lease
        )

    # What ingress calls.

    async def accept(self, submission: Submission) -> Accepted:
        """Make a request durable, and execute it here when there is room.

        Durability: the invocation is on disk when this returns.

        Raises:
            StoreUnavailable: the database is away; the request was not accepted, or it is not
                known whether it was (repeat it with an idempotency key).
        """
        if not self.is_up or self.is_draining:
            raise StoreUnavailable(doing="accepting a request")
        handler = submission.handler
        headers = submission.headers
        accepted: asyncio.Future[NewInvocation] = asyncio.get_running_loop().create_future()
        new = NewInvocation(
            id=uuid7(),
            handler=handler,
            key=submission.key,
            is_exclusive=handler.is_exclusive,
            cid=None,
            input=submission.body,
            headers=msgspec.json.encode(headers).decode() if headers else None,
            idempotency_key="" if handler.kind == "workflow" else submission.idempotency_key,
            delay=submission.delay,
            is_granted=(
                submission.delay is None and submission.scope is None and self.reserve_slot(handler)
            ),
            waits=submission.wait,
            accepted=accepted,
            scope=submission.scope,
            limit_key=submission.limit_key,
        )
        outcome = self.clients.add(new.id) if submission.wait else None
        self.lane.accept(new)
        try:
            await accepted
        except BaseException:
            if outcome is not None:
                self.clients.forget(new.id, outcome)
            raise
        if new.existing is None:
            return Accepted(new.id, True, new.execution_time, outcome)
        if outcome is None:
            return Accepted(new.existing, False, None, None)
        self.clients.forget(new.id, outcome)
        return Accepted(new.existing, False, None, self.attach(new.existing))

    async def deliver(self, mail: Mail) -> None:
        """Send mail from outside, such as the value of an awakeable.

        Durability: it is on disk when this returns, unless the invocation is not there (any more):
        then it is dropped.

        Raises:
            StoreUnavailable: the database is away; it may or may not have been sent.
        """
        if not self.is_up or self.is_draining:
            raise StoreUnavailable(doing="delivering a signal")
        accepted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.lane.deliver(Delivery(mail, accepted))
        await accepted

    def on_scheduled(self, new: NewInvocation) -> None:
        """A delayed send is on disk."""
        assert new.delay is not None
        part: Promoting | Claiming = self.claiming
        if new.is_exclusive:
            part = self.promoting
        elif new.scope is not None:
            part = self.limiting
        part.poll.wake_in(new.delay.total_seconds())

    # Slots and attempts.

    def reserve_slot(self, row: HandlerRow) -> bool:
        """Reserve room for a grant: only while nobody who came earlier waits in the queue.

        While threads are short, sync handlers are left to whichever process is first to have one.
        """
        if (
            row.no not in self._grantable
            or self.is_draining
            or self.claiming.has_backlog
            or not self.is_up
            or len(self.residents) + self._reserved >= self.options.max_resident
            or self.lane.lag_seconds > LAG_SECONDS_MAX
            or (self.handler_threads.is_short and self._takes_thread(row))
        ):
            return False
        self._reserved += 1
        return True

    def _takes_thread(self, row: HandlerRow) -> bool:
        handler = self.handlers.get(row.no)
        return handler is not None and not handler.is_async

    def release_slots(self, count: int) -> None:
        """Reserved slots that were not used."""
        self._reserved -= count

    def free_slots(self) -> int:
        """How many more attempts may be resident."""
        return self.options.max_resident - len(self.residents) - self._reserved

    def begin(self, record: Record) -> None:
        """Execute an invocation whose lease this worker has."""
        row = self.registry.handlers.get(record.handler_no)
        if row is None:
            # Registered a moment ago: its lease is found again when it is known.
            logger.info("a handler is not known yet", extra={"handler_no": record.handler_no})
            self.refresh_registry()
            self.recovery.on_doubt()
            return
        attempt: Attempt
        is_local = record.deployment in (None, self.deployment_no) or row.name == SET_STATE
        if self._remote is not None and not is_local:
            attempt = self._remote.attempt(self, record, row)
        else:
            handler = self.handlers.get(record.handler_no)
            attempt = LocalAttempt(self, record, row, handler or missing_handler(row))
        self.residents[record.id] = attempt
        attempt.begin()

    def ended(self, attempt: Attempt) -> None:
        """An attempt left this process."""
        if self.residents.get(attempt.id) is attempt:
            del self.residents[attempt.id]
            self.suspending.waiting.pop(attempt.id, None)
            self.draining.one_ended.set()
            if self.claiming.has_backlog:
                self.claiming.poll.now.set()
            if attempt.record.scope is not None:
                self.hints.tell_freed()

    def ask_for_work(self) -> None:
        """Claim now, of whatever kind."""
        self.claiming.poll.now.set()
        self.limiting.poll.now.set()

    def flush_all(self) -> None:
        """Put into the next batch what the residents have to write."""
        for attempt in list(self.residents.values()):
            attempt.flush()

    def abandon_all(self) -> None:
        """Drop all residents: this process may not hold their leases any more."""
        for attempt in list(self.residents.values()):
            attempt.abandon()

    def queue_of(self, record: Record, service_no: int) -> int:
        """The queue of an invocation that its deployment has begun."""
        queue = service_no
        if record.deployment is not None:
            queue = self._pinned_queues.get((record.deployment, service_no), service_no)
        return queue if record.scope is None else -queue

    # What attempts ask for.

    def jitter(self) -> float:
        """A number in [0, 1) for back-off."""
        return self._random.random()

    def on_clock(self, now: datetime) -> None:
        """The database's clock was read."""
        self._clock = (now, monotonic())

    def database_now(self) -> datetime:
        """The database's clock, as last read and carried on by the monotonic one."""
        read, at = self._clock
        return read + timedelta(seconds=monotonic() - at)

    # The services.

    def refresh_registry(self) -> None:
        """Read the services again soon."""
        self.loops.later(self.reload_registry())

    async def reload_registry(self) -> None:
        """Read the services, and which versions execute them, now. Raises `StoreUnavailable`."""
        # One after the other: what was read first must not be believed last.
        async with self._reloading:
            await self._reload()

    async def _reload(self) -> None:
        await self.registry.refresh(force=True)
        if not self.is_worker:
            return
        own = {service.name: service for service in self._services}
        if self._remote is not None:
            await self._remote.refresh(self)
        handlers: dict[int, Handler[Any, Any]] = {}
        queues: dict[int, tuple[int, int]] = {}
        served: dict[int, tuple[int, int]] = {}
        pinned: dict[tuple[int, int], int] = {}
        grantable: set[int] = set()
        for row in await self.database.fetch(SERVING, self.deployment_no):
            known = self.registry.by_no.get(row["service"])
            if known is None or (
                self._remote is None if row["is_remote"] else known.name not in own
            ):
                continue
            place = (row["deployment"], row["q"])
            local = dict(patch_handler(known.name, known.kind))
            here = {handler.no for handler in known.handlers.values()}
            if not row["is_remote"]:
                local.update(own[known.name].handlers)
                here = {known.handlers[name].no for name in local if name in known.handlers}
            handlers.update(
                (known.all_handlers[name].no, handler)
                for name, handler in local.items()
                if name in known.all_handlers
            )
            queues[row["q"]] = place
            pinned[row["deployment"], known.no] = row["q"]
            if row["is_latest"]:
                served[known.no] = queues[known.no] = place
                grantable.update(here)
        self.handlers = handlers
        self._pinned_queues = pinned
        if not self.is_draining:
            self._grantable = frozenset(grantable)
            if set(served).difference(self.served):
                self.ask_for_work()
            self._serve(served, queues)

    def _serve(
        self, served: dict[int, tuple[int, int]], queues: dict[int, tuple[int, int]]
    ) -> None:
        self.served = list(served)
        self.deployments = [deployment for deployment, _ in served.values()]
        self.pinned = [queue for _, queue in served.values()]
        self.queues = list(queues)
        self.queue_deployments = [deployment for deployment, _ in queues.values()]
        self.queues_pinned = [queue for _, queue in queues.values()]

    def serve_nothing(self) -> None:
        """Take no new work: this process drains."""
        self._grantable = frozenset()
        self._serve({}, {})

    async def _warn_of_stranded(self) -> None:
        """Say which invocations nobody will go on with, and what to do about it."""
        for deployment, count in await self.database.fetch(STRANDED):
            logger.warning(
                "invocations wait for a version that no worker serves; start it, or move them: "
                "howdah invocations resume --deployment latest",
                extra={"deployment": deployment, "count": count},
            )
