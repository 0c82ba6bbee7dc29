"""An engine on a database of its own, with a user's services: what a test of handlers works with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib import import_module
from typing import Any, Final, Generic, Protocol, TypeVar, overload
from uuid import UUID

import asyncpg
import msgspec

from howdah.client import Client, create_client
from howdah.errors import Conflict, NotFound, OutOfBounds, TerminalError, UsageError
from howdah.handler import Handler, InputFn, NoInputFn, SyncInputFn, SyncNoInputFn
from howdah.ids import parse_awakeable_id, parse_id
from howdah.machine.entries import Kind, signal_cid
from howdah.options import Options
from howdah.serde import DefaultSerde, Serde
from howdah.service import AnyService
from howdah.store.units import Mail
from howdah.testing.bench import Bench, decoded, opened, result_of
from howdah.testing.journals import JOURNAL, Journal, journal_of
from howdah.testing.problems import ForgottenAwait
from howdah.testing.serving import check_services, handler_in, keyed_in, options_of
from howdah.testing.verbs import Verb, Verbs
from howdah.worker.engine import Engine
from howdah.worker.failures import failure_detail

In = TypeVar("In")
Out = TypeVar("Out")

TIMEOUT: Final = timedelta(seconds=10)
_SERDE: Final[Serde[Any]] = DefaultSerde()
_PORTS: Final = "howdah_api.asgi"
"""What listens; named here and not imported: the engine knows nothing of the api."""
_STATE: Final = """
select s.name, s.value from howdah_core.state s join howdah_core.service v on v.no = s.service
 where v.name = $1 and s.key = $2 order by 1
