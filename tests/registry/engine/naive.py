"""A registry as one would explain it: a list of versions for each subject, and no thought of speed, stores or others."""

from __future__ import annotations

from dataclasses import dataclass, field

from waybill_schema_registry.levels import Level

Fields = tuple[str, ...]


class Refused(Exception):
    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


@dataclass
class Entry:
    version: int
    id: int
    fields: Fields
    deleted: bool = False


@dataclass
class Naive:
    subjects: dict[str, list[Entry]] = field(default_factory=dict)
    levels: dict[str, Level] = field(default_factory=dict)
    readonly: set[str] = field(default_factory=set)
    highest: int = 0

    def level(self, subject: str) -> Level:
        return self.levels.get(subject) or self.levels.get("") or Level.BACKWARD

    def live(self, subject: str) -> list[Entry]:
        return [entry for entry in self.subjects.get(subject, []) if not entry.deleted]

    def every(self) -> list[Entry]:
        return [entry for entries in self.subjects.values() for entry in entries]

    def writable(self, subject: str) -> None:
        if subject in self.readonly or ("" in self.readonly):
            raise Refused(42205)

    def register(self, subject: str, fields: Fields) -> tuple[int, int]:
        for entry in self.live(subject)[::-1]:
            if entry.fields == fields:
                return entry.id, entry.version
        self.writable(subject)
        self.check(subject, fields)
        number = max((entry.version for entry in self.subjects.get(subject, [])), default=0) + 1
        known = [entry.id for entry in self.every() if entry.fields == fields]
        if not known:
            self.highest += 1
        made = Entry(number, known[0] if known else self.highest, fields)
        others = [entry for entry in self.subjects.get(subject, []) if entry.id != made.id]
        self.subjects[subject] = [*others, made]
        return made.id, made.version

    def check(self, subject: str, fields: Fields) -> None:
        level = self.level(subject)
        history = self.live(subject)
        for entry in history if level.transitive else history[-1:]:
            if level.backward and not reads(fields, entry.fields):
                raise Refused(40901)
            if level.forward and not reads(entry.fields, fields):
                raise Refused(40901)

    def lookup(self, subject: str, fields: Fields, *, deleted: bool) -> tuple[int, int]:
        entries = self.subjects.get(subject, [])
        if not (entries if deleted else self.live(subject)):
            raise Refused(40401)
        found = [entry for entry in entries if entry.fields == fields and (deleted or not entry.deleted)]
        if not found:
            raise Refused(40403)
        best = max(found, key=lambda entry: (not entry.deleted, entry.version))
        return best.id, best.version

    def version(self, subject: str, number: int) -> tuple[int, int]:
        live = self.live(subject)
        if not live:
            raise Refused(40401)
        found = live[-1:] if number == -1 else [entry for entry in live if entry.version == number]
        if not found:
            raise Refused(40402)
        return found[0].id, found[0].version

    def delete_version(self, subject: str, number: int, *, permanent: bool) -> int:
        entries = self.subjects.get(subject)
        if not entries:
            raise Refused(40401)
        pool = self.live(subject)[-1:] if number == -1 else [entry for entry in entries if entry.version == number]
        if not pool:
            raise Refused(40402)
        entry = pool[0]
        if entry.deleted and not permanent:
            raise Refused(40406)
        self.writable(subject)
        if permanent and not entry.deleted:
            raise Refused(40407)
        self.remove(subject, [entry], permanent=permanent)
        return entry.version

    def delete_subject(self, subject: str, *, permanent: bool) -> list[int]:
        entries = self.subjects.get(subject)
        if not entries:
            raise Refused(40401)
        if not permanent and not self.live(subject):
            raise Refused(40404)
        self.writable(subject)
        if permanent and self.live(subject):
            raise Refused(40405)
        going = list(entries) if permanent else self.live(subject)
        self.remove(subject, going, permanent=permanent)
        return [entry.version for entry in going]

    def remove(self, subject: str, going: list[Entry], *, permanent: bool) -> None:
        for entry in going:
            entry.deleted = True
        if permanent:
            self.subjects[subject] = [entry for entry in self.subjects[subject] if entry not in going]
            if not self.subjects[subject]:
                del self.subjects[subject]
                self.levels.pop(subject, None)
                self.readonly.discard(subject)


def reads(reader: Fields, writer: Fields) -> bool:
    """A field that the writer does not have needs a default."""
    names = {name.removesuffix("?") for name in writer}
    return all(name.endswith("?") or name in names for name in reader)
