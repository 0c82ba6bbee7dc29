"""Services and handlers: names, signatures, inherited options, and what the database is told."""

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
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
    handler_of,
)
from howdah.errors import (
    DuplicateName,
    InvalidHandler,
    InvalidName,
    NotAHandler,
    OutOfBounds,
    SerdeError,
)
from howdah.options import Options
from howdah.service import code_digest, describe

if TYPE_CHECKING:
    from decimal import Decimal


@dataclass
class Seat:
    row: int


class Opaque:
    """Something with no form in bytes."""

    def __init__(self, socket: object) -> None:
        self.socket = socket


def described(service: Service | VirtualObject, name: str) -> dict[str, Any]:
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


def _sync(ctx: Any) -> None: ...


async def _generator(ctx: Any) -> AsyncIterator[int]:
    yield 1


async def _nothing() -> None: ...


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
        (_sync, "not async"),
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


async def test_context_managers_surround_each_attempt_the_services_first() -> None:
    seen: list[str] = []

    def noting(name: str) -> Any:
        @asynccontextmanager
        async def manager() -> AsyncIterator[None]:
            seen.append(f"enter {name}")
            try:
                yield
            finally:
                seen.append(f"leave {name}")

        return manager

    shop = Service("Shop", invocation_context_managers=[noting("service")])

    @shop.handler(invocation_context_managers=[noting("handler")])
    async def add(ctx: Context, count: int) -> int:
        seen.append("run")
        return count

    assert await handler_of(add).fn(None, 2) == 2
    assert seen == ["enter service", "enter handler", "run", "leave handler", "leave service"]


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
        "input_content_type": "application/json",
        "input_required": True,
        "output_content_type": "application/json",
        "output_schema": {"type": "array", "items": {"type": "integer"}},
        "is_public": True,
        "idempotency_retention_seconds": 7200.0,
        "journal_retention_seconds": 86400.0,
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
