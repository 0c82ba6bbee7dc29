"""The client of the ingress with the SDK's verbs; `howdah.client` does the work."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from datetime import timedelta
from http.client import responses
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from howdah.errors import ClientError, InvocationFailed, RequestRefused
from howdah.restate.client_types import (
    HttpError,
    RestateClient,
    RestateClientSendHandle,
    RestateScopedClient,
)
from howdah.restate.context import HandlerType
from howdah.restate.entry_codec import JournalValueCodec, refuse_codec
from howdah.restate.server_context import keyed
from howdah.worker.local import checked_place

if TYPE_CHECKING:
    # A worker has no use for an HTTP client, and loading one takes a while.
    from howdah.client import Client as HowdahClient
    from howdah.client import ClientSendHandle

__all__ = ["Client", "create_client"]

I = TypeVar("I")  # noqa: E741
O = TypeVar("O")  # noqa: E741
T = TypeVar("T")


@asynccontextmanager
async def create_client(
    ingress: str | None = None,
    headers: dict[str, str] | None = None,
    journal_value_codec: JournalValueCodec | None = None,
) -> AsyncIterator[RestateClient]:
    """Make a client that is closed at the end of the block.

    Args:
        ingress: The base URL of the ingress; without one, that of HOWDAH_INGRESS, or
            `http://127.0.0.1:8080`.
        headers: Sent with every request.
        journal_value_codec: Refused.

    Raises:
        UsageError: a codec is given (HD1000), or the URL cannot be used.
    """
    from howdah import client

    refuse_codec(journal_value_codec)
    async with client.Client(ingress, headers=headers) as inner:
        yield Client(inner)


class Client(RestateClient):
    """Calls handlers through howdah's client.

    Args:
        howdah: The client that does it.
    """

    def __init__(self, howdah: HowdahClient) -> None:
        self.howdah = howdah

    def scope(self, scope: str) -> RestateScopedClient:
        """Calls and sends in a scope."""
        checked_place(scope, None)
        return ScopedClient(self.howdah, scope)

    async def service_call(self, tpe: HandlerType[I, O], arg: I,
                           idempotency_key: str | None = None,
                           headers: dict[str, str] | None = None) -> O:  # fmt: skip
        """Call a service's handler, and wait for its result."""
        call: Any = self.howdah.service_call
        return await _result(call(tpe, arg, idempotency_key=idempotency_key, headers=headers))

    async def service_send(self, tpe: HandlerType[I, O], arg: I,
                           send_delay: timedelta | None = None,
                           idempotency_key: str | None = None,
                           headers: dict[str, str] | None = None) -> RestateClientSendHandle:  # fmt: skip
        """Send to a service's handler, now or after a delay."""
        send: Any = self.howdah.service_send
        return await _handle(
            send(tpe, arg, send_delay=send_delay, idempotency_key=idempotency_key, headers=headers)
        )

    async def object_call(self, tpe: HandlerType[I, O], key: str, arg: I,
                          idempotency_key: str | None = None,
                          headers: dict[str, str] | None = None) -> O:  # fmt: skip
        """Call a virtual object's handler at `key`."""
        call: Any = self.howdah.object_call
        return await _result(call(tpe, key, arg, idempotency_key=idempotency_key, headers=headers))

    async def object_send(self, tpe: HandlerType[I, O], key: str, arg: I,
                          send_delay: timedelta | None = None,
                          idempotency_key: str | None = None,
                          headers: dict[str, str] | None = None) -> RestateClientSendHandle:  # fmt: skip
        """Send to a virtual object's handler at `key`, now or after a delay."""
        send: Any = self.howdah.object_send
        return await _handle(
            send(tpe, key, arg, send_delay=send_delay, idempotency_key=idempotency_key,
                 headers=headers)
        )  # fmt: skip

    async def workflow_call(self, tpe: HandlerType[I, O], key: str, arg: I,
                            idempotency_key: str | None = None,
                            headers: dict[str, str] | None = None) -> O:  # fmt: skip
        """Call a workflow's handler at `key`."""
        call: Any = self.howdah.workflow_call
        return await _result(call(tpe, key, arg, idempotency_key=idempotency_key, headers=headers))

    async def workflow_send(self, tpe: HandlerType[I, O], key: str, arg: I,
                            send_delay: timedelta | None = None,
                            idempotency_key: str | None = None,
                            headers: dict[str, str] | None = None) -> RestateClientSendHandle:  # fmt: skip
        """Send to a workflow's handler at `key`, now or after a delay."""
        send: Any = self.howdah.workflow_send
        return await _handle(
            send(tpe, key, arg, send_delay=send_delay, idempotency_key=idempotency_key,
                 headers=headers)
        )  # fmt: skip

    async def generic_call(self, service: str, handler: str, arg: bytes, key: str | None = None,
                           idempotency_key: str | None = None,
                           headers: dict[str, str] | None = None, scope: str | None = None,
                           limit_key: str | None = None) -> bytes:  # fmt: skip
        """Call a handler by its name, bytes in and bytes out."""
        return await _result(
            self.howdah.generic_call(
                service, handler, arg, key, idempotency_key=idempotency_key, headers=headers,
                scope=scope, limit_key=limit_key,
            )
        )  # fmt: skip

    async def generic_send(self, service: str, handler: str, arg: bytes, key: str | None = None,
                           send_delay: timedelta | None = None,
                           idempotency_key: str | None = None,
                           headers: dict[str, str] | None = None, scope: str | None = None,
                           limit_key: str | None = None) -> RestateClientSendHandle:  # fmt: skip
        """Send bytes to a handler by its name."""
        return await _handle(
            self.howdah.generic_send(
                service, handler, arg, key, send_delay=send_delay, idempotency_key=idempotency_key,
                headers=headers, scope=scope, limit_key=limit_key,
            )
        )  # fmt: skip


