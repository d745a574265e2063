"""What cannot work is refused when it is written down, and the error names what to do."""

from __future__ import annotations

import asyncio
import functools
import os
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

import msgspec
import pytest
from pydantic import BaseModel
from typing_extensions import TypedDict

from waybill import (
    AdapterNotFound,
    App,
    BrokerFileError,
    ConfigurationError,
    Delivery,
    EncodeError,
    Retry,
    Settings,
    Topic,
)
from waybill.settings import load


@dataclass
class Order:
    number: int


class OrderModel(BaseModel):
    number: int


class BigOrder(OrderModel):
    pass


class OrderStruct(msgspec.Struct):
    number: int


class OrderDict(TypedDict):
    number: int


class Other(BaseModel):
    text: str


class Numbered(Protocol):
    number: int


@runtime_checkable
class Sized(Protocol):
    def __len__(self) -> int: ...


class Database:
    pass


ORDERS = Topic("orders", Order, key=lambda order: str(order.number))


# ------------------------------------------------------------------ names


@pytest.mark.parametrize(
    "name",
    ["a" * 300, "a" * 256, "a" * 129, "orders.#", "orders.*", "two words", "nul\0", "../x", "a/../b", "a..b", "..", ".", "",
     ".hidden", "orders.", "-a", "a\tb", "a\n", "größe", "a:b", "a/b", "a\\b", "$SYS", "%2e", "a,b", "ⅷ", "a\u200b"],
    ids=repr,
)  # fmt: skip
@pytest.mark.parametrize("what", ["topic", "group", "application"])
def test_rows_39_and_40_names_that_some_broker_cannot_carry(name: str, what: str) -> None:
    make: dict[str, Callable[[], object]] = {
        "topic": lambda: Topic(name, Order),
        "group": lambda: App("a").consume(ORDERS, group=name),
        "application": lambda: App(name),
    }
    with pytest.raises(ConfigurationError, match=f"^{what} name .* use 1 to 128 letters, digits") as caught:
        make[what]()
    assert str(caught.value).isprintable()


# ------------------------------------------------------------------ handlers


def generator(order: Order) -> Generator[None]:
    yield


async def async_generator(order: Order) -> AsyncGenerator[None]:
    yield


@contextmanager
def managed(order: Order) -> Iterator[None]:
    yield


async def iterated(order: Order) -> AsyncIterator[Order]:
    yield order


class Service:
    async def handle(self, order: Order) -> None: ...

    async def stream(self, order: Order) -> AsyncIterator[Order]:
        yield order

    @classmethod
    async def made(cls, order: Order) -> None: ...

    @staticmethod
    async def static(order: Order) -> None: ...


class CanBeCalled:
    async def __call__(self, order: Order) -> None: ...


class Streaming:
    async def __call__(self, order: Order) -> AsyncIterator[Order]:
        yield order


def none() -> None: ...


async def three(order: Order, delivery: Delivery[Order], more: Any) -> None: ...


async def keyword(order: Order, *, database: Database) -> None: ...


async def injected(order: Order, database: Database) -> None: ...


async def delivery_first(delivery: Delivery[Order], order: Order) -> None: ...


async def other(value: Other) -> None: ...


def everything(*values: Any) -> None: ...


