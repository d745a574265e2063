"""The normal form: what means nothing is taken out or put in order, as Confluent does with `normalize=true`.

Aliases and properties are sorted, logical types come first, an empty doc is none, members of defaults are sorted. Unlike
Confluent's, it keeps every default: there, one that is not of a union's first branch gets lost, or an integer for a double.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from waybill_schema_registry.formats.avro import names
from waybill_schema_registry.formats.avro.java_json import dumps, quoted
from waybill_schema_registry.formats.avro.schema import Field, Fixed, Named, Node, Primitive
from waybill_schema_registry.formats.avro.stackless import run
from waybill_schema_registry.formats.avro.text import Text, aliases

__all__ = ["normal_of"]

FIRST: Final = ("logicalType", "precision", "scale")
LOGICAL: Final = {
    "decimal": ("bytes", "fixed"),
    "big-decimal": ("bytes",),
    "uuid": ("string", "fixed"),
    "date": ("int",),
    "time-millis": ("int",),
    "duration": ("fixed",),
    "time-micros": ("long",),
    **{
        f"{kind}-{unit}": ("long",)
        for kind in ("timestamp", "local-timestamp")
        for unit in ("millis", "micros", "nanos")
    },
}


def normal_of(root: Node, known: Iterable[str] = ()) -> str:
    """The text of a schema in normal form. known: as with `text_of`."""
    return run(Normal(known).node(root, ""))


class Normal(Text):
    """Says less, or in a fixed order, where an order means nothing."""

    alike = False

    def doc(self, node: Named, /) -> str:
        return f',"doc":{quoted(node.doc)}' if node.doc else ""

    def aliases(self, node: Named, /) -> str:
        return aliases([names.shortened(alias, node.namespace) for alias in sorted(node.aliases)])

    def field_aliases(self, field: Field, /) -> str:
        return aliases(sorted(field.aliases))

    def default(self, field: Field) -> str:
        return dumps(field.default, ordered=True)

    def properties(self, of: Node | Field) -> str:
        order = sorted(of.properties, key=lambda name: (rank(of, name), name))
        return "".join(f",{quoted(name)}:{dumps(of.properties[name], ordered=True)}" for name in order)


def rank(of: Node | Field, name: str) -> int:
    """Logical types go first where they have a meaning: on primitives and fixed."""
    first = leading(of) if isinstance(of, Primitive | Fixed) else ()
    return first.index(name) if name in first else len(FIRST)


def leading(of: Primitive | Fixed) -> tuple[str, ...]:
    if of.type not in LOGICAL.get(of.logical or "", ()):
        return ()
    if of.logical != "decimal":
        return FIRST[:1]
    precision, scale = of.properties.get("precision"), of.properties.get("scale", 0)
    if not (isinstance(precision, int) and isinstance(scale, int) and 0 <= scale <= precision and precision > 0):
        return ()
    return FIRST if scale else FIRST[:2]
