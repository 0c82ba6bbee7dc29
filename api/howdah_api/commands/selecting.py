"""Which invocations a command means: ids, or what they have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from howdah.errors import StoreError, UsageError
from howdah.options import did_you_mean
from howdah.store import inspection
from howdah.store.database import Database
from howdah.store.inspection import COMPLETED, IN_FLIGHT, OUTCOMES, Filter

F = TypeVar("F", bound=Callable[..., Any])

STATUSES = (*IN_FLIGHT, COMPLETED, *OUTCOMES)


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked for on the command line.

    Attributes:
        statuses: Statuses and outcomes.
        service, handler: Names.
        key: Of an object or a workflow.
    """

    statuses: tuple[str, ...] = ()
    service: str | None = None
    handler: str | None = None
    key: str | None = None

    @property
    def is_any(self) -> bool:
        """Whether anything narrows it down."""
        return bool(self.statuses or self.service or self.handler or self.key is not None)


def with_filter(command: F) -> F:
    """Add the flags that narrow invocations down."""
    for option in (
        click.option("--key", metavar="KEY", help="Of this key of an object or a workflow."),
        click.option("--handler", metavar="HANDLER", help="Of this handler; needs --service."),
        click.option("--service", metavar="SERVICE", help="Of this service."),
        click.option(
            "--status",
            "statuses",
            multiple=True,
            type=click.Choice(STATUSES),
            metavar="STATUS",
            help="In this status, or with this outcome; may be repeated. One of "
            f"{', '.join(STATUSES)}.",
        ),
    ):
        command = option(command)
    return command


async def filter_of(database: Database, asked: Asked, statuses: Sequence[str]) -> Filter:
    """The filter for what was asked.

    Args:
        database: Open.
        asked: On the command line.
        statuses: Meant when none was asked for.

    Raises:
        UsageError: a handler without its service.
        StoreError: there is no such service or handler.
    """
    chosen = asked.statuses or tuple(statuses)
    service_no = handler_no = None
    if asked.service is not None:
        service_no = int((await service_named(database, asked.service))["service_no"])
    if asked.handler is not None:
        if asked.service is None:
            raise UsageError("--handler needs --service, whose handler is meant.")
        handlers = await inspection.handlers(database, asked.service)
        names = [row["name"] for row in handlers]
        if asked.handler not in names:
            raise StoreError(
                f"{asked.service} has no handler {asked.handler!r}."
                f"{did_you_mean(asked.handler, names)}",
                hint=f"It has {', '.join(names) or 'none'}.",
            )
        handler_no = handlers[names.index(asked.handler)]["handler_no"]
    return Filter(
        statuses=tuple(one for one in chosen if one not in OUTCOMES),
        outcomes=tuple(one for one in chosen if one in OUTCOMES),
        service_no=service_no,
        handler_no=handler_no,
        key=asked.key,
    )


async def service_named(database: Database, name: str) -> Any:
    """The row of a service.

    Raises:
        StoreError: there is no such service; the message suggests one.
    """
    rows = await inspection.services(database, name)
    if rows:
        return rows[0]
    names = [row["name"] for row in await inspection.services(database)]
    hint = f"There is {', '.join(names[:8])}." if names else "No worker has registered any yet."
    raise StoreError(f"There is no service {name!r}.{did_you_mean(name, names)}", hint=hint)
