"""What can be said about a type that Python has no word for. pydantic and msgspec leave these marks alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias, TypeVar

from waybill.errors import ConfigurationError

__all__ = [
    "Aliases",
    "Bits",
    "Fixed",
    "Float32",
    "Int32",
    "Logical",
    "Mark",
    "Millis",
    "Named",
    "Precision",
    "naming_of",
]

C = TypeVar("C", bound=type)


class Mark:
    """Stands in `Annotated[…]`."""

    __slots__ = ()


@dataclass(frozen=True)
class Named(Mark):
    """How a type is called in Avro: a decorator of a class, or a mark of a type that has no class of its own.

        @Named(namespace="shop", aliases=["PlacedOrder"])
        class OrderPlaced(BaseModel): …

        status: Annotated[Literal["PAID", "OPEN"], Named("Status", default_symbol="OPEN")]

    name: instead of the class's own. namespace: subclasses have it too, unless they say another. aliases: names it had before.
    doc: instead of the docstring. default_symbol: of an enum, what readers take for a symbol they do not know.
    """

    name: str | None = None
    namespace: str | None = None
    aliases: Sequence[str] = ()
    doc: str | None = None
    default_symbol: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "aliases", tuple(self.aliases))  # hashable, as all that stands in a type must be

    def __call__(self, cls: C) -> C:
        cls.__avro__ = self  # type: ignore[attr-defined]
        return cls


@dataclass(frozen=True)
class Aliases(Mark):
    """Names that a field had before: who reads with the new name still finds what was written under the old one."""

    names: tuple[str, ...]

    def __init__(self, *names: str) -> None:
        object.__setattr__(self, "names", names)


@dataclass(frozen=True, eq=False)
class Default(Mark):
    """Of a field: the default in the schema, as Avro's JSON has it, where Python makes its own anew each time or has none.

    tags: Annotated[list[str], Default(["new"])] = field(default_factory=lambda: ["new"])
    """

    json: Any


@dataclass(frozen=True)
class Precision(Mark):
    """Of a `Decimal`: how many digits in all, and how many of them after the point.

    size: kept in so many bytes, always (Avro's `fixed`), instead of as many as are needed.
    """

    precision: int
    scale: int = 0
    size: int | None = None

    def __post_init__(self) -> None:
        if self.precision < 1 or not 0 <= self.scale <= self.precision:
            raise ConfigurationError(
                f"Precision({self.precision}, {self.scale}): at least one digit, and no more after the point than there are"
            )
        if self.size is not None and not 10**self.precision <= 2 ** (8 * self.size - 1):
            raise ConfigurationError(
                f"Precision({self.precision}, size={self.size}): so many digits need more than {self.size} bytes"
            )


@dataclass(frozen=True)
class Fixed(Mark):
    """Of `bytes`: always so many of them."""

    size: int


@dataclass(frozen=True)
class Bits(Mark):
    """Of `int` and `float`: 32 instead of 64 bits."""

    number: int


@dataclass(frozen=True)
class Millis(Mark):
    """Of `datetime` and `time`: kept in milliseconds. What is finer is cut off."""


@dataclass(frozen=True)
class Logical(Mark):
    """A logical type that Python has no class for, e.g. `Annotated[int, Logical("timestamp-nanos")]`: kept as it is."""

    name: str


Int32: TypeAlias = Annotated[int, Bits(32)]
"""An `int` of 32 bits, Avro's `int`. A plain `int` is Avro's `long`."""

Float32: TypeAlias = Annotated[float, Bits(32)]
"""A `float` of 32 bits, Avro's `float`. A plain `float` is Avro's `double`."""


def naming_of(cls: type) -> Named:
    """What a class says about its name; of what its bases say only the namespace."""
    own: Named = vars(cls).get("__avro__") or Named()
    if own.namespace is not None:
        return own
    inherited: Named | None = getattr(cls, "__avro__", None)
    namespace = None if inherited is None else inherited.namespace
    return Named(own.name, namespace, own.aliases, own.doc, own.default_symbol)
