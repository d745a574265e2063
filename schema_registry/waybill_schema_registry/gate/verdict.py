"""What came of comparing one contract with what there was."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from waybill_schema_registry.gate.contract import Source
from waybill_schema_registry.gate.rules import Grade
from waybill_schema_registry.levels import Direction, Level

__all__ = ["Break", "Evidence", "Order", "State", "Verdict"]

State: TypeAlias = Literal["new", "unchanged", "changed", "gone"]
Order: TypeAlias = Literal["any", "consumers", "producers", "nobody"]
"""Who may be upgraded first, while the others still have the latest version. nobody: neither can read the other."""


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """Data that were written with the one schema and read with the other. datum: as JSON. misread: something else came of it;
    otherwise it was refused."""

    datum: str
    misread: bool
    what_happened: str


class Break(msgspec.Struct, frozen=True, kw_only=True):
    """One rule that a contract breaks in one place. versions: which of the old ones, as they are called, newest first. reader and
    writer: the parts of both schemas, as JSON. place: the place in words, such as `field vat of Order`. field: the last field on the
    way there in the contract's own schema. line: where that is in its source, if that is known."""

    rule: str
    grade: Grade
    direction: Direction
    versions: tuple[str, ...]
    location: str
    writer_location: str
    message: str
    place: str = ""
    reader: str = ""
    writer: str = ""
    advice: str = ""
    evidence: Evidence | None = None
    field: str = ""
    line: int = 0


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """level: what the contract has to keep to. against: the versions it was compared with, as they are called."""

    subject: str
    source: Source
    state: State
    level: Level
    against: tuple[str, ...] = ()
    order: Order = "any"
    breaks: tuple[Break, ...] = ()

    @property
    def broken(self) -> bool:
        return any(found.grade == "forbidden" for found in self.breaks)
