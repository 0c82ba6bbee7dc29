"""Versions of the admin interface: the same paths below `/v2`, `/v3` and `/v4`, and without any.

They differ in what registering does to an address that is taken, and little else.
"""

from __future__ import annotations

from typing import Final

from starlette.types import Scope

VERSION: Final = "howdah.admin_version"
"""Where the scope of a request has the version that was asked for."""
NEWEST: Final = 4
_PREFIXES: Final = {"v1": 1, "v2": 2, "v3": 3, "v4": 4}
OLDEST: Final = 2


def without_version(scope: Scope) -> Scope:
    """The scope with the version taken off its path; without one it is the newest."""
    head, slash, rest = scope["path"].removeprefix("/").partition("/")
    version = _PREFIXES.get(head)
    if version is None or not slash:
        return scope
    return {**scope, "path": f"/{rest}", VERSION: version}
