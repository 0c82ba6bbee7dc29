"""The service protocol's messages as bytes: framing, and the table of what each message holds.

A frame is eight bytes of header (type, flags, length; big-endian) and a protobuf payload. The
message classes are made from the table below when this module is imported.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from enum import IntEnum
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

ACK_REQUESTED: Final = 0x8000
"""The one flag: the sender of a proposal wants no value back, only an acknowledgement."""
HEADER: Final = struct.Struct(">HHI")


class ProtocolViolation(Exception):
    """The endpoint sent what the protocol does not allow."""


class MessageTooLarge(ProtocolViolation):
    """The endpoint announced a message above the limit."""


class Type(IntEnum):
    """Types of messages. A completion has the type of its command plus 0x7C00."""

    START = 0x0000
    SUSPENSION = 0x0001
    ERROR = 0x0002
    END = 0x0003
    COMMAND_ACK = 0x0004
    PROPOSE_RUN_COMPLETION = 0x0005
    AWAITING_ON = 0x0006
    PROPOSE_RUN_COMPLETION_ACK = 0x0007
    INPUT = 0x0400
    OUTPUT = 0x0401
    GET_LAZY_STATE = 0x0402
    SET_STATE = 0x0403
    CLEAR_STATE = 0x0404
    CLEAR_ALL_STATE = 0x0405
    GET_LAZY_STATE_KEYS = 0x0406
    GET_EAGER_STATE = 0x0407
    GET_EAGER_STATE_KEYS = 0x0408
    GET_PROMISE = 0x0409
    PEEK_PROMISE = 0x040A
    COMPLETE_PROMISE = 0x040B
    SLEEP = 0x040C
    CALL = 0x040D
    ONE_WAY_CALL = 0x040E
    SEND_SIGNAL = 0x0410
    RUN = 0x0411
    ATTACH_INVOCATION = 0x0412
    GET_INVOCATION_OUTPUT = 0x0413
    COMPLETE_AWAKEABLE = 0x0414
    GET_LAZY_STATE_COMPLETION = 0x8002
    GET_LAZY_STATE_KEYS_COMPLETION = 0x8006
    GET_PROMISE_COMPLETION = 0x8009
    PEEK_PROMISE_COMPLETION = 0x800A
    COMPLETE_PROMISE_COMPLETION = 0x800B
    SLEEP_COMPLETION = 0x800C
    CALL_COMPLETION = 0x800D
    CALL_INVOCATION_ID = 0x800E
    RUN_COMPLETION = 0x8011
    ATTACH_INVOCATION_COMPLETION = 0x8012
    GET_INVOCATION_OUTPUT_COMPLETION = 0x8013
    SIGNAL = 0xFBFF


# Each field: number, name, type. A type in brackets is repeated; a capital names a message. Futures
# nest deeper than protobuf reads: they stay bytes, see futures.py.
_MESSAGES: Final[Mapping[str, str]] = {
    "Void": "",
    "Value": "1 content bytes",
    "Metadata": "1 key string, 2 value string",
    "Failure": "1 code uint32, 2 message string, 3 metadata [Metadata]",
    "Header": "1 key string, 2 value string",
    "StateEntry": "1 key bytes, 2 value bytes",
    "StateKeys": "1 keys [bytes]",
    "IdempotentTarget": (
        "1 service_name string, 2 service_key string, 3 handler_name string,"
        " 4 idempotency_key string, 5 scope string"
    ),
    "WorkflowTarget": "1 workflow_name string, 2 workflow_key string, 3 scope string",
    "Future": (
        "1 waiting_completions [uint32], 2 waiting_signals [uint32],"
        " 3 waiting_named_signals [string], 4 nested [bytes], 5 combinator uint32"
    ),
    "Start": (
        "1 id bytes, 2 debug_id string, 3 known_entries uint32, 4 state_map [StateEntry],"
        " 5 partial_state bool, 6 key string, 7 retry_count uint32, 8 duration uint64,"
        " 9 random_seed uint64, 10 scope string, 11 limit_key string, 12 idempotency_key string"
    ),
    "Suspension": (
        "1 waiting_completions [uint32], 2 waiting_signals [uint32],"
        " 3 waiting_named_signals [string], 4 awaiting_on bytes"
    ),
    "Error": (
        "1 code uint32, 2 message string, 3 stacktrace string, 4 related_command_index uint32,"
        " 5 related_command_name string, 6 related_command_type uint32, 8 next_retry_delay uint64,"
        " 9 behavior uint32"
    ),
    "End": "",
    "CommandAck": "1 command_index uint32",
    "ProposeRunCompletion": "1 result_completion_id uint32, 14 value bytes, 15 failure Failure",
    "AwaitingOn": "1 awaiting_on bytes, 2 executing_side_effects bool",
    "ProposeRunCompletionAck": "1 completion_id uint32",
    "Input": "1 headers [Header], 12 name string, 14 value Value",
    "Output": "12 name string, 14 value Value, 15 failure Failure",
    "GetLazyState": "1 key bytes, 11 result_completion_id uint32, 12 name string",
    "SetState": "1 key bytes, 3 value Value, 12 name string",
    "ClearState": "1 key bytes, 12 name string",
    "ClearAllState": "12 name string",
    "GetLazyStateKeys": "11 result_completion_id uint32, 12 name string",
    "GetEagerState": "1 key bytes, 12 name string, 13 void Void, 14 value Value",
    "GetEagerStateKeys": "12 name string, 14 value StateKeys",
    "GetPromise": "1 key string, 11 result_completion_id uint32, 12 name string",
    "CompletePromise": (
        "1 key string, 2 completion_value Value, 3 completion_failure Failure,"
        " 11 result_completion_id uint32, 12 name string"
    ),
    "Sleep": "1 wake_up_time uint64, 11 result_completion_id uint32, 12 name string",
    "Call": (
        "1 service_name string, 2 handler_name string, 3 parameter bytes, 4 headers [Header],"
        " 5 key string, 6 idempotency_key string, 7 scope string, 8 limit_key string,"
        " 10 invocation_id_notification_idx uint32, 11 result_completion_id uint32, 12 name string"
    ),
    "OneWayCall": (
        "1 service_name string, 2 handler_name string, 3 parameter bytes, 4 invoke_time uint64,"
        " 5 headers [Header], 6 key string, 7 idempotency_key string, 8 scope string,"
        " 9 limit_key string, 10 invocation_id_notification_idx uint32, 12 name string"
    ),
    "SendSignal": (
        "1 target_invocation_id string, 2 idx uint32, 3 name string, 4 void Void, 5 value Value,"
        " 6 failure Failure, 12 entry_name string"
    ),
    "Run": "11 result_completion_id uint32, 12 name string",
    "AttachInvocation": (
        "1 invocation_id string, 3 idempotent_target IdempotentTarget,"
        " 4 workflow_target WorkflowTarget, 11 result_completion_id uint32, 12 name string"
    ),
    "CompleteAwakeable": "1 awakeable_id string, 2 value Value, 3 failure Failure, 12 name string",
    "Notification": (
        "1 completion_id uint32, 2 signal_idx uint32, 3 signal_name string, 4 void Void,"
        " 5 value Value, 6 failure Failure, 16 invocation_id string, 17 state_keys StateKeys"
    ),
}

_CLASSES: Final[Mapping[int, str]] = {
    Type.START: "Start",
    Type.SUSPENSION: "Suspension",
    Type.ERROR: "Error",
    Type.END: "End",
    Type.COMMAND_ACK: "CommandAck",
    Type.PROPOSE_RUN_COMPLETION: "ProposeRunCompletion",
    Type.AWAITING_ON: "AwaitingOn",
    Type.PROPOSE_RUN_COMPLETION_ACK: "ProposeRunCompletionAck",
    Type.INPUT: "Input",
    Type.OUTPUT: "Output",
    Type.GET_LAZY_STATE: "GetLazyState",
    Type.SET_STATE: "SetState",
    Type.CLEAR_STATE: "ClearState",
    Type.CLEAR_ALL_STATE: "ClearAllState",
    Type.GET_LAZY_STATE_KEYS: "GetLazyStateKeys",
    Type.GET_EAGER_STATE: "GetEagerState",
    Type.GET_EAGER_STATE_KEYS: "GetEagerStateKeys",
    Type.GET_PROMISE: "GetPromise",
    Type.PEEK_PROMISE: "GetPromise",
    Type.COMPLETE_PROMISE: "CompletePromise",
    Type.SLEEP: "Sleep",
    Type.CALL: "Call",
    Type.ONE_WAY_CALL: "OneWayCall",
    Type.SEND_SIGNAL: "SendSignal",
    Type.RUN: "Run",
    Type.ATTACH_INVOCATION: "AttachInvocation",
    Type.GET_INVOCATION_OUTPUT: "AttachInvocation",
    Type.COMPLETE_AWAKEABLE: "CompleteAwakeable",
}

_PACKAGE: Final = "howdah.remote"
_FIELD: Final = descriptor_pb2.FieldDescriptorProto
_SCALARS: Final = {
    "bytes": _FIELD.TYPE_BYTES,
    "string": _FIELD.TYPE_STRING,
    "uint32": _FIELD.TYPE_UINT32,
    "uint64": _FIELD.TYPE_UINT64,
    "bool": _FIELD.TYPE_BOOL,
}


def _make_classes() -> Mapping[str, Any]:
    # In this edition each field knows whether it was given, and texts must be UTF-8. (In proto2 they
    # may be anything, and come out as bytes if they are not.)
    file = descriptor_pb2.FileDescriptorProto(
        name="howdah/remote.proto",
        package=_PACKAGE,
        syntax="editions",
        edition=descriptor_pb2.EDITION_2023,
    )
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for text in filter(None, fields.split(",")):
            number, field_name, kind = text.split()
            is_repeated = kind.startswith("[")
            kind = kind.strip("[]")
            field = message.field.add(
                name=field_name,
                number=int(number),
                label=_FIELD.LABEL_REPEATED if is_repeated else _FIELD.LABEL_OPTIONAL,
            )
            if kind in _SCALARS:
                field.type = _SCALARS[kind]
            else:
                field.type = _FIELD.TYPE_MESSAGE
                field.type_name = f".{_PACKAGE}.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}"))
        for name in _MESSAGES
    }


CLASSES: Final = _make_classes()
"""Message classes by name."""
BY_TYPE: Final[Mapping[int, Any]] = {number: CLASSES[name] for number, name in _CLASSES.items()}
Notification: Final = CLASSES["Notification"]


def frame(number: int, payload: bytes, flags: int = 0) -> bytes:
    """One message as bytes."""
    return HEADER.pack(number, flags, len(payload)) + payload


def encode(number: int, message: Any, flags: int = 0) -> bytes:
    """One message as bytes."""
    return frame(number, message.SerializeToString(), flags)


def parse(number: int, payload: bytes) -> Any:
    """A message from its payload.

    Raises:
        ProtocolViolation: the type is unknown, or the payload is not what it should be.
    """
    made = BY_TYPE.get(number)
    if made is None:
        raise ProtocolViolation(f"unknown message type 0x{number:04X}")
    try:
        return made.FromString(payload)
    except Exception as error:
        raise ProtocolViolation(f"message 0x{number:04X} cannot be read: {error}") from error


class Decoder:
    """Cuts what arrives into messages.

    Args:
        limit: Bytes in one message at most.
    """

    __slots__ = ("_buffer", "_limit", "_needed")

    def __init__(self, limit: int) -> None:
        self._buffer = bytearray()
        self._limit = limit
        self._needed = HEADER.size

    @property
    def is_empty(self) -> bool:
        """Whether everything that arrived was whole messages."""
        return not self._buffer

    def feed(self, data: bytes) -> list[tuple[int, int, bytes]]:
        """Take bytes in; return what is complete: type, flags and payload of each message.

        Raises:
            MessageTooLarge: a message is longer than the limit.
        """
        if self._buffer:
            # A long message may come in small pieces: nothing is looked at before it is whole.
            self._buffer += data
            if len(self._buffer) < self._needed:
                return []
            data, self._buffer = bytes(self._buffer), bytearray()
        found: list[tuple[int, int, bytes]] = []
        position, end, self._needed = 0, len(data), HEADER.size
        while end - position >= HEADER.size:
            number, flags, length = HEADER.unpack_from(data, position)
            if length > self._limit:
                raise MessageTooLarge(f"a message of {length} bytes; the limit is {self._limit}")
            start = position + HEADER.size
            if end - start < length:
                self._needed += length
                break
            position = start + length
            found.append((number, flags, data[start:position]))
        self._buffer += data[position:]
        return found
