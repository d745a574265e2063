"""`Avro`: the codec of topics whose schemas are in a registry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeAlias, TypeVar

from waybill.codec import Codec, Lacking
from waybill.errors import ConfigurationError, DecodeError, EncodeError
from waybill.message import Message
from waybill_schema_registry.client.api import RegistryClient
from waybill_schema_registry.codec.forms import form_of
from waybill_schema_registry.codec.framing import (
    Written,
    fingerprint_prefix,
    guid_of_headers,
    guid_prefix,
    id_prefix,
    shown,
    split,
)
from waybill_schema_registry.codec.limits import Limits
from waybill_schema_registry.codec.payloads import Values, values_of
from waybill_schema_registry.codec.reading import check_names, check_traps, reader, too_large
from waybill_schema_registry.codec.scanning import walker
from waybill_schema_registry.codec.schemas import Schemas
from waybill_schema_registry.codec.subjects import STRATEGIES, SubjectStrategy
from waybill_schema_registry.codec.writing import writer
from waybill_schema_registry.entities import LATEST, Schema, Version
from waybill_schema_registry.errors import InvalidSchema
from waybill_schema_registry.formats.avro.parsed import AvroSchema
from waybill_schema_registry.formats.avro.parsing import parse

__all__ = ["Avro", "AvroCodec"]

T = TypeVar("T")
Header: TypeAlias = Literal["id", "guid", "fingerprint"]

CONTENT_TYPE = "application/avro"
PAIRS, CHARACTERS = 256, 4 << 20
"""Schemas of writers that a topic can read without asking anew, and what their texts may come to: what is made of a text takes
tens of times as much."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The options of `Avro`, as they are given there."""

    schema: Any
    subject: SubjectStrategy
    auto_register: bool
    normalize: bool
    version: int | Literal["latest"] | None
    header: Header
    namespace: str | None
    limits: Limits


class Avro:
    """Bodies in Avro, with the id of their schema before them: `Topic("orders.placed", OrderPlaced, codec=Avro(registry))`.

    One may serve any number of topics. registry: its URL (`http://…`, `sqlite:///…`, `memory://`), or a `RegistryClient`.
    The schema comes from the topic's payload type. schema: instead of that, where the payload is `dict`: a JSON value or text.
    subject: under which it is registered: `topic` (`orders.placed-value`), `record`, `topic-record`, or a function of the
    topic's name and the record's full name. auto_register: register it at the first publish; else it must be there already.
    normalize: texts that mean the same count as one. version: write as this version of the subject, or as the `latest`, does.
    header: `id` (Confluent's 5 bytes), `guid` (its 17), or `fingerprint` (Avro's single-object encoding); each is read, also
    where a header of the message holds the GUID. namespace: of records that say none. limits: of what is decoded.

    Needs `pip install waybill[avro]`. Raises `ConfigurationError`.
    """

    def __init__(
        self,
        registry: str | RegistryClient,
        *,
        schema: Any = None,
        subject: Literal["topic", "record", "topic-record"] | SubjectStrategy = "topic",
        auto_register: bool = True,
        normalize: bool = False,
        version: int | Literal["latest"] | None = None,
        header: Header = "id",
        namespace: str | None = None,
        limits: Limits | None = None,
    ) -> None:
        strategy = STRATEGIES.get(subject) if isinstance(subject, str) else subject
        if not callable(strategy):
            raise ConfigurationError(f"Avro(subject={subject!r}): {', '.join(STRATEGIES)}, or a function")
        if header not in {"id", "guid", "fingerprint"}:
            raise ConfigurationError(f"Avro(header={header!r}): id, guid or fingerprint")
        if version is not None and version != "latest" and (not isinstance(version, int) or version < 1):
            raise ConfigurationError(f"Avro(version={version!r}): a version's number, or 'latest'")
        self._settings = Settings(
            schema=schema,
            subject=strategy,
            auto_register=auto_register,
            normalize=normalize,
            version=version,
            header=header,
            namespace=namespace,
            limits=limits or Limits(),
        )
        self._schemas = _open(registry) if isinstance(registry, str) else Schemas(registry)

    def for_topic(self, name: str, payload: type[T]) -> Codec[T]:
        """Serves `Topic(codec=…)`."""
        settings = self._settings
        values: Values[T] = values_of(payload, settings.schema, settings.namespace)
        return AvroCodec(name, values, self._schemas, settings)


