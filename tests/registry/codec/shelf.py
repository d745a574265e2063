"""A registry that holds what tests put into it, says how often it was asked, and can be away."""

from __future__ import annotations

import hashlib
import uuid
from collections import Counter

from waybill_schema_registry.entities import LATEST, Schema, Version
from waybill_schema_registry.errors import NotFound, RegistryUnavailable
from waybill_schema_registry.levels import Level


class Shelf:
    """As much of `RegistryClient` as codecs use."""

    def __init__(self) -> None:
        self.versions: dict[str, list[Version]] = {}
        self.asked: Counter[str] = Counter()
        self.error: Exception | None = None
        """What every question raises now."""

    def away(self) -> None:
        self.error = RegistryUnavailable("no answer")

    def back(self) -> None:
        self.error = None

    def put(self, subject: str, text: str, **more) -> Version:
        schema = Schema(text=text, **more)
        versions = self.versions.setdefault(subject, [])
        for version in versions:
            if version.schema == schema:
                return version
        known = [version for others in self.versions.values() for version in others if version.schema == schema]
        number = known[0].id if known else 1 + max((v.id for vs in self.versions.values() for v in vs), default=0)
        guid = str(uuid.UUID(bytes=hashlib.md5(text.encode()).digest()))
        versions.append(Version(subject=subject, version=len(versions) + 1, id=number, guid=guid, schema=schema))
        return versions[-1]

    def _ask(self, what: str) -> None:
        self.asked[what] += 1
        if self.error is not None:
            raise self.error

    async def register_schema(self, subject, schema, *, normalize=False):
        self._ask("register")
        return self.put(subject, schema.text, format=schema.format, references=schema.references)

    async def lookup_schema(self, subject, schema, *, normalize=False, deleted=False):
        self._ask("lookup")
        for version in self.versions.get(subject, ()):
            if version.schema == schema:
                return version
        raise NotFound("Schema not found")

    async def get_schema(self, schema_id, subject=None):
        self._ask("schema")
        for versions in self.versions.values():
            for version in versions:
                if version.id == schema_id:
                    return version.schema
        raise NotFound(f"Schema {schema_id} not found")

    async def get_schema_by_guid(self, guid):
        self._ask("guid")
        for versions in self.versions.values():
            for version in versions:
                if version.guid == guid:
                    return version.schema
        raise NotFound(f"Schema {guid} not found")

    async def get_versions(self, subject, *, deleted=False):
        self._ask("versions")
        return [version.version for version in self.versions.get(subject, ())]

    async def get_version(self, subject, version, *, deleted=False):
        self._ask("version")
        versions = self.versions.get(subject)
        if not versions or not (version == LATEST or 1 <= version <= len(versions)):
            raise NotFound(f"Subject '{subject}' has no version {version}")
        return versions[-1] if version == LATEST else versions[version - 1]

    async def get_latest_version(self, subject):
        return await self.get_version(subject, LATEST)

    async def get_compatibility(self, subject=None):
        self._ask("compatibility")
        return Level.BACKWARD
