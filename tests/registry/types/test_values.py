"""Values to fastavro's data and back."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from ipaddress import IPv4Address
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, NotRequired

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import AnyUrl, BaseModel, ConfigDict, Field, NaiveDatetime, model_validator
from typing_extensions import TypedDict

from tests.registry.types.payloads import (
    ORDER,
    VALUES,
    Address,
    Card,
    Everything,
    Line,
    Node,
    Order,
    Payment,
    Point,
    Transfer,
)
from tests.registry.types.wire import read, written
from waybill.errors import DecodeError, EncodeError
from waybill_schema_registry.types import Float32, Int32, Logical, Millis, Named, Precision, avro_schema, avro_type


def through(of: Any, value: Any) -> Any:
    """The value, written and read."""
    mapped = avro_type(of)
    return mapped.from_datum(read(mapped.schema, written(mapped.schema, mapped.to_datum(value))))


def test_values_come_back() -> None:
    for of, value in VALUES:
        back = through(of, value)
        assert back == value, of
        assert type(back) is type(value), of


def test_a_typed_dict_that_fastavro_gives_is_the_value_itself() -> None:
    class Line(TypedDict):
        sku: str
        count: int

    datum = {"sku": "a", "count": 1}
    assert avro_type(Line).from_datum(datum) is datum


class Cat(BaseModel):
    name: str


class Dog(BaseModel):
    name: str


class Fish(TypedDict):
    kind: Literal["fish"]
    name: str


class Bird(TypedDict):
    kind: Literal["bird"]
    name: str


@dataclass
class Tame:
    name: str


@dataclass
class Wild:
    name: str


class Bee(msgspec.Struct, tag=True):
    name: str


class Wasp(msgspec.Struct, tag=True):
    name: str


class Hive(msgspec.Struct):
    guest: Bee | Wasp | None


class Mood(enum.StrEnum):
    GOOD = "good"


def test_the_branch_that_was_written_is_the_one_that_is_read() -> None:
    """Records with the same fields, enums beside texts, numbers of each sort."""
    unions: dict[Any, list[Any]] = {
        Cat | Dog | None: [Cat(name="x"), Dog(name="x"), None],
        Tame | Wild: [Tame("x"), Wild("x")],
        Fish | Bird: [{"kind": "fish", "name": "x"}, {"kind": "bird", "name": "x"}],
        Hive: [Hive(Bee("x")), Hive(Wasp("x")), Hive(None)],
        str | Mood: ["good", Mood.GOOD],
        Mood | str | None: ["good", Mood.GOOD, None],
        int | float | bool | str: [1, 1.0, True, "1"],
        float | int: [1, 1.0, 2**62],
        Int32 | int: [1, 2**40],
        Float32 | float: [0.5, 0.1],
        list[int] | dict[str, int] | Point: [[1], {"a": 1}, Point(1.0)],
        Card | Transfer | dict[str, str]: [Card(number="1"), Transfer(number="1"), {"kind": "card", "number": "1"}],
        bytes | str: [b"x", "x"],
        Annotated[time, Millis()] | time: [time(1, 0, 0, 1000), time(1, 0, 0, 1001)],
        date | datetime: [date(2024, 1, 1), datetime(2024, 1, 1, tzinfo=UTC)],
        Decimal_ | str: [Decimal("1.50"), "1.50"],
    }
    for of, values in unions.items():
        for value in values:
            back = through(of, value)
            assert back == value, of
            assert type(back) is type(value), (of, value, back)


Decimal_ = Annotated[Decimal, Precision(5, 2)]


def test_a_union_inside_of_a_discriminated_one_is_read_by_its_tag() -> None:
    for by in (Card(number="1"), Transfer(number="1")):
        payment = Payment(amount=Decimal("1.00"), by=by)
        assert through(Payment, payment) == payment


def test_what_was_written_before_a_field_became_a_union_is_read() -> None:
    class Owner(BaseModel):
        pet: Cat | Dog
        mood: str | Mood | None

    old = {
        "type": "record",
        "name": "Owner",
        "fields": [{"name": "pet", "type": avro_schema(Dog)}, {"name": "mood", "type": "string"}],
    }
    body = written(old, {"pet": {"name": "x"}, "mood": "fine"})
    mapped = avro_type(Owner)
    found = mapped.from_datum(read(old, body, mapped.schema))
    assert found.pet.name == "x"
    assert found.mood == "fine"


@pytest.mark.parametrize(
    ("of", "value", "reason"),
    [
        (bool, "no", "bool, not str"),
        (int, 1.5, "int, not float"),
        (int, True, "int, not bool"),
        (Int32, 2**31, "more than 32 bits"),
        (float, "1.5", "int, not str"),
        (Float32, 1e300, "too large"),
        (str, b"x", "str, not bytes"),
        (list[str], "abc", "list, not str"),
        (dict[str, int], [], "dict, not list"),
        (datetime, datetime(2024, 1, 1), "give it one, or declare it as NaiveDatetime"),  # noqa: DTZ001
        (NaiveDatetime, datetime(2024, 1, 1, tzinfo=UTC), "declared without a zone"),
        (date, datetime(2024, 1, 1, tzinfo=UTC), "date, not datetime"),
        (time, time(1, tzinfo=UTC), "no zone in Avro"),
        (Decimal_, Decimal("1.234"), "does not fit into 5 digits, 2 of them after the point"),
        (Decimal_, Decimal(12345), "does not fit"),
        (Decimal_, Decimal("NaN"), "does not fit"),
        (Annotated[Literal["a"], Named("A")], "b", "'b' is no symbol of its enum"),
        (int | str, 1.5, "float is none of long, string"),
        (Order, "x", "Order, not str"),
        (Address, {}, "street: it is missing"),
        (Address, {"street": "x", "town": "y"}, "has no key 'town'"),
    ],
)
def test_a_value_that_does_not_fit_is_refused(of: Any, value: Any, reason: str) -> None:
    with pytest.raises(EncodeError, match=reason):
        avro_type(of).to_datum(value)


def test_a_refusal_names_the_path_and_shows_nothing_else() -> None:
    order = Order(ORDER.id, ORDER.at, [Line("secret", 1, Decimal(1)), Line("secret", "2", Decimal(1))])  # type: ignore[arg-type]
    with pytest.raises(EncodeError) as caught:
        avro_type(Order).to_datum(order)
    assert str(caught.value) == "cannot be written as Avro: lines[1].quantity: int, not str"


class Checked(BaseModel):
    model_config = ConfigDict(strict=True)

    count: Annotated[int, Field(ge=0)]
    tags: tuple[str, ...] = ()
    kinds: frozenset[Mood] = frozenset()
    pets: list[Cat | Dog] = []
    at: datetime | None = None

    @model_validator(mode="after")
    def _even(self) -> Checked:
        if self.count % 2:
            raise ValueError("it is odd")
        return self


def test_validators_run_when_it_is_read() -> None:
    mapped = avro_type(Checked)
    for count, reason in ((-2, "count: Input should be greater than or equal to 0"), (1, "it is odd")):
        datum = mapped.to_datum(Checked.model_construct(count=count))
        with pytest.raises(DecodeError, match=reason):
            mapped.from_datum(datum)


def test_a_strict_model_reads_what_it_wrote() -> None:
    value = Checked(count=2, tags=("a",), kinds=frozenset({Mood.GOOD}), pets=[Dog(name="x")], at=ORDER.at)
    assert through(Checked, value) == value


def test_constraints_of_structs_and_dataclasses_are_checked() -> None:
    class Limit(msgspec.Struct):
        most: Annotated[int, msgspec.Meta(ge=0)]

    @dataclass
    class Bound:
        most: Annotated[int, Field(ge=0)]

    for of in (Limit, Bound):
        assert through(of, of(1)) == of(1)
        with pytest.raises(DecodeError, match="most"):
            avro_type(of).from_datum({"most": -1})


def test_what_a_dataclass_raises_when_it_is_made_is_a_decode_error() -> None:
    @dataclass
    class Even:
        number: int

        def __post_init__(self) -> None:
            if self.number % 2:
                raise RuntimeError("odd")

    with pytest.raises(DecodeError, match="RuntimeError: odd"):
        avro_type(Even).from_datum({"number": 1})


def test_a_message_of_a_refused_body_holds_none_of_its_values() -> None:
    with pytest.raises(DecodeError) as caught:
        avro_type(Checked).from_datum({"count": "geheim", "tags": [], "kinds": [], "pets": [], "at": None})
    assert "geheim" not in str(caught.value)


def test_a_body_with_very_many_errors_is_summed_up() -> None:
    with pytest.raises(DecodeError, match=r"^5000 errors$"):
        avro_type(list[Annotated[int, Field(ge=0)]]).from_datum([-1] * 5000)


def test_the_place_is_found_in_a_long_list() -> None:
    with pytest.raises(EncodeError, match=r"\[100000\]\.quantity: int, not str"):
        avro_type(list[Line]).to_datum([*[ORDER.lines[0]] * 100_000, Line("a", "1", Decimal(1))])  # type: ignore[arg-type]


def test_names_outside_and_inside() -> None:
    """Whatever pydantic is told to call a field, a value comes back."""

    class ByName(BaseModel):
        model_config = ConfigDict(validate_by_alias=False, validate_by_name=True)
        one: int = Field(alias="uno")

    class Written(BaseModel):
        one: int = Field(serialization_alias="uno")

    class Keyed(TypedDict):
        one: Annotated[int, Field(alias="uno")]

    class Bounded(TypedDict):
        one: Annotated[int, Field(alias="uno", ge=0)]

    for of, value in (
        (ByName, ByName(one=1)),
        (Written, Written(one=1)),
        (Keyed, {"one": 1}),
        (Bounded, {"one": 1}),
    ):
        assert avro_schema(of)["fields"][0]["name"] == "uno", of
        assert through(of, value) == value, of


def test_use_enum_values_is_written_as_the_enum() -> None:
    class Model(BaseModel):
        model_config = ConfigDict(use_enum_values=True)
        mood: Mood = Mood.GOOD

    assert avro_type(Model).to_datum(Model(mood=Mood.GOOD)) == {"mood": "good"}
    assert through(Model, Model(mood=Mood.GOOD)) == Model(mood=Mood.GOOD)


def test_types_with_one_text_each() -> None:
    class Model(BaseModel):
        url: AnyUrl
        host: IPv4Address
        path: PurePosixPath

    value = Model(url=AnyUrl("https://example.org/a"), host=IPv4Address("10.0.0.1"), path=PurePosixPath("/a"))
    assert through(Model, value) == value


def test_a_missing_key_is_missing_again() -> None:
    class Part(TypedDict):
        a: NotRequired[list[Line]]

    assert through(Part, {}) == {}
    assert through(Part, {"a": [ORDER.lines[0]]}) == {"a": [ORDER.lines[0]]}


def test_milliseconds_cut_off_what_is_finer() -> None:
    assert through(Annotated[datetime, Millis()], datetime(2024, 1, 1, 0, 0, 0, 1999, tzinfo=UTC)).microsecond == 1000


def test_a_logical_type_without_a_class_is_kept_as_it_is() -> None:
    assert through(Annotated[int, Logical("timestamp-nanos")], 5) == 5


def test_recursion_in_a_value_is_an_error_of_the_value() -> None:
    node = Node(1)
    node.children.append(node)
    with pytest.raises(EncodeError):
        avro_type(Node[int]).to_datum(node)


MOMENTS = st.datetimes(
    min_value=datetime(1, 1, 2),  # noqa: DTZ001
    max_value=datetime(9999, 12, 30),  # noqa: DTZ001
    timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30)), timezone(-timedelta(hours=8))]),
)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    st.builds(
        Everything,
        large=st.integers(-(2**63), 2**63 - 1),
        small=st.integers(-(2**31), 2**31 - 1),
        half=st.floats(width=32, allow_nan=False),
        whole=st.floats(allow_nan=False),
        text=st.text(),
        raw=st.binary(),
        day=st.dates(),
        clock=st.times(),
        moment=MOMENTS,
        length=st.timedeltas(min_value=timedelta(days=-100_000_000), max_value=timedelta(days=100_000_000)),
        number=st.uuids(),
        money=st.decimals(min_value=-9999, max_value=9999, places=2),
        kept=st.decimals(min_value=-9999, max_value=9999, places=2),
        digest=st.binary(min_size=4, max_size=4),
        unique=st.frozensets(st.text()),
        mapped=st.dictionaries(st.text(), st.lists(st.integers(-5, 5))),
    )
)
def test_every_value_of_every_type_comes_back(value: Everything) -> None:
    back = through(Everything, value)
    assert back == value
    assert math.copysign(1, back.whole) == math.copysign(1, value.whole)
