"""Whether schemas go together: pure functions over two of them, or over a history and a new one.

report = check({"type": "record", "name": "R", "fields": []}, {"type": "record", "name": "S", "fields": []})
report.compatible, report.incompatibilities
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from waybill_schema_registry.formats.format import Difference
from waybill_schema_registry.levels import Level

__all__ = ["LevelReport", "Report", "Step", "check", "check_level"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What came of one reader and one writer."""

    incompatibilities: tuple[Difference, ...] = ()

    @property
    def compatible(self) -> bool:
        return not self.incompatibilities


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One version that the new schema was compared with, in one direction.

    version: its place in the history, from 0. direction: `backward`, the new one reads; `forward`, the old one does.
    """

    version: int
    direction: Literal["backward", "forward"]
    report: Report


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelReport:
    """What came of a new schema at a level. steps: those that failed, as Confluent reports them: of the first version that
    fails, newest first; forward before backward."""

    level: Level
    steps: tuple[Step, ...] = ()

    @property
    def compatible(self) -> bool:
        return not self.steps

    @property
    def incompatibilities(self) -> tuple[Difference, ...]:
        return tuple(found for step in self.steps for found in step.report.incompatibilities)


def check(reader: Any, writer: Any) -> Report:
    """Whether `reader` can read all that `writer` writes. Both are Avro schemas as JSON values. Raises `InvalidSchema`."""
    raise NotImplementedError


def check_level(level: Level | str, history: Sequence[Any], new: Any) -> LevelReport:
    """Whether `new` may follow `history`, oldest first, at this level. Schemas are JSON values. Raises `InvalidSchema`."""
    raise NotImplementedError
