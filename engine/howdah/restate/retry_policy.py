"""How the attempts of an invocation are retried."""

from howdah.retry import InvocationRetryPolicy

__all__ = ["InvocationRetryPolicy"]
