"""Workflows and awakeables, over real HTTP, with both clients."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from client import workflow_program as program
from howdah.errors import InvocationFailed, RequestRefused
from support.servers import HowdahProcess, Servers


@pytest.fixture(scope="module")
def server(module_dsn: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HowdahProcess]:
    """One server for all tests of this module."""
    started = Servers(tmp_path_factory.mktemp("server"))
    served = started.serve(module_dsn, str(program.__file__))
    served.wait_until_said("Try next")
    yield served
    started.end()


async def given_away(file: Path) -> str:
    """The awakeable's id that the handler wrote."""
    while not file.exists():
        await asyncio.sleep(0.02)
    return file.read_text()


async def test_a_workflow_runs_once_for_its_key(client: Any) -> None:
    key = f"a/{uuid4()}"
    sent = await client.workflow_send(program.book, key, 2)
    again = await client.workflow_send(program.book, key, 3)
    assert sent.is_new
    assert not again.is_new
    assert again.invocation_id == sent.invocation_id
    with pytest.raises(InvocationFailed, match="already invoked") as failed:
        await client.workflow_call(program.book, key, 3)
    assert failed.value.status_code == 409
    assert await client.output(sent) is None
    assert await client.workflow_call(program.pay, key) == "thanks"
    assert await client.attach(sent) == f"{key}: 2, paid"


async def test_a_run_is_found_by_its_key(client: Any) -> None:
    key = f"a/{uuid4()}"
    await client.workflow_send(program.book, key, 2)
    assert await client.workflow_output(program.book, key) is None
    attached = asyncio.ensure_future(client.workflow_attach(program.book, key))
    assert await client.workflow_call(program.pay, key) == "thanks"
    assert await attached == f"{key}: 2, paid"
    assert await client.workflow_output(program.book, key) == f"{key}: 2, paid"
    for asked in (
        client.workflow_attach(program.book, "never"),
        client.workflow_output(program.book, "never"),
    ):
        with pytest.raises(RequestRefused) as refused:
            await asked
        assert refused.value.status_code == 404


async def test_an_awakeable_is_resolved(client: Any, tmp_path: Path) -> None:
    sent = await client.service_send(program.ask, str(tmp_path / "id"))
    awakeable_id = await given_away(tmp_path / "id")
    await client.resolve_awakeable(awakeable_id, {"seat": "2B"})
    await client.resolve_awakeable(awakeable_id, {"seat": "3C"})
    assert await client.attach(sent) == {"seat": "2B"}
    await client.resolve_awakeable(awakeable_id, {"seat": "3C"})


async def test_an_awakeable_is_rejected(client: Any, tmp_path: Path) -> None:
    sent = await client.service_send(program.ask, str(tmp_path / "id"))
    await client.reject_awakeable(await given_away(tmp_path / "id"), "sold out ☃")
    with pytest.raises(InvocationFailed) as failed:
        await client.attach(sent)
    assert (failed.value.message, failed.value.status_code) == ("sold out ☃", 500)


@pytest.mark.parametrize("verb", [lambda c: c.resolve_awakeable, lambda c: c.reject_awakeable])
async def test_what_is_no_awakeables_id_is_refused(client: Any, verb: Callable[..., Any]) -> None:
    with pytest.raises(RequestRefused, match="bad awakeable id") as refused:
        await verb(client)("xx", "no")
    assert refused.value.status_code == 400