REFUSED: dict[str, tuple[Any, str]] = {
    "a function with yield": (generator, "generator has a `yield`.*it must return instead"),
    "an async generator": (async_generator, "has a `yield`"),
    "a context manager": (managed, "has a `yield`"),
    "an async iterator": (iterated, "has a `yield`"),
    "a bound method with yield": (Service().stream, "has a `yield`"),
    "a partial with yield": (functools.partial(async_generator), "has a `yield`"),
    "an object with yield": (Streaming(), "has a `yield`"),
    "a class": (Database, "Database is a class: register a function, or an object"),
    "the payload": (Order, "Order is a class"),
    "a class that can be called": (CanBeCalled, "is a class"),
    "a method without its object": (Service.handle, "Service.handle is a method without its object: register it bound"),
    "no arguments": (none, "takes 0 arguments: a handler takes the value, and the Delivery"),
    "a lambda without": (lambda: None, "takes 0 arguments"),
    "three arguments": (three, "takes 3 arguments"),
    "any number": (everything, "takes 0 arguments"),
    "by keyword": (keyword, "needs database by keyword"),
    "something else second": (injected, "takes Database second, but a second parameter is always the Delivery"),
    "the delivery first": (delivery_first, "the value comes first, the Delivery second"),
    "another type": (other, "other takes Other, but orders carries Order"),
    "a partial of another type": (functools.partial(other), "takes Other, but orders carries Order"),
    "a coroutine": (Order(1), "is no function"),
    "a name": ("handle", "is no function"),
    "nothing": (None, "is no function"),
    "what tells no parameters": ({}.update, "does not tell its parameters: wrap it in a function"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_handler_that_would_handle_nothing_is_refused_when_it_is_registered(case: str) -> None:
    handler, said = REFUSED[case]
    app = App("a")
    with pytest.raises(ConfigurationError, match=said):
        app.consume(ORDERS)(handler)
    assert app.registrations == ()


@pytest.mark.parametrize("payload", [Order, OrderModel, OrderStruct, OrderDict, int, str, list, bytes])
@pytest.mark.parametrize("hint", [Order, OrderModel, OrderStruct, str, dict, Other])
def test_a_parameter_of_another_class_is_refused_whatever_makes_the_class(payload: Any, hint: Any) -> None:
    async def handle(value: Any) -> None: ...

    handle.__annotations__["value"] = hint
    if payload is hint or (payload is OrderDict and hint is dict):
        App("a").consume(Topic("t", payload))(handle)
    else:
        with pytest.raises(ConfigurationError, match=f"takes {hint.__name__}, but t carries {payload.__name__}"):
            App("a").consume(Topic("t", payload))(handle)


@pytest.mark.parametrize(
    ("payload", "hint"),
    [
        (BigOrder, OrderModel), (int, float), (int, complex), (float, complex), (bool, int), (Order, Any), (Order, object),
        (Order, Order | None), (Order, Numbered), (str, Sized), (OrderDict, Mapping[str, Any]), (list[int], list),
        (OrderDict, OrderDict), (Order, "Order"), (Order, "no such name"), (Order, "ORDERS.nothing"), (list, list[int]),
    ],
)  # fmt: skip
def test_a_parameter_that_may_fit_is_accepted(payload: Any, hint: Any) -> None:
    async def handle(value: Any) -> None: ...

    handle.__annotations__["value"] = hint
    app = App("a")
    app.consume(Topic("t", payload))(handle)
    assert len(app.registrations) == 1


@pytest.mark.parametrize("hint", [Delivery, Delivery[Order], Any, object, "Delivery[Order]", "no such name"])
def test_a_second_parameter_that_may_be_the_delivery_is_accepted(hint: Any) -> None:
    async def handle(order: Order, delivery: Any) -> None: ...

    handle.__annotations__["delivery"] = hint
    app = App("a")
    app.consume(ORDERS)(handle)
    assert app.registrations[0].takes_delivery


def test_two_handlers_for_one_group_of_a_topic() -> None:
    app = App("a")
    app.consume(ORDERS)(Service().handle)
    for again in (ORDERS, Topic("orders", Order)):
        with pytest.raises(ConfigurationError, match=r"orders/a has a handler already \(Service.handle\).*its own"):
            app.consume(again)(CanBeCalled())
    assert len(app.registrations) == 1


def test_ordered_without_a_key() -> None:
    with pytest.raises(ConfigurationError, match=r"no key to order by: Topic\('t', …, key=lambda value: value.…\)"):
        App("a").consume(Topic("t", Order), ordered=True)


# ------------------------------------------------------------------ what they do when they are called


def passed_on(handler: Callable[..., Any]) -> Callable[..., Any]:
    """As decorators do it."""

    @functools.wraps(handler)
    def wrapper(*values: Any) -> Any:
        return handler(*values)

    return wrapper


def awaited(handler: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(handler)
    async def wrapper(*values: Any) -> Any:
        result = handler(*values)
        return await result if asyncio.iscoroutine(result) else result

    return wrapper


@pytest.mark.parametrize("decorate", [lambda handler: handler, passed_on, awaited], ids=["plain", "passed", "awaited"])
async def test_functions_methods_partials_objects_and_lambdas_handle(decorate: Callable[[Any], Any]) -> None:
    seen: list[str] = []

    async def function(_: Order) -> None:
        seen.append("function")

    def plain(_: Order) -> None:
        seen.append("plain")

    async def bound(name: str, _: Order, delivery: Delivery[Order]) -> None:
        assert delivery.topic == "orders"
        seen.append(name)

    class Handlers:
        async def method(self, _: Order) -> None:
            seen.append("method")

        @classmethod
        async def of_class(cls, _: Order) -> None:
            seen.append("class method")

        @staticmethod
        def static(_: Order) -> None:
            seen.append("static method")

        async def __call__(self, _: Order) -> None:
            seen.append("object")

    handlers: dict[str, Any] = {
        "function": function,
        "plain": plain,
        "method": Handlers().method,
        "class method": Handlers.of_class,
        "static method": Handlers.static,
        "object": Handlers(),
        "partial": functools.partial(bound, "partial"),
        "partial of a partial": functools.partial(functools.partial(bound), "partial of a partial"),
        "partial of an object": functools.partial(Handlers()),
        "lambda": lambda _: seen.append("lambda"),
    }
    app = App("a")
    for number, handler in enumerate(handlers.values()):
        whole = handler if isinstance(handler, functools.partial | Handlers) else decorate(handler)
        app.consume(ORDERS, group=f"g{number}", retry=Retry.none())(whole)
    async with app.test() as bus:
        await bus.publish(ORDERS, Order(1))
        await bus.drain()
        assert bus.dead_letters(ORDERS) == []
    assert sorted(seen) == sorted([*(handlers.keys() - {"partial of an object"}), "object"])


async def later(_: Order) -> None: ...


class Later:
    def __await__(self) -> Generator[None]:
        yield


MIXED_UP: dict[str, Callable[[Order], Any]] = {
    "a lambda that gives a coroutine": lambda order: later(order),  # noqa: PLW0108 - it is the case
    "a lambda that gives a generator": lambda order: generator(order),  # noqa: PLW0108 - it is the case
    "a lambda that gives an async generator": lambda order: async_generator(order),  # noqa: PLW0108 - it is the case
    "a lambda that gives an awaitable": lambda _: Later(),
}


@pytest.mark.parametrize("case", [*MIXED_UP, "an async function that gives a coroutine", "a task nobody awaits"])
async def test_a_handler_that_only_makes_something_to_be_run_has_not_handled(case: str) -> None:
    """Nobody can see it when it is registered; counted as handled, every message would be lost."""
    app = App("a")

    async def gives_coroutine(order: Order) -> Any:
        return later(order)

    async def gives_task(order: Order) -> Any:
        return asyncio.create_task(asyncio.sleep(0))

    handlers = {
        **MIXED_UP,
        "an async function that gives a coroutine": gives_coroutine,
        "a task nobody awaits": gives_task,
    }
    app.consume(ORDERS, retry=Retry.none())(handlers[case])
    async with app.test() as bus:
        await bus.publish(ORDERS, Order(1))
        await bus.drain()
        (letter,) = bus.dead_letters(ORDERS)
    assert letter.record.error == "builtins.TypeError"
    assert "that nobody awaits: make it `async def`" in letter.record.detail


async def test_what_else_a_handler_gives_is_nobodys_business() -> None:
    app = App("a")
    app.consume(ORDERS)(cast("Any", lambda order: [order]))
    async with app.test() as bus:
        await bus.publish(ORDERS, Order(1))
        await bus.drain()
        assert bus.dead_letters(ORDERS) == []


def test_waiting_for_the_own_loop_is_refused_in_asynchronous_code() -> None:
    app = App("a", settings=Settings(url="memory://"))

    async def main() -> None:
        async with app.running():
            app.sync.publish(ORDERS, Order(1))

    with pytest.raises(ConfigurationError, match=r"`await app.publish\(…\)` instead"):
        asyncio.run(main())


async def middleware(handler: Any) -> Any: ...


@pytest.mark.parametrize("wrong", [middleware, "middleware", None])
@pytest.mark.parametrize("which", ["middleware", "send_middleware"])
def test_middleware_that_is_no_plain_function(wrong: Any, which: str) -> None:
    options: Any = {which: [wrong]}
    with pytest.raises(ConfigurationError, match="is no middleware: that is a plain function"):
        App("a", **options)


# ------------------------------------------------------------------ settings


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (
            "carrier-pigeon://x",
            "carrier-pigeon:// is installed. Check the URL. Installed are: .*memory://.*, sqlite://",
        ),
        ("sqs://user:secret@eu-west-1", "the URL names a region and nobody's credentials"),
        ("bus.db", "names no broker; for a file write sqlite:///bus.db"),
        ("", "no broker is configured|names no broker"),
        ("sqlite://bus.db", "a file takes three slashes"),
        ("sqlite://", "names no file: for instance sqlite:///bus.db"),
        ("sqlite:///bus.db?sink=full", "sink.*The embedded broker knows `sync`"),
        ("sqlite:///bus.db?sync=perhaps", "sync is `full`.* or `normal`, not 'perhaps'"),
    ],
)
def test_a_url_that_leads_nowhere(url: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    app = App("a", settings=Settings(url=url))
    with pytest.raises((ConfigurationError, AdapterNotFound), match=said):
        app.explain()
    assert list(tmp_path.iterdir()) == []


def test_a_setting_that_does_not_exist(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("WAYBILL_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WAYBILL_LEASES", "3")
    with pytest.raises(ConfigurationError, match=r"WAYBILL_LEASES\. Did you mean WAYBILL_LEASE\?"):
        load()
    monkeypatch.delenv("WAYBILL_LEASES")
    (tmp_path / "waybill.toml").write_text("leases = 3\n")
    with pytest.raises(ConfigurationError, match=r"leases: there is no such setting.*Did you mean lease"):
        load()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"retry": 3}, "write Retry"),
        ({"where": "region=eu"}, "where={'region': 'eu'}"),
        ({"retry": None}, "write Retry"),
    ],
)
def test_options_of_the_wrong_kind_say_what_to_write(options: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(said)):
        App("a").consume(Topic("t", int), **options)  # type: ignore[arg-type]


