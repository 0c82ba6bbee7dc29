"""Whether a body and its content type fit what a handler takes. Pure.

A body for a handler that reads JSON must be JSON. Whether it is what the handler expects, a schema
included, is not looked at: the handler's serde reads the bytes and says what is wrong.
"""

from __future__ import annotations

import msgspec

from howdah.serde import JSON
from howdah_api.problems import Problem

# Goes through the whole text and builds nothing of it; strings may hold any bytes.
_skim_json = msgspec.json.Decoder(msgspec.Raw).decode


def validate_input(
    *, accept: str | None, is_required: bool, content_type: str | None, body: bytes
) -> None:
    """Check one request body against what its handler takes.

    Args:
        accept: Content type the handler reads, `*/*` and `type/*` included; None when it takes
            no input.
        is_required: False when the handler also runs without a body.
        content_type: The request's `content-type`, or None.
        body: The request's body, empty when it has none.

    Raises:
        Problem: 400, worded for the last rule that was tried.
    """
    if accept is None:
        if body or content_type is not None:
            raise _invalid(
                "Expected body and content-type to be empty,"
                f" but wasn't with content-type '{_debug(content_type)}'"
            )
        return
    if not body:
        if not is_required and content_type is None:
            return
        if is_required:
            raise _invalid("Empty body not allowed")
    if accept == "*/*":
        return
    if content_type is None:
        raise _invalid("Empty content-type")
    if not matches(content_type, accept):
        raise _invalid(f"Content-type '{content_type}' does not match '{accept}'")
    if body and (accept == JSON or _is_json(accept)):
        _check_json(body)


def matches(content_type: str, accept: str) -> bool:
    """Tell whether `content_type` is covered by `accept`.

    Parameters after `;` are ignored. Type and subtype are compared as written.
    """
    if content_type == accept:
        return True
    given = content_type.partition(";")[0].strip()
    wanted = accept.partition(";")[0].strip()
    if wanted in (given, "*/*"):
        return True
    kind, _, subtype = wanted.partition("/")
    return subtype == "*" and given.partition("/")[0] == kind


def _is_json(accept: str) -> bool:
    wanted = accept.partition(";")[0].strip().lower()
    return wanted == JSON or wanted.endswith("+json")


def _check_json(body: bytes) -> None:
    try:
        if not body.isascii():
            body.decode()
        _skim_json(body)
    except UnicodeDecodeError as error:
        raise _not_json(f"it is not UTF-8 (byte {error.start})") from None
    except RecursionError:
        raise _not_json("it is nested too deeply") from None
    except msgspec.DecodeError as error:
        said = str(error)
        if "truncated" in said:
            said = f"it ends too early (byte {len(body)})"
        raise _not_json(said.removeprefix("JSON is malformed: ")) from None


def _not_json(reason: str) -> Problem:
    return _invalid(f"the body is not valid JSON: {reason}")


def _debug(content_type: str | None) -> str:
    return "None" if content_type is None else f'Some("{content_type}")'


def _invalid(reason: str) -> Problem:
    return Problem(400, f"input validation error: {reason}")
