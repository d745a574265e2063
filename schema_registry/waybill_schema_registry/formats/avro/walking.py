"""Ways through schemas, and through the data of them, by the JSON pointers of reports."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from typing import Any, TypeAlias

from waybill_schema_registry.formats.avro.schema import Array, Map, Node, Record, Union

__all__ = ["node_at", "steps", "value_at"]

Hop: TypeAlias = tuple[Node, Callable[[Any], Any]]
"""Where a step leads, and how a datum follows it."""


def steps(location: str) -> list[str]:
    """The parts of a JSON pointer."""
    return [part for part in location.split("/") if part]


def node_at(root: Node, path: Sequence[str]) -> Node:
    """The node where a path ends. What leads no further into a schema (`/name`, `/size`, `/symbols`) is not followed."""
    node = root
    for node, _ in hops(root, path):  # noqa: B007 - the last one
        pass
    return node


def value_at(value: Any, root: Node, path: Sequence[str]) -> Any:
    """What stands at a path in a datum: of an array and of a map the first value. Raises `LookupError`, `TypeError`."""
    for _, follow in hops(root, path):
        value = follow(value)
    return value


def hops(node: Node, path: Sequence[str]) -> Iterator[Hop]:
    rest = list(path)
    while rest:
        step = rest.pop(0)
        if isinstance(node, Record) and step == "fields" and rest:
            field = node.fields[int(rest.pop(0))]
            if rest[:1] != ["type"]:  # it is about the field, not about what is in it
                return
            rest.pop(0)
            node = field.type
            yield node, itemgetter(field.name)
        elif isinstance(node, Union) and step.isdigit() and int(step) < len(node.branches):
            node = node.branches[int(step)]
            yield node, itself
        elif isinstance(node, Array) and step == "items":
            node = node.items
            yield node, itemgetter(0)
        elif isinstance(node, Map) and step == "values":
            node = node.values
            yield node, first
        elif not step.isdigit():  # a digit: the branch of the other side, which is no union on this side
            return


def itself(value: Any) -> Any:
    return value


def first(values: dict[str, Any]) -> Any:
    return next(iter(values.values()))
