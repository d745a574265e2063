"""How much a body may ask of who decodes it."""

from __future__ import annotations

from dataclasses import dataclass

from waybill.errors import ConfigurationError

__all__ = ["Limits"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What is beyond them is refused before it is decoded, and when it is encoded.

    body: bytes of a body, its header included. depth: records within records of a recursive schema. items: items of all arrays
    and maps of a body together. decimal: bytes of one decimal number. Raises `ConfigurationError`.
    """

    body: int = 1 << 20
    depth: int = 100
    items: int = 1_000_000
    decimal: int = 64

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ConfigurationError(f"Limits({name}={value!r}): a whole number, at least 1")
        if self.depth > 1000:
            raise ConfigurationError(f"Limits(depth={self.depth}): at most 1000, or the process may run out of stack")
