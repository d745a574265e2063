"""From values to what fastavro's writer takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import partial
from typing import Any, TypeAlias

from waybill_schema_registry.types.assembly import Assembly
from waybill_schema_registry.types.branches import branch_name, branch_of, classes_of
from waybill_schema_registry.types.checks import EXACT, check_of
from waybill_schema_registry.types.shapes import Array, Enumeration, Map, Record, Scalar, Shape, Union

__all__ = ["checked", "entries_of", "writer"]

Entry: TypeAlias = tuple[str | None, Callable[[Any], Any]]


def writer(shape: Shape) -> Callable[[Any], Any]:
    """What turns values of a shape into fastavro's. It raises `TypeError`, `ValueError`, `KeyError` or `AttributeError`."""
    return _Writing().function(shape)


def checked(shape: Scalar | Array | Map, value: Any) -> Any:
    """A value that is of the shape as far as it itself goes. Raises `TypeError` or `ValueError`."""
    if isinstance(shape, Scalar):
        return check_of(shape)(value)
    wanted: Any = Mapping if isinstance(shape, Map) else (Sequence, AbstractSet)
    if not isinstance(value, wanted) or isinstance(value, str | bytes | bytearray):
        raise TypeError(f"{shape.python.__name__}, not {type(value).__name__}")
    return value


class _Writing:
    """The functions of one type. A shape's is made once, so that it may call itself."""

    def __init__(self) -> None:
        self._assembly = Assembly()
        self._names: dict[int, str] = {}
        self._kept: list[Shape] = []

    def function(self, shape: Shape) -> Callable[[Any], Any]:
        return self._assembly.function(self._name(shape))

    def _name(self, shape: Shape) -> str:
        """The name of a shape's function."""
        known = self._names.get(id(shape))
        if known is not None:
            return known
        self._kept.append(shape)
        name = self._names[id(shape)] = self._assembly.reserve()
        self._assembly.define(name, self._body(shape))
        return name

    def _expression(self, shape: Shape) -> str:
        """`v` as fastavro takes it."""
        if isinstance(shape, Scalar) and shape.kind in EXACT:
            return f"v if {EXACT[shape.kind]} else {self._name(shape)}(v)"
        return f"{self._name(shape)}(v)"

    def _body(self, shape: Shape) -> list[str]:
        if isinstance(shape, Scalar):
            return [f"return {self._assembly.constant(check_of(shape))}(v)"]
        if isinstance(shape, Enumeration):
            return [f"return {self._assembly.constant(dict(shape.write))}[v]"]
        if isinstance(shape, Array | Map):
            return self._several(shape)
        if isinstance(shape, Union):
            return self._union(shape)
        return self._record(shape)

    def _several(self, shape: Array | Map) -> list[str]:
        check = self._assembly.constant(partial(checked, shape))
        if isinstance(shape, Map):
            values = self._expression(shape.values)
            return [f"if type(v) is not dict: {check}(v)", f"return {{k: {values} for k, v in v.items()}}"]
        test = f"if type(v) is not {shape.python.__name__}: {check}(v)"
        if (
            isinstance(shape.items, Scalar)
            and shape.items.kind in ("string", "bytes")
            and shape.python in (list, tuple)
        ):
            return [test, "return v"]  # fastavro itself takes nothing else for these
        return [test, f"return [{self._expression(shape.items)} for v in v]"]

    def _record(self, shape: Record) -> list[str]:
        lines = self._dictionary_test(shape) if shape.kind == "typed_dict" else self._class_test(shape)
        for number, field in enumerate(shape.fields):
            lines.append(f"f{number} = {_access(shape, field.attribute, may_miss=field.may_miss)}")
            lines += self._statement(field.shape, f"f{number}")
        pairs = ", ".join(f"{field.name!r}: f{number}" for number, field in enumerate(shape.fields))
        return [*lines, f"return {{{pairs}}}"]

    def _class_test(self, shape: Record) -> list[str]:
        def check(value: object) -> None:
            if not isinstance(value, shape.python):
                raise TypeError(f"{shape.python.__name__}, not {type(value).__name__}")

        return [f"if type(v) is not {self._assembly.constant(shape.python)}: {self._assembly.constant(check)}(v)"]

    def _dictionary_test(self, shape: Record) -> list[str]:
        keys = {field.attribute for field in shape.fields}

        def check(value: Mapping[str, object]) -> None:
            if unknown := value.keys() - keys:
                raise TypeError(f"{shape.name} has no key {min(map(str, unknown))!r}")

        test = "not v.keys() <= " if any(field.may_miss for field in shape.fields) else "len(v) != "
        limit = self._assembly.constant(keys) if "keys" in test else str(len(keys))
        return [f"if {test}{limit}: {self._assembly.constant(check)}(v)"]

    def _statement(self, shape: Shape, variable: str) -> list[str]:
        if isinstance(shape, Scalar) and shape.kind in EXACT:
            test = EXACT[shape.kind].replace("v.", f"{variable}.").replace("(v)", f"({variable})")
            test = test.replace("v is", f"{variable} is")
            return [f"if not ({test}): {variable} = {self._name(shape)}({variable})"]
        return [f"{variable} = {self._name(shape)}({variable})"]

    def _union(self, shape: Union) -> list[str]:
        known, slow = self._table(shape)
        table, miss = self._assembly.constant(known), self._assembly.constant(slow)
        lines = [
            f"entry = {table}.get(type(v)) or {miss}(v)",
            "name, convert = entry",
            "return convert(v) if name is None else (name, convert(v))",
        ]
        has_null = any(isinstance(branch, Scalar) and branch.kind == "null" for branch in shape.branches)
        return ["if v is None: return None", *lines] if has_null else lines

    def _table(self, shape: Union) -> tuple[dict[type, Entry], Callable[[Any], Entry]]:
        """What to do by a value's class, where only one branch is for it; else by the value."""
        entries = {id(branch): (name, self._late(branch)) for branch, name in entries_of(shape)}
        claims = [cls for branch in shape.branches for cls in classes_of(branch)]
        known = {
            cls: entries[id(branch)]
            for branch in shape.branches
            for cls in classes_of(branch)
            if claims.count(cls) == 1 and cls is not dict
        }

        def slow(value: Any) -> Entry:
            branch = branch_of(shape, value)
            if branch is None:
                names = ", ".join(branch_name(branch) for branch in shape.branches)
                raise TypeError(f"{type(value).__name__} is none of {names}")
            return entries[id(branch)]

        return known, slow

    def _late(self, shape: Shape) -> Callable[[Any], Any]:
        return self._assembly.function(self._name(shape))


def entries_of(shape: Union) -> list[tuple[Shape, str | None]]:
    """The branches and how fastavro is told of them: by name, unless it cannot be mistaken."""
    clear = len(shape.branches) == 2 and any(branch_name(branch) == "null" for branch in shape.branches)

    def name(branch: Shape) -> str | None:
        if branch_name(branch) == "null" or (clear and isinstance(branch, Scalar)):
            return None
        return branch_name(branch)

    return [(branch, name(branch)) for branch in shape.branches]


def _access(shape: Record, attribute: str, *, may_miss: bool) -> str:
    if shape.kind != "typed_dict":
        return f"v.{attribute}"
    return f"v.get({attribute!r})" if may_miss else f"v[{attribute!r}]"
