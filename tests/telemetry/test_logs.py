"""Log lines: what they say beside their text, and which handling they belong to."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from datetime import datetime
from http import HTTPStatus
from math import nan
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider

from waybill import App, Batch, Message, Reject, Retry, Settings, Topic
from waybill.adapter import Adapter, Sink
from waybill.handling import current_handling
from waybill.instruments import Instrument
from waybill.outcomes import SendResult
from waybill.telemetry.around import seen
from waybill.telemetry.logs import JsonFormatter, TextFormatter, formatter
from waybill.topology import Destination

numbers = Topic("numbers", int)
log = logging.getLogger("tests.telemetry")


@contextmanager
def written(form: logging.Formatter) -> Generator[Callable[[], list[str]], None, None]:
    """What is logged meanwhile, as lines."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(form)
    root = logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        yield lambda: stream.getvalue().splitlines()
    finally:
        root.setLevel(before)
        root.removeHandler(handler)


def one(lines: list[str], having: str) -> dict[str, Any]:
    found: dict[str, Any]
    (found,) = (told for line in lines if having in (told := json.loads(line))["message"])
    return found


async def handled(handle: Callable[[int], Any], *, dead: int = 0) -> str:
    """An application handles one message; its id."""
    app = App("odd", settings=Settings(url="memory://"))
    ended = list[object]()
    app.observe(ended.append)
    app.consume(numbers, retry=Retry.fixed(2, delay=0.01))(handle)
    async with app.running():
        ident = (await app.publish(numbers, 7)).id
        async with asyncio.timeout(10):
            while len(ended) < 1 + dead:
                await asyncio.sleep(0.005)
    return ident


def test_a_line_is_one_object_with_the_time_the_level_and_where_it_comes_from() -> None:
    with written(JsonFormatter()) as lines:
        log.warning("two\nlines of %s", "text", extra={"order": 7, "odd": object, "api_key": "k-12345"})
    (line,) = lines()
    told = json.loads(line)
    assert (told["level"], told["logger"], told["message"]) == ("WARNING", "tests.telemetry", "two\nlines of text")
    assert datetime.fromisoformat(told["time"]).tzinfo is not None
    assert (told["order"], told["api_key"]) == (7, "***")
    assert "class 'object'" in told["odd"]
    assert not {"message_id", "topic", "trace_id"} & told.keys()


def test_what_is_of_a_class_of_its_own_loses_no_line() -> None:
    class Count(int): ...

    class Ratio(float): ...

    class Name(str):
        __slots__ = ()

    class Odd:
        def __repr__(self) -> str:
            raise ValueError

    given = {
        "count": Count(3),
        "ratio": Ratio(0.5),
        "title": Name("a"),
        "status": HTTPStatus.OK,
        "odd": Odd(),
        "nan": nan,
    }
    with written(JsonFormatter()) as lines:
        log.warning("here", extra=given)
    told = one(lines(), "here")
    assert {name: told[name] for name in given} == {
        "count": 3,
        "ratio": 0.5,
        "title": "a",
        "status": 200,
        "nan": None,
        "odd": f"<{Odd.__qualname__}.__repr__ raised ValueError>",
    }


async def test_what_is_given_replaces_nothing_that_the_line_says_itself() -> None:
    given = {
        "time": "noon",
        "level": "grave",
        "logger": "l",
        "error": "e",
        "message_id": "m",
        "topic": "numbers",
    }

    async def handle(_: int) -> None:
        log.info("at work", extra=given, stack_info=True)

    with written(JsonFormatter()) as lines:
        ident = await handled(handle)
    told = one(lines(), "at work")
    assert (told["level"], told["logger"], told["message_id"]) == ("INFO", "tests.telemetry", ident)
    assert datetime.fromisoformat(told["time"])
    assert {name: told[f"extra_{name}"] for name in ("time", "level", "logger", "error", "message_id")} == {
        name: given[name] for name in ("time", "level", "logger", "error", "message_id")
    }
    assert (told["topic"], "extra_topic" in told) == ("numbers", False)
    assert "in handle" in told["stack"]


