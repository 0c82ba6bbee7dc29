"""The blocking client is the one for asyncio without `async` and `await`."""

import inspect
from pathlib import Path
from typing import get_overloads

from howdah import client
from howdah.client import Client, SyncClient, asynchronous

REPLACED = [
    ("async def", "def"),
    ("await asyncio.sleep", "sleep"),
    ("await ", ""),
    ("__aenter__", "__enter__"),
    ("__aexit__", "__exit__"),
    (".aclose", ".close"),
    ("httpx.Async", "httpx."),
    ("class Client:", "class SyncClient:"),
    ("from outside.", "from outside, and blocks the thread while it waits."),
    ("it holds the connections.", "it holds the connections, and threads may share it."),
]


def _words(source: str) -> list[str]:
    """A source without its line breaks and trailing commas, which are the formatter's."""
    return source.replace(",\n", "\n").split()


def test_both_clients_have_the_same_source() -> None:
    source = inspect.getsource(Client)
    for ours, theirs in REPLACED:
        assert ours in source
        source = source.replace(ours, theirs)
    tight = ["".join(_words(text)) for text in (source, inspect.getsource(SyncClient))]
    assert tight[0] == tight[1]


def test_every_verb_has_its_overloads_in_both() -> None:
    for name in ("service_call", "object_send", "attach", "output"):
        assert len(get_overloads(getattr(Client, name))) >= 2
        assert len(get_overloads(getattr(SyncClient, name))) >= 2


def test_the_documentation_names_every_verb() -> None:
    page = (Path(__file__).parents[2] / "docs" / "client.md").read_text()
    verbs = [name for name in vars(Client) if not name.startswith("_")]
    assert len(verbs) > 15
    assert [name for name in verbs if f"`{name}" not in page] == []
    assert all(name in page for name in client.__all__)
    assert asynchronous.create_client.__name__ in page
