"""A topic: the one place that names an address, the type it carries and the key that orders it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, Generic, Literal, TypeVar, cast

import msgspec

from waybill.codec import Codec, CodecFactory, RemoteCodec, TombstoneCodec, codec_for, remote_of
from waybill.errors import ConfigurationError, DecodeError, EncodeError
from waybill.headers import is_id, is_text
from waybill.message import Message, Tombstone
from waybill.retry import seconds
from waybill.topology import BrokerOptions, Subscription, TopicSpec

__all__ = ["Topic", "TopicPattern", "check_name"]

T = TypeVar("T")
U = TypeVar("U")

NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,126}[A-Za-z0-9])?")
WORDS = re.compile(r"([A-Za-z0-9_-]+|\*|#)(\.([A-Za-z0-9_-]+|\*|#))*")


def check_name(name: str, what: str) -> str:
    """`name`, if every broker can carry it; `ConfigurationError` otherwise."""
    if not isinstance(name, str) or not NAME.fullmatch(name) or ".." in name:
        raise ConfigurationError(
            f"{what} name {name!r} cannot be carried by every broker: use 1 to 128 letters, digits, '.', '_' or '-', "
            f"beginning and ending with a letter or digit, without '..'"
        )
    return name


class Readable(Generic[T]):
    """What can be consumed: a topic, or a pattern of topics. Immutable."""

    __slots__ = ("codec", "key", "payload", "remote", "spec")

    payload: type[T]
    key: Callable[[T], str | None] | None
    codec: Codec[T]
    remote: RemoteCodec[T] | None
    """What its codec has besides, if that must ask somebody."""
    spec: TopicSpec
    """As an adapter sees it."""

    def __init__(
        self,
        spec: TopicSpec,
        payload: type[T],
        key: Callable[[T], str | None] | None,
        codec: Codec[T] | CodecFactory | None,
    ) -> None:
        if key is not None and not callable(key):
            raise ConfigurationError(f"{spec.name}: key={key!r}: key is a function from a value to a text, or None")
        self._set("payload", payload)
        self._set("key", key)
        made = _codec(spec.name, payload, codec)
        self._set("codec", made)
        self._set("remote", remote_of(made))
        self._set("spec", spec)

    @property
    def name(self) -> str:
        return self.spec.name

    def decode(self, message: Message) -> T:
        """The message's value. Raises `DecodeError`, and `Lacking` where the codec must ask somebody first."""
        body, given, codec = message.body, message.content_type, self.codec
        if body is None:
            if isinstance(codec, TombstoneCodec) and message.key is not None:
                return cast("T", Tombstone(message.key))
            raise DecodeError("a tombstone (no body): Topic.with_tombstones makes a topic whose handlers get them")
        if given is not None and given != codec.content_type:
            _check_content_type(given, codec.content_type)
        if self.remote is not None:
            return self.remote.decode_message(message)
        return codec.decode(body)

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a topic cannot be changed: make another instead of setting {name!r}")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, {getattr(self.payload, '__name__', self.payload)})"


