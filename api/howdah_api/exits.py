"""The exit codes of the commands."""

from __future__ import annotations

from typing import Final

FAILED_EXIT_CODE: Final = 1
"""It could not be done."""
USAGE_EXIT_CODE: Final = 2
"""It was asked for wrongly, or a server cannot start: trying again is in vain."""
