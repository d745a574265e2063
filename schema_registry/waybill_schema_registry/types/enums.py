"""The symbols of enums."""

from __future__ import annotations

import enum
from collections.abc import Collection, Mapping
from typing import Any

from waybill_schema_registry.types.marks import Named
from waybill_schema_registry.types.refusal import NoCounterpart, is_name

__all__ = ["default_symbol", "symbols_of", "writing"]


def symbols_of(cls: type[enum.Enum]) -> dict[str, Any]:
    """The symbols and their members: the values where these are text, else the members' names."""
    if issubclass(cls, enum.Flag):
        raise NoCounterpart("a Flag holds several values at once: use a list of an Enum")
    found = list(cls)
    texts = all(isinstance(member.value, str) for member in found)
    symbols = {member.value if texts else member.name: member for member in found}
    illegal = next((symbol for symbol in symbols if not is_name(symbol)), None)
    if illegal is not None:
        raise NoCounterpart(f"its value {illegal!r} is no symbol in Avro: letters, digits and _, no digit first")
    return symbols


def writing(symbols: Mapping[str, Any]) -> dict[Any, str]:
    """From members and from their bare values, which pydantic's `use_enum_values` leaves in a model."""
    return {key: symbol for symbol, member in symbols.items() for key in (member, member.value)}


def default_symbol(naming: Named, symbols: Collection[str]) -> str | None:
    if naming.default_symbol is not None and naming.default_symbol not in symbols:
        raise NoCounterpart(f"default_symbol={naming.default_symbol!r} is none of its symbols: {', '.join(symbols)}")
    return naming.default_symbol
