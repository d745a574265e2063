"""Random Avro schemas for property tests: sound ones, as JSON values, and pairs of which the second was changed a little.

Names are few, so that the parts of two schemas meet; every name of a type is defined once in a schema and may be used again.
"""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import strategies as st

PRIMITIVES = ("null", "boolean", "int", "long", "float", "double", "bytes", "string")
LOGICAL = (
    {"type": "int", "logicalType": "date"},
    {"type": "long", "logicalType": "timestamp-millis"},
    {"type": "string", "logicalType": "uuid"},
    {"type": "bytes", "logicalType": "decimal", "precision": 8, "scale": 2},
)
NAMES = tuple(f"T{number}" for number in range(8))
FIELDS = ("a", "b", "c", "d", "e")
SYMBOLS = ("RED", "GREEN", "BLUE")
DEFAULTS: dict[str, Any] = {
    "null": None,
    "boolean": True,
    "int": 1,
    "long": 2,
    "float": 1.5,
    "double": 2.5,
    "bytes": "\u00ff",
    "string": "s",
    "array": [],
    "map": {},
}

Draw = Any


@st.composite
def schemas(draw: Draw, *, namespaces: tuple[str, ...] = ("", "n", "n.m"), depth: int = 3) -> Any:
    """A sound schema, of any type."""
    return draw_schema(draw, Scope(namespaces), depth)


@st.composite
def records(draw: Draw, *, namespaces: tuple[str, ...] = ("", "n", "n.m"), depth: int = 3) -> dict[str, Any]:
    """A sound record."""
    return draw_record(draw, Scope(namespaces), depth)


@st.composite
def pairs(draw: Draw, schema: st.SearchStrategy[Any] | None = None) -> tuple[Any, Any]:
    """A schema, and the same with up to three changes: some of them break it, some do not, a few make it unsound."""
    one = draw(schemas() if schema is None else schema)
    other = copy.deepcopy(one)
    for _ in range(draw(st.integers(0, 3))):
        other = mutated(draw, other)
    return one, other


class Scope:
    """What is defined so far, and in which namespaces types may be."""

    def __init__(self, namespaces: tuple[str, ...]) -> None:
        self.namespaces = namespaces
        self.free = list(NAMES)
        self.done: list[str] = []


def draw_schema(draw: Draw, scope: Scope, depth: int) -> Any:
    kinds = ["primitive", "logical", "enum", "fixed"]
    if depth > 0:
        kinds += ["array", "map", "union", "record"]
    if scope.done:
        kinds.append("again")
    kind = draw(st.sampled_from(kinds))
    if kind == "again":
        return draw(st.sampled_from(scope.done))
    if kind in ("enum", "fixed", "record") and not scope.free:
        kind = "primitive"
    return MAKERS[kind](draw, scope, depth)


def draw_primitive(draw: Draw, scope: Scope, depth: int) -> Any:
    return draw(st.sampled_from(PRIMITIVES))


def draw_logical(draw: Draw, scope: Scope, depth: int) -> Any:
    return dict(draw(st.sampled_from(LOGICAL)))


def draw_array(draw: Draw, scope: Scope, depth: int) -> Any:
    return {"type": "array", "items": draw_schema(draw, scope, depth - 1)}


def draw_map(draw: Draw, scope: Scope, depth: int) -> Any:
    return {"type": "map", "values": draw_schema(draw, scope, depth - 1)}


def draw_union(draw: Draw, scope: Scope, depth: int) -> Any:
    branches: dict[str, Any] = {}
    for _ in range(draw(st.integers(1, 4))):
        free, done = list(scope.free), list(scope.done)
        branch = draw_schema(draw, scope, depth - 1)
        if isinstance(branch, list) or branch_name(branch) in branches:
            scope.free, scope.done = free, done
        else:
            branches[branch_name(branch)] = branch
    return list(branches.values()) or ["null"]


def branch_name(branch: Any) -> str:
    if isinstance(branch, str):
        return branch
    return full_name(branch) if "name" in branch else branch["type"]


def full_name(named: dict[str, Any]) -> str:
    return f"{named['namespace']}.{named['name']}" if named["namespace"] else named["name"]


def title(draw: Draw, scope: Scope, kind: str) -> dict[str, Any]:
    name = scope.free.pop(draw(st.integers(0, len(scope.free) - 1)))
    named = {"type": kind, "name": name, "namespace": draw(st.sampled_from(scope.namespaces))}
    if draw(st.booleans()):
        named["doc"] = draw(st.text(max_size=5))
    if draw(st.integers(0, 4)) == 0:
        named["aliases"] = [draw(st.sampled_from(("Old", "n.Old", "n.m.T1")))]
    return named


def draw_enum(draw: Draw, scope: Scope, depth: int) -> Any:
    symbols = draw(st.lists(st.sampled_from(SYMBOLS), min_size=1, unique=True))
    enum = {**title(draw, scope, "enum"), "symbols": symbols}
    if draw(st.booleans()):
        enum["default"] = draw(st.sampled_from(symbols))
    scope.done.append(full_name(enum))
    return enum