def test_what_is_no_text_loses_no_line() -> None:
    """A file's name on Linux, for instance, may be any bytes."""
    name = b"caf\xe9.txt".decode("utf-8", "surrogateescape")
    record = logging.makeLogRecord({"msg": f"cannot read {name}", "file": "\ud800", "levelname": "INFO"})
    found = json.loads(JsonFormatter().format(record))
    assert (found["message"], found["file"]) == ("cannot read caf\\udce9.txt", "\\ud800")


def test_an_exception_is_told_with_its_class_and_where_it_was_raised() -> None:
    with written(JsonFormatter()) as lines:
        try:
            _find("password=hunter2")
        except LookupError:
            log.exception("failed")
    error = json.loads(lines()[0])["error"]
    assert error["type"] == "builtins.LookupError"
    assert error["text"] == "password=*** does not fit"
    assert "test_logs.py" in error["stack"]
    assert "hunter2" not in lines()[0]


def _find(what: str) -> None:
    raise LookupError(f"{what} does not fit")


async def test_what_a_handler_logs_says_which_message_it_is_about() -> None:
    async def handle(_: int) -> None:
        log.info("at work")

    with written(JsonFormatter()) as lines:
        ident = await handled(handle)
        log.info("afterwards")
    told = one(lines(), "at work")
    assert {name: told[name] for name in ("message_id", "topic", "group", "attempt")} == {
        "message_id": ident,
        "topic": "numbers",
        "group": "odd",
        "attempt": 1,
    }
    assert "message_id" not in one(lines(), "afterwards")


async def test_what_is_logged_of_a_message_elsewhere_says_it_as_well() -> None:
    async def handle(_: int) -> None:
        raise Reject("no")

    with written(JsonFormatter()) as lines:
        ident = await handled(handle)
    told = one(lines(), "is a dead letter")
    assert (told["message_id"], told["topic"], told["group"]) == (ident, "numbers", "odd")
    with written(JsonFormatter()) as lines:
        ident = await handled(_fail, dead=1)
    assert one(lines(), "attempt 1 of message")["message_id"] == ident


async def _fail(_: int) -> None:
    raise ValueError("no")


async def test_correlation_and_trace_are_those_of_the_message_and_of_the_span_in_which_it_is_logged() -> None:
    app = App("odd", settings=Settings(url="memory://"))
    follows = Topic("follows", int)
    ended = asyncio.Event()
    tracer = TracerProvider().get_tracer("tests")

    @app.consume(numbers)
    async def first(number: int) -> None:
        await app.publish(follows, number)

    @app.consume(follows)
    async def second(_: int) -> None:
        log.info("outside")
        with tracer.start_as_current_span("inside") as span:
            log.info("inside of %s", f"{span.get_span_context().span_id:016x}")
        ended.set()

    with written(JsonFormatter()) as lines:
        async with app.running():
            ident = (await app.publish(numbers, 7)).id
            await asyncio.wait_for(ended.wait(), 10)
    told = one(lines(), "outside")
    assert told["correlation_id"] == ident
    assert "trace_id" not in told
    told = one(lines(), "inside of")
    assert told["message"].endswith(told["span_id"])
    assert len(told["trace_id"]) == 32


async def test_without_spans_the_trace_is_that_of_the_message() -> None:
    app = App("odd", settings=Settings(url="memory://"), send_middleware=[_traced])
    ended = asyncio.Event()

    @app.consume(numbers)
    async def handle(_: int) -> None:
        log.info("at work")
        ended.set()

    with written(JsonFormatter()) as lines:
        async with app.running():
            await app.publish(numbers, 7)
            await asyncio.wait_for(ended.wait(), 10)
    told = one(lines(), "at work")
    assert told["trace_id"] == "0af7651916cd43dd8448eb211c80319c"
    assert "span_id" not in told


def _traced(following: Any) -> Any:
    from msgspec.structs import replace

    async def send(outgoing: Any) -> Any:
        parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        return await following(replace(outgoing, message=replace(outgoing.message, traceparent=parent)))

    return send


