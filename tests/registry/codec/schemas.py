"""Random schemas, and random values of them."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

INT, LONG = (-(2**31), 2**31 - 1), (-(2**63), 2**63 - 1)
EPOCH, LATE = datetime(1970, 1, 1), datetime(2100, 1, 1)  # noqa: DTZ001 - hypothesis wants them so

PLAIN: dict[str, st.SearchStrategy[Any]] = {
    "null": st.none(),
    "boolean": st.booleans(),
    "int": st.integers(*INT),
    "long": st.integers(*LONG),
    "float": st.floats(width=32, allow_nan=False),
    "double": st.floats(allow_nan=False),
    "bytes": st.binary(max_size=200),
    "string": st.text(max_size=200),
}
DIGITS = 12
LOGICAL: list[tuple[dict[str, Any], st.SearchStrategy[Any]]] = [
    ({"type": "string", "logicalType": "uuid"}, st.uuids()),
    ({"type": "int", "logicalType": "date"}, st.dates(date(1900, 1, 1), date(2100, 1, 1))),
    (
        {"type": "long", "logicalType": "timestamp-micros"},
        st.datetimes(EPOCH, LATE).map(lambda at: at.replace(tzinfo=UTC)),
    ),
    (
        {"type": "bytes", "logicalType": "decimal", "precision": DIGITS, "scale": 2},
        st.integers(-(10**DIGITS) + 1, 10**DIGITS - 1).map(lambda cents: Decimal(cents).scaleb(-2)),
    ),
]


class Drawing:
    """One schema and the way to its values, by name for those that are met again."""

    def __init__(self, draw: Any) -> None:
        self._draw = draw
        self._count = 0
        self._open: list[tuple[str, list[Any]]] = []

    def any(self, depth: int) -> tuple[Any, st.SearchStrategy[Any]]:
        kinds = ["plain", "logical", "enum", "fixed"]
        if depth > 0:
            kinds += ["record", "array", "map", "union", "optional"]
        return getattr(self, f"_{self._draw(st.sampled_from(kinds))}")(depth)

    def _name(self) -> str:
        self._count += 1
        return f"T{self._count}"

    def _plain(self, depth: int):
        name = self._draw(st.sampled_from(sorted(PLAIN)))
        return name, PLAIN[name]

    def _logical(self, depth: int):
        return self._draw(st.sampled_from(LOGICAL))

    def _enum(self, depth: int):
        symbols = [f"S{n}" for n in range(self._draw(st.integers(1, 80)))]
        return {"type": "enum", "name": self._name(), "symbols": symbols}, st.sampled_from(symbols)

    def _fixed(self, depth: int):
        size = self._draw(st.integers(1, 20))
        return {"type": "fixed", "name": self._name(), "size": size}, st.binary(min_size=size, max_size=size)

    def _record(self, depth: int):
        name, fields, values = self._name(), [], {}
        for number in range(self._draw(st.integers(0, 4))):
            schema, value = self.any(depth - 1)
            fields.append({"name": f"f{number}", "type": schema})
            values[f"f{number}"] = value
        if self._draw(st.booleans()):
            fields.append({"name": "again", "type": ["null", name]})
            values["again"] = st.none()
            inner = st.fixed_dictionaries(dict(values))
            values["again"] = st.one_of(st.none(), inner)
        return {"type": "record", "name": name, "fields": fields}, st.fixed_dictionaries(values)

    def _array(self, depth: int):
        while True:
            schema, value = self.any(depth - 1)
            if _takes_bytes(schema):
                return {"type": "array", "items": schema}, st.lists(value, max_size=5)

    def _map(self, depth: int):
        schema, value = self.any(depth - 1)
        return {"type": "map", "values": schema}, st.dictionaries(st.text(max_size=5), value, max_size=5)

    def _union(self, depth: int):
        """Of kinds that fastavro can tell apart by their values."""
        names = self._draw(
            st.lists(
                st.sampled_from(["null", "boolean", "long", "string", "bytes"]), min_size=1, max_size=5, unique=True
            )
        )
        return names, st.one_of([PLAIN[name] for name in names])

    def _optional(self, depth: int):
        while True:
            schema, value = self.any(depth - 1)
            if not isinstance(schema, list) and schema != "null":
                return ["null", schema], st.one_of(st.none(), value)


def _takes_bytes(schema: Any) -> bool:
    if schema == "null":
        return False
    if isinstance(schema, dict) and schema["type"] == "record":
        return any(_takes_bytes(field["type"]) for field in schema["fields"])
    return True


@st.composite
def schemas(draw: Any) -> tuple[dict[str, Any], st.SearchStrategy[Any]]:
    """A record, and what draws its values."""
    return Drawing(draw)._record(3)
