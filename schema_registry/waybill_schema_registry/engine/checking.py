"""Whether a schema may follow those before it: a subject's level, over its live versions, within its compatibility group."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol, runtime_checkable

from waybill_schema_registry.compatibility import LevelReport, Report, Step, failing
from waybill_schema_registry.engine.library import Meaning, Needed
from waybill_schema_registry.engine.messages import OTHER_FORMAT, closing, of_step, of_version
from waybill_schema_registry.engine.verdict import Compatibility
from waybill_schema_registry.engine.view import Understood, View
from waybill_schema_registry.entities import Config, Schema
from waybill_schema_registry.formats.format import Difference, Parsed
from waybill_schema_registry.levels import Direction, Level
from waybill_schema_registry.stores.store import VersionSet

__all__ = ["WithFields", "check"]

RESERVED = "confluent:reserved"


@runtime_checkable
class WithFields(Protocol):
    """A format whose schemas have fields, whose names can be reserved (`confluent:reserved`, with `validateFields`)."""

    def fields(self, parsed: Parsed) -> Collection[str]:
        """The names of the fields at the top."""
        ...


def check(view: View, new: Understood, history: Sequence[VersionSet], config: Config) -> Compatibility:
    """history: the live versions, ascending. Raises `Needed`."""
    level = config.compatibility or view.level
    messages = reserved(view, new, history) if config.validate_fields else []
    rows = same_group(view, new, history, config.compatibility_group)
    steps = broken(view, new, rows, level)
    for step in steps:
        messages.extend(of_step(step))
    if steps:
        row = next(row for row in rows if row.version == steps[0].version)
        messages.extend(of_version(view.version(row)))
    if messages:
        messages.append(closing(validate_fields=bool(config.validate_fields), level=level))
    return Compatibility(
        compatible=not messages, messages=tuple(messages), report=LevelReport(level=level, steps=steps)
    )


def same_group(view: View, new: Understood, rows: Sequence[VersionSet], group: str | None) -> Sequence[VersionSet]:
    """The versions with the new one's value of the group's property, which may be none."""
    if not group or not rows:
        return rows
    schemas = view.texts(rows[0].context, [row.id for row in rows])
    return [row for row, old in zip(rows, schemas, strict=True) if prop(old, group) == prop(new.schema, group)]


def prop(schema: Schema, key: str) -> str | None:
    return schema.metadata.properties.get(key) if schema.metadata else None


def broken(view: View, new: Understood, history: Sequence[VersionSet], level: Level) -> tuple[Step, ...]:
    """What failed at the newest version that fails."""
    rows = level.looked_at(history)
    versions = ((row.version, (row, view.meaning(row.context, row.id))) for row in rows)
    try:
        return failing(level, versions, lambda old, direction: wrong(view, new, *old, direction))
    except Needed as needed:
        # All at once, not one round trip for each version.
        raise Needed([*needed.keys, *view.missing(rows)]) from None


def wrong(view: View, new: Understood, row: VersionSet, old: Meaning, direction: Direction) -> Report | None:
    reader, writer = (new.meaning, old) if direction == "backward" else (old, new.meaning)
    found = view.library.differences(reader, writer)
    if found is None:
        found = compared(view, new, view.kept(row.context, row.id), direction)
        view.library.keep_differences(reader, writer, found)
    return Report(incompatibilities=found) if found else None


def compared(view: View, new: Understood, old: Understood, direction: Direction) -> tuple[Difference, ...]:
    if new.schema.format != old.schema.format:
        return (Difference(type=OTHER_FORMAT, location="/", message=OTHER_FORMAT),)
    reader, writer = (new, old) if direction == "backward" else (old, new)
    format = view.library.format(new.schema.format)  # noqa: A001 - the word of the field
    return tuple(format.differences(view.parsed(reader), view.parsed(writer)))


def reserved(view: View, new: Understood, history: Sequence[VersionSet]) -> list[str]:
    """Names that a version reserves stay reserved, and no field has them."""
    names = reserved_names(new.schema)
    before = reserved_names(view.text(history[-1].context, history[-1].id)) if history else []
    format = view.library.format(new.schema.format)  # noqa: A001 - the word of the field
    fields = format.fields(view.parsed(new)) if isinstance(format, WithFields) else ()
    return [
        *(
            f"The new schema has reserved field {name} removed from its metadata "
            "which is present in the old schema's metadata."
            for name in before
            if name not in names
        ),
        *(
            f"The new schema has field that conflicts with the reserved field {name}."
            for name in names
            if name in fields
        ),
    ]


def reserved_names(schema: Schema) -> list[str]:
    return [name.strip() for name in (prop(schema, RESERVED) or "").split(",") if name.strip()]
