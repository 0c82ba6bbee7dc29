"""The remote deployments that this process drives, as the database knows them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import msgspec

from howdah.errors import HowdahError, RemoteFailure
from howdah.handler import HandlerOptions
from howdah.remote.attempt import RemoteAttempt
from howdah.remote.exchange import Endpoint
from howdah.remote.manifest import Service
from howdah.retry import InvocationRetryPolicy, RetryPolicy
from howdah.worker.attempt import Attempt

if TYPE_CHECKING:
    from howdah.store.registry import HandlerRow
    from howdah.store.units import Record, Unit
    from howdah.worker.engine import Engine

logger = logging.getLogger(__name__)

LOAD: Final = "select * from howdah_core.load_remote_deployments()"

_read_services: Final = msgspec.json.Decoder(list[tuple[int, Service]]).decode


@dataclass(frozen=True, slots=True)
class RemoteHandler:
    """A handler of a remote deployment: what its manifest says of how it is executed."""

    options: HandlerOptions
    retry_policy: RetryPolicy


_UNKNOWN: Final = RemoteHandler(HandlerOptions(), InvocationRetryPolicy().resolve())


@dataclass(frozen=True, slots=True)
class Deployment:
    """One remote deployment.

    Attributes:
        name: The id that people use.
        endpoint: Where it is; None: it cannot be driven.
        problem: Why not.
        protocol_type: `BIDI_STREAM` or `REQUEST_RESPONSE`.
        min_protocol_version, max_protocol_version: What it speaks.
        handlers: By service number and handler name.
    """

    name: str
    endpoint: Endpoint | None = None
    problem: str = ""
    protocol_type: str = ""
    min_protocol_version: int = 0
    max_protocol_version: int = 0
    handlers: Mapping[tuple[int, str], RemoteHandler] = field(default_factory=dict)


class RemoteDeployments:
    """Knows all remote deployments, and makes attempts of their invocations.

    Args:
        connect: Makes the endpoint of a deployment's row; a `HowdahError` says why it cannot.
    """

    def __init__(self, connect: Callable[[Any], Endpoint]) -> None:
        self._connect = connect
        self._deployments: dict[int, Deployment] = {}
        self._seen: dict[int, Any] = {}

    async def refresh(self, engine: Engine) -> None:
        """Read the deployments again; connections to those that did not change are kept.

        What is under way with the others may end there.
        """
        found: dict[int, Deployment] = {}
        seen: dict[int, Any] = {}
        for row in await engine.database.fetch(LOAD):
            no = row["no"]
            seen[no] = tuple(row)
            known = self._deployments.get(no)
            if known is None or self._seen.get(no) != seen[no]:
                known = self._read(row)
            found[no] = known
        for no, deployment in self._deployments.items():
            if found.get(no) is not deployment and deployment.endpoint is not None:
                deployment.endpoint.retire()
        self._deployments, self._seen = found, seen

    def _read(self, row: Any) -> Deployment:
        name = row["name"]
        if row["is_removed"]:
            return Deployment(name, problem="was removed")
        try:
            handlers = {
                (service_no, handler.name): _handler(service.options_of(handler))
                for service_no, service in _read_services(row["services"])
                for handler in service.handlers
            }
            endpoint = self._connect(row)
        except (HowdahError, msgspec.ValidationError) as error:
            # One that cannot be driven does not keep the others from it.
            logger.exception("a deployment cannot be driven", extra={"deployment": name})
            return Deployment(name, problem=f"cannot be driven by this worker: {error}")
        return Deployment(
            name,
            endpoint,
            "",
            row["protocol_type"],
            row["min_protocol_version"],
            row["max_protocol_version"],
            handlers,
        )

    def attempt(self, engine: Engine, record: Record, row: HandlerRow) -> Attempt:
        """An attempt of an invocation that its deployment has begun, or is to begin."""
        deployment = self._deployments.get(record.deployment or 0)
        if deployment is None:
            # Registered a moment ago, or the row is one that nobody knows.
            engine.refresh_registry()
            return _Hopeless(engine, record, row, _UNKNOWN, "its deployment is not known here")
        handler = deployment.handlers.get((row.service_no, row.name), _UNKNOWN)
        if deployment.endpoint is None:
            problem = f"deployment {deployment.name} {deployment.problem}"
            return _Hopeless(engine, record, row, handler, problem)
        return RemoteAttempt(engine, record, row, handler, deployment, deployment.endpoint)

    def close(self) -> None:
        """Close all connections."""
        for deployment in self._deployments.values():
            if deployment.endpoint is not None:
                deployment.endpoint.close()
        self._deployments = {}
        self._seen = {}


class _Hopeless(Attempt):
    """An attempt for which there is no endpoint: it fails, to be tried again."""

    __slots__ = ("_problem",)

    def __init__(
        self,
        engine: Engine,
        record: Record,
        row: HandlerRow,
        handler: RemoteHandler,
        problem: str,
    ) -> None:
        super().__init__(engine, record, row, handler)
        self._problem = problem

    def _start(self) -> None:
        self._fail(RemoteFailure(self._problem, remote_code="RT0011"))

    def _interrupt(self, reason: BaseException) -> None:
        """There is no code to stop."""

    def yield_soon(self) -> bool:
        """It is at its end."""
        return False

    def abort_if_stuck(self, seconds: float) -> None:
        """It is at its end."""

    def _on_stored(self, unit: Unit, wakes: bool) -> None:
        """Nobody waits."""


def _handler(options: HandlerOptions) -> RemoteHandler:
    policy = options.invocation_retry_policy or InvocationRetryPolicy()
    return RemoteHandler(options, policy.resolve())
