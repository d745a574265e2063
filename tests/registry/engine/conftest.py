from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from itertools import count

import pytest

from waybill_schema_registry.engine.engine import Engine
from waybill_schema_registry.entities import Schema
from waybill_schema_registry.errors import RegistryError
from waybill_schema_registry.stores.memory import Memory, MemoryStore


@pytest.fixture
def memory() -> Memory:
    return Memory()


@pytest.fixture
async def engine(memory: Memory) -> AsyncGenerator[Engine, None]:
    ticks = count(1)
    async with Engine(MemoryStore(memory), clock=lambda: next(ticks)) as opened:
        yield opened


def record(*fields: str, name: str = "Order", **more: object) -> Schema:
    """A record of these fields, all strings; one whose name ends with `?` has a default."""
    made = [
        {"name": field.removesuffix("?"), "type": "string", **({"default": ""} if field.endswith("?") else {})}
        for field in fields
    ]
    return Schema(text=json.dumps({"type": "record", "name": name, "fields": made}), **more)  # type: ignore[arg-type]


class refused:  # noqa: N801 - it reads as a word: with refused(40401)
    """That this is refused with a code, and says a text if one is given."""

    def __init__(self, code: int, text: str | None = None) -> None:
        self.code = code
        self.text = text

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        assert isinstance(error, RegistryError), f"not refused with {self.code}: {error!r}"
        assert error.code == self.code, f"{error.code}, not {self.code}: {error}"
        assert self.text is None or self.text in str(error), str(error)
        return True
