"""From a value to a body: the header that names its schema, and the Avro data behind it, in one buffer."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any, TypeAlias

from waybill.errors import EncodeError, describe
from waybill_schema_registry.codec.checking import checker
from waybill_schema_registry.codec.forms import Form
from waybill_schema_registry.codec.library import schemaless_writer
from waybill_schema_registry.codec.limits import Limits
from waybill_schema_registry.codec.measuring import cyclic
from waybill_schema_registry.codec.reading import check_traps
from waybill_schema_registry.codec.scanning import check_end, refusal, walker
from waybill_schema_registry.codec.varints import Refused
from waybill_schema_registry.formats.avro.schema import Node

__all__ = ["Write", "writer"]

Write: TypeAlias = Callable[[Any], bytes]
"""A value, as fastavro takes it, to a body. Raises `EncodeError`."""


def writer(root: Node, form: Form, prefix: bytes, limits: Limits) -> Write:
    """prefix: the header of each body. Raises `ConfigurationError` for a schema that is a trap."""
    check_traps(root)
    schema, most = form.schema, limits.body
    check = checker(root, limits)
    walk = walker(root, limits)
    needs_look = bool(cyclic(root))  # its depth is known when it is written; all else the check has seen
    start = len(prefix)

    def look(body: bytes) -> None:
        try:
            check_end(walk(body, start, [0]), len(body))
        except (Refused, IndexError, RecursionError) as error:
            raise EncodeError(f"nobody could decode it: {refusal(error)}") from error

    def write(value: Any) -> bytes:
        try:
            if check is not None:
                check(value)
            target = BytesIO()
            target.write(prefix)
            schemaless_writer(target, schema, value)
            body = target.getvalue()
            if needs_look:
                look(body)
        except EncodeError:
            raise
        except Exception as error:  # whatever it makes of the value: it does not fit
            raise EncodeError(f"cannot be written as Avro: {type(error).__name__}: {describe(error)[:300]}") from error
        if len(body) > most:
            raise EncodeError(
                f"it takes {len(body)} bytes, and no more than {most} are decoded: Limits(body=…) allows more"
            )
        return body

    return write
