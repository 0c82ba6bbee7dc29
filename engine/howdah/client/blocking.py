"""The blocking client: `asynchronous.py` without `async` and `await`; a test compares the two."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from time import monotonic, sleep
from typing import Any, Self, TypeVar, Unpack, overload

import httpx

from howdah.client import exchanges, wire
from howdah.client.answers import ClientSendHandle
from howdah.client.delivery import CONNECT_TIMEOUT, RETRIES, Delivery, Settings
from howdah.client.exchanges import CallOptions, Exchange, SendOptions, Timeout
from howdah.handler import HandlerFn, InputFn, NoInputFn, SyncHandlerFn, SyncInputFn, SyncNoInputFn
from howdah.serde import JSON, DefaultSerde, Serde

In = TypeVar("In")
Out = TypeVar("Out")
T = TypeVar("T")


class SyncClient:
    """Calls handlers through the ingress, from outside, and blocks the thread while it waits.

    Make one and keep it: it holds the connections, and threads may share it. Close it, or use it in `with`. A handler calls
    other handlers with its context instead, which is durable; this is not.

    Args:
        base_url: The ingress, such as `http://127.0.0.1:8080`. Without one, that of the
            variable HOWDAH_INGRESS, or else `http://127.0.0.1:8080`.
        headers: Sent with every request, such as what a proxy wants to see.
        timeout: How long calls and attach wait for a result; None, for as long as it takes. The
            other verbs wait up to 30 seconds.
        connect_timeout: How long making a connection may take.
        retries: How many times a request that is safe to repeat is tried again; 0 to 100.
        transport: An httpx transport, for tests or to reach the server in another way.
        http_client: An httpx client to use as it is. Its `base_url`, its timeouts and its `close`
            are left alone.

    Raises:
        UsageError: an argument cannot be used. HD1000, HD1004, HD1020.
    """

    def __init__(
        self,
        base_url: str | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        timeout: timedelta | None = None,
        connect_timeout: timedelta = CONNECT_TIMEOUT,
        retries: int = RETRIES,
        transport: httpx.BaseTransport | None = None,
        http_client: httpx.Client | None = None,
    ) -> None:
        wire.refuse_both(transport, http_client)
        self._settings = Settings.of(base_url, headers, timeout, connect_timeout, retries)
        self._is_own = http_client is None
        self._http = http_client or httpx.Client(
            transport=transport, **wire.arguments_of_own_client(self.base_url)
        )

    @property
    def base_url(self) -> str:
        """The ingress that is asked."""
        return self._settings.base_url

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; a given httpx client stays open."""
        if self._is_own:
            self._http.close()

    def _carry_out(self, exchange: Exchange[T]) -> T:
        wire.refuse_closed(self._http)
        delivery = Delivery(exchange, self._settings, monotonic())
        while True:
            timeouts = delivery.next_timeouts(monotonic())
            try:
                response = self._http.request(
                    exchange.method,
                    delivery.url,
                    content=exchange.body or None,
                    headers=delivery.headers,
                    timeout=wire.timeout_of(timeouts),
                )
            except wire.ERRORS as error:
                pause = delivery.pause_after_loss(wire.loss_of(error), monotonic())
            else:
                answer = wire.answer_of(response)
                again = delivery.pause_after_answer(answer, monotonic())
                if again is None:
                    return delivery.result(answer)
                pause = again
            sleep(pause)

    # --- calls ----------------------------------------------------------------------------------

    @overload
    def service_call(
        self, tpe: NoInputFn[Out], arg: None = None, **options: Unpack[CallOptions]
    ) -> Out: ...
    @overload
    def service_call(
        self, tpe: InputFn[In, Out], arg: In, **options: Unpack[CallOptions]
    ) -> Out: ...
    @overload
    def service_call(
        self, tpe: SyncNoInputFn[Out], arg: None = None, **options: Unpack[CallOptions]
    ) -> Out: ...
    @overload
    def service_call(
        self, tpe: SyncInputFn[In, Out], arg: In, **options: Unpack[CallOptions]
    ) -> Out: ...
    def service_call(
        self, tpe: Callable[..., Any], arg: Any = None, **options: Unpack[CallOptions]
    ) -> Any:
        """Call a service's handler, and wait for its result.

        Args:
            tpe: The decorated function.
            arg: Its argument; None for a handler that takes none.
            **options: `idempotency_key`, `headers`, `scope`, `limit_key` and `timeout`, as `CallOptions`
                tells.

        Raises:
            InvocationFailed: its handler failed for good. HD5001.
            RequestRefused: the ingress refused it. HD5002.
            NoAnswer: the ingress is away, or `timeout` has passed. HD5003.
            UnexpectedAnswer: something else answered. HD5004.
            UsageError: the request cannot be built; nothing was sent. HD1000 and others.
            SerdeError: the result is not of the handler's type. HD1010.

        Durability: the invocation is on disk before it starts, and goes on if the client leaves.
        """
        return self._carry_out(exchanges.call("service", tpe, None, arg, **options))

    @overload
    def object_call(
        self, tpe: NoInputFn[Out], key: str, arg: None = None, **options: Unpack[CallOptions]
    ) -> Out: ...
    @overload
    def object_call(
        self, tpe: InputFn[In, Out], key: str, arg: In, **options: Unpack[CallOptions]
    ) -> Out: ...
    @overload
    def object_call(
        self, tpe: SyncNoInputFn[Out], key: str, arg: None = None, **options: Unpack[CallOptions]
    ) -> Out: ...
    @overload
    def object_call(
        self, tpe: SyncInputFn[In, Out], key: str, arg: In, **options: Unpack[CallOptions]
    ) -> Out: ...
    def object_call(
        self, tpe: Callable[..., Any], key: str, arg: Any = None, **options: Unpack[CallOptions]
    ) -> Any:
        """Call a virtual object's handler at `key`; otherwise as `service_call`."""
        return self._carry_out(exchanges.call("object", tpe, key, arg, **options))

    @overload
    def workflow_call(
        self, tpe: NoInputFn[Out], key: str, arg: None = None, **options: Unpack[CallOptions]
    ) -> Out: ...
    @overload
    def workflow_call(
        self, tpe: InputFn[In, Out], key: str, arg: In, **options: Unpack[CallOptions]
    ) -> Out: ...
    @overload
    def workflow_call(
        self, tpe: SyncNoInputFn[Out], key: str, arg: None = None, **options: Unpack[CallOptions]
    ) -> Out: ...
    @overload
    def workflow_call(
        self, tpe: SyncInputFn[In, Out], key: str, arg: In, **options: Unpack[CallOptions]
    ) -> Out: ...
    def workflow_call(
        self, tpe: Callable[..., Any], key: str, arg: Any = None, **options: Unpack[CallOptions]
    ) -> Any:
        """Call a workflow's handler at `key`; otherwise as `service_call`.

        The main handler runs once for each key: a second call fails with status 409, also a repeated
        one whose answer was lost. `workflow_attach` waits for a run that exists. It takes no
        idempotency key; the other handlers do.
        """
        return self._carry_out(exchanges.call("workflow", tpe, key, arg, **options))

    def generic_call(
        self,
        service: str,
        handler: str,
        arg: bytes = b"",
        key: str | None = None,
        content_type: str = JSON,
        **options: Unpack[CallOptions],
    ) -> bytes:
        """Call a handler by its name, with bytes and for bytes; otherwise as `service_call`.

        Args:
            service: The name of the service, the virtual object or the workflow.
            handler: The handler's name.
            arg: The body; empty for a handler that takes no argument.
            key: The key, for a virtual object or a workflow.
            content_type: Of the body; not sent with an empty one.
            **options: As `service_call` takes them.
        """
        exchange = exchanges.generic_call(
            service, handler, arg, key, content_type=content_type, **options
        )
        result: bytes = self._carry_out(exchange)
        return result

    # --- sends ----------------------------------------------------------------------------------

    @overload
    def service_send(
        self, tpe: NoInputFn[Out], arg: None = None, **options: Unpack[SendOptions]
    ) -> ClientSendHandle[Out]: ...
    @overload
    def service_send(
        self, tpe: InputFn[In, Out], arg: In, **options: Unpack[SendOptions]
    ) -> ClientSendHandle[Out]: ...
    @overload
    def service_send(
        self, tpe: SyncNoInputFn[Out], arg: None = None, **options: Unpack[SendOptions]
    ) -> ClientSendHandle[Out]: ...
    @overload
    def service_send(
        self, tpe: SyncInputFn[In, Out], arg: In, **options: Unpack[SendOptions]
    ) -> ClientSendHandle[Out]: ...
    def service_send(
        self, tpe: Callable[..., Any], arg: Any = None, **options: Unpack[SendOptions]
    ) -> ClientSendHandle[Any]:
        """Send to a service's handler, now or after a delay; nobody waits for its result.

        Args:
            tpe: The decorated function.
            arg: Its argument; None for a handler that takes none.
            **options: `send_delay`, `idempotency_key` and `headers`, as `SendOptions` tells.

        Returns:
            Which invocation it is, and whether it is new. `attach` and `output` take it.

        Raises:
            ClientError: as `service_call`, but never the invocation's own failure. HD5000.

        Durability: the invocation is on disk when this returns.
        """
        return self._carry_out(exchanges.send("service", tpe, None, arg, **options))

    @overload
    def object_send(
        self, tpe: NoInputFn[Out], key: str, arg: None = None, **options: Unpack[SendOptions]
    ) -> ClientSendHandle[Out]: ...
    @overload
    def object_send(
        self, tpe: InputFn[In, Out], key: str, arg: In, **options: Unpack[SendOptions]
    ) -> ClientSendHandle[Out]: ...
    @overload
    def object_send(
        self, tpe: SyncNoInputFn[Out], key: str, arg: None = None, **options: Unpack[SendOptions]
    ) -> ClientSendHandle[Out]: ...
    @overload
    def object_send(
        self, tpe: SyncInputFn[In, Out], key: str, arg: In, **options: Unpack[SendOptions]
    ) -> ClientSendHandle[Out]: ...
    def object_send(
        self, tpe: Callable[..., Any], key: str, arg: Any = None, **options: Unpack[SendOptions]
    ) -> ClientSendHandle[Any]:
        """Send to a virtual object's handler at `key`; otherwise as `service_send`."""
        return self._carry_out(exchanges.send("object", tpe, key, arg, **options))

    @overload
    def workflow_send(
        self, tpe: NoInputFn[Out], key: str, arg: None = None, **options: Unpack[SendOptions]
    ) -> ClientSendHandle[Out]: ...
    @overload
    def workflow_send(
        self, tpe: InputFn[In, Out], key: str, arg: In, **options: Unpack[SendOptions]
    ) -> ClientSendHandle[Out]: ...
    @overload
    def workflow_send(
        self, tpe: SyncNoInputFn[Out], key: str, arg: None = None, **options: Unpack[SendOptions]
    ) -> ClientSendHandle[Out]: ...
    @overload
    def workflow_send(
        self, tpe: SyncInputFn[In, Out], key: str, arg: In, **options: Unpack[SendOptions]
    ) -> ClientSendHandle[Out]: ...
    def workflow_send(
        self, tpe: Callable[..., Any], key: str, arg: Any = None, **options: Unpack[SendOptions]
    ) -> ClientSendHandle[Any]:
        """Send to a workflow's handler at `key`; otherwise as `service_send`.

        For the main handler, a run that exists is not an error: the handle is that run's, and is
        not new.
        """
        return self._carry_out(exchanges.send("workflow", tpe, key, arg, **options))

    def generic_send(
        self,
        service: str,
        handler: str,
        arg: bytes = b"",
        key: str | None = None,
        content_type: str = JSON,
        **options: Unpack[SendOptions],
    ) -> ClientSendHandle[bytes]:
        """Send to a handler by its name, with bytes; arguments as for `generic_call`."""
        exchange = exchanges.generic_send(
            service, handler, arg, key, content_type=content_type, **options
        )
        return self._carry_out(exchange)

    # --- results --------------------------------------------------------------------------------

    @overload
    def attach(
        self, invocation: str, tpe: None = None, type_hint: None = None, timeout: Timeout = ...
    ) -> bytes: ...
    @overload
    def attach(
        self,
        invocation: ClientSendHandle[T],
        tpe: None = None,
        type_hint: None = None,
        timeout: Timeout = ...,
    ) -> T: ...
    @overload
    def attach(
        self,
        invocation: str | ClientSendHandle[Any],
        tpe: HandlerFn[Any, Out],
        type_hint: None = None,
        timeout: Timeout = ...,
    ) -> Out: ...
    @overload
    def attach(
        self,
        invocation: str | ClientSendHandle[Any],
        tpe: SyncHandlerFn[Any, Out],
        type_hint: None = None,
        timeout: Timeout = ...,
    ) -> Out: ...
    @overload
    def attach(
        self,
        invocation: str | ClientSendHandle[Any],
        tpe: None = None,
        *,
        type_hint: type[T],
        timeout: Timeout = ...,
    ) -> T: ...
    def attach(
        self,
        invocation: str | ClientSendHandle[Any],
        tpe: Callable[..., Any] | None = None,
        type_hint: Any = None,
        timeout: Timeout = ...,
    ) -> Any:
        """Wait for the result of an invocation, whoever started it.

        Args:
            invocation: Its id, or what a send returned.
            tpe: The handler that it runs, to read the result; what was sent knows it.
            type_hint: Or the result's type. With none of them, an id's result is bytes.
            timeout: How long to wait; the client's unless given, None for ever.

        Raises:
            InvocationFailed: it has failed, or fails. HD5001.
            RequestRefused: with status 404, there is no such invocation, or no longer. HD5002.
            ClientError: otherwise as `service_call`. HD5000.
        """
        return self._carry_out(exchanges.attach(invocation, tpe, type_hint, timeout))

    @overload
    def output(self, invocation: str, tpe: None = None, type_hint: None = None) -> bytes | None: ...
    @overload
    def output(
        self, invocation: ClientSendHandle[T], tpe: None = None, type_hint: None = None
    ) -> T | None: ...
    @overload
    def output(
        self,
        invocation: str | ClientSendHandle[Any],
        tpe: HandlerFn[Any, Out],
        type_hint: None = None,
    ) -> Out | None: ...
    @overload
    def output(
        self,
        invocation: str | ClientSendHandle[Any],
        tpe: SyncHandlerFn[Any, Out],
        type_hint: None = None,
    ) -> Out | None: ...
    @overload
    def output(
        self, invocation: str | ClientSendHandle[Any], tpe: None = None, *, type_hint: type[T]
    ) -> T | None: ...
    def output(
        self,
        invocation: str | ClientSendHandle[Any],
        tpe: Callable[..., Any] | None = None,
        type_hint: Any = None,
    ) -> Any:
        """Return the result of an invocation, or None when it is not ready; otherwise as `attach`."""
        return self._carry_out(exchanges.output(invocation, tpe, type_hint))

    @overload
    def idempotent_attach(
        self,
        tpe: HandlerFn[Any, Out],
        idempotency_key: str,
        key: str | None = None,
        timeout: Timeout = ...,
        scope: str | None = None,
    ) -> Out: ...
    @overload
    def idempotent_attach(
        self,
        tpe: SyncHandlerFn[Any, Out],
        idempotency_key: str,
        key: str | None = None,
        timeout: Timeout = ...,
        scope: str | None = None,
    ) -> Out: ...
    def idempotent_attach(
        self,
        tpe: Callable[..., Any],
        idempotency_key: str,
        key: str | None = None,
        timeout: Timeout = ...,
        scope: str | None = None,
    ) -> Any:
        """Wait for the result of the invocation with an idempotency key; otherwise as `attach`.

        Args:
            tpe: The handler that it runs.
            idempotency_key: As it was given with the call or the send.
            key: The key, for a virtual object or a workflow.
            timeout: As for `attach`.
            scope: The scope, for a service that was called in one.
        """
        exchange = exchanges.idempotent_attach(tpe, idempotency_key, key, timeout, scope)
        return self._carry_out(exchange)

    @overload
    def idempotent_output(
        self,
        tpe: HandlerFn[Any, Out],
        idempotency_key: str,
        key: str | None = None,
        scope: str | None = None,
    ) -> Out | None: ...
    @overload
    def idempotent_output(
        self,
        tpe: SyncHandlerFn[Any, Out],
        idempotency_key: str,
        key: str | None = None,
        scope: str | None = None,
    ) -> Out | None: ...
    def idempotent_output(
        self,
        tpe: Callable[..., Any],
        idempotency_key: str,
        key: str | None = None,
        scope: str | None = None,
    ) -> Any:
        """Return the result of the invocation with an idempotency key, or None; as `output`."""
        return self._carry_out(exchanges.idempotent_output(tpe, idempotency_key, key, scope))

    @overload
    def workflow_attach(
        self, tpe: HandlerFn[Any, Out], key: str, timeout: Timeout = ...
    ) -> Out: ...
    @overload
    def workflow_attach(
        self, tpe: SyncHandlerFn[Any, Out], key: str, timeout: Timeout = ...
    ) -> Out: ...
    def workflow_attach(self, tpe: Callable[..., Any], key: str, timeout: Timeout = ...) -> Any:
        """Wait for the result of a workflow's run at `key`; `tpe` is its main handler."""
        return self._carry_out(exchanges.workflow_attach(tpe, key, timeout))

    @overload
    def workflow_output(self, tpe: HandlerFn[Any, Out], key: str) -> Out | None: ...
    @overload
    def workflow_output(self, tpe: SyncHandlerFn[Any, Out], key: str) -> Out | None: ...
    def workflow_output(self, tpe: Callable[..., Any], key: str) -> Any:
        """Return the result of a workflow's run at `key`, or None when it is not ready."""
        return self._carry_out(exchanges.workflow_output(tpe, key))

    # --- awakeables and health ------------------------------------------------------------------

    def resolve_awakeable(
        self, awakeable_id: str, value: T, serde: Serde[T] = DefaultSerde()
    ) -> None:
        """Complete an awakeable with a value, which its handler then sees.

        The first completion counts. Later ones, and those of an awakeable that is not there, are
        ignored without an error.

        Args:
            awakeable_id: As the handler gave it out.
            value: Its value.
            serde: How it is written; as JSON unless given, and bytes as they are.

        Raises:
            RequestRefused: with status 400, it is not an awakeable's id. HD5002.
            ClientError: otherwise as `service_call`. HD5000.
        """
        self._carry_out(exchanges.resolve_awakeable(awakeable_id, value, serde))

    def reject_awakeable(self, awakeable_id: str, message: str) -> None:
        """Fail an awakeable: its handler gets a TerminalError with this message and status 500."""
        self._carry_out(exchanges.reject_awakeable(awakeable_id, message))

    def health(self) -> list[str]:
        """Return the names of the services that are known, sorted, when the server is ready.

        Raises:
            RequestRefused: with status 503, it is not. HD5002.
            NoAnswer: it cannot be reached. HD5003.
        """
        return self._carry_out(exchanges.health())
