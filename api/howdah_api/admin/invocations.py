"""What operators do to one invocation: cancel, kill, pause, resume, purge, restart.

The statuses and sentences are part of the interface. PATCH takes no body.
"""

from __future__ import annotations

from typing import Final
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response

from howdah.errors import InvalidId
from howdah.ids import parse_id, restate_id
from howdah.worker.engine import Engine
from howdah_api.admin.replies import Refusal, busy, invalid, json

RESTART: Final = "restart-as-new"
OPERATIONS: Final = {
    "cancel": "cancel",
    "kill": "kill",
    "pause": "pause",
    "resume": "resume",
    "purge": "purge",
    "purge-journal": "purge_journal",
}
"""The engine's word for each word in a path, restarting excepted."""
MODES: Final = ("cancel", "kill", "purge")
ENTRY_MAX: Final = 2**31 - 1

# By verb and the engine's word: the status, and how the sentence ends.
_NOT_RUNNING = (409, "is not running, cannot be paused.")
_COMPLETED = (409, "was already completed.")
_NOT_COMPLETED = (409, "is not yet completed.")
_REFUSALS: Final[dict[tuple[str, str], tuple[int, str]]] = {
    ("cancel", "completed"): _COMPLETED,
    ("kill", "completed"): _COMPLETED,
    ("pause", "completed"): _NOT_RUNNING,
    ("pause", "not running"): _NOT_RUNNING,
    ("purge", "not completed"): _NOT_COMPLETED,
    ("purge-journal", "not completed"): _NOT_COMPLETED,
    ("resume", "completed"): (409, "is completed, cannot be resumed."),
    ("resume", "not started"): (425, "is either inboxed or scheduled, cannot be resumed."),
    ("resume", "still running"): (
        409,
        "is still running or the deployment id is not pinned yet, deployment id cannot be changed.",
    ),
    (RESTART, "not started"): (425, "is either inboxed or scheduled, cannot be restarted."),
    (RESTART, "still running"): (409, "is still running."),
    (RESTART, "gone"): (410, "has no journal any more, cannot be restarted."),
    (RESTART, "unsupported"): (
        422,
        "cannot be restarted: the run of a workflow happens once for its key, and an exclusive"
        " handler is restarted on the latest deployment only.",
    ),
}


class Invocations:
    """`/invocations/{invocation_id}` and what follows it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def patch(self, request: Request) -> Response:
        """One operation: 202 when an attempt has still to notice, else 200."""
        verb = request.path_params["verb"]
        if verb != RESTART and verb not in OPERATIONS:
            raise Refusal(404, f"There is nothing at {request.scope['path']}")
        id_text = request.path_params["invocation_id"]
        deployment = request.query_params.get("deployment")
        if verb == RESTART:
            from_entry = _read_entry(request.query_params.get("from"))
            new_id = await self.restart(id_text, from_entry, deployment)
            return json(200, {"new_invocation_id": new_id})
        word = await self.operate(verb, id_text, deployment)
        return Response(status_code=202 if word == "accepted" else 200)

    async def delete(self, request: Request) -> Response:
        """Cancel, kill or purge by `?mode=`: 202 whatever comes of it."""
        mode = request.query_params.get("mode", "cancel").lower()
        if mode not in MODES:
            raise invalid("mode", f"expected {', '.join(MODES[:-1])} or {MODES[-1]}")
        await self._engine.operate(mode, read_id(request.path_params["invocation_id"]))
        return Response(status_code=202)

    async def operate(self, verb: str, id_text: str, deployment: str | None) -> str:
        """Do one operation on the invocation with this id; returns `done` or `accepted`.

        Raises:
            Refusal: it cannot be done, and why.
            StoreUnavailable: the database is away.
        """
        if verb != "resume":
            deployment = None
        _check_deployment(deployment)
        word = await self._engine.operate(OPERATIONS[verb], read_id(id_text), deployment)
        if word not in ("done", "accepted"):
            raise _refusal(verb, word, id_text, deployment)
        return word

    async def restart(
        self, id_text: str, from_entry: int = 0, deployment: str | None = None
    ) -> str:
        """Restart as new; returns the new invocation's id, in the form of the one that is given.

        Raises as `operate`.
        """
        _check_deployment(deployment)
        invocation_id = read_id(id_text)
        word, new_id = await self._engine.restart_as_new(invocation_id, from_entry, deployment)
        if new_id is None:
            raise _refusal(RESTART, word, id_text, deployment)
        return restate_id(new_id) if id_text == restate_id(invocation_id) else str(new_id)


def read_id(text: str) -> UUID:
    """Read an invocation's id, a UUID or `inv_1…`.

    Raises:
        Refusal: 400 it is neither.
    """
    try:
        return parse_id(text)
    except InvalidId:
        raise invalid("invocation_id", "bad format") from None


def _read_entry(text: str | None) -> int:
    if text is None:
        return 0
    if not (text.isascii() and text.isdigit()) or int(text) > ENTRY_MAX:
        raise invalid("from", "expected the index of a journal entry")
    return int(text)


def _check_deployment(name: str | None) -> None:
    if name is not None and (not name or "\0" in name):
        raise invalid("deployment", "expected keep, latest or the name of a deployment")


def _refusal(verb: str, word: str, invocation_id: str, deployment: str | None) -> Refusal:
    known = _REFUSALS.get((verb, word))
    if known is not None:
        return Refusal(known[0], f"The invocation '{invocation_id}' {known[1]}")
    if word == "unknown":
        return Refusal(404, f"The requested invocation '{invocation_id}' does not exist")
    if word == "unknown deployment":
        # `keep` names what executed the invocation, which may be nothing.
        what = "that executed it" if deployment == "keep" else f"'{deployment}'"
        return Refusal(
            404,
            f"The requested deployment {what} does not exist,"
            f" or does not have the service of the invocation '{invocation_id}'",
        )
    if word == "out of range":
        return invalid("from", "there is no such journal entry, or it is the output")
    if word == "incomplete":
        return invalid("from", "a command up to that journal entry has no result yet")
    return busy(f"The invocation '{invocation_id}' is locked or moves. Try again")
