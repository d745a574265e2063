"""A topic: the one place that names an address, the type it carries and the key that orders it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from waybill.codec import Codec, codec_for
from waybill.errors import ConfigurationError
from waybill.topology import Subscription, TopicSpec

__all__ = ["Topic", "check_name"]

T = TypeVar("T")

NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,126}[A-Za-z0-9])?")


def check_name(name: str, what: str) -> str:
    """`name`, if every broker can carry it; `ConfigurationError` otherwise."""
    if not isinstance(name, str) or not NAME.fullmatch(name) or ".." in name:
        raise ConfigurationError(
            f"{what} name {name!r} cannot be carried by every broker: use 1 to 128 letters, digits, '.', '_' or '-', "
            f"beginning and ending with a letter or digit, without '..'"
        )
    return name


class Topic(Generic[T]):
    """Where messages of type `T` are published. Immutable; one object may serve any number of applications.

    `name`: letters, digits, `.`, `_` and `-`. `payload`: a dataclass, TypedDict (before Python 3.12
    that of typing_extensions), pydantic model, msgspec.Struct, `bytes`
    or a built-in type. `key`: from a value to the text whose messages keep their order. `groups`: those that belong
    to the topic wherever they run, so that a publisher declares them before their first consumer exists.
    `codec`: instead of the one chosen by `payload`.
    """

    __slots__ = ("codec", "groups", "key", "name", "payload")

    name: str
    payload: type[T]
    key: Callable[[T], str | None] | None
    groups: tuple[str, ...]
    codec: Codec[T]

    def __init__(
        self,
        name: str,
        payload: type[T],
        *,
        key: Callable[[T], str | None] | None = None,
        groups: Sequence[str] = (),
        codec: Codec[T] | None = None,
    ) -> None:
        if isinstance(groups, str):
            raise ConfigurationError(f"Topic({name!r}, groups={groups!r}): groups is a list of names, not one text")
        if key is not None and not callable(key):
            raise ConfigurationError(f"Topic({name!r}, key=…): key is a function from a value to a text, or None")
        set_ = object.__setattr__
        set_(self, "name", check_name(name, "topic"))
        set_(self, "payload", payload)
        set_(self, "key", key)
        set_(self, "groups", tuple(check_name(group, "group") for group in groups))
        set_(self, "codec", codec_for(payload) if codec is None else codec)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a topic cannot be changed: make another instead of setting {name!r}")

    def __repr__(self) -> str:
        return f"Topic({self.name!r}, {getattr(self.payload, '__name__', self.payload)})"

    @property
    def spec(self) -> TopicSpec:
        """The topic as an adapter sees it."""
        return TopicSpec(self.name, ordered=self.key is not None)

    def subscriptions(self) -> list[Subscription]:
        """The groups that belong to the topic by contract."""
        return [Subscription(topic=self.spec, group=group) for group in self.groups]
