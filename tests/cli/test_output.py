"""Tables on terminals of any width, and times and durations in few characters."""

import os
import pty
import sys
from datetime import UTC, datetime, timedelta

import pytest

from howdah_api.tables import Column, laid_out
from howdah_api.texts import ago, counted, lasted, one_line, shown
from support.commands import Cli

COLUMNS = (Column("id"), Column("count", is_number=True), Column("note"))
CUT = (*COLUMNS[:2], Column("note", is_cut=True))
ROWS = [["a", "1", "short"], ["bcd", "22", "a rather long note"], ["e", "3", "-"]]


def plain(line: str) -> str:
    return line.replace("\x1b[1m", "").replace("\x1b[0m", "")


@pytest.mark.parametrize(
    ("columns", "width", "lines"),
    [
        (COLUMNS, None, ["ID   COUNT  NOTE", "a        1  short",
                         "bcd     22  a rather long note", "e        3  -"]),
        (COLUMNS, 30, ["ID   COUNT  NOTE", "a        1  short",
                       "bcd     22  a rather long note", "e        3  -"]),
        (COLUMNS, 29, ["ID   COUNT", "a        1", "    short",
                       "bcd     22", "    a rather long note", "e        3"]),
        (CUT, 26, ["ID   COUNT  NOTE", "a        1  short",
                   "bcd     22  a rather lo...", "e        3  -"]),
        (CUT, 20, ["ID   COUNT", "a        1", "    short",
                   "bcd     22", "    a rather long note", "e        3"]),
    ],
)  # fmt: skip
def test_a_table_fits_its_terminal(
    columns: tuple[Column, ...], width: int | None, lines: list[str]
) -> None:
    assert [plain(line) for line in laid_out(columns, ROWS, width)] == lines


def test_a_table_without_rows_has_its_heads() -> None:
    assert [plain(line) for line in laid_out(COLUMNS, [], None)] == ["ID  COUNT  NOTE"]


@pytest.mark.parametrize(
    ("duration", "text"),
    [
        (timedelta(0), "0 ms"),
        (timedelta(microseconds=420), "0.4 ms"),
        (timedelta(milliseconds=12.4), "12 ms"),
        (timedelta(milliseconds=999.6), "1.0 s"),
        (timedelta(seconds=59.94), "59.9 s"),
        (timedelta(seconds=59.96), "1m"),
        (timedelta(minutes=3, seconds=20), "3m 20s"),
        (timedelta(hours=2, minutes=5, seconds=9), "2h 5m"),
        (timedelta(days=4, hours=1), "4d 1h"),
        (timedelta(seconds=-1), "0 ms"),
        (None, ""),
    ],
)
def test_a_duration_has_two_units_at_most(duration: timedelta | None, text: str) -> None:
    assert lasted(duration) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.5, "now"), (3, "3s ago"), (300, "5m ago"), (7300, "2h ago"), (200_000, "2d ago"),
     (-7300, "in 2h")],
)  # fmt: skip
def test_how_long_ago_has_one_unit(seconds: float, text: str) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)

    assert ago(now - timedelta(seconds=seconds), now) == text


def test_values_are_shown_in_one_short_line_without_control_characters() -> None:
    assert one_line("a\n\tb\x1b[0m") == "a \N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}[0m"
    assert shown("x" * 300, 10) == "xxxxxxx..."
    assert (shown(None), shown(True), shown(b"\xff")) == ("", "true", "\N{REPLACEMENT CHARACTER}")
    assert (counted(1, "invocation"), counted(2000, "invocation")) == (
        "1 invocation",
        "2,000 invocations",
    )


def test_a_terminal_gets_colours_and_is_asked(cli: Cli) -> None:
    ids = [cli.send("Payments/approve") for _ in range(2)]
    for id_ in ids:
        cli.wait_for(id_, "suspended")
    arguments = ["invocations", "kill", "--handler", "approve", "--service", "Payments"]

    refused = on_terminal(cli.dsn, *arguments, answer=b"n\n")
    assert "Kill 2 invocations? [y/N]" in refused
    assert "Nothing was changed" in refused
    assert cli.status(ids[0]) == "suspended"

    assert "killed 2 invocations" in on_terminal(cli.dsn, *arguments, answer=b"y\n")
    listed = on_terminal(cli.dsn, "invocations", "list", "--all")
    assert "\x1b[31mkilled\x1b[0m" in listed


def on_terminal(dsn: str, *arguments: str, answer: bytes = b"") -> str:
    """What a command shows on a terminal of its own."""
    pid, terminal = pty.fork()
    if pid == 0:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("HOWDAH_")}
        command = [sys.executable, "-m", "howdah_api", *arguments]
        os.execve(sys.executable, command, {**environment, "HOWDAH_DATABASE_URL": dsn})
    os.write(terminal, answer)
    said = b""
    while True:
        try:
            said += os.read(terminal, 65536)
        except OSError:  # it ended
            break
    os.waitpid(pid, 0)
    os.close(terminal)
    return said.decode()
