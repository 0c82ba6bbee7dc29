"""Headers, content types and delays: what is read off a request before anything is stored."""

import json
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from howdah_api.ingress.content import matches, validate_input
from howdah_api.ingress.delays import parse_delay, query_parameter, refuse_delay
from howdah_api.ingress.heads import read_head, withheld_headers
from howdah_api.problems import Problem

YEAR = timedelta(days=365)
JSON = "application/json"
LETTERS = '[]{}",:\\u01-.eE+ truefalsn\n'
VALUES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)


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


def test_credentials_are_passed_on_only_where_they_are_allowed() -> None:
    given = [(b"authorization", b"a"), (b"cookie", b"b"), (b"cookie", b"c"), (b"host", b"d")]

    assert read_head(given).headers == []
    assert read_head(given, withheld_headers({"cookie", "host"})).headers == [
        ("cookie", "b"),
        ("cookie", "c"),
    ]


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
    ("accept", "is_required", "content_type", "body", "message"),
    [
        (None, False, None, b"1", "Expected body and content-type to be empty, .* 'None'"),
        (None, False, "a/b", b"", r"to be empty, .* 'Some\(\"a/b\"\)'"),
        (JSON, True, None, b"", "Empty body not allowed"),
        (JSON, True, None, b"1", "Empty content-type"),
        (JSON, True, "a/b", b"1", "'a/b' does not match 'application/json'"),
        (JSON, True, JSON, b" ", "the body is not valid JSON"),
        (f"{JSON}; v=1", True, JSON, b"{", "the body is not valid JSON"),
        ("application/vnd.a+json", True, "application/vnd.a+json", b"{", "is not valid JSON"),
    ],
)
def test_a_body_that_does_not_fit_is_refused(
    accept: str | None, is_required: bool, content_type: str | None, body: bytes, message: str
) -> None:
    with pytest.raises(Problem, match=f"input validation error: .*{message}") as caught:
        validate_input(accept=accept, is_required=is_required, content_type=content_type, body=body)

    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("accept", "is_required", "content_type", "body"),
    [
        (None, False, None, b""),
        ("*/*", False, None, b""),
        ("*/*", True, None, b"{"),
        ("*/*", True, JSON, b"{"),
        ("application/*", True, JSON, b"{"),
        (JSON, False, None, b""),
        (JSON, False, JSON, b""),
        (JSON, True, JSON, b"1"),
        (JSON, True, JSON, '{"é": [1e999, {"a": 1, "a": 2}]}'.encode()),
    ],
)
def test_a_body_that_fits_is_taken(
    accept: str | None, is_required: bool, content_type: str | None, body: bytes
) -> None:
    validate_input(accept=accept, is_required=is_required, content_type=content_type, body=body)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"a": [1, {"b": tru}]}', r"invalid character \(byte \d+\)"),
        (b'{"a": 1} x', r"trailing characters \(byte \d+\)"),
        (b"1\0", r"trailing characters \(byte \d+\)"),
        (b"[1, 2", r"it ends too early \(byte 5\)"),
        (b"[1, ]", r"trailing comma in array \(byte 4\)"),
        (b"{'a': 1}", r"\(byte 1\)"),
        (b"[01]", r"invalid number \(byte 2\)"),
        (b"[NaN]", r"invalid character \(byte \d\)"),
        (b"[-Infinity]", r"invalid character \(byte \d\)"),
        (b'["a\nb"]', r"invalid character \(byte \d\)"),
        (b'["\\x41"]', r"\(byte \d\)"),
        (b'["\\ud800 and no other half"]', r"\(byte \d+\)"),
        (b'[["\xc3"]]', r"it is not UTF-8 \(byte 3\)"),
        (b'{"\xff": 1}', r"it is not UTF-8 \(byte 2\)"),
        (b'"\xed\xa0\x80"', r"it is not UTF-8 \(byte 1\)"),
        ("[1]".encode("utf-16"), r"it is not UTF-8 \(byte 0\)"),
        (b"\xef\xbb\xbf1", r"invalid character \(byte 0\)"),
        (b"[" * 1_000_000, "it is nested too deeply"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "it is nested too deeply"),
    ],
)
def test_what_is_no_json_is_refused_with_the_place(body: bytes, message: str) -> None:
    with pytest.raises(Problem, match=f"the body is not valid JSON: .*{message}$"):
        validate_input(accept=JSON, is_required=True, content_type=JSON, body=body)


@given(st.recursive(VALUES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_all_that_json_can_say_is_taken(value: object) -> None:
    for is_ascii in (False, True):
        body = json.dumps(value, ensure_ascii=is_ascii).encode()
        validate_input(accept=JSON, is_required=True, content_type=JSON, body=body)


@given(st.binary(min_size=1, max_size=30) | st.text(LETTERS, min_size=1).map(str.encode))
def test_what_python_refuses_as_json_is_refused(body: bytes) -> None:
    def refuse(_: str) -> None:
        raise ValueError

    try:
        json.loads(body.decode("utf-8"), parse_constant=refuse)
    except ValueError:
        with pytest.raises(Problem):
            validate_input(accept=JSON, is_required=True, content_type=JSON, body=body)


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
