"""Values become bytes and come back; what cannot is refused in words, without showing the value."""

import dataclasses
import datetime as dt
import enum
import math
from decimal import Decimal
from typing import Annotated, Any, Literal, NotRequired, TypedDict
from uuid import UUID

import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from howdah import BytesSerde, DefaultSerde, JsonSerde, PydanticJsonSerde
from howdah.documents import DEPTH_MAX
from howdah.errors import SerdeError
from howdah.serde import allows_none, serde_for, type_name


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclasses.dataclass(frozen=True)
class Seat:
    row: int
    letter: str = "A"


@dataclasses.dataclass
class Order:
    seats: list[Seat]
    color: Color
    at: dt.datetime
    price: Decimal
    id: UUID
    note: str | None = None


class Point(msgspec.Struct, frozen=True):
    x: float
    y: float


class Person(TypedDict):
    name: str
    age: NotRequired[int]


class Customer(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(populate_by_name=True)

    full_name: str = pydantic.Field(alias="fullName", min_length=2)
    age: int = pydantic.Field(ge=0)


@dataclasses.dataclass
class Vault:
    color: Color


class Opaque:
    """Something with no form in bytes."""

    def __init__(self, socket: object) -> None:
        self.socket = socket


@dataclasses.dataclass
class Booking:
    customer: Customer
    seat: Seat


TEXT = st.text(st.characters(exclude_categories=["Cs"]))
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXT, inner, max_size=5),
    max_leaves=30,
)
SEATS = st.builds(Seat, st.integers(-(2**63), 2**63 - 1), TEXT)
ORDERS = st.builds(
    Order,
    st.lists(SEATS, max_size=4),
    st.sampled_from(Color),
    st.datetimes(timezones=st.just(dt.UTC)),
    st.decimals(allow_nan=False, allow_infinity=False),
    st.uuids(),
    st.none() | TEXT,
)


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


# --- round trips ---------------------------------------------------------------------------------


@given(JSON_VALUES)
def test_any_json_value_comes_back_without_a_type(value: Any) -> None:
    serde: DefaultSerde[Any] = DefaultSerde()
    assert serde.deserialize(serde.serialize(value)) == value


@given(ORDERS)
def test_a_dataclass_comes_back(order: Order) -> None:
    serde = serde_for(Order)
    assert serde.deserialize(serde.serialize(order)) == order


@given(st.builds(Point, NUMBERS, NUMBERS))
def test_a_struct_comes_back(point: Point) -> None:
    serde = serde_for(Point)
    assert serde.deserialize(serde.serialize(point)) == point


@given(st.fixed_dictionaries({"name": TEXT}, optional={"age": st.integers(0, 150)}))
def test_a_typed_dict_comes_back(person: Any) -> None:
    serde = serde_for(Person)
    assert serde.deserialize(serde.serialize(person)) == person


@given(st.text("abc", min_size=2), st.integers(0, 10**9))
def test_a_pydantic_model_comes_back(name: str, age: int) -> None:
    customer = Customer(fullName=name, age=age)
    for serde in (serde_for(Customer), PydanticJsonSerde(Customer)):
        document = serde.serialize(customer)
        assert b"fullName" in document
        assert serde.deserialize(document) == customer


@given(st.binary())
def test_bytes_stay_as_they_are(raw: bytes) -> None:
    for serde in (serde_for(bytes), BytesSerde(), DefaultSerde(bytes)):
        assert serde.serialize(raw) == raw
        assert serde.deserialize(raw) == raw
    assert serde_for(bytes | None).deserialize(raw) == (raw or None)
    assert DefaultSerde[Any]().serialize(raw) == raw


@pytest.mark.parametrize(
    ("hint", "value"),
    [
        (int, 0),
        (bool, False),
        (str, ""),
        (float, -0.5),
        (list[str], []),
        (dict[str, list[int]], {"a": [1]}),
        (dict[int, str], {1: "one"}),
        (tuple[int, str], (1, "a")),
        (set[int], {1, 2}),
        (Literal["a", "b"], "b"),
        (Color, Color.BLUE),
        (int | str, "five"),
        (Seat | None, Seat(1)),
        (Seat | None, None),
        (dt.timedelta, dt.timedelta(seconds=90)),
        (dt.date, dt.date(2024, 2, 29)),
        (list[Customer], [Customer(fullName="Jo", age=1)]),
        (Customer | None, None),
        (Booking, Booking(Customer(fullName="Jo", age=1), Seat(1))),
        (Annotated[int, msgspec.Meta(ge=0)], 5),
        (None, {"any": ["thing", None]}),
    ],
    ids=str,
)
def test_values_of_many_types_come_back(hint: Any, value: Any) -> None:
    serde = serde_for(hint)
    read = serde.deserialize(serde.serialize(value))
    assert read == value
    assert type(read) is type(value)


