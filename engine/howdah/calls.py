"""Calls and sends: the verbs of every context that reach another handler.

Four overloads each, for handlers with and without argument that are `async def` or `def`; see
`howdah.handler`. That is what lets type checkers infer the result and refuse a wrong argument.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import timedelta
from typing import Any, ClassVar, TypeVar, overload

from howdah.futures import DurableCallFuture, SendHandle
from howdah.handler import InputFn, NoInputFn, SyncInputFn, SyncNoInputFn

I = TypeVar("I")  # noqa: E741 - the field's names for input and output
O = TypeVar("O")  # noqa: E741


class ServiceCalls(ABC):
    """The verbs that reach a service's handler."""

    @overload
    def service_call(
        self,
        tpe: NoInputFn[O],
        arg: None = ...,
        idempotency_key: str | None = ...,
        headers: dict[str, str] | None = ...,
    ) -> DurableCallFuture[O]: ...
    @overload
    def service_call(
        self,
        tpe: InputFn[I, O],
        arg: I,
        idempotency_key: str | None = ...,
        headers: dict[str, str] | None = ...,
    ) -> DurableCallFuture[O]: ...
    @overload
    def service_call(
        self,
        tpe: SyncNoInputFn[O],
        arg: None = ...,
        idempotency_key: str | None = ...,
        headers: dict[str, str] | None = ...,
    ) -> DurableCallFuture[O]: ...
    @overload
    def service_call(
        self,
        tpe: SyncInputFn[I, O],
        arg: I,
        idempotency_key: str | None = ...,
        headers: dict[str, str] | None = ...,
    ) -> DurableCallFuture[O]: ...
    @abstractmethod
    def service_call(
        self,
        tpe: Callable[..., Any],
        arg: Any = None,
        idempotency_key: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> DurableCallFuture[Any]:
        """Call a service's handler.

        The call starts now, not when its future is awaited.

        Args:
            tpe: The decorated function; `async def` or `def`.
            arg: Its argument; nothing for a handler that takes none.
            idempotency_key: Calls with the same one are one invocation, for as long as its outcome
                is kept; 1 to 1024 bytes.
            headers: What the callee sees in `ctx.request().headers`.

        Raises:
            NotAHandler: no service declares `tpe`. HD1005.
            WrongContext: it belongs to an object or a workflow. HD1007.
            SerdeError: `arg` does not fit its type. HD1010.
            OutOfBounds: the idempotency key is empty or too long. HD1004.
            NonDeterminism: the journal holds another command here. HD2001.
            TerminalError: when awaited: the callee failed; message, code and metadata are its own.

        Durability: call and callee are recorded in one commit, so the callee exists exactly if the
        call is recorded, and executes exactly once; replay reads its result.
        Source: sql/functions/50_commit_batch.sql.
        """

    @overload
    def service_send(
        self,
        tpe: NoInputFn[O],
        arg: None = ...,
        send_delay: timedelta | None = ...,
        idempotency_key: str | None = ...,
        headers: dict[str, str] | None = ...,
    ) -> SendHandle: ...
    @overload
    def service_send(
        self,
        tpe: InputFn[I, O],
        arg: I,
        send_delay: timedelta | None = ...,
        idempotency_key: str | None = ...,
        headers: dict[str, str] | None = ...,
    ) -> SendHandle: ...
    @overload
    def service_send(
        self,
        tpe: SyncNoInputFn[O],
        arg: None = ...,
        send_delay: timedelta | None = ...,
        idempotency_key: str | None = ...,
        headers: dict[str, str] | None = ...,
    ) -> SendHandle: ...
    @overload
    def service_send(
        self,
        tpe: SyncInputFn[I, O],
        arg: I,
        send_delay: timedelta | None = ...,
        idempotency_key: str | None = ...,
        headers: dict[str, str] | None = ...,
    ) -> SendHandle: ...
    @abstractmethod
    def service_send(
        self,
        tpe: Callable[..., Any],
        arg: Any = None,
        send_delay: timedelta | None = None,
        idempotency_key: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> SendHandle:
        """Send to a service's handler, now or after a delay; nobody waits for the result.

        Args:
            tpe: As for `service_call`, and so for all that is not named here.
            arg: Its argument; nothing for a handler that takes none.
            send_delay: Zero or more, up to `Options.delay_max` (3650 days); by the database's
                clock, from the commit of this command.
            idempotency_key: See `service_call`.
            headers: See `service_call`.

        Raises:
            UsageError: as `service_call` says, or `send_delay` is out of bounds (HD1004).

        Durability: as for `service_call`.
        Source: sql/functions/50_commit_batch.sql.
        """


class Calls(ServiceCalls):
    """The verbs that reach another handler."""

    _blocks: ClassVar[bool] = False

    @abstractmethod
    def scope(self, scope: str, limit_key: str | None = None) -> ServiceCalls:
        """Calls and sends to services in a scope, where rules limit how many run at once.

        The scope is part of the identity of an idempotent call.

        Args:
            scope: 1 to 36 of the characters a-z, A-Z, 0-9, `_`, `.` and `-`.
            limit_key: Within the scope, under what they are counted as well: one such name, or two
                with `/` between them.

        Returns:
            The verbs `service_call` and `service_send`. What they call waits until no rule forbids
            it to run (`howdah.limit_rules`); objects and workflows have no scopes.

        Raises:
            OutOfBounds: this is no scope, or no limit key. HD1004.

        Source: sql/functions/62_claim_limited.sql.
        """

    @overload
    def object_call(
        self,
        tpe: NoInputFn[O],
        key: str,
        arg: None = ...,
        idempotency_key: str | None = ...,
        headers: dict[str, str] | None = ...,
    ) -> DurableCallFuture[O]: ...
    @overload
    def object_call(
        self,
        tpe: InputFn[I, O],
        key: str,
        arg: I,
        idempotency_key: str | None = ...,
        headers: dict[str, str] | None = ...,
    ) -> DurableCallFuture[O]: ...
    @overload
    def object_call(
        self,
        tpe: SyncNoInputFn[O],
        key: str,
        arg: None = ...,
        idempotency_key: str | None = ...,
        headers: dict[str, str] | None = ...,
    ) -> DurableCallFuture[O]: ...
    @overload
    def object_call(
        self,
        tpe: SyncInputFn[I, O],
        key: str,
        arg: I,
        idempotency_key: str | None = ...,
        headers: dict[str, str] | None = ...,
    ) -> DurableCallFuture[O]: ...
    @abstractmethod
    def object_call(
        self,
        tpe: Callable[..., Any],
        key: str,
        arg: Any = None,
        idempotency_key: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> DurableCallFuture[Any]:
        """Call a virtual object's handler at `key`: after those that came before, if it is exclusive.

        An exclusive handler that calls one of its own key waits for itself; cancel it then.

        Args:
            tpe: As for `service_call`, and so for all that is not named here.
            key: 1 to 1024 bytes.
            arg: Its argument; nothing for a handler that takes none.
            idempotency_key: See `service_call`.
            headers: See `service_call`.

        Raises:
            UsageError: as `service_call` says, or the key is out of bounds (HD1004).

        Durability: as for `service_call`. Source: sql/functions/50_commit_batch.sql.
        """

    @overload
    def object_send(
        self,
        tpe: NoInputFn[O],
        key: str,
        arg: None = ...,
        send_delay: timedelta | None = ...,
        idempotency_key: str | None = ...,
        headers: dict[str, str] | None = ...,
    ) -> SendHandle: ...
    @overload
    def object_send(
        self,
        tpe: InputFn[I, O],
        key: str,
        arg: I,
        send_delay: timedelta | None = ...,
        idempotency_key: str | None = ...,
        headers: dict[str, str] | None = ...,
    ) -> SendHandle: ...
    @overload
    def object_send(
        self,
        tpe: SyncNoInputFn[O],
        key: str,
        arg: None = ...,
        send_delay: timedelta | None = ...,
        idempotency_key: str | None = ...,
        headers: dict[str, str] | None = ...,
    ) -> SendHandle: ...
    @overload
    def object_send(
        self,
        tpe: SyncInputFn[I, O],
        key: str,
        arg: I,
        send_delay: timedelta | None = ...,
        idempotency_key: str | None = ...,
        headers: dict[str, str] | None = ...,
    ) -> SendHandle: ...
    @abstractmethod
    def object_send(
        self,
        tpe: Callable[..., Any],
        key: str,
        arg: Any = None,
        send_delay: timedelta | None = None,
        idempotency_key: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> SendHandle:
        """Send to a virtual object's handler at `key`, now or after a delay.

        Args:
            tpe: As for `service_call`, and so for all that is not named here.
            key: 1 to 1024 bytes.
            arg: Its argument; nothing for a handler that takes none.
            send_delay: See `service_send`. It takes its turn at its key when it is due.
            idempotency_key: See `service_call`.
            headers: See `service_call`.

        Raises:
            UsageError: as `service_send` says, or the key is out of bounds (HD1004).

        Durability: as for `service_call`. Source: sql/functions/50_commit_batch.sql.
        """

    @overload
    def workflow_call(
        self,
        tpe: NoInputFn[O],
        key: str,
        arg: None = ...,
        idempotency_key: str | None = ...,
        headers: dict[str, str] | None = ...,
    ) -> DurableCallFuture[O]: ...
    @overload
    def workflow_call(
        self,
        tpe: InputFn[I, O],
        key: str,
        arg: I,
        idempotency_key: str | None = ...,
        headers: dict[str, str] | None = ...,
    ) -> DurableCallFuture[O]: ...
    @overload
    def workflow_call(
        self,
        tpe: SyncNoInputFn[O],
        key: str,
        arg: None = ...,
        idempotency_key: str | None = ...,
        headers: dict[str, str] | None = ...,
    ) -> DurableCallFuture[O]: ...
    @overload
    def workflow_call(
        self,
        tpe: SyncInputFn[I, O],
        key: str,
        arg: I,
        idempotency_key: str | None = ...,
        headers: dict[str, str] | None = ...,
    ) -> DurableCallFuture[O]: ...
    @abstractmethod
    def workflow_call(
        self,
        tpe: Callable[..., Any],
        key: str,
        arg: Any = None,
        idempotency_key: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> DurableCallFuture[Any]:
        """Call a workflow's handler at `key`; its main one starts the workflow.

        Args:
            tpe: As for `service_call`, and so for all that is not named here.
            key: 1 to 1024 bytes.
            arg: Its argument; nothing for a handler that takes none.
            idempotency_key: See `service_call`; not for the main handler, which runs once anyway.
            headers: See `service_call`.

        Raises:
            UsageError: as `object_call` says, or an idempotency key for a main handler (HD1004).
            TerminalError: when awaited, with status 409: the workflow has been started at this key
                already. Attach to that invocation for its result.

        Durability: as for `service_call`. Source: sql/functions/50_commit_batch.sql.
        """

    @overload
    def workflow_send(
        self,
        tpe: NoInputFn[O],
        key: str,
        arg: None = ...,
        send_delay: timedelta | None = ...,
        idempotency_key: str | None = ...,
        headers: dict[str, str] | None = ...,
    ) -> SendHandle: ...
    @overload
    def workflow_send(
        self,
        tpe: InputFn[I, O],
        key: str,
        arg: I,
        send_delay: timedelta | None = ...,
        idempotency_key: str | None = ...,
        headers: dict[str, str] | None = ...,
    ) -> SendHandle: ...
    @overload
    def workflow_send(
        self,
        tpe: SyncNoInputFn[O],
        key: str,
        arg: None = ...,
        send_delay: timedelta | None = ...,
        idempotency_key: str | None = ...,
        headers: dict[str, str] | None = ...,
    ) -> SendHandle: ...
    @overload
    def workflow_send(
        self,
        tpe: SyncInputFn[I, O],
        key: str,
        arg: I,
        send_delay: timedelta | None = ...,
        idempotency_key: str | None = ...,
        headers: dict[str, str] | None = ...,
    ) -> SendHandle: ...
    @abstractmethod
    def workflow_send(
        self,
        tpe: Callable[..., Any],
        key: str,
        arg: Any = None,
        send_delay: timedelta | None = None,
        idempotency_key: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> SendHandle:
        """Send to a workflow's handler at `key`, now or after a delay; its main one starts it.

        A start at a key where the workflow was started before has no effect: the handle has the id
        of the invocation that is there.

        Args:
            tpe: As for `service_call`, and so for all that is not named here.
            key: 1 to 1024 bytes.
            arg: Its argument; nothing for a handler that takes none.
            send_delay: See `service_send`.
            idempotency_key: See `workflow_call`.
            headers: See `service_call`.

        Raises:
            UsageError: as `object_send` says, or an idempotency key for a main handler (HD1004).

        Durability: as for `service_call`. Source: sql/functions/50_commit_batch.sql.
        """

    @abstractmethod
    def generic_call(
        self,
        service: str,
        handler: str,
        arg: bytes,
        key: str | None = None,
        idempotency_key: str | None = None,
        headers: dict[str, str] | None = None,
        scope: str | None = None,
        limit_key: str | None = None,
    ) -> DurableCallFuture[bytes]:
        """Call a handler by its name, bytes in and bytes out: it need not be declared here.

        Args:
            service: The name of a service, an object or a workflow.
            handler: The name of its handler.
            arg: The body, as the handler's serde reads it; `b""` for none.
            key: For an object or a workflow, and only for those; 1 to 1024 bytes.
            idempotency_key: See `service_call`.
            headers: See `service_call`.
            scope: For a service only; see `scope`.
            limit_key: With a scope only; see `scope`.

        Raises:
            UnknownTarget: no deployment has registered it yet. The attempt is retried by its
                policy. HD1008.
            WrongContext: a key for a service, or none for an object or a workflow; a scope for one of
                these. HD1007.
            OutOfBounds: a key is empty or too long, a scope or a limit key is none. HD1004.
            NonDeterminism: the journal holds another command here. HD2001.
            TerminalError: when awaited: the callee failed.

        Durability: as for `service_call`. Source: sql/functions/50_commit_batch.sql.
        """

    @abstractmethod
    def generic_send(
        self,
        service: str,
        handler: str,
        arg: bytes,
        key: str | None = None,
        send_delay: timedelta | None = None,
        idempotency_key: str | None = None,
        headers: dict[str, str] | None = None,
        scope: str | None = None,
        limit_key: str | None = None,
    ) -> SendHandle:
        """Send bytes to a handler by its name, now or after a delay.

        Args:
            service: As for `generic_call`, and so for all that is not named here.
            handler: See `generic_call`.
            arg: See `generic_call`.
            key: See `generic_call`.
            send_delay: See `service_send`.
            idempotency_key: See `service_call`.
            headers: See `service_call`.
            scope: See `generic_call`.
            limit_key: See `generic_call`.

        Raises:
            UsageError: as `generic_call` says, or `send_delay` is out of bounds (HD1004).

        Durability: as for `service_call`. Source: sql/functions/50_commit_batch.sql.
        """
