"""What `create_client` returns and raises."""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import timedelta
from typing import TypeVar

from howdah.restate.context import HandlerType

__all__ = ["HttpError", "RestateClient", "RestateClientSendHandle", "RestateScopedClient"]

I = TypeVar("I")  # noqa: E741
O = TypeVar("O")  # noqa: E741


class RestateClientSendHandle:
    """An invocation that was sent.

    Attributes:
        invocation_id: The text of a UUID; with an idempotency key that of the first such request.
        status_code: The answer's HTTP status.
    """

    def __init__(self, invocation_id: str, status_code: int) -> None:
        self.invocation_id = invocation_id
        self.status_code = status_code


class HttpError(Exception):
    """The ingress answered with an error; `__cause__` is howdah's own, with more facts.

    Args:
        status_code: The answer's status.
        message: What the handler or the ingress said.
        body: The answer's body.
    """

    def __init__(self, status_code: int, message: str, body: str | None = None) -> None:
        super().__init__(f"HTTP {status_code}: {message}")
        self.status_code = status_code
        self.message = message
        self.body = body


class RestateScopedClient(ABC):
    """Calls within a scope; see `howdah.calls.Calls.scope`.

    The verbs for objects and workflows, which have no scopes, raise UsageError (HD1000).
    """

    @abstractmethod
    async def service_call(
        self,
        tpe: HandlerType[I, O],
        arg: I,
        limit_key: str | None = None,
        idempotency_key: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> O:
        """Call a service's handler, and wait for its result."""

    @abstractmethod
    async def service_send(
        self,
        tpe: HandlerType[I, O],
        arg: I,
        send_delay: timedelta | None = None,
        limit_key: str | None = None,
        idempotency_key: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> RestateClientSendHandle:
        """Send to a service's handler, now or after a delay."""

    @abstractmethod
    async def object_call(
        self,
        tpe: HandlerType[I, O],
        key: str,
        arg: I,
        limit_key: str | None = None,
        idempotency_key: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> O:
        """Refused."""

    @abstractmethod
    async def object_send(
        self,
        tpe: HandlerType[I, O],
        key: str,
        arg: I,
        send_delay: timedelta | None = None,
        limit_key: str | None = None,
        idempotency_key: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> RestateClientSendHandle:
        """Refused."""

    @abstractmethod
    async def workflow_call(
        self,
        tpe: HandlerType[I, O],
        key: str,
        arg: I,
        limit_key: str | None = None,
        idempotency_key: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> O:
        """Refused."""

    @abstractmethod
    async def workflow_send(
        self,
        tpe: HandlerType[I, O],
        key: str,
        arg: I,
        send_delay: timedelta | None = None,
        limit_key: str | None = None,
        idempotency_key: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> RestateClientSendHandle:
        """Refused."""


class RestateClient(ABC):
    """Calls handlers through the ingress, from outside; see `howdah.client.Client`."""

    @abstractmethod
    def scope(self, scope: str) -> RestateScopedClient:
        """Calls and sends in a scope, where rules limit how many run at once.

        Raises:
            OutOfBounds: this is no scope. HD1004.
        """

    @abstractmethod
    async def service_call(
        self,
        tpe: HandlerType[I, O],
        arg: I,
        idempotency_key: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> O:
        """Call a service's handler, and wait for its result.

        Raises:
            HttpError: the invocation failed, or the ingress refused it.
            NoAnswer: the ingress is away. HD5003.
        """

    @abstractmethod
    async def service_send(
        self,
        tpe: HandlerType[I, O],
        arg: I,
        send_delay: timedelta | None = None,
        idempotency_key: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> RestateClientSendHandle:
        """Send to a service's handler, now or after a delay."""

    @abstractmethod
    async def object_call(
        self,
        tpe: HandlerType[I, O],
        key: str,
        arg: I,
        idempotency_key: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> O:
        """Call a virtual object's handler at `key`."""

    @abstractmethod
    async def object_send(
        self,
        tpe: HandlerType[I, O],
        key: str,
        arg: I,
        send_delay: timedelta | None = None,
        idempotency_key: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> RestateClientSendHandle:
        """Send to a virtual object's handler at `key`, now or after a delay."""

    @abstractmethod
    async def workflow_call(
        self,
        tpe: HandlerType[I, O],
        key: str,
        arg: I,
        idempotency_key: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> O:
        """Call a workflow's handler at `key`."""

    @abstractmethod
    async def workflow_send(
        self,
        tpe: HandlerType[I, O],
        key: str,
        arg: I,
        send_delay: timedelta | None = None,
        idempotency_key: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> RestateClientSendHandle:
        """Send to a workflow's handler at `key`, now or after a delay."""

    @abstractmethod
    async def generic_call(
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
        """Call a handler by its name, bytes in and bytes out."""

    @abstractmethod
    async def generic_send(
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
    ) -> RestateClientSendHandle:
        """Send bytes to a handler by its name."""
