"""Editing the state of a key: through the object's own queue, by a handler that nobody else sees.

So an edit never meets a running handler, and it is in the history of the key like any other call.
"""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from howdah.service import SET_STATE
from howdah.worker.engine import Engine, Submission
from howdah.worker.patching import StatePatch
from howdah_api.admin.replies import Refusal, checked_text, invalid, read_json


class NewState(msgspec.Struct):
    """`{"object_key", "new_state": {name: [byte, ...]}, "version"?}`."""

    object_key: str
    new_state: dict[str, list[int]]
    version: str | None = None
    scope: str | None = None


class State:
    """`/services/{service}/state`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def replace(self, request: Request) -> Response:
        """202: the whole state of the key is replaced, in the key's turn.

        With a `version` that the state does not have then, nothing happens.
        """
        name = request.path_params["service"]
        service = self._engine.registry.service(name)
        if service is None:
            await self._engine.registry.refresh()
            service = self._engine.registry.service(name)
        if service is None:
            raise Refusal(404, f"The requested service '{name}' does not exist")
        if service.kind == "service":
            raise Refusal(400, "Cannot modify state for service type Service")
        handler = service.handlers.get(SET_STATE)
        if handler is None:
            raise Refusal(
                409,
                f"The service '{name}' is served by an older release, which cannot modify state."
                " Start a worker of this one",
            )
        bytes_max = self._engine.options.body_bytes_max
        given = await read_json(request, NewState, bytes_max=bytes_max)
        if given.scope is not None:
            raise invalid("scope", "keys have no scopes here")
        key = checked_text("object_key", given.object_key)
        state = {
            checked_text("new_state", name): _read_bytes(value)
            for name, value in given.new_state.items()
        }
        patch = StatePatch(state=state, version=given.version)
        await self._engine.accept(
            Submission(
                handler=handler, key=key, body=msgspec.json.encode(patch), headers=[], wait=False
            )
        )
        return Response(status_code=202)


def _read_bytes(value: list[int]) -> bytes:
    try:
        return bytes(value)
    except ValueError:
        raise invalid("new_state", "a value is an array of numbers from 0 to 255") from None
