"""Headers, content types and delays: what is read off a request before anything is stored."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from howdah_api.ingress.content import matches, validate_input
from howdah_api.ingress.delays import parse_delay, query_parameter, refuse_delay
from howdah_api.ingress.heads import read_head
from howdah_api.problems import Problem

YEAR = timedelta(days=365)


def test_handlers_see_headers_but_for_those_of_the_connection() -> None:
    head = read_head(
        [
            (b"host", b"localhost:8080"),
            (b"connection", b"keep-alive"),
            (b"idempotency-key", b"k1"),
            (b"content-type", b"application/json"),
            (b"content-length", b"3"),
            (b"traceparent", b"00-1-2-01"),
        ]
    )

    assert head.headers == [
        ("content-type", "application/json"),
        ("content-length", "3"),
        ("traceparent", "00-1-2-01"),
    ]
    assert head.idempotency_key == "k1"
    assert head.content_type == "application/json"
    assert head.content_length == 3
    assert head.bad_header is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (b"x-note", "é".encode()),
        (b"x-note", b"a\x00b"),
        (b"host", b"a b"),
        (b"host", b"evil/path"),
        (b"idempotency-key", b""),
        (b"idempotency-key", b"k" * 2000),
    ],
)
def test_a_header_that_cannot_be_kept_is_noted(name: bytes, value: bytes) -> None:
    head = read_head([(name, value)])

    assert head.bad_header is not None
    assert head.bad_header.message.startswith(f"bad header {name.decode()}: ")


def test_two_ways_to_tell_the_length_are_ambiguous() -> None:
    head = read_head([(b"content-length", b"3"), (b"transfer-encoding", b"chunked")])

    assert head.is_ambiguous


@given(st.lists(st.tuples(st.binary(min_size=1, max_size=20), st.binary(max_size=40))))
def test_no_header_makes_reading_fail(headers: list[tuple[bytes, bytes]]) -> None:
    read_head(headers)


@pytest.mark.parametrize(
    ("content_type", "accept", "is_match"),
    [
        ("application/json", "application/json", True),
        ("application/json; charset=utf-8", "application/json", True),
        ("Application/JSON", "application/json", False),
        ("text/plain", "application/json", False),
        ("text/plain", "text/*", True),
        ("image/png", "text/*", False),
        ("anything/else", "*/*", True),
    ],
)
def test_content_types_match_with_wildcards(content_type: str, accept: str, is_match: bool) -> None:
    assert matches(content_type, accept) is is_match


@pytest.mark.parametrize(
    ("accept", "is_required", "content_type", "is_empty", "message"),
    [
        (None, False, None, False, "Expected body and content-type to be empty, .* 'None'"),
        (None, False, "a/b", True, r"to be empty, .* 'Some\(\"a/b\"\)'"),
        ("application/json", True, None, True, "Empty body not allowed"),
        ("application/json", True, None, False, "Empty content-type"),
        ("application/json", True, "a/b", False, "'a/b' does not match 'application/json'"),
    ],
)
def test_a_body_that_does_not_fit_is_refused(
    accept: str | None, is_required: bool, content_type: str | None, is_empty: bool, message: str
) -> None:
    with pytest.raises(Problem, match=f"input validation error: .*{message}") as caught:
        validate_input(
            accept=accept, is_required=is_required, content_type=content_type, is_empty=is_empty
        )

    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("accept", "is_required", "content_type", "is_empty"),
    [
        (None, False, None, True),
        ("*/*", False, None, True),
        ("*/*", True, None, False),
        ("application/json", False, None, True),
        ("application/json", True, "application/json", False),
    ],
)
def test_a_body_that_fits_is_taken(
    accept: str | None, is_required: bool, content_type: str | None, is_empty: bool
) -> None:
    validate_input(
        accept=accept, is_required=is_required, content_type=content_type, is_empty=is_empty
    )


@pytest.mark.parametrize(
    ("query", "delay"),
    [
        (b"", None),
        (b"other=1", None),
        (b"delay=10s", timedelta(seconds=10)),
        (b"DELAY=10s", timedelta(seconds=10)),
        (b"delay=1m+30s", timedelta(seconds=90)),
        (b"delay=1m%2030s", timedelta(seconds=90)),
        (b"delay=100ms", timedelta(milliseconds=100)),
        (b"delay=PT60S", timedelta(seconds=60)),
    ],
)
def test_a_delay_is_read_from_the_query(query: bytes, delay: timedelta | None) -> None:
    assert parse_delay(query, YEAR) == delay


@pytest.mark.parametrize("query", [b"delay=", b"delay=soon", b"delay=-1s", b"delay=400d"])
def test_a_delay_that_cannot_be_read_or_kept_is_refused(query: bytes) -> None:
    with pytest.raises(Problem, match="bad delay query parameter, must be a ISO8601 duration"):
        parse_delay(query, YEAR)


def test_a_call_has_no_delay() -> None:
    refuse_delay(b"other=1")
    with pytest.raises(Problem, match="supported only with sends"):
        refuse_delay(b"delay=1s")


@given(st.binary(max_size=100))
def test_no_query_makes_reading_fail(query: bytes) -> None:
    query_parameter(query, "delay")
