"""A handler, checked when it is registered, and folded into a pipeline when the application starts."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Sequence
from typing import Any

from waybill.errors import ConfigurationError, DecodeError
from waybill.message import Delivery, Message
from waybill.middleware import Handler, Middleware, compose
from waybill.options import ConsumerOptions
from waybill.threads import in_threads
from waybill.topic import Topic
from waybill.topology import Subscription

__all__ = ["Registration", "name_of"]


class Registration:
    """One handler and how its subscription is consumed."""

    __slots__ = ("handler", "name", "options", "subscription", "takes_delivery", "topic")

    def __init__(
        self, topic: Topic[Any], subscription: Subscription, options: ConsumerOptions, handler: Callable[..., Any]
    ) -> None:
        self.takes_delivery = _takes_delivery(handler, topic)
        self.topic = topic
        self.subscription = subscription
        self.options = options
        self.handler = handler if _is_async(handler) else in_threads(handler, subscription.name)
        self.name = name_of(handler)

    def pipeline(self, middleware: Sequence[Middleware]) -> Handler:
        """The middleware around decoding and the handler, folded once."""
        handler = self.handler

        async def with_delivery(delivery: Delivery[Any]) -> None:
            await handler(delivery.value, delivery)

        async def with_value(delivery: Delivery[Any]) -> None:
            await handler(delivery.value)

        innermost: Handler = with_delivery if self.takes_delivery else with_value
        return compose(middleware, innermost)

    def decoder(self) -> Callable[[Message], Any]:
        codec = self.topic.codec
        decode, content_type = codec.decode, codec.content_type

        def checked(message: Message) -> Any:
            if message.body is None:
                raise DecodeError("a tombstone: its key's value is gone")
            given = message.content_type
            if given is not None and given != content_type:
                _check_content_type(given, content_type)
            return decode(message.body)

        return checked


def _check_content_type(given: str, expected: str) -> None:
    plain = given.partition(";")[0].strip().lower()
    if plain != expected and not (expected == "application/json" and plain.endswith("+json")):
        raise DecodeError(f"unsupported content type {given[:80]!r}: this topic carries {expected}")


def name_of(handler: Callable[..., Any]) -> str:
    """The handler's name, for people."""
    return getattr(handler, "__qualname__", repr(handler))


def _is_async(handler: Callable[..., Any]) -> bool:
    called = handler if inspect.isroutine(handler) else getattr(handler, "func", type(handler).__call__)
    return inspect.iscoroutinefunction(inspect.unwrap(called)) or inspect.iscoroutinefunction(handler)


def _takes_delivery(handler: Callable[..., Any], topic: Topic[Any]) -> bool:
    """Whether the handler wants the delivery too. Raises `ConfigurationError` if it cannot be called for this topic."""
    if not callable(handler):
        raise ConfigurationError(f"{handler!r} is no function, so it cannot handle {topic.name}")
    parameters = [
        p
        for p in inspect.signature(handler).parameters.values()
        if p.kind in {p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD} and p.default is p.empty
    ]
    needed = [
        p.name
        for p in inspect.signature(handler).parameters.values()
        if p.kind is p.KEYWORD_ONLY and p.default is p.empty
    ]
    if needed:
        raise ConfigurationError(f"{name_of(handler)} needs {', '.join(needed)} by keyword, which nobody gives it")
    if len(parameters) not in {1, 2}:
        raise ConfigurationError(
            f"{name_of(handler)} takes {len(parameters)} arguments: a handler takes the value, and the Delivery if it wants it"
        )
    try:
        hint = typing.get_type_hints(handler).get(parameters[0].name)
    except (NameError, TypeError):
        hint = None  # names that exist for type checkers only: they have checked it
    payload = topic.payload
    if hint is Delivery or typing.get_origin(hint) is Delivery:
        raise ConfigurationError(
            f"{name_of(handler)} takes the Delivery first: the value comes first, the Delivery second"
        )
    if type(hint) is type and type(payload) is type and not issubclass(payload, hint):
        raise ConfigurationError(
            f"{name_of(handler)} takes {hint.__name__}, but {topic.name} carries {payload.__name__}"
        )
    return len(parameters) == 2
