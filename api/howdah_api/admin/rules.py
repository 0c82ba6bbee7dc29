"""Rules of how many invocations of a scope, or of a limit key in it, may run at once."""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from howdah.errors import RulesRefused
from howdah.store import limits
from howdah.store.limits import LimitRule
from howdah.worker.engine import Engine
from howdah_api.admin.replies import Refusal, checked_text, json, read_json

_STATUSES: Final = {limits.MALFORMED: 400, limits.UNEXPECTED: 409, limits.TOO_MANY: 422}


class Precondition(msgspec.Struct):
    """What must be true of the rule that is there: `{"type", "version"?}`."""

    type: Literal["none", "matches", "does_not_exist"] = "none"
    version: int | None = None


class Limits(msgspec.Struct):
    """`{"concurrency"?}`."""

    concurrency: int | None = None


class NewRule(msgspec.Struct):
    """`{"pattern", "limits", "description"?, "disabled"?, "precondition"?}`."""

    pattern: str
    limits: Limits
    description: str | None = None
    disabled: bool = False
    precondition: Precondition = msgspec.field(default_factory=Precondition)


class OldRule(msgspec.Struct):
    """`{"pattern", "expected_version"?}`."""

    pattern: str
    expected_version: int | None = None


class Rules:
    """`/limits/rules`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def set(self, request: Request) -> Response:
        """200 with the rules as they are now: all of them are set, or none."""
        given = await self._read(request, list[NewRule])
        rules = [
            {
                "pattern": checked_text("pattern", rule.pattern),
                "concurrency": rule.limits.concurrency,
                "description": rule.description and checked_text("description", rule.description),
                "is_disabled": rule.disabled,
                "precondition": rule.precondition.type,
                "expected_version": rule.precondition.version,
            }
            for rule in given
        ]
        try:
            stored = await limits.set_rules(self._engine.database, rules)
        except RulesRefused as error:
            raise _refusal(error) from error
        return json(200, [_shown(rule) for rule in stored])

    async def delete(self, request: Request) -> Response:
        """200 with the patterns that there were; with another version than expected none goes."""
        given = await self._read(request, list[OldRule])
        rules = [
            {
                "pattern": checked_text("pattern", rule.pattern),
                "expected_version": rule.expected_version,
            }
            for rule in given
        ]
        try:
            removed = await limits.delete_rules(self._engine.database, rules)
        except RulesRefused as error:
            raise _refusal(error) from error
        return json(200, removed)

    async def _read(self, request: Request, kind: Any) -> Any:
        return await read_json(request, kind, bytes_max=self._engine.options.body_bytes_max)


def _refusal(error: RulesRefused) -> Refusal:
    return Refusal(_STATUSES[error.sqlstate], f"{error.message} {error.hint or ''}".rstrip())


def _shown(rule: LimitRule) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "pattern": rule.pattern,
        "limits": {} if rule.concurrency is None else {"concurrency": rule.concurrency},
        "disabled": rule.is_disabled,
        "version": rule.version,
        "last_modified_millis_since_epoch": int(rule.modified_at.timestamp() * 1000),
    }
    if rule.description is not None:
        shown["description"] = rule.description
    return shown
