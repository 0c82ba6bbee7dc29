"""`howdah.toml`: options, and what an operator decides for services and handlers.

The file stands between the environment and the defaults: a flag goes before a variable, a variable
before the file. Its keys are the options' variables without `HOWDAH_`, in lower case. What it says
of a service or a handler goes before what the program says at the same place. Values are texts as
in variables; numbers, yes or no, and lists may also be TOML's own. `docs/configuration.md` is the
page for people.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NoReturn

from howdah.errors import InvalidOption, OutOfBounds, UsageError
from howdah.handler import HandlerOptions
from howdah.options import (
    ENV_PREFIX,
    Options,
    did_you_mean,
    knob_of,
    parse_duration,
    problem_of,
    read_option,
)
from howdah.retry import InvocationRetryPolicy
from howdah.service import AnyService

CONFIG_FILE = "howdah.toml"

_SERVICES, _HANDLERS, _RETRY = "services", "handlers", "invocation_retry_policy"


@dataclass(frozen=True, slots=True)
class ServiceConfig:
    """What a file says of one service.

    Attributes:
        options: Of the service; None where the file says nothing.
        handlers: Of its handlers, by name.
    """

    options: HandlerOptions
    handlers: Mapping[str, HandlerOptions] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Config:
    """What a file says.

    Attributes:
        path: The file.
        options: Values by option name, read and within their bounds.
        services: By name.
    """

    path: Path
    options: Mapping[str, Any] = field(default_factory=dict)
    services: Mapping[str, ServiceConfig] = field(default_factory=dict)

    def apply(self, services: Iterable[AnyService]) -> list[str]:
        """Put what the file says of services before what the program says.

        Returns:
            A sentence for each service of the file that is not among these. Programs may share a
            file, so that is no error; but it may be a misspelt name.

        Raises:
            InvalidOption: there is no such handler, or an option that this kind of service does
                not have, or one that does not fit the program's. HD1020.
        """
        served = {service.name: service for service in services}
        for name, said in self.services.items():
            if name in served:
                self._configure(served[name], said)
        return [
            f"{self.path.name} says something of {name}, which is not served here."
            + did_you_mean(name, list(served))
            for name in self.services
            if name not in served
        ]

    def _configure(self, service: AnyService, said: ServiceConfig) -> None:
        where = f"{self.path.name}: {_SERVICES}.{service.name}"
        for name in said.handlers:
            if name not in service.handlers:
                raise InvalidOption(
                    name=f"{where}.{_HANDLERS}.{name}",
                    problem=f"is no handler of {service.name}",
                    hint=did_you_mean(name, list(service.handlers)).strip() or None,
                )
        _refuse_unfit(service, None, said.options, where)
        for name, options in said.handlers.items():
            _refuse_unfit(service, name, options, f"{where}.{_HANDLERS}.{name}")
        try:
            service.configure(said.options, said.handlers)
        except UsageError as error:
            problem = f"does not fit the program: {error.message.rstrip('.')}"
            raise InvalidOption(name=where, problem=problem, hint=error.hint) from error


def read_options(
    environ: Mapping[str, str],
    flags: Mapping[str, str | None] | None = None,
    folder: Path | None = None,
) -> Options:
    """Read the options from flags, variables and the file, in this order of precedence.

    `Options.config` of what comes back is the file that was read, or None.

    Args:
        environ: Such as `os.environ`; an empty value counts as none given.
        flags: Texts by option name; None counts as not given.
        folder: Where `howdah.toml` is looked for when none is named; here unless given.

    Raises:
        InvalidOption: a name is unknown, a value cannot be used, or a named file is not there.
            HD1020.
    """
    source = "--config" if (flags or {}).get("config") else f"{ENV_PREFIX}CONFIG"
    named = (flags or {}).get("config") or environ.get(f"{ENV_PREFIX}CONFIG")
    path = Path(named).expanduser() if named else (folder or Path()) / CONFIG_FILE
    if not path.is_file():
        if named:
            raise InvalidOption(name=source, problem=f"is {named}, where there is no file")
        return Options.from_env(environ, flags)
    return Options.from_env(environ, flags, {"config": path, **read_config(path).options})


def read_config(path: Path) -> Config:
    """Read a file.

    Raises:
        InvalidOption: it cannot be read, a name in it is unknown, or a value cannot be used. HD1020.
    """
    try:
        text = path.read_bytes().decode()
        document = tomllib.loads(text)
    except OSError as error:
        problem = f"cannot be read: {error.strerror}"
        raise InvalidOption(name=str(path), problem=problem) from error
    except UnicodeDecodeError as error:
        raise InvalidOption(name=str(path), problem="is not UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        problem = f"is not TOML: {str(error).rstrip('.')}"
        raise InvalidOption(name=str(path), problem=problem) from error
    return _Reader(path, text).read(document)


class _Reader:
    """Turns a document into a `Config`; knows the lines for its messages."""

    def __init__(self, path: Path, text: str) -> None:
        self._path = path
        self._lines = _lines_of_keys(text)

    def read(self, document: Mapping[str, Any]) -> Config:
        """Read the whole document."""
        options: dict[str, Any] = {}
        for key, value in document.items():
            if key == _SERVICES:
                continue
            option = _OPTIONS.get(key)
            if option is None:
                self._refuse((key,), "is not an option of howdah", self._hint_for(key))
            text = self._text((key,), value, knob_of(option).unit)
            options[option.name] = read_option(option, text, source=self._at((key,)))
        services = self._table((_SERVICES,), document.get(_SERVICES, {}))
        return Config(
            path=self._path,
            options=options,
            services={
                name: self._service((_SERVICES, name), said) for name, said in services.items()
            },
        )

    def _service(self, at: tuple[str, ...], said: object) -> ServiceConfig:
        table = self._table(at, said)
        handlers = self._table((*at, _HANDLERS), table.get(_HANDLERS, {}))
        return ServiceConfig(
            options=self._handler_options(at, table, _HANDLERS),
            handlers={
                name: self._handler_options((*at, _HANDLERS, name), one)
                for name, one in handlers.items()
            },
        )

    def _handler_options(self, at: tuple[str, ...], said: object, *also: str) -> HandlerOptions:
        values: dict[str, Any] = {}
        for key, value in self._table(at, said).items():
            here = (*at, key)
            if key in also:
                continue
            if key == _RETRY:
                values[key] = self._retry_policy(here, value)
                continue
            read = _HANDLER_OPTIONS.get(key)
            if read is None:
                what = "handler" if at[-2] == _HANDLERS else "service"
                known = [*_HANDLER_OPTIONS, _RETRY, *also]
                self._refuse(
                    here,
                    f"is not an option of a {what}",
                    f"Options of howdah stand above the first [{_SERVICES}...]."
                    if key in _OPTIONS
                    else did_you_mean(key, known).strip() or f"Known are {', '.join(known)}.",
                )
            values[key] = self._checked(here, read, value, lambda one: HandlerOptions(**one))
        return HandlerOptions(**values)

    def _retry_policy(self, at: tuple[str, ...], said: object) -> InvocationRetryPolicy:
        values: dict[str, Any] = {}
        for key, value in self._table(at, said).items():
            here = (*at, key)
            read = _RETRY_OPTIONS.get(key)
            if read is None:
                known = list(_RETRY_OPTIONS)
                hint = did_you_mean(key, known).strip() or f"Known are {', '.join(known)}."
                self._refuse(here, "is not a value of a retry policy", hint)
            values[key] = self._checked(here, read, value, lambda one: InvocationRetryPolicy(**one))
        try:
            return InvocationRetryPolicy(**values)
        except UsageError as error:
            problem = f"cannot be used: {error.message.rstrip('.')}"
            raise InvalidOption(name=self._at(at), problem=problem) from error

    def _checked(
        self,
        at: tuple[str, ...],
        read: Callable[[Any], Any],
        value: object,
        check: Callable[[dict[str, Any]], object],
    ) -> Any:
        try:
            read_value = read(value)
            check({at[-1]: read_value})
        except UsageError as error:
            raise InvalidOption(name=self._at(at), problem=problem_of(error)) from error
        return read_value

    def _text(self, at: tuple[str, ...], value: object, unit: str) -> str:
        """Write a TOML value the way variables are written, if it is of the option's type."""
        if isinstance(value, str) and value.strip():
            return value
        if isinstance(value, bool):
            if unit == "yes or no":
                return "yes" if value else "no"
        elif isinstance(value, int):
            if unit in ("count", "bytes", "user"):
                return str(value)
        elif isinstance(value, list) and unit == "list" and _are_texts(value):
            return ",".join(value)
        self._refuse(at, f"is {_shown(value)}, but must be {_EXPECTED[unit]}")

    def _table(self, at: tuple[str, ...], value: object) -> Mapping[str, Any]:
        if not isinstance(value, dict):
            self._refuse(at, f"is {_shown(value)}, but must be a table, such as [{'.'.join(at)}]")
        return value

    def _hint_for(self, key: str) -> str:
        if key in _HANDLER_OPTIONS or key == _RETRY:
            return f"It belongs to a service: write it under [{_SERVICES}.NAME]."
        guess = did_you_mean(key, [*_OPTIONS, _SERVICES])
        return f"{guess} docs/configuration.md lists them.".strip()

    def _refuse(self, at: tuple[str, ...], problem: str, hint: str | None = None) -> NoReturn:
        raise InvalidOption(name=self._at(at), problem=problem, hint=hint)

    def _at(self, at: tuple[str, ...]) -> str:
        line = self._lines.get(at)
        place = self._path.name if line is None else f"{self._path.name}, line {line}"
        return f"{place}: {'.'.join(at)}"


