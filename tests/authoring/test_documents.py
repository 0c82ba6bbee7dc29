"""The depth of documents, against a plain count; and how little it costs."""

import json
from time import perf_counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from howdah import documents
from howdah.documents import DEPTH_MAX, is_too_deep

KEYS = st.text(alphabet='ab[]{}"\\é\n', max_size=6)
LEAVES = KEYS | st.integers() | st.none()
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner))
WRAPPED_IN = st.lists(st.sampled_from(["list", "dict"]), max_size=DEPTH_MAX + 5)


def depth_of(value: Any) -> int:
    if isinstance(value, list):
        return 1 + max(map(depth_of, value), default=0)
    if isinstance(value, dict):
        return 1 + max(map(depth_of, value.values()), default=0)
    return 0


@given(VALUES, WRAPPED_IN, KEYS)
def test_depth_is_counted_as_a_reader_would(value: Any, wrapped_in: list[str], key: str) -> None:
    for kind in wrapped_in:
        value = [key, value, key] if kind == "list" else {key: value}

    document = json.dumps(value, ensure_ascii=False).encode()

    assert is_too_deep(document) == (depth_of(value) > DEPTH_MAX)


@given(st.lists(st.sampled_from(list(b'[]{}"\\,:1 ')), max_size=600).map(bytes))
def test_any_bytes_are_judged_without_an_error(document: bytes) -> None:
    is_too_deep(document)


def test_many_siblings_are_not_depth() -> None:
    assert not is_too_deep(json.dumps([[{}] * 1000] * 1000).encode())


def test_a_large_document_is_judged_in_the_time_of_a_few_copies() -> None:
    flat = json.dumps([{"name": 'quoted "[{" text', "tags": ["a", "b"]}] * 20_000).encode()

    started = perf_counter()
    assert not is_too_deep(flat)
    seconds = perf_counter() - started

    assert seconds < 0.5, "1 MB took longer than any request should"


def test_constants_are_found_as_values_only() -> None:
    assert documents.holds_constants(b'{"a": NaN}')
    assert documents.holds_constants(b"[-Infinity]")
    assert not documents.holds_constants(b'{"NaN": "Infinity"}')
