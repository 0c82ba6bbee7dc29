"""Virtual objects: handlers addressed by a key, with state for each key."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Literal, TypeVar

from howdah import service as howdah_service
from howdah.handler import ContextManagers, Handler, StatePreload
from howdah.restate.handler import JSON, accepted, adapted
from howdah.restate.serde import DefaultSerde, Serde, picked
from howdah.retry import InvocationRetryPolicy

__all__ = ["VirtualObject"]

T = TypeVar("T", bound=Callable[..., Any])


class VirtualObject(howdah_service.VirtualObject):
    """As `howdah.VirtualObject`, for functions that take the contexts of this package."""

    _takes_nothing_as_none = True

    def _serde_for(self, type_hint: Any) -> Serde[Any]:
        return picked(type_hint)

    def _adapted(self, handler: Handler[Any, Any]) -> Handler[Any, Any]:
        return adapted(handler)

    def handler(
        self,
        name: str | None = None,
        kind: Literal["exclusive", "shared"] | None = "exclusive",
        accept: str | None = JSON,
        content_type: str | None = JSON,
        input_serde: Serde[Any] = DefaultSerde(),
        output_serde: Serde[Any] = DefaultSerde(),
        metadata: Mapping[str, str] | None = None,
        inactivity_timeout: timedelta | None = None,
        abort_timeout: timedelta | None = None,
        journal_retention: timedelta | None = None,
        idempotency_retention: timedelta | None = None,
        enable_lazy_state: bool | None = None,
        state_preload: StatePreload | None = None,
        ingress_private: bool | None = None,
        invocation_retry_policy: InvocationRetryPolicy | None = None,
        invocation_context_managers: ContextManagers | None = None,
    ) -> Callable[[T], T]:
        """Declare a function `(ctx)` or `(ctx, argument)` as a handler of each key.

        See `howdah.VirtualObject`.
        """
        return super().handler(
            name=name,
            kind=kind,
            accept=accepted(accept, input_serde),
            content_type=content_type,
            input_serde=input_serde,
            output_serde=output_serde,
            metadata=metadata,
            inactivity_timeout=inactivity_timeout,
            abort_timeout=abort_timeout,
            journal_retention=journal_retention,
            idempotency_retention=idempotency_retention,
            enable_lazy_state=enable_lazy_state,
            state_preload=state_preload,
            ingress_private=ingress_private,
            invocation_retry_policy=invocation_retry_policy,
            invocation_context_managers=invocation_context_managers,
        )
