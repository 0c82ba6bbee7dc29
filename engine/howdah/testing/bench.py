"""What the verbs of an environment work with: an engine, a database, and what failed in it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime, timedelta
from functools import partial
from time import monotonic
from types import MappingProxyType
from typing import Any, Final, NoReturn
from uuid import UUID

import asyncpg
import msgspec

from howdah.errors import NonDeterminism, OutOfBounds, TerminalError, UsageError, WrongContext
from howdah.handler import Handler
from howdah.options import Options
from howdah.service import AnyService
from howdah.store import access
from howdah.store.registry import HandlerRow
from howdah.store.units import Outcome
from howdah.testing import idling, servers
from howdah.testing.mortal import Killed, Mortal
from howdah.testing.problems import Unfinished
from howdah.worker.attempt import Attempt
from howdah.worker.engine import Engine, Submission

URL_VARIABLE: Final = "HOWDAH_DATABASE_URL"
LOOK_SECONDS: Final = (0.001, 0.05)
"""How soon idleness is looked for again: at first, and at most."""

# An invocation and those that it called, and they, too: a send that is paused keeps nobody waiting.
_AWAITED: Final = """
with recursive awaited as (
  select i.id from howdah_core.invocation i where i.id = $1
  union all
  select i.id from howdah_core.invocation i join awaited a on i.parent_id = a.id
   where i.parent_cid is not null)
select a.id, l.status from awaited a left join howdah_core.live l on l.id = a.id
"""
_RECLAIM: Final = "select * from howdah_core.reclaim(1000000)"
_CUT: Final = """
select pg_terminate_backend(a.pid) from pg_stat_activity a
 where a.datname = current_database() and a.pid <> pg_backend_pid()
   and a.application_name like 'howdah%'
"""
_FENCE: Final = """
select coalesce(bool_and(w.fenced_at is not null or howdah_core.fence(w.no, w.beat)), true)
  from howdah_core.worker w where w.no = $1
