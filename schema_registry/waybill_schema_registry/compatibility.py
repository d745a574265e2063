"""Whether schemas go together: pure functions over two of them, or over a history and a new one.

report = check({"type": "record", "name": "R", "fields": []}, {"type": "record", "name": "S", "fields": []})
report.compatible, report.incompatibilities
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from waybill_schema_registry.formats.avro.format import AvroFormat
from waybill_schema_registry.formats.avro.parsing import parse
from waybill_schema_registry.formats.format import Counterexample, Difference, Format, Parsed
from waybill_schema_registry.levels import Direction, Level

__all__ = ["AVRO", "LevelReport", "Report", "Step", "check", "check_level", "check_parsed", "failing"]

AVRO: Final = AvroFormat()
Old = TypeVar("Old")


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What came of one reader and one writer. compared: both, and their format."""

    incompatibilities: tuple[Difference, ...] = ()
    compared: tuple[Parsed, Parsed, Format] | None = field(default=None, repr=False, compare=False)

    @property
    def compatible(self) -> bool:
        return not self.incompatibilities

    @property
    def counterexample(self) -> Counterexample | None:
        """A datum that the writer encodes and the reader refuses or misreads, proved by decoding it; None where there is
        nothing to prove, or where none could be made. It is made when it is asked for, each time, in a millisecond or so."""
        if self.compatible or self.compared is None:
            return None
        reader, writer, form = self.compared
        return form.counterexample(reader, writer, self.incompatibilities)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One version that the new schema was compared with, in one direction.

    version: its place in the history, from 0; in a report of the registry, its number.
    """

    version: int
    direction: Direction
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
    """Whether `reader` can read all that `writer` writes. Both are Avro schemas as JSON values, or as texts, which begin with
    `{`, `[` or `"`. Raises `InvalidSchema`."""
    one, other = parse(reader), parse(writer)
    return Report(incompatibilities=AVRO.differences(one, other), compared=(one, other, AVRO))


def check_level(level: Level | str, history: Sequence[Any], new: Any) -> LevelReport:
    """Whether `new` may follow `history`, oldest first, at this level. Schemas are given as to `check`. Raises
    `InvalidSchema`, and `ValueError` for what is no level."""
    at = Level(level.upper())
    parsed = parse(new)
    versions = ((version, parse(history[version])) for version in at.looked_at(range(len(history))))
    return LevelReport(level=at, steps=failing(at, versions, comparing(parsed, AVRO)))


def check_parsed(level: Level, history: Sequence[Parsed], new: Parsed, form: Format) -> LevelReport:
    """As `check_level`, for schemas of any format that are parsed already."""
    versions = ((version, history[version]) for version in level.looked_at(range(len(history))))
    return LevelReport(level=level, steps=failing(level, versions, comparing(new, form)))


def failing(
    level: Level, versions: Iterable[tuple[int, Old]], wrong: Callable[[Old, Direction], Report | None]
) -> tuple[Step, ...]:
    """What is wrong with the first of these versions that does not go together with a new one; nothing if all do.

    versions: with their numbers, newest first. wrong: what there is to say against an old one, None where it is nothing.
    """
    directions = level.directions
    for number, old in versions if directions else ():
        steps: tuple[Step, ...] = ()
        for direction in directions:
            report = wrong(old, direction)
            if report is not None:
                steps = (*steps, Step(version=number, direction=direction, report=report))
        if steps:
            return steps
    return ()


def comparing(new: Parsed, form: Format) -> Callable[[Parsed, Direction], Report | None]:
    differences = form.differences

    def wrong(old: Parsed, direction: Direction) -> Report | None:
        reader, writer = (new, old) if direction == "backward" else (old, new)
        found = differences(reader, writer)
        return Report(incompatibilities=tuple(found), compared=(reader, writer, form)) if found else None

    return wrong
