"""Scopes and limit keys of a request: which are some, and which targets take them."""

from __future__ import annotations

from typing import Final

from howdah.limits import LIMIT_KEY_BOUND, SCOPE_BOUND, is_limit_key, is_scope
from howdah_api.ingress.delays import query_parameter
from howdah_api.ingress.heads import Head
from howdah_api.problems import Problem

_KINDS: Final = {"object": "Virtual Object", "workflow": "Workflow"}


def unscoped(service_kind: str) -> Problem:
    """Objects and workflows are called without a scope."""
    return Problem(400, f"scope is not supported for {_KINDS[service_kind]} targets")


def check_scope(scope: str, service_kind: str) -> None:
    """Refuse what is no scope, or a target that takes none.

    Raises:
        Problem: 400.
    """
    if service_kind != "service":
        raise unscoped(service_kind)
    if not is_scope(scope):
        raise Problem(400, f"bad scope value: '{scope}' is not {SCOPE_BOUND}")


def read_limit_key(head: Head, query_string: bytes, scope: str | None) -> str | None:
    """The limit key of a request: from its header, or else from its query string.

    Raises:
        Problem: 400, it is none, or there is no scope.
    """
    limit_key = head.limit_key
    if limit_key is None and query_string:
        limit_key = query_parameter(query_string, "limit-key")
    if limit_key is None:
        return None
    if scope is None:
        raise Problem(400, "limit-key requires a scope to be set")
    if not is_limit_key(limit_key):
        raise Problem(400, f"invalid limit-key: '{limit_key}' is not {LIMIT_KEY_BOUND}")
    return limit_key
