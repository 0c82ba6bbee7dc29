import pytest
from hypothesis import given
from hypothesis import strategies as st

from howdah_api.ingress.paths import (
    KEY_BYTES_MAX,
    Target,
    decode_key,
    parse_target,
    split_path,
)
from howdah_api.problems import Problem


@pytest.mark.parametrize(
    ("path", "segments"),
    [
        (b"/S/h", ["S", "h"]),
        (b"/S/h/", ["S", "h"]),
        (b"/S/a%2Fb/h", ["S", "a%2Fb", "h"]),
        (b"/S//h", ["S", "", "h"]),
        (b"http://host:8080/S/h", ["S", "h"]),
        (b"/a/b/c/d/e/f/g", ["a", "b", "c", "d", "e", "f", "g"]),
    ],
)
def test_a_path_is_split_before_it_is_decoded(path: bytes, segments: list[str]) -> None:
    assert split_path(path) == segments


@pytest.mark.parametrize("path", [b"/", b"/S", b"", b"*", b"/1/2/3/4/5/6/7/8", b"ftp://host/S/h"])
def test_a_path_of_too_few_or_too_many_segments_is_bad(path: bytes) -> None:
    with pytest.raises(Problem, match="bad path") as caught:
        split_path(path)

    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("segments", "is_keyed", "is_send", "target"),
    [
        (["h"], False, None, Target(None, "h", False)),
        (["h", "send"], False, None, Target(None, "h", True)),
        (["k", "h"], True, None, Target("k", "h", False)),
        (["k", "h", "send"], True, None, Target("k", "h", True)),
        (["k", "send"], True, None, Target("k", "send", False)),
        (["send"], False, None, Target(None, "send", False)),
        (["a%2Fb%20%C3%A9", "h"], True, None, Target("a/b é", "h", False)),
        (["k", "h"], True, True, Target("k", "h", True)),
    ],
)
def test_a_target_is_read_by_the_kind_of_its_service(
    segments: list[str], is_keyed: bool, is_send: bool | None, target: Target
) -> None:
    assert parse_target(segments, is_keyed=is_keyed, is_send=is_send) == target


@pytest.mark.parametrize(
    ("segments", "is_keyed", "is_send"),
    [
        ([], False, None),
        (["h"], True, None),
        (["", "h"], True, None),
        (["k", ""], True, None),
        ([""], False, None),
        (["h", "nonsense"], False, None),
        (["k", "h", "send", "more"], True, None),
        (["h", "send"], False, True),
    ],
)
def test_a_target_with_a_missing_or_superfluous_segment_is_bad(
    segments: list[str], is_keyed: bool, is_send: bool | None
) -> None:
    with pytest.raises(Problem, match="bad path, expected either"):
        parse_target(segments, is_keyed=is_keyed, is_send=is_send)


@pytest.mark.parametrize("segment", ["%FF", "%00", "a%00b", "%ED%A0%80", "k" * (KEY_BYTES_MAX + 1)])
def test_a_key_that_cannot_be_stored_is_refused(segment: str) -> None:
    with pytest.raises(Problem, match="cannot decode key"):
        decode_key(segment)


@given(st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1))
def test_a_percent_encoded_key_is_read_back(key: str) -> None:
    encoded = "".join(f"%{byte:02x}" for byte in key.encode())

    if len(key.encode()) <= KEY_BYTES_MAX:
        assert decode_key(encoded) == key


@given(st.binary(max_size=100))
def test_no_path_does_anything_but_parse_or_raise_a_problem(path: bytes) -> None:
    try:
        segments = split_path(path)
        parse_target(segments[1:], is_keyed=True)
    except Problem:
        return
