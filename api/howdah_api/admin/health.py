"""Whether this process is healthy, and which version it is."""

from __future__ import annotations

from importlib.metadata import version

from starlette.requests import Request
from starlette.responses import Response

from howdah.worker.engine import Engine
from howdah_api.admin.replies import json, unavailable
from howdah_api.admin.versions import NEWEST, OLDEST


class Health:
    """`/health` and `/version`."""

    def __init__(self, engine: Engine, ingress_url: str) -> None:
        self._engine = engine
        self._version = {
            "version": version("howdah"),
            "min_admin_api_version": OLDEST,
            "max_admin_api_version": NEWEST,
            "ingress_endpoint": ingress_url,
            "features": {"vqueues": True, "protocol_v7": engine.options.remote_protocol_max >= 7},
        }

    async def health(self, _: Request) -> Response:
        """200 with nothing, or 503."""
        if self._engine.is_ready:
            return Response(status_code=200)
        return unavailable("The database cannot be reached, or this process is stopping")

    async def version(self, _: Request) -> Response:
        """What this is, and which versions of this interface it serves (`versions.py`)."""
        return json(200, self._version)
