"""Codecs that must ask somebody: what they lack is fetched, and while nobody answers nothing is lost, spent or dead-lettered."""

from __future__ import annotations

import asyncio
import time

import pytest

from waybill import (
    App,
    CodecUnavailable,
    ConfigurationError,
    DecodeError,
    EncodeError,
    PublishRefused,
    Refused,
    Retry,
    Settings,
    Status,
    Tombstone,
    Topic,
)
from waybill.codec import Lacking
from waybill.doctor import examine


class Office:
    """Knows a word for each number. `open`: whether it answers."""

    def __init__(self, *words: str) -> None:
        self.words = dict(enumerate(words))
        self.error: Exception | None = None
        self.asked = 0
        self.closed = 0

    async def ask(self) -> None:
        self.asked += 1
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error


class Numbered:
    """Words as their numbers: to write or read one it has to have been told."""

    content_type = "application/numbered"

    def __init__(self, office: Office) -> None:
        self.office = office
        self.known: dict[int, str] = {}

    def for_topic(self, name, payload):
        del name, payload
        return Numbered(self.office)

    def encode(self, value: str) -> bytes:
        for number, word in self.known.items():
            if word == value:
                return bytes([number])
        raise Lacking(f"{value} has no number yet", lambda: self._write(value))

    def decode(self, body: bytes) -> str:
        if len(body) != 1:
            raise DecodeError("one byte")
        if body[0] not in self.known:
            raise Lacking(f"{body[0]} has no word yet", lambda: self._read(body[0]))
        return self.known[body[0]]

    def decode_message(self, message) -> str:
        return message.headers.get("word") or self.decode(message.body)

    async def _write(self, value: str) -> None:
        await self.office.ask()
        numbers = [number for number, word in self.office.words.items() if word == value]
        if not numbers:
            raise EncodeError(f"no number stands for {value}")
        self.known[numbers[0]] = value

    async def _read(self, number: int) -> None:
        await self.office.ask()
        if number not in self.office.words:
            raise DecodeError(f"no word stands for {number}")
        self.known[number] = self.office.words[number]

    async def check(self) -> str:
        await self.office.ask()
        return "the office answers"

    async def close(self) -> None:
        self.office.closed += 1


async def until(true, what: str = "") -> None:
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end, what
        await asyncio.sleep(0.005)


def consuming(topic: Topic, got: list, **options) -> App:
    app = App("readers", settings=Settings(url="memory://", publish_deadline=10))

    async def note(value, delivery) -> None:
        got.append((value, delivery.attempt))

    async def note_many(values, deliveries) -> None:
        got.extend((value, delivery.attempt) for value, delivery in zip(values, deliveries, strict=True))

    app.consume(topic, **options)(note_many if "batch" in options else note)
    return app


@pytest.fixture
def office() -> Office:
    return Office("zero", "one", "two")


async def test_what_is_lacking_is_fetched_once_on_either_side(office: Office) -> None:
    words = Topic("words", str, codec=Numbered(office))
    got = []
    app = consuming(words, got)
    async with app.test() as bus:
        for _ in range(3):
            await bus.publish(words, "one")
        await bus.drain()
        assert [value for value, _ in got] == ["one"] * 3
        assert bus.published(words) == ["one"] * 3
    assert office.asked == 2  # at the start, and for the number, which is the word's as well
    assert office.closed == 1


async def test_what_was_only_published_to_is_closed_as_well(office: Office) -> None:
    """Whatever one codec does of those that have the same topic."""

    async def broken() -> None:
        raise OSError("no route")

    app, one, another = (
        App("writers"),
        Topic("words", str, codec=Numbered(office)),
        Topic("words", str, codec=Numbered(office)),
    )
    one.codec.close = broken
    async with app.test() as bus:
        await bus.publish(one, "one")
        await bus.publish(another, "two")
        await app.publish_many(Topic("more", str, codec=Numbered(office)), ["one"])
    assert office.closed == 2
    async with app.test():
        pass
    assert office.closed == 2


async def test_a_factory_makes_a_codec_for_each_topic(office: Office) -> None:
    factory = Numbered(office)
    one, two = Topic("one", str, codec=factory), Topic("two", str, codec=factory)
    assert one.codec is not two.codec
    assert one.remote is one.codec
    assert one.on().remote is one.codec


