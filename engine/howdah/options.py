"""Every knob of howdah, with its unit, default, bounds and meaning, and how it is read from text.

`Options` is the one place that names the bounds of loops, queues, payloads and retries. It is read
once, when a program starts, from the environment and from flags, and never changes afterwards.
`docs/configuration.md` lists the same facts for people; a test keeps the two equal.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields
from datetime import timedelta
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from howdah.errors import InvalidOption, OutOfBounds, UsageError

ENV_PREFIX = "HOWDAH_"
ENV_PREFIX_OF_TESTS = "HOWDAH_TEST_"
"""Variables that steer the test suite; not options, and never read by the product."""

ROLES = ("ingress", "admin", "worker")
LOG_LEVELS = ("debug", "info", "warning", "error")
CREDENTIAL_HEADERS = (
    "authorization",
    "proxy-authorization",
    "cookie",
    "cookie2",
    "set-cookie",
    "set-cookie2",
    "api-key",
    "apikey",
    "x-api-key",
    "x-apikey",
    "x-access-token",
    "x-auth-token",
    "x-csrf-token",
    "x-xsrf-token",
    "x-goog-api-key",
    "x-vault-token",
    "private-token",
    "x-amz-security-token",
    "x-amzn-oidc-accesstoken",
    "x-amzn-oidc-data",
    "x-goog-iap-jwt-assertion",
    "cf-access-jwt-assertion",
    "x-forwarded-access-token",
    "x-forwarded-id-token",
    "x-ms-token-aad-access-token",
    "x-ms-token-aad-id-token",
    "x-ms-token-aad-refresh-token",
)
"""Request headers that prove who someone is; not stored with an invocation unless allowed."""
_YES = ("yes", "true", "on", "1")
_NO = ("no", "false", "off", "0")

_KIB = 1024
_MIB = 1024 * _KIB

_DURATION_UNITS = {
    "us": timedelta(microseconds=1),
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "sec": timedelta(seconds=1),
    "secs": timedelta(seconds=1),
    "second": timedelta(seconds=1),
    "seconds": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "min": timedelta(minutes=1),
    "mins": timedelta(minutes=1),
    "minute": timedelta(minutes=1),
    "minutes": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "hr": timedelta(hours=1),
    "hrs": timedelta(hours=1),
    "hour": timedelta(hours=1),
    "hours": timedelta(hours=1),
    "d": timedelta(days=1),
    "day": timedelta(days=1),
    "days": timedelta(days=1),
    "w": timedelta(weeks=1),
    "week": timedelta(weeks=1),
    "weeks": timedelta(weeks=1),
}
_DURATION_PART = re.compile(r"\s*(\d{1,15}(?:\.\d{1,9})?)\s*([a-zA-Z]+)\s*", re.ASCII)
_DURATION_ISO = re.compile(
    r"P(?:(?P<w>\d{1,9})W)?(?:(?P<d>\d{1,9})D)?"
    r"(?:T(?=\d)(?:(?P<h>\d{1,9})H)?(?:(?P<m>\d{1,12})M)?(?:(?P<s>\d{1,12}(?:\.\d{1,9})?)S)?)?",
    re.ASCII | re.IGNORECASE,
)

_SIZE_UNITS = {
    "": 1,
    "b": 1,
    "kb": 1000,
    "mb": 1000**2,
    "gb": 1000**3,
    "kib": _KIB,
    "mib": _MIB,
    "gib": 1024 * _MIB,
}
_SIZE = re.compile(r"\s*(\d{1,15})\s*([a-zA-Z]*)\s*", re.ASCII)


def parse_duration(text: str) -> timedelta:
    """Read a duration: `10s`, `1m 30s`, `100ms`, `1.5h`, `2d`, or ISO 8601 as `PT60S`.

    Units are us, ms, s, m, h, d and w, also spelt out; `0` needs none. ISO months and years have no
    fixed length and are refused, and so is a sign.

    Raises:
        UsageError: the text is no duration, or one of more than 999,999,999 days. HD1000.
    """
    stripped = text.strip()
    if stripped == "0":
        return timedelta(0)
    try:
        read = _duration_from_iso(stripped)
        if read is None:
            read = _duration_from_parts(stripped)
    except OverflowError:
        read = None
    if read is None:
        raise UsageError(
            f"{_shown(text)} is not a duration: expected one like 10s, 1m 30s, 100ms or PT60S."
        )
    return read


def _duration_from_iso(text: str) -> timedelta | None:
    match = _DURATION_ISO.fullmatch(text)
    if match is None or not any(match.groupdict().values()):
        return None
    return sum(
        (
            _DURATION_UNITS[unit] * float(number)
            for unit, number in match.groupdict().items()
            if number is not None
        ),
        timedelta(0),
    )


def _duration_from_parts(text: str) -> timedelta | None:
    total = timedelta(0)
    position = 0
    while position < len(text):
        part = _DURATION_PART.match(text, position)
        unit = _DURATION_UNITS.get(part[2].lower()) if part is not None else None
        if part is None or unit is None:
            return None
        total += unit * float(part[1])
        position = part.end()
    return total if position else None


def format_duration(duration: timedelta) -> str:
    """Write a duration the way `parse_duration` reads it, such as `1m 30s` or `100ms`."""
    rest = duration // timedelta(microseconds=1)
    parts = []
    for unit in ("d", "h", "m", "s", "ms", "us"):
        count, rest = divmod(rest, _DURATION_UNITS[unit] // timedelta(microseconds=1))
        if count:
            parts.append(f"{count}{unit}")
    return " ".join(parts) or "0s"


def parse_size(text: str) -> int:
    """Read a number of bytes: `32MiB`, `4 kB`, or a bare number of bytes.

    KiB, MiB and GiB are powers of 1024; kB, MB and GB powers of 1000.

    Raises:
        UsageError: the text is no size. HD1000.
    """
    match = _SIZE.fullmatch(text)
    unit = _SIZE_UNITS.get(match[2].lower()) if match is not None else None
    if match is None or unit is None:
        raise UsageError(f"{_shown(text)} is not a size: expected one like 32MiB, 64KiB or 4096.")
    return int(match[1]) * unit


def format_size(size_bytes: int) -> str:
    """Write a number of bytes the way `parse_size` reads it, such as `32MiB`."""
    for unit, factor in (("GiB", 1024 * _MIB), ("MiB", _MIB), ("KiB", _KIB)):
        if size_bytes and size_bytes % factor == 0:
            return f"{size_bytes // factor}{unit}"
    return str(size_bytes)


def parse_address(text: str) -> tuple[str, int]:
    """Read `HOST:PORT` into host and port; port 0 asks for any free one.

    An IPv6 host stands in brackets: `[::1]:8080`.

    Raises:
        UsageError: a part is missing, or the port is above 65535. HD1000.
    """
    host, colon, port = text.strip().rpartition(":")
    is_bracketed = host.startswith("[") and host.endswith("]")
    host = host[1:-1] if is_bracketed else host
    is_port = port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65535
    if not colon or not host or not is_port or (":" in host and not is_bracketed):
        raise UsageError(
            f"{_shown(text)} is not an address: expected HOST:PORT, such as 127.0.0.1:8080."
        )
    return host, int(port)


def _parse_address_text(text: str) -> str:
    parse_address(text)
    return text.strip()


def _parse_path(text: str) -> Path:
    return Path(text).expanduser()


def _parse_count(text: str) -> int:
    stripped = text.strip()
    if not (stripped.isascii() and stripped.isdigit() and len(stripped) <= 15):
        raise UsageError(f"{_shown(text)} is not a whole number.")
    return int(stripped)


def _parse_yes_or_no(text: str) -> bool:
    answer = text.strip().lower()
    if answer not in _YES + _NO:
        raise UsageError(f"{_shown(text)} is neither yes nor no.")
    return answer in _YES


def _parse_roles(text: str) -> frozenset[str]:
    roles = frozenset(part.strip() for part in text.split(",") if part.strip())
    unknown = sorted(roles - set(ROLES))
    if unknown or not roles:
        raise UsageError(
            f"{_shown(text)} is not a list of roles: expected some of {', '.join(ROLES)}."
            + did_you_mean(unknown[0] if unknown else "", ROLES)
        )
    return roles


def _parse_header_names(text: str) -> frozenset[str]:
    names = frozenset(part.strip().lower() for part in text.split(",") if part.strip())
    unknown = sorted(names - set(CREDENTIAL_HEADERS))
    if unknown or not names:
        raise UsageError(
            f"{_shown(text)} is not a list of headers that are left out: expected some of"
            " authorization, cookie and the others in docs/configuration.md."
            + did_you_mean(unknown[0] if unknown else "", CREDENTIAL_HEADERS)
        )
    return names


def _parse_places(text: str) -> tuple[str, ...]:
    places = tuple(part.strip().lower() for part in text.split(",") if part.strip())
    if not places:
        raise UsageError(
            f"{_shown(text)} lists neither networks nor hosts: expected some like 10.0.0.0/8,"
            " sdk.internal or *.svc.cluster.local."
        )
    return places


def _parse_log_level(text: str) -> str:
    level = text.strip().lower()
    if level not in LOG_LEVELS:
        raise UsageError(
            f"{_shown(text)} is not a log level: expected one of {', '.join(LOG_LEVELS)}."
            + did_you_mean(level, LOG_LEVELS)
        )
    return level


def did_you_mean(name: str, known: list[str] | tuple[str, ...]) -> str:
    """Return ` Did you mean X?` with the known name nearest to `name`, or an empty text."""
    matches = get_close_matches(name, known, n=1, cutoff=0.6)
    return f" Did you mean {matches[0]}?" if matches else ""


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:57]}...")


@dataclass(frozen=True, slots=True)
class Knob:
    """What a person must know of one option.

    Attributes:
        env: The environment variable.
        flag: The flag of `howdah serve` and `howdah dev`, or None when there is only the variable.
        unit: What a value is: duration, bytes, count, URL, ...
        meaning: One sentence.
        parse: Reads the value from text; raises UsageError.
        low, high: Inclusive bounds, or None.
    """

    env: str
    flag: str | None
    unit: str
    meaning: str
    parse: Callable[[str], Any]
    low: Any = None
    high: Any = None

    @property
    def bound(self) -> str:
        """The bounds in words, such as `2s to 10m`; empty when the value has none."""
        if self.low is None:
            return ""
        return f"{format_value(self.low, self.unit)} to {format_value(self.high, self.unit)}"


def format_value(value: object, unit: str = "") -> str:
    """Write an option's value the way it is read from text; None is `-`."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, timedelta):
        return format_duration(value)
    if isinstance(value, frozenset):
        return ",".join(name for name in (*ROLES, *CREDENTIAL_HEADERS) if name in value)
    if isinstance(value, tuple):
        return ",".join(value)
    if isinstance(value, int) and unit == "bytes":
        return format_size(value)
    return str(value)


