"""What `howdah serve` says once it is ready: where it listens, what it serves, what to try."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from importlib.metadata import version

from howdah import Handler
from howdah.store.access import redacted
from howdah_api.modules import Declared

HANDLERS_SHOWN_MAX = 12


def banner(
    *,
    ingress_url: str | None,
    admin_url: str | None,
    dsn: str,
    is_embedded: bool,
    services: Sequence[Declared],
) -> str:
    """The lines to print, each without trailing spaces."""
    handlers = [handler for service in services for handler in service.handlers.values()]
    lines = [f"howdah {version('howdah')} is ready"]
    lines.append(f"  ingress   {ingress_url or '-'}")
    lines.append(f"  admin     {admin_url or '-'}")
    lines.append(f"  database  {redacted(dsn)}{' (embedded)' if is_embedded else ''}")
    shown = [_path_of(handler) for handler in handlers[:HANDLERS_SHOWN_MAX]] or ["-"]
    if len(handlers) > HANDLERS_SHOWN_MAX:
        shown.append(f"... and {len(handlers) - HANDLERS_SHOWN_MAX} more")
    lines.append(f"  handlers  {shown[0]}")
    lines += [f"            {path}" for path in shown[1:]]
    public = [handler for handler in handlers if not handler.options.ingress_private]
    if ingress_url is not None and public:
        lines += ["", "Try next:", *(f"  {line}" for line in _try_next(public[0], ingress_url))]
    return "\n".join(lines)


def _try_next(handler: Handler[object, object], ingress_url: str) -> list[str]:
    path = _path_of(handler, key="joe")
    body = f" {shlex.quote(_example_body(handler))}" if handler.takes_input else ""
    data = f" --json {shlex.quote(_example_body(handler))}" if handler.takes_input else " -X POST"
    ingress = "" if ingress_url.endswith(":8080") else f" --ingress {ingress_url}"
    return [
        f"howdah invoke{ingress} {path}{body}",
        f"curl{data} {ingress_url}/{path}",
        'howdah sql "select id, target, status from howdah.invocations"',
    ]


def _path_of(handler: Handler[object, object], *, key: str = "{key}") -> str:
    if handler.service_kind == "service":
        return f"{handler.service}/{handler.name}"
    return f"{handler.service}/{key}/{handler.name}"


def _example_body(handler: Handler[object, object]) -> str:
    examples = {str: '"seat2B"', int: "1", float: "1.5", bool: "true", bytes: "bytes"}
    return examples.get(handler.input_type, "{}")
