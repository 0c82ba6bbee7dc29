"""What each verb sends, and how its answer becomes a value. Pure.

Every verb of both clients is one function here, which returns an `Exchange`. The paths are those of
docs/client.md; what they mean is decided by the ingress.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from types import EllipsisType
from typing import Any, Final, Generic, Literal, TypedDict, TypeVar

import msgspec

from howdah.client.answers import (
    NOT_READY,
    Answer,
    ClientSendHandle,
    read_handle,
    read_health,
)
from howdah.client.texts import (
    checked_limit_key,
    checked_name,
    checked_scope,
    checked_text,
    delay_query,
    request_headers,
    segment,
)
from howdah.errors import UsageError, WrongContext
from howdah.handler import Handler, ServiceKind, handler_of
from howdah.serde import JSON, Serde, serde_for

T = TypeVar("T")

Timeout = timedelta | None | EllipsisType
"""A bound on waiting, None for no bound, or ... for the client's own."""

_VERBS: Final[Mapping[ServiceKind, str]] = {
    "service": "service_call or service_send",
    "object": "object_call or object_send",
    "workflow": "workflow_call or workflow_send",
}


class CallOptions(TypedDict, total=False):
    """Options of the verbs that call.

    Attributes:
        idempotency_key: Requests with the same key to the same handler are one invocation, and
            lost connections are repaired by trying again. 1 to 1024 visible ASCII characters.
        headers: Sent with the request, on top of the client's; the handler sees them.
        scope: For services without keys: where rules limit how many run at once, and part of the
            identity of an idempotent call.
        limit_key: With a scope: under what it is counted in it as well, one or two names.
        timeout: How long to wait for the result; the client's unless given, None for ever. The
            invocation goes on when the client stops waiting.
    """

    idempotency_key: str | None
    headers: Mapping[str, str] | None
    scope: str | None
    limit_key: str | None
    timeout: timedelta | None


class SendOptions(TypedDict, total=False):
    """Options of the verbs that send.

    Attributes:
        send_delay: Start after this time; zero or more, up to the server's HOWDAH_DELAY_MAX.
        idempotency_key: See `CallOptions`.
        headers: See `CallOptions`.
        scope: See `CallOptions`.
        limit_key: See `CallOptions`.
    """

    send_delay: timedelta | None
    idempotency_key: str | None
    headers: Mapping[str, str] | None
    scope: str | None
    limit_key: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange(Generic[T]):
    """One request, and how its answer is read.

    Attributes:
        what: What is being done, as a sentence begins.
        method, path, headers, body: The request. The path begins with a slash and is encoded.
        expected: The status of success.
        read: Reads the answer of success; raises NotOurs when it has another form.
        waits: Whether the server answers only when an invocation has completed.
        timeout: For what waits.
        takes_effect: Whether anything can be stored because of it.
        is_repeatable: Whether sending it again, after it may have been accepted, is harmless.
        is_attach: Whether 404 is about an unknown invocation unless the answer is a stored one.
        absent_status: Another status that `read` understands, when the ingress itself answers it.
    """

    what: str
    method: Literal["GET", "POST"]
    path: str
    read: Callable[[Answer], T]
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    expected: int = 200
    waits: bool = False
    timeout: Timeout = ...
    takes_effect: bool = False
    is_repeatable: bool = True
    is_attach: bool = False
    absent_status: int | None = None


# --- call and send ------------------------------------------------------------------------------


def call(
    kind: ServiceKind,
    tpe: Any,
    key: str | None,
    arg: Any,
    *,
    idempotency_key: str | None = None,
    headers: Mapping[str, str] | None = None,
    scope: str | None = None,
    limit_key: str | None = None,
    timeout: Timeout = ...,
) -> Exchange[Any]:
    """Call a handler, and wait for its result."""
    handler = _handler(kind, tpe)
    body, content_type = _argument(handler, arg)
    return generic_call(
        handler.service,
        handler.name,
        body,
        key,
        idempotency_key=idempotency_key,
        headers=headers,
        scope=scope,
        limit_key=limit_key,
        content_type=content_type,
        timeout=timeout,
        read_result=handler.output_serde.deserialize,
    )


def send(
    kind: ServiceKind,
    tpe: Any,
    key: str | None,
    arg: Any,
    *,
    send_delay: timedelta | None = None,
    idempotency_key: str | None = None,
    headers: Mapping[str, str] | None = None,
    scope: str | None = None,
    limit_key: str | None = None,
) -> Exchange[ClientSendHandle[Any]]:
    """Send to a handler; nobody waits for its result."""
    handler = _handler(kind, tpe)
    body, content_type = _argument(handler, arg)
    return generic_send(
        handler.service,
        handler.name,
        body,
        key,
        send_delay=send_delay,
        idempotency_key=idempotency_key,
        headers=headers,
        scope=scope,
        limit_key=limit_key,
        content_type=content_type,
        read_result=handler.output_serde.deserialize,
    )


