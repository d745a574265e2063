"""What the management API shows of a virtual host at one moment, held against what should be there. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple, Self

import msgspec

from waybill_rabbitmq.objects import Binding, Exchange, Queue

__all__ = ["Different", "Survey"]

ABSENT = "none"
"""How the broker writes an argument that is not there."""


class Different(NamedTuple):
    """An argument of an object that is there and is another."""

    argument: str
    wanted: str
    there: str


class Survey(msgspec.Struct, frozen=True):
    """Exchanges and queues as the API tells them, by name, and bindings."""

    exchanges: Mapping[str, Mapping[str, Any]]
    queues: Mapping[str, Mapping[str, Any]]
    bindings: frozenset[Binding]

    @classmethod
    def of(
        cls,
        exchanges: Iterable[Mapping[str, Any]],
        queues: Iterable[Mapping[str, Any]],
        bindings: Iterable[Mapping[str, Any]],
    ) -> Self:
        return cls(
            {exchange["name"]: exchange for exchange in exchanges},
            {queue["name"]: queue for queue in queues},
            frozenset(
                Binding(b["source"], b["destination"], b["routing_key"], b["destination_type"]) for b in bindings
            ),
        )

    def missing(self, items: Iterable[Exchange | Queue | Binding]) -> list[str]:
        """What of it is not there, for people."""
        return [_named(item) for item in items if not self._has(item)]

    def differences(self, items: Iterable[Exchange | Queue | Binding]) -> list[tuple[str, Different]]:
        """The objects that are there and are others, by name, with each argument that differs."""
        return [
            (item.name, different)
            for item in items
            if not isinstance(item, Binding)
            for different in self._differences(item)
        ]

    def _has(self, item: Exchange | Queue | Binding) -> bool:
        if isinstance(item, Binding):
            return item in self.bindings
        return item.name in (self.exchanges if isinstance(item, Exchange) else self.queues)

    def _differences(self, item: Exchange | Queue) -> Iterator[Different]:
        there = (self.exchanges if isinstance(item, Exchange) else self.queues).get(item.name)
        if there is None:
            return
        wanted: dict[str, Any] = {"durable": True, "auto_delete": False}
        if isinstance(item, Exchange):
            wanted |= {"type": item.kind, "auto_delete": item.passing}
        for name, value in wanted.items():
            if there.get(name) != value:
                yield Different(name, _shown(value), _shown(there.get(name)))
        arguments = there.get("arguments", {})
        for name in sorted({*arguments, *item.arguments}):
            if arguments.get(name) != item.arguments.get(name):
                yield Different(name, _shown(item.arguments.get(name)), _shown(arguments.get(name)))


def _named(item: Exchange | Queue | Binding) -> str:
    if isinstance(item, Binding):
        return f"the binding of {item.to} {item.destination} to {item.source} by {item.key!r}"
    return f"{'exchange' if isinstance(item, Exchange) else 'queue'} {item.name}"


def _shown(value: object) -> str:
    return ABSENT if value is None else str(value).lower() if isinstance(value, bool) else str(value)
