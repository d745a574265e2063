"""Rules beyond Avro's own: changes that every Avro reader accepts, and after which data mean something else.

RULES["DECIMAL_SCALE_CHANGED"](reader, writer) -> what it finds
findings(reader, writer, ["DECIMAL_SCALE_CHANGED", "BYTES_TO_STRING"]) -> what these find, from the top of the schemas down

What a rule finds is a `Difference` whose type is the rule's name, so a gate shows it as it shows an incompatibility.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from waybill_schema_registry.formats.avro.pairing import Finding, Pair, pairs
from waybill_schema_registry.formats.avro.parsed import AvroSchema
from waybill_schema_registry.formats.avro.schema import Enum, Fixed, Node, Record
from waybill_schema_registry.formats.avro.strict_fields import default, removed, renamed, unit
from waybill_schema_registry.formats.avro.strict_types import (
    bytes_to_string,
    decimal_precision,
    decimal_scale,
    enum_default,
    hidden_symbols,
    logical_type,
    lossy_promotion,
    namespace,
)
from waybill_schema_registry.formats.format import Difference

__all__ = ["RULES", "Rule", "findings"]


Look: TypeAlias = Callable[[Pair], Iterator[Finding]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """name: by which it is allowed or forbidden. meaning: what it finds, in a sentence. warns: whether it is worth a warning
    where nobody asked for it; the others are for those who want them."""

    name: str
    meaning: str
    look: Look
    warns: bool = True

    def __call__(self, reader: AvroSchema, writer: AvroSchema) -> tuple[Difference, ...]:
        """All that it finds between what reads and what wrote, from the top down."""
        return findings(reader, writer, [self.name])

    def at(self, pair: Pair) -> Iterator[Difference]:
        for found in self.look(pair):
            yield Difference(
                type=self.name,
                location=pair.location + found.location or "/",
                writer_location=pair.writer_location + found.writer_location or "/",
                message=found.message,
                reader_fragment=outline(pair.reader),
                writer_fragment=outline(pair.writer),
                advice=found.advice,
            )


def findings(reader: AvroSchema, writer: AvroSchema, rules: Iterable[str] | None = None) -> tuple[Difference, ...]:
    """What the rules of these names find; None: those that warn. Raises `KeyError` for a name that is no rule's."""
    chosen = [rule for rule in RULES.values() if rule.warns] if rules is None else [RULES[name] for name in rules]
    return tuple(found for pair in pairs(reader.root, writer.root) for rule in chosen for found in rule.at(pair))


def outline(node: Node) -> Any:
    """The node without what is inside of it, which findings of its own are about."""
    about = {name: node.properties[name] for name in ("logicalType", "precision", "scale") if name in node.properties}
    if isinstance(node, Record | Enum | Fixed):
        about["name"] = node.fullname
    return {"type": node.type, **about} if about else node.type


TABLE: Final = (
    Rule(name="LOGICAL_TYPE_CHANGED", meaning="Another logical type, or none any more.", look=logical_type),
    Rule(name="DECIMAL_SCALE_CHANGED", meaning="The point of decimals stands elsewhere.", look=decimal_scale),
    Rule(
        name="DECIMAL_PRECISION_REDUCED",
        meaning="Decimals have fewer digits than were written.",
        look=decimal_precision,
    ),
    Rule(name="BYTES_TO_STRING", meaning="Bytes are read as a string, or a string as bytes.", look=bytes_to_string),
    Rule(name="LOSSY_PROMOTION", meaning="Large numbers lose their last digits.", look=lossy_promotion),
    Rule(name="DEFAULT_CHANGED", meaning="A field has another default.", look=default),
    Rule(
        name="ENUM_DEFAULT_CHANGED", meaning="Unknown symbols are read as another one than before.", look=enum_default
    ),
    Rule(
        name="ENUM_DEFAULT_HIDES_SYMBOLS",
        meaning="Symbols are written that are read as the default.",
        look=hidden_symbols,
    ),
    Rule(name="RENAMED_WITHOUT_ALIAS", meaning="A field seems to have a new name, and no alias.", look=renamed),
    Rule(name="NAMESPACE_CHANGED", meaning="A type moved into another namespace, without an alias.", look=namespace),
    Rule(name="UNIT_CHANGED", meaning="The property `unit` of a field or a type is another.", look=unit),
    Rule(name="FIELD_REMOVED", meaning="A field is written that is no longer read.", look=removed, warns=False),
)
RULES: Final[Mapping[str, Rule]] = {rule.name: rule for rule in TABLE}
