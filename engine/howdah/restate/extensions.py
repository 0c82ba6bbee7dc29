"""What extensions of the SDK build on."""

from howdah.restate.context_managers import contextvar
from howdah.restate.server_context import current_context, howdah_context_of

__all__ = ["contextvar", "current_context", "howdah_context_of"]
