"""A module of pydantic models, from schemas."""

from __future__ import annotations

import ast
import json
import keyword
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from waybill_schema_registry.errors import InvalidSchema
from waybill_schema_registry.formats.avro.parsing import parse
from waybill_schema_registry.formats.avro.schema import Enum, Fixed, Named, Node, Record, children, named_types
from waybill_schema_registry.formats.avro.text import same_definition
from waybill_schema_registry.types.refusal import is_name
from waybill_schema_registry.types.source.annotations import annotation
from waybill_schema_registry.types.source.classes import Classes
from waybill_schema_registry.types.source.identifiers import class_names, field_names, member_names
from waybill_schema_registry.types.source.texts import call

__all__ = ["generate"]

_WIDTH = 88

_FROM: Mapping[str, Sequence[str]] = {
    "datetime": ("UTC", "date", "datetime", "time", "timedelta"),
    "decimal": ("Decimal",),
    "enum": ("StrEnum",),
    "typing": ("Annotated", "TypeAlias"),
    "uuid": ("UUID",),
    "pydantic": ("AliasChoices", "AwareDatetime", "BaseModel", "Field", "NaiveDatetime"),
    "waybill_schema_registry.types": (
        *("Aliases", "Default", "Fixed", "Float32", "Int32", "Logical", "Millis", "Named", "Precision"),
    ),
}


def generate(*schemas: Any, name: str = "Payload") -> str:
    """The source of a module with a pydantic model for each record, an enum for each enum, of schemas as JSON values.

    Types that several of the schemas define must be the same in all of them; those that others need come first. name: of a
    schema that is no named type, e.g. a union of records; it is the last of them. `avro_type` of what is generated has the
    schema again, with its docs, defaults, aliases and logical types; what Avro itself does not read is gone. Raises
    `InvalidSchema`.
    """
    if not name.isidentifier() or keyword.iskeyword(name):
        raise InvalidSchema(f"name={name!r} is no name in Python")
    try:
        return _generate(schemas, name)
    except (RecursionError, MemoryError, SyntaxError):  # Python's parser says one or the other of brackets in brackets
        raise InvalidSchema("It is nested too deep to be written as Python types: give its inner types names") from None


def _generate(schemas: Sequence[Any], name: str) -> str:
    roots = list(_roots(schemas))
    types = _types(roots)
    unnamed = [root for root in roots if not isinstance(root, Record | Enum | Fixed)]
    classes = class_names(types.values(), name)
    writing = Classes(
        classes=classes,
        members={full: member_names(node.symbols) for full, node in types.items() if isinstance(node, Enum)},
        fields={
            full: field_names((field.name for field in node.fields), classes.values())
            for full, node in types.items()
            if isinstance(node, Record)
        },
    )
    parts = [writing.source(node) for node in _in_order(types)]
    parts += [f"{name}: TypeAlias = {annotation(root, classes)}\n" for root in unnamed[-1:]]
    return _module(parts, [*sorted(classes.values()), *([name] if unnamed else [])])


def _roots(schemas: Sequence[Any]) -> Iterable[Node]:
    """Each schema alone if it can be, else with those before it."""
    before: dict[str, str] = {}
    for index, schema in enumerate(schemas):
        try:
            yield parse(schema).root
        except InvalidSchema:
            if not before:
                raise
            yield parse(schema, before).root
        before[str(index)] = schema if isinstance(schema, str) else json.dumps(schema)


def _types(roots: Iterable[Node]) -> dict[str, Named]:
    found: dict[str, Named] = {}
    for root in roots:
        for full, node in named_types(root).items():
            _check_names(node)
            if not same_definition(found.setdefault(full, node), node):
                raise InvalidSchema(
                    f"Two of the schemas define {full}, and not as the same: generate a module for each"
                )
    return found


def _import(module: str, names: Sequence[str]) -> str:
    line = f"from {module} import {', '.join(names)}\n"
    return line if len(line) - 1 <= _WIDTH else call(f"from {module} import ", names)


def _check_names(node: Named) -> None:
    parts = [each.name for each in node.fields] if isinstance(node, Record) else []
    parts += node.symbols if isinstance(node, Enum) else []
    for name in (*node.fullname.split("."), *parts):
        if not is_name(name):
            raise InvalidSchema(
                f"{node.fullname}: {name!r} has letters that fastavro, which would read it, does not take"
            )


def _module(parts: Sequence[str], names: Sequence[str]) -> str:
    """With what it imports: what its code names, so that a word in a text counts for nothing."""
    body = "\n\n".join(parts)
    used = {node.id for node in ast.walk(ast.parse(body)) if isinstance(node, ast.Name)}
    imports = [
        _import(module, found)
        for module, offered in _FROM.items()
        if (found := [each for each in offered if each in used])
    ]
    standard = [line for line in imports if "pydantic" not in line and "waybill" not in line]
    others = [line for line in imports if line not in standard]
    blocks = ["".join(block) for block in (standard, others) if block]
    exported = call("__all__ = ", [f'"{name}"' for name in sorted(names)], "[]")
    head = "from __future__ import annotations\n\n" + "\n".join(blocks)
    return f"{head}\n{exported}\n\n{body}"


def _in_order(types: Mapping[str, Named]) -> list[Named]:
    """What others need first, as far as they do not need each other."""
    done: dict[str, Named] = {}

    for root in types.values():
        stack: list[tuple[Node, bool]] = [(root, False)]
        open_: set[int] = set()
        while stack:
            node, left = stack.pop()
            if left:
                if isinstance(node, Record | Enum | Fixed):
                    done.setdefault(node.fullname, node)
                continue
            if id(node) in open_ or (isinstance(node, Record | Enum | Fixed) and node.fullname in done):
                continue
            open_.add(id(node))
            stack.append((node, True))
            stack.extend((child, False) for child in reversed(children(node)))
    return list(done.values())
