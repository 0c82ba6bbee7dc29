"""The pytest plugin of howdah: the fixture `howdah_environment`, a marker and two options.

pytest imports it in every run of every project that has howdah installed. So nothing of howdah is
imported here before a test asks for it; that is also why it is not part of that package.
"""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from howdah.testing import EnvironmentFactory

MARKER = (
    "howdah(always_replay, inactivity_timeout, options, timeout): "
    "how howdah_environment serves the handlers of this test"
)
ARGUMENTS = ("always_replay", "inactivity_timeout", "options", "timeout")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("howdah")
    group.addoption(
        "--howdah-always-replay",
        action="store_true",
        help="let every await of a handler suspend and replay, to find what is not deterministic",
    )
    group.addoption(
        "--howdah-database-url",
        metavar="URL",
        help="make the tests' databases on this server, instead of on an embedded Postgres",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker; tell howdah.testing which server is wanted."""
    config.addinivalue_line("markers", MARKER)
    url = config.getoption("--howdah-database-url")
    if url:
        from howdah.testing import servers

        servers.default_url = url


def pytest_unconfigure() -> None:
    """Stop the server, if there is one."""
    servers = sys.modules.get("howdah.testing.servers")
    if servers is not None:
        servers.stop_all()


@pytest.fixture
def howdah_environment(request: pytest.FixtureRequest) -> EnvironmentFactory:
    """What a test makes environments with: `async with` it, called with services.

    It is `howdah.testing.environment`, with what the marker `howdah` and the options of the command
    line say. Every environment has a database of its own; the server is started once.
    """
    from howdah.testing import environment

    facts: dict[str, Any] = {}
    # The nearest marker comes first, and wins.
    for marker in request.node.iter_markers("howdah"):
        unknown = sorted(set(marker.kwargs).difference(ARGUMENTS))
        if unknown or marker.args:
            raise pytest.UsageError(
                f"the marker howdah takes {', '.join(ARGUMENTS)} by name, "
                f"not {', '.join(unknown) or repr(marker.args[0])}"
            )
        facts = {**marker.kwargs, **facts}
    if request.config.getoption("--howdah-always-replay"):
        facts["always_replay"] = True
    return functools.partial(environment, **facts)
