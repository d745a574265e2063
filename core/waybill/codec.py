"""Values to bytes and back. JSON by default, through a pydantic `TypeAdapter` built once for each topic.

| payload | how |
| --- | --- |
| dataclass, TypedDict, pydantic model, built-in types | pydantic |
| `msgspec.Struct` | msgspec's own JSON |
| `bytes` | as they are |
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Generic, Protocol, TypeVar, cast, runtime_checkable

import msgspec

from waybill.errors import CodecError, ConfigurationError, DecodeError, EncodeError, describe
from waybill.message import Message, Tombstone

__all__ = [
    "BytesCodec",
    "Codec",
    "CodecFactory",
    "JsonCodec",
    "Lacking",
    "RemoteCodec",
    "StructCodec",
    "TombstoneCodec",
    "codec_for",
    "remote_of",
    "text_codec_of",
]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

JSON = "application/json"
LISTED = 1000
"""Errors of one body that are looked at."""


class Codec(Protocol[T]):
    """Turns a topic's values into bytes and back. Called on the event loop: it must not block."""

    @property
    def content_type(self) -> str:
        """Written to each message; a message that names another is not decoded."""
        ...

    def encode(self, value: T) -> bytes:
        """Raises `EncodeError`."""
        ...

    def decode(self, body: bytes) -> T:
        """Raises `DecodeError`, whatever the bytes are."""
        ...


@runtime_checkable
class CodecFactory(Protocol):
    """Makes a codec for each topic that it is given to: `Topic(…, codec=factory)`."""

    def for_topic(self, name: str, payload: type[T]) -> Codec[T]:
        """name: the topic's, or a pattern of names. Raises `ConfigurationError`."""
        ...


class Lacking(CodecError):
    """What a remote codec's `encode` and `decode_message` raise while they lack something: await `fetch`, then call again.

    fetch: raises `CodecUnavailable` where nobody answers now, `DecodeError` or `EncodeError` where there is no such thing.
    """

    def __init__(self, text: str, fetch: Callable[[], Awaitable[object]]) -> None:
        super().__init__(text)
        self.fetch = fetch


@runtime_checkable
class RemoteCodec(Protocol[T_co]):
    """What a codec has besides that must ask somebody, e.g. a registry of schemas.

    Its calls never wait either. Where they lack something they raise `Lacking`; who called fetches it and calls once more,
    so what is known already costs nothing.
    """

    def decode_message(self, message: Message) -> T_co:
        """Instead of `decode`: it may look at the headers as well. The message has a body. Raises `DecodeError`, `Lacking`."""
        ...

    async def check(self) -> str:
        """Called when an application starts, and by `waybill doctor`: what was reached, in words.

        Raises `ConfigurationError` for what will never work as it is configured, `CodecUnavailable` for what may pass.
        """
        ...

    async def close(self) -> None:
        """Let go of connections, when an application stops. It may be used again: it connects anew."""
        ...


class BytesCodec:
    """Bodies as they are."""

    content_type = "application/octet-stream"

    def encode(self, value: bytes) -> bytes:
        if not isinstance(value, bytes | bytearray | memoryview):
            raise EncodeError(f"this topic carries bytes, not {type(value).__name__}")
        return bytes(value)

    def decode(self, body: bytes) -> bytes:
        return body


class JsonCodec(Generic[T]):
    """JSON through pydantic. A key that stands twice counts as its last; unknown keys are what the type makes of them.

    JSON has no NaN and no infinity: a value that holds one is refused when it is published, and a body that spells one,
    or a number too large for a float, is not decoded.
    """

    content_type = JSON

    def __init__(self, payload: type[T]) -> None:
        from pydantic import TypeAdapter  # noqa: PLC0415 - 100 ms that `import waybill` need not pay
        from pydantic.errors import PydanticUserError  # noqa: PLC0415

        try:
            adapter = TypeAdapter(payload)
            if not adapter.pydantic_complete:
                adapter.rebuild(raise_errors=True)
        except (PydanticUserError, NameError) as error:
            code = getattr(error, "code", None)
            fix = "a dataclass, TypedDict, pydantic model, msgspec.Struct, a built-in type or bytes, all defined by now"
            if code == "typed-dict-version":
                fix = "TypedDict from typing_extensions, which Python before 3.12 needs here"
            raise ConfigurationError(
                f"{payload!r} cannot be a payload: use {fix}, or give the topic a codec of your own ({code})"
            ) from error
        self._dump = adapter.serializer.to_json  # what `dump_json` and `validate_json` call, without their options
        self._load = adapter.validator.validate_json
        self._type = payload if _can_be_checked(payload) else None
        self._has_floats = "'float'" in str(adapter.core_schema) or "'any'" in str(adapter.core_schema)

    def encode(self, value: T) -> bytes:
        if self._type is not None and not isinstance(value, self._type):
            raise EncodeError(f"this topic carries {self._type.__name__}, not {type(value).__name__}")
        try:
            body = self._dump(value, warnings="error")
            if self._type is None or b"null" in body:
                self._load(body)  # nothing has checked it yet; a None where none may be, and NaN, are written as null
        except Exception as error:
            raise EncodeError(f"cannot be written as JSON: {_summary(error)}") from error
        return body

    def decode(self, body: bytes) -> T:
        try:
            value: T = self._load(body)
            if self._has_floats:
                _strictly(body)  # pydantic reads NaN, Infinity and 1e400 as floats, which they are not in JSON
        except Exception as error:  # also what the payload's own validators raise: the body does not fit
            raise DecodeError(_summary(error)) from error
        return value