class Topic(Readable[T]):
    """Where messages of type `T` are published. Immutable; one object may serve any number of applications.

    name: letters, digits, `.`, `_` and `-`. payload: a dataclass, TypedDict (before Python 3.12 that of
    typing_extensions), pydantic model, msgspec.Struct, `bytes` or a built-in type. key: from a value to the text whose
    messages keep their order. groups: those that belong to the topic wherever they run, so that a publisher declares
    them before their first consumer exists. codec: instead of the one chosen by `payload`, or what makes one for a topic.

    id: from a value to the message's id, where the value has one of its own; else every publish makes one.
    dedup_window: how long a second message with the same id is confirmed without being stored again; with another body it
    is refused. retention: how long messages are kept from when they were published, handled or not, for groups that start
    with the earliest. max_length: when one of its groups has so many messages to handle, more are refused.
    unrouted: a message that no group would get is refused (`error`), or confirmed all the same (`accept`: then a broker
    that keeps it until there is a group does so, and others drop it). broker: the name of the broker that carries it, where
    an application has several. Durations are seconds or timedeltas.

    Raises `ConfigurationError`.
    """

    __slots__ = ("groups", "id")

    groups: tuple[str, ...]
    id: Callable[[T], str] | None

    def __init__(
        self,
        name: str,
        payload: type[T],
        *,
        key: Callable[[T], str | None] | None = None,
        groups: Sequence[str] = (),
        codec: Codec[T] | CodecFactory | None = None,
        id: Callable[[T], str] | None = None,  # noqa: A002 - the attribute's name
        dedup_window: float | timedelta | None = None,
        retention: float | timedelta | None = None,
        max_length: int | None = None,
        unrouted: Literal["error", "accept"] = "error",
        broker: str | None = None,
    ) -> None:
        if isinstance(groups, str):
            raise ConfigurationError(f"Topic({name!r}, groups={groups!r}): groups is a list of names, not one text")
        if id is not None and not callable(id):
            raise ConfigurationError(f"Topic({name!r}, id={id!r}): id is a function from a value to a text, or None")
        if unrouted not in {"error", "accept"}:
            raise ConfigurationError(f"Topic({name!r}, unrouted={unrouted!r}): 'error' or 'accept'")
        if max_length is not None and (isinstance(max_length, bool) or max_length < 1):
            raise ConfigurationError(f"Topic({name!r}, max_length={max_length!r}): at least 1, or None for no limit")
        spec = TopicSpec(
            check_name(name, "topic"),
            ordered=key is not None,
            retention=_positive(name, "retention", retention),
            max_length=max_length,
            dedup_window=_positive(name, "dedup_window", dedup_window),
            accept_unrouted=unrouted == "accept",
            broker=None if broker is None else check_name(broker, "broker"),
        )
        self._set("groups", tuple(check_name(group, "group") for group in groups))
        self._set("id", id)
        super().__init__(spec, payload, key, codec)

    @staticmethod
    def with_tombstones(
        name: str,
        payload: type[U],
        *,
        key: Callable[[U], str | None],
        groups: Sequence[str] = (),
        codec: Codec[U] | CodecFactory | None = None,
        **others: Any,
    ) -> Topic[U | Tombstone]:
        """A topic whose keys can be deleted: it carries values, and `Tombstone(key)` for a key whose value is gone.

        Its handlers get either. The arguments are those of `Topic`.
        """
        inner = _codec(name, payload, codec)

        def key_of(value: U | Tombstone) -> str | None:
            return value.key if isinstance(value, Tombstone) else key(value)

        return Topic(
            name,
            cast("type[U | Tombstone]", payload),
            key=key_of,
            groups=groups,
            codec=cast("Codec[U | Tombstone]", TombstoneCodec(inner)),
            **others,
        )

    def on(self, *options: BrokerOptions) -> Topic[T]:
        """The same topic with options that only one broker has, e.g. `orders.on(Kafka(partitions=12))`.

        An application on another broker leaves them alone, so a contract may hold those of several. Raises
        `ConfigurationError` for two of one kind.
        """
        kinds = [type(option) for option in options]
        for option in options:
            if not isinstance(option, BrokerOptions):
                raise ConfigurationError(
                    f"{self.name}.on({option!r}): give an adapter's options, e.g. Kafka(partitions=12)"
                )
            if kinds.count(type(option)) > 1:
                raise ConfigurationError(f"{self.name}.on(…): {type(option).__name__} is given twice")
        kept = [option for option in self.spec.options if type(option) not in kinds]
        other: Topic[T] = object.__new__(type(self))
        for name in ("payload", "key", "codec", "remote", "groups", "id"):
            object.__setattr__(other, name, getattr(self, name))
        object.__setattr__(other, "spec", msgspec.structs.replace(self.spec, options=(*kept, *options)))
        return other

    def subscriptions(self) -> list[Subscription]:
        """The groups that belong to the topic by contract."""
        return [Subscription(topic=self.spec, group=group, by_contract=True) for group in self.groups]

    def key_of(self, value: T) -> str | None:
        """The key that orders `value`. Raises `EncodeError`."""
        if self.key is None:
            return None
        return check_key(self._of(self.key, value, "key"), self.name)

    def id_of(self, value: T) -> str | None:
        """The id that `value` has of its own. Raises `EncodeError`."""
        if self.id is None or isinstance(value, Tombstone):
            return None
        given = self._of(self.id, value, "id")
        if not is_id(given):
            raise EncodeError(f"{self.name}: an id is 1 to 256 printable characters, not {str(given)[:80]!r}")
        return cast("str", given)

    def _of(self, function: Callable[[T], object], value: T, what: str) -> Any:
        try:
            return function(value)
        except Exception as error:
            raise EncodeError(f"{self.name}: its {what} function failed: {error!r}") from error


class TopicPattern(Readable[T]):
    """Every topic whose name fits, also those that are created later; to consume, not to publish to.

    pattern: words between dots, where `*` stands for one word and `#` for any number of them: `orders.*`,
    `orders.#`, `*.placed`. payload: what all of them carry. key, codec, broker: as of a `Topic`.
    """

    __slots__ = ()

    def __init__(
        self,
        pattern: str,
        payload: type[T],
        *,
        key: Callable[[T], str | None] | None = None,
        codec: Codec[T] | CodecFactory | None = None,
        broker: str | None = None,
    ) -> None:
        if not isinstance(pattern, str) or not WORDS.fullmatch(pattern) or len(pattern) > 128:
            raise ConfigurationError(
                f"TopicPattern({pattern!r}): words of letters, digits, '_' and '-' between dots, where * stands for one "
                f"word and # for any number of them"
            )
        if "*" not in pattern and "#" not in pattern:
            raise ConfigurationError(f"TopicPattern({pattern!r}) stands for one topic only: use Topic({pattern!r}, …)")
        spec = TopicSpec(pattern, pattern=True, ordered=key is not None, broker=broker)
        super().__init__(spec, payload, key, codec)


def check_key(key: object, topic: str) -> str | None:
    """`key`, if it is one. Raises `EncodeError`."""
    if key is not None and (not isinstance(key, str) or not key or not is_text(key)):
        raise EncodeError(f"{topic}: the key must be a text of at least one character, not {key!r}")
    return key


def _codec(name: str, payload: type[T], codec: Codec[T] | CodecFactory | None) -> Codec[T]:
    if codec is None:
        return codec_for(payload)
    return codec.for_topic(name, payload) if isinstance(codec, CodecFactory) else codec


def _check_content_type(given: str, expected: str) -> None:
    plain = given.partition(";")[0].strip().lower()
    if plain.startswith("application/cloudevents"):
        raise DecodeError(f"{given[:80]!r}: its attributes are in its body; send it in CloudEvents' binary mode")
    if plain != expected and not (expected == "application/json" and plain.endswith("+json")):
        raise DecodeError(f"unsupported content type {given[:80]!r}: this topic carries {expected}")


def _positive(name: str, what: str, value: float | timedelta | None) -> float | None:
    if value is None:
        return None
    number = seconds(value, f"Topic({name!r}): {what}")
    if not number:
        raise ConfigurationError(f"Topic({name!r}, {what}={value!r}): longer than 0, or None for none")
    return number
