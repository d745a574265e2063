"""From a type to its shape."""

from __future__ import annotations

import enum
import keyword
import types
import typing
from collections.abc import Collection, Iterable, Mapping, MutableMapping, MutableSequence, MutableSet, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args, get_origin

import typing_extensions
from pydantic import RootModel
from pydantic.errors import PydanticUndefinedAnnotation, PydanticUserError
from pydantic.fields import FieldInfo

from waybill_schema_registry.formats.avro.schema import PRIMITIVES
from waybill_schema_registry.types.branches import branch_name
from waybill_schema_registry.types.constraints import doc_of, is_known, marks_of
from waybill_schema_registry.types.defaults import default_of, first_branch
from waybill_schema_registry.types.enums import default_symbol, symbols_of, writing
from waybill_schema_registry.types.marks import Aliases, Default, Named, naming_of
from waybill_schema_registry.types.members import Member, docstring, kind_of, members, own_class
from waybill_schema_registry.types.refusal import NoCounterpart, is_name
from waybill_schema_registry.types.scalars import scalar
from waybill_schema_registry.types.shapes import Array, Enumeration, Field, Map, Record, Scalar, Shape, Union
from waybill_schema_registry.types.words import camel, legal, shown, why_not

__all__ = ["shape_of"]

_ARRAYS: dict[Any, type] = {
    list: list,
    tuple: tuple,
    set: set,
    frozenset: frozenset,
    Sequence: list,
    MutableSequence: list,
    Collection: list,
    Iterable: list,
    AbstractSet: set,
    MutableSet: set,
}
_RESERVED = frozenset((*PRIMITIVES, "record", "error", "enum", "array", "map", "union", "fixed"))
_MAPS = (dict, Mapping, MutableMapping)


