"""The versions of the code that workers serve, or served."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from howdah.store.catalog import Deployment, Service, read_deployments, read_services
from howdah.worker.engine import Engine
from howdah_api.admin.replies import Refusal, json
from howdah_api.admin.services import describe_service
from howdah_api.times import timestamp


class Deployments:
    """`/deployments`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def all(self, _: Request) -> Response:
        """`{"deployments": [...]}`, the oldest first."""
        services = await self._services()
        found = await read_deployments(self._engine.database)
        return json(200, {"deployments": [_described(one, services) for one in found]})

    async def one(self, request: Request) -> Response:
        """One deployment, with all that is known of the services whose current version it is."""
        name = request.path_params["deployment"]
        services = await self._services()
        for deployment in await read_deployments(self._engine.database):
            if deployment.name == name:
                return json(200, _described(deployment, services, is_detailed=True))
        raise Refusal(404, f"The requested deployment '{name}' does not exist")

    async def _services(self) -> dict[str, Service]:
        return {service.name: service for service in await read_services(self._engine.database)}


def _described(
    deployment: Deployment, services: dict[str, Service], *, is_detailed: bool = False
) -> dict[str, Any]:
    return {
        "id": deployment.name,
        "type": deployment.kind,
        "created_at": timestamp(deployment.created_at),
        "services": [
            _service(name, deployment, services.get(name), is_detailed=is_detailed)
            for name in deployment.services
        ],
        "latest_of": deployment.latest_of,
        "workers": deployment.workers,
        "in_flight": deployment.in_flight,
    }


def _service(
    name: str, deployment: Deployment, service: Service | None, *, is_detailed: bool
) -> dict[str, Any]:
    # What a service was like in an earlier version is not kept.
    if service is None or service.deployment != deployment.name:
        return {"name": name, "revision": None}
    return (
        describe_service(service) if is_detailed else {"name": name, "revision": service.revision}
    )
