"""What `howdah serve` says once it is ready: where it listens, what it serves, what to try."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import click

from howdah import Handler
from howdah.errors import HowdahError
from howdah.options import Options
from howdah.service import code_digest
from howdah.store import inspection
from howdah.store.access import redacted
from howdah.store.database import DRIVER_ERRORS, Database
from howdah_api.addresses import url_of
from howdah_api.modules import Declared
from howdah_api.serve import Listeners
from howdah_api.texts import counted

HANDLERS_SHOWN_MAX = 12
RESUME = "howdah invocations resume --deployment latest"


@dataclass(slots=True)
class Banner:
    """The facts that are shown.

    Attributes:
        listeners: Where it listens.
        dsn: The database.
        data_dir: Where the embedded Postgres keeps its data; None for one that was given.
        services: What is served.
        deployment: The name of this version, or None for a digest of the handlers.
    """

    listeners: Listeners
    dsn: str
    data_dir: Path | None
    services: Sequence[Declared]
    deployment: str | None

    async def show(self) -> None:
        """Print it all, and which invocations wait for a version that nobody serves."""
        stranded = await self._stranded()
        click.echo("\n".join(self.lines()))
        if stranded:
            lines = [*_stranded_lines(stranded), f"  {RESUME}{self._where()}"]
            click.echo(click.style("\n".join(["", *lines]), fg="yellow"))

    def lines(self) -> list[str]:
        """The lines to print, each without trailing spaces."""
        handlers = [handler for service in self.services for handler in service.handlers.values()]
        sockets = (self.listeners.ingress, self.listeners.admin)
        ingress_url, admin_url = (url_of(sock) if sock is not None else None for sock in sockets)
        shown = [_path_of(handler) for handler in handlers[:HANDLERS_SHOWN_MAX]] or ["-"]
        if len(handlers) > HANDLERS_SHOWN_MAX:
            shown.append(f"... and {len(handlers) - HANDLERS_SHOWN_MAX} more")
        lines = [
            f"howdah {version('howdah')} is ready",
            f"  ingress     {ingress_url or '-'}",
            f"  admin       {admin_url or '-'}",
            f"  database    {redacted(self.dsn)}{' (embedded)' if self.data_dir else ''}",
            f"  deployment  {self._deployment()}",
            f"  handlers    {shown[0]}",
            *(f"              {path}" for path in shown[1:]),
        ]
        public = [handler for handler in handlers if not handler.options.ingress_private]
        if not self.services and admin_url is not None:
            register = "howdah deployments register http://127.0.0.1:9080"
            lines += ["", "Try next:", f"  {register}{_flag('admin', admin_url, 9070)}"]
        elif ingress_url is not None and public:
            lines += [
                "",
                "Try next:",
                *(f"  {line}" for line in self._try_next(public[0], ingress_url)),
            ]
        return lines

    def _deployment(self) -> str:
        if not self.services:
            return "-"
        if self.deployment is not None:
            return self.deployment
        return f"{code_digest(self.services)} (a digest of the handlers; --deployment names it)"

    def _try_next(self, handler: Handler[object, object], ingress_url: str) -> list[str]:
        return [
            *_calls_of(handler, ingress_url),
            f"howdah invocations list --all{self._where()}",
            f'howdah sql{self._where()} "select id, target, status from howdah.invocations"',
        ]

    def _where(self) -> str:
        """The flag with which other commands find the embedded database."""
        if self.data_dir is None or self.data_dir == Options().data_dir:
            return ""
        return f" --data-dir {shlex.quote(str(self.data_dir))}"

    async def _stranded(self) -> list[tuple[str, int]]:
        database = Database(self.dsn)
        try:
            await database.open()
            return await inspection.stranded(database)
        except (HowdahError, *DRIVER_ERRORS):
            return []
        finally:
            await database.close()


def _stranded_lines(stranded: Sequence[tuple[str, int]]) -> list[str]:
    lines = [
        f"{counted(count, 'invocation')} {'waits' if count == 1 else 'wait'} for deployment"
        f" {deployment}, which no worker serves."
        for deployment, count in stranded
    ]
    return [*lines, "Start that version again, or move them to the latest one:"]


def _calls_of(handler: Handler[object, object], ingress_url: str) -> list[str]:
    path = _path_of(handler, key="joe")
    body = f" {shlex.quote(_example_body(handler))}" if handler.takes_input else ""
    data = f" --json {shlex.quote(_example_body(handler))}" if handler.takes_input else " -X POST"
    return [
        f"howdah invoke{_flag('ingress', ingress_url, 8080)} {path}{body}",
        f"curl{data} {ingress_url}/{path}",
    ]


def _flag(name: str, url: str, usual_port: int) -> str:
    return "" if url.endswith(f":{usual_port}") else f" --{name} {url}"


def _path_of(handler: Handler[object, object], *, key: str = "{key}") -> str:
    if handler.service_kind == "service":
        return f"{handler.service}/{handler.name}"
    return f"{handler.service}/{key}/{handler.name}"


def _example_body(handler: Handler[object, object]) -> str:
    examples = {str: '"seat2B"', int: "1", float: "1.5", bool: "true", bytes: "bytes"}
    return examples.get(handler.input_type, "{}")
