"""The table `[schema]` of `waybill.toml`."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, field_validator

from waybill.errors import ConfigurationError
from waybill.settings import FILE
from waybill.tables import Table
from waybill_schema_registry.gate.rules import Policy, policy
from waybill_schema_registry.levels import Level

__all__ = ["SchemaTable", "SubjectTable", "load_table"]


class Leveled(Table):
    """Levels may be written in small letters."""

    @field_validator("level", mode="before", check_fields=False)
    @classmethod
    def _capitals(cls, value: Any) -> Any:
        return value.upper() if isinstance(value, str) else value


class SubjectTable(Leveled):
    """`[schema.subjects."orders.placed-value"]`: what counts for one subject."""

    level: Level | None = None
    """Its level of compatibility."""
    allow: tuple[str, ...] = ()
    """Rules that it may break, besides those that all subjects may."""
    forbid: tuple[str, ...] = ()
    """Rules that it must keep, besides those that all subjects must."""
    file: str | None = None
    """The `.avsc` file of its schema, where that is not named as the subject is."""


class SchemaTable(Leveled):
    """`[schema]`: what the gate compares with, and what it lets through."""

    registry: str | None = Field(default=None, repr=False)
    """The URL of the registry, or of its store. Passwords are better kept in `WAYBILL_REGISTRY_PASSWORD`."""
    level: Level | None = None
    """The level of compatibility of all subjects, instead of what the registry says."""
    files: tuple[str, ...] = ()
    """`.avsc` files, or folders of them, that are contracts."""
    allow: tuple[str, ...] = ()
    """Rules that may be broken."""
    forbid: tuple[str, ...] = ()
    """Rules that must be kept."""
    subjects: dict[str, SubjectTable] = Field(default_factory=dict)
    """What counts for single subjects, by their names."""

    def level_of(self, subject: str) -> Level | None:
        own = self.subjects.get(subject)
        return own.level if own is not None and own.level is not None else self.level

    def policy_of(self, subject: str) -> Policy:
        """What one subject says is stronger than what is said of all. Raises `ConfigurationError`."""
        own = self.subjects.get(subject, SubjectTable())
        policy(self.allow, self.forbid, f"[schema] in {FILE}")
        policy(own.allow, own.forbid, f'[schema.subjects."{subject}"] in {FILE}')
        allow = [rule for rule in self.allow if rule not in own.forbid]
        forbid = [rule for rule in self.forbid if rule not in own.allow]
        return policy([*allow, *own.allow], [*forbid, *own.forbid], f'[schema.subjects."{subject}"] in {FILE}')

    def subjects_of_files(self) -> dict[str, str]:
        """From paths to subjects."""
        return {
            Path(os.path.normpath(one.file)).as_posix(): subject
            for subject, one in self.subjects.items()
            if one.file is not None
        }


def load_table(path: Path | None = None) -> SchemaTable:
    """The table in the working directory's `waybill.toml`; an empty one where there is none. Raises `ConfigurationError`."""
    file = path or Path(FILE)
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return SchemaTable()
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{file} cannot be read: {error}") from error
    try:
        table = SchemaTable.model_validate(document.get("schema", {}))
    except ValidationError as error:
        found = error.errors(include_input=False, include_url=False)
        wrong = "; ".join(f"{'.'.join(map(str, item['loc'])) or 'the table'}: {item['msg']}" for item in found)
        known = ", ".join(SchemaTable.model_fields)
        raise ConfigurationError(f"[schema] in {file} cannot be used: {wrong}. Known are: {known}") from None
    for subject in ("", *table.subjects):
        table.policy_of(subject)
    return table