class AvroCodec(Generic[T]):
    """The codec of one topic. Made by `Avro`."""

    content_type = CONTENT_TYPE

    def __init__(self, topic: str, values: Values[T], schemas: Schemas, settings: Settings) -> None:
        self._topic = topic
        self._values = values
        self._schemas = schemas
        self._settings = settings
        try:
            self._own = parse(values.schema, strict=True)
            check_traps(self._own.root)
            walker(self._own.root, settings.limits)  # what it refuses is told now, not with the first message
            self._form = form_of(self._own.root, named=values.named)
        except (InvalidSchema, RecursionError, ValueError) as error:
            raise ConfigurationError(f"{topic}: its schema cannot be used: {error}") from error
        self._write: Callable[[T], bytes] = self._lack
        self._reads: dict[bytes, Callable[[bytes], T]] = {}
        """By the bytes that name the writer's schema."""
        self._sizes: dict[bytes, int] = {}

    @property
    def subject(self) -> str:
        """Under which its schema is registered."""
        return self._settings.subject(self._topic, getattr(self._own.root, "fullname", ""))

    @property
    def schema(self) -> AvroSchema:
        """That of its values."""
        return self._own

    # ---------------------------------------------------------------- to bytes

    def encode(self, value: T) -> bytes:
        """Raises `EncodeError`, and `Lacking` until the schema's id is known."""
        return self._write(value)

    def _lack(self, value: T) -> bytes:
        del value
        raise Lacking(f"the id of the schema of {self.subject} is not known yet", self._prepare)

    async def _prepare(self) -> None:
        """Find out what stands before each body. Raises `CodecUnavailable`, `EncodeError`."""
        subject, version = self.subject, self._settings.version
        found, schema = await self._schemas.once(
            ("write", subject, self._own.text, version), lambda: self._schemas.written(self._version, subject)
        )
        try:
            form = self._form if version is None else form_of(schema.root, named=self._values.named)
            check_names(schema.root, self._own.root)
            prefix = self._prefix(found, schema)
            write = writer(schema.root, form, prefix, self._settings.limits)
        except (ConfigurationError, DecodeError, ValueError, RecursionError) as error:
            raise EncodeError(f"version {found.version} of {subject} cannot be written: {error}") from error
        self._schemas.keep(split(prefix)[0], schema)
        to_datum = self._values.to_datum
        self._write = write if to_datum is None else lambda value: write(to_datum(value))

    async def _version(self) -> tuple[Version, AvroSchema]:
        """What is written as. Raises what the registry raises."""
        settings, registry, subject = self._settings, self._schemas.registry, self.subject
        if settings.version is not None:
            number = LATEST if settings.version == "latest" else settings.version
            found = await registry.get_version(subject, number)
            return found, await self._schemas.parsed(found.schema)
        ask = registry.register_schema if settings.auto_register else registry.lookup_schema
        return await ask(subject, Schema(text=self._own.text), normalize=settings.normalize), self._own

    def _prefix(self, found: Version, schema: AvroSchema) -> bytes:
        if self._settings.header == "fingerprint":
            return fingerprint_prefix(schema.fingerprint.to_bytes(8, "little"))
        if self._settings.header == "guid":
            return guid_prefix(found.guid)
        return id_prefix(found.id)

    # ---------------------------------------------------------------- from bytes

    def decode(self, body: bytes) -> T:
        """Raises `DecodeError`, and `Lacking` until the schema of who wrote it is known."""
        read = self._reads.get(body[:5])
        return self._decode(body) if read is None else read(body)

    def decode_message(self, message: Message) -> T:
        """`decode`, with a look at the header that may hold the GUID."""
        body = message.body or b""
        if message.headers and (guid := guid_of_headers(message.headers)) is not None:
            read = self._reads.get(key := guid.encode())
            return (self._read(key, guid, 0) if read is None else read)(body)
        return self.decode(body)

    def _decode(self, body: bytes) -> T:
        """What is no body of the usual kind, or comes from somebody who is not known."""
        if len(body) > self._settings.limits.body:
            raise too_large(len(body), self._settings.limits.body)
        written, start = split(body)
        read = self._reads.get(body[:start])
        return (self._read(body[:start], written, start) if read is None else read)(body)

    def _read(self, key: bytes, written: Written, start: int) -> Callable[[bytes], T]:
        """Kept for all bodies with this in front of them."""
        schema = self._schemas.known(written)
        if schema is None:
            text = f"the schema {shown(written)} is not known yet"
            raise Lacking(text, lambda: self._schemas.fetch(written, self.subject))
        read = self._reads[key] = self._reader(schema, start)
        self._sizes[key] = len(schema.text)
        while len(self._reads) > PAIRS or (len(self._reads) > 1 and sum(self._sizes.values()) > CHARACTERS):
            oldest = next(iter(self._reads))
            del self._reads[oldest], self._sizes[oldest]
        return read

    def _reader(self, schema: AvroSchema, start: int) -> Callable[[bytes], T]:
        named, from_datum = self._values.named, self._values.from_datum
        try:
            theirs = (schema.root, form_of(schema.root, defaults=False))
            read = reader(theirs, (self._own.root, self._form), start, self._settings.limits, named=named)
        except (ConfigurationError, RecursionError, ValueError) as error:
            raise DecodeError(f"what wrote it cannot be read: {error}") from error
        check_names(schema.root, self._own.root)
        return read if from_datum is None else lambda body: from_datum(read(body))

    # ---------------------------------------------------------------- the registry

    async def check(self) -> str:
        """Serves `RemoteCodec`."""
        return await self._schemas.check()

    async def close(self) -> None:
        """Serves `RemoteCodec`."""
        await self._schemas.close()


def _open(url: str) -> Schemas:
    from waybill_schema_registry import client  # noqa: PLC0415 - who brings a registry of their own need not load it

    registry = client.open(url)
    return Schemas(registry, name=f"the registry {registry.url}", close=registry.aclose)
