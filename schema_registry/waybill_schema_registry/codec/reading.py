"""From Avro data to a value: looked at first, then decoded by fastavro with the writer's schema, then resolved if ours differs."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any, TypeAlias

from waybill.errors import ConfigurationError, DecodeError
from waybill_schema_registry.codec.forms import Form, plain_form
from waybill_schema_registry.codec.library import schemaless_reader
from waybill_schema_registry.codec.limits import Limits
from waybill_schema_registry.codec.resolving import resolver
from waybill_schema_registry.codec.scanning import Walk, check_end, refusal, walker
from waybill_schema_registry.formats.avro.bounds import traps
from waybill_schema_registry.formats.avro.schema import Node, Record, named_types

__all__ = ["Read", "check_names", "check_traps", "reader", "too_large"]

Read: TypeAlias = Callable[[bytes], Any]
"""A body to what fastavro makes of it. Raises `DecodeError`, whatever the bytes are."""


def reader(
    writer: tuple[Node, Form], ours: tuple[Node, Form] | None, start: int, limits: Limits, *, named: bool = False
) -> Read:
    """ours: the schema that the values are wanted in; `None`: the writer's. start: where the data begins in a body. named:
    what is of a named type in a union comes as (its full name, value). Raises `ConfigurationError` for a trap.
    """
    root, form = writer
    check_traps(root)
    if ours is None or ours[1].bare == form.bare:
        return _read(form.schema, walker(root, limits), start, limits, named=named)
    walk = walker(root, limits, added=_added(root, ours[0]))
    plain = _read(plain_form(root), walk, start, limits, named=True)
    resolve = resolver(root, ours[0], limits, named=named)

    def read(body: bytes) -> Any:
        value = plain(body)
        try:
            return resolve(value)
        except Exception as error:  # whatever a value is made of: it does not fit ours
            raise refusal(error) from error

    return read


def _read(schema: Any, walk: Walk, start: int, limits: Limits, *, named: bool) -> Read:
    most = limits.body

    def read(body: bytes) -> Any:
        if len(body) > most:
            raise too_large(len(body), most)
        try:
            if (end := walk(body, start, [0])) != len(body):
                check_end(end, len(body))
            source = BytesIO(body)
            source.seek(start)
            return schemaless_reader(source, schema, None, False, False, "strict", named)
        except Exception as error:  # whatever is made of the bytes: they do not fit
            raise refusal(error) from error

    return read


def too_large(size: int, most: int) -> DecodeError:
    return DecodeError(f"{size} bytes, and no more than {most} are decoded: Limits(body=…) allows more")


def check_names(writer: Node, ours: Node) -> None:
    """Raises `DecodeError` for a record of another name, unless it is one that ours had before (its aliases)."""
    if not isinstance(writer, Record) or not isinstance(ours, Record):
        return
    if writer.name != ours.name and writer.fullname not in ours.aliases:
        raise DecodeError(
            f"it was written as {writer.fullname}, and this topic carries {ours.fullname}: publish it to a topic of its own, or "
            f"give {ours.fullname} the alias {writer.fullname}"
        )


def check_traps(root: Node) -> None:
    """Raises `ConfigurationError` for a schema whose data nobody should decode."""
    if found := traps(root):
        raise ConfigurationError(f"the schema is a trap for those who decode: it has {'; and '.join(found[:3])}")


def _added(writer: Node, ours: Node) -> int:
    """The most fields that one of our records has besides those of the writer's of the same name."""
    written = {node.name: len(node.fields) for node in named_types(writer).values() if isinstance(node, Record)}
    records = [node for node in named_types(ours).values() if isinstance(node, Record)]
    return max((len(node.fields) - written.get(node.name, 0) for node in records), default=0)
