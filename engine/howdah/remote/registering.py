"""Registers remote deployments: asks an endpoint what it serves, and writes that down.

The database decides what may be: whether an address is taken, and whether a service may change as it
would. Nothing is kept of what is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import asyncpg
import msgspec

from howdah.errors import RegistryBusy
from howdah.ids import new_deployment_id
from howdah.options import Options
from howdah.remote.connecting import Connector
from howdah.remote.describing import describe_discovered
from howdah.remote.discovery import Discovered, DiscoveryError, discover
from howdah.remote.guard import read_uri
from howdah.store.database import Database

FIND: Final = """
select d.name from howdah_core.deployment d
 where d.kind = 'remote' and d.removed_at is null
   and howdah_core.place_of(d.uri) = howdah_core.place_of($1)
"""
LOAD: Final = """
select d.uri, d.headers, d.metadata, d.use_http_11, d.min_protocol_version, d.max_protocol_version,
       (select coalesce(jsonb_agg(s.described), '[]')
          from howdah_core.deployment_service s
         where s.deployment = d.no and s.removed_at is null) as services
  from howdah_core.deployment d
 where d.kind = 'remote' and d.removed_at is null and d.name = $1
"""
REGISTER: Final = """
select id, is_new, revisions
  from howdah_core.register_remote($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
"""
CHANGE: Final = "select howdah_core.change_remote($1, $2, $3)"
REMOVE: Final = "select howdah_core.remove_remote($1)"


class RegistrationConflict(DiscoveryError):
    """What the endpoint serves does not go with what is registered already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """What is to be registered.

    Attributes:
        uri: Where it is.
        headers: Sent with each request.
        metadata: Facts for people, by name.
        use_http_11: Whether it speaks HTTP/1.1 only.
        is_breaking: Services may lose handlers, or change their kind once nothing of them is under
            way.
        overwrites: If there is a deployment at this address, it is asked anew, and may break too.
        is_dry_run: Everything is checked, and nothing kept.
    """

    uri: str
    headers: Mapping[str, str] | None = None
    metadata: Mapping[str, str] | None = None
    use_http_11: bool = False
    is_breaking: bool = False
    overwrites: bool = False
    is_dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Registered:
    """What came of it.

    Attributes:
        id: The deployment.
        is_new: Whether there was none at the address.
        found: What it said; None: it was there already and was not asked.
        services: As they are registered, see `howdah.service.describe`.
        revisions: Of the services, by name.
    """

    id: str
    is_new: bool
    found: Discovered | None = None
    services: Sequence[dict[str, Any]] = ()
    revisions: Mapping[str, int] | None = None


class Registrar:
    """Registers, changes and removes remote deployments.

    Args:
        database: Open.
        connector: Makes the endpoints that are asked.
        options: Where retentions come from that a manifest does not give.
    """

    def __init__(self, database: Database, connector: Connector, options: Options) -> None:
        self._database = database
        self._connector = connector
        self._options = options

    async def register(self, wanted: Registration) -> Registered:
        """Register a deployment.

        Raises:
            EndpointRefused: its URI or a header cannot be used. HD1011.
            DiscoveryError: it cannot be driven.
            RegistrationConflict: META0006: a service would lose handlers or change its kind.
            RegistryBusy: another registration is under way.
            StoreUnavailable: the database is away; it may have been registered.
        """
        uri = canonical(wanted.uri)
        existing = await self._at(uri)
        if existing is not None and not wanted.overwrites:
            return Registered(existing, False)
        found = await self._discover(uri, wanted.headers, use_http_11=wanted.use_http_11)
        try:
            return await self._put(existing, uri, wanted, found)
        except _Moved:
            # Somebody else was quicker: what is there now is what was asked for.
            return await self.register(wanted)

    async def change(
        self,
        id_: str,
        *,
        uri: str | None,
        headers: Mapping[str, str] | None,
        use_http_11: bool | None,
        overwrites: bool,
        is_dry_run: bool,
    ) -> bool:
        """Change where a deployment is, or what is sent along; what is None stays as it is.

        With another URI, or to overwrite, it is asked anew what it serves. Its invocations go on at
        the new place.

        Returns:
            Whether there is such a deployment.

        Raises:
            EndpointRefused, DiscoveryError, RegistryBusy, StoreUnavailable: as `register`.
            RegistrationConflict: META0004: another deployment has this address; META0016: not to
                overwrite, and it serves something else than before.
        """
        rows = await self._database.fetch(LOAD, id_)
        if not rows:
            return False
        known = rows[0]
        if headers is None:
            headers = _decoded(known["headers"])
        if use_http_11 is None:
            use_http_11 = known["use_http_11"]
        if uri is None and not overwrites:
            self._connector.connect(known["uri"], headers, use_http_11=use_http_11)
            if is_dry_run:
                return True
            try:
                rows = await self._database.fetch(CHANGE, id_, _encoded(headers), use_http_11)
            except asyncpg.PostgresError as error:
                raise _translated(error) from error
            return bool(rows[0][0])
        uri = known["uri"] if uri is None else canonical(uri)
        assert uri is not None
        found = await self._discover(uri, headers, use_http_11=use_http_11)
        if not overwrites:
            _check_similar(known, found, describe_discovered(found, self._options))
        wanted = Registration(
            uri=uri,
            headers=headers,
            metadata=_decoded(known["metadata"]),
            use_http_11=use_http_11,
            is_breaking=overwrites,
            is_dry_run=is_dry_run,
        )
        try:
            await self._put(id_, uri, wanted, found)
        except _Moved as moved:
            other = await self._at(uri)
            if other is None or other == id_:
                return False
            raise RegistrationConflict(
                "META0004", f"Deployment {other} is at {uri}: two cannot have one address."
            ) from moved
        return True

    async def remove(self, id_: str) -> bool:
        """Take a deployment out of service; False: there is none.

        Raises:
            RegistrationConflict: META0006: a service would have to change its kind, and has
                invocations under way.
            RegistryBusy, StoreUnavailable: the database is away; it may have been removed.
        """
        try:
            return bool((await self._database.fetch(REMOVE, id_))[0][0])
        except asyncpg.PostgresError as error:
            raise _translated(error) from error

    async def _at(self, uri: str) -> str | None:
        rows = await self._database.fetch(FIND, uri)
        return rows[0]["name"] if rows else None

    async def _discover(
        self, uri: str, headers: Mapping[str, str] | None, *, use_http_11: bool
    ) -> Discovered:
        endpoint = self._connector.connect(uri, headers, use_http_11=use_http_11)
        try:
            return await discover(endpoint, newest=self._options.remote_protocol_max)
        finally:
            endpoint.close()

    async def _put(
        self, existing: str | None, uri: str, wanted: Registration, found: Discovered
    ) -> Registered:
        services = describe_discovered(found, self._options)
        manifest = found.manifest
        try:
            rows = await self._database.fetch(
                REGISTER,
                new_deployment_id(),
                existing,
                uri,
                _encoded(wanted.headers),
                _encoded(wanted.metadata),
                manifest.protocol_mode,
                found.http_version,
                wanted.use_http_11,
                manifest.min_protocol_version,
                manifest.max_protocol_version,
                found.sdk_version,
                msgspec.json.encode(services).decode(),
                wanted.is_breaking or wanted.overwrites,
                wanted.is_dry_run,
            )
        except asyncpg.PostgresError as error:
            raise _translated(error) from error
        row = rows[0]
        revisions = msgspec.json.decode(row["revisions"])
        return Registered(row["id"], row["is_new"], found, services, revisions)


class _Moved(Exception):
    """Another registration changed what this one started from."""


def canonical(uri: str) -> str:
    """A URI in the form in which it is stored: lower-case host, a path that is not empty.

    Raises:
        EndpointRefused: it is no URI of an endpoint. HD1011.
    """
    target = read_uri(uri)
    query = f"?{target.query}" if target.query else ""
    return f"{target.scheme}://{target.authority}{target.path or '/'}{query}"


def _check_similar(known: Any, found: Discovered, services: Sequence[Mapping[str, Any]]) -> None:
    versions = (found.manifest.min_protocol_version, found.manifest.max_protocol_version)
    before = (known["min_protocol_version"], known["max_protocol_version"])
    if versions != before:
        raise RegistrationConflict(
            "META0016",
            f"The endpoint speaks versions {versions[0]} to {versions[1]} of the service protocol, and"
            f" the deployment {before[0]} to {before[1]}. Register it as a new one, or overwrite.",
        )
    wanted = {_shape(service) for service in msgspec.json.decode(known["services"]) if service}
    got = {_shape(service) for service in services}
    if wanted != got:
        names = ", ".join(sorted({shape[0] for shape in wanted ^ got}))
        raise RegistrationConflict(
            "META0016",
            f"What the endpoint serves differs from the deployment in {names}. Register it as a new"
            " one, or overwrite.",
        )


def _shape(service: Mapping[str, Any]) -> tuple[str, str, frozenset[tuple[str, str]]]:
    handlers = frozenset((handler["name"], handler["kind"]) for handler in service["handlers"])
    return service["name"], service["kind"], handlers


def _translated(error: asyncpg.PostgresError) -> Exception:
    if error.sqlstate in ("WD011", "WD014"):
        hint = (error.hint or "").replace("start with --breaking", "register with `breaking`")
        said = str(error.args[0]) if error.args else "it does not go"
        return RegistrationConflict("META0006", f"{said[:1].upper()}{said[1:]}. {hint}".strip())
    if isinstance(error, asyncpg.LockNotAvailableError):
        return RegistryBusy()
    return _Moved() if error.sqlstate in ("WD020", "WD021") else error


def _encoded(facts: Mapping[str, str] | None) -> str | None:
    return None if facts is None else msgspec.json.encode(dict(facts)).decode()


def _decoded(text: str | None) -> dict[str, str] | None:
    return msgspec.json.decode(text) if text else None
