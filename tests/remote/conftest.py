"""Endpoints of the official SDK, and howdah as a runtime of them: each a process of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.runtimes import NEAR, Runtime
from support.sdk_processes import SdkEndpoint
from support.servers import Servers


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Servers]:
    """Starts servers for one test."""
    started = Servers(tmp_path)
    yield started
    started.end()


@pytest.fixture
def endpoint(tmp_path: Path) -> Iterator[SdkEndpoint]:
    """An endpoint that serves `sdk_program`."""
    started = SdkEndpoint(tmp_path)
    yield started
    started.stop()


@pytest.fixture
def runtime(servers: Servers, dsn: str) -> Iterator[Runtime]:
    """A server on a database of the test's own."""
    started = Runtime.of(servers.serve(dsn, "--max-resident", "100", **NEAR))
    yield started
    started.close()
