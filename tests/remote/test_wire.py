"""The service protocol's messages: bytes that others wrote, round trips, limits, noise."""

import struct
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from howdah.remote.wire import (
    ACK_REQUESTED,
    BY_TYPE,
    CLASSES,
    Decoder,
    MessageTooLarge,
    Notification,
    ProtocolViolation,
    Type,
    encode,
    frame,
    parse,
)

LIMIT = 1 << 20
COMPLETIONS = [number for number in Type if number >= 0x8000]


def test_a_frame_is_type_flags_and_length_then_the_payload() -> None:
    assert frame(0x0401, b"abc") == bytes.fromhex("0401 0000 00000003") + b"abc"
    assert frame(5, b"", ACK_REQUESTED) == bytes.fromhex("0005 8000 00000000")


@pytest.mark.parametrize(
    ("number", "message", "payload"),
    [
        (Type.END, CLASSES["End"](), ""),
        (Type.INPUT, CLASSES["Input"](value={}), "7200"),
        (Type.INPUT, CLASSES["Input"](value={"content": b"a"}), "72030a0161"),
        (Type.SUSPENSION, CLASSES["Suspension"](waiting_completions=[1, 300]), "0a0301ac02"),
        (
            Type.PROPOSE_RUN_COMPLETION,
            CLASSES["ProposeRunCompletion"](result_completion_id=1, value=b"x"),
            "0801720178",
        ),
        (Type.SLEEP_COMPLETION, Notification(completion_id=2, void={}), "08022200"),
        (
            Type.RUN_COMPLETION,
            Notification(completion_id=1, value={"content": b""}),
            "08012a020a00",
        ),
        (
            Type.SIGNAL,
            Notification(signal_idx=17, failure={"code": 500, "message": "no"}),
            "1011320708f403" + "12026e6f",
        ),
        (Type.CALL_INVOCATION_ID, Notification(completion_id=1, invocation_id="i"), "080182010169"),
        (Type.AWAITING_ON, CLASSES["AwaitingOn"](awaiting_on=b"\x28\x01"), "0a022801"),
    ],
)
def test_messages_have_the_bytes_of_the_protocol(number: int, message: Any, payload: str) -> None:
    assert encode(number, message) == frame(number, bytes.fromhex(payload))


def test_presence_is_kept() -> None:
    absent = parse(Type.ONE_WAY_CALL, CLASSES["OneWayCall"](key="k").SerializeToString())
    empty = parse(Type.ONE_WAY_CALL, CLASSES["OneWayCall"](idempotency_key="").SerializeToString())
    assert not absent.HasField("idempotency_key")
    assert empty.HasField("idempotency_key")

    void = parse(Type.GET_EAGER_STATE, CLASSES["GetEagerState"](void={}).SerializeToString())
    assert void.HasField("void")
    assert not void.HasField("value")


def test_unknown_fields_are_skipped() -> None:
    assert parse(Type.RUN, b"\x58\x07" + b"\xfa\x06\x01x").result_completion_id == 7


def test_every_type_that_an_endpoint_sends_has_a_class() -> None:
    assert set(BY_TYPE) | set(COMPLETIONS) == set(Type)


@pytest.mark.parametrize(
    ("number", "payload"),
    [
        (0x7777, b""),
        (Type.RUN, b"\xff"),
        (Type.RUN, b"\x62\x01\xff"),
        (Type.OUTPUT, b"\x72\x05\x0a"),
        (Type.ERROR, b"\x08" + b"\xff" * 11),
    ],
)
def test_what_is_no_message_is_refused(number: int, payload: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        parse(number, payload)


messages = st.lists(
    st.tuples(
        st.integers(0, 0xFFFF),
        st.sampled_from([0, ACK_REQUESTED, 0xFFFF]),
        st.binary(max_size=100),
    ),
    max_size=10,
)


@given(messages, st.lists(st.integers(1, 60), min_size=1))
def test_messages_are_found_however_their_bytes_arrive(
    sent: list[tuple[int, int, bytes]], sizes: list[int]
) -> None:
    data = b"".join(frame(number, payload, flags) for number, flags, payload in sent)
    decoder, found, turn = Decoder(100), [], 0
    while data:
        size = sizes[turn % len(sizes)]
        found += decoder.feed(data[:size])
        data, turn = data[size:], turn + 1

    assert found == sent
    assert decoder.is_empty


def test_half_a_message_is_kept() -> None:
    decoder = Decoder(LIMIT)

    assert decoder.feed(frame(1, b"abc")[:-1]) == []
    assert not decoder.is_empty
    assert decoder.feed(b"c") == [(1, 0, b"abc")]


def test_a_long_message_is_refused_by_its_header() -> None:
    with pytest.raises(MessageTooLarge, match="1001 bytes; the limit is 1000"):
        Decoder(1000).feed(struct.pack(">HHI", 1, 0, 1001))
    assert Decoder(1000).feed(frame(1, b"x" * 1000))


@given(st.binary(max_size=300))
@example(b"\0" * 64)
def test_noise_is_messages_or_a_violation(data: bytes) -> None:
    decoder = Decoder(LIMIT)
    try:
        for number, _, payload in decoder.feed(data):
            parse(number, payload)
    except ProtocolViolation:
        pass


@given(st.sampled_from(sorted(BY_TYPE)), st.binary(max_size=200))
def test_any_payload_is_a_message_or_a_violation(number: int, payload: bytes) -> None:
    try:
        message = parse(number, payload)
    except ProtocolViolation:
        return
    assert parse(number, message.SerializeToString()) == message