_OPTIONS = {
    knob_of(option).env.removeprefix(ENV_PREFIX).lower(): option
    for option in fields(Options)
    if option.name != "config"
}

_EXPECTED = {
    "URL": 'a text, such as "postgresql://localhost/howdah"',
    "path": 'a text, such as "/srv/howdah"',
    "user": 'a number or a text, such as "postgres"',
    "yes or no": "true or false",
    "HOST:PORT": 'a text, such as "127.0.0.1:8080"',
    "list": 'a list of texts, such as ["ingress", "worker"]',
    "count": "a whole number",
    "duration": 'a text with a unit, such as "10s"',
    "bytes": 'a number of bytes, or a text such as "32MiB"',
    "name": "a text",
}


def _read_duration(value: Any) -> Any:
    if not isinstance(value, str):
        raise _wrong_type(value, _EXPECTED["duration"])
    return parse_duration(value)


def _read_bool(value: Any) -> Any:
    if not isinstance(value, bool):
        raise _wrong_type(value, "true or false")
    return value


def _read_preload(value: Any) -> Any:
    if not isinstance(value, bool | list):
        raise _wrong_type(value, "true, false or a list of state names")
    return value


def _read_attempts(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int):
        raise _wrong_type(value, "a whole number, 1 or more")
    return value


