"""The fields of a class, whichever kind of class it is."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, TypeVar, cast, get_args, get_origin

import msgspec
import typing_extensions
from pydantic import AliasChoices, BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from waybill_schema_registry.types.refusal import NoCounterpart
from waybill_schema_registry.types.shapes import ABSENT

__all__ = ["Kind", "Member", "docstring", "kind_of", "members", "own_class"]

Kind: TypeAlias = Literal["model", "dataclass", "typed_dict", "struct", "named_tuple"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """attribute, name, key: as of `shapes.Field`. marks: what stands beside the type in `Annotated`. factory: makes a default
    anew each time."""

    attribute: str
    name: str
    key: str
    annotation: Any
    marks: Sequence[object] = ()
    default: Any = ABSENT
    factory: Callable[..., Any] | None = None
    doc: str = ""
    aliases: Sequence[str] = ()
    may_miss: bool = False


def own_class(annotation: Any) -> Any:
    """The class of `Page[Order]` where that is no class itself."""
    return get_origin(annotation) or annotation


def kind_of(annotation: Any) -> Kind | None:
    """How values of a type are taken apart; None if it is no class with fields."""
    cls = own_class(annotation)
    if not _is_class(cls):
        return None
    if issubclass(cls, BaseModel):
        return "model"
    if issubclass(cls, msgspec.Struct):
        return "struct"
    if dataclasses.is_dataclass(cls):
        return "dataclass"
    if typing_extensions.is_typeddict(cls):
        return "typed_dict"
    if hasattr(cls, "_fields") and issubclass(cls, tuple):
        return "named_tuple"
    return None


def _is_class(found: Any) -> bool:
    return isinstance(found, type)


def members(annotation: Any, kind: Kind) -> Iterator[Member]:
    """The fields in their order. Raises `NoCounterpart`."""
    cls = own_class(annotation)
    if kind == "model":
        yield from _of_model(cls)
    elif kind == "struct":
        yield from _of_struct(annotation)
    elif hasattr(cls, "__pydantic_fields__"):
        yield from (
            _of_field(name, info) for name, info in cls.__pydantic_fields__.items() if not _left_out(name, info)
        )
    else:
        yield from _of_hints(annotation, cls, kind)


def docstring(cls: type, kind: Kind | None) -> str:
    """What somebody wrote; not what a decorator made up."""
    generic: Any = getattr(cls, "__pydantic_generic_metadata__", {"origin": None})
    origin: Any = generic["origin"] or cls
    text: Any = origin.__dict__.get("__doc__")
    if not isinstance(text, str) or (kind in ("dataclass", "named_tuple") and text.startswith(f"{origin.__name__}(")):
        return ""
    return inspect.cleandoc(text)


def _of_model(cls: type[BaseModel]) -> Iterator[Member]:
    if cls.model_config.get("extra") == "allow":
        raise NoCounterpart(
            "it allows extra fields, which Avro has no place for: name them, or add a field of type dict"
        )
    if not cls.__pydantic_complete__:
        cls.model_rebuild()
    by_name = cls.model_config.get("validate_by_alias") is False
    for name, info in cls.model_fields.items():
        if not _left_out(name, info):
            yield _of_field(name, info, **({"key": name} if by_name else {}))


def _left_out(name: str, info: FieldInfo) -> bool:
    if info.exclude and info.is_required():
        raise NoCounterpart(f"its field {name} is excluded and has no default: who reads could not make one")
    return bool(info.exclude)


def _of_field(name: str, info: FieldInfo, **others: Any) -> Member:
    """Of a field that pydantic knows: its alias is what it is called outside, and what else it listens to are old names."""
    others.setdefault("default", ABSENT if info.default is PydanticUndefined or info.default is ... else info.default)
    others.setdefault("factory", info.default_factory)
    outside = info.serialization_alias or info.alias or name
    listens = info.validation_alias
    choices: list[Any] = listens.choices if isinstance(listens, AliasChoices) else [listens or info.alias or name]
    texts = [choice for choice in choices if isinstance(choice, str)]
    if not texts:
        raise NoCounterpart(f"its field {name} is read by a path only: add a plain name to its validation_alias")
    return Member(
        attribute=name,
        name=outside,
        key=others.pop("key", outside if outside in texts else texts[0]),
        annotation=info.annotation,
        marks=tuple(info.metadata),
        doc=info.description or "",
        aliases=tuple(text for text in texts if text not in (outside, name)),
        **others,
    )


def _of_struct(annotation: Any) -> Iterator[Member]:
    for field in msgspec.structs.fields(annotation):
        yield Member(
            attribute=field.name,
            name=field.encode_name,
            key=field.encode_name,
            annotation=field.type,
            default=ABSENT if field.default is msgspec.NODEFAULT else field.default,
            factory=None if field.default_factory is msgspec.NODEFAULT else field.default_factory,
        )


def _of_hints(annotation: Any, cls: Any, kind: Kind) -> Iterator[Member]:
    for name, qualified in _hints(annotation, cls, kind).items():
        hint, qualifiers = _unqualified(qualified)
        info = FieldInfo.from_annotation(hint)
        may_miss = kind == "typed_dict" and _may_miss(cls, name, qualifiers)
        yield _of_field(name, info, may_miss=may_miss, **_own_default(cls, name, kind, info))


def _hints(annotation: Any, cls: Any, kind: Kind) -> Mapping[str, Any]:
    try:
        hints = typing_extensions.get_type_hints(cls, include_extras=True)
    except NameError as error:
        raise NoCounterpart(f"{error}: define it at the top of a module, before it is used") from error
    if kind == "dataclass":
        hints = {field.name: hints[field.name] for field in dataclasses.fields(cls)}
    variables: tuple[Any, ...] = getattr(cls, "__parameters__", ())
    bound = dict(zip(variables, get_args(annotation), strict=False))
    return {name: _bind(hint, bound) for name, hint in hints.items()} if bound else hints


def _bind(hint: Any, bound: Mapping[Any, Any]) -> Any:
    """The hint of a generic class with its variables as they were given."""
    if isinstance(hint, TypeVar):
        return bound.get(hint, hint)
    variables = getattr(hint, "__parameters__", ())
    return hint[tuple(bound.get(variable, variable) for variable in variables)] if variables else hint


def _own_default(cls: Any, name: str, kind: Kind, info: FieldInfo) -> dict[str, Any]:
    if kind == "dataclass":
        field = cls.__dataclass_fields__[name]
        if isinstance(field.default, FieldInfo):
            return {}
        missing = dataclasses.MISSING
        return {
            "default": ABSENT if field.default is missing else field.default,
            "factory": None if field.default_factory is missing else field.default_factory,
        }
    if kind == "named_tuple":
        return {"default": cls._field_defaults.get(name, ABSENT)}
    return {} if info.is_required() else {"default": ABSENT}


def _unqualified(hint: Any) -> tuple[Any, set[Any]]:
    """The hint without `Required[…]` and the like, and which of them there were."""
    found: set[Any] = set()
    while get_origin(hint) in _QUALIFIERS:
        found.add(get_origin(hint))
        hint = get_args(hint)[0]
    return hint, found


_QUALIFIERS = (
    typing_extensions.Required,
    typing_extensions.NotRequired,
    typing_extensions.ReadOnly,
    typing_extensions.Final,
)


def _may_miss(cls: Any, name: str, qualifiers: set[Any]) -> bool:
    if qualifiers & {typing_extensions.Required, typing_extensions.NotRequired}:
        return typing_extensions.NotRequired in qualifiers
    return name in cast("frozenset[str]", cls.__optional_keys__)
