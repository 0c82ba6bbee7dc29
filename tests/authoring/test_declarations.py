"""Services and handlers: names, signatures, inherited options, and what the database is told."""

import asyncio
import functools
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from howdah import (
    BytesSerde,
    Context,
    InvocationRetryPolicy,
    JsonSerde,
    ObjectContext,
    Service,
    VirtualObject,
    Workflow,
    blocking,
    handler_of,
)
from howdah.errors import (
    DuplicateName,
    IncompleteWorkflow,
    InvalidHandler,
    InvalidName,
    NotAHandler,
    OutOfBounds,
    SerdeError,
)
from howdah.handler import HandlerOptions
from howdah.options import Options
from howdah.service import AnyService, code_digest, describe

if TYPE_CHECKING:
    from decimal import Decimal


@dataclass
class Seat:
    row: int


class Opaque:
    """Something with no form in bytes."""

    def __init__(self, socket: object) -> None:
        self.socket = socket


def described(service: AnyService, name: str) -> dict[str, Any]:
    """What the database is told of one handler."""
    [one] = describe([service])
    [handler] = [handler for handler in one["handlers"] if handler["name"] == name]
    assert json.loads(json.dumps(handler)) == handler
    return dict(handler)


# --- declaring -----------------------------------------------------------------------------------


async def test_the_decorator_returns_the_function_itself() -> None:
    shop = Service("Shop")

    async def add(ctx: Context, seat: Seat) -> int:
        """Add a seat."""
        return seat.row

    decorated = shop.handler()(add)
    assert decorated is add
    handler = handler_of(add)
    assert handler is shop.handlers["add"]
    assert (handler.service, handler.service_kind, handler.name) == ("Shop", "service", "add")
    assert (handler.kind, handler.takes_input) == ("stateless", True)
    assert (handler.input_type, handler.output_type) == (Seat, int)
    assert handler.description == "Add a seat."
    assert await handler.fn(None, handler.input_serde.deserialize(b'{"row": 3}')) == 3


def test_a_virtual_objects_handlers_are_exclusive_unless_shared() -> None:
    seats = VirtualObject("Seats", description="Every seat.")

    @seats.handler()
    async def reserve(ctx: ObjectContext) -> bool:
        return True

    @seats.handler("get", kind="shared")
    async def get_seat(ctx: Any) -> bool:
        return True

    assert seats.kind == "object"
    assert {name: one.kind for name, one in seats.handlers.items()} == {
        "reserve": "exclusive",
        "get": "shared",
    }
    assert describe([seats])[0]["description"] == "Every seat."


async def test_a_plain_function_is_a_handler_for_a_thread() -> None:
    shop = Service("Shop")

    @shop.handler()
    def add(ctx: Any, seat: Seat) -> int:
        return seat.row

    handler = handler_of(add)
    assert not handler.is_async
    assert handler.fn(None, Seat(3)) == 3
    assert (handler.input_type, handler.output_type) == (Seat, int)
    assert described(shop, "add")["kind"] == "stateless"


async def test_an_async_function_is_a_handler_for_the_loop() -> None:
    @Service("Shop").handler()
    async def add(ctx: Context) -> None: ...

    assert handler_of(add).is_async


async def test_a_context_of_the_other_kind_is_refused() -> None:
    seats = VirtualObject("Seats")
    with pytest.raises(
        InvalidHandler, match=r"Seats/free .* plain `def`, but .* ObjectContext are awaited.*"
    ) as raised:

        @seats.handler()
        def free(ctx: ObjectContext) -> None: ...

    assert "Take howdah.blocking.ObjectContext, or write `async def`." in str(raised.value)
    with pytest.raises(
        InvalidHandler, match=r"`async def`, but .* WorkflowContext block"
    ) as raised:

        @Workflow("Signup").main()
        async def run(ctx: blocking.WorkflowContext) -> None: ...

    assert "Take howdah.WorkflowContext, or write `def`." in str(raised.value)

    @seats.handler()
    def sell(ctx: blocking.ObjectContext) -> None: ...

    @seats.handler()
    def unknown(ctx: "OnlyForTypeCheckers") -> None: ...  # type: ignore[name-defined]  # noqa: F821

    assert list(seats.handlers) == ["sell", "unknown"]


