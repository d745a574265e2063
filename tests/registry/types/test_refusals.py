"""Types that Avro has no counterpart for are refused with the field, the reason and what to write instead."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Annotated, Any, Generic, Literal, NotRequired, TypeVar
from uuid import UUID, uuid4

import pydantic
import pytest
from pydantic import BaseModel, ConfigDict, RootModel, SecretStr
from typing_extensions import TypeAliasType, TypedDict

from waybill.errors import ConfigurationError
from waybill_schema_registry.types import Default, Fixed, Logical, Named, NoCounterpart, Precision, avro_schema

T = TypeVar("T")


class Rights(enum.Flag):
    READ = 1


class Ways(enum.Enum):
    ONE = "in-transit"


class Root(RootModel[int]):
    pass


class Extra(BaseModel):
    model_config = ConfigDict(extra="allow")


class Maybe(TypedDict):
    a: NotRequired[int | None]


@dataclass
class Generic_(Generic[T]):  # noqa: N801
    value: T


@Named("int")
class Int(BaseModel):
    pass


@Named(default_symbol="THREE")
class Symbols(enum.StrEnum):
    ONE = "ONE"


Json = TypeAliasType("Json", "dict[str, Json] | str")  # type: ignore[misc]

REFUSED: list[tuple[Any, str]] = [
    (Decimal, "say how many digits it has, as in Annotated[Decimal, Precision(12, 2)]"),
    (Any, "name the types, as in str | int | None"),
    (object, "name the types"),
    (list, "it does not say what it holds"),
    (dict, "use dict[str, …]"),
    (dict[int, str], "the keys of a map are str"),
    (dict[UUID, str], "the keys of a map are str"),
    (tuple[int, str], "use a NamedTuple"),
    (complex, "complex has no counterpart in Avro"),
    (SecretStr, "SecretStr has no counterpart"),
    (Rights, "use a list of an Enum"),
    (Ways, "'in-transit' is no symbol"),
    (Symbols, "none of its symbols: ONE"),
    (Root, "use the type inside it"),
    (Extra, "allows extra fields"),
    (Maybe, "cannot also be None"),
    (Generic_, "give the generic class its type, as in Page[Order]"),
    (str | UUID, "both str and UUID are string in Avro"),
    (list[int] | list[str], "both list and list are array in Avro"),
    (Literal["a"], "has a name in Avro: Annotated[…, Named('…')]"),
    (Literal["a", 1], "values of one type only"),
    (Annotated[bytes, Fixed(4)], "has a name in Avro"),
    (Annotated[int, Logical("timestamp-micros")], "has a Python type of its own"),
    (Json, "cannot be found"),
    (Int, "is no name in Avro"),
    (type(None) | Any, "name the types"),
]


@pytest.mark.parametrize(("of", "reason"), REFUSED, ids=lambda each: str(each)[:40])
def test_a_type_without_a_counterpart_is_refused(of: Any, reason: str) -> None:
    with pytest.raises(NoCounterpart) as caught:
        avro_schema(of)
    assert reason in str(caught.value)
    assert isinstance(caught.value, ConfigurationError)


def test_a_refusal_names_the_field() -> None:
    class Line(BaseModel):
        price: Decimal

    class Order(BaseModel):
        lines: list[dict[str, Line]]

    with pytest.raises(NoCounterpart, match=r"^Order.lines\[\]\{\}.price: a Decimal of any size"):
        avro_schema(Order)


def test_defaults_that_avro_cannot_hold() -> None:
    @dataclass
    class Sub:
        most: int | None = None

    @dataclass
    class NotANumber:
        a: float = float("nan")

    @dataclass
    class TooLong:
        a: int = 2**63

    @dataclass
    class WrongType:
        a: int = "x"  # type: ignore[assignment]

    @dataclass
    class LaterBranch:
        a: Annotated[list[int | str], "of two"] = field(default_factory=list)
        b: tuple[int | str, ...] = ("x",)

    for of, reason in (
        (NotANumber, "a: its default nan is none in Avro (JSON has no infinity"),
        (TooLong, "more than 64 bits"),
        (WrongType, "int, not str"),
        (LaterBranch, "of its first type"),
    ):
        with pytest.raises(NoCounterpart) as caught:
            avro_schema(of)
        assert reason in str(caught.value)


def test_a_new_value_each_time_is_no_default() -> None:
    @dataclass
    class Model:
        id: UUID = field(default_factory=uuid4)

    assert "default" not in avro_schema(Model)["fields"][0]


def test_two_types_of_one_name() -> None:
    def make(kind: type) -> type[BaseModel]:
        return pydantic.create_model("Same", a=(kind, ...))

    both = pydantic.create_model("Both", one=(make(int), ...), two=(make(str), ...))
    with pytest.raises(NoCounterpart, match="two types are called Same: give one of them another name or namespace"):
        avro_schema(both)


def test_a_type_that_is_not_defined_yet() -> None:
    @dataclass
    class Model:
        later: Later  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(NoCounterpart, match="define it at the top of a module"):
        avro_schema(Model)

    class Other(BaseModel):
        later: Later  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(NoCounterpart, match="Later"):
        avro_schema(Other)


def test_a_field_whose_name_is_code() -> None:
    made = pydantic.create_model("Made", **{"a; import os": (int, pydantic.Field(serialization_alias="a"))})  # type: ignore[call-overload]
    with pytest.raises(NoCounterpart, match="has no name in Python"):
        avro_schema(made)


def test_marks_check_themselves() -> None:
    with pytest.raises(ConfigurationError, match="at least one digit"):
        Precision(0)
    with pytest.raises(ConfigurationError, match="need more than 2 bytes"):
        Precision(9, 2, size=2)
    assert Default(1).json == 1


def test_a_type_without_a_namespace_cannot_be_named_inside_of_one() -> None:
    @Named(namespace="")
    class Inner(BaseModel):
        pass

    @Named(namespace="eu")
    class Outer(BaseModel):
        one: Inner
        two: Inner

    with pytest.raises(NoCounterpart, match="Inner has no namespace and cannot be named inside of eu"):
        avro_schema(Outer)
