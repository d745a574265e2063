"""A handler, checked when it is registered, and folded into a pipeline when the application starts."""

from __future__ import annotations

import functools
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
        handler, name = self.handler, self.name

        async def with_delivery(delivery: Delivery[Any]) -> None:
            if (result := await handler(delivery.value, delivery)) is not None:
                _check_result(result, name)

        async def with_value(delivery: Delivery[Any]) -> None:
            if (result := await handler(delivery.value)) is not None:
                _check_result(result, name)

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
    if plain.startswith("application/cloudevents"):
        raise DecodeError(f"{given[:80]!r}: its attributes are in its body; send it in CloudEvents' binary mode")
    if plain != expected and not (expected == "application/json" and plain.endswith("+json")):
        raise DecodeError(f"unsupported content type {given[:80]!r}: this topic carries {expected}")


def name_of(handler: Callable[..., Any]) -> str:
    """The handler's name, for people."""
    return getattr(handler, "__qualname__", repr(handler))


def _called(handler: Callable[..., Any]) -> Callable[..., Any]:
    """The function that a call ends in: behind partials, objects that can be called, and wrappers."""
    while isinstance(handler, functools.partial):
        handler = handler.func
    called: Callable[..., Any] = inspect.unwrap(handler if inspect.isroutine(handler) else type(handler).__call__)
    return called


def _is_async(handler: Callable[..., Any]) -> bool:
    return inspect.iscoroutinefunction(_called(handler)) or inspect.iscoroutinefunction(handler)


def _check_result(result: object, name: str) -> None:
    """Raises `TypeError` for what is still to be run: nobody would, and the message would count as handled."""
    if inspect.iscoroutine(result):
        result.close()  # or it would be complained about once more
    if inspect.isawaitable(result) or inspect.isgenerator(result) or inspect.isasyncgen(result):
        raise TypeError(
            f"{name} returned a {type(result).__name__} that nobody awaits: make it `async def` and await it"
        )


def _takes_delivery(handler: Callable[..., Any], topic: Topic[Any]) -> bool:
    """Whether the handler wants the delivery too. Raises `ConfigurationError` if it cannot be called for this topic."""
    _check_kind(handler, topic)
    try:
        signature = inspect.signature(handler)
    except ValueError as error:
        raise ConfigurationError(f"{name_of(handler)} does not tell its parameters: wrap it in a function") from error
    parameters = [
        p
        for p in signature.parameters.values()
        if p.kind in {p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD} and p.default is p.empty
    ]
    needed = [p.name for p in signature.parameters.values() if p.kind is p.KEYWORD_ONLY and p.default is p.empty]
    if needed:
        raise ConfigurationError(f"{name_of(handler)} needs {', '.join(needed)} by keyword, which nobody gives it")
    if len(parameters) not in {1, 2}:
        raise ConfigurationError(
            f"{name_of(handler)} takes {len(parameters)} arguments: a handler takes the value, and the Delivery if it wants it"
        )
    if inspect.isfunction(handler) and parameters[0].name in {"self", "cls"}:
        raise ConfigurationError(
            f"{name_of(handler)} is a method without its object: register it bound, as object.method"
        )
    _check_hints(handler, [p.name for p in parameters], topic)
    return len(parameters) == 2


def _check_kind(handler: Callable[..., Any], topic: Topic[Any]) -> None:
    if not callable(handler):
        raise ConfigurationError(f"{handler!r} is no function, so it cannot handle {topic.name}")
    if isinstance(handler, type):
        raise ConfigurationError(f"{name_of(handler)} is a class: register a function, or an object that can be called")
    called = _called(handler)
    if inspect.isgeneratorfunction(called) or inspect.isasyncgenfunction(called):
        raise ConfigurationError(
            f"{name_of(handler)} has a `yield`, so a call of it does nothing: it must return instead"
        )


def _check_hints(handler: Callable[..., Any], names: Sequence[str], topic: Topic[Any]) -> None:
    try:
        hints = typing.get_type_hints(_called(handler))
    except Exception:  # noqa: BLE001 - names that exist for type checkers only: they have checked it
        return
    first: Any = hints.get(names[0])
    second: Any = hints.get(names[-1])
    if first is Delivery or typing.get_origin(first) is Delivery:
        raise ConfigurationError(
            f"{name_of(handler)} takes the Delivery first: the value comes first, the Delivery second"
        )
    if not _fits(topic.payload, first):
        raise ConfigurationError(
            f"{name_of(handler)} takes {first.__name__}, but {topic.name} carries {topic.payload.__name__}"
        )
    if len(names) == 2 and not _fits(Delivery, second):
        raise ConfigurationError(
            f"{name_of(handler)} takes {second.__name__} second, but a second parameter is always the Delivery: "
            f"give it a default, or bind it with functools.partial"
        )


def _fits(given: Any, hint: Any) -> bool:
    """Whether a `given` may be passed for `hint`, as far as classes tell; what they do not, type checkers have told."""
    if not isinstance(given, type) or not isinstance(hint, type) or hint is Any:
        return True
    try:
        return issubclass(given, hint) or (given, hint) in {(int, float), (int, complex), (float, complex)}
    except TypeError:  # a protocol, a TypedDict
        return True
