"""Calls and sends of sync handlers: the verbs that reach another handler.

The overloads are those of `howdah.calls`, in the same order and for the same reasons.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import timedelta
from typing import Any, ClassVar, TypeVar, overload

from howdah.blocking.futures import DurableCallFuture, SendHandle
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
    ) -> O: ...
    @overload
    def service_call(
        self,
        tpe: InputFn[I, O],
        arg: I,
        idempotency_key: str | None = ...,
        headers: dict[str, str] | None = ...,
    ) -> O: ...
    @overload
    def service_call(
        self,
        tpe: SyncNoInputFn[O],
        arg: None = ...,
        idempotency_key: str | None = ...,
        headers: dict[str, str] | None = ...,
    ) -> O: ...
    @overload
    def service_call(
        self,
        tpe: SyncInputFn[I, O],
        arg: I,
        idempotency_key: str | None = ...,
        headers: dict[str, str] | None = ...,
    ) -> O: ...
    @abstractmethod
    def service_call(
        self,
        tpe: Callable[..., Any],
        arg: Any = None,
        idempotency_key: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> Any:
        """Call a service's handler, and wait for its result.

        Arguments, errors and durability are those of `howdah.Context.service_call`, awaited.
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
        """Send to a service's handler; nobody waits for the result.

        Arguments, errors and durability are those of `howdah.Context.service_send`.
        """


class Calls(ServiceCalls):
    """Verbs that return the callee's result, and sends, which return at once."""

    _blocks: ClassVar[bool] = True

    @abstractmethod
    def scope(self, scope: str, limit_key: str | None = None) -> ServiceCalls:
        """Calls and sends to services in a scope, where rules limit how many run at once.

        Arguments and errors are those of `howdah.Context.scope`.
        """

    @overload
    def object_call(
        self,
        tpe: NoInputFn[O],
        key: str,
        arg: None = ...,
        idempotency_key: str | None = ...,
        headers: dict[str, str] | None = ...,
    ) -> O: ...
    @overload
    def object_call(
        self,
        tpe: InputFn[I, O],
        key: str,
        arg: I,
        idempotency_key: str | None = ...,
        headers: dict[str, str] | None = ...,
    ) -> O: ...
    @overload
    def object_call(
        self,
        tpe: SyncNoInputFn[O],
        key: str,
        arg: None = ...,
        idempotency_key: str | None = ...,
        headers: dict[str, str] | None = ...,
    ) -> O: ...
    @overload
    def object_call(
        self,
        tpe: SyncInputFn[I, O],
        key: str,
        arg: I,
        idempotency_key: str | None = ...,
        headers: dict[str, str] | None = ...,
    ) -> O: ...
    @abstractmethod
    def object_call(
        self,
        tpe: Callable[..., Any],
        key: str,
        arg: Any = None,
        idempotency_key: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> Any:
        """Call a virtual object's handler at `key`, and wait for its result.

        Arguments, errors and durability are those of `howdah.Context.object_call`, awaited.
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
        """Send to a virtual object's handler at `key`; nobody waits for the result.

        Arguments, errors and durability are those of `howdah.Context.object_send`.
        """

    @overload
    def workflow_call(
        self,
        tpe: NoInputFn[O],
        key: str,
        arg: None = ...,
        idempotency_key: str | None = ...,
        headers: dict[str, str] | None = ...,
    ) -> O: ...
    @overload
    def workflow_call(
        self,
        tpe: InputFn[I, O],
        key: str,
        arg: I,
        idempotency_key: str | None = ...,
        headers: dict[str, str] | None = ...,
    ) -> O: ...
    @overload
    def workflow_call(
        self,
        tpe: SyncNoInputFn[O],
        key: str,
        arg: None = ...,
        idempotency_key: str | None = ...,
        headers: dict[str, str] | None = ...,
    ) -> O: ...
    @overload
    def workflow_call(
        self,
        tpe: SyncInputFn[I, O],
        key: str,
        arg: I,
        idempotency_key: str | None = ...,
        headers: dict[str, str] | None = ...,
    ) -> O: ...
    @abstractmethod
    def workflow_call(
        self,
        tpe: Callable[..., Any],
        key: str,
        arg: Any = None,
        idempotency_key: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> Any:
        """Call a workflow's handler at `key`; its main one starts the workflow, and wait for its result.

        Arguments, errors and durability are those of `howdah.Context.workflow_call`, awaited.
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
        """Send to a workflow's handler at `key`; nobody waits for the result.

        Arguments, errors and durability are those of `howdah.Context.workflow_send`.
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
    ) -> bytes:
        """Call a handler by its name, and wait for the bytes that it returns.

        Arguments, errors and durability are those of `howdah.Context.generic_call`, awaited.
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
        """Send bytes to a handler by its name.

        Arguments, errors and durability are those of `howdah.Context.generic_send`.
        """


class BegunServiceCalls(ABC):
    """Calls of a service's handler that have begun."""

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
        """Call a service's handler; see `howdah.Context.service_call`."""


class BegunCalls(BegunServiceCalls):
    """Calls that have begun: each returns the future of the callee's result."""

    @abstractmethod
    def scope(self, scope: str, limit_key: str | None = None) -> BegunServiceCalls:
        """Calls of services in a scope. Arguments and errors are those of `howdah.Context.scope`."""

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
        """Call a virtual object's handler at `key`; see `howdah.Context.object_call`."""

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
        """Call a workflow's handler at `key`; its main one starts the workflow; see `howdah.Context.workflow_call`."""

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
        """Call a handler by its name; see `howdah.Context.generic_call`."""
