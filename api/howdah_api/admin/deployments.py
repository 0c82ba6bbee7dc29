"""Deployments: the versions of the code that workers serve, and endpoints that serve elsewhere.

Local ones come and go with their workers. Remote ones are registered here: the endpoint is asked what
it serves, and from then on every worker drives what is called there.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import quote

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from howdah.errors import EndpointRefused, RegistryBusy
from howdah.ids import restate_deployment_id
from howdah.remote.connecting import Connector
from howdah.remote.discovery import DiscoveryError
from howdah.remote.registering import Registrar, Registration, RegistrationConflict
from howdah.store.catalog import (
    Deployment,
    Service,
    read_deployments,
    read_versions,
    service_of,
)
from howdah.worker.engine import Engine
from howdah_api.admin.metadata import describe_service
from howdah_api.admin.replies import Refusal, busy, invalid, json, read_json
from howdah_api.admin.versions import NEWEST, VERSION
from howdah_api.times import timestamp

_BODY_BYTES_MAX: Final = 256 * 1024
_TYPES: Final = {"BIDI_STREAM": "BidiStream", "REQUEST_RESPONSE": "RequestResponse"}
_LOCAL_PROTOCOL: Final = 7
"""What is said of versions that workers serve: their handlers can do all that the protocol has."""
_FORCING_VERSION: Final = 2
"""Up to this version of the interface an address that is taken is overwritten unless told not to."""

Texts = dict[str, str] | None


class NewDeployment(msgspec.Struct):
    """What is to be registered; `arn` and `auth` belong to what is not driven here."""

    uri: str | None = None
    additional_headers: Texts = None
    metadata: Texts = None
    use_http_11: bool = False
    breaking: bool = False
    force: bool | None = None
    dry_run: bool = False
    arn: str | None = None
    auth: Any = None


class ChangedDeployment(msgspec.Struct):
    """What is to be changed; what is absent stays."""

    uri: str | None = None
    additional_headers: Texts = None
    use_http_11: bool | None = None
    overwrite: bool = False
    dry_run: bool = False
    arn: str | None = None


class Deployments:
    """`/deployments`."""

    def __init__(self, engine: Engine, connector: Connector) -> None:
        self._engine = engine
        self._registrar = Registrar(engine.database, connector, engine.options)

    async def all(self, _: Request) -> Response:
        """`{"deployments": [...]}`, the oldest first."""
        found = await read_deployments(self._engine.database)
        return json(200, {"deployments": [_described(one, _named(one.revisions)) for one in found]})

    async def one(self, request: Request) -> Response:
        """One deployment, with all that is known of its services."""
        return json(200, await self._detailed(request.path_params["deployment"]))

    async def register(self, request: Request) -> Response:
        """Register an endpoint.

        201: it is new. 200: there was one at this address, which was left as it is, or was asked anew
        and overwritten where that was wanted (`force`).
        """
        given = await read_json(request, NewDeployment, bytes_max=_BODY_BYTES_MAX)
        uri = _endpoint_of(given)
        if given.auth is not None:
            raise invalid(
                "auth", "tokens are not fetched; requests are signed, and carry additional_headers"
            )
        if uri is None:
            raise Refusal(422, "The body is JSON of another shape: it has no `uri`")
        forces = request.scope.get(VERSION, NEWEST) <= _FORCING_VERSION
        wanted = Registration(
            uri=_absolute(uri),
            headers=given.additional_headers,
            metadata=given.metadata,
            use_http_11=given.use_http_11,
            is_breaking=given.breaking,
            overwrites=forces if given.force is None else given.force,
            is_dry_run=given.dry_run,
        )
        async with self._changing():
            done = await self._registrar.register(wanted)
        headers = {"location": f"deployments/{done.id}"}
        if done.found is None:
            if forces:
                raise Refusal(
                    409, f"Deployment {done.id} is at this address already", code="META0004"
                )
            return json(200, await self._summary(done.id), headers=headers)
        manifest, revisions = done.found.manifest, done.revisions or {}
        services = [
            service_of(one, done.id, revisions.get(one["name"], 1)) for one in done.services
        ]
        body = {
            "id": done.id,
            "services": [self._service(service) for service in services],
            "min_protocol_version": manifest.min_protocol_version,
            "max_protocol_version": manifest.max_protocol_version,
            "sdk_version": done.found.sdk_version,
        }
        return json(201 if done.is_new or forces else 200, _present(body), headers=headers)

    async def change(self, request: Request) -> Response:
        """Move a remote deployment to another address, or change what is sent along."""
        name = request.path_params["deployment"]
        given = await read_json(request, ChangedDeployment, bytes_max=_BODY_BYTES_MAX)
        uri = _endpoint_of(given)
        await self._require_remote(name)
        async with self._changing():
            is_there = await self._registrar.change(
                name,
                uri=None if uri is None else _absolute(uri),
                headers=given.additional_headers,
                use_http_11=given.use_http_11,
                overwrites=given.overwrite,
                is_dry_run=given.dry_run,
            )
        if not is_there:
            raise _unknown(name)
        return json(200, await self._detailed(name))

    async def put(self, request: Request) -> Response:
        """As `change`; in version 2 of the interface only."""
        if request.scope.get(VERSION, NEWEST) > _FORCING_VERSION:
            raise Refusal(405, f"{request.url.path} does not take PUT", headers={"allow": "PATCH"})
        return await self.change(request)

    async def remove(self, request: Request) -> Response:
        """202: the deployment is out of service, whatever it has begun; only with `force=true`."""
        name = request.path_params["deployment"]
        if request.query_params.get("force", "").lower() != "true":
            return Response(status_code=501)
        await self._require_remote(name)
        async with self._changing():
            if not await self._registrar.remove(name):
                raise _unknown(name)
        return Response(status_code=202)

    @asynccontextmanager
    async def _changing(self) -> AsyncIterator[None]:
        """Answers for what registering raises; what was done holds in this process at once."""
        try:
            yield
        except EndpointRefused as error:
            raise invalid("uri", error.message) from error
        except RegistrationConflict as error:
            raise Refusal(409, str(error), code=error.code) from error
        except DiscoveryError as error:
            raise Refusal(500, str(error), code=error.code) from error
        except RegistryBusy as error:
            raise busy(error.message) from error
        await self._engine.reload_registry()

    async def _require_remote(self, name: str) -> None:
        deployment = await self._find(name)
        if deployment.uri is None:
            raise Refusal(
                400,
                f"The deployment '{name}' is served by howdah's own workers: it comes and goes with"
                " them",
            )

    async def _find(self, name: str) -> Deployment:
        for deployment in await read_deployments(self._engine.database):
            if name in (deployment.name, restate_deployment_id(deployment.name)):
                return deployment
        raise _unknown(name)

    async def _detailed(self, name: str) -> dict[str, Any]:
        deployment = await self._find(name)
        return _described(deployment, await self._services(deployment.name))

    async def _summary(self, name: str) -> dict[str, Any]:
        deployment = await self._find(name)
        body = {
            "id": name,
            "services": await self._services(name),
            "min_protocol_version": deployment.min_protocol_version,
            "max_protocol_version": deployment.max_protocol_version,
            "sdk_version": deployment.sdk_version,
        }
        return _present(body)

    async def _services(self, name: str) -> list[dict[str, Any]]:
        return [
            self._service(version)
            if isinstance(version, Service)
            else {"name": version[0], "revision": version[1]}
            for version in await read_versions(self._engine.database, name)
        ]

    def _service(self, service: Service) -> dict[str, Any]:
        return describe_service(service, self._engine.options)


def _endpoint_of(given: NewDeployment | ChangedDeployment) -> str | None:
    if given.arn is not None:
        raise invalid("arn", "functions of AWS Lambda are not driven, only endpoints with a uri")
    for field in ("additional_headers", "metadata"):
        texts: Texts = getattr(given, field, None)
        if texts and any("\0" in text for pair in texts.items() for text in pair):
            raise invalid(field, "a text holds a NUL character")
    return given.uri


def _absolute(uri: str) -> str:
    if "://" not in uri:
        raise invalid(
            "uri",
            f"The provided uri {uri[:200]} is not absolute, only absolute URIs can be used.",
        )
    return uri


def _unknown(name: str) -> Refusal:
    return Refusal(404, f"The requested deployment '{name}' does not exist")


def _named(revisions: Any) -> list[dict[str, Any]]:
    return [{"name": name, "revision": revisions[name]} for name in sorted(revisions)]


def _described(deployment: Deployment, services: Sequence[dict[str, Any]]) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "id": restate_deployment_id(deployment.name),
        "type": deployment.kind,
    }
    if deployment.uri is not None:
        facts |= {
            "uri": deployment.uri,
            "protocol_type": _TYPES.get(deployment.protocol_type or ""),
            "http_version": deployment.http_version,
            "additional_headers": deployment.headers or None,
            "metadata": deployment.metadata or None,
            "min_protocol_version": deployment.min_protocol_version,
            "max_protocol_version": deployment.max_protocol_version,
            "sdk_version": deployment.sdk_version,
        }
    else:
        facts |= {
            "name": deployment.name,
            "uri": f"howdah://workers/{quote(deployment.name, safe='')}",
            "protocol_type": _TYPES["BIDI_STREAM"],
            "http_version": "HTTP/2.0",
            "min_protocol_version": _LOCAL_PROTOCOL,
            "max_protocol_version": _LOCAL_PROTOCOL,
        }
    facts |= {
        "created_at": timestamp(deployment.created_at),
        "services": services,
        "latest_of": deployment.latest_of,
        "workers": deployment.workers,
        "in_flight": deployment.in_flight,
    }
    return _present(facts)


def _present(facts: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in facts.items() if value is not None}