def shape_of(payload: Any, namespace: str | None) -> Shape:
    """The shape of a payload. Raises `NoCounterpart`, which names the field."""
    cls = own_class(payload)
    own = naming_of(cls).namespace if isinstance(cls, type) else None
    return _Inspection(own or namespace or "").shape(payload, _Place(shown(payload)))


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a type stands: for messages, and for the name of a type that has none. marks: what stands beside it."""

    path: str
    called: str = ""
    marks: tuple[object, ...] = ()

    def inside(self, part: str) -> _Place:
        return _Place(self.path + part, self.called)


class _Inspection:
    """One payload's types. Named ones are kept, so that each is written once and may contain itself."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self._made: dict[Any, Record | Enumeration] = {}
        self._named: dict[str, Shape] = {}

    def shape(self, annotation: Any, place: _Place) -> Shape:
        try:
            return self._shape(annotation, place)
        except NoCounterpart as refusal:
            if getattr(refusal, "placed", False):
                raise
            placed = NoCounterpart(f"{place.path}: {refusal}")
            placed.placed = True
            raise placed from refusal.__cause__
        except RecursionError:
            raise NoCounterpart(
                f"{place.path}: it contains itself without end: only a class can be recursive"
            ) from None

    def _shape(self, annotation: Any, place: _Place) -> Shape:
        origin = get_origin(annotation)
        if origin is Annotated:
            return self._annotated(annotation, place)
        if isinstance(annotation, typing_extensions.TypeAliasType) or isinstance(
            origin, typing_extensions.TypeAliasType
        ):
            return self._alias(annotation, place)
        if isinstance(annotation, typing.NewType):
            return self._shape(annotation.__supertype__, place)
        if origin is typing.Union or origin is types.UnionType:
            return self._checked(self._union(get_args(annotation), place), place)
        if (found := scalar(annotation, place.marks)) is not None:
            return self._checked(self._with_name(found, place), place)
        if origin is Literal:
            return self._checked(self._literal(get_args(annotation), place), place)
        if (own := own_class(annotation)) in _ARRAYS or own in _MAPS:
            return self._checked(self._container(annotation, own, place), place)
        if annotation in self._made:
            return self._checked(self._made[annotation], place)
        if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
            return self._checked(self._enumeration(annotation), place)
        if kind_of(annotation) is not None:
            return self._checked(self._record(annotation, place), place)
        raise NoCounterpart(why_not(annotation))

    def _annotated(self, annotation: Any, place: _Place) -> Shape:
        inner, *marks = get_args(annotation)
        seen: list[object] = []
        for mark in marks:
            seen.extend(mark.metadata if isinstance(mark, FieldInfo) else [mark])
        return self._shape(inner, _Place(place.path, place.called, (*place.marks, *seen)))

    def _alias(self, annotation: Any, place: _Place) -> Shape:
        value = (get_origin(annotation) or annotation).__value__
        arguments = get_args(annotation)
        return self._shape(value[arguments] if arguments else value, place)

    def _checked(self, shape: Shape, place: _Place) -> Shape:
        """With a constraint beside it that Avro knows nothing of, it is to be checked after reading."""
        if any(not is_known(mark, shape) for mark in place.marks):
            shape.sure = False
        return shape

    def _with_name(self, shape: Scalar, place: _Place) -> Scalar:
        if shape.avro == "fixed":
            shape.name, naming = self._name_for(place, "bytes of a fixed size")
            shape.aliases, shape.doc = naming.aliases, naming.doc or ""
            self._claim(shape.name, shape)
        return shape

    def _container(self, annotation: Any, own: Any, place: _Place) -> Shape:
        arguments = get_args(annotation)
        if own in _MAPS:
            if len(arguments) != 2 or not _is_text(arguments[0]):
                raise NoCounterpart("the keys of a map are str in Avro: use dict[str, …], or a list of records")
            values = self.shape(arguments[1], place.inside("{}"))
            return Map(values=values, sure=arguments[0] is str)
        if own is tuple and (len(arguments) != 2 or arguments[1] is not ...):
            raise NoCounterpart("a tuple of places has no counterpart in Avro: use a NamedTuple, or tuple[T, ...]")
        if not arguments:
            raise NoCounterpart(f"it does not say what it holds: {shown(annotation)}[…]")
        return Array(items=self.shape(arguments[0], place.inside("[]")), python=_ARRAYS[own])

    def _union(self, arguments: Sequence[Any], place: _Place) -> Shape:
        texts = [text for part in arguments if get_origin(part) is Literal for text in get_args(part)]
        branches: list[Shape] = []
        for part in arguments:
            if get_origin(part) is Literal:
                if not texts:
                    continue
                part, texts = Literal[tuple(texts)], []  # noqa: PLW2901 - several of them are one enum
            inner = _Place(place.path, place.called, () if part in (None, type(None)) else place.marks)
            found = self.shape(part, inner)
            branches.extend(found.branches if isinstance(found, Union) else [found])
        _check_branches(branches)
        if len(branches) == 1:
            return branches[0]
        return Union(branches=branches)

    def _literal(self, values: Sequence[Any], place: _Place) -> Shape:
        kinds: set[type] = {type(value) for value in values}
        if type(None) in kinds and len(kinds) > 1:
            return self._union([None, Literal[tuple(value for value in values if value is not None)]], place)
        if kinds == {str} and all(is_name(value) for value in values):
            return self._literal_enum(values, place)
        found = scalar(kinds.pop(), ()) if len(kinds) == 1 else None
        if found is None:
            raise NoCounterpart(
                f"{shown(Literal[tuple(values)])}: values of one type only, all of them str, int or bool"
            )
        found.sure = found.kind == "null"
        return found

    def _literal_enum(self, values: Sequence[str], place: _Place) -> Enumeration:
        name, naming = self._name_for(place, "a Literal")
        symbols = {value: value for value in values}
        known = self._named.get(name)
        if isinstance(known, Enumeration) and known.read is None and known.write == symbols:
            return known
        shape = Enumeration(
            name=name,
            symbols=list(values),
            write=symbols,
            read=None,
            python=str,
            aliases=naming.aliases,
            doc=naming.doc or "",
            default=default_symbol(naming, values),
        )
        self._claim(name, shape)
        return shape

    def _enumeration(self, cls: type[enum.Enum]) -> Enumeration:
        naming = naming_of(cls)
        symbols = symbols_of(cls)
        name = self._full(naming.name or cls.__name__, naming.namespace)
        shape = Enumeration(
            name=name,
            symbols=list(symbols),
            write=writing(symbols),
            read=symbols,
            python=cls,
            aliases=naming.aliases,
            doc=docstring(cls, None) if naming.doc is None else naming.doc,
            default=default_symbol(naming, symbols),
        )
        self._made[cls] = shape
        self._claim(name, shape)
        return shape

    def _record(self, annotation: Any, place: _Place) -> Record:
        cls, kind = own_class(annotation), kind_of(annotation)
        assert kind is not None  # noqa: S101 - asked before
        if kind == "model" and issubclass(cls, RootModel):
            raise NoCounterpart("a RootModel has no fields: use the type inside it, or give it a field")
        naming = naming_of(cls)
        name = self._full(legal(_called(annotation, naming.name)), naming.namespace)
        shape = Record(
            name=name,
            python=cls if kind != "model" else annotation,
            kind=kind,
            aliases=naming.aliases,
            doc=docstring(cls, kind) if naming.doc is None else naming.doc,
            keyword_only=_keyword_only(cls, kind),
        )
        self._made[annotation] = shape
        self._claim(name, shape)
        shape.sure = _is_sure(cls, kind)
        at = place.path if place.called else shown(annotation)
        try:
            found = list(members(annotation, kind))
        except (PydanticUserError, PydanticUndefinedAnnotation) as error:
            raise NoCounterpart(f"pydantic cannot complete it: {error.message}") from error
        for member in found:
            shape.fields.append(self._field(member, _Place(f"{at}.{member.attribute}", camel(name, member.name))))
        _check_fields(shape)
        return shape

    def _field(self, member: Member, place: _Place) -> Field:
        place = _Place(place.path, place.called, tuple(member.marks))
        shape = self.shape(member.annotation, place)
        marked = [name for mark in marks_of(member) if isinstance(mark, Aliases) for name in mark.names]
        if member.may_miss:
            shape = _missing_is_null(shape, place)
        field = Field(
            attribute=member.attribute,
            name=member.name,
            key=member.key,
            shape=shape,
            doc=member.doc or doc_of(member),
            aliases=tuple(dict.fromkeys([*member.aliases, *marked])),
            may_miss=member.may_miss,
        )
        given = next((mark for mark in marks_of(member) if isinstance(mark, Default)), None)
        if given is not None:
            field.json = given.json
        else:
            field.default = default_of(member, shape, place.path)
            field.shape = first_branch(shape, field.default)
        return field

    def _name_for(self, place: _Place, what: str) -> tuple[str, Named]:
        naming = next((mark for mark in reversed(place.marks) if isinstance(mark, Named)), Named())
        if not (naming.name or place.called):
            raise NoCounterpart(f"{what} has a name in Avro: Annotated[…, Named('…')]")
        return self._full(naming.name or place.called, naming.namespace), naming

    def _full(self, name: str, namespace: str | None) -> str:
        namespace = self._namespace if namespace is None else namespace
        if name in _RESERVED or not all(map(is_name, f"{namespace}.{name}".lstrip(".").split("."))):
            raise NoCounterpart(
                f"{f'{namespace}.{name}'.lstrip('.')} is no name in Avro, which has letters, digits and _, and words of its "
                f"own: use Named('…', namespace='…')"
            )
        return f"{namespace}.{name}" if namespace else name

    def _claim(self, name: str, shape: Shape) -> None:
        if self._named.setdefault(name, shape) is not shape and not _same(self._named[name], shape):
            raise NoCounterpart(f"two types are called {name}: give one of them another name or namespace with Named")


