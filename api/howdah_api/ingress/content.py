"""Whether a body and its content type fit what a handler takes. Pure.

JSON schemas are not enforced here: the handler's serde reads the bytes and says what is wrong.
"""

from __future__ import annotations

from howdah_api.problems import Problem


def validate_input(
    *, accept: str | None, is_required: bool, content_type: str | None, is_empty: bool
) -> None:
    """Check one request body against what its handler takes.

    Args:
        accept: Content type the handler reads, `*/*` and `type/*` included; None when it takes
            no input.
        is_required: False when the handler also runs without a body.
        content_type: The request's `content-type`, or None.
        is_empty: True when the request has no body.

    Raises:
        Problem: 400, worded for the last rule that was tried.
    """
    if accept is None:
        if not is_empty or content_type is not None:
            raise _invalid(
                "Expected body and content-type to be empty,"
                f" but wasn't with content-type '{_debug(content_type)}'"
            )
        return
    if is_empty:
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


def _debug(content_type: str | None) -> str:
    return "None" if content_type is None else f'Some("{content_type}")'


def _invalid(reason: str) -> Problem:
    return Problem(400, f"input validation error: {reason}")