def _read_factor(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _wrong_type(value, "a number, 1 or more")
    return float(value)


def _read_word(value: Any) -> Any:
    if not isinstance(value, str):
        raise _wrong_type(value, "'pause' or 'kill'")
    return value


_HANDLER_OPTIONS: Mapping[str, Callable[[Any], Any]] = {
    "inactivity_timeout": _read_duration,
    "abort_timeout": _read_duration,
    "journal_retention": _read_duration,
    "idempotency_retention": _read_duration,
    "workflow_retention": _read_duration,
    "enable_lazy_state": _read_bool,
    "state_preload": _read_preload,
    "ingress_private": _read_bool,
}
_RETRY_OPTIONS: Mapping[str, Callable[[Any], Any]] = {
    "initial_interval": _read_duration,
    "exponentiation_factor": _read_factor,
    "max_interval": _read_duration,
    "max_attempts": _read_attempts,
    "on_max_attempts": _read_word,
}


def _are_texts(values: list[Any]) -> bool:
    return bool(values) and all(isinstance(one, str) for one in values)


def _wrong_type(value: object, expected: str) -> OutOfBounds:
    return OutOfBounds(name="it", value=_shown(value), bound=expected)


def _shown(value: object) -> str:
    """Write a TOML value in few characters, the way TOML does where that is short."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, str):
        return f'"{value}"' if len(value) <= 60 else f'"{value[:57]}..."'
    return str(value)


def _refuse_unfit(
    service: AnyService, handler: str | None, options: HandlerOptions, where: str
) -> None:
    """Refuse an option that means nothing for this kind of service or handler."""
    is_main = handler is None or service.handlers[handler].kind == "workflow"
    for name, problem in (
        ("workflow_retention", None if service.kind == "workflow" else "only a workflow has it"),
        ("workflow_retention", None if is_main else "only the main handler has it"),
        ("enable_lazy_state", "a service has no state" if service.kind == "service" else None),
        ("state_preload", "a service has no state" if service.kind == "service" else None),
    ):
        if problem is not None and getattr(options, name) is not None:
            raise InvalidOption(name=f"{where}.{name}", problem=f"cannot be given: {problem}")


_KEY_PART = r"""[A-Za-z0-9_-]+|"[^"]*"|'[^']*'"""
_KEY = rf"(?:{_KEY_PART})(?:\s*\.\s*(?:{_KEY_PART}))*"
_HEADER = re.compile(rf"\s*\[\s*({_KEY})\s*\]")
_ASSIGNMENT = re.compile(rf"\s*({_KEY})\s*=")


def _lines_of_keys(text: str) -> dict[tuple[str, ...], int]:
    """Find the lines of tables and keys, which the parser does not tell."""
    found: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.match(line):
            table = _parts(header[1])
            found.setdefault(table, number)
        elif assignment := _ASSIGNMENT.match(line):
            found.setdefault((*table, *_parts(assignment[1])), number)
    return found


def _parts(key: str) -> tuple[str, ...]:
    return tuple(part.strip("\"'") for part in re.findall(_KEY_PART, key))
