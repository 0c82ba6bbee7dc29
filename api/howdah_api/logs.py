"""How log lines look on a terminal: time, level, sentence, then the facts as `key=value`."""

from __future__ import annotations

import logging
import sys
from typing import Final

_STANDARD: Final = frozenset(
    {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName", "color_message"}
)


class FactsFormatter(logging.Formatter):
    """Formats a record with everything that was given as `extra`."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s", "%Y-%m-%d %H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        """The whole text of a record; a traceback only where someone must act."""
        if record.exc_info and record.levelno < logging.ERROR:
            record = logging.makeLogRecord({**vars(record), "exc_info": None, "exc_text": None})
        return super().format(record)

    def formatMessage(self, record: logging.LogRecord) -> str:
        """The line without its traceback."""
        facts = [f"{name}={value}" for name, value in vars(record).items() if name not in _STANDARD]
        return " ".join([super().formatMessage(record), *facts])


def configure_logs(level: str) -> None:
    """Log to stderr from `level` on; what libraries say only from warnings on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(FactsFormatter())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    for name in ("howdah", "howdah_api"):
        logging.getLogger(name).setLevel(level.upper())
    # Its pool warns of every attempt to reconnect, of which the engine tells once.
    logging.getLogger("asyncpg").setLevel(logging.ERROR)
    # "Running on ..." would repeat the banner.
    logging.getLogger("howdah_api.http").setLevel(logging.WARNING)
