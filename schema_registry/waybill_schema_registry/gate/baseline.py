"""What contracts are compared with."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from waybill_schema_registry.client.api import RegistryClient
from waybill_schema_registry.entities import AVRO, Schema, Version
from waybill_schema_registry.errors import Conflict, InvalidSchema, NotFound
from waybill_schema_registry.formats.avro.parsed import AvroSchema
from waybill_schema_registry.formats.avro.parsing import parse
from waybill_schema_registry.gate.contract import Contract
from waybill_schema_registry.levels import Level

__all__ = ["Baseline", "Contracts", "InRegistry", "Versions"]

Versions = Sequence[tuple[str, AvroSchema]]
"""Oldest first, each with what it is called."""
AT_ONCE = 8
"""Questions to a registry."""


class Baseline(Protocol):
    """What there was before."""

    @property
    def name(self) -> str:
        """For people, e.g. `the registry at http://localhost:8081`."""
        ...

    async def level(self, subject: str) -> Level:
        """The one that counts unless somebody says another."""
        ...

    async def versions(self, subject: str, level: Level) -> Versions:
        """As many as the level looks at; none of a subject that is not known."""
        ...

    async def subjects(self) -> Sequence[str]:
        """All that are known, where it would be said if one were gone; else none."""
        ...


@dataclass(frozen=True, slots=True)
class Contracts:
    """The contracts of a git revision."""

    name: str
    contracts: Mapping[str, Contract]

    async def level(self, subject: str) -> Level:
        del subject
        return Level.BACKWARD

    async def versions(self, subject: str, level: Level) -> Versions:
        del level
        old = self.contracts.get(subject)
        return [] if old is None else [(self.name, parse(old.text, old.types))]

    async def subjects(self) -> Sequence[str]:
        return sorted(self.contracts)


@dataclass(frozen=True, slots=True)
class InRegistry:
    """The history that a registry keeps. Other services have subjects there too, so none is missed."""

    name: str
    registry: RegistryClient

    async def level(self, subject: str) -> Level:
        return await self.registry.get_compatibility(subject)

    async def versions(self, subject: str, level: Level) -> Versions:
        try:
            numbers = await self.registry.get_versions(subject)
        except NotFound:
            return []
        room = asyncio.Semaphore(AT_ONCE)

        async def one(number: int) -> tuple[str, AvroSchema]:
            async with room:
                return f"version {number}", await self.understood(await self.registry.get_version(subject, number))

        wanted = numbers if level.transitive else numbers[-1:]
        return await asyncio.gather(*map(one, wanted))

    async def subjects(self) -> Sequence[str]:
        return []

    async def understood(self, version: Version) -> AvroSchema:
        """With what it refers to. Raises `InvalidSchema`, and `Conflict` for another format."""
        where = f"{version.subject} version {version.version}, in {self.name}"
        if version.schema.format != AVRO:
            raise Conflict(f"{where} is of the format {version.schema.format}: the gate compares Avro only")
        try:
            return parse(version.schema.text, await self._types(version.schema, {}))
        except InvalidSchema as error:
            raise InvalidSchema(f"{where} cannot be read: {error}") from error

    async def _types(self, schema: Schema, types: dict[str, str]) -> dict[str, str]:
        """The texts that a schema refers to, those that others need first."""
        for reference in schema.references:
            if reference.name not in types:
                version = await self.registry.get_version(reference.subject, reference.version, deleted=True)
                await self._types(version.schema, types)
                types[reference.name] = version.schema.text
        return types
