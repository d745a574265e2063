"""From the records of a topic to what it stands for: who comes later counts, as when Confluent's registry starts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

import msgspec

from waybill_schema_registry.engine.limits import LARGEST_ID, Limits
from waybill_schema_registry.engine.subjects import Name, checked, split
from waybill_schema_registry.entities import Config, Mode
from waybill_schema_registry.errors import Invalid
from waybill_schema_registry.transfer.records import Record, SchemaValue, read_line

__all__ = ["Dump", "Kept", "read_dump"]

LAST_TIME = 2**53
"""Milliseconds since 1970 that any JSON can tell apart from the next."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A version as it was written last. line: where."""

    value: SchemaValue
    at: int
    deleted: bool
    line: int


@dataclass
class Dump:
    """What the records stand for. highest: the id that was given last, by context, whether it stands or not. left_out: how many
    there are of kinds that mean nothing here. wrong: what cannot be read."""

    subjects: dict[Name, dict[int, Kept]] = field(default_factory=dict[Name, dict[int, Kept]])
    configs: dict[str, Config] = field(default_factory=dict[str, Config])
    modes: dict[str, Mode] = field(default_factory=dict[str, Mode])
    highest: Counter[str] = field(default_factory=Counter[str])
    left_out: Counter[str] = field(default_factory=Counter[str])
    wrong: list[str] = field(default_factory=list[str])

    def versions(self) -> Iterator[tuple[Name, int, Kept]]:
        for name, versions in self.subjects.items():
            for number, kept in versions.items():
                yield name, number, kept

    def add(self, record: Record) -> None:
        kind = KINDS.get(record.key.keytype)
        if kind is None:
            self.left_out[record.key.keytype] += 1
            return
        try:
            kind(self, record)
        except (Invalid, msgspec.ValidationError, ArithmeticError, ValueError, KeyError, TypeError) as error:
            self.wrong.append(f"line {record.line}: {record.key.keytype} of {record.key.subject}: {error}")

    def schema(self, record: Record) -> None:
        name, number = split(record.key.subject or ""), record.key.version or 0
        versions = self.subjects.setdefault(name, {})
        if record.value is None:
            versions.pop(number, None)
            return
        value = msgspec.convert(record.value, SchemaValue)
        checked(value.subject, longest=Limits().subject)
        numbers = 1 <= value.version <= LARGEST_ID and 0 <= value.id <= LARGEST_ID
        if not numbers or (split(value.subject), value.version) != (name, number):
            raise ValueError("its key and its value do not go together, or its version or id is none")
        at = record.at if record.at is not None else int(record.value.get("ts") or 0)
        if abs(at) > LAST_TIME:
            raise ValueError("its time is none in milliseconds since 1970")
        self.highest[name.context] = max(self.highest[name.context], value.id)
        versions[number] = Kept(value, at, value.deleted, record.line)

    def subject_deleted(self, record: Record) -> None:
        if record.value is None:
            return
        last = int(record.value["version"])
        versions = self.subjects.get(split(record.key.subject or ""), {})
        for number, kept in versions.items():
            versions[number] = replace(kept, deleted=kept.deleted or number <= last)

    def subject_cleared(self, record: Record) -> None:
        name = split(record.key.subject or "")
        versions = self.subjects.get(name, {})
        self.subjects[name] = {number: kept for number, kept in versions.items() if not kept.deleted}

    def config(self, record: Record) -> None:
        scope = split(record.key.subject or "").qualified
        if record.value is None:
            self.configs.pop(scope, None)
            return
        value = dict(record.value)
        value["compatibility"] = value.pop("compatibilityLevel", None)
        self.configs[scope] = msgspec.convert(value, Config)

    def mode(self, record: Record) -> None:
        scope = split(record.key.subject or "").qualified
        if record.value is None:
            self.modes.pop(scope, None)
        else:
            self.modes[scope] = Mode(record.value["mode"])

    def nothing(self, record: Record) -> None:
        """It says nothing that is not said elsewhere."""


KINDS: dict[str, Callable[[Dump, Record], None]] = {
    "SCHEMA": Dump.schema,
    "DELETE_SUBJECT": Dump.subject_deleted,
    "CLEAR_SUBJECT": Dump.subject_cleared,
    "CONFIG": Dump.config,
    "MODE": Dump.mode,
    "NOOP": Dump.nothing,
    "CONTEXT": Dump.nothing,
}
"""By Confluent's `SchemaRegistryKeyType`."""


def read_dump(lines: Iterable[str]) -> Dump:
    """What they stand for, and what is wrong with them."""
    dump = Dump()
    for number, text in enumerate(lines, start=1):
        try:
            record = read_line(text, number)
        except Invalid as error:
            dump.wrong.append(str(error))
            continue
        if record is not None:
            dump.add(record)
    return dump