async def test_a_handler_that_comes_too_late_is_refused() -> None:
    app = App("a", settings=Settings(url="memory://"))
    async with app.running():
        with pytest.raises(ConfigurationError, match="before it starts"):
            app.consume(Topic("t", int))


async def test_a_table_for_no_broker_is_refused_with_the_one_that_was_meant() -> None:
    app = App("a", settings=Settings(url="memory://", broker={"embeded": {"sync": "normal"}}))
    with pytest.raises(ConfigurationError, match=r"did you mean \[broker.embedded\]"):
        async with app.running():
            pass


async def test_looking_makes_no_file(tmp_path: Path) -> None:
    app = App("a", settings=Settings(url=f"sqlite:///{tmp_path / 'typo.db'}"))
    with pytest.raises(BrokerFileError, match="does not exist"):
        async with app.admin(create=False):
            pass
    assert list(tmp_path.iterdir()) == []


def test_none_where_none_may_be_is_refused_to_its_publisher() -> None:
    @dataclass
    class Parcel:
        name: str

    with pytest.raises(EncodeError):
        Topic("t", Parcel).codec.encode(Parcel(None))  # type: ignore[arg-type]


@pytest.mark.parametrize("option", ["on_failure", "start"])
def test_a_list_of_words_where_one_belongs_is_refused_with_what_to_write(option: str) -> None:
    options: Any = {option: ["relax", "latest"], "ordered": True}
    with pytest.raises(ConfigurationError, match=option):
        App("a").consume(Topic("t", int, key=str), **options)(lambda value: None)