class ScopedClient(RestateScopedClient):
    """Calls services in a scope; what has keys has no scopes.

    Args:
        howdah: The client that does it.
        scope: The scope.
    """

    def __init__(self, howdah: HowdahClient, scope: str) -> None:
        self.howdah = howdah
        self._scope = scope

    async def service_call(self, tpe: HandlerType[I, O], arg: I, limit_key: str | None = None,
                           idempotency_key: str | None = None,
                           headers: dict[str, str] | None = None) -> O:  # fmt: skip
        """Call a service's handler, and wait for its result."""
        call: Any = self.howdah.service_call
        return await _result(
            call(tpe, arg, idempotency_key=idempotency_key, headers=headers, scope=self._scope,
                 limit_key=limit_key)
        )  # fmt: skip

    async def service_send(self, tpe: HandlerType[I, O], arg: I,
                           send_delay: timedelta | None = None, limit_key: str | None = None,
                           idempotency_key: str | None = None,
                           headers: dict[str, str] | None = None) -> RestateClientSendHandle:  # fmt: skip
        """Send to a service's handler, now or after a delay."""
        send: Any = self.howdah.service_send
        return await _handle(
            send(tpe, arg, send_delay=send_delay, idempotency_key=idempotency_key, headers=headers,
                 scope=self._scope, limit_key=limit_key)
        )  # fmt: skip

    async def object_call(self, tpe: HandlerType[I, O], key: str, arg: I,
                          limit_key: str | None = None, idempotency_key: str | None = None,
                          headers: dict[str, str] | None = None) -> O:  # fmt: skip
        """Refused."""
        raise keyed("object_call")

    async def object_send(self, tpe: HandlerType[I, O], key: str, arg: I,
                          send_delay: timedelta | None = None, limit_key: str | None = None,
                          idempotency_key: str | None = None,
                          headers: dict[str, str] | None = None) -> RestateClientSendHandle:  # fmt: skip
        """Refused."""
        raise keyed("object_send")

    async def workflow_call(self, tpe: HandlerType[I, O], key: str, arg: I,
                            limit_key: str | None = None, idempotency_key: str | None = None,
                            headers: dict[str, str] | None = None) -> O:  # fmt: skip
        """Refused."""
        raise keyed("workflow_call")

    async def workflow_send(self, tpe: HandlerType[I, O], key: str, arg: I,
                            send_delay: timedelta | None = None, limit_key: str | None = None,
                            idempotency_key: str | None = None,
                            headers: dict[str, str] | None = None) -> RestateClientSendHandle:  # fmt: skip
        """Refused."""
        raise keyed("workflow_send")


async def _result(exchange: Awaitable[T]) -> T:
    try:
        return await exchange
    except ClientError as error:
        if error.status_code is None:
            raise
        raise _http_error(error, error.status_code) from error


async def _handle(exchange: Awaitable[ClientSendHandle[Any]]) -> RestateClientSendHandle:
    sent = await _result(exchange)
    return RestateClientSendHandle(sent.invocation_id, sent.status_code)


def _http_error(error: ClientError, status: int) -> HttpError:
    said = error.reason if isinstance(error, RequestRefused) else error.message
    facts: dict[str, Any] = {"code": status, "message": said}
    if error.source is not None:
        facts["source"] = error.source
    if isinstance(error, InvocationFailed) and error.metadata:
        facts["metadata"] = error.metadata
    return HttpError(status, responses.get(status, "Error"), msgspec.json.encode(facts).decode())
