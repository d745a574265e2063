"""Small changes of schemas, as people make them: some keep readers and writers together, some do not."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

from tests.registry.oracle.generator import (
    FIELDS,
    LOGICAL,
    NAMED,
    NAMES,
    NAMESPACES,
    PRIMITIVES,
    SYMBOLS,
    Generator,
    full,
    space,
)

Place: TypeAlias = tuple[Any, Any, str]
"""A list or an object, where in it a type stands, and the namespace there."""
Mutation: TypeAlias = Callable[[Generator, Place], None]


def places(holder: Any, key: Any, outer: str) -> Iterator[Place]:
    """Where a type stands, and all that are inside of it."""
    yield holder, key, outer
    node = holder[key]
    if isinstance(node, list):
        for index in range(len(node)):
            yield from places(node, index, outer)
    elif isinstance(node, dict):
        inner = space(node, outer)[1] if node["type"] in NAMED else outer
        for field in node.get("fields", ()):
            yield from places(field, "type", inner)
        for inside in ("items", "values"):
            if inside in node:
                yield from places(node, inside, inner)


def replace(make: Generator, place: Place) -> None:
    holder, key, outer = place
    holder[key] = make.type(1, outer)


def promote(make: Generator, place: Place) -> None:
    holder, key, _ = place
    if isinstance(holder[key], str):
        holder[key] = make.rng.choice(PRIMITIVES)


def wrap(make: Generator, place: Place) -> None:
    holder, key, _ = place
    node = holder[key]
    if not isinstance(node, list) and not isinstance(holder, list):
        holder[key] = make.rng.choice((["null", node], [node, "null"], [node], ["string", node]))


def unwrap(make: Generator, place: Place) -> None:
    holder, key, _ = place
    if isinstance(holder[key], list) and holder[key]:
        holder[key] = make.rng.choice(holder[key])


def branches(make: Generator, place: Place) -> None:
    holder, key, outer = place
    union = holder[key]
    if isinstance(union, list):
        make.rng.shuffle(union)
        if union and make.rng.random() < 0.4:
            union.pop()
        if make.rng.random() < 0.5:
            union.append(make.type(1, outer))


def rename(make: Generator, place: Place) -> None:
    """Of a named type: with the old name as an alias or without, relative or in full."""
    node, outer = place[0][place[1]], place[2]
    if isinstance(node, dict) and node["type"] in NAMED:
        old, _ = space(node, outer)
        node["name"] = make.rng.choice(NAMES)
        if make.rng.random() < 0.6:
            node["aliases"] = [make.rng.choice((old, old.rpartition(".")[2], *make.aliases()))]


def move(make: Generator, place: Place) -> None:
    """Into another namespace."""
    node = place[0][place[1]]
    if isinstance(node, dict) and node["type"] in NAMED:
        node["namespace"] = make.rng.choice(("", *NAMESPACES))


def fixed(make: Generator, place: Place) -> None:
    node = place[0][place[1]]
    if isinstance(node, dict) and "size" in node:
        node["size"] += make.rng.choice((-1, 1)) if node["size"] > 1 else 1


def symbols(make: Generator, place: Place) -> None:
    node = place[0][place[1]]
    if isinstance(node, dict) and node["type"] == "enum":
        node["symbols"] = make.rng.sample(SYMBOLS, make.rng.randint(1, 5))
        node.pop("default", None)
        if make.rng.random() < 0.4:
            node["default"] = make.rng.choice(node["symbols"])


def logical(make: Generator, place: Place) -> None:
    holder, key, _ = place
    node = holder[key]
    if isinstance(node, dict) and "logicalType" in node:
        node.pop("logicalType")
    elif isinstance(node, str) and node in PRIMITIVES:
        holder[key] = dict(make.rng.choice([one for one in LOGICAL if one["type"] == node] or LOGICAL))


def aliases(make: Generator, place: Place) -> None:
    node = place[0][place[1]]
    if isinstance(node, dict) and node["type"] in NAMED:
        node["aliases"] = make.aliases()


def fields(make: Generator, place: Place) -> None:
    """One field comes, goes, changes its name, its place or its default, or two want one another's names."""
    node, outer = place[0][place[1]], place[2]
    if not isinstance(node, dict) or node["type"] != "record":
        return
    rng, inside = make.rng, node["fields"]
    taken = {field["name"] for field in inside}
    free = [name for name in FIELDS if name not in taken]
    what = rng.choices(range(7), (2, 2, 3, 1, 2, 2, 0.3))[0]
    if what == 0 and free:
        inside.insert(rng.randint(0, len(inside)), make.field(rng.choice(free), 1, space(node, outer)[1]))
    if not inside:
        return
    one = rng.choice(inside)
    if what == 1:
        inside.remove(one)
    elif what == 2 and free:
        old, one["name"] = one["name"], rng.choice(free)
        if rng.random() < 0.7:
            one["aliases"] = [old]
    elif what == 3:
        rng.shuffle(inside)
    elif what == 4:
        one.pop("default", None)
    elif what == 5:
        make.set_default(one)
    elif what == 6:
        other = rng.choice(inside)
        one["aliases"] = [other["name"]]
        if rng.random() < 0.5:
            other["aliases"] = [one["name"]]


MUTATIONS: tuple[Mutation, ...] = (
    replace,
    promote,
    promote,
    wrap,
    unwrap,
    branches,
    rename,
    move,
    fixed,
    symbols,
    logical,
    aliases,
    fields,
    fields,
    fields,
    fields,
)


def repair(holder: Any, key: Any, outer: str, defined: set[str]) -> None:
    """Give each name one definition before its first use, and each union each branch once."""
    node = holder[key]
    if isinstance(node, str):
        if node not in PRIMITIVES and full(node, outer) not in defined and node not in defined:
            holder[key] = "string"
    elif isinstance(node, list):
        kinds: dict[str, Any] = {}
        make = Generator(random.Random(0))
        for index in range(len(node)):
            repair(node, index, outer, defined)
            if not isinstance(node[index], list):
                kinds.setdefault(make.kind(node[index], outer), node[index])
        node[:] = kinds.values()
    elif node["type"] in NAMED:
        whole, inner = space(node, outer)
        if whole in defined:
            holder[key] = whole
            return
        defined.add(whole)
        for field in node.get("fields", ()):
            repair(field, "type", inner, defined)
    else:
        for inside in {"items", "values"} & node.keys():
            repair(node, inside, outer, defined)


def mutated(make: Generator, schema: Any) -> Any:
    """A copy with one to three changes, nearly always one that can be parsed."""
    root = {"type": copy.deepcopy(schema)}
    for _ in range(make.rng.choice((1, 1, 2, 3))):
        before, mutation = copy.deepcopy(root), make.rng.choice(MUTATIONS)
        somewhere = list(places(root, "type", ""))
        for place in make.rng.sample(somewhere, len(somewhere)):
            mutation(make, place)
            if root != before:
                break
    if make.rng.random() < 0.98:
        repair(root, "type", "", set())
    return root["type"]


def pairs(seed: int, count: int) -> Iterator[tuple[Any, Any]]:
    """Readers and writers, mostly one a change of the other, now and then strangers."""
    make = Generator(random.Random(seed))
    for _ in range(count):
        one = make.schema()
        other = mutated(make, one) if make.rng.random() < 0.93 else make.schema()
        yield (one, other) if make.rng.random() < 0.5 else (other, one)
