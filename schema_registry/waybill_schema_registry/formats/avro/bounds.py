"""What a schema may be at most, and what is a trap: a schema whose data makes a decoder take all memory, or never end.

A new schema with a trap is refused. Those that came from elsewhere are read nevertheless, since they may be compared and
handed out; who decodes with them asks here first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from waybill_schema_registry.formats.avro.names import PLAIN, is_word
from waybill_schema_registry.formats.avro.schema import (
    Array,
    Enum,
    Fixed,
    Named,
    Node,
    Primitive,
    Record,
    Union,
    children,
    nodes,
)
from waybill_schema_registry.formats.avro.stackless import Step, run

__all__ = ["Bounds", "depth_of", "traps"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """depth: types within types, as the text nests them. chain: types within types, as values nest them, by names too, but no
    type within itself. size: of the text, in characters. types: records, enums and fixed."""

    depth: int = 64
    chain: int = 640
    size: int = 256 * 1024
    types: int = 1_000


def traps(root: Node, bounds: Bounds = Bounds()) -> list[str]:  # it is frozen
    """What of a schema must not reach a decoder, in words; empty if nothing. The size of its text is not looked at."""
    everything = list(nodes(root))
    named = [node for node in everything if isinstance(node, Named)]
    found = [*too_many(root, named, bounds), *bad_names(named)]
    empty = nothing_on_the_wire(everything)
    found += [
        f"an array of {described(node.items)}, which takes no bytes: five bytes of data could claim millions of items"
        for node in everything
        if isinstance(node, Array) and id(node.items) in empty
    ]
    endless = without_end(everything)
    found += [
        f"the record {described(node)}, which always contains itself: make a field on the way a union with null, or a list"
        for node in named
        if id(node) in endless
    ][:1]
    return found


def too_many(root: Node, named: list[Named], bounds: Bounds) -> list[str]:
    found: list[str] = []
    if len(named) > bounds.types:
        found.append(f"{len(named):,} named types, more than {bounds.types:,}")
    if (depth := depth_of(root)) > bounds.depth:
        found.append(f"{depth:,} types within one another, more than {bounds.depth}")
    if (chain := run(chain_of(root, {}))) > bounds.chain:
        found.append(f"values of {chain:,} types within one another, more than {bounds.chain}")
    return found


def bad_names(named: list[Named]) -> list[str]:
    """Some libraries open files by the names of types."""
    return [
        f"the name {part!r:.80}, which is none: use letters, digits and underscores"
        for node in named
        for part in (*node.fullname.split("."), *parts_of(node))
        if not PLAIN.fullmatch(part) and not is_word(part)
    ][:10]


def parts_of(node: Named) -> tuple[str, ...]:
    if isinstance(node, Record):
        return tuple(field.name for field in node.fields)
    return node.symbols if isinstance(node, Enum) else ()


def depth_of(root: Node) -> int:
    """How many types stand within one another in the text; a type that is met again is a name there."""
    deepest = 0
    seen: set[int] = set()
    waiting = [(root, 1)]
    while waiting:
        node, depth = waiting.pop()
        deepest = max(deepest, depth)
        if id(node) not in seen:
            seen.add(id(node))
            waiting.extend((child, depth + 1) for child in reversed(children(node)))
    return deepest


def chain_of(node: Node, known: dict[int, int]) -> Step[int]:
    """How many types a value may have within one another, each counted once. A short text can say a long chain by names."""
    if id(node) not in known:
        known[id(node)] = longest = 0
        for child in children(node):
            longest = max(longest, (yield chain_of(child, known)))
        known[id(node)] = longest + 1
    return known[id(node)]


def nothing_on_the_wire(everything: list[Node]) -> set[int]:
    """The nodes of which every value is written as no bytes: null, a fixed of 0, and records of nothing else.

    A union takes a byte for its branch, an array or a map at least one for its end. A record that contains itself, and
    nothing else, has no value at all, so it does not count.
    """
    return reached(everything, bytes_free)


def without_end(everything: list[Node]) -> set[int]:
    """The nodes that have no value of finite size, because they need one of themselves."""
    return {id(node) for node in everything} - reached(everything, finite)


NEVER = -1


def bytes_free(node: Node) -> int:
    if isinstance(node, Record):
        return len(node.fields)
    free = (isinstance(node, Fixed) and node.size == 0) or (isinstance(node, Primitive) and node.type == "null")
    return 0 if free else NEVER


def finite(node: Node) -> int:
    if isinstance(node, Union):
        return 1 if node.branches else NEVER
    return len(node.fields) if isinstance(node, Record) else 0


def reached(everything: list[Node], needs: Callable[[Node], int]) -> set[int]:
    """The nodes, by identity, that have a property which spreads upwards. needs: how many of its parts must have it before a
    node has it too; 0, it has it anyway."""
    missing = {id(node): needs(node) for node in everything}
    above: dict[int, list[Node]] = {}
    for node in everything:
        for child in children(node):
            above.setdefault(id(child), []).append(node)
    found = [node for node in everything if not missing[id(node)]]
    for node in found:
        for parent in above.get(id(node), ()):
            missing[id(parent)] -= 1
            if not missing[id(parent)]:
                found.append(parent)
    return {id(node) for node in found}


def described(node: Node) -> str:
    return f"{getattr(node, 'fullname', '') or node.type:.200}"