"""


@dataclass(frozen=True, slots=True)
class Sent(Generic[Out]):
    """An invocation that was sent; `Environment.attach` takes it and knows its result's type.

    Attributes:
        id: Its id.
        is_new: False when it was there already: by its idempotency key, or as the workflow's run.
        execution_time: For a delayed send, when it starts.
        handler: The handler.
    """

    id: UUID
    is_new: bool
    execution_time: datetime | None
    handler: Handler[Any, Out]


class Environment:
    """Handlers, served by an engine in this process, on a database that nobody else uses.

    Made by `environment`. Its verbs are coroutines, and none of them waits longer than `timeout`.

    Attributes:
        database_url: The database.
        timeout: How long a verb waits unless it is told otherwise, in real time.
    """

    def __init__(self, bench: Bench) -> None:
        self.database_url = bench.url
        self.timeout = bench.timeout
        self._bench = bench
        self._verbs = Verbs()

    @property
    def engine(self) -> Engine:
        """The engine itself; its attributes are not for users, and may change."""
        return self._bench.engine

    # --- calls and sends ------------------------------------------------------------------------

    @overload
    def call(
        self,
        tpe: NoInputFn[Out],
        arg: None = ...,
        *,
        key: str | None = ...,
        idempotency_key: str | None = ...,
        headers: Mapping[str, str] | None = ...,
        timeout: timedelta | None = ...,
    ) -> Verb[Out]: ...
    @overload
    def call(
        self,
        tpe: InputFn[In, Out],
        arg: In,
        *,
        key: str | None = ...,
        idempotency_key: str | None = ...,
        headers: Mapping[str, str] | None = ...,
        timeout: timedelta | None = ...,
    ) -> Verb[Out]: ...
    @overload
    def call(
        self,
        tpe: SyncNoInputFn[Out],
        arg: None = ...,
        *,
        key: str | None = ...,
        idempotency_key: str | None = ...,
        headers: Mapping[str, str] | None = ...,
        timeout: timedelta | None = ...,
    ) -> Verb[Out]: ...
    @overload
    def call(
        self,
        tpe: SyncInputFn[In, Out],
        arg: In,
        *,
        key: str | None = ...,
        idempotency_key: str | None = ...,
        headers: Mapping[str, str] | None = ...,
        timeout: timedelta | None = ...,
    ) -> Verb[Out]: ...
    def call(
        self,
        tpe: Callable[..., Any],
        arg: Any = None,
        *,
        key: str | None = None,
        idempotency_key: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: timedelta | None = None,
    ) -> Verb[Any]:
        """Call a handler, and wait for its result.

        Args:
            tpe: The decorated function; its service is one of the environment's.
            arg: Its argument; nothing for a handler that takes none.
            key: The key, for an object or a workflow.
            idempotency_key: Calls with the same one are one invocation.
            headers: What the handler sees in `ctx.request().headers`.
            timeout: How long to wait for the result, in real time; the environment's unless given.

        Raises:
            TerminalError: the handler failed for good, or a workflow has been started at this key.
            NonDeterminism: an attempt took another path than its journal: what a retry would not
                mend is raised at once. So is a UsageError of an attempt.
            Unfinished: it has no result in time, or is paused.
            UsageError: the call cannot be made: no handler, not served here, no key.
        """
        handler = self._handler(tpe, "call")
        return self._verb(
            f"env.call({handler.target})",
            self._call(handler, arg, key, idempotency_key, headers, timeout),
        )

    @overload
    def send(
        self,
        tpe: NoInputFn[Out],
        arg: None = ...,
        *,
        key: str | None = ...,
        delay: timedelta | None = ...,
        idempotency_key: str | None = ...,
        headers: Mapping[str, str] | None = ...,
    ) -> Verb[Sent[Out]]: ...
    @overload
    def send(
        self,
        tpe: InputFn[In, Out],
        arg: In,
        *,
        key: str | None = ...,
        delay: timedelta | None = ...,
        idempotency_key: str | None = ...,
        headers: Mapping[str, str] | None = ...,
    ) -> Verb[Sent[Out]]: ...
    @overload
    def send(
        self,
        tpe: SyncNoInputFn[Out],
        arg: None = ...,
        *,
        key: str | None = ...,
        delay: timedelta | None = ...,
        idempotency_key: str | None = ...,
        headers: Mapping[str, str] | None = ...,
    ) -> Verb[Sent[Out]]: ...
    @overload
    def send(
        self,
        tpe: SyncInputFn[In, Out],
        arg: In,
        *,
        key: str | None = ...,
        delay: timedelta | None = ...,
        idempotency_key: str | None = ...,
        headers: Mapping[str, str] | None = ...,
    ) -> Verb[Sent[Out]]: ...
    def send(
        self,
        tpe: Callable[..., Any],
        arg: Any = None,
        *,
        key: str | None = None,
        delay: timedelta | None = None,
        idempotency_key: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Verb[Sent[Any]]:
        """Send to a handler, now or after a delay; returns when it is accepted.

        Args:
            tpe: As for `call`, and so for all that is not named here.
            arg: Its argument.
            key: The key, for an object or a workflow.
            delay: Start after this time.
            idempotency_key: See `call`.
            headers: See `call`.

        Raises:
            UsageError: as `call`.
        """
        handler = self._handler(tpe, "send")
        return self._verb(
            f"env.send({handler.target})",
            self._send(handler, arg, key, delay, idempotency_key, headers),
        )

    @overload
    def attach(self, invocation: Sent[Out], timeout: timedelta | None = ...) -> Verb[Out]: ...
    @overload
    def attach(self, invocation: UUID | str, timeout: timedelta | None = ...) -> Verb[Any]: ...
    def attach(
        self, invocation: Sent[Any] | UUID | str, timeout: timedelta | None = None
    ) -> Verb[Any]:
        """Wait for the result of an invocation.

        Raises:
            NotFound: there is none, or it is no longer kept.
            TerminalError, NonDeterminism, Unfinished: as `call`.
        """
        return self._verb(f"env.attach({_id_of(invocation)})", self._attach(invocation, timeout))

    # --- what came of it ------------------------------------------------------------------------

    def state(self, service: AnyService | str, key: str) -> Verb[dict[str, Any]]:
        """The state of an object or a workflow at a key: from JSON; bytes where it is none."""
        return self._verb("env.state()", self._state(keyed_in(self._bench.services, service), key))

    def set_state(
        self, service: AnyService | str, key: str, state: Mapping[str, Any]
    ) -> Verb[None]:
        """Replace the state at a key by these values, as JSON; what is not named is removed.

        It takes its turn at the key, as an exclusive handler does.
        """
        name = keyed_in(self._bench.services, service)
        return self._verb("env.set_state()", self._set_state(name, key, state))

    def journal(self, invocation: Sent[Any] | UUID | str) -> Verb[Journal]:
        """The journal of an invocation. Print it: it is a readable text.

        Raises:
            NotFound: there is no such invocation, or it is no longer kept.
        """
        return self._verb("env.journal()", self._journal(_id_of(invocation)))

    def status(self, invocation: Sent[Any] | UUID | str) -> Verb[str]:
        """The status of an invocation, as in the view howdah.invocations.

        It is scheduled, inbox, held, ready, running, suspended, backing_off, paused or completed.

        Raises:
            NotFound: there is no such invocation, or it is no longer kept.
        """
        return self._verb("env.status()", self._status(_id_of(invocation)))

    def sql(self, statement: str, *args: Any) -> Verb[list[asyncpg.Record]]:
        """Execute one statement in the database, with `$1` for the first argument; its rows."""
        return self._verb("env.sql()", self._bench.fetch(statement, *args))

    def check(self) -> Verb[None]:
        """See that the database is as it must be; an AssertionError lists what is not."""
        return self._verb("env.check()", self._check())

    # --- what comes from outside ----------------------------------------------------------------

    def resolve_awakeable(
        self, awakeable_id: str, value: Any = None, serde: Serde[Any] = _SERDE
    ) -> Verb[None]:
        """Complete an awakeable with a value.

        Raises:
            InvalidId: it is no awakeable's id.
            NotFound: nobody waits for it: its invocation is completed, or never was.
        """
        return self._verb(
            "env.resolve_awakeable()",
            self._complete_awakeable(awakeable_id, serde.serialize(value), None),
        )

    def reject_awakeable(self, awakeable_id: str, message: str, code: int = 500) -> Verb[None]:
        """Fail an awakeable; otherwise as `resolve_awakeable`."""
        return self._verb(
            "env.reject_awakeable()",
            self._complete_awakeable(awakeable_id, None, failure_detail(code, message, None)),
        )

    def signal(
        self,
        invocation: Sent[Any] | UUID | str,
        name: str,
        value: Any = None,
        serde: Serde[Any] = _SERDE,
    ) -> Verb[None]:
        """Send a value to an invocation under a name.

        Raises:
            NotFound: it is completed, or never was.
        """
        return self._verb(
            "env.signal()",
            self._deliver(_id_of(invocation), signal_cid(name), name, serde.serialize(value), None),
        )

    def cancel(self, invocation: Sent[Any] | UUID | str) -> Verb[str]:
        """Ask an invocation to end: its handler raises `Cancelled` where it waits.

        Returns:
            The word with which the database answers: accepted, done, completed or unknown.
        """
        return self._verb("env.cancel()", self._operate("cancel", _id_of(invocation)))

    def kill(self, invocation: Sent[Any] | UUID | str) -> Verb[str]:
        """End an invocation without asking its handler; otherwise as `cancel`."""
        return self._verb("env.kill()", self._operate("kill", _id_of(invocation)))

    def restart(self, services: Sequence[AnyService] | None = None) -> Verb[None]:
        """Stop the engine, and start another: on the same database, with these services.

        What was begun goes on with them, and is replayed: whether new code can go on with the
        journals of the old one shows here. Without services, the same ones.
        """
        if services is not None:
            services = check_services(services)
        return self._verb("env.restart()", self._bench.restart(services))

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        """Serve the handlers over HTTP, on a port of this machine that is free.

        Yields:
            A client of it; `client.base_url` is where it is, for other clients.
        """
        async with (
            import_module(_PORTS).on_free_ports(self.engine) as (ingress, _),
            create_client(ingress) as client,
        ):
            yield client

    # --- time -----------------------------------------------------------------------------------

    def now(self) -> Verb[datetime]:
        """The time by the database's clock, with what was skipped."""
        return self._verb("env.now()", self._now())

    def skip(self, by: timedelta, *, settle: bool = True) -> Verb[None]:
        """Let time pass in a moment: as if nobody had touched anything for `by`.

        Sleeps end, delayed sends start, retries are made, and what has expired is removed, each at
        its time. Returns when all that came due has been done (`until_idle`).

        Args:
            by: How much; zero or more.
            settle: False moves the clock in one jump, at once, and waits for nothing: for a
                handler that is kept busy from outside.

        Raises:
            Unfinished: something is not idle in time.
            OutOfBounds: `by` is negative.
        """
        if by < timedelta(0):
            raise OutOfBounds(name="by", value=by, bound="zero or more")
        return self._verb("env.skip()", self._skip(by) if settle else self._bench.move(by))

    def skip_to_next(self) -> Verb[timedelta]:
        """Let time pass until the next thing is due, and has been done.

        Returns:
            How much was skipped.

        Raises:
            Unfinished: nothing waits for a time, or something is not idle in time.
        """
        return self._verb("env.skip_to_next()", self._skip_to_next())

    def until_idle(self, timeout: timedelta | None = None) -> Verb[None]:
        """Wait until nothing is ready, running or due.

        Idle is what will not go on by itself now: who waits for a timer, a retry, a signal or
        another invocation that is idle, too; and who is paused.

        Raises:
            Unfinished: it is not so in time; the error names what is not idle.
        """
        return self._verb("env.until_idle()", self._bench.until_idle(timeout))

    # --- parts ----------------------------------------------------------------------------------

    def _verb(self, what: str, coroutine: Coroutine[Any, Any, Out]) -> Verb[Out]:
        return self._verbs.add(what, coroutine, depth=2)

    def _handler(self, tpe: Any, verb: str) -> Handler[Any, Any]:
        return handler_in(self._bench.services, tpe, verb)

    async def _call(
        self,
        handler: Handler[Any, Any],
        arg: Any,
        key: str | None,
        idempotency_key: str | None,
        headers: Mapping[str, str] | None,
        timeout: timedelta | None,
    ) -> Any:
        bench = self._bench
        if handler.kind == "workflow":
            sent = await self._send(handler, arg, key, None, idempotency_key, headers)
            if not sent.is_new:
                raise TerminalError(
                    f"the workflow {handler.service} has been started at {key!r} already", 409
                )
            return await self._attach(sent, timeout)
        submission = await bench.submission(
            handler, arg, key, idempotency_key=idempotency_key, headers=headers
        )
        accepted = await bench.engine.accept(submission)
        outcome = await bench.outcome(accepted.id, accepted.outcome, timeout)
        return result_of(outcome, handler)

    async def _send(
        self,
        handler: Handler[Any, Any],
        arg: Any,
        key: str | None,
        delay: timedelta | None,
        idempotency_key: str | None,
        headers: Mapping[str, str] | None,
    ) -> Sent[Any]:
        submission = await self._bench.submission(
            handler, arg, key,
            idempotency_key=idempotency_key, headers=headers, delay=delay, wait=False,
        )  # fmt: skip
        accepted = await self.engine.accept(submission)
        return Sent(accepted.id, accepted.is_new, accepted.execution_time, handler)

    async def _attach(self, invocation: Sent[Any] | UUID | str, timeout: timedelta | None) -> Any:
        id_ = _id_of(invocation)
        outcome = await self._bench.outcome(id_, self.engine.attach(id_), timeout)
        if isinstance(invocation, Sent):
            return result_of(outcome, invocation.handler)
        return result_of(outcome, self.engine.handlers.get(outcome.handler_no or 0))

    async def _state(self, service: str, key: str) -> dict[str, Any]:
        rows = await self._bench.fetch(_STATE, service, key)
        return {row["name"]: decoded(row["value"]) for row in rows}

    async def _set_state(self, service: str, key: str, state: Mapping[str, Any]) -> None:
        text = msgspec.json.encode(dict(state)).decode()
        rows = await self._bench.fetch("select howdah.set_state($1, $2, $3)", service, key, text)
        self.engine.promoting.poll.now.set()
        await self._attach(rows[0][0], None)

    async def _journal(self, id_: UUID) -> Journal:
        journal = journal_of(await self._bench.fetch(JOURNAL, id_))
        if not journal:
            raise NotFound(what="invocation", name=id_)
        return journal

    async def _status(self, id_: UUID) -> str:
        rows = await self._bench.fetch("select status from howdah.invocations where id = $1", id_)
        if not rows:
            raise NotFound(what="invocation", name=id_)
        return str(rows[0][0])

    async def _check(self) -> None:
        rows = await self._bench.fetch("select * from howdah.check()")
        listed = "\n".join("  " + ", ".join(str(value) for value in row) for row in rows)
        assert not rows, f"howdah.check() finds {len(rows)} violations:\n{listed}"

    async def _complete_awakeable(self, id_: str, value: bytes | None, detail: str | None) -> None:
        target, number = parse_awakeable_id(id_)
        await self._deliver(target, -number, None, value, detail)

    async def _deliver(
        self, target: UUID, cid: int, name: str | None, value: bytes | None, detail: str | None
    ) -> None:
        if await self._status(target) == "completed":
            raise Conflict(
                what="invocation", name=target, problem="is completed: it waits for nothing"
            )
        await self.engine.deliver(Mail(target, Kind.SIGNAL, cid, value, detail, name))

    async def _operate(self, verb: str, id_: UUID) -> str:
        return await self.engine.operate(verb, id_)

    async def _now(self) -> datetime:
        found: datetime = (await self._bench.fetch("select howdah_core.clock()"))[0][0]
        return found

    async def _skip(self, by: timedelta) -> None:
        bench = self._bench
        await bench.until_idle()
        now, due = await bench.next_due()
        until = now + by
        while due is not None and due <= until:
            await bench.move(due - now)
            await bench.until_idle()
            now, due = await bench.next_due()
        await bench.move(until - now)
        await bench.until_idle()

    async def _skip_to_next(self) -> timedelta:
        bench = self._bench
        await bench.until_idle()
        now, due = await bench.next_due()
        if due is None:
            raise await bench.unfinished("Nothing waits for a time to come.")
        await bench.move(due - now)
        await bench.until_idle()
        return max(due - now, timedelta(0))

    def refuse_forgotten(self) -> None:
        """Raise `ForgottenAwait` if a verb was called and not awaited."""
        missing = self._verbs.missing()
        if missing:
            raise ForgottenAwait(missing)


