"""A name for a version of the handlers' code, from what it compiles to."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Iterable, Iterator
from types import CodeType, FunctionType
from typing import Any

from howdah.handler import Handler


def digest_handlers(handlers: Iterable[Handler[Any, Any]]) -> str:
    """Return 16 hexadecimal digits for these handlers; see `howdah.service.code_digest`."""
    digest = hashlib.sha256()
    for handler in sorted(handlers, key=lambda handler: (handler.service, handler.name)):
        facts = (handler.service_kind, handler.service, handler.kind, handler.name)
        digest.update(f"{' '.join(facts)}\n".encode())
        for function in _reachable_from(inspect.unwrap(handler.fn)):
            digest.update(f"{function.__qualname__}\n".encode())
            _digest_code(digest, function.__code__)
    return digest.hexdigest()[:16]


def _reachable_from(fn: Any) -> Iterator[FunctionType]:
    """Yield a function and, each once, the functions of its package that it names."""
    waiting: list[Any] = [fn]
    seen: set[int] = set()
    package = _package_of(fn)
    while waiting:
        function = waiting.pop()
        if (
            not isinstance(function, FunctionType)
            or id(function) in seen
            or _package_of(function) != package
        ):
            continue
        seen.add(id(function))
        yield function
        names = _names_in(function.__code__)
        waiting.extend(function.__globals__.get(name) for name in reversed(names))


def _package_of(function: Any) -> str:
    return str(getattr(function, "__module__", "")).partition(".")[0]


def _names_in(code: CodeType) -> list[str]:
    names = list(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            names += _names_in(constant)
    return names


def _digest_code(digest: Any, code: CodeType) -> None:
    digest.update(code.co_code)
    digest.update(code.co_exceptiontable)
    digest.update(repr((code.co_names, code.co_varnames, code.co_freevars)).encode())
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            _digest_code(digest, constant)
        elif isinstance(constant, frozenset):  # in no particular order, which hashing changes
            digest.update(repr(sorted(map(repr, constant))).encode())
        else:
            digest.update(repr(constant).encode())
