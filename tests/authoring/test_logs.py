"""Log lines: a constant sentence, and facts under known names."""

import ast
import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from howdah import logs

ROOT = Path(__file__).parents[2]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _loggers_as_they_were() -> Iterator[None]:
    names = [None, *logs.LOGGERS]
    before = [(logging.getLogger(name).level, logging.getLogger(name).handlers) for name in names]
    yield
    for name, (level, handlers) in zip(names, before, strict=True):
        logging.getLogger(name).setLevel(level)
        logging.getLogger(name).handlers = handlers


def written(stream: io.StringIO, level: str = "info", **facts: Any) -> str:
    """What one line at INFO looks like."""
    logs.configure_logs(level, stream)
    logging.getLogger("howdah.worker").info("attempts claimed", extra=facts)
    return stream.getvalue()


def test_a_line_on_a_terminal_has_its_facts_behind_the_sentence() -> None:
    line = written(Terminal(), count=3, service="a b")
    assert line.rstrip().endswith('INFO    attempts claimed count=3 service="a b"')


@pytest.mark.parametrize("value", ["a\nb", "", "\x1b[31m", 'x "y"'])
def test_a_fact_cannot_break_a_line(value: str) -> None:
    assert written(Terminal(), key=value).count("\n") == 1
    assert "\x1b" not in written(Terminal(), key=value)


def test_a_line_elsewhere_is_a_json_object() -> None:
    line = json.loads(written(io.StringIO(), count=3, error=ValueError("x")))
    assert line.pop("at")
    assert line == {
        "level": "info",
        "logger": "howdah.worker",
        "message": "attempts claimed",
        "count": 3,
        "error": "x",
    }


def test_a_traceback_stays_in_its_line() -> None:
    stream = io.StringIO()
    logs.configure_logs("info", stream)
    try:
        raise ValueError("two\nlines")
    except ValueError:
        logging.getLogger("howdah").exception("a loop failed")
    [line] = stream.getvalue().splitlines()
    assert "ValueError: two\nlines" in json.loads(line)["exception"]


def test_lines_below_the_level_are_not_written() -> None:
    assert written(io.StringIO(), level="warning") == ""


def test_what_libraries_say_is_written_from_warnings_on() -> None:
    stream = io.StringIO()
    logs.configure_logs("debug", stream)
    logging.getLogger("some.library").info("not shown")
    logging.getLogger("some.library").warning("shown")
    assert "not shown" not in stream.getvalue()
    assert "shown" in stream.getvalue()


def _facts_in_code() -> Iterator[tuple[str, str]]:
    for path in [*ROOT.glob("engine/**/*.py"), *ROOT.glob("api/**/*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.keyword) and node.arg == "extra":
                for key in getattr(node.value, "keys", []):
                    if isinstance(key, ast.Constant):
                        yield path.name, str(key.value)


def test_every_fact_in_the_code_has_a_known_name() -> None:
    assert {(path, key) for path, key in _facts_in_code() if key not in logs.KEYS} == set()