"""


class Bench:
    """An engine on a database of its own.

    Attributes:
        url: The database.
        services: What is served.
        timeout: How long anything is waited for unless it is said.
        on_call: Told of each look at the database, before and after; it may raise.
    """

    def __init__(
        self,
        url: str,
        db: asyncpg.Connection[Any],
        services: Sequence[AnyService],
        options: Options,
        always_replay: bool,
        timeout: timedelta,
    ) -> None:
        self.url = url
        self.services = services
        self.options = options
        self.timeout = timeout
        self.on_call: Callable[[str], None] | None = None
        self._db = db
        self._db_lock = asyncio.Lock()
        self._always_replay = always_replay
        self._failures: list[tuple[UUID, BaseException]] = []
        self._news: asyncio.Future[None] | None = None
        self._engine: Engine | None = None
        self._mortal: Mortal | None = None
        self._calls = 0

    @property
    def engine(self) -> Engine:
        """The engine that runs."""
        assert self._engine is not None, "the environment is closed"
        return self._engine

    async def fetch(self, statement: str, *args: Any) -> list[asyncpg.Record]:
        """Execute one statement, beside the engine's."""
        async with self._db_lock:
            rows: list[asyncpg.Record] = await self._db.fetch(statement, *args)
            return rows

    # --- requests and outcomes ------------------------------------------------------------------

    async def _row(self, handler: Handler[Any, Any], key: str | None) -> HandlerRow:
        if (key is None) != (handler.service_kind == "service"):
            raise WrongContext(
                verb="a call",
                problem=f"{handler.service} is a {handler.service_kind}",
                hint="Leave the key out." if key is not None else "Give the key: key=...",
            )
        if key is not None and not key:
            raise OutOfBounds(name="key", value=repr(key), bound="1 to 1024 bytes")
        service = self.engine.registry.service(handler.service)
        if service is None or handler.name not in service.handlers:
            await self.engine.registry.refresh(force=True)
            service = self.engine.registry.service(handler.service)
        assert service is not None, "it is registered when the engine starts"
        return service.handlers[handler.name]

    async def submission(
        self,
        handler: Handler[Any, Any],
        arg: Any,
        key: str | None,
        *,
        idempotency_key: str | None = None,
        headers: Mapping[str, str] | None = None,
        delay: timedelta | None = None,
        wait: bool = True,
    ) -> Submission:
        """A request for a handler. Raises `UsageError`: it cannot be made."""
        if arg is not None and not handler.takes_input:
            raise WrongContext(
                verb="a call", problem=f"{handler.target} takes no argument", hint="Give none."
            )
        longest = self.options.delay_max
        if delay is not None and not timedelta(0) <= delay <= longest:
            raise OutOfBounds(name="delay", value=delay, bound=f"zero to {longest}")
        return Submission(
            handler=await self._row(handler, key),
            key=key,
            body=handler.input_serde.serialize(arg) if handler.takes_input else b"",
            headers=[(name.lower(), value) for name, value in (headers or {}).items()],
            idempotency_key=idempotency_key,
            delay=delay or None,
            wait=wait,
        )

    async def outcome(self, id_: UUID, outcome: Any, timeout: timedelta | None) -> Outcome:
        """Wait for an outcome, or raise what makes waiting hopeless.

        Raises:
            UsageError, NonDeterminism: an attempt of it, or of what it calls, failed with this.
            Unfinished: one of these is paused, or there is no outcome in time.
        """
        waiting: asyncio.Future[Outcome] = asyncio.ensure_future(outcome)
        bound = timeout or self.timeout
        deadline = monotonic() + bound.total_seconds()
        seen = 0
        try:
            while not waiting.done():
                if len(self._failures) > seen:
                    first, seen = seen, len(self._failures)
                    await self._refuse_hopeless(id_, self._failures[first:seen])
                left = deadline - monotonic()
                if left <= 0:
                    raise await self.unfinished(f"There is no result after {bound}.")
                news = self._news = self._news or asyncio.get_running_loop().create_future()
                await asyncio.wait(
                    {waiting, news}, timeout=left, return_when=asyncio.FIRST_COMPLETED
                )
            return waiting.result()
        finally:
            if not waiting.done():
                waiting.cancel()
                await asyncio.wait({waiting})

    async def _refuse_hopeless(self, id_: UUID, failures: list[tuple[UUID, BaseException]]) -> None:
        await self.engine.lane.landed()
        statuses = {row["id"]: row["status"] for row in await self.fetch(_AWAITED, id_)}
        for failed, error in failures:
            if failed in statuses and isinstance(error, UsageError | NonDeterminism):
                raise error
        if "paused" in statuses.values():
            raise await self.unfinished("There will be no result: retries are used up.")

    async def unfinished(
        self, what: str, reasons: Mapping[UUID, str] = MappingProxyType({})
    ) -> Unfinished:
        """The error, with what is not completed and the last failure that was seen."""
        async with self._db_lock:
            listed = await idling.describe(self._db, reasons)
        error = Unfinished(f"{what}\n{listed or '  Nothing is left to do.'}")
        if self._failures:
            error.__cause__ = self._failures[-1][1]
        return error

    def _on_attempt_failed(self, attempt: Attempt, error: BaseException) -> None:
        self._failures.append((attempt.id, error))
        news, self._news = self._news, None
        if news is not None and not news.done():
            news.set_result(None)

    # --- time -----------------------------------------------------------------------------------

    async def move(self, by: timedelta) -> None:
        """Move the clock ahead, in the database and here; what is behind it stays where it is."""
        by = max(by, timedelta(0))
        await self.fetch("select howdah_testing.skip($1)", by.total_seconds())
        await self.engine.on_clock_moved(by)

    async def next_due(self) -> tuple[datetime, datetime | None]:
        """The time now, and when the next thing is due; None: nothing waits for a time."""
        async with self._db_lock:
            return await idling.next_due(self.engine, self._db)

    async def jump_to_next(self) -> bool:
        """Move the clock to what is due next; False: nothing waits for a time."""
        now, due = await self.next_due()
        if due is not None:
            await self.move(due - now)
        return due is not None

    async def look(self) -> dict[UUID, str]:
        """What is not idle now, with a word on why."""
        async with self._db_lock:
            return await idling.busy(self.engine, self._db, lambda: self._calls)

    async def until_idle(self, timeout: timedelta | None = None) -> None:
        """Wait until nothing is ready, running or due. Raises `Unfinished`."""
        bound = timeout or self.timeout
        deadline = monotonic() + bound.total_seconds()
        pause, longest = LOOK_SECONDS
        while busy := await self.look():
            if monotonic() > deadline:
                raise await self.unfinished(f"It is not idle after {bound}.", busy)
            await asyncio.sleep(pause)
            pause = min(pause * 2, longest)

    # --- the engine's life ----------------------------------------------------------------------

    def _on_call(self, statement: str) -> None:
        self._calls += 1
        if self.on_call is not None:
            self.on_call(statement)

    async def start(self, mortal: Mortal | None = None) -> None:
        """Start an engine; with `mortal`, as a process that can be killed."""
        engine = Engine(
            dsn=self.url,
            options=self.options,
            services=self.services,
            before_call=self._on_call,
            always_replay=self._always_replay,
            is_breaking=True,
        )
        engine.on_attempt_failed = self._on_attempt_failed
        self._engine, self._mortal = engine, mortal
        if mortal is None:
            await engine.start()
        else:
            await mortal.run(engine.start())

    async def restart(self, services: Sequence[AnyService] | None) -> None:
        """Stop the engine and start another, which goes on with what the first one held."""
        await self.stop()
        self.services = self.services if services is None else services
        self._failures.clear()
        await self.fetch(_RECLAIM)
        await self.start()

    async def stop(self) -> None:
        """Stop the engine, giving nothing back."""
        engine, self._engine = self._engine, None
        if engine is None:
            return
        mortal, self._mortal = self._mortal, None
        if mortal is not None and mortal.is_frozen:
            await self._bury(engine, mortal)
        else:
            await engine.stop()

    def die(self) -> NoReturn:
        """End the engine as `kill -9` would, from inside its code."""
        engine, mortal = self.engine, self._mortal
        assert mortal is not None, "it was not started as a process that can be killed"
        mortal.kill()
        # Nobody may begin to repair what is lost: whatever still runs is a callback, not a task.
        engine.is_up = False
        engine.is_draining = True
        engine.recovery.is_running = True
        engine.lane.disconnect()
        engine.database.terminate()
        raise Killed

    async def replace_dead(self) -> Callable[[], Coroutine[Any, Any, None]]:
        """Start another engine after `die`, at once: nobody waits for a lease to pass.

        Returns:
            What has to be awaited once nobody looks at the dead one any more.
        """
        dead, mortal = self.engine, self._mortal
        assert mortal is not None
        assert dead.heartbeat is not None
        await asyncio.to_thread(dead.heartbeat.stop)
        await self.fetch(_CUT)
        is_fenced = False
        while not is_fenced:  # a beat may come in between
            is_fenced = (await self.fetch(_FENCE, dead.worker_no))[0][0]
        await self.fetch(_RECLAIM)
        await self.start()
        return partial(self._bury, dead, mortal)

    @staticmethod
    async def _bury(dead: Engine, mortal: Mortal) -> None:
        dead.abandon_all()
        await mortal.bury()
        dead.worker_no = 0  # it is fenced: there is nothing to sign off
        await dead.stop()


