"""What an environment can serve, and what it is told when something else is asked of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

from howdah.errors import UsageError, WrongContext
from howdah.handler import ATTRIBUTE, Handler, handler_of
from howdah.options import Options
from howdah.service import AnyService, Service, VirtualObject, Workflow

DEFAULTS: Final = Options(
    # Every wait is bounded by the test's patience, so a hint that is lost must not cost a second.
    poll_interval=timedelta(milliseconds=250),
    # One version for all code: what was begun goes on with what a restart brings.
    deployment="test",
    # Who skips a month wants to see what came of it. No handler can tell the difference.
    journal_retention=timedelta(days=3650),
)
"""Options unless a test gives its own."""


def options_of(options: Options | None, inactivity_timeout: timedelta | None) -> Options:
    """The options of an engine under test."""
    chosen = options or DEFAULTS
    if inactivity_timeout is not None:
        chosen = replace(chosen, inactivity_timeout=inactivity_timeout)
    return chosen


def check_services(services: Any) -> Sequence[AnyService]:
    """Return the services as they can be served.

    Raises:
        UsageError: there are none, one is something else, or two have the same name.
    """
    if isinstance(services, Service | VirtualObject | Workflow):
        raise UsageError(
            f"environment() was given {services!r} alone.",
            hint=f"Give a list: environment([{services.name.lower()}]).",
        )
    checked = list(services)
    if not checked:
        raise UsageError(
            "environment() was given no services.", hint="Give those that the test calls."
        )
    names: set[str] = set()
    for service in checked:
        if not isinstance(service, Service | VirtualObject | Workflow):
            hint = "Give Service, VirtualObject or Workflow objects."
            if hasattr(service, ATTRIBUTE):
                hint = f"It is a handler: give the service {handler_of(service).service} instead."
            raise UsageError(
                f"environment() was given {service!r}, which is no service.", hint=hint
            )
        if service.name in names:
            raise UsageError(
                f"environment() was given two services named {service.name!r}.",
                hint="Names are what calls go by: give one of them.",
            )
        names.add(service.name)
        service.check_complete()
        if not service.handlers:
            raise UsageError(
                f"{service!r} has no handlers.",
                hint="Import the module that declares them before the environment is made.",
            )
    return checked


def handler_in(services: Sequence[AnyService], tpe: Any, verb: str) -> Handler[Any, Any]:
    """The handler that a decorated function is, one of these services'.

    Raises:
        UsageError: it is no handler, or of a service that is not among them.
    """
    if isinstance(tpe, Service | VirtualObject | Workflow):
        raise WrongContext(
            verb=f"env.{verb}",
            problem=f"{tpe!r} is a {tpe.kind}, not one of its handlers",
            hint=f"Give one of its functions: {', '.join(tpe.handlers) or 'it has none'}.",
        )
    handler = handler_of(tpe)
    served = next((each for each in services if each.name == handler.service), None)
    if served is None:
        raise UsageError(
            f"{handler.target} is not served here: the environment was given {_names(services)}.",
            hint=f"Give it the {handler.service_kind} {handler.service}, too.",
        )
    if served.handlers.get(handler.name) is not handler:
        raise UsageError(
            f"{handler.target} is declared twice: the environment was given another "
            f"{handler.service_kind} named {handler.service!r}.",
            hint="Give the environment the one that this handler belongs to.",
        )
    return handler


def keyed_in(services: Sequence[AnyService], service: AnyService | str) -> str:
    """The name of an object or a workflow, one of these services.

    Raises:
        UsageError: it is not among them, or has no state.
    """
    name = service if isinstance(service, str) else getattr(service, "name", None)
    if name is None and hasattr(service, ATTRIBUTE):
        name = handler_of(service).service
    known = {each.name: each.kind for each in services}
    if name not in known:
        raise UsageError(
            f"{name or service!r} is not served here: the environment was given {_names(services)}."
        )
    if known[name] == "service":
        raise WrongContext(verb="state", problem=f"{name} is a service, which has none")
    return str(name)


def _names(services: Sequence[AnyService]) -> str:
    return ", ".join(sorted(each.name for each in services))
