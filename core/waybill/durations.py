"""Durations as people write them."""

from __future__ import annotations

import re
from datetime import timedelta

__all__ = ["spelled"]

UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


def spelled(text: str) -> timedelta | None:
    """`90s`, `5m`, `2h`, `3d` or `1.5h`; `None`: it is none of that."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text.strip(), re.ASCII)
    try:
        return None if found is None else timedelta(seconds=float(found[1]) * UNITS[found[2]])
    except OverflowError:
        return timedelta.max
