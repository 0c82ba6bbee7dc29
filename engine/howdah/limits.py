"""Scopes and limit keys: under what an invocation is counted where concurrency is limited.

A scope is one name; a limit key is one or two names within it. Rules say how many invocations of a
scope, or of a limit key, may run at once (sql/functions/62_claim_limited.sql).
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

NAME_WORDS: Final = "1 to 36 of the characters a-z, A-Z, 0-9, _, . and -"
_NAME: Final = r"[a-zA-Z0-9_.-]{1,36}"
_SCOPE: Final = re.compile(_NAME)
_LIMIT_KEY: Final = re.compile(f"{_NAME}(?:/{_NAME})?")

SCOPE_BOUND: Final = NAME_WORDS
LIMIT_KEY_BOUND: Final = f"one name, or two with / between them, each of {NAME_WORDS}"


_A_KIND: Final = {"object": "an object", "workflow": "a workflow"}


def is_scope(text: str) -> bool:
    """Whether this is the name of a scope."""
    return _SCOPE.fullmatch(text) is not None


def is_limit_key(text: str) -> bool:
    """Whether this is a limit key."""
    return _LIMIT_KEY.fullmatch(text) is not None


def why_no_place(scope: str | None, limit_key: str | None, service_kind: str) -> str | None:
    """Why a call of such a service has no such place; None: it has."""
    if scope is None:
        return None if limit_key is None else "a limit key needs a scope"
    if service_kind != "service":
        return f"the target is {_A_KIND[service_kind]}, and only services have scopes"
    if not is_scope(scope):
        return f"the scope is not {SCOPE_BOUND}"
    if limit_key is not None and not is_limit_key(limit_key):
        return f"the limit key is not {LIMIT_KEY_BOUND}"
    return None


class NoPlace(ValueError):
    """A call has no such place; the text says why."""


class Place(NamedTuple):
    """Where a call is counted: nowhere without a scope."""

    scope: str | None
    limit_key: str | None


NOWHERE: Final = Place(None, None)
