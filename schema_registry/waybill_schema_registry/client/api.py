"""What a registry offers its users, by the names of Confluent's own clients: one protocol, in this process and over HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from waybill_schema_registry.entities import Config, Mode, Schema, Version
from waybill_schema_registry.levels import Level

__all__ = ["RegistryClient"]


class RegistryClient(Protocol):
    """Raises `NotFound`, `Incompatible`, `Invalid`, `Forbidden` by what the registry says, and `RegistryUnavailable` where it
    cannot be asked now, or where what answers is no registry. Subjects may name their context: `:.context:subject`."""

    async def register_schema(self, subject: str, schema: Schema, *, normalize: bool = False) -> Version:
        """A new version, or the one that has this schema already. Doing it twice is the same as once."""
        ...

    async def lookup_schema(
        self, subject: str, schema: Schema, *, normalize: bool = False, deleted: bool = False
    ) -> Version:
        """The version of the subject that has this schema. deleted: also one that is softly deleted."""
        ...

    async def get_schema(self, schema_id: int, subject: str | None = None) -> Schema:
        """subject: where the id is looked for, since each context counts its own."""
        ...

    async def get_schema_by_guid(self, guid: str) -> Schema: ...

    async def get_subjects(self, *, prefix: str = "", deleted: bool = False) -> Sequence[str]: ...

    async def get_versions(self, subject: str, *, deleted: bool = False) -> Sequence[int]: ...

    async def get_version(self, subject: str, version: int, *, deleted: bool = False) -> Version: ...

    async def get_latest_version(self, subject: str) -> Version: ...

    async def delete_subject(self, subject: str, *, permanent: bool = False) -> Sequence[int]:
        """The versions that went. permanent: for good, of a subject that is softly deleted already."""
        ...

    async def delete_version(self, subject: str, version: int, *, permanent: bool = False) -> int: ...

    async def test_compatibility(self, subject: str, schema: Schema, version: int | None = None) -> Sequence[str]:
        """What is wrong, in messages; empty if it may be registered. version: only this one (-1 the latest); None: the
        history, as the subject's level has it."""
        ...

    async def get_compatibility(self, subject: str | None = None) -> Level:
        """The level that counts: the subject's own, else that of its context, else the registry's."""
        ...

    async def set_compatibility(self, level: Level, subject: str | None = None) -> Level: ...

    async def get_config(self, subject: str | None = None, *, effective: bool = False) -> Config:
        """The settings of a subject, or of the whole registry; `NotFound` where a subject has none of its own.
        effective: with what the wider scopes say."""
        ...

    async def set_config(self, config: Config, subject: str | None = None) -> Config:
        """Change what `config` says; what it leaves out stays."""
        ...

    async def delete_config(self, subject: str | None = None) -> Config:
        """From now on the wider scope's settings count. The settings as they were; `NotFound` if there were none."""
        ...

    async def get_mode(self, subject: str | None = None) -> Mode:
        """The mode that counts, as for `get_compatibility`."""
        ...

    async def set_mode(self, mode: Mode, subject: str | None = None, *, force: bool = False) -> Mode:
        """force: IMPORT even where schemas are."""
        ...

    async def delete_mode(self, subject: str) -> Mode:
        """From now on the wider scope's mode counts. The mode as it was; `NotFound` if there was none."""
        ...

    async def aclose(self) -> None:
        """Give back connections and files. Twice is the same as once."""
        ...
