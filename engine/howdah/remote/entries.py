"""Journal entries and the messages that they are on the wire, in both directions.

The columns of an entry hold what people look for; what else a message said is in its `detail`. A
command goes back to the endpoint exactly as it came: if the columns cannot say it byte for byte, the
detail keeps the bytes as well. Everything here is pure.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable
from typing import Any, Final
from uuid import UUID

import msgspec

from howdah.machine.entries import NOTIFICATION, Entry, Kind
from howdah.remote.wire import CLASSES, Notification, ProtocolViolation, Type, encode, frame, parse

COMMANDS: Final = {
    Type.OUTPUT: Kind.OUTPUT,
    Type.RUN: Kind.RUN,
    Type.SLEEP: Kind.SLEEP,
    Type.CALL: Kind.CALL,
    Type.ONE_WAY_CALL: Kind.SEND,
    Type.GET_EAGER_STATE: Kind.GET_STATE,
    Type.GET_EAGER_STATE_KEYS: Kind.GET_STATE_KEYS,
    Type.SET_STATE: Kind.SET_STATE,
    Type.CLEAR_STATE: Kind.CLEAR_STATE,
    Type.CLEAR_ALL_STATE: Kind.CLEAR_ALL_STATE,
    Type.GET_LAZY_STATE: Kind.GET_LAZY_STATE,
    Type.GET_LAZY_STATE_KEYS: Kind.GET_LAZY_STATE_KEYS,
    Type.GET_PROMISE: Kind.GET_PROMISE,
    Type.PEEK_PROMISE: Kind.PEEK_PROMISE,
    Type.COMPLETE_PROMISE: Kind.COMPLETE_PROMISE,
    Type.SEND_SIGNAL: Kind.SEND_SIGNAL,
    Type.ATTACH_INVOCATION: Kind.ATTACH,
    Type.GET_INVOCATION_OUTPUT: Kind.GET_OUTPUT,
    Type.COMPLETE_AWAKEABLE: Kind.COMPLETE_AWAKEABLE,
}
"""The kind of entry that each command becomes."""
_TYPES: Final = {
    **{kind: number for number, kind in COMMANDS.items()},
    Kind.RUN_COMPLETED: Type.RUN_COMPLETION,
    Kind.SLEEP_COMPLETED: Type.SLEEP_COMPLETION,
    Kind.CALL_COMPLETED: Type.CALL_COMPLETION,
    Kind.INVOCATION_ID: Type.CALL_INVOCATION_ID,
    Kind.GET_LAZY_STATE_COMPLETED: Type.GET_LAZY_STATE_COMPLETION,
    Kind.GET_LAZY_STATE_KEYS_COMPLETED: Type.GET_LAZY_STATE_KEYS_COMPLETION,
    Kind.GET_PROMISE_COMPLETED: Type.GET_PROMISE_COMPLETION,
    Kind.PEEK_PROMISE_COMPLETED: Type.PEEK_PROMISE_COMPLETION,
    Kind.COMPLETE_PROMISE_COMPLETED: Type.COMPLETE_PROMISE_COMPLETION,
    Kind.ATTACH_COMPLETED: Type.ATTACH_INVOCATION_COMPLETION,
    Kind.GET_OUTPUT_COMPLETED: Type.GET_INVOCATION_OUTPUT_COMPLETION,
    Kind.SIGNAL: Type.SIGNAL,
}
_VOID_WITHOUT_VALUE: Final = frozenset(
    {
        Kind.SLEEP_COMPLETED,
        Kind.GET_LAZY_STATE_COMPLETED,
        Kind.PEEK_PROMISE_COMPLETED,
        Kind.COMPLETE_PROMISE_COMPLETED,
        Kind.GET_OUTPUT_COMPLETED,
        Kind.SIGNAL,
    }
)
_RAW: Final = "wire"
"""Where a detail keeps a payload that its columns cannot rebuild."""

_Value: Final = CLASSES["Value"]
_Void: Final = CLASSES["Void"]
_Failure: Final = CLASSES["Failure"]
_encode_json: Final[Callable[[Any], bytes]] = msgspec.json.Encoder().encode
_decode_json: Final[Callable[[str], Any]] = msgspec.json.Decoder().decode


def failure_json(failure: Any) -> str:
    """The detail of a failure that came from an endpoint."""
    facts: dict[str, Any] = {"code": failure.code, "message": failure.message}
    if failure.metadata:
        facts["metadata"] = {pair.key: pair.value for pair in failure.metadata}
    return _text(facts)


def _failure(facts: dict[str, Any]) -> Any:
    failure = _Failure(code=facts["code"], message=facts["message"])
    for key, value in (facts.get("metadata") or {}).items():
        failure.metadata.add(key=key, value=value)
    return failure


def _text(facts: dict[str, Any]) -> str:
    # jsonb holds no NUL.
    return _encode_json(facts).decode().replace("\\u0000", "\\ufffd")


# From the endpoint.


class Command:
    """A command that an endpoint sent, read into the columns of an entry.

    Attributes:
        kind, cid, name, value: As in `Entry`.
        facts: What goes into the detail; empty: none.
        message: The message, for what it asks to be done.
    """

    __slots__ = ("cid", "facts", "kind", "message", "name", "value")

    def __init__(self, kind: int, message: Any) -> None:
        self.kind = kind
        self.message = message
        self.cid: int | None = None
        self.name: str | None = None
        self.value: bytes | None = None
        self.facts: dict[str, Any] = {}

    def entry(self, idx: int, ref: UUID | None = None) -> Entry:
        """The entry at this place of the journal."""
        detail = _text(self.facts) if self.facts else None
        return Entry(idx, self.kind, self.cid, self.name, self.value, ref, detail)


def read_command(number: int, payload: bytes, database_now_ms: float) -> Command:
    """Read a command.

    Args:
        number: The type of the message, one of `COMMANDS`.
        payload: Its bytes.
        database_now_ms: The database's clock, for what is to happen at a time.

    Raises:
        ProtocolViolation: it cannot be read, or lacks what it must have.
    """
    message = parse(number, payload)
    command = Command(COMMANDS[Type(number)], message)
    kind, facts = command.kind, command.facts
    if kind not in _WITHOUT_CID:
        command.cid = message.result_completion_id
        if not command.cid:
            raise ProtocolViolation(f"a command without a completion id (type 0x{number:04X})")
    if kind == Kind.RUN:
        command.name = message.name if message.HasField("name") else None
    elif kind in (Kind.CALL, Kind.SEND):
        _read_call(command, database_now_ms)
    elif kind == Kind.SEND_SIGNAL:
        command.name = message.name if message.HasField("name") else _signal_label(message.idx)
        _read_result(command, message, "value", "failure")
        if message.HasField("entry_name"):
            facts["label"] = message.entry_name
        if not message.HasField("name"):
            facts["signal"] = message.idx
        facts["target"] = message.target_invocation_id
    else:
        if message.HasField("name"):
            facts["label"] = message.name
        _read_other(command, database_now_ms)
    if _command_payload(command.entry(0)) != payload:
        facts[_RAW] = b64encode(payload).decode()
    return command


_WITHOUT_CID: Final = frozenset(
    {
        Kind.OUTPUT,
        Kind.SEND,
        Kind.GET_STATE,
        Kind.GET_STATE_KEYS,
        Kind.SET_STATE,
        Kind.CLEAR_STATE,
        Kind.CLEAR_ALL_STATE,
        Kind.SEND_SIGNAL,
        Kind.COMPLETE_AWAKEABLE,
    }
)


_PLACE: Final = ("scope", "limit_key")


def _signal_label(number: int) -> str:
    return "cancel" if number == 1 else f"signal {number}"


def _read_call(command: Command, database_now_ms: float) -> None:
    message, facts = command.message, command.facts
    parts = [message.service_name, message.handler_name]
    if message.key:
        parts.insert(1, message.key)
    command.name = "/".join(parts)
    command.value = message.parameter
    facts["id_cid"] = message.invocation_id_notification_idx
    if message.headers:
        facts["headers"] = [[header.key, header.value] for header in message.headers]
    if message.HasField("idempotency_key"):
        facts["idempotency_key"] = message.idempotency_key
    for place in _PLACE:
        if message.HasField(place):
            facts[place] = getattr(message, place)
    if message.HasField("name"):
        facts["label"] = message.name
    if command.kind == Kind.SEND and message.invoke_time:
        facts["at_ms"] = message.invoke_time
        facts["delay_ms"] = max(int(message.invoke_time - database_now_ms), 0)


def _read_other(command: Command, database_now_ms: float) -> None:
    message, facts, kind = command.message, command.facts, command.kind
    if kind == Kind.SLEEP:
        facts["at_ms"] = message.wake_up_time
        facts["delay_ms"] = max(int(message.wake_up_time - database_now_ms), 0)
        command.name = facts.pop("label", None)
    elif kind in (Kind.GET_LAZY_STATE, Kind.SET_STATE, Kind.CLEAR_STATE, Kind.GET_STATE):
        command.name = _state_name(message.key)
        if kind == Kind.SET_STATE or (kind == Kind.GET_STATE and message.HasField("value")):
            command.value = message.value.content
    elif kind == Kind.GET_STATE_KEYS:
        command.value = _encode_json([_state_name(key) for key in message.value.keys])
    elif kind in (Kind.GET_PROMISE, Kind.PEEK_PROMISE):
        command.name = message.key
    elif kind == Kind.COMPLETE_PROMISE:
        command.name = message.key
        _read_result(command, message, "completion_value", "completion_failure")
    elif kind == Kind.COMPLETE_AWAKEABLE:
        command.name = message.awakeable_id
        _read_result(command, message, "value", "failure")
    elif kind == Kind.OUTPUT:
        _read_result(command, message, "value", "failure")
    elif kind in (Kind.ATTACH, Kind.GET_OUTPUT):
        _read_target(command)


def _state_name(key: bytes) -> str:
    try:
        return key.decode()
    except UnicodeDecodeError as error:
        raise ProtocolViolation("a state key is not UTF-8") from error


def _read_result(command: Command, message: Any, value: str, failure: str) -> None:
    if message.HasField(failure):
        command.facts.update(msgspec.json.decode(failure_json(getattr(message, failure))))
    elif message.HasField(value):
        command.value = getattr(message, value).content


def _read_target(command: Command) -> None:
    message, facts = command.message, command.facts
    if message.HasField("invocation_id"):
        command.name = message.invocation_id
    elif message.HasField("idempotent_target"):
        target = message.idempotent_target
        facts["idempotent"] = [
            target.service_name,
            target.service_key if target.HasField("service_key") else None,
            target.handler_name,
            target.idempotency_key,
        ]
        command.name = "/".join(filter(None, facts["idempotent"]))
        if target.HasField("scope"):
            facts["scope"] = target.scope
    elif message.HasField("workflow_target"):
        target = message.workflow_target
        facts["workflow"] = [target.workflow_name, target.workflow_key]
        command.name = "/".join(facts["workflow"])
        if target.HasField("scope"):
            facts["scope"] = target.scope
    else:
        raise ProtocolViolation("an attachment without a target")


# To the endpoint.


def to_wire(entry: Entry) -> bytes:
    """A stored entry as the message that the endpoint sent, or is to be sent."""
    if entry.kind >= NOTIFICATION:
        return encode(_TYPES[Kind(entry.kind)], _notification(entry))
    return frame(_TYPES[Kind(entry.kind)], _command_payload(entry))


def _set_value(value: Any, content: bytes) -> None:
    """What is empty is present, and its content left out: the form that SDKs write."""
    if content:
        value.content = content
    else:
        value.SetInParent()


def _notification(entry: Entry) -> Any:
    kind = entry.kind
    message = Notification()
    if kind == Kind.SIGNAL:
        if entry.name is not None:
            message.signal_name = entry.name
        else:
            assert entry.cid is not None
            message.signal_idx = -entry.cid
    else:
        message.completion_id = entry.cid
    if kind == Kind.INVOCATION_ID:
        message.invocation_id = str(entry.ref)
    elif kind == Kind.GET_LAZY_STATE_KEYS_COMPLETED:
        names = msgspec.json.decode(entry.value or b"[]")
        message.state_keys.SetInParent()
        message.state_keys.keys.extend(name.encode() for name in names)
    elif entry.detail is not None:
        message.failure.CopyFrom(_failure(_decode_json(entry.detail)))
    elif entry.value is not None:
        _set_value(message.value, entry.value)
    elif kind in _VOID_WITHOUT_VALUE:
        message.void.SetInParent()
    else:
        message.value.SetInParent()
    return message


def _command_payload(entry: Entry) -> bytes:
    facts: dict[str, Any] = _decode_json(entry.detail) if entry.detail is not None else {}
    if _RAW in facts:
        return b64decode(facts[_RAW])
    kind = entry.kind
    message = CLASSES[_CLASS_OF[Kind(kind)]]()
    if kind not in _WITHOUT_CID:
        message.result_completion_id = entry.cid
    if kind in (Kind.RUN, Kind.SLEEP):
        if entry.name is not None:
            message.name = entry.name
        if kind == Kind.SLEEP:
            message.wake_up_time = facts["at_ms"]
    elif kind in (Kind.CALL, Kind.SEND):
        _write_call(message, entry, facts)
    elif kind == Kind.SEND_SIGNAL:
        message.target_invocation_id = facts["target"]
        if "signal" in facts:
            message.idx = facts["signal"]
        else:
            message.name = entry.name
        if "label" in facts:
            message.entry_name = facts["label"]
        _write_result(message, entry, facts, "value", "failure")
        if entry.value is None and "code" not in facts:
            message.void.SetInParent()
    else:
        if "label" in facts:
            message.name = facts["label"]
        _write_other(message, entry, facts)
    payload: bytes = message.SerializeToString()
    return payload


_CLASS_OF: Final = {
    Kind.OUTPUT: "Output",
    Kind.RUN: "Run",
    Kind.SLEEP: "Sleep",
    Kind.CALL: "Call",
    Kind.SEND: "OneWayCall",
    Kind.GET_STATE: "GetEagerState",
    Kind.GET_STATE_KEYS: "GetEagerStateKeys",
    Kind.SET_STATE: "SetState",
    Kind.CLEAR_STATE: "ClearState",
    Kind.CLEAR_ALL_STATE: "ClearAllState",
    Kind.GET_LAZY_STATE: "GetLazyState",
    Kind.GET_LAZY_STATE_KEYS: "GetLazyStateKeys",
    Kind.GET_PROMISE: "GetPromise",
    Kind.PEEK_PROMISE: "GetPromise",
    Kind.COMPLETE_PROMISE: "CompletePromise",
    Kind.SEND_SIGNAL: "SendSignal",
    Kind.ATTACH: "AttachInvocation",
    Kind.GET_OUTPUT: "AttachInvocation",
    Kind.COMPLETE_AWAKEABLE: "CompleteAwakeable",
}


def _write_call(message: Any, entry: Entry, facts: dict[str, Any]) -> None:
    assert entry.name is not None
    service, _, rest = entry.name.partition("/")
    key, slash, handler = rest.rpartition("/")
    message.service_name = service
    message.handler_name = handler
    if slash:
        message.key = key
    if entry.value:
        message.parameter = entry.value
    if facts.get("id_cid"):
        message.invocation_id_notification_idx = facts["id_cid"]
    for name, value in facts.get("headers", ()):
        message.headers.add(key=name, value=value)
    if "idempotency_key" in facts:
        message.idempotency_key = facts["idempotency_key"]
    for place in _PLACE:
        if place in facts:
            setattr(message, place, facts[place])
    if "label" in facts:
        message.name = facts["label"]
    if "at_ms" in facts:
        message.invoke_time = facts["at_ms"]


def _write_other(message: Any, entry: Entry, facts: dict[str, Any]) -> None:
    kind = entry.kind
    if kind in (Kind.GET_LAZY_STATE, Kind.SET_STATE, Kind.CLEAR_STATE, Kind.GET_STATE):
        message.key = (entry.name or "").encode()
        if kind == Kind.SET_STATE:
            _set_value(message.value, entry.value or b"")
        elif kind == Kind.GET_STATE:
            if entry.value is None:
                message.void.SetInParent()
            else:
                _set_value(message.value, entry.value)
    elif kind == Kind.GET_STATE_KEYS:
        message.value.SetInParent()
        names = msgspec.json.decode(entry.value or b"[]")
        message.value.keys.extend(name.encode() for name in names)
    elif kind in (Kind.GET_PROMISE, Kind.PEEK_PROMISE):
        message.key = entry.name
    elif kind == Kind.COMPLETE_PROMISE:
        message.key = entry.name
        _write_result(message, entry, facts, "completion_value", "completion_failure")
    elif kind == Kind.COMPLETE_AWAKEABLE:
        message.awakeable_id = entry.name
        _write_result(message, entry, facts, "value", "failure")
    elif kind == Kind.OUTPUT:
        _write_result(message, entry, facts, "value", "failure")
    elif kind in (Kind.ATTACH, Kind.GET_OUTPUT):
        _write_target(message, entry, facts)


def _write_result(
    message: Any, entry: Entry, facts: dict[str, Any], value: str, failure: str
) -> None:
    if "code" in facts:
        getattr(message, failure).CopyFrom(_failure(facts))
    elif entry.value is not None:
        _set_value(getattr(message, value), entry.value)


def _write_target(message: Any, entry: Entry, facts: dict[str, Any]) -> None:
    if "idempotent" in facts:
        service, key, handler, idempotency_key = facts["idempotent"]
        target = message.idempotent_target
        target.service_name = service
        if key is not None:
            target.service_key = key
        target.handler_name = handler
        target.idempotency_key = idempotency_key
        if "scope" in facts:
            target.scope = facts["scope"]
    elif "workflow" in facts:
        target = message.workflow_target
        target.workflow_name, target.workflow_key = facts["workflow"]
        if "scope" in facts:
            target.scope = facts["scope"]
    else:
        message.invocation_id = entry.name


def input_message(headers: str | None, body: bytes) -> bytes:
    """Entry 0: what the invocation was called with."""
    message = CLASSES["Input"]()
    for name, value in msgspec.json.decode(headers) if headers else ():
        message.headers.add(key=name, value=value)
    _set_value(message.value, body)
    return encode(Type.INPUT, message)