@pytest.mark.parametrize(("form", "kind"), [("text", TextFormatter), ("json", JsonFormatter)])
def test_the_settings_say_which(form: Any, kind: type[logging.Formatter]) -> None:
    found = formatter(Settings(log_format=form, redact=("X-Licence",)))
    assert type(found) is kind
    with written(found) as lines:
        log.info("token=abcdef", extra={"x-licence": "lic-1"})
    assert "abcdef" not in lines()[0]
    assert "lic-1" not in lines()[0]


async def test_who_is_told_what_became_of_a_message_is_in_no_handling() -> None:
    """Or lines would name the message of whichever handler has ended first."""
    app = App("odd", settings=Settings(url="memory://"))
    within = list[object]()

    @app.consume(numbers)
    async def handle(_: int) -> None: ...

    app.observe(lambda _: within.append(current_handling.get()))
    async with app.running():
        await app.publish_many(numbers, range(3))
        async with asyncio.timeout(10):
            while len(within) < 3:
                await asyncio.sleep(0.005)
    assert within == [None, None, None]


class Chatty:
    """A client library that logs, also in a task that it begins when a sink is opened and keeps."""

    def __init__(self, inner: Sink) -> None:
        self._inner = inner
        self.reading = asyncio.create_task(self._read())
        self.more = asyncio.Event()

    async def _read(self) -> None:
        while True:
            await self.more.wait()
            self.more.clear()
            log.info("answered")

    async def send(self, messages: Sequence[Message], *, deadline: float) -> Sequence[SendResult]:
        log.info("sending")
        self.more.set()
        await asyncio.sleep(0)
        return await self._inner.send(messages, deadline=deadline)


class Beneath(Instrument):
    def __init__(self) -> None:
        self.sinks = list[Chatty]()

    def around(self, adapter: Adapter) -> Adapter:
        def sink(inner: Sink, _: Destination) -> Sink:
            self.sinks.append(Chatty(inner))
            return self.sinks[-1]

        return seen(adapter, sink=sink, source=lambda source, _: source)


async def test_what_is_logged_while_messages_are_sent_names_no_handling_that_published_one_of_them() -> None:
    beneath = Beneath()
    app, follows = App("odd", settings=Settings(url="memory://"), instruments=[beneath]), Topic("follows", int)
    met, ended = asyncio.Barrier(3), list[object]()

    @app.consume(numbers, concurrency=3)
    async def first(number: int) -> None:
        await met.wait()  # so that what they publish goes together
        await app.publish(follows, number)
        ended.append(number)

    app.consume(follows)(_nothing)
    with written(JsonFormatter()) as lines:
        async with app.running():
            await app.publish_many(numbers, range(3))
            async with asyncio.timeout(10):
                while len(ended) < 3:
                    await asyncio.sleep(0.005)
            for sink in beneath.sinks:
                sink.reading.cancel()
    for having in ("sending", "answered"):
        told = [found for line in lines() if having in (found := json.loads(line))["message"]]
        assert told
        assert not any("message_id" in each for each in told), having


async def _nothing(_: int) -> None: ...


async def test_what_a_handler_of_a_batch_logs_holds_no_secret_of_any_of_its_messages() -> None:
    logins, app, done = Topic("logins", dict[str, str]), App("odd", settings=Settings(url="memory://")), list[int]()

    @app.consume(logins, batch=Batch(2, wait=5))
    def handle(batch: list[dict[str, str]]) -> None:
        for login in batch:
            log.warning("cannot log in with %s", login["password"])
        done.append(len(batch))

    with written(TextFormatter()) as lines:
        async with app.running():
            await app.publish_many(logins, [{"password": f"hunter2-S{number}"} for number in range(2)])
            async with asyncio.timeout(10):
                while not done:
                    await asyncio.sleep(0.005)
        told = [line for line in lines() if "cannot log in" in line]
    assert done == [2]
    assert len(told) == 2
    assert "hunter2" not in "".join(told)
