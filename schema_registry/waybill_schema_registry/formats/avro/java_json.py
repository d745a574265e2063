"""JSON as Jackson writes it: no space, doubles as `Double.toString`, control characters in capitals."""

from __future__ import annotations

import re
from decimal import Decimal
from json.encoder import encode_basestring
from math import isfinite, isnan
from typing import Any

from waybill_schema_registry.formats.avro.reading import is_list, is_object
from waybill_schema_registry.formats.avro.stackless import Step, run

__all__ = ["dumps", "quoted"]

CONTROL = re.compile(r"\\u00[0-9a-f]{2}")


def quoted(text: str) -> str:
    """A string between quotes."""
    written = encode_basestring(text)
    return CONTROL.sub(lambda found: "\\u" + found[0][2:].upper(), written) if "\\u00" in written else written


def dumps(value: Any, *, ordered: bool = False) -> str:
    """A JSON value as text. ordered: the members of objects by name."""
    return plain(value) if not isinstance(value, list | dict) else run(nested(value, ordered=ordered))


def nested(value: Any, *, ordered: bool) -> Step[str]:
    if is_list(value):
        items: list[str] = []
        for item in value:
            items += ((yield nested(item, ordered=ordered)),)
        return f"[{','.join(items)}]"
    if not is_object(value):
        return plain(value)
    members: list[str] = []
    for name in sorted(value) if ordered else value:
        members += (f"{quoted(name)}:{yield nested(value[name], ordered=ordered)}",)
    return f"{{{','.join(members)}}}"


def plain(value: Any) -> str:
    if isinstance(value, str):
        return quoted(value)
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    return double(value) if isinstance(value, float) else str(value)


def double(value: float) -> str:
    """As `Double.toString`: plain from 0.001 up to ten millions, else one digit before the point and an exponent."""
    if not isfinite(value):
        return '"NaN"' if isnan(value) else '"Infinity"' if value > 0 else '"-Infinity"'
    if value == 0 or 1e-3 <= abs(value) < 1e7:
        return repr(value)
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    if len(digits) == 1:  # Java has two at least, and of those the nearest: 4.9E-324, not 5.0E-324
        mantissa, _, power = f"{value:.1e}".partition("e")
        return f"{mantissa}E{int(power)}"
    rest = "".join(map(str, digits[1:])) or "0"
    return f"{'-' if sign else ''}{digits[0]}.{rest}E{int(exponent) + len(digits) - 1}"