async def test_headers_may_say_what_is_in_the_body(office: Office) -> None:
    words = Topic("words", str, codec=Numbered(office))
    got = []
    async with consuming(words, got).test() as bus:
        await bus.publish(words, "one", headers={"word": "uno"})
        await bus.drain()
    assert got == [("uno", 1)]


@pytest.mark.parametrize("options", [{}, {"ordered": True}, {"batch": 3}], ids=str)
async def test_while_nobody_answers_a_consumer_stands_still_and_spends_no_attempt(office: Office, options) -> None:
    words = Topic("words", str, codec=Numbered(office), key=lambda word: word[0])
    got = []
    app = consuming(words, got, retry=Retry.fixed(2, delay=0.01), **options)
    async with app.running():
        office.error = CodecUnavailable("closed for lunch")
        for number in (1, 2, 1):
            await _put(app, words, bytes([number]))
        await until(lambda: app.health().status is Status.DEGRADED)
        assert "closed for lunch" in str(app.health().parts)
        asked = office.asked
        await until(lambda: office.asked > asked + 2, "it asks again")
        assert not got
        async with app.admin() as admin:
            backlog = await admin.backlog(app.registrations[0].subscription)
        assert not backlog.dead.value
        office.error = None
        await until(lambda: len(got) == 3)
        assert sorted(value for value, _ in got) == ["one", "one", "two"]
        assert {attempt for _, attempt in got} == {1}
        await until(lambda: app.health().status is Status.UP)


async def _put(app: App, topic: Topic, body: bytes) -> None:
    """A body as another program publishes it, whatever this one knows."""
    runtime = app._running()
    port = await runtime.port(topic, runtime.deadline(None))
    from waybill.composing import message_of

    codec = topic.codec
    word = codec.known.get(body[0])
    codec.known[body[0]] = "placeholder"
    message = message_of("other", topic, "placeholder", now=runtime.clock.time(), key="k")
    if word is None:
        del codec.known[body[0]]
    else:
        codec.known[body[0]] = word
    await port.publish(message, runtime.deadline(None))


async def test_what_there_is_no_answer_to_is_a_dead_letter_and_the_next_is_handled(office: Office) -> None:
    words = Topic("words", str, codec=Numbered(office))
    got = []
    app = consuming(words, got, batch=2)
    async with app.test() as bus:
        await _put(app, words, b"\x63")
        await _put(app, words, b"\1")
        await bus.drain()
        (letter,) = bus.dead_letters(words)
        assert (letter.reason, letter.message.body, letter.record.attempts) == ("decode_error", b"\x63", 0)
        assert "no word stands for 99" in letter.record.detail
    assert got == [("one", 1)]


async def test_the_time_that_asking_takes_is_not_the_handlers(office: Office) -> None:
    words = Topic("words", str, codec=Numbered(office))
    got = []
    app = consuming(words, got, timeout=2.0, retry=Retry.none())
    gate = asyncio.Event()
    async with app.running():
        ask = office.ask

        async def slow() -> None:
            await ask()
            await gate.wait()

        office.ask = slow
        await _put(app, words, b"\1")
        await until(lambda: office.asked > 1)
        await asyncio.sleep(3.5)  # longer than a handler has, and than the sweep needs to see it
        gate.set()
        await until(lambda: got)
    assert got == [("one", 1)]


async def test_an_application_that_stops_meanwhile_keeps_its_message(office: Office) -> None:
    words = Topic("words", str, codec=Numbered(office))
    got = []
    async with App("keeper", settings=Settings(url="memory://standing")).connected():
        app = App("readers", settings=Settings(url="memory://standing", shutdown_grace=1))

        @app.consume(words)
        async def note(value: str) -> None:
            got.append(value)

        async with app.running():
            office.error = CodecUnavailable("closed")
            await _put(app, words, b"\1")
            await until(lambda: app.health().status is Status.DEGRADED)
        office.error = None
        async with app.running():
            await until(lambda: got)
    assert got == ["one"]


