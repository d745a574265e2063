"""Types that Avro has no counterpart for."""

from __future__ import annotations

import re

from waybill.errors import ConfigurationError

__all__ = ["NoCounterpart", "is_name"]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class NoCounterpart(ConfigurationError):
    """A type that cannot be written as Avro. Its text names the field, the reason and what to write instead."""

    placed = False


def is_name(text: str) -> bool:
    """Whether it may be a name (Avro 1.12, §Names). Java takes other letters too; fastavro, which writes and reads, does not."""
    return _NAME.fullmatch(text) is not None