def generic_call(
    service: str,
    handler: str,
    arg: bytes,
    key: str | None,
    *,
    idempotency_key: str | None = None,
    headers: Mapping[str, str] | None = None,
    scope: str | None = None,
    limit_key: str | None = None,
    content_type: str = JSON,
    timeout: Timeout = ...,
    read_result: Callable[[bytes], Any] = bytes,
) -> Exchange[Any]:
    """Call a handler by its name, with bytes."""
    given = request_headers(headers, idempotency_key, content_type if arg else None)
    root = _root(scope, limit_key, key, given)
    return Exchange(
        what=f"Calling {service}/{handler}",
        method="POST",
        path=f"{root}/call/{_target(service, handler, key)}",
        headers=given,
        body=arg,
        read=partial(_read_result, read_result),
        waits=True,
        timeout=timeout,
        takes_effect=True,
        is_repeatable="idempotency-key" in given,
    )


def generic_send(
    service: str,
    handler: str,
    arg: bytes,
    key: str | None,
    *,
    send_delay: timedelta | None = None,
    idempotency_key: str | None = None,
    headers: Mapping[str, str] | None = None,
    scope: str | None = None,
    limit_key: str | None = None,
    content_type: str = JSON,
    read_result: Callable[[bytes], Any] = bytes,
) -> Exchange[ClientSendHandle[Any]]:
    """Send to a handler by its name, with bytes."""
    given = request_headers(headers, idempotency_key, content_type if arg else None)
    root = _root(scope, limit_key, key, given)
    return Exchange(
        what=f"Sending to {service}/{handler}",
        method="POST",
        path=f"{root}/send/{_target(service, handler, key)}{delay_query(send_delay)}",
        headers=given,
        body=arg,
        expected=202,
        read=partial(read_handle, read_result=read_result),
        takes_effect=True,
        is_repeatable="idempotency-key" in given,
    )


# --- attach and output --------------------------------------------------------------------------


def attach(
    invocation: str | ClientSendHandle[Any],
    tpe: Any = None,
    type_hint: Any = None,
    timeout: Timeout = ...,
) -> Exchange[Any]:
    """Wait for the result of an invocation."""
    path, what = _by_id(invocation)
    read = _reader(invocation, tpe, type_hint)
    return _attaching(f"Attaching to {what}", f"{path}/attach", read, timeout)


def output(
    invocation: str | ClientSendHandle[Any], tpe: Any = None, type_hint: Any = None
) -> Exchange[Any]:
    """Ask for the result of an invocation."""
    path, what = _by_id(invocation)
    read = _reader(invocation, tpe, type_hint)
    return _asking(f"Asking for the output of {what}", f"{path}/output", read)


def idempotent_attach(
    tpe: Any,
    idempotency_key: str,
    key: str | None,
    timeout: Timeout = ...,
    scope: str | None = None,
) -> Exchange[Any]:
    """Wait for the result of the invocation with an idempotency key."""
    handler = handler_of(tpe)
    what = f"Attaching to {handler.target}"
    body = _idempotent(handler, idempotency_key, key, scope)
    return _attaching(what, "/restate/attach", handler.output_serde.deserialize, timeout, body)


def idempotent_output(
    tpe: Any, idempotency_key: str, key: str | None, scope: str | None = None
) -> Exchange[Any]:
    """Ask for the result of the invocation with an idempotency key."""
    handler = handler_of(tpe)
    what = f"Asking for the output of {handler.target}"
    body = _idempotent(handler, idempotency_key, key, scope)
    return _asking(what, "/restate/output", handler.output_serde.deserialize, body)


def workflow_attach(tpe: Any, key: str, timeout: Timeout = ...) -> Exchange[Any]:
    """Wait for the result of a workflow's run."""
    path, handler = _workflow(tpe, key)
    what = f"Attaching to the workflow {handler.service}"
    return _attaching(what, f"{path}/attach", handler.output_serde.deserialize, timeout)


def workflow_output(tpe: Any, key: str) -> Exchange[Any]:
    """Ask for the result of a workflow's run."""
    path, handler = _workflow(tpe, key)
    what = f"Asking for the output of the workflow {handler.service}"
    return _asking(what, f"{path}/output", handler.output_serde.deserialize)


# --- awakeables and health ----------------------------------------------------------------------


def resolve_awakeable(awakeable_id: str, value: Any, serde: Serde[Any]) -> Exchange[None]:
    """Complete an awakeable with a value."""
    body = serde.serialize(value)
    content_type = serde.content_type if body else None
    return _completing("Resolving", awakeable_id, "resolve", body, content_type)


def reject_awakeable(awakeable_id: str, message: str) -> Exchange[None]:
    """Complete an awakeable with a failure."""
    body = checked_text("message", message)
    return _completing("Rejecting", awakeable_id, "reject", body, "text/plain; charset=utf-8")


def health() -> Exchange[list[str]]:
    """Ask whether the server is ready."""
    return Exchange(
        what="Asking for health",
        method="GET",
        path="/restate/health",
        read=read_health,
        is_repeatable=False,  # it is about this moment
    )


