"""Schemas of handlers become the components of one document."""

from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from howdah_api.admin.openapi import Components


@dataclass
class Seat:
    row: int
    next: "Seat | None" = None


@dataclass
class Order:
    seats: list[Seat] = field(default_factory=list)


class Cat(msgspec.Struct, tag="cat"):
    lives: int


class Dog(msgspec.Struct, tag="dog"):
    friend: Cat | None = None


def schema_of(kind: Any) -> dict[str, Any]:
    return msgspec.json.schema(kind)


def test_definitions_are_hoisted() -> None:
    components = Components()

    reference = components.add("buyRequest", schema_of(Order))

    assert reference == {"$ref": "#/components/schemas/buyRequest"}
    assert components.by_name["buyRequest"] == {"$ref": "#/components/schemas/Order"}
    order = components.by_name["Order"]
    assert order["properties"]["seats"]["items"] == {"$ref": "#/components/schemas/Seat"}
    seat = components.by_name["Seat"]["properties"]["next"]["anyOf"]
    assert {"$ref": "#/components/schemas/Seat"} in seat


def test_discriminators_point_to_components() -> None:
    components = Components()

    components.add("adoptRequest", schema_of(Cat | Dog))

    assert components.by_name["adoptRequest"]["discriminator"]["mapping"] == {
        "cat": "#/components/schemas/Cat",
        "dog": "#/components/schemas/Dog",
    }


def test_one_definition_of_two_schemas_is_there_once() -> None:
    components = Components()

    components.add("buyRequest", schema_of(Order))
    components.add("buyResponse", schema_of(Order))

    assert components.by_name.keys() == {"buyRequest", "buyResponse", "Order", "Seat"}


@pytest.mark.parametrize("inner", [{"type": "integer"}, {"$ref": "#/$defs/B"}])
def test_definitions_that_differ_keep_apart(inner: dict[str, Any]) -> None:
    components = Components()
    by_a = {"$ref": "#/$defs/A"}
    components.add("x", {**by_a, "$defs": {"A": inner, "B": {"type": "string"}}})

    components.add("y", {**by_a, "$defs": {"A": inner, "B": {"type": "null"}}})

    assert components.by_name["B"] == {"type": "string"}
    assert components.by_name["y_B"] == {"type": "null"}
    is_same = "$ref" not in inner
    name = "A" if is_same else "y_A"
    assert components.by_name["y"] == {"$ref": f"#/components/schemas/{name}"}
    assert is_same or components.by_name["y_A"] == {"$ref": "#/components/schemas/y_B"}


def test_names_become_those_of_components() -> None:
    components = Components()
    schema = {"$ref": "#/$defs/Page[int]", "$defs": {"Page[int]": {"properties": {"next": {}}}}}

    components.add("read", schema)

    assert components.by_name["read"] == {"$ref": "#/components/schemas/Page_int_"}


def test_a_schema_that_refers_to_itself_does_so_still() -> None:
    components = Components()

    components.add("tree", {"type": "array", "items": {"$ref": "#"}})

    assert components.by_name["tree"]["items"] == {"$ref": "#/components/schemas/tree"}


def test_a_field_may_be_called_mapping() -> None:
    components = Components()
    field_type = {"type": "array", "items": {"$ref": "#/$defs/A"}}

    components.add("x", {"properties": {"mapping": field_type}, "$defs": {"A": {"type": "null"}}})

    mapping = components.by_name["x"]["properties"]["mapping"]
    assert mapping["items"] == {"$ref": "#/components/schemas/A"}


NAMES = st.sampled_from(["A", "B", "A_", "x", "x_A", "[A]", "{A}"])
SCHEMAS = st.builds(
    lambda root, definitions: {**root, "$defs": definitions},
    NAMES.map(lambda name: {"$ref": f"#/$defs/{name}"}),
    st.dictionaries(
        NAMES,
        NAMES.map(lambda name: {"$ref": f"#/$defs/{name}"}) | st.just({"type": "null"}),
        min_size=7,
    ),
)


@given(st.lists(SCHEMAS, max_size=4))
def test_every_reference_means_what_it_meant(schemas: list[dict[str, Any]]) -> None:
    components = Components()
    added = [components.add("x", schema) for schema in schemas]

    for schema, reference in zip(schemas, added, strict=True):
        mine, theirs = reference, schema
        theirs = {"$ref": schema["$ref"]}
        mine = components.by_name[mine["$ref"].rpartition("/")[2]]
        for _ in range(10):
            assert mine.keys() == theirs.keys()
            if "$ref" not in theirs:
                break
            theirs = schema["$defs"][theirs["$ref"].removeprefix("#/$defs/")]
            mine = components.by_name[mine["$ref"].rpartition("/")[2]]