class EnvironmentFactory(Protocol):
    """What the fixture `howdah_environment` is: `environment`."""

    def __call__(
        self,
        services: Sequence[AnyService],
        *,
        always_replay: bool = ...,
        inactivity_timeout: timedelta | None = ...,
        options: Options | None = ...,
        database_url: str | None = ...,
        timeout: timedelta = ...,
    ) -> AbstractAsyncContextManager[Environment]:
        """Serve services on a database of their own, for the length of a block."""


@asynccontextmanager
async def environment(
    services: Sequence[AnyService],
    *,
    always_replay: bool = False,
    inactivity_timeout: timedelta | None = None,
    options: Options | None = None,
    database_url: str | None = None,
    timeout: timedelta = TIMEOUT,
) -> AsyncIterator[Environment]:
    """Serve services on a database of their own, for the length of a block.

    The first one of a process starts an embedded Postgres, which takes a second; each gets a new
    database, which takes some hundredths of one.

    Args:
        services: Services, objects and workflows: those to be tested, and those that they call.
        always_replay: Every await suspends, and goes on by replaying from the beginning: a handler
            that is not deterministic is found out.
        inactivity_timeout: How long a waiting handler stays in memory; zero suspends at once.
        options: Of the engine; unless given, howdah's own, but with one deployment for all code, and
            journals that are kept for 3650 days instead of one, for the test to look at.
        database_url: A database on a server to be used instead of the embedded one; unless given,
            that of the variable HOWDAH_DATABASE_URL. The database itself is left alone: others are
            made beside it, and dropped.
        timeout: How long verbs wait, in real time.

    Raises:
        UsageError: the services cannot be served.
        ForgottenAwait: at the end: a verb was never awaited.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError as error:
        raise UsageError(
            "An environment needs asyncio's event loop, and none is running.",
            hint="Use asyncio, or anyio with its asyncio backend.",
        ) from error
    checked = check_services(services)
    chosen = options_of(options, inactivity_timeout)
    async with opened(checked, chosen, always_replay, database_url, timeout) as bench:
        env = Environment(bench)
        await bench.start()
        yield env
        env.refuse_forgotten()


def _id_of(invocation: Sent[Any] | UUID | str) -> UUID:
    if isinstance(invocation, Sent):
        return invocation.id
    return invocation if isinstance(invocation, UUID) else parse_id(invocation)
