"""The types that a function's annotations stand for, also when they are written as text.

Under `from __future__ import annotations` every annotation is a text, to be looked up among the
names that its author could see: the module's, the enclosing function's, and those of the frame that
applies a decorator. Only the annotations that are asked for are looked up, so that a context class
imported for type checkers alone does no harm.
"""

from __future__ import annotations

import functools
import inspect
import types
import typing
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any

_RESULTS_CACHED_MAX = 4096
_WAITED_FOR = (Awaitable, Coroutine)


def hint_of(function: Callable[..., Any], name: str, seen: Mapping[str, Any] | None = None) -> Any:
    """Return the type of one parameter, or of `return`; Any when it has no annotation.

    Args:
        function: Any callable with annotations.
        name: The parameter, or `return`.
        seen: More names that the annotation may use, such as the locals of the frame around it.

    Raises:
        NameError: the annotation uses a name that cannot be found, or finds something that is no
            type; the cause says which.
    """
    function = inspect.unwrap(function)
    annotation = getattr(function, "__annotations__", {}).get(name, Any)
    if annotation is Any or isinstance(annotation, type):
        return annotation
    asked_for = types.SimpleNamespace(__annotations__={"it": annotation})
    names = {**(seen or {}), **_enclosed(function)}
    try:
        hints = typing.get_type_hints(
            asked_for, getattr(function, "__globals__", {}), names, include_extras=True
        )
    except (AttributeError, SyntaxError, TypeError) as error:
        raise NameError(f"{annotation!r} is not a type ({error})") from error
    return hints["it"]


def result_hint_of(action: Callable[..., Any]) -> Any:
    """Return the type that a step returns, as its annotation says; Any when that cannot be known.

    For a coroutine function that is what awaiting it gives, and so it is for a plain function that
    says it returns an awaitable.
    """
    function = _innermost(action)
    annotation = getattr(function, "__annotations__", {}).get("return", Any)
    if annotation is Any or (isinstance(annotation, type) and not typing.get_args(annotation)):
        return annotation
    code = getattr(function, "__code__", None)
    if code is None or _mentions(annotation, code.co_freevars):
        return _awaited(_looked_up(function))
    # Steps are often closures made anew by each attempt, but at one place in the program.
    place = (function.__module__, function.__qualname__, annotation)
    try:
        return _results[place]
    except KeyError:
        hint = _awaited(_looked_up(function))
        if len(_results) >= _RESULTS_CACHED_MAX:
            _results.clear()
        _results[place] = hint
        return hint
    except TypeError:  # an annotation that cannot be hashed
        return _awaited(_looked_up(function))


_results: dict[tuple[str, str, Any], Any] = {}


def _mentions(annotation: Any, names: tuple[str, ...]) -> bool:
    """Whether it may mean another type with each call of the enclosing function."""
    if not names:
        return False
    text = annotation if isinstance(annotation, str) else repr(annotation)
    return any(name in text for name in names)


def _innermost(action: Any) -> Any:
    while isinstance(action, functools.partial):
        action = action.func
    if not hasattr(action, "__annotations__"):
        action = type(action).__call__
    return inspect.unwrap(action)


def _looked_up(function: Callable[..., Any]) -> Any:
    try:
        return hint_of(function, "return")
    except NameError:
        return Any


def _awaited(hint: Any) -> Any:
    if typing.get_origin(hint) in _WAITED_FOR:
        return typing.get_args(hint)[-1]
    return hint


def _enclosed(function: Any) -> dict[str, Any]:
    """Return the variables of enclosing functions that the function uses and that have a value."""
    code = getattr(function, "__code__", None)
    cells = getattr(function, "__closure__", None) or ()
    found: dict[str, Any] = {}
    for name, cell in zip(code.co_freevars if code else (), cells, strict=False):
        try:
            found[name] = cell.cell_contents
        except ValueError:  # not assigned yet
            continue
    return found