def draw_fixed(draw: Draw, scope: Scope, depth: int) -> Any:
    fixed = {**title(draw, scope, "fixed"), "size": draw(st.integers(1, 3))}
    scope.done.append(full_name(fixed))
    return fixed


def draw_record(draw: Draw, scope: Scope, depth: int) -> Any:
    record = {**title(draw, scope, "record"), "fields": []}
    itself = full_name(record)
    for name in draw(st.lists(st.sampled_from(FIELDS), unique=True, max_size=4)):
        record["fields"].append(draw_field(draw, scope, depth, name))
    if draw(st.integers(0, 3)) == 0:
        record["fields"].append({"name": "next", "type": ["null", itself], "default": None})
    scope.done.append(itself)
    return record


def draw_field(draw: Draw, scope: Scope, depth: int, name: str) -> dict[str, Any]:
    kind = draw_schema(draw, scope, depth - 1)
    field = {"name": name, "type": kind}
    default = default_of(kind)
    if default is not ... and draw(st.booleans()):
        field["default"] = default
    if draw(st.integers(0, 4)) == 0:
        field["aliases"] = [draw(st.sampled_from(("old", *FIELDS)))]
    if draw(st.integers(0, 4)) == 0:
        field["unit"] = draw(st.sampled_from(("EUR", 1, [1.0], {"b": None, "a": True})))
    return field


def default_of(kind: Any) -> Any:
    """A default that fits, or `...`."""
    if isinstance(kind, list):
        return default_of(kind[0]) if kind else ...
    if isinstance(kind, str):
        return DEFAULTS.get(kind, ...)
    return kind["symbols"][0] if kind["type"] == "enum" else DEFAULTS.get(kind["type"], ...)


MAKERS: dict[str, Any] = {
    "primitive": draw_primitive,
    "logical": draw_logical,
    "array": draw_array,
    "map": draw_map,
    "union": draw_union,
    "enum": draw_enum,
    "fixed": draw_fixed,
    "record": draw_record,
}


def mutated(draw: Draw, schema: Any) -> Any:
    """The schema with one change somewhere. It is changed in place as far as it can be."""
    places = list(found(schema))
    if not places:
        return draw(st.sampled_from(PRIMITIVES))
    place = draw(st.sampled_from(places))
    change = draw(st.sampled_from(CHANGES[kind_of(place)]))
    change(draw, place)
    return schema


def found(schema: Any) -> Any:
    """Every object of a schema that can be changed."""
    if isinstance(schema, list):
        for each in schema:
            yield from found(each)
    elif isinstance(schema, dict):
        if kind_of(schema) in CHANGES:
            yield schema
        for name in ("type", "items", "values", "fields"):
            yield from found(schema.get(name))


def kind_of(place: dict[str, Any]) -> str:
    kind = place.get("type")
    if isinstance(kind, str) and kind in ("record", "enum", "fixed", "array", "map"):
        return kind
    return "field" if "name" in place else "primitive"


def other_type(member: str) -> Any:
    def change(draw: Draw, place: dict[str, Any]) -> None:
        place[member] = draw(st.sampled_from((*PRIMITIVES, ["null", "int"], ["null", place[member]], [place[member]])))
        if isinstance(place[member], list) and isinstance(place[member][-1], list):
            place[member] = "int"
        place.pop("default", None)

    return change


def drop_default(draw: Draw, place: dict[str, Any]) -> None:
    place.pop("default", None)


def other_name(draw: Draw, place: dict[str, Any]) -> None:
    place["aliases"] = [place["name"]] if draw(st.booleans()) else []
    place["name"] = f"{place['name']}_renamed"


def fewer_fields(draw: Draw, place: dict[str, Any]) -> None:
    if place["fields"]:
        place["fields"].pop(draw(st.integers(0, len(place["fields"]) - 1)))


def more_fields(draw: Draw, place: dict[str, Any]) -> None:
    field: dict[str, Any] = {"name": f"more{len(place['fields'])}", "type": ["null", "long"]}
    if draw(st.booleans()):
        field["default"] = None
    place["fields"].insert(draw(st.integers(0, len(place["fields"]))), field)


def turn_fields(draw: Draw, place: dict[str, Any]) -> None:
    place["fields"].reverse()


def more_symbols(draw: Draw, place: dict[str, Any]) -> None:
    place["symbols"].append(f"MORE{len(place['symbols'])}")


def fewer_symbols(draw: Draw, place: dict[str, Any]) -> None:
    if len(place["symbols"]) > 1 and place["symbols"][-1] != place.get("default"):
        place["symbols"].pop()


def other_size(draw: Draw, place: dict[str, Any]) -> None:
    place["size"] += 1


CHANGES: dict[str, Any] = {
    "record": (fewer_fields, more_fields, more_fields, turn_fields, other_name),
    "enum": (more_symbols, fewer_symbols, drop_default, other_name),
    "fixed": (other_size, other_name),
    "array": (other_type("items"),),
    "map": (other_type("values"),),
    "field": (other_type("type"), drop_default, other_name),
}