# --- parts --------------------------------------------------------------------------------------


def _attaching(
    what: str,
    path: str,
    read_result: Callable[[bytes], Any],
    timeout: Timeout,
    body: bytes = b"",
) -> Exchange[Any]:
    return Exchange(
        what=what,
        method="POST" if body else "GET",
        path=path,
        headers={"content-type": JSON} if body else {},
        body=body,
        read=partial(_read_result, read_result),
        waits=True,
        timeout=timeout,
        is_attach=True,
    )


def _asking(
    what: str, path: str, read_result: Callable[[bytes], Any], body: bytes = b""
) -> Exchange[Any]:
    return Exchange(
        what=what,
        method="POST" if body else "GET",
        path=path,
        headers={"content-type": JSON} if body else {},
        body=body,
        read=partial(_read_output, read_result),
        absent_status=NOT_READY,
    )


def _completing(
    verb: str, awakeable_id: str, word: str, body: bytes, content_type: str | None
) -> Exchange[None]:
    return Exchange(
        what=f"{verb} the awakeable {awakeable_id}",
        method="POST",
        path=f"/restate/awakeables/{segment('awakeable_id', awakeable_id)}/{word}",
        headers={"content-type": content_type} if content_type else {},
        body=body,
        expected=202,
        read=_read_nothing,
        takes_effect=True,
    )


def _read_result(read_result: Callable[[bytes], Any], answer: Answer) -> Any:
    return read_result(answer.body)


def _read_output(read_result: Callable[[bytes], Any], answer: Answer) -> Any:
    return None if answer.status == NOT_READY else read_result(answer.body)


def _read_nothing(answer: Answer) -> None:
    return None


def _handler(kind: ServiceKind, tpe: Any) -> Handler[Any, Any]:
    handler = handler_of(tpe)
    if handler.service_kind != kind:
        raise WrongContext(
            verb=_VERBS[kind],
            problem=f"{handler.service} is a {handler.service_kind}",
            hint=f"Use {_VERBS[handler.service_kind]}.",
        )
    return handler


def _argument(handler: Handler[Any, Any], arg: Any) -> tuple[bytes, str]:
    if not handler.takes_input:
        if arg is not None:
            raise UsageError(f"{handler.target} takes no argument, but was given one.")
        return b"", JSON
    written = handler.input_serde.content_type
    content_type = written if "*" in handler.accept else handler.accept
    return handler.input_serde.serialize(arg), content_type


def _reader(
    invocation: str | ClientSendHandle[Any], tpe: Any, type_hint: Any
) -> Callable[[bytes], Any]:
    if tpe is not None and type_hint is not None:
        raise UsageError("A handler and a type hint are two answers to one question; give one.")
    if tpe is not None:
        return handler_of(tpe).output_serde.deserialize
    if type_hint is not None:
        return serde_for(type_hint).deserialize
    return invocation.read_result if isinstance(invocation, ClientSendHandle) else bytes


def _by_id(invocation: str | ClientSendHandle[Any]) -> tuple[str, str]:
    text = invocation.invocation_id if isinstance(invocation, ClientSendHandle) else invocation
    return f"/restate/invocation/{segment('invocation', text)}", f"invocation {text}"


def _idempotent(
    handler: Handler[Any, Any], idempotency_key: str, key: str | None, scope: str | None
) -> bytes:
    if (key is None) != (handler.service_kind == "service"):
        needs = "takes no key" if handler.service_kind == "service" else "needs a key"
        raise UsageError(f"{handler.service} is a {handler.service_kind}, which {needs}.")
    checked_name("idempotency_key", idempotency_key)
    target = {
        "target": "idempotentInvocation",
        "service": handler.service,
        "handler": handler.name,
        "idempotencyKey": idempotency_key,
    }
    if key is not None:
        checked_name("key", key)
        target["key"] = key
    if scope is not None:
        target["scope"] = checked_scope(scope, key)
    return msgspec.json.encode(target)


def _workflow(tpe: Any, key: str) -> tuple[str, Handler[Any, Any]]:
    handler = handler_of(tpe)
    if handler.kind != "workflow":
        raise WrongContext(
            verb="workflow_attach or workflow_output",
            problem=f"{handler.target} is not the main handler of a workflow",
            hint="Give the function decorated with @<workflow>.main().",
        )
    service = segment("service", handler.service)
    return f"/restate/workflow/{service}/{segment('key', key)}", handler


def _root(
    scope: str | None, limit_key: str | None, key: str | None, headers: dict[str, str]
) -> str:
    """The path that calls and sends are below of; a limit key becomes a header."""
    if limit_key is not None:
        headers["x-restate-limit-key"] = checked_limit_key(limit_key, scope)
    return "/restate" if scope is None else f"/restate/scope/{checked_scope(scope, key)}"


def _target(service: str, handler: str, key: str | None) -> str:
    segments = [segment("service", service)]
    if key is not None:
        segments.append(segment("key", key))
    return "/".join([*segments, segment("handler", handler)])
