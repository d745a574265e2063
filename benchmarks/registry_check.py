"""A new schema of 60 fields against 1,000 versions, transitively: the cost of `check_level` and of what the engine calls.

Cold: nothing was read before. Each version differs from the others in one field, as a history does; every tenth field is a
record, every tenth an enum, others are unions, arrays, maps and logical types. Beside it, what is paid anyway: the same
values encoded as JSON once, the same texts decoded once.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import msgspec

from benchmarks.harness import Meter, Row, Run, alone, interleave
from waybill_schema_registry.compatibility import check_level, check_parsed
from waybill_schema_registry.formats.avro import AvroFormat, parse
from waybill_schema_registry.formats.avro.parsing import READ
from waybill_schema_registry.formats.avro.stock import STOCK
from waybill_schema_registry.levels import Level

__all__ = ["measure"]

VERSIONS = 1_000
FIELDS = 60
TYPES: tuple[Any, ...] = (
    "int",
    "string",
    ["null", "string"],
    {"type": "long", "logicalType": "timestamp-millis"},
    {"type": "array", "items": "string"},
    {"type": "enum", "name": "E", "symbols": ["A", "B"]},
    {"type": "map", "values": "long"},
    "double",
    {"type": "record", "name": "L", "fields": [{"name": "a", "type": "int"}, {"name": "b", "type": ["null", "int"]}]},
    "boolean",
)


def measure(run: Run) -> list[Row]:
    """Milliseconds of processor time for the whole history."""
    count = max(100, int(VERSIONS * run.scale))
    history = [version(number) for number in range(count)]
    texts = [json.dumps(each) for each in history]
    new = version(count + 1)
    level = Level.BACKWARD_TRANSITIVE
    avro = AvroFormat()
    parsed, new_one = [parse(text) for text in texts], parse(new)

    def cold(schemas: list[Any]) -> float:
        STOCK.clear()
        READ.clear()
        return cost(lambda: check_level(level, schemas, new))

    contenders: dict[str, Callable[[], float]] = {
        "encoded": lambda: cost(lambda: [msgspec.json.encode(each) for each in history]),
        "decoded": lambda: cost(lambda: [msgspec.json.decode(each) for each in texts]),
        "values": lambda: cold(history),
        "values again": lambda: cost(lambda: check_level(level, history, new)),
        "texts": lambda: cold(texts),
        "texts again": lambda: cost(lambda: check_level(level, texts, new)),
        "parsed": lambda: cost(lambda: check_parsed(level, parsed, new_one, AvroFormat())),
        "parsed again": lambda: cost(lambda: check_parsed(level, parsed, new_one, avro)),
    }
    check_parsed(level, parsed, new_one, avro)
    found = {name: sorted(times)[len(times) // 2] for name, times in interleave(contenders, run.rounds).items()}
    at_most = {"values": 50, "texts": 50, "parsed": 50, "texts again": 2, "parsed again": 2}
    return [
        alone(
            f"{count:,} versions of {FIELDS} fields: {name} vs JSON alone",
            "ms CPU",
            found[name],
            baseline=found["encoded" if name.startswith("values") else "decoded"],
            at_most=at_most.get(name),
        )
        for name in contenders
        if name not in ("encoded", "decoded")
    ]


def version(number: int) -> dict[str, Any]:
    """A record that differs from other versions in what one field says of itself."""
    fields: list[dict[str, Any]] = []
    for place in range(FIELDS):
        kind = copy.deepcopy(TYPES[place % len(TYPES)])
        if isinstance(kind, dict) and "name" in kind:
            kind["name"] += str(place)
        field = {"name": f"field_{place}", "type": kind, "doc": f"the number {place}"}
        if place == number % FIELDS:
            field["doc"] = f"changed in {number}"
        fields.append(field)
    return {"type": "record", "name": "Order", "namespace": "com.example", "fields": fields}


def cost(work: Callable[[], Any]) -> float:
    meter = Meter()
    with meter:
        work()
    return meter.cpu * 1e3
