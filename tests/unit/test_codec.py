"""Values to bytes and back: what fits comes back equal, and what does not is one of our errors, always."""

from __future__ import annotations

import contextlib
import math
import sys
import typing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, field_validator
from typing_extensions import TypedDict

from waybill import ConfigurationError, DecodeError, EncodeError
from waybill.codec import BytesCodec, codec_for


@dataclass
class Plain:
    number: int
    text: str = ""
    ratio: float = 0.0
    when: datetime | None = None
    price: Decimal | None = None
    names: list[str] = field(default_factory=list)


class Typed(TypedDict):
    number: int


class Model(BaseModel):
    number: int


class OtherModel(BaseModel):
    text: str


class Struct(msgspec.Struct):
    number: int
    ratio: float = 0.0
    anything: Any = None


@dataclass
class Raising:
    number: int

    def __post_init__(self) -> None:
        raise KeyError("the payload's own code")


class RaisingModel(BaseModel):
    number: int

    @field_validator("number")
    @classmethod
    def check(cls, value: int) -> int:
        raise ZeroDivisionError(value)


class RaisingStruct(msgspec.Struct):
    number: int

    def __post_init__(self) -> None:
        if self.number < 0:
            raise KeyError("the payload's own code")


@pytest.mark.parametrize(
    ("payload", "value"),
    [
        (Plain, Plain(1, "ü", 0.5, datetime(2024, 1, 1, tzinfo=UTC), Decimal("1.10"), ["a"])), (Typed, {"number": 1}),
        (Model, Model(number=1)), (Struct, Struct(1)), (int, 7), (str, "x"), (list[int], [1, 2]), (bytes, b"\x00\xff"),
        (dict[str, float], {"a": 1.5}), (tuple[str, int], ("a", 1)), (int, 2**100), (int, -(2**100)),
    ],
)  # fmt: skip
def test_a_value_comes_back_equal(payload: Any, value: Any) -> None:
    codec = codec_for(payload)
    assert codec.decode(codec.encode(value)) == value


@pytest.mark.parametrize("payload", [Plain, Model, Struct])
@pytest.mark.parametrize("number", [2**64, -(2**63) - 1, 2**5000], ids=["64", "-63", "5000"])
def test_a_huge_number_is_refused_or_comes_back(payload: Any, number: int) -> None:
    codec = codec_for(payload)
    try:
        body = codec.encode(payload(number=number))
    except EncodeError:
        return
    assert codec.decode(body).number == number


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("payload", [Plain, Struct])
def test_a_number_json_does_not_have_is_refused_or_comes_back(payload: Any, number: float) -> None:
    codec = codec_for(payload)
    try:
        body = codec.encode(payload(1, ratio=number))
    except EncodeError:
        return
    again = codec.decode(body).ratio
    assert again == number or (math.isnan(again) and math.isnan(number))


@pytest.mark.parametrize("payload", [Plain, Model, Struct, Typed, int, list[int]])
@given(body=st.binary(max_size=60) | st.text(max_size=40).map(lambda t: t.encode()))
def test_whatever_the_bytes_are_it_is_a_value_or_a_decode_error(payload: Any, body: bytes) -> None:
    with contextlib.suppress(DecodeError):
        codec_for(payload).decode(body)


@pytest.mark.parametrize("payload", [Plain, Model, Struct, int, Any, list])
@pytest.mark.parametrize(
    "body",
    [b"", b"\xff\xfe", b"[" * 200_000, b'{"number":' * 50_000, b'{"number":' + b"9" * 10_000 + b"}", b'"\\ud800"',
     b'{"number":NaN}', b"null", b'{"number":1e999}', b'{"number":1,"when":1e300}', b'{"number":1,"price":"1e999999999"}'],
    ids=lambda body: str(body[:20]),
)  # fmt: skip
def test_hostile_bytes_are_a_value_or_a_decode_error(payload: Any, body: bytes) -> None:
    with contextlib.suppress(DecodeError):
        codec_for(payload).decode(body)


@pytest.mark.parametrize(
    ("payload", "value"),
    [
        (Plain, "text"), (Plain, Model(number=1)), (Plain, None), (Model, OtherModel(text="x")), (Model, {"number": 1}),
        (Struct, Plain(1)), (int, "1"), (bytes, "text"), (list[int], ["a"]), (str, "\ud800"),
        (Plain, Plain(1, "\ud800")), (Struct, Struct(1, anything="\ud800")), (Struct, Struct(1, anything=object())),
        (Plain, Plain("no")), (list[int], 7),
    ],
)  # fmt: skip
def test_a_value_that_does_not_fit_is_an_encode_error(payload: Any, value: Any) -> None:
    with pytest.raises(EncodeError):
        codec_for(payload).encode(value)


@pytest.mark.parametrize("payload", [list, Struct])
def test_a_value_that_contains_itself_or_is_too_deep_is_an_encode_error(payload: Any) -> None:
    loop: list[Any] = []
    loop.append(loop)
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    codec = codec_for(payload)
    for value in (loop, deep):
        with pytest.raises(EncodeError):
            codec.encode(value if payload is list else Struct(1, anything=value))
    while deep:  # taken apart by hand, or freeing it recurses
        deep = deep[0]


@pytest.mark.parametrize("payload", [Raising, RaisingModel, RaisingStruct])
def test_an_error_of_the_payloads_own_code_is_a_decode_error(payload: Any) -> None:
    with pytest.raises(DecodeError):
        codec_for(payload).decode(b'{"number":-1}')


def test_a_decode_error_names_the_field_and_not_the_value() -> None:
    with pytest.raises(DecodeError, match="number") as caught:
        codec_for(Model).decode(b'{"number":"secret-4711"}')
    assert "4711" not in str(caught.value)


def test_a_byte_array_is_copied() -> None:
    body = bytearray(b"abc")
    encoded = BytesCodec().encode(body)  # type: ignore[arg-type]
    body[0] = 0
    assert encoded == b"abc"


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="pydantic takes typing.TypedDict from Python 3.12 on")
def test_a_typed_dict_that_cannot_be_used_names_the_one_that_can() -> None:
    with pytest.raises(ConfigurationError, match="typing_extensions"):
        codec_for(typing.TypedDict("T", {"number": int}))  # type: ignore[arg-type,operator]


class Odd:
    pass


@pytest.mark.parametrize("payload", [Odd, "NoSuchName", list["NoSuchName"]])  # type: ignore[name-defined]  # noqa: F821
def test_what_cannot_be_a_payload_is_refused_when_the_topic_is_made(payload: Any) -> None:
    with pytest.raises(ConfigurationError, match="payload"):
        codec_for(payload)
