"""Invocation ids: version 7, sortable, and read back strictly."""

import time
import uuid

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from howdah.errors import InvalidId
from howdah.ids import (
    AWAKEABLE_MAX,
    AWAKEABLE_MIN,
    awakeable_id,
    parse_awakeable_id,
    parse_id,
    restate_deployment_id,
    restate_id,
    uuid7,
)


def test_an_id_is_a_uuid_of_version_7() -> None:
    made = uuid7()

    assert made.version == 7
    assert made.variant == uuid.RFC_4122
    assert uuid.UUID(str(made)) == made
    assert hash(uuid.UUID(int=made.int)) == hash(made)
    assert made.is_safe is uuid.SafeUUID.unknown


def test_an_id_begins_with_the_milliseconds_of_its_making() -> None:
    before = time.time_ns() // 1_000_000
    made = uuid7()
    after = time.time_ns() // 1_000_000

    assert before <= made.int >> 80 <= after


def test_ids_differ_and_use_all_their_random_bits() -> None:
    made = [uuid7().int for _ in range(20_000)]
    random_bits = ((1 << 12) - 1) << 64 | (1 << 62) - 1

    assert len(set(made)) == len(made)
    seen_set = seen_clear = 0
    for value in made:
        seen_set |= value
        seen_clear |= ~value
    assert seen_set & random_bits == random_bits
    assert seen_clear & random_bits == random_bits


@given(st.uuids())
def test_every_uuid_is_read_back_from_its_text(given_id: uuid.UUID) -> None:
    assert parse_id(str(given_id)) == given_id
    assert parse_id(str(given_id).upper()) == given_id


BASE62 = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def number_of(digits: str) -> int:
    number = 0
    for digit in digits:
        number = number * 62 + BASE62.index(digit)
    return number


@given(st.uuids())
@example(uuid.UUID(int=2**128 - 1))
def test_an_id_in_the_form_of_other_tools_is_what_they_can_read(given_id: uuid.UUID) -> None:
    text = restate_id(given_id)

    assert text.startswith("inv_1")
    assert number_of(text[5:16]) < 2**64
    assert number_of(text[16:]) < 2**128
    assert len(text) == 38
    assert parse_id(text) == given_id


@given(st.uuids(), st.uuids())
def test_the_form_of_other_tools_keeps_the_order(one: uuid.UUID, other: uuid.UUID) -> None:
    assert (one < other) == (restate_id(one) < restate_id(other))


@given(st.lists(st.text(min_size=1), unique=True))
@example(["v2", "02", "2", "b8fe79a083bb6299", "dp_1", "dp_176vEwLyDQ2xbTjeLVmqiHv", "a" * 22])
def test_ids_of_deployments_are_what_other_tools_can_read(names: list[str]) -> None:
    found = {restate_deployment_id(name) for name in names}

    assert len(found) == len(names)
    for text in found:
        assert text.startswith("dp_1")
        assert len(text) == 26
        assert number_of(text[4:]) < 2**128


def test_the_id_of_a_deployment_shows_its_name() -> None:
    assert restate_deployment_id("v2") == "dp_100000000000000000000v2"
    assert restate_deployment_id("dp_176vEwLyDQ2xbTjeLVmqiHv") == "dp_176vEwLyDQ2xbTjeLVmqiHv"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "inv_1",
        "inv_10192f0c12b3c7d4e8f50617283940a1b",
        "inv_10192f0c12b31c7d4e8f50617283940a1b",
        "inv_10192F0C12B30C7D4E8F50617283940A1B",
        "inv_1gdJBtdVEcM95mVozxaqlnMWh1WfVqYbA1",
        "inv_20192f0c12b30c7d4e8f50617283940a1b",
        "nonsense",
        "0192f0c12b3c7d4e8f50617283940a1b",
        "{0192f0c1-2b3c-7d4e-8f50-617283940a1b}",
        "urn:uuid:0192f0c1-2b3c-7d4e-8f50-617283940a1b",
        "0192f0c1-2b3c-7d4e-8f50-617283940a1",
        "0192f0c1-2b3c-7d4e-8f50-617283940a1g",
        "0192f0c1-2b3c-7d4e-8f50-617283940a_1",
        " 0192f0c1-2b3c-7d4e-8f50-617283940a1b",
        "0192f0c1-2b3c-7d4e-8f50-617283940a1b\n",
        "٠192f0c1-2b3c-7d4e-8f50-617283940a1b",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(InvalidId) as caught:
        parse_id(text)

    assert caught.value.text == text


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        parse_id(text)
    except InvalidId:
        pass


@given(st.uuids(), st.integers(AWAKEABLE_MIN, AWAKEABLE_MAX))
def test_an_awakeable_is_read_back_from_its_text(given_id: uuid.UUID, number: int) -> None:
    assert parse_awakeable_id(awakeable_id(given_id, number)) == (given_id, number)


@pytest.mark.parametrize("number", [0, 1, 16, AWAKEABLE_MAX + 1, 2**31, 2**32 - 1])
def test_the_number_of_another_signal_is_no_awakeable(number: int) -> None:
    with pytest.raises(InvalidId):
        parse_awakeable_id(awakeable_id(uuid7(), number))


def test_an_awakeable_has_one_text_only() -> None:
    text = awakeable_id(uuid.UUID(int=0), AWAKEABLE_MIN)

    with pytest.raises(InvalidId):
        parse_awakeable_id(text[:-1] + chr(ord(text[-1]) + 1))