@asynccontextmanager
async def opened(
    services: Sequence[AnyService],
    options: Options,
    always_replay: bool,
    database_url: str | None,
    timeout: timedelta,
) -> AsyncIterator[Bench]:
    """A bench whose engine is not started; it is stopped at the end."""
    url = database_url or servers.default_url or os.environ.get(URL_VARIABLE) or None
    server = await servers.server_at(url)
    async with AsyncExitStack() as stack:
        mine = await stack.enter_async_context(server.database())
        db = await access.connect(mine)
        stack.push_async_callback(db.close)
        bench = Bench(mine, db, services, options, always_replay, timeout)
        stack.push_async_callback(bench.stop)
        yield bench


def result_of(outcome: Outcome, handler: Handler[Any, Any] | None) -> Any:
    """The result of an invocation.

    Raises:
        TerminalError: it failed.
    """
    if outcome.outcome != "succeeded":
        raise TerminalError(outcome.message or "", outcome.code or 500, outcome.metadata)
    return (
        decoded(outcome.value)
        if handler is None
        else handler.output_serde.deserialize(outcome.value)
    )


def decoded(value: bytes) -> Any:
    """A value without a type: from JSON, or as it is."""
    try:
        return msgspec.json.decode(value) if value else None
    except msgspec.DecodeError:
        return value
