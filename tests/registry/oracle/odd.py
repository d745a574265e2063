"""Schemas that random ones do not come to: names that are none, members of other kinds than they should be, numbers as texts."""

from __future__ import annotations

from typing import Any


def record(*fields: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "record", "name": "R", "fields": list(fields), **more}


def field(type_: Any = "int", **more: Any) -> dict[str, Any]:
    return {"name": "f", "type": type_, **more}


def enum(*symbols: Any, **more: Any) -> dict[str, Any]:
    return {"type": "enum", "name": "E", "symbols": list(symbols), **more}


def fixed(size: Any, **more: Any) -> dict[str, Any]:
    return {"type": "fixed", "name": "F", "size": size, **more}


def array(items: Any) -> dict[str, Any]:
    return {"type": "array", "items": items}


NAMES = ("a-b", "1a", "a..b", ".a", "a.", "é", "a.b-c", "a-b.c", "x.1", "int", "n.int", " ", "a b", "😀", "R")
NUMBERS = ("1.5", "NaN", "Infinity", "-Infinity", " 1 ", "1d", "1e400", "+1", "1.", ".5", "")
ODD: tuple[Any, ...] = (
    *(record(name=name) for name in NAMES),
    *(record(namespace=name) for name in NAMES),
    *(record(aliases=[name]) for name in NAMES),
    *(record(aliases=[name], namespace="n") for name in NAMES),
    *(record(field(name=name)) for name in NAMES),
    *(record(field(aliases=[name])) for name in NAMES),
    *(enum(name) for name in NAMES),
    *(record(field("double", default=text)) for text in NUMBERS),
    *(record(field("float", default=text)) for text in NUMBERS),
    *(record(field(["double", "null"], default=text)) for text in NUMBERS),
    *(record(field(["null", "double"], default=text)) for text in NUMBERS),
    *(
        record(field(type_, default=value))
        for type_ in ("int", "long", "float")
        for value in (1.0, 1e3, 2**31, 1.5, True)
    ),
    *(record(field(["int", "null"], default=value)) for value in (None, 1, "1")),
    *(
        record(field(**{member: value}))
        for member in ("doc", "order", "aliases")
        for value in (1, "up", "DESCENDING", {})
    ),
    *(
        record(**{member: value})
        for member in ("doc", "namespace", "aliases", "fields")
        for value in (1, "x", None, {})
    ),
    *(record(aliases=value) for value in ([1], ["A", "A"], ["R"], [None])),
    *(enum("A", default=value) for value in (None, 1, "B", "A")),
    *(enum(*symbols) for symbols in (("A", "A"), (), (1,), (None,))),
    *(fixed(size) for size in (-1, 0, "3", 3.5, 3.0, 2**31, None)),
    *(fixed(16, logicalType=name) for name in ("uuid", "duration", "decimal")),
    *({"type": "bytes", "logicalType": "decimal", **more} for more in ({}, {"precision": 0}, {"precision": "2"})),
    *({"type": "bytes", "logicalType": "decimal", "precision": 2, "scale": scale} for scale in (3, -1, "1", 1.5)),
    *(fixed(1, logicalType="decimal", precision=precision) for precision in (2, 10)),
    *({"type": type_} for type_ in ({"type": "int"}, ["null", "int"], None, 1, "map", "array", "record", "error", "")),
    {"type": {"type": {"type": "string", "x": 1}, "y": 2}},
    array({"type": ["null", "int"], "x": 1}),
    array(None),
    record(field({"type": "R"})),
    record(field(), field()),
    record({"name": "f"}),
    record({"type": "int"}),
    ["null", "null"],
    ["int", ["null"]],
    [array("int"), array("long")],
    [{"type": "int"}, {"type": "int", "logicalType": "date"}],
    [{"type": "error", "name": "E", "fields": []}, "string"],
    [record(), record(namespace="n")],
    "",
    "null.x",
    {},
    None,
    1,
    [1],
    {"type": "int", "name": "x"},
    {"type": "string", "logicalType": "date"},
    record(field(enum("A", default="A"), default="Z")),
    record(field(fixed(2), default="a")),
    record(field("bytes", default="€")),
    record(field(record(name="S", namespace=None)), namespace="a"),
    record(field(record(field("a.R"), name="S", namespace="")), namespace="a"),
)