_strictly = msgspec.json.Decoder().decode


def _can_be_checked(payload: Any) -> bool:
    """Whether `isinstance` tells a value of it (not of a TypedDict); pydantic's own check of built-in types is the kinder."""
    return isinstance(payload, type) and payload.__module__ != "builtins" and not hasattr(payload, "__total__")


class StructCodec(Generic[T]):
    """JSON through msgspec, for its own structs."""

    content_type = JSON

    def __init__(self, payload: type[T]) -> None:
        self._type = payload
        self._encode = msgspec.json.Encoder().encode
        self._decode = msgspec.json.Decoder(payload).decode

    def encode(self, value: T) -> bytes:
        if not isinstance(value, self._type):
            raise EncodeError(f"this topic carries {self._type.__name__}, not {type(value).__name__}")
        try:
            body = self._encode(value)
            if b"null" in body:
                self._decode(body)  # NaN and infinity are written as null, which no consumer could read
        except Exception as error:
            raise EncodeError(f"cannot be written as JSON: {_summary(error)}") from error
        return body

    def decode(self, body: bytes) -> T:
        try:
            return self._decode(body)
        except Exception as error:  # also what a `__post_init__` raises
            raise DecodeError(_summary(error)) from error


class TombstoneCodec(Generic[T]):
    """Another codec, for values that may also be a `Tombstone`, which has no body."""

    def __init__(self, inner: Codec[T]) -> None:
        self.content_type = inner.content_type
        self.inner = inner

    def encode(self, value: T | Tombstone) -> bytes:
        if isinstance(value, Tombstone):
            raise EncodeError("a tombstone has no body")
        return self.inner.encode(value)

    def decode(self, body: bytes) -> T | Tombstone:
        return self.inner.decode(body)


def codec_for(payload: type[T]) -> Codec[T]:
    """The codec a topic gets unless it names one."""
    if isinstance(payload, str):
        raise ConfigurationError(f"the payload is a type, not its name: {payload} instead of {payload!r}")
    if payload is bytes:
        return cast("Codec[T]", BytesCodec())
    if isinstance(payload, type) and issubclass(payload, msgspec.Struct):
        return StructCodec(payload)
    return JsonCodec(payload)


def remote_of(codec: Codec[T]) -> RemoteCodec[T] | None:
    """What the codec has besides, if it must ask somebody."""
    inner = codec.inner if isinstance(codec, TombstoneCodec) else codec
    return inner if isinstance(inner, RemoteCodec) else None


def text_codec_of(codec: Codec[T], payload: type[T]) -> Codec[T]:
    """What reads a topic's values where a person writes them: its codec, or JSON where nobody could write what that reads."""
    return codec if remote_of(codec) is None else codec_for(payload)


def _summary(error: Exception) -> str:
    """The error in one line, without the values it is about: those may be secrets."""
    errors: Any = getattr(error, "errors", None)
    count: Any = getattr(error, "error_count", None)
    if not callable(errors) or not callable(count):
        return f"{type(error).__name__}: {' '.join(describe(error).split())}"
    number: Any = count()
    if number > LISTED:
        return f"{number} errors"  # a body of 16 MiB can hold millions, and a list of them takes gigabytes
    found: Any = errors(include_input=False, include_url=False, include_context=False)
    lines = [f"{'.'.join(map(str, e['loc'])) or 'body'}: {e['msg']}" for e in found[:5]]
    return "; ".join(lines) + (f"; and {len(found) - 5} more" if len(found) > 5 else "")
