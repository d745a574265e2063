"""At which line of a contract's source a break is: where its field is named."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from waybill_schema_registry.gate.files import SUFFIX
from waybill_schema_registry.gate.verdict import Break, Verdict

__all__ = ["located"]


def located(verdict: Verdict) -> Verdict:
    """The verdict with the lines of its breaks, as far as they can be found."""
    if not verdict.breaks or not verdict.source.file:
        return verdict
    try:
        text = Path(verdict.source.file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return verdict
    lines = text.splitlines()
    return msgspec.structs.replace(verdict, breaks=tuple(_at(one, verdict, lines) for one in verdict.breaks))


def _at(found: Break, verdict: Verdict, lines: list[str]) -> Break:
    name = re.escape(found.field)
    pattern = rf'"name"\s*:\s*"{name}"' if verdict.source.file.endswith(SUFFIX) else rf"\s+{name}\s*[:=]"
    start = verdict.source.line
    if not found.field:
        return msgspec.structs.replace(found, line=start)
    search = re.compile(pattern).search if verdict.source.file.endswith(SUFFIX) else re.compile(pattern).match
    place = next((number for number, line in enumerate(lines[start - 1 :], start) if search(line)), start)
    return msgspec.structs.replace(found, line=place)
