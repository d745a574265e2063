"""Why schemas do not go together, in the words of Confluent's API (`avro/Difference.java`, `AbstractSchemaRegistry`)."""

from __future__ import annotations

from waybill_schema_registry.compatibility import Step
from waybill_schema_registry.entities import Version
from waybill_schema_registry.formats.format import Difference
from waybill_schema_registry.levels import Level

__all__ = ["OTHER_FORMAT", "closing", "of_step", "of_version"]

OTHER_FORMAT = "Incompatible because of different schema type"
LONGEST_SCHEMA = 10 * 1024
DESCRIPTIONS = {
    "FIXED_SIZE_MISMATCH": (
        "The size of FIXED type field at path '{path}' in the {reader} schema does not match with the {writer} schema"
    ),
    "TYPE_MISMATCH": (
        "The type (path '{path}') of a field in the {reader} schema does not match with the {writer} schema"
    ),
    "NAME_MISMATCH": "The name of the schema has changed (path '{path}')",
    "MISSING_ENUM_SYMBOLS": (
        "The {reader} schema is missing enum symbols '{message}' at path '{path}' in the {writer} schema"
    ),
    "MISSING_UNION_BRANCH": (
        "The {reader} schema is missing a type inside a union field at path '{path}' in the {writer} schema"
    ),
    "READER_FIELD_MISSING_DEFAULT_VALUE": (
        "The field '{message}' at path '{path}' in the {reader} schema has no default value "
        "and is missing in the {writer} schema"
    ),
}
SIDES = {"backward": ("new", "old"), "forward": ("old", "new")}


def of_step(step: Step) -> list[str]:
    return [of_difference(found, *SIDES[step.direction]) for found in step.report.incompatibilities]


def of_difference(found: Difference, reader: str, writer: str) -> str:
    if found.type == OTHER_FORMAT:
        return OTHER_FORMAT
    description = DESCRIPTIONS.get(found.type, "").format(
        path=found.location, message=found.message, reader=reader, writer=writer
    )
    return f"{{errorType:'{found.type}', description:'{description}', additionalInfo:'{found.message}'}}"


def of_version(old: Version) -> list[str]:
    text = old.schema.text
    shown = f"'{text}'" if len(text) <= LONGEST_SCHEMA else f"<truncated> '{text[:LONGEST_SCHEMA]}...'"
    return [f"{{oldSchemaVersion: {old.version}}}", f"{{oldSchema: {shown}}}"]


def closing(*, validate_fields: bool, level: Level) -> str:
    return f"{{validateFields: '{str(validate_fields).lower()}', compatibility: '{level}'}}"
