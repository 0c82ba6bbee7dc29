"""Options of services and handlers in the words of a deployment's manifest, in both directions. Pure.

A remote deployment describes its services by a manifest; what else than their types a program says of
its own is kept in the same words, so that whoever shows it need not know where it runs.

Source: the endpoint manifest of the service protocol, versions 1 to 4.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from howdah.handler import RETENTION_MAX, TIMEOUT_MAX, HandlerOptions
from howdah.retry import InvocationRetryPolicy

Manifest = Mapping[str, Any]
"""One service of a manifest, or one handler of it, as JSON has it."""

_DURATIONS: Final = {
    "inactivityTimeout": "inactivity_timeout",
    "abortTimeout": "abort_timeout",
    "journalRetention": "journal_retention",
    "idempotencyRetention": "idempotency_retention",
    "workflowCompletionRetention": "workflow_retention",
}
_FLAGS: Final = {"enableLazyState": "enable_lazy_state", "ingressPrivate": "ingress_private"}
_INTERVALS: Final = {
    "retryPolicyInitialInterval": "initial_interval",
    "retryPolicyMaxInterval": "max_interval",
}
_MILLISECOND: Final = timedelta(milliseconds=1)


def write_options(options: HandlerOptions) -> dict[str, Any]:
    """Options as a manifest has them: those that are given, durations in whole milliseconds."""
    written: dict[str, Any] = {}
    for word, name in _DURATIONS.items():
        _put_duration(written, word, getattr(options, name))
    for word, name in _FLAGS.items():
        value = getattr(options, name)
        if value is not None:
            written[word] = value
    policy = options.invocation_retry_policy
    if policy is None:
        return written
    for word, name in _INTERVALS.items():
        _put_duration(written, word, getattr(policy, name))
    if policy.exponentiation_factor is not None:
        written["retryPolicyExponentiationFactor"] = policy.exponentiation_factor
    if policy.max_attempts is not None:
        written["retryPolicyMaxAttempts"] = policy.max_attempts
    if policy.on_max_attempts is not None:
        written["retryPolicyOnMaxAttempts"] = policy.on_max_attempts.upper()
    return written


def read_options(manifest: Manifest) -> HandlerOptions:
    """The options that a service or a handler of a manifest gives.

    What is longer than howdah takes is as long as it takes.

    Raises:
        OutOfBounds: another value lies outside its bounds. HD1004.
    """
    durations: dict[str, Any] = {
        name: _duration(manifest, word) for word, name in _DURATIONS.items()
    }
    for name, value in durations.items():
        longest = TIMEOUT_MAX if name.endswith("timeout") else RETENTION_MAX
        durations[name] = value and min(value, longest)
    flags = {name: manifest.get(word) for word, name in _FLAGS.items()}
    return HandlerOptions(**durations, **flags, invocation_retry_policy=_read_policy(manifest))


def _read_policy(manifest: Manifest) -> InvocationRetryPolicy | None:
    factor = manifest.get("retryPolicyExponentiationFactor")
    attempts = manifest.get("retryPolicyMaxAttempts")
    on_max_attempts = manifest.get("retryPolicyOnMaxAttempts")
    intervals = {name: _duration(manifest, word) for word, name in _INTERVALS.items()}
    given = (factor, attempts, on_max_attempts, *intervals.values())
    if all(value is None for value in given):
        return None
    return InvocationRetryPolicy(
        exponentiation_factor=factor,
        max_attempts=attempts,
        on_max_attempts=on_max_attempts.lower() if on_max_attempts else None,
        **intervals,
    )


def _duration(manifest: Manifest, word: str) -> timedelta | None:
    value = manifest.get(word)
    return None if value is None else timedelta(milliseconds=value)


def _put_duration(written: dict[str, Any], word: str, value: timedelta | None) -> None:
    if value is not None:
        written[word] = value // _MILLISECOND
