"""Values to bytes and back. JSON by default, through a pydantic `TypeAdapter` built once for each topic.

| payload | how |
| --- | --- |
| dataclass, TypedDict, pydantic model, built-in types | pydantic |
| `msgspec.Struct` | msgspec's own JSON |
| `bytes` | as they are |
"""

from __future__ import annotations

from typing import Any, Generic, Protocol, TypeVar, cast

import msgspec

from waybill.errors import ConfigurationError, DecodeError, EncodeError

__all__ = ["BytesCodec", "Codec", "JsonCodec", "StructCodec", "codec_for"]

T = TypeVar("T")

JSON = "application/json"


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
    """JSON through pydantic. A key that stands twice counts as its last; unknown keys are what the type makes of them."""

    content_type = JSON

    def __init__(self, payload: type[T]) -> None:
        from pydantic import TypeAdapter  # noqa: PLC0415 - 100 ms that `import waybill` need not pay
        from pydantic.errors import PydanticUserError  # noqa: PLC0415

        try:
            adapter = TypeAdapter(payload)
        except PydanticUserError as error:
            raise ConfigurationError(
                f"{payload!r} cannot be a payload: use a dataclass, TypedDict, pydantic model, msgspec.Struct, a "
                f"built-in type or bytes, or give the topic a codec of your own ({error.code})"
            ) from error
        self._dump = adapter.dump_json
        self._check = adapter.validate_python
        self._load = adapter.validate_json
        self._type = payload if type(payload) is type else None

    def encode(self, value: T) -> bytes:
        if self._type is not None and not isinstance(value, self._type):
            raise EncodeError(f"this topic carries {self._type.__name__}, not {type(value).__name__}")
        try:
            return self._dump(value, warnings="error")
        except (ValueError, TypeError, RecursionError) as error:
            raise EncodeError(f"cannot be written as JSON: {_summary(error)}") from error

    def decode(self, body: bytes) -> T:
        try:
            return self._load(body)
        except (ValueError, TypeError, RecursionError) as error:
            raise DecodeError(_summary(error)) from error


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
            return self._encode(value)
        except (ValueError, TypeError, RecursionError, msgspec.MsgspecError) as error:
            raise EncodeError(f"cannot be written as JSON: {error}") from error

    def decode(self, body: bytes) -> T:
        try:
            return self._decode(body)
        except (ValueError, RecursionError, msgspec.MsgspecError) as error:
            raise DecodeError(str(error)) from error


def codec_for(payload: type[T]) -> Codec[T]:
    """The codec a topic gets unless it names one."""
    if payload is bytes:
        return cast("Codec[T]", BytesCodec())
    if isinstance(payload, type) and issubclass(payload, msgspec.Struct):
        return StructCodec(payload)
    return JsonCodec(payload)


def _summary(error: BaseException) -> str:
    """The error in one line, without the values it is about: those may be secrets."""
    errors: Any = getattr(error, "errors", None)
    if errors is None:
        return f"{type(error).__name__}: {error}" if isinstance(error, RecursionError) else str(error)
    found = errors(include_input=False, include_url=False, include_context=False)
    lines = [f"{'.'.join(map(str, e['loc'])) or 'body'}: {e['msg']}" for e in found[:5]]
    return "; ".join(lines) + (f"; and {len(found) - 5} more" if len(found) > 5 else "")
