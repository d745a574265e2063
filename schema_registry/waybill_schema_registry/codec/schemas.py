"""What the codecs of one registry know of its schemas, and how they ask for more: each thing once, however many want it."""

from __future__ import annotations

import asyncio
import socket
from asyncio import AbstractEventLoop, Task
from collections.abc import Awaitable, Callable, Coroutine, Hashable
from typing import Any, TypeVar

from waybill.errors import CodecError, CodecUnavailable, ConfigurationError, DecodeError, EncodeError
from waybill_schema_registry.client.api import RegistryClient
from waybill_schema_registry.codec.framing import ByFingerprint, ById, Written, shown
from waybill_schema_registry.codec.kept import Kept
from waybill_schema_registry.entities import AVRO, Schema, Version
from waybill_schema_registry.errors import (
    Forbidden,
    InvalidSchema,
    NoRegistry,
    NotFound,
    RegistryError,
    RegistryUnavailable,
    StoreError,
)
from waybill_schema_registry.formats.avro.parsed import AvroSchema
from waybill_schema_registry.formats.avro.parsing import parse

__all__ = ["Schemas"]

R = TypeVar("R")

MOST, MOST_BYTES = 1000, 32 << 20
LARGEST = 1 << 20
"""Characters of a schema that is decoded with, and of all it refers to."""
REFERENCES = 100
"""Schemas that one may refer to, over all steps."""
NOBODY = (RegistryUnavailable, StoreError)
"""Says nothing about what was asked."""


class Schemas:
    """The schemas of one registry. Used by any event loop."""

    def __init__(
        self,
        registry: RegistryClient,
        *,
        name: str = "the registry",
        close: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """name: of the registry, for people. close: gives back its connections; `None`: they are not ours."""
        self.registry = registry
        self.name = name
        self._close = close
        self._kept: Kept[Written, AvroSchema] = Kept(MOST, MOST_BYTES)
        self._asking: dict[tuple[AbstractEventLoop, Hashable], Task[Any]] = {}

    def known(self, written: Written) -> AvroSchema | None:
        return self._kept.get(written)

    def keep(self, written: Written, schema: AvroSchema) -> None:
        self._kept.keep(written, schema, 10 * len(schema.text))

    async def fetch(self, written: Written, subject: str) -> AvroSchema:
        """Raises `CodecUnavailable`, and `DecodeError` where the registry has no such schema, or it is none of Avro."""
        return await self.once((written, subject), lambda: self._fetch(written, subject))

    async def once(self, what: Hashable, ask: Callable[[], Coroutine[Any, Any, R]]) -> R:
        """What `ask` answers; who asks the same meanwhile waits for the same answer."""
        key = (asyncio.get_running_loop(), what)
        task: Task[R] | None = self._asking.get(key)
        if task is None:
            task = self._asking[key] = asyncio.create_task(ask(), name="waybill-registry")
            task.add_done_callback(lambda done: self._answered(key, done))
        return await asyncio.shield(task)

    def _answered(self, key: tuple[AbstractEventLoop, Hashable], task: Task[Any]) -> None:
        self._asking.pop(key, None)
        if not task.cancelled():
            task.exception()  # who asked may be gone

    # ---------------------------------------------------------------- to read

    async def _fetch(self, written: Written, subject: str) -> AvroSchema:
        try:
            if isinstance(written, ByFingerprint):
                return await self._by_fingerprint(written, subject)
            text = await (
                self.registry.get_schema(written, _context(subject))
                if isinstance(written, ById)
                else self.registry.get_schema_by_guid(written)
            )
            schema = await self.parsed(text)
        except NotFound as error:
            raise DecodeError(f"{self.name} has no schema {shown(written)}: {error}") from error
        except (InvalidSchema, ConfigurationError) as error:
            raise DecodeError(f"the schema {shown(written)} cannot be used: {error}") from error
        except RegistryError as error:
            raise self.unavailable(error) from error
        self.keep(written, schema)
        return schema

    async def _by_fingerprint(self, written: ByFingerprint, subject: str) -> AvroSchema:
        """The newest version of the subject that has it."""
        wanted = int.from_bytes(written, "little")
        for number in sorted(await self.registry.get_versions(subject), reverse=True):
            schema = await self.parsed((await self.registry.get_version(subject, number)).schema)
            self.keep(ByFingerprint(schema.fingerprint.to_bytes(8, "little")), schema)
            if schema.fingerprint == wanted:
                return schema
        raise DecodeError(f"no version of {subject} has the fingerprint {shown(written)}")

    async def parsed(self, schema: Schema) -> AvroSchema:
        """With what it refers to. Raises `InvalidSchema`, and what the registry raises."""
        if schema.format != AVRO:
            raise InvalidSchema(f"it is {schema.format}, not {AVRO}")
        texts = await self._references(schema, {}, set())
        if sum(map(len, (schema.text, *texts.values()))) > LARGEST:
            raise InvalidSchema(f"it has more than {LARGEST} characters, with what it refers to")
        return parse(schema.text, texts)

    async def _references(self, schema: Schema, texts: dict[str, str], seen: set[tuple[str, int]]) -> dict[str, str]:
        """The texts that it refers to, by name; those first that others need."""
        for reference in schema.references:
            place = (reference.subject, reference.version)
            if place in seen:
                continue
            seen.add(place)
            if len(seen) > REFERENCES:
                raise InvalidSchema(f"it refers to more than {REFERENCES} others")
            other = await self.registry.get_version(*place, deleted=True)
            await self._references(other.schema, texts, seen)
            texts[reference.name] = other.schema.text
        return texts

    # ---------------------------------------------------------------- to write

    async def written(
        self, ask: Callable[[], Awaitable[tuple[Version, AvroSchema]]], subject: str
    ) -> tuple[Version, AvroSchema]:
        """The version that a publisher asks for. Raises `CodecUnavailable`, and `EncodeError` for a refusal."""
        try:
            return await ask()
        except NOBODY as error:
            raise self.unavailable(error) from error
        except RegistryError as error:
            raise EncodeError(f"{self.name} does not take it for {subject}: {error}") from error

    # ---------------------------------------------------------------- how it is

    async def check(self) -> str:
        """Raises `ConfigurationError` for what waiting will not mend, `CodecUnavailable`."""
        try:
            level = await self.registry.get_compatibility()
        except Forbidden as error:
            if not str(error.code).startswith("401"):  # who may not see settings may use schemas all the same
                return f"{self.name} answers, and does not let us see its settings"
            raise ConfigurationError(f"{self.name}: {error}") from error
        except NoRegistry as error:
            raise ConfigurationError(f"{self.name}: {error}") from error
        except RegistryError as error:
            if _is_unknown_host(error):
                raise ConfigurationError(f"{self.name}: no such host: check its URL ({error})") from error
            raise self.unavailable(error) from error
        return f"{self.name} answers; what is new must be {level}"

    async def close(self) -> None:
        if self._close is not None:
            await self._close()

    def unavailable(self, error: RegistryError) -> CodecError:
        return CodecUnavailable(f"{self.name} does not answer: {error}")


def _context(subject: str) -> str | None:
    """Where an id is looked for: contexts count their own."""
    return subject if subject.startswith(":.") else None


def _is_unknown_host(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, socket.gaierror) and error.errno == socket.EAI_NONAME:
            return True
        error = error.__cause__ or error.__context__
    return False