async def test_a_publisher_waits_for_the_answer(office: Office) -> None:
    words = Topic("words", str, codec=Numbered(office))
    app = App("writers", settings=Settings(url="memory://"), topics=[words])
    async with app.test() as bus:
        office.error = CodecUnavailable("closed")
        publishing = asyncio.create_task(bus.publish(words, "one"))
        await until(lambda: office.asked > 2)
        office.error = None
        await publishing
        assert bus.published(words) == ["one"]


async def test_a_publisher_is_refused_by_its_deadline(office: Office) -> None:
    words = Topic("words", str, codec=Numbered(office))
    app = App("writers", settings=Settings(url="memory://"))
    async with app.test() as bus:
        office.error = CodecUnavailable("closed for lunch")
        with pytest.raises(PublishRefused, match="closed for lunch") as refused:
            await bus.publish(words, "one", deadline=0.3)
        assert refused.value.topic == "words"
        results = await app.publish_many(words, ["one", "two"], deadline=0.3)
        assert [type(result) for result in results] == [Refused, Refused]
        assert all(result.transient for result in results)
        office.error = None
        assert len(await app.publish_many(words, ["one", "two"])) == 2
        assert bus.published(words) == ["one", "two"]


async def test_what_there_is_no_number_for_is_told_at_once(office: Office) -> None:
    words = Topic("words", str, codec=Numbered(office))
    app = App("writers", settings=Settings(url="memory://"))
    async with app.test() as bus:
        with pytest.raises(EncodeError, match="no number stands for nine"):
            await bus.publish(words, "nine")
        (result,) = await app.publish_many(words, ["nine"])
        assert isinstance(result, Refused)
        assert not result.transient


def test_publishing_from_plain_code(office: Office) -> None:
    words = Topic("words", str, codec=Numbered(office), unrouted="accept")
    app = App("writers", settings=Settings(url="memory://"))
    with app.sync.running():
        assert app.sync.publish(words, "two").id


async def test_tombstones_go_beside_it(office: Office) -> None:
    words = Topic.with_tombstones("words", str, key=lambda word: word, codec=Numbered(office))
    assert words.remote is not None
    got = []
    async with consuming(words, got).test() as bus:
        await bus.publish(words, "one")
        await bus.publish(words, Tombstone("one"))
        await bus.drain()
    assert [value for value, _ in got] == ["one", Tombstone("one")]


async def test_what_will_never_work_is_told_at_the_start(office: Office) -> None:
    app = App("readers", settings=Settings(url="memory://"), topics=[Topic("words", str, codec=Numbered(office))])
    office.error = ConfigurationError("wrong password")
    with pytest.raises(ConfigurationError, match="wrong password"):
        async with app.running():
            pass
    office.error = CodecUnavailable("closed")  # it may open
    async with app.running():
        pass
    assert office.closed == 2


async def test_the_doctor_says_whether_it_answers(office: Office) -> None:
    words = Topic("words", str, codec=Numbered(office))
    app = App("readers", settings=Settings(url="memory://"))
    found = []
    await examine(app, [words], found.append)
    assert [f.value for f in found if f.what == "codec of words"] == ["the office answers"]
    office.error = CodecUnavailable("closed for lunch")
    await examine(app, [words], found.append)
    assert [(f.trouble, bool(f.fix)) for f in found if f.trouble and f.what == "codec of words"] == [
        ("closed for lunch", True)
    ]


async def test_a_codec_that_is_never_satisfied_ends_among_the_dead_letters(office: Office) -> None:
    words = Topic("words", str, codec=Insatiable(office))
    app = consuming(words, [])
    async with app.test() as bus:
        await bus.publish(words, "one")
        await bus.drain()
        assert bus.dead_letters(words)[0].reason == "decode_error"


class Insatiable:
    """Lacks something whatever it was told."""

    content_type = "application/numbered"

    def __init__(self, office: Office) -> None:
        self.check, self.close, self.ask = Numbered(office).check, Numbered(office).close, office.ask

    def encode(self, value: str) -> bytes:
        return value.encode()

    def decode(self, body: bytes) -> str:
        raise Lacking("something", self.ask)

    def decode_message(self, message) -> str:
        return self.decode(message.body)
