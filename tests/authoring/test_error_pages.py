"""Errors have one code and one page each, say what to do, and survive pickling."""

import pickle
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest

from howdah import errors
from howdah.errors import HowdahError

PAGES = Path(__file__).parents[2] / "docs" / "errors"
SECTIONS = ["## What happened", "## Usual causes", "## What to do"]

EXAMPLES: list[HowdahError] = [
    errors.UsageError("The text is wrong.", hint="Write another."),
    errors.InvalidName(what="A service", name="a b", expected="expected letters"),
    errors.DuplicateName(what="handler", name="add", where="service Shop"),
    errors.InvalidHandler(handler="Shop/add", problem="it is not async", hint="Write async def."),
    errors.OutOfBounds(name="lease", value="1s", bound="2s to 10m"),
    errors.NotAHandler(got=print),
    errors.InvalidId(text="x" * 100),
    errors.InvalidId(text="x" * 100, is_awakeable=True),
    errors.WrongContext(verb="set", problem="it is shared"),
    errors.UnknownTarget(target="Shop/add"),
    errors.IncompleteWorkflow(workflow="Signup"),
    errors.SerdeError(verb="read a value of type", type_name="int", problem="got `str`"),
    errors.EndpointRefused(uri="http://10.0.0.1", problem="is at 10.0.0.1", hint="List it."),
    errors.InvalidOption(name="HOWDAH_LAESE", problem="is not an option"),
    errors.NonDeterminism(handler="Shop/add", entry_index=3, recorded="run a", attempted="run b"),
    errors.StoreError("Postgres refused."),
    errors.StoreUnavailable(doing="claiming", retry_after=timedelta(seconds=1)),
    errors.LeaseLost(invocation_id=UUID(int=1), epoch=2),
    errors.NotFound(what="invocation", name=UUID(int=1)),
    errors.Conflict(what="service", name="Shop", problem="is an object"),
    errors.SchemaOutdated(found=None, expected="0001"),
    errors.TerminalError("sold out", status_code=409, metadata={"seat": "2B"}),
    errors.RetryableError("busy", retry_after=timedelta(seconds=3)),
    errors.Cancelled(),
    errors.RegistryBusy(),
    errors.RulesRefused("Rule 'a' is not as expected.", sqlstate="WD026", hint="Look again."),
    errors.RemoteFailure("The connection broke.", remote_code="RT0010"),
    errors.ClientError("The request has no result.", may_have_been_accepted=False),
    errors.InvocationFailed(message="sold out", status_code=409, invocation_id=None),
    errors.RequestRefused(
        what="A call of Shop/add",
        status_code=503,
        reason="draining",
        retry_after=timedelta(seconds=1),
        takes_effect=True,
        is_repeatable=False,
    ),
    errors.NoAnswer(
        what="A call of Shop/add",
        base_url="http://127.0.0.1:8080",
        reason="connection refused",
        is_timeout=False,
        was_sent=False,
        takes_effect=True,
        is_repeatable=True,
    ),
    errors.UnexpectedAnswer(
        what="A call of Shop/add",
        base_url="http://127.0.0.1:8080",
        status_code=200,
        body="<html>",
        takes_effect=True,
        is_repeatable=True,
    ),
]


def _subclasses(kind: type[HowdahError]) -> Iterator[type[HowdahError]]:
    for below in kind.__subclasses__():
        # howdah.restate has other constructors for some of these, which are the same conditions.
        if below.__module__.startswith("howdah") and "restate" not in below.__module__:
            yield below
            yield from _subclasses(below)


CLASSES = list(_subclasses(HowdahError))


def test_every_class_has_a_code_of_its_own() -> None:
    codes = [kind.code for kind in CLASSES]
    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch(r"HD[1-5]\d{3}", code) for code in codes)


def test_every_class_has_its_page_and_every_page_its_class() -> None:
    assert {path.stem for path in PAGES.glob("*.md")} == {kind.code for kind in CLASSES}


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: str(kind.code))
def test_a_page_says_what_happened_why_and_what_to_do(kind: type[HowdahError]) -> None:
    page = (PAGES / f"{kind.code}.md").read_text()
    assert page.splitlines()[0] == f"# {kind.code}: {kind.__name__}"
    assert re.findall(r"^## .*$", page, re.MULTILINE) == SECTIONS


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: str(kind.code))
def test_a_docstring_names_the_code(kind: type[HowdahError]) -> None:
    assert kind.code in (kind.__doc__ or "")


def test_every_class_has_an_example_here() -> None:
    assert {type(error) for error in EXAMPLES} == set(CLASSES)


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: str(error.code))
def test_an_error_survives_pickling(error: HowdahError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert vars(copy) == vars(error)


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: str(error.code))
def test_an_error_names_its_code_unless_the_handler_wrote_it(error: HowdahError) -> None:
    if error.code.startswith("HD4"):
        assert str(error) == error.message
    else:
        assert str(error).startswith(f"{error.code}: ")


def test_a_cancellation_is_a_terminal_error_with_status_409() -> None:
    error = errors.Cancelled()
    assert isinstance(error, errors.TerminalError)
    assert error.status_code == 409


def test_interrupts_pass_through_except_exception() -> None:
    for interrupt in (errors.Suspended(), errors.AttemptAbandoned("it stops")):
        assert not isinstance(interrupt, Exception)
        assert "never BaseException" in str(interrupt)