def _same(one: Shape, other: Shape) -> bool:
    """Of types without a class: whether two are the same one."""
    return isinstance(one, Scalar) and isinstance(other, Scalar) and one.attributes == other.attributes


def _called(annotation: Any, name: str | None) -> str:
    """`Page[Order]`, also where Page is called otherwise."""
    words = shown(annotation)
    return words if name is None else name + words[len(words.partition("[")[0]) :]


def _missing_is_null(shape: Shape, place: _Place) -> Shape:
    branches = list(shape.branches) if isinstance(shape, Union) else [shape]
    if any(isinstance(branch, Scalar) and branch.kind == "null" for branch in branches):
        raise NoCounterpart(f"{place.path}: a key that may be missing is null in Avro, so it cannot also be None")
    null = Scalar(kind="null", avro="null", python=type(None))
    return Union(branches=[null, *branches], sure=shape.sure)


def _check_branches(branches: Sequence[Shape]) -> None:
    seen: dict[str, Shape] = {}
    for branch in branches:
        kind = branch_name(branch)
        if kind in seen and seen[kind] is not branch:
            raise NoCounterpart(
                f"both {_python_of(seen[kind])} and {_python_of(branch)} are {kind} in Avro, and a union has each type once: "
                f"put one of them into a record"
            )
        seen[kind] = branch


def _python_of(shape: Shape) -> str:
    return getattr(getattr(shape, "python", None), "__name__", "it")


def _check_fields(shape: Record) -> None:
    seen: set[str] = set()
    for field in shape.fields:
        if not is_name(field.name):
            raise NoCounterpart(f"its field {field.name!r} has no name in Avro: letters, digits and _, no digit first")
        if shape.kind != "typed_dict" and (not field.attribute.isidentifier() or keyword.iskeyword(field.attribute)):
            raise NoCounterpart(f"its field {field.attribute!r} has no name in Python")
        if field.name in seen:
            raise NoCounterpart(f"two of its fields are called {field.name}")
        seen.add(field.name)


def _is_sure(cls: Any, kind: str) -> bool:
    if kind == "dataclass":
        parameters = cls.__dataclass_params__
        own = all(field.init for field in cls.__dataclass_fields__.values())
        return own and parameters.init and not hasattr(cls, "__pydantic_validator__") and not _configured(cls)
    return kind != "model" and not _configured(cls)


def _configured(cls: Any) -> bool:
    return hasattr(cls, "__pydantic_config__")


def _keyword_only(cls: Any, kind: str) -> bool:
    return kind == "struct" or (
        kind == "dataclass" and any(field.kw_only for field in cls.__dataclass_fields__.values())
    )


def _is_text(annotation: Any) -> bool:
    return annotation is str or (get_origin(annotation) is Annotated and get_args(annotation)[0] is str)