# --- workflows -----------------------------------------------------------------------------------


def signup() -> Workflow:
    """A workflow with a main handler and one beside it."""
    workflow = Workflow("Signup", metadata={"team": "growth"})

    @workflow.main(metadata={"step": "all"})
    async def run(ctx: Any, email: str) -> bool:
        return True

    @workflow.handler()
    async def click(ctx: Any, secret: str) -> None: ...

    return workflow


def test_a_workflow_has_a_main_handler_and_shared_ones() -> None:
    workflow = signup()

    assert workflow.kind == "workflow"
    assert {name: one.kind for name, one in workflow.handlers.items()} == {
        "run": "workflow",
        "click": "shared",
    }
    assert [handler.service_kind for handler in workflow.handlers.values()] == ["workflow"] * 2


def test_a_second_main_handler_is_refused() -> None:
    workflow = signup()

    async def again(ctx: Any) -> None: ...

    with pytest.raises(InvalidHandler, match=r"Signup/again .* is Signup/run already") as raised:
        workflow.main()(again)

    assert ".handler()" in str(raised.value.hint)
    assert "again" not in workflow.handlers


def test_a_workflow_without_a_main_handler_is_refused_when_it_is_described() -> None:
    workflow = Workflow("Signup")

    @workflow.handler()
    async def click(ctx: Any) -> None: ...

    with pytest.raises(
        IncompleteWorkflow, match=r"HD1009: The workflow Signup has no main handler"
    ):
        describe([workflow])


def test_only_the_main_handler_has_a_workflow_retention() -> None:
    workflow = signup()

    assert described(workflow, "run")["workflow_retention_seconds"] == 86400.0
    assert described(workflow, "click")["workflow_retention_seconds"] is None
    [one] = describe([workflow], Options(workflow_retention=timedelta(hours=1)))
    assert one["handlers"][0]["workflow_retention_seconds"] == 3600.0


def test_the_workflow_retention_of_the_main_handler_goes_before_the_workflows() -> None:
    workflow = Workflow("Signup", workflow_retention=timedelta(seconds=9))

    @workflow.main(workflow_retention=timedelta(seconds=3))
    async def run(ctx: Any) -> None: ...

    assert workflow.options.workflow_retention == timedelta(seconds=9)
    assert described(workflow, "run")["workflow_retention_seconds"] == 3.0


def test_metadata_is_described() -> None:
    workflow = signup()
    [one] = describe([workflow])

    assert one["metadata"] == {"team": "growth"}
    assert described(workflow, "run")["metadata"] == {"step": "all"}
    assert described(workflow, "click")["metadata"] is None


@pytest.mark.parametrize("service", [VirtualObject("Seats"), signup()], ids=repr)
def test_what_has_state_has_a_hidden_handler_that_replaces_it(service: AnyService) -> None:
    before = code_digest([service])

    facts = described(service, "~set_state")

    assert facts == {
        "name": "~set_state",
        "kind": "exclusive",
        "description": "Replaces the state of a key.",
        "metadata": None,
        "input_content_type": "application/json",
        "input_required": True,
        "input_schema": None,
        "output_content_type": "application/json",
        "output_schema": None,
        "is_public": False,
        "idempotency_retention_seconds": 86400.0,
        "journal_retention_seconds": 86400.0,
        "workflow_retention_seconds": None,
    }
    assert "~set_state" not in service.handlers
    assert code_digest([service]) == before


def test_a_service_has_no_state_to_replace() -> None:
    assert describe([Service("Shop")])[0]["handlers"] == []


