"""Annotations written as text are resolved where their author could see the names."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import pytest

from howdah.hints import hint_of, result_hint_of

if TYPE_CHECKING:
    from decimal import Decimal


@dataclass
class Receipt:
    number: int


async def ask() -> Receipt:
    return Receipt(1)


def ask_in_a_thread() -> list[Receipt]:
    return []


def promise() -> Awaitable[int]:
    raise NotImplementedError


def silent():  # type: ignore[no-untyped-def]  # the case at hand
    return None


def only_for_checkers() -> Decimal:
    raise NotImplementedError


class Client:
    async def fetch(self, number: int) -> Receipt:
        return Receipt(number)

    def __call__(self) -> bool:
        return True


def annotated(ctx: Unknown, arg: Receipt | None, other: Decimal) -> None:  # type: ignore[name-defined]  # noqa: F821 - never looked up
    """Two of the annotations cannot be resolved."""


def test_only_the_annotation_that_is_asked_for_is_resolved() -> None:
    assert hint_of(annotated, "arg") == Receipt | None
    assert hint_of(annotated, "return") is type(None)
    assert hint_of(annotated, "not there") is Any


def test_a_name_that_cannot_be_found_is_an_error_that_names_it() -> None:
    with pytest.raises(NameError, match="Decimal"):
        hint_of(annotated, "other")


def test_names_of_the_place_around_are_seen() -> None:
    class Local:
        pass

    def local(arg: Local) -> None: ...

    assert hint_of(local, "arg", {"Local": Local}) is Local


def test_annotations_of_a_wrapped_function_are_its_own() -> None:
    @functools.wraps(ask)
    async def wrapped(*arguments: Any) -> Any: ...

    assert hint_of(wrapped, "return") is Receipt


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        (ask, Receipt),
        (ask_in_a_thread, list[Receipt]),
        (promise, int),
        (silent, Any),
        (only_for_checkers, Any),
        (Client().fetch, Receipt),
        (Client(), bool),
        (functools.partial(Client().fetch, 5), Receipt),
        (lambda: 1, Any),
        (len, Any),
        (dict, Any),
    ],
    ids=lambda value: getattr(value, "__name__", type(value).__name__),
)
def test_the_type_of_a_step_is_what_it_returns(action: Callable[..., Any], expected: Any) -> None:
    assert result_hint_of(action) == expected
    assert result_hint_of(action) == expected


def test_closures_at_one_place_do_not_share_what_they_close_over() -> None:
    def step_of(kind: type) -> Callable[[], Any]:
        def step() -> kind:  # type: ignore[valid-type]  # a type that differs from time to time
            raise NotImplementedError(kind)

        return step

    assert result_hint_of(step_of(int)) is int
    assert result_hint_of(step_of(str)) is str


def test_annotations_that_are_no_texts_are_told_apart_at_one_place() -> None:
    def step_of(annotation: Any) -> Callable[[], Any]:
        def step() -> Any: ...

        step.__annotations__["return"] = annotation
        return step

    unhashable = Annotated[int, []]

    for annotation in (list[int], list[str], Awaitable[bytes], unhashable, list[int]):
        expected = bytes if annotation == Awaitable[bytes] else annotation
        assert result_hint_of(step_of(annotation)) == expected
    assert result_hint_of(step_of(None)) is type(None)
