"""The blocking contexts and futures are the async ones, verb by verb."""

import inspect
from typing import Any

import pytest

import howdah
from howdah import blocking

CONTEXTS = (
    "Context",
    "ObjectContext",
    "ObjectSharedContext",
    "WorkflowContext",
    "WorkflowSharedContext",
)
FUTURES = ("gather", "select", "wait_completed", "as_completed")


def verbs(context: type[Any]) -> dict[str, list[Any]]:
    """The names and parameters of a context's verbs."""
    found = {}
    for name, verb in inspect.getmembers(context):
        if name.startswith("_") or not callable(verb):
            continue
        parameters = inspect.signature(verb).parameters.values()
        found[name] = [(one.name, one.kind, type(one.default)) for one in parameters]
    return found


@pytest.mark.parametrize("name", [*CONTEXTS, "DurablePromise"])
def test_each_verb_has_its_twin(name: str) -> None:
    assert verbs(getattr(blocking, name)) == verbs(getattr(howdah, name))


@pytest.mark.parametrize("name", FUTURES)
def test_each_combinator_has_its_twin(name: str) -> None:
    ours = inspect.signature(getattr(blocking, name)).parameters
    assert list(ours) == list(inspect.signature(getattr(howdah, name)).parameters)


@pytest.mark.parametrize(
    ("begin", "context"),
    [
        (blocking.Begin, howdah.Context),
        (blocking.ObjectBegin, howdah.ObjectContext),
        (blocking.WorkflowBegin, howdah.WorkflowContext),
    ],
)
def test_what_returns_a_future_can_be_begun(begin: type[Any], context: type[Any]) -> None:
    begun = verbs(begin)
    future = {
        name: parameters
        for name, parameters in verbs(context).items()
        if "Future" in str(inspect.signature(getattr(context, name)).return_annotation)
    }
    future["scope"] = verbs(context)["scope"]  # whose calls can be begun, too
    if context is howdah.WorkflowContext:
        future["promise"] = verbs(context)["promise"]
    future.pop("awakeable")
    assert begun == future