def test_no_handler_can_be_named_like_the_hidden_one() -> None:
    async def add(ctx: Any) -> None: ...

    with pytest.raises(InvalidName):
        VirtualObject("Seats").handler("~set_state")(add)


@pytest.mark.parametrize("not_one", [print, "Shop/add", None, Service("Shop"), lambda ctx: ctx])
def test_what_no_service_declares_is_not_a_handler(not_one: object) -> None:
    with pytest.raises(NotAHandler, match=r"HD1005: .* is not a handler"):
        handler_of(not_one)


# --- names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["A", "cart", "Cart.v2", "a-b_c", "_a", "_9", "a" * 255])
def test_names_of_services(name: str) -> None:
    assert Service(name).name == name
    assert VirtualObject(name).name == name


@pytest.mark.parametrize(
    "name",
    [
        *("", "9a", "_", "__a", "a b", "a/b", "é", "a\n", "a" * 256, "-a", ".a"),
        *("howdah", "HowdahX", "restate.x", "Restate", "openapi", "OpenAPI"),
        *(None, 5, b"a"),
    ],
)
def test_names_that_services_cannot_have(name: Any) -> None:
    with pytest.raises(InvalidName, match="HD1001"):
        Service(name)
    with pytest.raises(InvalidName, match="HD1001"):
        VirtualObject(name)


@given(st.text(max_size=300))
def test_a_services_name_is_used_or_refused(name: str) -> None:
    try:
        service = Service(name)
    except InvalidName:
        return
    assert service.name.isascii()
    assert 1 <= len(name) <= 255
    assert not set(name) & set("/ \n%?#")


@pytest.mark.parametrize("name", ["", "9a", "a-b", "a.b", "a b", "a/b", "é", "a" * 256])
def test_names_that_handlers_cannot_have(name: str) -> None:
    async def add(ctx: Context) -> None: ...

    shop = Service("Shop")
    with pytest.raises(InvalidName, match="HD1001"):
        shop.handler(name)(add)
    assert shop.handlers == {}


def test_two_handlers_of_one_name_are_refused() -> None:
    shop = Service("Shop")

    @shop.handler()
    async def add(ctx: Context) -> None: ...

    async def another(ctx: Context) -> None: ...

    with pytest.raises(DuplicateName, match="already has a handler named 'add'"):
        shop.handler("add")(another)
    assert shop.handlers["add"].fn is add


def test_two_services_of_one_name_are_refused() -> None:
    with pytest.raises(DuplicateName, match="already has a service named 'Shop'"):
        describe([Service("Shop"), VirtualObject("Shop")])


# --- signatures ----------------------------------------------------------------------------------


def _sync_generator(ctx: Any) -> Iterator[int]:
    yield 1


def _awaitable(ctx: Any) -> Awaitable[int]:
    raise NotImplementedError


async def _generator(ctx: Any) -> AsyncIterator[int]:
    yield 1


async def _nothing() -> None: ...


def _traced(fn: Any) -> Any:
    """A decorator that forgets to await."""

    @functools.wraps(fn)
    def traced(*arguments: Any) -> Any:
        return fn(*arguments)

    return traced


async def _three(ctx: Any, one: int, two: int) -> None: ...


async def _by_name(ctx: Any, *, one: int) -> None: ...


async def _any_number(ctx: Any, *many: int) -> None: ...


async def _opaque(ctx: Any, one: Opaque) -> None: ...


async def _opaque_result(ctx: Any) -> list[Opaque]:
    return []


async def _unknown(ctx: Any, price: "Decimal") -> None: ...


async def _no_type(ctx: Any, price: "1 +") -> None: ...  # type: ignore[valid-type]  # noqa: F722 - wrong on purpose


