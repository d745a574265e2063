"""What the registry says when it refuses, in Confluent's words and codes (`Errors.java` and its neighbours)."""

from __future__ import annotations

from collections.abc import Sequence

from waybill_schema_registry.compatibility import LevelReport
from waybill_schema_registry.engine.subjects import Name
from waybill_schema_registry.errors import Conflict, Incompatible, Invalid, NotFound

__all__ = [
    "context_not_empty",
    "different_content",
    "incompatible",
    "invalid_mode",
    "invalid_rules",
    "invalid_version",
    "no_config",
    "no_mode",
    "no_schema",
    "no_subject",
    "no_version",
    "not_permitted",
    "referenced",
    "subject_associated",
    "subject_not_soft_deleted",
    "subject_soft_deleted",
    "too_large",
    "version_not_soft_deleted",
    "version_soft_deleted",
]


def no_subject(subject: str) -> NotFound:
    return NotFound(f"Subject '{subject}' not found.", code=40401)


def no_version(version: int) -> NotFound:
    return NotFound(f"Version {version} not found.", code=40402)


def no_schema(key: int | str | None = None) -> NotFound:
    return NotFound("Schema not found" if key is None else f"Schema {key} not found", code=40403)


def subject_soft_deleted(subject: str) -> NotFound:
    text = f"Subject '{subject}' was soft deleted.Set permanent=true to delete permanently"
    return NotFound(text, code=40404)


def subject_not_soft_deleted(subject: str) -> NotFound:
    return NotFound(f"Subject '{subject}' was not deleted first before being permanently deleted", code=40405)


def version_soft_deleted(subject: str, version: int | str) -> NotFound:
    text = f"Subject '{subject}' Version {version} was soft deleted.Set permanent=true to delete permanently"
    return NotFound(text, code=40406)


def version_not_soft_deleted(subject: str, version: int | str) -> NotFound:
    text = f"Subject '{subject}' Version {version} was not deleted first before being permanently deleted"
    return NotFound(text, code=40407)


def no_config(scope: str) -> NotFound:
    return NotFound(f"Subject '{scope}' does not have subject-level compatibility configured", code=40408)


def no_mode(scope: str) -> NotFound:
    return NotFound(f"Subject '{scope}' does not have subject-level mode configured", code=40409)


def incompatible(subject: str, messages: Sequence[str], report: LevelReport | None) -> Incompatible:
    return Incompatible(
        f'Schema being registered is incompatible with an earlier schema for subject "{subject}", '
        f"details: [{', '.join(messages)}]",
        report,
    )


def subject_associated(subject: str) -> Conflict:
    return Conflict(f"An association already exists for subject '{subject}'", code=40904)


def invalid_version(version: object) -> Invalid:
    text = (
        f"The specified version '{version}' is not a valid version id. "
        'Allowed values are between [1, 2^31-1] and the string "latest"'
    )
    return Invalid(text, code=42202)


def invalid_mode() -> Invalid:
    return Invalid("Invalid mode. Valid values are READWRITE, READONLY, and IMPORT.", code=42204)


def not_permitted(name: Name, wanted: str) -> Invalid:
    context = name.scope
    return Invalid(f"Subject {name.qualified} in context {context} is {wanted} mode", code=42205)


def different_content(id: int, context: str) -> Invalid:  # noqa: A002 - as the API names it
    text = f"Overwrite new schema with id {id} in context {context} is not permitted."
    return Invalid(text, code=42205)


def referenced(subject: str, version: int) -> Invalid:
    key = f"{{magic=1,keytype=SCHEMA,subject={subject},version={version}}}"
    return Invalid(f"One or more references exist to the schema {key}.", code=42206)


def too_large(size: int, most: int) -> Invalid:
    text = f"Register operation failed because schema is too large: {size} bytes, where {most} are taken"
    return Invalid(text, code=42209)


def invalid_rules(text: str) -> Invalid:
    return Invalid(text, code=42210)


def context_not_empty(context: str) -> Invalid:
    return Invalid(f"The specified context '{context}' is not empty.", code=42211)
