"""The names of the SDK are there, with its parameters: names, kinds and defaults."""

import importlib
import inspect
import re
from pathlib import Path
from typing import Any

import pytest

import howdah.restate as restate

TABLE = [
    line.partition("(")[::2]
    for line in (Path(__file__).parent / "signatures.txt").read_text().splitlines()
]


def _named(name: str) -> Any:
    value: Any = restate
    for part in name.split("."):
        value = getattr(value, part)
    return value


def _written(value: Any) -> str:
    """Parameters as the table writes them: no types, and values of classes by their class."""
    return ", ".join(_parameters(list(inspect.signature(value).parameters.values())))


def _parameters(parameters: list[inspect.Parameter]) -> list[str]:
    written: list[str] = []
    for index, parameter in enumerate(parameters):
        if parameter.name == "self" and index == 0:
            written.append("")
            continue
        text = str(parameter.replace(annotation=inspect.Parameter.empty, default=parameter.empty))
        default = parameter.default
        if default is not parameter.empty:
            is_plain = default is None or isinstance(default, str | int)
            text += f"={default!r}" if is_plain else f"={type(default).__name__}()"
        after = [other.kind for other in parameters[index + 1 :]]
        written.append(text)
        if parameter.kind is parameter.POSITIONAL_ONLY and parameter.POSITIONAL_ONLY not in after:
            written.append("/")
    return [text for text in written if text]


@pytest.mark.parametrize(("name", "parameters"), TABLE, ids=[name for name, _ in TABLE])
def test_a_name_has_the_parameters_of_the_sdk(name: str, parameters: str) -> None:
    value = _named(name)
    if parameters:
        assert _written(value) == re.sub(r"\)$", "", parameters)


def test_everything_public_is_exported() -> None:
    assert {name.partition(".")[0] for name, _ in TABLE} <= set(restate.__all__)
    assert all(hasattr(restate, name) for name in restate.__all__)


def test_contexts_are_what_they_are_in_the_sdk() -> None:
    for context, bases in {
        restate.ObjectContext: (restate.Context, restate.KeyValueStore),
        restate.ObjectSharedContext: (restate.Context,),
        restate.WorkflowContext: (restate.ObjectContext,),
        restate.WorkflowSharedContext: (restate.ObjectSharedContext,),
        restate.RestateDurableCallFuture: (restate.RestateDurableFuture,),
        restate.RestateDurableSleepFuture: (restate.RestateDurableFuture,),
        restate.TerminalError: (Exception,),
        restate.HttpError: (Exception,),
    }.items():
        assert issubclass(context, bases)
    assert not issubclass(restate.SdkInternalBaseException, Exception)


@pytest.mark.parametrize(
    ("module", "names"),
    [
        ("asyncio", "as_completed gather select wait_completed"),
        ("client", "create_client"),
        ("client_types", "HttpError RestateClient RestateClientSendHandle"),
        (
            "context",
            "Context DurablePromise HandlerType ObjectContext Request RunAction SendHandle",
        ),
        ("context_managers", "contextvar"),
        ("endpoint", "app"),
        ("entry_codec", "JournalValueCodec JournalValueCodecProvider"),
        ("exceptions", "RetryableError TerminalError SdkInternalBaseException SuspendedException"),
        ("extensions", "contextvar current_context"),
        ("handler", "Handler handler_from_callable"),
        ("logging", "RestateLoggingFilter getLogger"),
        ("object", "VirtualObject"),
        ("retry_policy", "InvocationRetryPolicy"),
        ("serde", "BytesSerde DefaultSerde JsonSerde MsgspecJsonSerde PydanticJsonSerde Serde"),
        ("server_context", "clear_extension_data get_extension_data set_extension_data"),
        ("service", "Service"),
        ("types", "HarnessEnvironment"),
        ("workflow", "Workflow"),
    ],
)
def test_submodules_are_where_programs_import_them_from(module: str, names: str) -> None:
    imported = importlib.import_module(f"howdah.restate.{module}")
    assert [name for name in names.split() if not hasattr(imported, name)] == []
