"""Completing awakeables: the value or the failure that a handler waits for, from outside.

The id is all that a client needs to know. It says which invocation waits, not whether it still
does, so a well-formed id is accepted whatever becomes of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from howdah.errors import InvalidId
from howdah.ids import parse_awakeable_id
from howdah.machine.entries import Kind
from howdah.options import Options
from howdah.store.units import Mail
from howdah.worker.engine import Engine
from howdah_api.ingress.bodies import Intake
from howdah_api.problems import Problem, Reply, method_not_allowed

WORDS: Final = ("awakeables", "a")
VERBS: Final = ("resolve", "reject")
REASON_BYTES_MAX: Final = 64 * 1024
REJECTED: Final = 500
"""The code with which a rejected awakeable fails."""


class Awakeables:
    """Serves `/restate/awakeables/{id}/{resolve,reject}`."""

    def __init__(self, engine: Engine, options: Options) -> None:
        self._engine = engine
        self._bytes_max = options.body_bytes_max

    async def answer(self, segments: Sequence[str], *, method: str, intake: Intake) -> Reply:
        """Answer one request: 202, with nothing in it.

        Args:
            segments: The raw path, of four segments, the last one of `VERBS`.
            method: HTTP method, upper case.
            intake: The value as bytes of any type, or the reason as text.

        Raises:
            Problem: the request is refused; nothing was stored.
            StoreUnavailable: the database cannot be reached.

        Durability: the value is on disk when this returns, unless nobody can take it any more.
        """
        if method != "POST":
            raise method_not_allowed("POST")
        text, verb = segments[2:]
        try:
            invocation_id, number = parse_awakeable_id(text)
        except InvalidId as error:
            raise Problem(400, f"bad awakeable id '{text}': bad format") from error
        value = detail = None
        if verb == "resolve":
            value = await intake.read(self._bytes_max)
        else:
            reason = _read_reason(await intake.read(REASON_BYTES_MAX))
            detail = msgspec.json.encode({"code": REJECTED, "message": reason}).decode()
        # An awakeable's number is its signal's, negated: completions that it makes count upwards.
        mail = Mail(invocation_id, Kind.SIGNAL, -number, value, detail)
        await self._engine.deliver(mail)
        return Reply(202, [], b"")


def _read_reason(body: bytes) -> str:
    try:
        reason = body.decode()
    except UnicodeDecodeError as error:
        raise Problem(400, f"the reason is not UTF-8 (byte {error.start})") from error
    if "\0" in reason:
        raise Problem(400, "the reason holds a NUL character")
    return reason
