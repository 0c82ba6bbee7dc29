"""What each verb sends, and how its answer becomes a value. Pure.

Every verb of both clients is one function here, which returns an `Exchange`. The paths are those of
docs/client.md; what they mean is decided by the ingress.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from types import EllipsisType
from typing import Any, Final, Generic, Literal, TypedDict, TypeVar
from urllib.parse import quote

import msgspec

from howdah.client.answers import (
    NOT_READY,
    Answer,
    ClientSendHandle,
    read_handle,
    read_health,
)
from howdah.errors import OutOfBounds, UsageError, WrongContext
from howdah.handler import Handler, ServiceKind, handler_of
from howdah.options import format_duration
from howdah.serde import JSON, Serde, serde_for

T = TypeVar("T")

Timeout = timedelta | None | EllipsisType
"""A bound on waiting, None for no bound, or ... for the client's own."""

TEXT_BYTES_MAX: Final = 1024
"""Bytes of a key, a name, an id or an idempotency key at most."""
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"(?:[!-~](?:[\t -~]*[!-~])?)?")
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
        timeout: How long to wait for the result; the client's unless given, None for ever. The
            invocation goes on when the client stops waiting.
    """

    idempotency_key: str | None
    headers: Mapping[str, str] | None
    timeout: timedelta | None


class SendOptions(TypedDict, total=False):
    """Options of the verbs that send.

    Attributes:
        send_delay: Start after this time; zero or more, up to the server's HOWDAH_DELAY_MAX.
        idempotency_key: See `CallOptions`.
        headers: See `CallOptions`.
    """

    send_delay: timedelta | None
    idempotency_key: str | None
    headers: Mapping[str, str] | None


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
    content_type: str = JSON,
    timeout: Timeout = ...,
    read_result: Callable[[bytes], Any] = bytes,
) -> Exchange[Any]:
    """Call a handler by its name, with bytes."""
    given = _headers(headers, idempotency_key, content_type if arg else None)
    return Exchange(
        what=f"Calling {service}/{handler}",
        method="POST",
        path=f"/restate/call/{_target(service, handler, key)}",
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
    content_type: str = JSON,
    read_result: Callable[[bytes], Any] = bytes,
) -> Exchange[ClientSendHandle[Any]]:
    """Send to a handler by its name, with bytes."""
    given = _headers(headers, idempotency_key, content_type if arg else None)
    return Exchange(
        what=f"Sending to {service}/{handler}",
        method="POST",
        path=f"/restate/send/{_target(service, handler, key)}{_delay(send_delay)}",
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
    tpe: Any, idempotency_key: str, key: str | None, timeout: Timeout = ...
) -> Exchange[Any]:
    """Wait for the result of the invocation with an idempotency key."""
    handler = handler_of(tpe)
    what = f"Attaching to {handler.target}"
    body = _idempotent(handler, idempotency_key, key)
    return _attaching(what, "/restate/attach", handler.output_serde.deserialize, timeout, body)


def idempotent_output(tpe: Any, idempotency_key: str, key: str | None) -> Exchange[Any]:
    """Ask for the result of the invocation with an idempotency key."""
    handler = handler_of(tpe)
    what = f"Asking for the output of {handler.target}"
    body = _idempotent(handler, idempotency_key, key)
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
    body = _utf_8("message", message)
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
        path=f"/restate/awakeables/{_segment('awakeable_id', awakeable_id)}/{word}",
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
    return f"/restate/invocation/{_segment('invocation', text)}", f"invocation {text}"


def _idempotent(handler: Handler[Any, Any], idempotency_key: str, key: str | None) -> bytes:
    if (key is None) != (handler.service_kind == "service"):
        needs = "takes no key" if handler.service_kind == "service" else "needs a key"
        raise UsageError(f"{handler.service} is a {handler.service_kind}, which {needs}.")
    _encoded("idempotency_key", idempotency_key)
    target = {
        "target": "idempotentInvocation",
        "service": handler.service,
        "handler": handler.name,
        "idempotencyKey": idempotency_key,
    }
    if key is not None:
        _encoded("key", key)
        target["key"] = key
    return msgspec.json.encode(target)


def _workflow(tpe: Any, key: str) -> tuple[str, Handler[Any, Any]]:
    handler = handler_of(tpe)
    if handler.kind != "workflow":
        raise WrongContext(
            verb="workflow_attach or workflow_output",
            problem=f"{handler.target} is not the main handler of a workflow",
            hint="Give the function decorated with @<workflow>.main().",
        )
    service = _segment("service", handler.service)
    return f"/restate/workflow/{service}/{_segment('key', key)}", handler


def _target(service: str, handler: str, key: str | None) -> str:
    segments = [_segment("service", service)]
    if key is not None:
        segments.append(_segment("key", key))
    return "/".join([*segments, _segment("handler", handler)])


def _segment(name: str, text: str) -> str:
    encoded = quote(_encoded(name, text), safe="")
    # Dots alone would be taken for a folder and removed on the way.
    return encoded.replace(".", "%2E") if text in (".", "..") else encoded


def _encoded(name: str, text: object) -> bytes:
    """Return what names something as bytes, within the bounds of the server."""
    encoded = _utf_8(name, text)
    if not 1 <= len(encoded) <= TEXT_BYTES_MAX or b"\0" in encoded:
        bound = f"1 to {TEXT_BYTES_MAX} bytes without NUL"
        raise OutOfBounds(name=name, value=repr(text)[:80], bound=bound)
    return encoded


def _utf_8(name: str, text: object) -> bytes:
    if not isinstance(text, str):
        raise OutOfBounds(name=name, value=repr(text)[:80], bound="a string")
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        bound = "text that UTF-8 can hold"
        raise OutOfBounds(name=name, value=ascii(text)[:80], bound=bound) from error


def _delay(delay: timedelta | None) -> str:
    if not delay:
        return ""
    if delay < timedelta(0):
        raise OutOfBounds(name="send_delay", value=delay, bound="zero or more")
    return f"?delay={quote(format_duration(delay))}"


def _headers(
    headers: Mapping[str, str] | None, idempotency_key: str | None, content_type: str | None
) -> dict[str, str]:
    given = {} if content_type is None else {"content-type": content_type}
    given.update(checked_headers(headers))
    if idempotency_key is not None:
        given["idempotency-key"] = idempotency_key
    key = given.get("idempotency-key")
    if key is not None and not (_fits(_HEADER_VALUE, key) and 1 <= len(key) <= TEXT_BYTES_MAX):
        bound = f"1 to {TEXT_BYTES_MAX} visible ASCII characters, with no space at either end"
        raise OutOfBounds(name="idempotency_key", value=repr(key)[:80], bound=bound)
    return given


def checked_headers(headers: Mapping[str, str] | None) -> dict[str, str]:
    """Return headers with their names in lower case.

    Raises:
        UsageError: a name or a value cannot stand in a header. Values are not shown. HD1000.
    """
    checked = {}
    for name, value in (headers or {}).items():
        if not _fits(_HEADER_NAME, name):
            raise UsageError(f"{name!r} cannot be the name of a header.")
        if not _fits(_HEADER_VALUE, value):
            raise UsageError(
                f"The value of the header {name} is not visible ASCII.",
                hint="Encode it, and let it neither begin nor end with a space.",
            )
        checked[name.lower()] = value
    return checked


def _fits(pattern: re.Pattern[str], text: object) -> bool:
    return isinstance(text, str) and pattern.fullmatch(text) is not None
