"""What howdah asks of a JSON document beyond its grammar, and what it says when one is refused.

A document may be nested 100 deep, and holds no NaN, no infinity and no half surrogate pair. The
checks cost next to nothing on documents that cannot break the rule (most of them), because they run
on the hot path of every handler. Nothing here keeps or prints a payload.
"""

from __future__ import annotations

import json
import re
from itertools import accumulate
from typing import Any

import msgspec

DEPTH_MAX = 100
"""How deep arrays and objects may be nested in a document. The parsers have limits of their own,
each another one: with ours, what one of them wrote every other can read."""

_LENGTH_MIN_TO_BE_DEEP = 2 * (DEPTH_MAX + 1)
_CHUNK_BYTES = 65536

# Keeps brackets and quotes and deletes the rest; then an opening counts 1 and a closing -1.
_NOT_STRUCTURE = bytes(set(range(256)) - set(b'[]{}"'))
_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")

_HALF_SURROGATE_PAIR = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])"
    rb"|(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F][0-9a-fA-F]{2}"
)
_PYDANTIC_INPUT = re.compile(r" \[input_value=.*", re.DOTALL)
_MSGSPEC_INPUT = re.compile(r"(nvalid (?:enum )?value) (?:'.*'|\".*\"|-?\d+)", re.DOTALL)
_PYDANTIC_UNEXPECTED = re.compile(r"UnexpectedValue\(Expected (.+?) - serialized value")
_PYDANTIC_ERRORS_SHOWN_MAX = 3

TOO_DEEP = f"it is nested deeper than {DEPTH_MAX} levels"
HALF_PAIR = "it holds half of a surrogate pair, which is not a character"
NOT_A_NUMBER = "it holds NaN or an infinity, which JSON has no word for"


def is_too_deep(document: bytes) -> bool:
    """Say whether arrays and objects are nested more than `DEPTH_MAX` deep.

    Looks closer only at documents that are long enough and open enough brackets. What it says of
    bytes that are not JSON does not matter: the parser refuses those.
    """
    if len(document) < _LENGTH_MIN_TO_BE_DEEP:
        return False
    if document.count(b"[") + document.count(b"{") <= DEPTH_MAX:
        return False
    return _has_depth_over(_structure_of(document), DEPTH_MAX)


def _structure_of(document: bytes) -> bytes:
    """Return the brackets of a document that stand outside of its strings, in their order."""
    if b"\\" in document:
        document = document.replace(b"\\\\", b"").replace(b'\\"', b"")
    # Strings without brackets are gone first, so that few are left to be split off.
    structure = document.translate(None, _NOT_STRUCTURE).replace(b'""', b"")
    return b"".join(structure.split(b'"')[::2])


def _has_depth_over(structure: bytes, depth_max: int) -> bool:
    depth = 0
    steps = memoryview(structure.translate(_STEPS)).cast("b")
    for start in range(0, len(steps), _CHUNK_BYTES):
        depths = list(accumulate(steps[start : start + _CHUNK_BYTES], initial=depth))
        if max(depths) > depth_max:
            return True
        depth = depths[-1]
    return False


def holds_constants(document: bytes) -> bool:
    """Say whether a document uses NaN or Infinity as a value; some parsers accept that."""
    if b"NaN" not in document and b"Infinity" not in document:
        return False
    try:
        msgspec.json.decode(document, type=msgspec.Raw)
    except msgspec.DecodeError:
        return True
    return False


def holds_not_a_number(builtins: object) -> bool:
    """Say whether a value made of dicts, lists and scalars holds NaN or an infinity."""
    try:
        json.dumps(builtins, allow_nan=False)
    except ValueError:
        return True
    return False


def why_unreadable(document: bytes, error: Exception) -> str:
    """Say in words why a parser refused a document: what was expected, and where."""
    if isinstance(error, RecursionError):
        return TOO_DEEP
    if isinstance(error, UnicodeDecodeError):
        return "its bytes are not UTF-8"
    if isinstance(error, msgspec.ValidationError):
        said = _MSGSPEC_INPUT.sub(r"\1", str(error))
        return _lower_first(said).replace(" - at ", " at ")
    details = getattr(error, "errors", None)
    if callable(details):
        return _said_by_pydantic(details)
    if _HALF_SURROGATE_PAIR.search(document):
        return HALF_PAIR
    said = str(error).removeprefix("JSON is malformed: ")
    return f"its bytes are not JSON: {_lower_first(said)}"


def why_unwritable(error: Exception) -> str:
    """Say in words why a value could not be written as a document."""
    if isinstance(error, RecursionError):
        return TOO_DEEP
    if isinstance(error, UnicodeEncodeError):
        return HALF_PAIR
    text = str(error) or type(error).__name__
    unexpected = _PYDANTIC_UNEXPECTED.search(text)
    if unexpected is not None:
        return f"expected {unexpected[1]}"
    return _lower_first(_PYDANTIC_INPUT.sub("", text.splitlines()[-1]).strip().rstrip("."))


def _said_by_pydantic(details: Any) -> str:
    problems = details(include_url=False, include_context=False, include_input=False)
    if problems[0]["type"] == "json_invalid":
        return f"its bytes are not JSON: {problems[0]['msg'].removeprefix('Invalid JSON: ')}"
    shown = [
        f"{_lower_first(problem['msg'])} at `{_path(problem['loc'])}`"
        for problem in problems[:_PYDANTIC_ERRORS_SHOWN_MAX]
    ]
    more = len(problems) - len(shown)
    return "; ".join(shown) + (f"; and {more} more" if more else "")


def _path(location: tuple[int | str, ...]) -> str:
    return "$" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)


def _lower_first(text: str) -> str:
    return text if text.startswith("JSON") else text[:1].lower() + text[1:]
