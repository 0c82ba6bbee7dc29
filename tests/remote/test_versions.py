"""The version of the protocol that an invocation is executed with: chosen once, then kept."""

import pytest

from howdah.machine.entries import Entry, Kind
from howdah.remote.versions import VersionMismatch, choose_version, recorded_version

SIGNAL = Entry(1, Kind.SIGNAL, -17, None, b"1", None, '{"protocol": 3}')


def sleep(detail: str | None) -> Entry:
    return Entry(2, Kind.SLEEP, 1, None, None, None, detail)


@pytest.mark.parametrize(
    ("journal", "version"),
    [
        ([], None),
        ([SIGNAL], None),
        ([SIGNAL, sleep('{"at_ms": 1, "protocol": 7}')], 7),
        ([sleep('{"protocol": 5}'), sleep('{"protocol": 7}')], 5),
        ([sleep('{"at_ms": 1}'), sleep('{"protocol": 7}')], 6),
        ([sleep(None)], 6),
        ([sleep('{"label": "\\"protocol\\": 7"}')], 6),
    ],
)
def test_the_first_command_says_it(journal: list[Entry], version: int | None) -> None:
    assert recorded_version(journal) == version


@pytest.mark.parametrize(
    ("recorded", "speaks", "newest", "version"),
    [
        (None, (5, 7), 6, 6),
        (None, (5, 7), 7, 7),
        (None, (5, 7), 5, 5),
        (None, (5, 6), 7, 6),
        (None, (5, 5), 7, 5),
        (6, (5, 7), 7, 6),
        (6, (5, 7), 5, 6),
        (7, (5, 7), 6, 7),
        (5, (5, 7), 7, 5),
        (6, (5, 5), 6, 5),  # recorded before versions were
    ],
)
def test_the_version_is_the_highest_at_first_and_then_the_same(
    recorded: int | None, speaks: tuple[int, int], newest: int, version: int
) -> None:
    assert choose_version(recorded, *speaks, newest) == version


@pytest.mark.parametrize(
    ("recorded", "speaks", "newest", "code", "words"),
    [
        (None, (7, 7), 6, "RT0013", "HOWDAH_REMOTE_PROTOCOL_MAX"),
        (7, (5, 6), 7, "RT0014", "begun with version 7"),
        (5, (6, 7), 7, "RT0014", "speaks 6 to 7"),
        (6, (7, 7), 7, "RT0014", "begun with version 6"),
    ],
)
def test_without_a_common_version_it_is_said_why(
    recorded: int | None, speaks: tuple[int, int], newest: int, code: str, words: str
) -> None:
    with pytest.raises(VersionMismatch, match=words) as raised:
        choose_version(recorded, *speaks, newest)

    assert raised.value.code == code
