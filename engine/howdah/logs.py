"""The names of facts in log lines, and how lines are written. Only the command line configures.

A log message is a constant sentence; what varies is in `extra`, under the keys named here, so that
lines can be searched and counted. On a terminal the facts follow the sentence as `key=value`;
anywhere else a line is one JSON object. Payloads, headers and state values are never logged.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, Final, TextIO

ATTEMPT: Final = "attempt"
COUNT: Final = "count"
DEPLOYMENT: Final = "deployment"
DURATION_MS: Final = "duration_ms"
ENTRY_INDEX: Final = "entry_index"
ERROR: Final = "error"
ERROR_CODE: Final = "error_code"
HANDLER: Final = "handler"
HANDLER_NO: Final = "handler_no"
INVOCATION_ID: Final = "invocation_id"
KEY: Final = "key"
METHOD: Final = "method"
PID: Final = "pid"
PROBLEM: Final = "problem"
RESULT: Final = "result"
SERVICE: Final = "service"
VERB: Final = "verb"
WORKER_NO: Final = "worker_no"

KEYS: Final = frozenset(
    {
        ATTEMPT,
        COUNT,
        DEPLOYMENT,
        DURATION_MS,
        ENTRY_INDEX,
        ERROR,
        ERROR_CODE,
        HANDLER,
        HANDLER_NO,
        INVOCATION_ID,
        KEY,
        METHOD,
        PID,
        PROBLEM,
        RESULT,
        SERVICE,
        VERB,
        WORKER_NO,
    }
)
"""Every name a fact may have."""

LOGGERS: Final = ("howdah", "howdah_api")
"""The loggers whose level the option sets; what libraries say is shown from warnings on."""

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def facts_of(record: logging.LogRecord) -> dict[str, Any]:
    """Return what was given as `extra`, in the order in which it was given."""
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}


class LineFormatter(logging.Formatter):
    """For a person: time, level, sentence, then the facts as `key=value`."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Return the line; logging adds a traceback below it."""
        facts = [f"{name}={_one_word(value)}" for name, value in facts_of(record).items()]
        return " ".join([super().formatMessage(record), *facts])


class JsonFormatter(logging.Formatter):
    """For a program: one JSON object a line, with at, level, logger, message and the facts."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; a traceback is its field `exception`."""
        line = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **facts_of(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def configure_logs(level: str, stream: TextIO | None = None) -> None:
    """Write log lines to `stream`, as text when it is a terminal and as JSON otherwise.

    Replaces what was configured before, so it may be called again.

    Args:
        level: The least severe level of howdah's own lines: debug, info, warning or error.
        stream: stderr unless given.
    """
    stream = stream or sys.stderr
    handler = logging.StreamHandler(stream)
    handler.setFormatter(LineFormatter() if stream.isatty() else JsonFormatter())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    for name in LOGGERS:
        logging.getLogger(name).setLevel(level.upper())


def _one_word(value: object) -> str:
    """Return a value in a form without blanks or line breaks, quoted where it has any."""
    text = str(value)
    return text if text and text.isprintable() and " " not in text else json.dumps(text)
