"""`howdah deployments register` and `remove`: over the admin port of a running server.

The server asks the endpoint, because it is the server that must reach it later.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import Any
from urllib.parse import quote

import click

from howdah.errors import UsageError
from howdah_api.commands.program import operators_errors, options_of

_ADMIN_TEXT = "Where the server listens for operators. Default: as configured here."


@click.command()
@click.argument("url", metavar="URL")
@click.option("--force", is_flag=True, help="Ask an address anew that is registered already.")
@click.option(
    "--breaking",
    is_flag=True,
    help="Allow a service to lose handlers, and to change its kind once nothing of it is under way.",
)
@click.option("--use-http1.1", "use_http_11", is_flag=True, help="Speak HTTP/1.1, not HTTP/2.")
@click.option(
    "--header", "headers", multiple=True, metavar="NAME=VALUE", help="Sent with each request."
)
@click.option("--dry-run", is_flag=True, help="Check everything, and keep nothing.")
@click.option("--admin", metavar="HOST:PORT", help=_ADMIN_TEXT)
@operators_errors
def register(
    url: str,
    *,
    force: bool,
    breaking: bool,
    use_http_11: bool,
    headers: Sequence[str],
    dry_run: bool,
    admin: str | None,
) -> None:
    """Register the endpoint of an SDK for Restate, so that its services can be called.

    \b
    howdah deployments register http://10.1.2.3:9080
    howdah deployments register https://example.com/orders --header authorization='Bearer …'
    """
    from howdah_api.requests import operate

    body = {
        "uri": url if "://" in url else f"http://{url}",
        "force": force,
        "breaking": breaking,
        "use_http_11": use_http_11,
        "dry_run": dry_run,
        "additional_headers": dict(_pair(header) for header in headers) or None,
    }
    answer = operate(_admin(admin), "POST", "/deployments", body)
    registered = answer.json()
    if dry_run:
        click.echo("It can be registered:")
    elif answer.status_code == 200 and not force:
        click.echo(f"{registered['id']} is registered already; --force asks it anew.")
    else:
        click.echo(f"{registered['id']} is registered.")
    for service in sorted(registered["services"], key=itemgetter("name")):
        click.echo(f"  {_service(service)}")


@click.command()
@click.argument("deployment", metavar="DP_ID")
@click.option("--admin", metavar="HOST:PORT", help=_ADMIN_TEXT)
@click.confirmation_option(
    "--yes", "-y", prompt="What it has begun fails until it is moved to another. Remove it?"
)
@operators_errors
def remove(deployment: str, *, admin: str | None) -> None:
    """Take a remote deployment out of service.

    Its services go back to the version before, if there is one. What it has begun fails, is tried
    again, and can be moved: howdah invocations resume --deployment latest.
    """
    from howdah_api.requests import operate

    path = f"/deployments/{quote(deployment, safe='')}?force=true"
    operate(_admin(admin), "DELETE", path, None)
    click.echo(f"{deployment} is removed.")


def _admin(given: str | None) -> str:
    return given or options_of({}).admin


def _pair(header: str) -> tuple[str, str]:
    name, separator, value = header.partition("=")
    if not separator or not name:
        raise UsageError(f"--header {header!r} is not NAME=VALUE.")
    return name, value


def _service(service: dict[str, Any]) -> str:
    handlers = ", ".join(sorted(handler["name"] for handler in service.get("handlers", ())))
    return f"{service['name']} (revision {service['revision']}): {handlers}"
