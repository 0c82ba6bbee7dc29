"""One operation for many invocations, each in a transaction of its own.

What fails for one does not touch the others: the answer names both. A client that leaves does not
stop the batch.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from howdah.errors import StoreUnavailable
from howdah_api.admin.invocations import OPERATIONS, RESTART, Invocations
from howdah_api.admin.replies import Refusal, json, read_json

IDS_MAX: Final = 1000
BODY_BYTES_MAX: Final = 256 * 1024
PARALLEL: Final = 2
"""Operations at a time: half of the process's connections stay free for everything else."""

Failed = dict[str, str]


class Batch(msgspec.Struct):
    """`{"invocation_ids": [...], "deployment"?}`."""

    invocation_ids: list[str]
    deployment: str | None = None


class Batches:
    """`/internal/invocations_batch_operations/{verb}`."""

    def __init__(self, invocations: Invocations) -> None:
        self._invocations = invocations

    async def post(self, request: Request) -> Response:
        """200 `{"succeeded", "failed": [{"invocation_id", "error"}]}`, in the order of the ids.

        `succeeded` has ids, and for restarts `{"old_invocation_id", "new_invocation_id"}`. An id
        that is given twice counts once.
        """
        verb = request.path_params["verb"]
        if verb != RESTART and verb not in OPERATIONS:
            raise Refusal(404, f"There is nothing at {request.scope['path']}")
        batch = await read_json(request, Batch, bytes_max=BODY_BYTES_MAX)
        count = len(batch.invocation_ids)
        if count > IDS_MAX:
            raise Refusal(400, f"Batch size {count} exceeds maximum allowed size of {IDS_MAX}")
        texts = list(dict.fromkeys(batch.invocation_ids))
        succeeded: dict[str, Any] = {}
        failed: dict[str, Failed] = {}
        remaining = iter(texts)

        async def work(texts: Iterator[str]) -> None:
            for text in texts:
                try:
                    succeeded[text] = await self._one(verb, text, batch.deployment)
                except Refusal as refusal:
                    failed[text] = {"invocation_id": text, "error": refusal.message}
                except StoreUnavailable:
                    said = "The database cannot be reached; it may have been done or not. Try again"
                    failed[text] = {"invocation_id": text, "error": said}

        await asyncio.gather(*(work(remaining) for _ in range(PARALLEL)))
        return json(
            200,
            {
                "succeeded": [succeeded[text] for text in texts if text in succeeded],
                "failed": [failed[text] for text in texts if text in failed],
            },
        )

    async def _one(self, verb: str, id_text: str, deployment: str | None) -> Any:
        if verb != RESTART:
            await self._invocations.operate(verb, id_text, deployment)
            return id_text
        new_id = await self._invocations.restart(id_text, deployment=deployment)
        return {"old_invocation_id": id_text, "new_invocation_id": new_id}