@pytest.mark.parametrize(
    ("fn", "said"),
    [
        (_sync_generator, "it yields"),
        (_awaitable, "returns an awaitable"),
        (_traced(_nothing), "returns an awaitable"),
        (print, "not a function"),
        (_generator, "it yields"),
        (_nothing, "it takes ()"),
        (_three, "(ctx) or (ctx, argument)"),
        (_by_name, "(ctx) or (ctx, argument)"),
        (_any_number, "(ctx) or (ctx, argument)"),
        (_unknown, "Decimal"),
        (_no_type, "cannot be resolved"),
        (5, "it is int"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_cannot_be_a_handler_is_refused_when_it_is_declared(fn: Any, said: str) -> None:
    shop = Service("Shop")
    with pytest.raises(InvalidHandler) as raised:
        shop.handler("add")(fn)
    assert str(raised.value).startswith("HD1003: Shop/add cannot be a handler: ")
    assert said in str(raised.value)
    assert raised.value.hint
    assert shop.handlers == {}


@pytest.mark.parametrize("fn", [_opaque, _opaque_result], ids=lambda fn: str(fn.__name__))
def test_types_without_a_form_in_bytes_are_refused_when_they_are_declared(fn: Any) -> None:
    with pytest.raises(SerdeError, match=r"HD1010: Cannot use the type .*Opaque"):
        Service("Shop").handler("add")(fn)


def test_a_decorator_without_parentheses_is_refused() -> None:
    async def add(ctx: Context) -> None: ...

    with pytest.raises(InvalidHandler, match="parentheses"):
        Service("Shop").handler(add)  # type: ignore[arg-type]  # wrong on purpose


def test_a_function_is_one_handler_only() -> None:
    shop, other = Service("Shop"), Service("Other")

    @shop.handler()
    async def add(ctx: Context) -> None: ...

    with pytest.raises(InvalidHandler, match="it is Shop/add already"):
        other.handler()(add)


def test_types_of_the_place_of_declaration_are_found() -> None:
    @dataclass
    class Local:
        number: int

    shop = Service("Shop")

    @shop.handler()
    async def add(ctx: "Unknown", one: "Local") -> "list[Local]":  # type: ignore[name-defined]  # noqa: F821 - the context's type is not needed
        return [one]

    assert handler_of(add).input_serde.deserialize(b'{"number": 1}') == Local(1)
    assert handler_of(add).output_type == list[Local]


def test_an_argument_with_a_default_may_be_left_out() -> None:
    shop = Service("Shop")

    @shop.handler()
    async def add(ctx: Context, count: int = 3) -> int:
        return count

    handler = handler_of(add)
    assert handler.input_serde.deserialize(b"") == 3
    assert handler.input_serde.deserialize(b"5") == 5
    assert not described(shop, "add")["input_required"]


def test_an_empty_body_is_refused_where_an_argument_is_required() -> None:
    shop = Service("Shop")

    @shop.handler()
    async def add(ctx: Context, count: int) -> int:
        return count

    with pytest.raises(SerdeError, match="the body is empty"):
        handler_of(add).input_serde.deserialize(b"")


# --- options -------------------------------------------------------------------------------------


def test_options_of_a_handler_go_before_those_of_its_service() -> None:
    shop = Service(
        "Shop",
        abort_timeout=timedelta(seconds=9),
        journal_retention=timedelta(0),
        invocation_retry_policy=InvocationRetryPolicy(max_attempts=5, on_max_attempts="kill"),
    )

    @shop.handler(
        abort_timeout=timedelta(seconds=3),
        invocation_retry_policy=InvocationRetryPolicy(max_attempts=2),
    )
    async def add(ctx: Context) -> None: ...

    options = handler_of(add).options
    assert options.abort_timeout == timedelta(seconds=3)
    assert options.journal_retention == timedelta(0)
    assert options.inactivity_timeout is None
    assert options.invocation_retry_policy == InvocationRetryPolicy(
        max_attempts=2, on_max_attempts="kill"
    )


@pytest.mark.parametrize(
    ("given", "inherited", "preloads"),
    [
        ({}, {}, True),
        ({"enable_lazy_state": True}, {}, False),
        ({"enable_lazy_state": False}, {}, True),
        ({"state_preload": True}, {}, True),
        ({"state_preload": False}, {}, False),
        ({"state_preload": ["b", "a", "b"]}, {}, ("b", "a")),
        ({"state_preload": []}, {}, ()),
        ({"state_preload": ["a"], "enable_lazy_state": True}, {}, ("a",)),
        ({}, {"enable_lazy_state": True}, False),
        ({}, {"state_preload": ["a"]}, ("a",)),
        ({"enable_lazy_state": True}, {"state_preload": ["a"]}, False),
        ({"state_preload": True}, {"enable_lazy_state": True}, True),
    ],
    ids=str,
)
def test_how_much_state_comes_with_an_invocation(
    given: dict[str, Any], inherited: dict[str, Any], preloads: object
) -> None:
    seats = VirtualObject("Seats", **inherited)

    @seats.handler(**given)
    async def reserve(ctx: ObjectContext) -> None: ...

    assert handler_of(reserve).options.preloads == preloads


@pytest.mark.parametrize("wrong", ["name", b"name", 5, [""], [5]], ids=str)
def test_state_to_preload_is_a_list_of_names(wrong: Any) -> None:
    with pytest.raises(OutOfBounds, match=r"state_preload is .*must be True, False or a list"):
        VirtualObject("Seats", state_preload=wrong)


@pytest.mark.parametrize("name", ["enable_lazy_state", "ingress_private"])
def test_what_is_yes_or_no_is_nothing_else(name: str) -> None:
    for wrong in (1, "yes"):
        with pytest.raises(OutOfBounds, match=f"{name} is .*, but must be True or False"):
            VirtualObject("Seats", **{name: wrong})  # type: ignore[arg-type]  # names from a list


def test_a_duration_that_is_no_timedelta_is_refused() -> None:
    with pytest.raises(OutOfBounds, match="must be a timedelta of 0s to 1d"):
        Service("Shop", abort_timeout=5)  # type: ignore[arg-type]  # wrong on purpose


def test_what_an_operator_says_goes_before_what_the_program_says_at_the_same_place() -> None:
    shop = Service("Shop", abort_timeout=timedelta(seconds=9))

    @shop.handler(abort_timeout=timedelta(seconds=3))
    async def add(ctx: Context) -> None: ...

    @shop.handler()
    async def remove(ctx: Context) -> None: ...

    shop.configure(HandlerOptions(abort_timeout=timedelta(seconds=1)))
    assert handler_of(add).options.abort_timeout == timedelta(seconds=3)
    assert handler_of(remove).options.abort_timeout == timedelta(seconds=1)

    policy = InvocationRetryPolicy(max_attempts=1)
    own = HandlerOptions(abort_timeout=timedelta(seconds=2), invocation_retry_policy=policy)
    shop.configure(HandlerOptions(), {"add": own})
    assert handler_of(add) is shop.handlers["add"]
    assert handler_of(add).options.abort_timeout == timedelta(seconds=2)
    assert handler_of(add).retry_policy.max_attempts == 1
    assert handler_of(remove).options.abort_timeout == timedelta(seconds=9)

    shop.configure(HandlerOptions())
    assert handler_of(add).options.abort_timeout == timedelta(seconds=3)
    assert handler_of(add).retry_policy.max_attempts == 70


def test_an_operator_cannot_hide_a_service_with_a_public_handler() -> None:
    shop = Service("Shop")

    @shop.handler(ingress_private=False)
    async def add(ctx: Context) -> None: ...

    with pytest.raises(
        InvalidHandler, match=r"Shop/add .* it is public, but its service is private"
    ):
        shop.configure(HandlerOptions(ingress_private=True))
    assert described(shop, "add")["is_public"]


@pytest.mark.parametrize(
    "name",
    ["inactivity_timeout", "abort_timeout", "journal_retention", "idempotency_retention"],
)
def test_durations_outside_their_bounds_are_refused(name: str) -> None:
    for wrong in (timedelta(seconds=-1), timedelta(days=40_000)):
        with pytest.raises(OutOfBounds, match=name):
            Service("Shop", **{name: wrong})  # type: ignore[arg-type]  # names from a list
        with pytest.raises(OutOfBounds, match=name):
            Service("Shop").handler(**{name: wrong})  # type: ignore[arg-type]  # names from a list


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(OutOfBounds, match="'exclusive' or 'shared'"):
        VirtualObject("Seats").handler(kind="exlusive")  # type: ignore[arg-type]  # wrong on purpose


def test_a_handler_of_a_private_service_cannot_be_public() -> None:
    private = Service("Shop", ingress_private=True)
    with pytest.raises(InvalidHandler, match="it is public, but its service is private"):
        private.handler(ingress_private=False)

    @private.handler()
    async def add(ctx: Context) -> None: ...

    assert described(private, "add")["is_public"] is False


def noting(seen: list[str], name: str) -> Any:
    """A context manager that notes when it is entered and left."""

    @asynccontextmanager
    async def manager() -> AsyncIterator[None]:
        seen.append(f"enter {name}")
        try:
            yield
        finally:
            seen.append(f"leave {name}")

    return manager


NOTED = ["enter service", "enter handler", "run", "leave handler", "leave service"]


async def test_context_managers_surround_each_attempt_the_services_first() -> None:
    seen: list[str] = []
    shop = Service("Shop", invocation_context_managers=[noting(seen, "service")])

    @shop.handler(invocation_context_managers=[noting(seen, "handler")])
    async def add(ctx: Context, count: int) -> int:
        seen.append("run")
        return count

    async with handler_of(add).entered():
        assert await handler_of(add).fn(None, 2) == 2
    assert seen == NOTED


async def test_context_managers_of_a_plain_function_are_entered_around_its_thread() -> None:
    seen: list[str] = []
    shop = Service("Shop", invocation_context_managers=[noting(seen, "service")])

    @shop.handler(invocation_context_managers=[noting(seen, "handler")])
    def add(ctx: Any, count: int) -> int:
        seen.append("run")
        return count

    for _ in range(2):
        seen.clear()
        async with handler_of(add).entered():
            assert await asyncio.to_thread(handler_of(add).fn, None, 2) == 2
        assert seen == NOTED


async def test_context_managers_of_a_plain_function_are_left_when_it_fails() -> None:
    seen: list[str] = []

    @Service("Shop").handler(invocation_context_managers=[noting(seen, "handler")])
    def add(ctx: Any) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        async with handler_of(add).entered():
            handler_of(add).fn(None)
    assert seen == ["enter handler", "leave handler"]


# --- what the database is told -------------------------------------------------------------------


def test_a_handler_is_described_with_types_and_retentions() -> None:
    shop = Service("Shop", idempotency_retention=timedelta(hours=2))

    @shop.handler()
    async def add(ctx: Context, seat: Seat) -> list[int]:
        """Add a seat."""
        return [seat.row]

    facts = described(shop, "add")
    assert facts.pop("input_schema")["$defs"]["Seat"]["required"] == ["row"]
    assert facts == {
        "name": "add",
        "kind": "stateless",
        "description": "Add a seat.",
        "metadata": None,
        "input_content_type": "application/json",
        "input_required": True,
        "output_content_type": "application/json",
        "output_schema": {"type": "array", "items": {"type": "integer"}},
        "is_public": True,
        "idempotency_retention_seconds": 7200.0,
        "journal_retention_seconds": 86400.0,
        "workflow_retention_seconds": None,
    }


def test_retentions_that_nobody_gives_come_from_the_options() -> None:
    shop = Service("Shop")

    @shop.handler()
    async def add(ctx: Context) -> None: ...

    options = Options(journal_retention=timedelta(seconds=5))
    [one] = describe([shop], options)
    assert one["handlers"][0]["journal_retention_seconds"] == 5.0


@pytest.mark.parametrize(
    ("annotation", "media_type", "is_required"),
    [
        (int, "application/json", True),
        (int | None, "application/json", False),
        (Any, "application/json", False),
        (bytes, "*/*", False),
        (type(None), None, False),
    ],
    ids=str,
)
def test_bodies_that_are_accepted(
    annotation: Any, media_type: str | None, is_required: bool
) -> None:
    async def add(ctx: Context, one: Any) -> None: ...

    add.__annotations__["one"] = annotation
    shop = Service("Shop")
    shop.handler()(add)
    facts = described(shop, "add")
    assert facts["input_content_type"] == media_type
    assert facts["input_required"] is is_required


def test_a_handler_without_argument_takes_no_body() -> None:
    shop = Service("Shop")

    @shop.handler()
    async def add(ctx: Context) -> bytes:
        return b""

    facts = described(shop, "add")
    assert facts["input_content_type"] is None
    assert facts["input_required"] is False
    assert facts["input_schema"] is None
    assert facts["output_content_type"] == "application/octet-stream"


def test_given_serdes_and_media_types_are_kept() -> None:
    shop = Service("Shop")
    numbers = JsonSerde(list[int])

    @shop.handler(input_serde=BytesSerde(), output_serde=numbers, content_type="application/x")
    async def add(ctx: Context, one: bytes) -> list[int]:
        return list(one)

    handler = handler_of(add)
    assert handler.output_serde is numbers
    facts = described(shop, "add")
    assert (facts["input_content_type"], facts["output_content_type"]) == ("*/*", "application/x")


# --- the digest ----------------------------------------------------------------------------------

PROGRAM = """
from howdah import Service
shop = Service("Shop")

def price(seat):
    return 5 if seat in {"2A", "2B", "2C", "2D"} else 10

@shop.handler()
async def add(ctx, seat):
    return price(seat), [one for one in seat if one in {"x", "y", "z"}]
"""


def digest_of(source: str, file: str = "shop.py", module: str = "shop") -> str:
    """The digest of a program, compiled as if it stood in a file."""
    names: dict[str, Any] = {"__name__": module}
    exec(compile(source, file, "exec"), names)
    return code_digest([names["shop"]])


def test_a_digest_is_16_hexadecimal_digits() -> None:
    assert len(digest_of(PROGRAM)) == 16
    assert int(digest_of(PROGRAM), 16) >= 0


def test_a_digest_is_independent_of_place_lines_and_comments() -> None:
    moved = "# A comment.\n\n\n" + PROGRAM.replace("return price", "# Why.\n    return price")
    assert digest_of(moved, "/elsewhere/a.py") == digest_of(PROGRAM)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"x"', '"w"'),
        ('"2A"', '"3A"'),
        ("else 10", "else 11"),
        ("price(seat), [", "[price(seat), *["),
        ("def add(", "def put("),
        ('"Shop"', '"Store"'),
    ],
)
def test_a_digest_changes_with_the_code(old: str, new: str) -> None:
    changed = PROGRAM.replace(old, new)
    if new.startswith("[price"):
        changed = changed.rstrip() + "]\n"
    assert digest_of(changed) != digest_of(PROGRAM)


def test_a_digest_is_the_same_in_every_process() -> None:
    code = "import test_declarations as t; print(t.digest_of(t.PROGRAM))"
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.path.dirname(__file__)},
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        ).stdout.strip()
        for seed in ("0", "1", "2")
    }
    assert found == {digest_of(PROGRAM)}


def test_a_digest_is_independent_of_the_order_of_declaration() -> None:
    one, other = Service("One"), Service("Other")
    assert code_digest([one, other]) == code_digest([other, one])