def test_the_serde_of_a_type_is_made_once() -> None:
    assert serde_for(Order) is serde_for(Order)


# --- no value ------------------------------------------------------------------------------------


@pytest.mark.parametrize("hint", [None, Any, Seat, Seat | None, int, Customer, list[int]], ids=str)
def test_none_is_no_bytes_and_no_bytes_are_none(hint: Any) -> None:
    assert serde_for(hint).serialize(None) == b""
    assert serde_for(hint).deserialize(b"") is None


@pytest.mark.parametrize("hint", [None, Any, Seat | None, Customer | None, type(None)], ids=str)
def test_null_is_none_where_none_is_allowed(hint: Any) -> None:
    assert serde_for(hint).deserialize(b" null ") is None


@pytest.mark.parametrize("hint", [Seat, int, Customer, list[int]], ids=str)
def test_null_is_refused_where_none_is_not_allowed(hint: Any) -> None:
    with pytest.raises(SerdeError):
        serde_for(hint).deserialize(b"null")


@pytest.mark.parametrize(
    ("hint", "expected"),
    [
        (None, True),
        (Any, True),
        (bytes, True),
        (int | None, True),
        (Annotated[int | None, "note"], True),
        (int, False),
        (int | str, False),
        (Seat, False),
    ],
    ids=str,
)
def test_it_is_known_which_types_allow_no_value(hint: Any, expected: bool) -> None:
    assert allows_none(hint) is expected


# --- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hint", "document", "said"),
    [
        (Seat, b'{"row": "x"}', "Cannot read a value of type Seat: expected `int`, got `str`"),
        (Seat, b"{}", "missing required field `row`"),
        (Order, b'{"seats": [{"row": 1}, {"row": []}]}', "$.seats[1].row"),
        (Color, b'"green"', "invalid enum value"),
        (int, b"1.5", "expected `int`, got `float`"),
        (int, b"", None),
        (int, b"1 2", "its bytes are not JSON"),
        (None, b"[1,]", "its bytes are not JSON"),
        (None, b"\xff\xfe", "its bytes are not"),
        (str, b'"\xff"', "its bytes are not UTF-8"),
        (None, b"NaN", "its bytes are not JSON"),
        (None, b'"\\ud800"', "half of a surrogate pair"),
        (float, b"Infinity", "its bytes are not JSON"),
        (Customer, b'{"fullName": "x", "age": -1}', "at `$.fullName`"),
        (Customer, b'{"fullName": "Jo", "age": NaN}', "NaN"),
        (Customer, b"{", "JSON"),
        (list[Customer], b'[{"fullName": "Jo"}]', "at `$[0].age`"),
        (None, b"\x00", "its bytes are not JSON"),
    ],
    ids=str,
)
def test_bytes_that_do_not_fit_are_refused_in_words(
    hint: Any, document: bytes, said: str | None
) -> None:
    serde = serde_for(hint)
    if said is None:
        assert serde.deserialize(document) is None
        return
    with pytest.raises(SerdeError) as raised:
        serde.deserialize(document)
    assert said in str(raised.value)
    assert str(raised.value).startswith("HD1010: Cannot read a value of type ")


