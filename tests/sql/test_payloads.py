"""howdah.as_text and howdah.as_json: whatever the bytes are, a view shows them."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.histories import Database


async def _shown(db: Database, payload: bytes | None) -> tuple[str | None, Any]:
    row = await db.fetchrow("select howdah.as_text($1), howdah.as_json($1)::text", payload)
    assert row is not None
    return row[0], None if row[1] is None else json.loads(row[1])


@pytest.mark.parametrize(
    ("payload", "text", "value"),
    [
        (b"", "", None),
        (b'{"a": [1, null]}', '{"a": [1, null]}', {"a": [1, None]}),
        (b" \n\t\r[true]", " \n\t\r[true]", [True]),
        (b" " * 100 + b"7", " " * 100 + "7", 7),
        (b'"caf\xc3\xa9 \xf0\x9f\xab\x8f"', '"café 🫏"', "café 🫏"),
        (b"plain text", "plain text", None),
        (b"nope", "nope", None),
        (b"{", "{", None),
        (b"NaN", "NaN", None),
        (b"\xff\xfea\\", "\\377\\376a\\\\", None),
        (b"a\x00b", "a\\000b", None),
        (b'"a\x00b"', '"a\\000b"', None),
        (b'"\xed\xa0\x80"', '"\\355\\240\\200"', None),
        (b'"\\u0000"', '"\\u0000"', None),
        (b'"\\ud83e"', '"\\ud83e"', None),
        (b'"\\ud83e\\udecf"', '"\\ud83e\\udecf"', "🫏"),
        (b"1e400", "1e400", 10**400),
        (b"1e131071", "1e131071", None),
        (b"[1E-9999]", "[1E-9999]", None),
        (b"1e999999999999", "1e999999999999", None),
        (b'{"id": "3e9999", "\\"1e9999": 1}', '{"id": "3e9999", "\\"1e9999": 1}',
         {"id": "3e9999", '"1e9999': 1}),
        (b'{"a": 1, "a": 2}', '{"a": 1, "a": 2}', {"a": 2}),
    ],
)  # fmt: skip
async def test_bytes_are_shown_as_text_and_where_they_are_json_as_json(
    db: Database, payload: bytes, text: str, value: object
) -> None:
    assert await _shown(db, payload) == (text, value)


async def test_no_bytes_are_shown_as_null(db: Database) -> None:
    assert await _shown(db, None) == (None, None)


@pytest.mark.parametrize("depth", [20_000, 1_000_000])
async def test_json_that_is_too_deep_is_null(db: Database, depth: int) -> None:
    payload = b"[" * depth + b"]" * depth

    assert await db.fetchval("select howdah.as_json($1)::text", payload) is None
    assert await db.fetchval("select length(howdah.as_text($1))", payload) == 2 * depth


async def test_the_largest_payload_is_shown(db: Database) -> None:
    payload = b'"' + b"x" * (32 * 1024 * 1024 - 2) + b'"'

    row = await db.fetchrow(
        "select length(howdah.as_text($1)), jsonb_typeof(howdah.as_json($1))", payload
    )
    assert row is not None
    assert tuple(row) == (len(payload), "string")
    assert await db.fetchval("select length(howdah.as_text($1))", b"\xff" * 8_000_000) == 32_000_000


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    payload=st.one_of(
        st.binary(max_size=40),
        st.text(alphabet='[]{}",:0123456789eE.+-\\utrfnasl \x00\ud800é', max_size=40).map(
            lambda text: text.encode("utf-8", "surrogatepass")
        ),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
            max_leaves=20,
        ).map(lambda value: json.dumps(value).encode()),
    )
)
async def test_no_payload_makes_a_view_fail(db: Database, payload: bytes) -> None:
    text, value = await _shown(db, payload)

    assert text is not None
    if value is not None:
        assert text == payload.decode()
