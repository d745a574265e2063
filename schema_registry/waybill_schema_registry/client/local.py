"""A registry in this process: the engine over a store."""

from __future__ import annotations

from collections.abc import Sequence

from waybill_schema_registry.engine.engine import Engine
from waybill_schema_registry.entities import LATEST, Config, Mode, Schema, Version
from waybill_schema_registry.levels import Level

__all__ = ["LocalRegistry"]


class LocalRegistry:
    """`RegistryClient` over an engine that is open. It is closed with this."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def register_schema(self, subject: str, schema: Schema, *, normalize: bool = False) -> Version:
        return await self._engine.register(subject, schema, normalize=normalize or None)

    async def lookup_schema(
        self, subject: str, schema: Schema, *, normalize: bool = False, deleted: bool = False
    ) -> Version:
        return await self._engine.lookup(subject, schema, normalize=normalize or None, deleted=deleted)

    async def get_schema(self, schema_id: int, subject: str | None = None) -> Schema:
        return (await self._engine.schema(schema_id, subject=subject)).schema

    async def get_schema_by_guid(self, guid: str) -> Schema:
        return (await self._engine.schema_by_guid(guid)).schema

    async def get_subjects(self, *, prefix: str = "", deleted: bool = False) -> Sequence[str]:
        return await self._engine.subjects(prefix or ":*:", deleted=deleted)

    async def get_versions(self, subject: str, *, deleted: bool = False) -> Sequence[int]:
        return [one.version for one in await self._engine.versions(subject, deleted=deleted)]

    async def get_version(self, subject: str, version: int, *, deleted: bool = False) -> Version:
        return await self._engine.version(subject, version, deleted=deleted)

    async def get_latest_version(self, subject: str) -> Version:
        return await self._engine.version(subject, LATEST)

    async def delete_subject(self, subject: str, *, permanent: bool = False) -> Sequence[int]:
        return await self._engine.delete_subject(subject, permanent=permanent)

    async def delete_version(self, subject: str, version: int, *, permanent: bool = False) -> int:
        return await self._engine.delete_version(subject, version, permanent=permanent)

    async def test_compatibility(self, subject: str, schema: Schema, version: int | None = None) -> Sequence[str]:
        return (await self._engine.compatible(subject, schema, version)).messages

    async def get_compatibility(self, subject: str | None = None) -> Level:
        return (await self.get_config(subject, effective=True)).compatibility or Level.BACKWARD

    async def set_compatibility(self, level: Level, subject: str | None = None) -> Level:
        return (await self.set_config(Config(compatibility=level), subject)).compatibility or level

    async def get_config(self, subject: str | None = None, *, effective: bool = False) -> Config:
        return await self._engine.config(subject, default_to_global=effective)

    async def set_config(self, config: Config, subject: str | None = None) -> Config:
        return await self._engine.set_config(config, subject)

    async def delete_config(self, subject: str | None = None) -> Config:
        return await self._engine.delete_config(subject)

    async def get_mode(self, subject: str | None = None) -> Mode:
        return await self._engine.mode(subject, default_to_global=True)

    async def set_mode(self, mode: Mode, subject: str | None = None, *, force: bool = False) -> Mode:
        return await self._engine.set_mode(mode, subject, force=force)

    async def delete_mode(self, subject: str) -> Mode:
        return await self._engine.delete_mode(subject)

    async def aclose(self) -> None:
        await self._engine.close()