def _knob(
    env: str,
    flag: str | None,
    unit: str,
    meaning: str,
    *,
    parse: Callable[[str], Any],
    low: Any = None,
    high: Any = None,
) -> dict[str, Knob]:
    return {"knob": Knob(env, flag, unit, meaning, parse, low, high)}


def _duration(env: str, meaning: str, *, low: timedelta, high: timedelta) -> dict[str, Knob]:
    return _knob(env, None, "duration", meaning, parse=parse_duration, low=low, high=high)


def _count(
    env: str, meaning: str, *, low: int, high: int, flag: str | None = None
) -> dict[str, Knob]:
    return _knob(env, flag, "count", meaning, parse=_parse_count, low=low, high=high)


def _size(env: str, meaning: str, *, low: int, high: int) -> dict[str, Knob]:
    return _knob(env, None, "bytes", meaning, parse=parse_size, low=low, high=high)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How one howdah process runs; every value is checked against its bounds when it is made.

    Durations are timedelta, sizes are bytes. `docs/configuration.md` has the whole table.

    Raises:
        OutOfBounds: a value lies outside its bounds. HD1004.
    """

    config: Path | None = field(
        default=None,
        metadata=_knob(
            "HOWDAH_CONFIG",
            "--config",
            "path",
            "The file that holds options, too; without one, `howdah.toml` where the program starts.",
            parse=_parse_path,
        ),
    )
    database_url: str | None = field(
        default=None,
        metadata=_knob(
            "HOWDAH_DATABASE_URL",
            "--database-url",
            "URL",
            "The Postgres to use (15 to 18); without one, an embedded Postgres is started.",
            parse=str.strip,
        ),
    )
    data_dir: Path = field(
        default=Path(".howdah"),
        metadata=_knob(
            "HOWDAH_DATA_DIR",
            "--data-dir",
            "path",
            "Where the embedded Postgres keeps its data; made when missing.",
            parse=_parse_path,
        ),
    )
    postgres_account: str | None = field(
        default=None,
        metadata=_knob(
            "HOWDAH_PG_UID",
            None,
            "user",
            "The account, by number or name, that runs the embedded Postgres for a howdah run by root.",
            parse=str.strip,
        ),
    )
    allow_unsafe_postgres: bool = field(
        default=False,
        metadata=_knob(
            "HOWDAH_ALLOW_UNSAFE_POSTGRES",
            None,
            "yes or no",
            "Use a Postgres that may lose commits in a power cut: fsync or full_page_writes is off.",
            parse=_parse_yes_or_no,
        ),
    )
    ingress: str = field(
        default="127.0.0.1:8080",
        metadata=_knob(
            "HOWDAH_INGRESS",
            "--ingress",
            "HOST:PORT",
            "Where requests for handlers are accepted.",
            parse=_parse_address_text,
        ),
    )
    admin: str = field(
        default="127.0.0.1:9070",
        metadata=_knob(
            "HOWDAH_ADMIN",
            "--admin",
            "HOST:PORT",
            "Where operators inspect and steer.",
            parse=_parse_address_text,
        ),
    )
    query: bool = field(
        default=True,
        metadata=_knob(
            "HOWDAH_QUERY",
            None,
            "yes or no",
            "Whether the admin port answers SQL over invocations, journals and state (`POST /query`).",
            parse=_parse_yes_or_no,
        ),
    )
    roles: frozenset[str] = field(
        default=frozenset(ROLES),
        metadata=_knob(
            "HOWDAH_ROLES",
            "--roles",
            "list",
            "What this program does: any of ingress, admin and worker, with commas between.",
            parse=_parse_roles,
        ),
    )
    processes: int = field(
        default=1,
        metadata=_count(
            "HOWDAH_PROCESSES",
            "How many processes serve behind the same ports.",
            low=1,
            high=256,
            flag="--processes",
        ),
    )
    max_resident: int = field(
        default=1000,
        metadata=_count(
            "HOWDAH_MAX_RESIDENT",
            "How many invocations may be in memory at once, in each process.",
            low=1,
            high=100_000,
            flag="--max-resident",
        ),
    )
    lease: timedelta = field(
        default=timedelta(seconds=10),
        metadata=_duration(
            "HOWDAH_LEASE",
            "How long a worker may stay silent before others take over its invocations.",
            low=timedelta(seconds=2),
            high=timedelta(minutes=10),
        ),
    )
    inactivity_timeout: timedelta = field(
        default=timedelta(seconds=1),
        metadata=_duration(
            "HOWDAH_INACTIVITY_TIMEOUT",
            "How long a waiting handler stays in memory before it is suspended.",
            low=timedelta(0),
            high=timedelta(days=1),
        ),
    )
    abort_timeout: timedelta = field(
        default=timedelta(minutes=10),
        metadata=_duration(
            "HOWDAH_ABORT_TIMEOUT",
            "How long a handler may go on without reaching the engine before its attempt is ended.",
            low=timedelta(0),
            high=timedelta(days=1),
        ),
    )
    drain_timeout: timedelta = field(
        default=timedelta(seconds=30),
        metadata=_duration(
            "HOWDAH_DRAIN_TIMEOUT",
            "How long running attempts may go on after SIGTERM.",
            low=timedelta(0),
            high=timedelta(hours=1),
        ),
    )
    poll_interval: timedelta = field(
        default=timedelta(seconds=1),
        metadata=_duration(
            "HOWDAH_POLL_INTERVAL",
            "How often ready work is looked for when no notification arrives.",
            low=timedelta(milliseconds=50),
            high=timedelta(minutes=1),
        ),
    )
    delay_max: timedelta = field(
        default=timedelta(days=3650),
        metadata=_duration(
            "HOWDAH_DELAY_MAX",
            "The longest sleep, and the longest delay of a send.",
            low=timedelta(seconds=1),
            high=timedelta(days=36500),
        ),
    )
    body_bytes_max: int = field(
        default=32 * _MIB,
        metadata=_size(
            "HOWDAH_BODY_BYTES_MAX",
            "The largest request body; a larger one is refused with 413.",
            low=_KIB,
            high=256 * _MIB,
        ),
    )
    header_allow: frozenset[str] = field(
        default=frozenset(),
        metadata=_knob(
            "HOWDAH_HEADER_ALLOW",
            None,
            "list",
            "Credential headers that are stored and shown to handlers nevertheless, with commas between.",
            parse=_parse_header_names,
        ),
    )
    value_bytes_max: int = field(
        default=32 * _MIB,
        metadata=_size(
            "HOWDAH_VALUE_BYTES_MAX",
            "The largest single value: an argument, a result, or one key's state.",
            low=_KIB,
            high=256 * _MIB,
        ),
    )
    journal_bytes_max: int = field(
        default=256 * _MIB,
        metadata=_size(
            "HOWDAH_JOURNAL_BYTES_MAX",
            "The most that an invocation of a remote deployment may record, 512 bytes for each entry included.",
            low=_MIB,
            high=4096 * _MIB,
        ),
    )
    batch_bytes_max: int = field(
        default=4 * _MIB,
        metadata=_size(
            "HOWDAH_BATCH_BYTES_MAX",
            "How much one grouped commit carries before the rest waits for the next.",
            low=64 * _KIB,
            high=64 * _MIB,
        ),
    )
    claim_batch_max: int = field(
        default=200,
        metadata=_count(
            "HOWDAH_CLAIM_BATCH_MAX",
            "How many ready invocations are claimed in one statement.",
            low=1,
            high=10_000,
        ),
    )
    idempotency_retention: timedelta = field(
        default=timedelta(days=1),
        metadata=_duration(
            "HOWDAH_IDEMPOTENCY_RETENTION",
            "How long the result of an invocation with an idempotency key is kept.",
            low=timedelta(0),
            high=timedelta(days=3650),
        ),
    )
    journal_retention: timedelta = field(
        default=timedelta(days=1),
        metadata=_duration(
            "HOWDAH_JOURNAL_RETENTION",
            "How long the journal of a completed invocation is kept.",
            low=timedelta(0),
            high=timedelta(days=3650),
        ),
    )
    workflow_retention: timedelta = field(
        default=timedelta(days=1),
        metadata=_duration(
            "HOWDAH_WORKFLOW_RETENTION",
            "How long result, state and promises of a completed workflow are kept.",
            low=timedelta(0),
            high=timedelta(days=3650),
        ),
    )
    cleanup_interval: timedelta = field(
        default=timedelta(minutes=1),
        metadata=_duration(
            "HOWDAH_CLEANUP_INTERVAL",
            "How often what is past its retention is looked for and removed.",
            low=timedelta(milliseconds=100),
            high=timedelta(days=1),
        ),
    )
    state_eager_bytes_max: int = field(
        default=_MIB,
        metadata=_size(
            "HOWDAH_STATE_EAGER_BYTES_MAX",
            "How much of a key's state is loaded with an invocation; the rest when it is asked for.",
            low=0,
            high=64 * _MIB,
        ),
    )
    sync_threads_max: int = field(
        default=64,
        metadata=_count(
            "HOWDAH_SYNC_THREADS_MAX",
            "How many handlers written as plain functions may run at once, in each process.",
            low=1,
            high=1000,
        ),
    )
    deployment: str | None = field(
        default=None,
        metadata=_knob(
            "HOWDAH_DEPLOYMENT",
            "--deployment",
            "name",
            "The name of this version of the code; without one, a digest of the handlers.",
            parse=str.strip,
        ),
    )
    endpoint_allow: tuple[str, ...] = field(
        default=(),
        metadata=_knob(
            "HOWDAH_ENDPOINT_ALLOW",
            None,
            "list",
            "Networks and hosts where remote deployments may be, beyond public addresses over https.",
            parse=_parse_places,
        ),
    )
    identity_key_file: Path | None = field(
        default=None,
        metadata=_knob(
            "HOWDAH_IDENTITY_KEY_FILE",
            None,
            "path",
            "The Ed25519 key (PEM) that signs requests to remote deployments; they are unsigned without.",
            parse=_parse_path,
        ),
    )
    remote_protocol_max: int = field(
        default=6,
        metadata=_count(
            "HOWDAH_REMOTE_PROTOCOL_MAX",
            "The newest version of the service protocol with which remote deployments begin invocations.",
            low=5,
            high=7,
        ),
    )
    log_level: str = field(
        default="info",
        metadata=_knob(
            "HOWDAH_LOG_LEVEL",
            None,
            "name",
            "The least severe log line shown: debug, info, warning or error.",
            parse=_parse_log_level,
        ),
    )

    def __post_init__(self) -> None:
        """Refuse a number or a duration outside its bounds."""
        for option in fields(self):
            knob = knob_of(option)
            value = getattr(self, option.name)
            if knob.low is not None and value is not None and not knob.low <= value <= knob.high:
                shown = format_value(value, knob.unit)
                raise OutOfBounds(name=option.name, value=shown, bound=knob.bound)

    @classmethod
    def from_env(
        cls,
        environ: Mapping[str, str],
        flags: Mapping[str, str | None] | None = None,
        defaults: Mapping[str, Any] | None = None,
    ) -> Options:
        """Read the options from the environment, and from flags, which win.

        Args:
            environ: Such as `os.environ`; an empty value counts as none given.
            flags: Texts by option name (`{"ingress": "0.0.0.0:80"}`); None counts as not given.
            defaults: Values by option name, such as those of a file, for what neither gives.

        Raises:
            InvalidOption: a value cannot be read, lies outside its bounds, or a variable that
                starts with HOWDAH_ is none of the options. HD1020.
        """
        flags = flags or {}
        _refuse_unknown_variables(environ)
        values: dict[str, Any] = dict(defaults or {})
        for option in fields(cls):
            knob = knob_of(option)
            flag_text = flags.get(option.name)
            source = knob.env if flag_text is None else knob.flag or option.name
            text = environ.get(knob.env) if flag_text is None else flag_text
            if not text:
                continue
            values[option.name] = read_option(option, text, source=source)
        return cls(**values)


def knob_of(option: Field[Any]) -> Knob:
    """Return what a person must know of one field of `Options`."""
    knob: Knob = option.metadata["knob"]
    return knob


def read_option(option: Field[Any], text: str, *, source: str) -> Any:
    """Read one option's value from text.

    Args:
        option: A field of `Options`.
        text: As a person wrote it.
        source: Where, as a message names it: the flag, the variable, the line of a file.

    Raises:
        InvalidOption: it cannot be read, or lies outside its bounds. HD1020.
    """
    try:
        value = knob_of(option).parse(text)
        Options(**{option.name: value})
    except UsageError as error:
        raise InvalidOption(name=source, problem=problem_of(error)) from error
    return value


def _refuse_unknown_variables(environ: Mapping[str, str]) -> None:
    known = [knob_of(option).env for option in fields(Options)]
    for name in sorted(environ):
        if (
            name.startswith(ENV_PREFIX)
            and not name.startswith(ENV_PREFIX_OF_TESTS)
            and name not in known
        ):
            raise InvalidOption(
                name=name,
                problem="is set, but is not an option of howdah",
                hint=(did_you_mean(name, known) + " docs/configuration.md lists them.").strip(),
            )


def problem_of(error: UsageError) -> str:
    """Say what is wrong with a value, to follow the name of where it came from."""
    if isinstance(error, OutOfBounds):
        return f"is {error.value}, but must be {error.bound}"
    return f"cannot be read: {error.message.rstrip('.')}"
