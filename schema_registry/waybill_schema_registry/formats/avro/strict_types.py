"""Rules about types that Avro resolves, or does not look at, and that mean something else afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from waybill_schema_registry.formats.avro.pairing import Finding, Pair
from waybill_schema_registry.formats.avro.schema import Enum, Fixed, Node, Primitive, Record

__all__ = [
    "bytes_to_string",
    "decimal_precision",
    "decimal_scale",
    "enum_default",
    "hidden_symbols",
    "logical_type",
    "lossy_promotion",
    "namespace",
]


def logical_type(pair: Pair) -> Iterator[Finding]:
    reader, writer = pair.reader.logical, pair.writer.logical
    if reader != writer:
        yield Finding(
            message=f"written as {writer or described(pair.writer)}, read as {reader or described(pair.reader)}",
            advice="Add a new field with the new type, and keep the old one until nobody reads it.",
        )


def decimal_scale(pair: Pair) -> Iterator[Finding]:
    reader, writer = decimals(pair)
    if reader and writer and reader["scale"] != writer["scale"]:
        factor = 10 ** abs(reader["scale"] - writer["scale"])
        yield Finding(
            message=f"written with scale {writer['scale']}, read with scale {reader['scale']}: values are off by {factor:,}",
            advice=f"Keep scale {writer['scale']}, or add a new field with the new scale.",
        )


def decimal_precision(pair: Pair) -> Iterator[Finding]:
    reader, writer = decimals(pair)
    if reader and writer and reader["precision"] < writer["precision"]:
        yield Finding(
            message=f"written with up to {writer['precision']} digits, read with up to {reader['precision']}",
            advice=f"Keep precision {writer['precision']} or more.",
        )


def bytes_to_string(pair: Pair) -> Iterator[Finding]:
    kinds = pair.reader.type, pair.writer.type
    if kinds == ("string", "bytes"):
        yield Finding(
            message="bytes are read as a string: those that are no UTF-8 cannot be read",
            advice="Keep bytes, or add a new field of type string.",
        )
    elif kinds == ("bytes", "string"):
        yield Finding(
            message="a string is read as bytes: who reads gets bytes where text was written",
            advice="Keep the string, or add a new field of type bytes.",
        )


LOSSY: Final = {("float", "int"), ("float", "long"), ("double", "long")}


def lossy_promotion(pair: Pair) -> Iterator[Finding]:
    if (pair.reader.type, pair.writer.type) in LOSSY:
        yield Finding(
            message=f"{pair.writer.type} is read as {pair.reader.type}: large numbers lose their last digits",
            advice=f"Keep {pair.writer.type}, or take double for int and decimal for long.",
        )


def enum_default(pair: Pair) -> Iterator[Finding]:
    reader, writer = pair.reader, pair.writer
    if not (isinstance(reader, Enum) and isinstance(writer, Enum)):
        return
    if None not in (reader.default, writer.default) and reader.default != writer.default:
        yield Finding(
            message=f"the default of {reader.name} was {writer.default} and is {reader.default}",
            advice=f"Keep {writer.default}: unknown symbols would change their meaning.",
        )


def hidden_symbols(pair: Pair) -> Iterator[Finding]:
    reader, writer = pair.reader, pair.writer
    if isinstance(reader, Enum) and isinstance(writer, Enum) and reader.default is not None:
        known = set(reader.symbols)
        if hidden := [symbol for symbol in writer.symbols if symbol not in known]:
            yield Finding(
                message=f"{', '.join(hidden[:10])} of the writer {'are' if hidden[1:] else 'is'} read as {reader.default}",
                advice="Let the readers know the new symbols before anybody writes them.",
                location="/symbols",
                writer_location="/symbols",
            )


def namespace(pair: Pair) -> Iterator[Finding]:
    reader, writer = pair.reader, pair.writer
    if not (isinstance(reader, Record | Enum | Fixed) and isinstance(writer, Record | Enum | Fixed)):
        return
    if reader.namespace != writer.namespace and writer.fullname not in reader.aliases:
        yield Finding(
            message=f"{writer.fullname} is {reader.fullname} now: some libraries compare full names",
            advice=f'Add "aliases": ["{writer.fullname}"] to {reader.fullname}.',
        )


def decimals(pair: Pair) -> tuple[dict[str, int] | None, dict[str, int] | None]:
    return decimal(pair.reader), decimal(pair.writer)


def decimal(node: Node) -> dict[str, int] | None:
    """None also where precision or scale are no numbers: such a type is read as plain bytes."""
    if not isinstance(node, Primitive | Fixed) or node.logical != "decimal":
        return None
    precision, scale = node.properties.get("precision"), node.properties.get("scale", 0)
    return {"precision": precision, "scale": scale} if isinstance(precision, int) and isinstance(scale, int) else None


def described(node: Node) -> str:
    return f"{node.name} ({node.type})" if isinstance(node, Record | Enum | Fixed) else node.type
