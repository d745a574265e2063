"""A handler, checked when it is registered, and folded into a pipeline when the application starts."""

from __future__ import annotations

import difflib
import functools
import inspect
import typing
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

import msgspec

from waybill.classifying import NONE, ErrorTable, Kinds
from waybill.errors import ConfigurationError
from waybill.gates import Bulkhead, CircuitBreaker
from waybill.message import Delivery
from waybill.middleware import BatchHandler, BatchMiddleware, Handler, Middleware, compose
from waybill.options import Batch, ConsumeOptions, ConsumerOptions
from waybill.retry import Retry, seconds
from waybill.threads import in_threads
from waybill.topic import Readable, Topic, check_name
from waybill.topology import Subscription, matches

__all__ = ["Registration", "breakers_of", "check_gates", "check_groups", "name_of", "registrar"]

Callee: TypeAlias = Callable[..., Awaitable[object]]
G = TypeVar("G", CircuitBreaker, Bulkhead)


class Registration(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """One handler for one topic, and how its subscription is consumed."""

    topic: Readable[Any]
    subscription: Subscription
    options: ConsumerOptions
    handler: Callee
    takes_delivery: bool
    name: str
    """The handler's, for people."""
    shared: object
    """The same for the topics that one handler consumes together."""

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

    def batch_pipeline(self, middleware: Sequence[BatchMiddleware]) -> BatchHandler:
        """The same for a handler of batches, whose values are decoded already."""
        handler, name = self.handler, self.name

        async def with_deliveries(deliveries: Sequence[Delivery[Any]]) -> None:
            if (result := await handler([delivery.value for delivery in deliveries], list(deliveries))) is not None:
                _check_result(result, name)

        async def with_values(deliveries: Sequence[Delivery[Any]]) -> None:
            if (result := await handler([delivery.value for delivery in deliveries])) is not None:
                _check_result(result, name)

        innermost: BatchHandler = with_deliveries if self.takes_delivery else with_values
        return compose(middleware, innermost)


def registrar(
    application: str,
    topics: Sequence[Readable[Any]],
    batch: int | Batch | None,
    options: ConsumeOptions,
    errors: ErrorTable = NONE,
) -> Callable[[Callable[..., Any]], list[Registration]]:
    """What makes a registration for each of the topics from a handler. Raises `ConfigurationError` for what cannot work.

    errors: what the application says of them.
    """
    if not topics:
        raise ConfigurationError("consume() names no topic: write @app.consume(topic)")
    for topic in topics:
        _check_topic(topic, options)
    checked = _options(batch, options, errors)
    group = options.get("group")
    subscriptions = [
        Subscription(
            topic=topic.spec,
            group=check_name(application if group is None else group, "group"),
            ordered=options.get("ordered", False),
            where=_where(options.get("where", {})),
            start=options.get("start"),
            ephemeral=options.get("ephemeral", False),
        )
        for topic in topics
    ]

    def register(handler: Callable[..., Any]) -> list[Registration]:
        takes_delivery = _takes_delivery(handler, topics, batch=checked.batch)
        called = handler if _is_async(handler) else in_threads(handler, topics[0].name)
        shared = object()
        return [
            Registration(
                topic=topic,
                subscription=subscription,
                options=checked,
                handler=called,
                takes_delivery=takes_delivery,
                name=name_of(handler),
                shared=shared,
            )
            for topic, subscription in zip(topics, subscriptions, strict=True)
        ]

    return register


def _check_topic(topic: Readable[Any], options: ConsumeOptions) -> None:
    if not isinstance(topic, Readable):
        hint = (
            "write @app.consume(topic)" if inspect.isroutine(topic) else "give the Topic object, not its name or type"
        )
        raise ConfigurationError(f"consume({topic!r}): {hint}")
    name = topic.name
    if options.get("ordered") and topic.key is None:
        raise ConfigurationError(
            f"{name} is consumed ordered, but has no key to order by: Topic({name!r}, …, key=lambda value: value.…)"
        )
    policy = options.get("on_failure")
    if policy in ("block-key", "block-partition") and not options.get("ordered"):
        raise ConfigurationError(f"{name}: on_failure={policy!r} makes a key wait, which needs ordered=True")
    start = options.get("start")
    if start not in (None, "earliest", "latest"):
        raise ConfigurationError(f"{name}: start={start!r}: 'earliest' or 'latest'")
    if start == "earliest" and isinstance(topic, Topic) and topic.spec.retention is None:
        raise ConfigurationError(
            f"{name}: start='earliest' needs messages that are kept: Topic({name!r}, …, retention=timedelta(days=…)). "
            f"Without it a message goes when every group has handled it"
        )
    if start == "earliest" and options.get("ephemeral"):
        raise ConfigurationError(f"{name}: an ephemeral group begins with what comes: drop start='earliest'")


def _options(batch: int | Batch | None, options: ConsumeOptions, errors: ErrorTable) -> ConsumerOptions:
    unknown = set(options) - set(ConsumeOptions.__annotations__)
    if unknown:
        known = sorted(ConsumeOptions.__annotations__)
        near = [match for name in sorted(unknown) for match in difflib.get_close_matches(name, known, n=1)]
        hint = f"did you mean {', '.join(near)}? " if near else ""
        raise ConfigurationError(f"consume({', '.join(sorted(unknown))}=…): {hint}Known are: {', '.join(known)}, batch")
    timeout = options.get("timeout", 60.0)
    return ConsumerOptions(
        concurrency=options.get("concurrency", 10),
        window=options.get("window"),
        window_bytes=options.get("window_bytes", 64 << 20),
        timeout=None if timeout is None else seconds(timeout, "timeout"),
        retry=options.get("retry", Retry.exponential()),
        on_failure=options.get("on_failure"),
        batch=Batch(batch) if isinstance(batch, int) else batch,
        gates=(
            *_all(CircuitBreaker, "breaker", options.get("breaker", ())),
            *_all(Bulkhead, "bulkhead", options.get("bulkhead", ())),
        ),
        limit=options.get("limit"),
        budget=options.get("budget"),
        kinds=Kinds(options.get("errors", NONE), errors),
    )


def _all(kind: type[G], what: str, given: G | Sequence[G]) -> tuple[G, ...]:
    several: Sequence[object] = given if isinstance(given, Sequence) and not isinstance(given, str) else (given,)
    found: dict[G, None] = {}
    for one in several:
        if not isinstance(one, kind):
            raise ConfigurationError(f"{what}={one!r}: give a {kind.__name__} object, or several")
        found[one] = None
    return tuple(found)


def _where(where: Mapping[str, str | Sequence[str]]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    found: list[tuple[str, tuple[str, ...]]] = []
    if not isinstance(where, Mapping):
        raise ConfigurationError(f"where={where!r}: write headers and their values, e.g. where={{'region': 'eu'}}")
    for name, wanted in sorted(where.items()):
        values = (wanted,) if isinstance(wanted, str) or not isinstance(wanted, Iterable) else tuple(wanted)
        if not values or not all(isinstance(value, str) for value in (name, *values)):
            raise ConfigurationError(f"where={{{name!r}: {wanted!r}}}: a header's name and the text or texts it may be")
        found.append((name, values))
    return tuple(found)


def check_groups(made: Iterable[Registration], others: Iterable[Registration]) -> None:
    """Raises `ConfigurationError` if a message would have two handlers of one group to go to."""
    taken = {other.subscription.name: other for other in others}
    for registration in made:
        name = registration.subscription.name
        if name in taken:
            raise ConfigurationError(
                f"{name} has a handler already ({taken[name].name}): one handler a group; "
                f"give {registration.name} a group of its own to let both see every message"
            )
        if (other := _among(registration, taken.values())) is not None:
            raise ConfigurationError(
                f"{name} and {other.subscription.name} overlap, and each message would go to either "
                f"{registration.name} or {other.name}: give one of them a group of its own"
            )
        taken[name] = registration


def _among(one: Registration, others: Iterable[Registration]) -> Registration | None:
    """Which of the others has a pattern that the topic fits, or a topic that fits the pattern, in the same group."""
    mine = one.subscription
    for other in others:
        theirs = other.subscription
        if mine.ephemeral or theirs.ephemeral or mine.group != theirs.group or mine.topic.broker != theirs.topic.broker:
            continue  # each ephemeral one has a group of its own
        pattern, topic = (mine.topic, theirs.topic) if mine.topic.pattern else (theirs.topic, mine.topic)
        if pattern.pattern and not topic.pattern and matches(pattern.name, topic.name):
            return other
    return None


def check_gates(registrations: Iterable[Registration]) -> None:
    """Raises `ConfigurationError` if two circuit breakers or two bulkheads have one name: whoever meant one has two."""
    breakers: dict[str, object] = {}
    bulkheads: dict[str, object] = {}
    for registration in registrations:
        for gate in registration.options.gates:
            if isinstance(gate, CircuitBreaker):
                same, what = breakers.setdefault(gate.name, gate) is gate, "circuit breaker"
            elif isinstance(gate, Bulkhead):
                same, what = bulkheads.setdefault(gate.name, gate) is gate, "bulkhead"
            else:
                continue
            if not same:
                raise ConfigurationError(
                    f"{registration.name}: there is another {what} called {gate.name!r}: give both handlers the "
                    f"same object to share it, or give it another name"
                )


def breakers_of(registrations: Iterable[Registration]) -> dict[str, CircuitBreaker]:
    """The circuit breakers, by name."""
    gates = [gate for registration in registrations for gate in registration.options.gates]
    return {gate.name: gate for gate in gates if isinstance(gate, CircuitBreaker)}


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


def _takes_delivery(handler: Callable[..., Any], topics: Sequence[Readable[Any]], *, batch: Batch | None) -> bool:
    """Whether the handler wants the delivery too. Raises `ConfigurationError` if it cannot be called for these topics."""
    _check_kind(handler, topics[0])
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
    _check_hints(handler, [p.name for p in parameters], topics, batch)
    return len(parameters) == 2


def _check_kind(handler: Callable[..., Any], topic: Readable[Any]) -> None:
    if not callable(handler):
        raise ConfigurationError(f"{handler!r} is no function, so it cannot handle {topic.name}")
    if isinstance(handler, type):
        raise ConfigurationError(f"{name_of(handler)} is a class: register a function, or an object that can be called")
    called = _called(handler)
    if inspect.isgeneratorfunction(called) or inspect.isasyncgenfunction(called):
        raise ConfigurationError(
            f"{name_of(handler)} has a `yield`, so a call of it does nothing: it must return instead"
        )


def _check_hints(
    handler: Callable[..., Any], names: Sequence[str], topics: Sequence[Readable[Any]], batch: Batch | None
) -> None:
    try:
        hints = typing.get_type_hints(_called(handler))
    except Exception:  # noqa: BLE001 - names that exist for type checkers only: they have checked it
        return
    name = name_of(handler)
    first: Any = hints.get(names[0])
    second: Any = hints.get(names[-1])
    if first is Delivery or typing.get_origin(first) is Delivery:
        raise ConfigurationError(f"{name} takes the Delivery first: the value comes first, the Delivery second")
    for topic in topics:
        _check_payload(name, first, topic, batch)
    if len(names) == 2 and batch is None and not _fits(Delivery, second):
        raise ConfigurationError(
            f"{name} takes {second.__name__} second, but a second parameter is always the Delivery: "
            f"give it a default, or bind it with functools.partial"
        )


def _check_payload(name: str, hint: Any, topic: Readable[Any], batch: Batch | None) -> None:
    payload = topic.payload
    carried = getattr(payload, "__name__", str(payload))
    if batch is not None:
        if type(hint) is type and hint is not list:
            raise ConfigurationError(f"{name} takes {hint.__name__}, but a batch is a list: list[{carried}]")
        hint = next(iter(typing.get_args(hint)), None)
    elif typing.get_origin(hint) is list and typing.get_origin(payload) is None and payload is not list:
        raise ConfigurationError(f"{name} takes a list, but is given one {carried} at a time: consume(…, batch=100)")
    if not _fits(payload, hint):
        raise ConfigurationError(f"{name} takes {hint.__name__}, but {topic.name} carries {carried}")


def _fits(given: Any, hint: Any) -> bool:
    """Whether a `given` may be passed for `hint`, as far as classes tell; what they do not, type checkers have told."""
    if not isinstance(given, type) or not isinstance(hint, type) or hint is Any:
        return True
    try:
        return issubclass(given, hint) or (given, hint) in {(int, float), (int, complex), (float, complex)}
    except TypeError:  # a protocol, a TypedDict
        return True
