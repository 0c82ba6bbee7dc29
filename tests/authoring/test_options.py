"""Options: read from text, bounded, and refused with a message that helps."""

import re
from dataclasses import fields
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from howdah.errors import InvalidOption, OutOfBounds, UsageError
from howdah.options import (
    CREDENTIAL_HEADERS,
    Options,
    format_duration,
    format_size,
    format_value,
    knob_of,
    parse_address,
    parse_duration,
    parse_size,
)

SECOND = timedelta(seconds=1)
PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10s", 10 * SECOND),
        ("1m 30s", 90 * SECOND),
        ("1m30s", 90 * SECOND),
        ("100ms", SECOND / 10),
        ("250us", timedelta(microseconds=250)),
        ("1.5h", 5400 * SECOND),
        (" 2 days ", timedelta(days=2)),
        ("60sec", 60 * SECOND),
        ("1W", timedelta(weeks=1)),
        ("PT60S", 60 * SECOND),
        ("pt1h30m", 5400 * SECOND),
        ("P1DT2H", timedelta(days=1, hours=2)),
        ("P2W", timedelta(weeks=2)),
        ("PT0.5S", SECOND / 2),
        ("PT0S", timedelta(0)),
        ("0", timedelta(0)),
        ("0s", timedelta(0)),
    ],
)
def test_a_duration_is_read(text: str, expected: timedelta) -> None:
    assert parse_duration(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "10", "s", "-1s", "+1s", "1s!", "1s,", "10 parsecs", "1e3s", "nan s", "inf s"),
        *("P", "PT", "P1Y", "P1M", "PT1D", "999999999999d", "1_0s", "\u0661s", "1.s", "x" * 10_000),
    ],
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not a duration: expected one like 10s") as caught:
        parse_duration(text)

    assert len(str(caught.value)) < 300


@given(st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=36500)))
def test_a_duration_is_written_as_it_is_read(duration: timedelta) -> None:
    assert parse_duration(format_duration(duration)) == duration


@given(st.text(max_size=40))
def test_any_text_is_a_duration_or_refused(text: str) -> None:
    try:
        assert parse_duration(text) >= timedelta(0)
    except UsageError:
        pass


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        *(("4096", 4096), ("32MiB", 32 << 20), ("64 KiB", 64 << 10), ("1gib", 1 << 30)),
        *(("4kB", 4000), ("2MB", 2_000_000), ("7b", 7), ("0", 0)),
    ],
)
def test_a_size_is_read(text: str, expected: int) -> None:
    assert parse_size(text) == expected


@pytest.mark.parametrize("text", ["", "MiB", "-1", "1.5MiB", "32 mebibytes", "1_000", "0x10"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not a size: expected one like 32MiB"):
        parse_size(text)


@given(st.integers(min_value=0, max_value=1 << 40))
def test_a_size_is_written_as_it_is_read(size_bytes: int) -> None:
    assert parse_size(format_size(size_bytes)) == size_bytes


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:8080", ("127.0.0.1", 8080)),
        ("localhost:0", ("localhost", 0)),
        ("[::1]:9070", ("::1", 9070)),
        (" 0.0.0.0:65535 ", ("0.0.0.0", 65535)),
    ],
)
def test_an_address_is_read(text: str, expected: tuple[str, int]) -> None:
    assert parse_address(text) == expected