@pytest.mark.parametrize("hint", [Seat, Customer, int, list[str], Vault], ids=str)
def test_a_refusal_never_shows_the_value(hint: Any) -> None:
    with pytest.raises(SerdeError) as raised:
        serde_for(hint).deserialize(
            b'{"row": "hunter2", "fullName": 5, "age": "hunter2", "color": "hunter2\\n\'", "at": 1}'
        )
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    "value",
    [
        object(),
        math.nan,
        math.inf,
        [1, {"a": -math.inf}],
        "\ud800",
        {"a": "\udfff"},
        nested(DEPTH_MAX + 1),
        nested(100_000),
        {1: object()},
        print,
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_has_no_json_form_is_refused(value: Any) -> None:
    serde: DefaultSerde[Any] = DefaultSerde()
    with pytest.raises(SerdeError, match="HD1010: Cannot write a value of type"):
        serde.serialize(value)


def test_a_value_that_holds_itself_is_refused() -> None:
    circle: list[Any] = []
    circle.append(circle)
    with pytest.raises(SerdeError, match="nested deeper than 100 levels"):
        serde_for(None).serialize(circle)


def test_only_bytes_are_written_as_bytes() -> None:
    with pytest.raises(SerdeError, match="expected bytes, got str"):
        BytesSerde().serialize("text")  # type: ignore[arg-type]  # wrong on purpose
    assert BytesSerde().serialize(bytearray(b"ab")) == b"ab"  # type: ignore[arg-type]  # taken too


def test_a_struct_holds_no_not_a_number() -> None:
    with pytest.raises(SerdeError, match="NaN"):
        serde_for(Point).serialize(Point(math.nan, 1.0))


@pytest.mark.parametrize("hint", [None, list[Any], Any], ids=str)
@pytest.mark.parametrize("depth", [DEPTH_MAX - 1, DEPTH_MAX, DEPTH_MAX + 1, 5000, 1_000_000])
def test_documents_are_at_most_100_deep_on_both_ways(hint: Any, depth: int) -> None:
    document = b"[" * depth + b"]" * depth
    if depth <= DEPTH_MAX:
        value = serde_for(hint).deserialize(document)
        assert serde_for(hint).serialize(value) == document
    else:
        with pytest.raises(SerdeError, match="nested deeper than 100 levels"):
            serde_for(hint).deserialize(document)


def test_brackets_inside_of_strings_are_not_depth() -> None:
    text = '[{"\\' * 500
    serde = serde_for(str)
    assert serde.deserialize(serde.serialize(text)) == text


@given(st.binary(max_size=300))
def test_any_bytes_are_a_value_or_refused(document: bytes) -> None:
    for hint in (None, Order, Customer, list[int], str):
        serde = serde_for(hint)
        try:
            value = serde.deserialize(document)
        except SerdeError:
            continue
        assert serde.deserialize(serde.serialize(value)) == value


@pytest.mark.parametrize("hint", [int | Seat | Point, Opaque, list[Opaque], Opaque | None], ids=str)
def test_a_type_that_nothing_can_read_is_refused_when_it_is_declared(hint: Any) -> None:
    with pytest.raises(SerdeError, match="HD1010: Cannot use the type"):
        serde_for(hint)


# --- the small print -----------------------------------------------------------------------------


def test_a_default_serde_takes_a_type_once() -> None:
    untyped: DefaultSerde[Any] = DefaultSerde()
    typed = untyped.with_maybe_type(Seat)
    assert typed.deserialize(b'{"row": 1}') == Seat(1)
    assert typed.with_maybe_type(int) is typed
    assert untyped.with_maybe_type(None) is untyped


def test_media_types() -> None:
    assert serde_for(bytes).content_type == "application/octet-stream"
    assert serde_for(bytes | None).content_type == "application/octet-stream"
    assert {serde_for(hint).content_type for hint in (None, int, Seat, Customer)} == {
        "application/json"
    }


def test_schemas_are_given_for_types_and_for_nothing_else() -> None:
    assert serde_for(int).json_schema() == {"type": "integer"}
    assert serde_for(list[str]).json_schema() == {"type": "array", "items": {"type": "string"}}
    assert serde_for(None).json_schema() is None
    assert serde_for(bytes).json_schema() is None
    schema = JsonSerde(Seat).json_schema()
    assert schema is not None
    assert "Seat" in schema["$defs"]
    customer = serde_for(Customer).json_schema()
    assert customer is not None
    assert set(customer["properties"]) == {"fullName", "age"}


@pytest.mark.parametrize(
    ("hint", "expected"),
    [
        (int, "int"),
        (int | None, "int | None"),
        (list[Seat], "list[Seat]"),
        (dict[str, Seat | None], "dict[str, Seat | None]"),
        (Any, "Any"),
        (Literal["a"], "Literal['a']"),
    ],
    ids=str,
)
def test_types_are_named_as_their_authors_wrote_them(hint: Any, expected: str) -> None:
    assert type_name(hint) == expected
