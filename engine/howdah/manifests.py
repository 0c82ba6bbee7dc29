"""Options of services and handlers in the words of a deployment's manifest. Pure.

A remote deployment describes its services by a manifest. What a program gives of its own is kept in
the same words, so that whoever shows it need not know where it runs.

Source: the endpoint manifest of the service protocol, version 4; `howdah.remote.manifest` reads it.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from howdah.handler import HandlerOptions
from howdah.retry import InvocationRetryPolicy

_DURATIONS: Final = {
    "inactivityTimeout": "inactivity_timeout",
    "abortTimeout": "abort_timeout",
    "journalRetention": "journal_retention",
    "idempotencyRetention": "idempotency_retention",
}
_FLAGS: Final = {"enableLazyState": "enable_lazy_state", "ingressPrivate": "ingress_private"}


def write_options(options: HandlerOptions) -> dict[str, Any]:
    """Options as a manifest has them: those that are given, durations in whole milliseconds.

    That of a workflow's run is not among them: it stands with its handler only.
    """
    written: dict[str, Any] = {
        word: _milliseconds(getattr(options, name)) for word, name in _DURATIONS.items()
    }
    written |= {word: getattr(options, name) for word, name in _FLAGS.items()}
    policy = options.invocation_retry_policy or InvocationRetryPolicy()
    on_max_attempts = policy.on_max_attempts
    written |= {
        "retryPolicyInitialInterval": _milliseconds(policy.initial_interval),
        "retryPolicyMaxInterval": _milliseconds(policy.max_interval),
        "retryPolicyMaxAttempts": policy.max_attempts,
        "retryPolicyExponentiationFactor": policy.exponentiation_factor,
        "retryPolicyOnMaxAttempts": on_max_attempts.upper() if on_max_attempts else None,
    }
    return {word: value for word, value in written.items() if value is not None}


def _milliseconds(duration: timedelta | None) -> int | None:
    return None if duration is None else duration // timedelta(milliseconds=1)