@pytest.mark.parametrize(
    "text", ["", "8080", ":8080", "localhost", "localhost:", "::1:80", "a:65536", "a:-1", "a:٣"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="expected HOST:PORT"):
        parse_address(text)


@pytest.mark.parametrize(("text", "expected"), [("yes", True), (" On ", True), ("0", False)])
def test_yes_and_no_are_read(text: str, expected: bool) -> None:
    options = Options.from_env({"HOWDAH_ALLOW_UNSAFE_POSTGRES": text})

    assert options.allow_unsafe_postgres is expected


def test_what_is_neither_yes_nor_no_is_refused() -> None:
    with pytest.raises(InvalidOption, match="neither yes nor no"):
        Options.from_env({"HOWDAH_ALLOW_UNSAFE_POSTGRES": "maybe"})


def test_nothing_given_means_the_defaults() -> None:
    assert Options.from_env({}) == Options()
    assert Options.from_env({"PATH": "/bin", "HOWDAH_LEASE": ""}) == Options()


def test_values_are_read_from_the_environment() -> None:
    options = Options.from_env(
        {
            "HOWDAH_DATABASE_URL": "postgresql://db/howdah",
            "HOWDAH_DATA_DIR": "/srv/howdah",
            "HOWDAH_ROLES": "worker, ingress",
            "HOWDAH_PROCESSES": "4",
            "HOWDAH_LEASE": "3s",
            "HOWDAH_BODY_BYTES_MAX": "1MiB",
            "HOWDAH_HEADER_ALLOW": "Authorization, cookie,",
            "HOWDAH_LOG_LEVEL": "DEBUG",
        }
    )

    assert options.database_url == "postgresql://db/howdah"
    assert options.data_dir == Path("/srv/howdah")
    assert options.roles == {"worker", "ingress"}
    assert options.processes == 4
    assert options.lease == 3 * SECOND
    assert options.body_bytes_max == 1 << 20
    assert options.header_allow == {"authorization", "cookie"}
    assert options.log_level == "debug"


def test_a_flag_wins_over_the_environment() -> None:
    options = Options.from_env(
        {"HOWDAH_INGRESS": "127.0.0.1:1", "HOWDAH_ADMIN": "127.0.0.1:2"},
        {"ingress": "0.0.0.0:80", "admin": None},
    )

    assert (options.ingress, options.admin) == ("0.0.0.0:80", "127.0.0.1:2")


def test_an_unknown_variable_is_refused_with_a_proposal() -> None:
    with pytest.raises(InvalidOption, match="HOWDAH_LEAS is set") as caught:
        Options.from_env({"HOWDAH_LEAS": "10s"})

    assert caught.value.name == "HOWDAH_LEAS"
    assert "Did you mean HOWDAH_LEASE?" in str(caught.value)


def test_variables_of_the_test_suite_are_left_alone() -> None:
    assert Options.from_env({"HOWDAH_TEST_SEED": "7"}) == Options()


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("HOWDAH_LEASE", "10", "HOWDAH_LEASE cannot be read: '10' is not a duration"),
        ("HOWDAH_LEASE", "1s", "HOWDAH_LEASE is 1s, but must be 2s to 10m"),
        ("HOWDAH_PROCESSES", "0", "HOWDAH_PROCESSES is 0, but must be 1 to 256"),
        ("HOWDAH_PROCESSES", "two", "'two' is not a whole number"),
        ("HOWDAH_BODY_BYTES_MAX", "1GiB", "is 1GiB, but must be 1KiB to 256MiB"),
        ("HOWDAH_INGRESS", "80", "'80' is not an address"),
        ("HOWDAH_ROLES", "workers", "Did you mean worker?"),
        ("HOWDAH_ROLES", ",", "expected some of ingress, admin, worker"),
        ("HOWDAH_HEADER_ALLOW", "authorisation", "Did you mean authorization?"),
        ("HOWDAH_HEADER_ALLOW", "cookie, x-note", "expected some of authorization"),
        ("HOWDAH_HEADER_ALLOW", ",", "is not a list of headers that are left out"),
        ("HOWDAH_LOG_LEVEL", "warn", "Did you mean warning?"),
    ],
)
def test_a_value_that_cannot_be_used_is_refused(name: str, text: str, said: str) -> None:
    with pytest.raises(InvalidOption) as caught:
        Options.from_env({name: text})

    assert said in str(caught.value)


def test_a_flag_that_cannot_be_used_is_named_as_the_flag() -> None:
    with pytest.raises(InvalidOption, match="--processes is 0"):
        Options.from_env({}, {"processes": "0"})


def test_bounds_hold_for_options_made_in_code() -> None:
    with pytest.raises(OutOfBounds, match="lease is 1ms, but must be 2s to 10m"):
        Options(lease=timedelta(milliseconds=1))


@pytest.mark.parametrize("option", fields(Options), ids=lambda option: str(option.name))
def test_every_option_can_be_written_and_read_back(option: object) -> None:
    name = getattr(option, "name", "")
    knob = next(knob_of(field) for field in fields(Options) if field.name == name)
    default = getattr(Options(), name)

    assert knob.env.startswith("HOWDAH_")
    assert knob.meaning.endswith(".")
    if default is not None:
        text = format_value(default, knob.unit)
        assert getattr(Options.from_env({knob.env: text}), name) == default


def test_the_page_of_options_says_what_the_code_says() -> None:
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| `HOWDAH_")]

    expected = []
    for option in fields(Options):
        knob = knob_of(option)
        flag, default = knob.flag, format_value(option.default, knob.unit)
        cells = [
            f"`{knob.env}`",
            f"`{flag}`" if flag else "-",
            knob.unit,
            "-" if default in ("", "-") else f"`{default}`",
            knob.bound or "-",
            knob.meaning,
        ]
        expected.append(f"| {' | '.join(cells)} |")
    assert rows == expected


def test_the_page_names_every_header_that_is_left_out() -> None:
    section = PAGE.read_text().partition("## Credentials in requests")[2].partition("\n## ")[0]

    listed = section.split("carry credentials:")[1].split("\n\n")[1]
    assert tuple(re.findall(r"`([a-z0-9-]+)`", listed)) == CREDENTIAL_HEADERS


def test_a_list_of_headers_is_written_as_it_is_read() -> None:
    options = Options.from_env({"HOWDAH_HEADER_ALLOW": "x-api-key,authorization"})

    text = format_value(options.header_allow, "list")

    assert text == "authorization,x-api-key"
    assert Options.from_env({"HOWDAH_HEADER_ALLOW": text}) == options
