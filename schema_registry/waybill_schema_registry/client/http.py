"""A registry over HTTP: Confluent's, Karapace, Apicurio (its path `/apis/ccompat/v7`), or `waybill registry serve`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from waybill_schema_registry.client.access import Access
from waybill_schema_registry.client.addresses import Address
from waybill_schema_registry.client.shapes import Compatible, ModeOf, Registered, SchemaOf, Settings, asked
from waybill_schema_registry.client.wire import Wire
from waybill_schema_registry.entities import LATEST, Config, Mode, Schema, Version
from waybill_schema_registry.errors import NotFound, RegistryUnavailable
from waybill_schema_registry.levels import Level

__all__ = ["HttpRegistry"]

ALL = ":*:"
"""The prefix of the subjects of every context."""


class HttpRegistry:
    """`RegistryClient` over the REST API (SCHEMA-REGISTRY §1). Asks each time: who asks often keeps what cannot change."""

    def __init__(self, servers: Sequence[Address], access: Access) -> None:
        self._wire = Wire(servers, access)

    async def register_schema(self, subject: str, schema: Schema, *, normalize: bool = False) -> Version:
        found: Registered = await self._wire.ask(
            "POST", f"{_subject(subject)}/versions", Registered, query={"normalize": normalize}, body=asked(schema)
        )
        if found.version is None:
            return await self.lookup_schema(subject, schema, normalize=normalize)
        return Version(
            subject=subject, version=found.version, id=found.id, guid=found.guid or "", schema=schema, at=found.ts or 0
        )

    async def lookup_schema(
        self, subject: str, schema: Schema, *, normalize: bool = False, deleted: bool = False
    ) -> Version:
        query = {"normalize": normalize, "deleted": deleted}
        found: SchemaOf = await self._wire.ask("POST", _subject(subject), SchemaOf, query=query, body=asked(schema))
        return found.as_version(subject)

    async def get_schema(self, schema_id: int, subject: str | None = None) -> Schema:
        query = None if subject is None else {"subject": subject}
        found: SchemaOf = await self._wire.ask("GET", f"/schemas/ids/{schema_id}", SchemaOf, query=query)
        return found.entity()

    async def get_schema_by_guid(self, guid: str) -> Schema:
        found: SchemaOf = await self._wire.ask("GET", f"/schemas/guids/{_part(guid)}", SchemaOf)
        return found.entity()

    async def get_subjects(self, *, prefix: str = "", deleted: bool = False) -> Sequence[str]:
        query: dict[str, str | bool] = {"deleted": deleted} | ({"subjectPrefix": prefix} if prefix else {})
        found: list[str] = await self._wire.ask("GET", "/subjects", list[str], query=query)
        return [name for name in found if prefix == ALL or name.startswith(prefix)]  # Karapace gives all

    async def get_versions(self, subject: str, *, deleted: bool = False) -> Sequence[int]:
        query = {"deleted": deleted}
        found: list[int] = await self._wire.ask("GET", f"{_subject(subject)}/versions", list[int], query=query)
        return found

    async def get_version(self, subject: str, version: int, *, deleted: bool = False) -> Version:
        path = f"{_subject(subject)}/versions/{_version(version)}"
        found: SchemaOf = await self._wire.ask("GET", path, SchemaOf, query={"deleted": deleted})
        return found.as_version(subject)

    async def get_latest_version(self, subject: str) -> Version:
        return await self.get_version(subject, LATEST)

    async def delete_subject(self, subject: str, *, permanent: bool = False) -> Sequence[int]:
        found: list[int] = await self._wire.ask("DELETE", _subject(subject), list[int], query={"permanent": permanent})
        return found

    async def delete_version(self, subject: str, version: int, *, permanent: bool = False) -> int:
        path = f"{_subject(subject)}/versions/{_version(version)}"
        found: int = await self._wire.ask("DELETE", path, int, query={"permanent": permanent})
        return found

    async def test_compatibility(self, subject: str, schema: Schema, version: int | None = None) -> Sequence[str]:
        path = f"/compatibility{_subject(subject)}/versions"
        if version is not None:
            return await self._test(f"{path}/{_version(version)}", schema)
        try:
            return await self._test(path, schema)
        except RegistryUnavailable:  # Karapace has no such path
            level = await self.get_compatibility(subject)
        try:
            versions = await self.get_versions(subject)
        except NotFound:
            return []
        for one in reversed(versions) if level.transitive else versions[-1:]:
            if messages := await self._test(f"{path}/{one}", schema):
                return messages
        return []

    async def get_compatibility(self, subject: str | None = None) -> Level:
        return (await self.get_config(subject, effective=True)).compatibility or Level.BACKWARD

    async def set_compatibility(self, level: Level, subject: str | None = None) -> Level:
        return (await self.set_config(Config(compatibility=level), subject)).compatibility or level

    async def get_config(self, subject: str | None = None, *, effective: bool = False) -> Config:
        found: Settings = await self._scoped("GET", "/config", subject, Settings, effective=effective)
        return found.entity()

    async def set_config(self, config: Config, subject: str | None = None) -> Config:
        found: Settings = await self._wire.ask("PUT", _scope("/config", subject), Settings, body=config)
        return found.entity()

    async def delete_config(self, subject: str | None = None) -> Config:
        found: Settings = await self._wire.ask("DELETE", _scope("/config", subject), Settings)
        return found.entity()

    async def get_mode(self, subject: str | None = None) -> Mode:
        found: ModeOf = await self._scoped("GET", "/mode", subject, ModeOf, effective=True)
        return found.mode

    async def set_mode(self, mode: Mode, subject: str | None = None, *, force: bool = False) -> Mode:
        found: ModeOf = await self._wire.ask(
            "PUT", _scope("/mode", subject), ModeOf, query={"force": force}, body={"mode": mode}
        )
        return found.mode

    async def delete_mode(self, subject: str) -> Mode:
        found: ModeOf = await self._wire.ask("DELETE", _scope("/mode", subject), ModeOf)
        return found.mode

    async def aclose(self) -> None:
        await self._wire.aclose()

    async def _test(self, path: str, schema: Schema) -> Sequence[str]:
        found: Compatible = await self._wire.ask("POST", path, Compatible, query={"verbose": True}, body=asked(schema))
        return [] if found.is_compatible else found.messages or ["incompatible: the registry does not say why"]

    async def _scoped(self, method: str, path: str, subject: str | None, kind: Any, *, effective: bool) -> Any:
        """A setting of a subject. Where the server does not look further itself, we do."""
        try:
            return await self._wire.ask(method, _scope(path, subject), kind, query={"defaultToGlobal": effective})
        except NotFound:
            if subject is None or not effective:
                raise
            return await self._wire.ask(method, path, kind)


def _part(text: str) -> str:
    """One segment of a path. What stands for `here` and `above` in paths is a name like any other."""
    return text.replace(".", "%2E") if text in {".", ".."} else quote(text, safe="")


def _subject(subject: str) -> str:
    return f"/subjects/{_part(subject)}"


def _scope(path: str, subject: str | None) -> str:
    return path if subject is None else f"{path}/{_part(subject)}"


def _version(version: int) -> str:
    return "latest" if version == LATEST else str(version)
