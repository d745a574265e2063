"""Messages that no publisher of ours would send, put on the bus by a program that is not ours.

Each case has the number of its row in the table of bad inputs. What holds for all: nothing crashes or reconnects, no
handler sees what it cannot handle, the message lies among the dead letters with its bytes, and the next one is handled.
"""

from __future__ import annotations

import contextlib
import json
import logging
import pickle
import random
import sqlite3
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from pydantic import BaseModel
from typing_extensions import TypedDict

from tests.unit.stand_ins import Bench, consuming, message, until
from waybill import (
    App,
    ConfigurationError,
    Confirmed,
    DecodeError,
    Delivery,
    Message,
    PublishRefused,
    Retry,
    Settings,
    Topic,
)
from waybill.codec import Codec, JsonCodec, codec_for
from waybill.outcomes import Ack, DeadLetter
from waybill_embedded import rows


@dataclass
class Job:
    number: int
    ratio: float = 0.0


class JobModel(BaseModel):
    number: int


class JobDict(TypedDict):
    number: int


class JobStruct(msgspec.Struct):
    number: int


JOBS = Topic("jobs", Job)
GOOD: dict[str, Any] = {
    "specversion": "1.0",
    "id": "bad-1",
    "type": "jobs",
    "source": "elsewhere",
    "time": "2024-05-01T00:00:00Z",
    "datacontenttype": "application/json",
}
BODY = b'{"number":1}'
MIB = 1 << 20
LONG_AGO = datetime(2024, 5, 1, tzinfo=UTC)


def attributes(**changed: Any) -> str:
    """The good attributes as a foreign writer spells them; `...` takes one away."""
    return json.dumps({name: value for name, value in {**GOOD, **changed}.items() if value is not ...})


class Bus:
    """A worker on a file, and the foreign program that writes into the same file."""

    def __init__(self, app: App, file: Path) -> None:
        self.app = app
        self.seen: list[Delivery[Any]] = []
        self.decoded = 0
        self._file = file

    def write(self, *messages: tuple[str, bytes | None], key: str | None = None) -> None:
        """Put rows into the log of `jobs`: attributes and body."""
        with contextlib.closing(sqlite3.connect(self._file, timeout=5)) as connection, connection:
            connection.executemany(
                "INSERT INTO messages (topic, key, message, body) SELECT id, ?, ?, ? FROM topics WHERE name = 'jobs'",
                [(key, *columns) for columns in messages],
            )

    async def next_is_handled(self) -> None:
        """Publish a good message; wait until it is handled and nothing is left in the log."""
        confirmed = await self.app.publish(JOBS, Job(99))
        await until(lambda: any(delivery.message.id == confirmed.id for delivery in self.seen))
        await until(lambda: not self.left())
        self.seen = [delivery for delivery in self.seen if delivery.message.id != confirmed.id]
        assert self.app.consumer(JOBS).trouble is None

    def left(self) -> int:
        with contextlib.closing(sqlite3.connect(f"file:{self._file}?mode=ro", uri=True)) as connection:
            return connection.execute("SELECT count(*) FROM messages").fetchone()[0]

    async def letters(self) -> list[Message]:
        admin = self.app._running().brokers.admin
        return list((await admin.browse(self.app.registrations[0].subscription, limit=1000)).messages)


@asynccontextmanager
async def a_bus(tmp_path: Path, *, ordered: bool = False) -> AsyncGenerator[Bus, None]:
    file = tmp_path / "bus.db"
    app = App("worker", settings=Settings(url=f"sqlite:///{file}?sync=normal"))
    bus = Bus(app, file)

    class Counting(JsonCodec[Job]):
        def decode(self, body: bytes) -> Job:
            bus.decoded += 1
            return super().decode(body)

    topic = Topic("jobs", Job, key=lambda job: str(job.number), codec=Counting(Job))

    @app.consume(topic, ordered=ordered, retry=Retry.none())
    async def work(_: Job, delivery: Delivery[Job]) -> None:
        bus.seen.append(delivery)

    async with app.running():
        yield bus


# ---------------------------------------------------------------- bodies


class Evil:
    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return (open_evil, ("loaded",))


def open_evil(name: str) -> None:
    raise AssertionError(f"{name}: a pickle was loaded")


BODIES = {
    "01-empty": (b"", "JSON"),
    "06-list": (b"[1]", "object"),
    "06-number": (b"7", "object"),
    "06-null": (b"null", "object"),
    "06-text": (b'"number"', "object"),
    "07-deep-array": (b"[" * 100_000, ""),
    "07-deep-in-a-field": (b'{"number":' + b"[" * 100_000, ""),
    "07-deep-in-an-unknown-field": (b'{"number":1,"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", ""),
    "08-nan": (b'{"number":1,"ratio":NaN}', ""),
    "08-infinity": (b'{"number":1,"ratio":-Infinity}', ""),
    "08-too-large-for-a-float": (b'{"number":1,"ratio":1e400}', ""),
    "08-5000-digits": (b'{"number":' + b"9" * 5000 + b"}", ""),
    "10-lone-surrogate": (b'{"number":1,"\\ud800":"\\ud800"}', ""),
    "11-byte-order-mark": (b"\xef\xbb\xbf" + BODY, "JSON"),
    "11-utf-16": (BODY.decode().encode("utf-16"), "JSON"),
    "11-utf-32": (BODY.decode().encode("utf-32"), "JSON"),
    "54-pickle": (pickle.dumps(Evil()), "JSON"),
    "54-yaml": (b"!!python/object/apply:os.system ['touch loaded']", "JSON"),
}


@pytest.mark.parametrize("case", BODIES)
async def test_a_body_that_does_not_fit_is_dead_lettered_with_its_bytes(
    case: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    body, said = BODIES[case]
    async with a_bus(tmp_path) as bus:
        bus.write((attributes(), body))
        await bus.next_is_handled()
        (letter,) = await bus.letters()
    assert bus.seen == []
    assert letter.id == "bad-1"
    assert letter.body == body
    assert letter.dead is not None
    assert letter.dead.reason == "decode_error"
    assert said in letter.dead.detail
    assert_lines(caplog)


@pytest.mark.parametrize(
    "content_type",
    ["application/octet-stream", "application/x-python-pickle", "application/yaml", "text/plain", "json"],
)
@pytest.mark.parametrize("body", [BODY, pickle.dumps(Evil())], ids=["json", "pickle"])
async def test_row_15_and_54_what_says_it_is_no_json_is_not_decoded(
    content_type: str, body: bytes, tmp_path: Path
) -> None:
    async with a_bus(tmp_path) as bus:
        bus.write((attributes(datacontenttype=content_type), body))
        await bus.next_is_handled()
        (letter,) = await bus.letters()
    assert letter.body == body
    assert letter.dead is not None
    assert (letter.dead.reason, bus.seen, bus.decoded) == ("decode_error", [], 1)
    assert f"unsupported content type {content_type!r}" in letter.dead.detail


async def test_row_53_an_event_with_its_attributes_in_the_body_is_not_taken_for_its_data(tmp_path: Path) -> None:
    """CloudEvents' structured mode ends in `+json`, and might fit a payload whose fields all have defaults."""
    event = json.dumps({**GOOD, "number": 1, "data": {"number": 2}, "data_base64": "AA=="}).encode()
    async with a_bus(tmp_path) as bus:
        bus.write((attributes(datacontenttype="application/cloudevents+json; charset=utf-8"), event))
        await bus.next_is_handled()
        (letter,) = await bus.letters()
    assert (letter.body, bus.seen) == (event, [])
    assert letter.dead is not None
    assert letter.dead.reason == "decode_error"
    assert "binary mode" in letter.dead.detail


@pytest.mark.parametrize("payload", [Job, JobModel, JobDict, JobStruct])
def test_row_05_whatever_the_bytes_are_it_is_a_decode_error(payload: Any) -> None:
    codec: Codec[Any] = codec_for(payload)
    for seed in range(10_000):
        chance = random.Random(seed)
        with pytest.raises(DecodeError):
            codec.decode(chance.randbytes(chance.randrange(60)))


@pytest.mark.parametrize("payload", [Job, JobModel, JobDict, JobStruct])
def test_row_05_a_damaged_body_is_a_value_or_a_decode_error(payload: Any) -> None:
    codec: Codec[Any] = codec_for(payload)
    read = 0
    for seed in range(3_000):
        with contextlib.suppress(DecodeError):
            read += codec.decode(damaged(b'{"number": 17, "ratio": 1.5e3, "text": "\\u00fc"}', seed)) is not None
    assert 0 < read < 3_000


async def test_row_05_hundreds_of_random_bodies_and_not_one_is_lost(tmp_path: Path) -> None:
    bodies = [random.Random(seed).randbytes(40) for seed in range(300)]
    async with a_bus(tmp_path) as bus:
        bus.write(*[(attributes(id=f"bad-{number}"), body) for number, body in enumerate(bodies)])
        await bus.next_is_handled()
        letters = await bus.letters()
    assert bus.seen == []
    assert {letter.id: letter.body for letter in letters} == {f"bad-{n}": body for n, body in enumerate(bodies)}
    assert {letter.dead.reason for letter in letters if letter.dead} == {"decode_error"}


async def test_row_01_an_empty_body_is_a_value_where_bytes_are_carried() -> None:
    raw, app, seen = Topic("raw", bytes), App("worker"), list[bytes]()

    @app.consume(raw)
    async def work(body: bytes) -> None:
        seen.append(body)

    async with app.test() as bus:
        await bus.publish(raw, b"")
        await bus.drain()
    assert seen == [b""]


@pytest.mark.parametrize("payload", [Job, JobModel, JobStruct])
def test_row_09_of_a_key_that_stands_twice_the_last_counts(payload: Any) -> None:
    assert codec_for(payload).decode(b'{"number":1,"number":2}').number == 2


def test_a_body_with_millions_of_errors_is_told_in_one_line() -> None:
    body = b"[" + b",".join([b'"x"'] * 200_000) + b"]"
    with pytest.raises(DecodeError, match=r"^200000 errors$"):
        codec_for(list[int]).decode(body)


# ---------------------------------------------------------------- sizes


async def test_rows_02_and_03_so_large_a_body_and_not_a_byte_larger(tmp_path: Path) -> None:
    raw = Topic("raw", bytes)
    app, seen = App("worker", settings=Settings(url=f"sqlite:///{tmp_path}/bus.db?sync=normal")), list[int]()

    @app.consume(raw)
    async def work(body: bytes) -> None:
        seen.append(len(body))

    async with app.running():
        results = await app.publish_many(raw, [b"a", bytes(16 * MIB), bytes(16 * MIB + 1), b"bc"])
        with pytest.raises(PublishRefused, match="16777217 bytes"):
            await app.publish(raw, bytes(16 * MIB + 1))
        await until(lambda: len(seen) == 3)
    assert sorted(seen) == [1, 2, 16 * MIB]
    assert [type(result) is Confirmed for result in results] == [True, True, False, True]


async def test_row_02_a_larger_body_in_the_file_is_not_decoded(tmp_path: Path) -> None:
    fits, larger = (b'{"number":1}'.ljust(size) for size in (16 * MIB, 16 * MIB + 1))
    async with a_bus(tmp_path) as bus:
        bus.write((attributes(id="fits"), fits), (attributes(id="larger"), larger))
        await bus.next_is_handled()
        (letter,) = await bus.letters()
    assert [delivery.message.id for delivery in bus.seen] == ["fits"]
    assert bus.decoded == 2
    assert letter.id == "larger"
    assert letter.body == larger
    assert letter.dead is not None
    assert letter.dead.reason == "decode_error"
    assert "16777217 bytes" in letter.dead.detail


# ---------------------------------------------------------------- attributes

UNREADABLE: dict[str, str] = {
    "29-headers-are-a-list": attributes(headers=["a"]),
    "29-headers-are-a-text": attributes(headers="a"),
    "37-attempts-are-a-text": attributes(attempts="abc"),
    "37-attempts-are-a-fraction": attributes(attempts=1.5),
    "41-an-empty-id": attributes(id=""),
    "41-an-id-of-10-kb": attributes(id="x" * 10_240),
    "41-an-id-of-two-lines": attributes(id="a\r\nERROR root: forged"),
    "41-an-id-that-steers-a-terminal": attributes(id="\x1b[2J"),
    "41-an-id-with-half-a-pair": attributes(id="\ud800"),
    "41-no-text": attributes(id=7),
    "52-a-number-as-time": attributes(time=0),
    "52-no-such-time": attributes(time="2024-13-01T00:00:00Z"),
    "52-before-all-time": attributes(time="0001-01-01T00:00:00+14:00"),
    "53-no-specversion": attributes(specversion=...),
    "53-another-specversion": attributes(specversion="0.3"),
    "53-no-id": attributes(id=...),
    "53-no-type": attributes(type=...),
    "53-no-source": attributes(source=...),
    "53-no-time": attributes(time=...),
    "53-a-bad-time": attributes(time="yesterday"),
    "53-data-and-data-base64": attributes(data={"number": 2}, data_base64="AA=="),
    "53-data-beside-the-body": attributes(data={"number": 2}),
    "53-a-bad-partition-key": attributes(partitionkey=["k"]),
    "no-object": "[]",
    "no-json": "hello",
    "nothing": "",
    "nul": attributes(id="a\0b").replace("\\u0000", "\0"),
    "deep": '{"specversion":"1.0","x":' + "[" * 100_000,
    "deep-headers": attributes(headers=...)[:-1] + ',"headers":{"h":' + "[" * 100_000 + "]" * 100_000 + "}}",
    "digits": attributes(attempts=...)[:-1] + ',"attempts":' + "9" * 5_000 + "}",
}


@pytest.mark.parametrize("case", UNREADABLE)
async def test_attributes_that_cannot_be_read_are_kept_with_the_body(
    case: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    text = UNREADABLE[case]
    async with a_bus(tmp_path) as bus:
        bus.write((text, BODY))
        await bus.next_is_handled()
        (letter,) = await bus.letters()
    assert bus.seen == []
    assert letter.body == BODY
    assert letter.headers["attributes"] == text
    assert letter.dead is not None
    assert letter.dead.reason == "decode_error"
    assert "attributes cannot be read" in letter.dead.detail
    assert_lines(caplog)


READABLE: dict[str, tuple[str, Callable[[Delivery[Job]], bool]]] = {
    "16-another-type": (attributes(type="com.example.job"), lambda d: d.message.type == "com.example.job"),
    "28-a-header-without-a-value": (attributes(headers={"h": None}), lambda d: d.message.headers == {"h": "null"}),
    "28-an-empty-header": (attributes(headers={"h": ""}), lambda d: d.message.headers == {"h": ""}),
    "29-a-number": (attributes(headers={"h": 7, "t": "7"}), lambda d: d.message.headers == {"h": "7", "t": "7"}),
    "29-a-list": (attributes(headers={"h": [1, "a"]}), lambda d: d.message.headers == {"h": '[1,"a"]'}),
    "29-a-table": (attributes(headers={"h": {"a": True}}), lambda d: d.message.headers == {"h": '{"a":true}'}),
    "29-two-lines": (attributes(headers={"h": "a\nb"}), lambda d: d.message.headers == {"h": "a\nb"}),
    "30-256-headers": (
        attributes(headers={f"h{n}": "v" for n in range(256)}),
        lambda d: len(d.message.headers) == 256,
    ),
    "37-attempts-below-nothing": (attributes(attempts=-1), lambda d: d.attempt == 1),
    "37-redrives-beyond-everything": (attributes(redrives=10**30), lambda d: d.message.redrives == 1 << 31),
    "41-an-emoji-as-id": (attributes(id="🚀"), lambda d: d.message.id == "🚀"),
    "43-a-bad-traceparent": (attributes(traceparent="00-zz", tracestate="x" * 10_240), lambda d: d.attempt == 1),
    "43-10-kb-of-baggage": (attributes(headers={"baggage": "a=b," * 2_560}), lambda d: d.attempt == 1),
    "52-the-year-3000": (attributes(time="3000-01-01T00:00:00Z"), lambda d: d.message.time.year == 3000),
    "52-the-epoch": (attributes(time="1970-01-01T00:00:00Z"), lambda d: d.message.time.timestamp() == 0),
    "52-before-the-epoch": (attributes(time="1969-12-31T23:59:59Z"), lambda d: d.message.time.timestamp() == -1),
    "52-no-zone": (attributes(time="2024-05-01T00:00:00"), lambda d: d.message.time == LONG_AGO),
    "52-another-zone": (attributes(time="2024-05-01T05:30:00+05:30"), lambda d: d.message.time == LONG_AGO),
    "52-never-expires": (attributes(expirytime="9999-12-31T23:59:59.999999Z"), lambda d: d.attempt == 1),
    "52-a-first-failure-without-a-zone": (attributes(first_failure="0001-01-01T00:00:00"), lambda d: d.attempt == 1),
    "53-attributes-of-others": (attributes(sequence="7", dataref="x"), lambda d: d.attempt == 1),
}


@pytest.mark.parametrize("case", READABLE)
async def test_attributes_that_are_merely_odd_are_no_reason_not_to_handle(case: str, tmp_path: Path) -> None:
    text, as_expected = READABLE[case]
    async with a_bus(tmp_path) as bus:
        bus.write((text, BODY))
        await bus.next_is_handled()
        assert await bus.letters() == []
    (delivery,) = bus.seen
    assert delivery.value == Job(1)
    assert delivery.message.time.utcoffset() == timedelta(0)
    assert as_expected(delivery)


BEYOND: dict[str, tuple[str, str, str]] = {
    "28-a-header-of-1-mb": (attributes(headers={"h": "x" * MIB}), "decode_error", "1048577 characters"),
    "30-10000-headers": (attributes(headers={f"h{n}": "v" for n in range(10_000)}), "decode_error", "10000 headers"),
    "37-a-count-beyond-everything": (attributes(attempts=10**30), "retries_exhausted", "it came with 2147483648"),
    "52-expired-long-ago": (attributes(expirytime="0001-01-01T00:00:00"), "expired", "0001-01-01"),
}


@pytest.mark.parametrize("case", BEYOND)
async def test_what_is_beyond_its_limits_is_dead_lettered_as_it_came(case: str, tmp_path: Path) -> None:
    text, reason, detail = BEYOND[case]
    async with a_bus(tmp_path) as bus:
        bus.write((text, BODY))
        await bus.next_is_handled()
        (letter,) = await bus.letters()
    assert bus.seen == []
    assert bus.decoded == 1
    assert letter.body == BODY
    assert letter.headers == json.loads(text).get("headers", {})
    assert letter.dead is not None
    assert letter.dead.reason == reason
    assert detail in letter.dead.detail


async def test_one_bad_row_among_many_takes_none_with_it(tmp_path: Path) -> None:
    """They are fetched together, so what breaks the reading of one would hold up all."""
    good = [(attributes(id=f"good-{number}"), BODY) for number in range(30)]
    bad = [(text, BODY) for text in UNREADABLE.values()]
    mixed = [row for pair in zip(good, bad, strict=True) for row in pair]
    async with a_bus(tmp_path) as bus:
        bus.write(*mixed)
        await bus.next_is_handled()
        assert len(await bus.letters()) == len(bad)
    assert sorted(delivery.message.id for delivery in bus.seen) == sorted(json.loads(text)["id"] for text, _ in good)


async def test_attributes_that_are_no_utf_8_hold_up_nobody(tmp_path: Path) -> None:
    """The row cannot even be fetched as text; all behind it would wait for ever."""
    async with a_bus(tmp_path) as bus:
        bus.write((attributes(), BODY))
        with contextlib.closing(sqlite3.connect(tmp_path / "bus.db", timeout=5)) as connection, connection:
            connection.execute(
                "INSERT INTO messages (topic, key, message, body) SELECT id, CAST(x'ff' AS TEXT), CAST(x'7bff7d' AS TEXT), ? FROM topics",
                (BODY,),
            )
        await bus.next_is_handled()
        (letter,) = await bus.letters()
    assert letter.body == BODY
    assert letter.dead is not None
    assert letter.dead.reason == "decode_error"


async def test_row_52_the_age_of_what_comes_from_the_future_is_nothing(tmp_path: Path) -> None:
    app = App("worker", settings=Settings(url=f"sqlite:///{tmp_path}/bus.db?sync=normal"))
    app.consume(JOBS)(lambda _: None)
    bus = Bus(app, tmp_path / "bus.db")
    async with app.running(consume=False):
        bus.write((attributes(time="3000-01-01T00:00:00Z"), BODY))
        backlog = await app._running().brokers.admin.backlog(app.registrations[0].subscription)
    assert (backlog.ready.value, backlog.oldest.value) == (1, 0.0)


async def test_a_column_that_disagrees_with_the_attributes_does_not_close_its_key(tmp_path: Path) -> None:
    """The lease was taken by the column's key, so it has to be given back by it."""
    async with a_bus(tmp_path, ordered=True) as bus:
        bus.write(*[(attributes(id=f"m{n}", partitionkey="other"), BODY) for n in range(3)], key="k")
        bus.write(*[(attributes(id=f"m{n}"), BODY) for n in range(3, 6)], key="k")
        await bus.next_is_handled()
    assert [delivery.message.id for delivery in bus.seen] == [f"m{n}" for n in range(6)]
    assert {delivery.message.key for delivery in bus.seen} == {"k"}


def test_a_damaged_row_is_a_message_that_can_be_written_again() -> None:
    good = attributes(
        headers={"h": "v"}, attempts=1, redrives=2, partitionkey="k", expirytime="2024-05-01T00:00:00Z",
        first_failure="2024-05-01T00:00:00Z", traceparent="00-0-0-00",
    )  # fmt: skip
    read = 0
    for seed in range(5_000):
        text = damaged(good.encode(), seed).decode("utf-8", "replace")
        found = rows.read_any(text, BODY, number=1, topic="jobs")
        assert rows.read(*rows.write(found)) == found
        read += found.id != "unreadable-1"
    assert 0 < read < 5_000


# ---------------------------------------------------------------- publishing


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({"h": None}, "header 'h': names and values are text"),
        ({"h": 7}, "write 7 as text"),
        ({"h": b"x"}, "names and values are text"),
        ({"h": ["a"]}, "names and values are text"),
        ({7: "h"}, "names and values are text"),
        ({f"h{n}": "v" for n in range(10_000)}, "10000 headers: at most 256"),
        ({"": "v"}, "1 to 128 characters"),
        ({"h": "a\r\nb"}, "control characters"),
        ({"CC": "somebody"}, "has a meaning to brokers"),
        ([("h", "v")], "a dict of names and texts"),
        ("h=v", "a dict of names and texts"),
    ],
    ids=[
        "28-none",
        "29-int",
        "29-bytes",
        "29-list",
        "29-name",
        "30-many",
        "28-no-name",
        "29-lines",
        "35-cc",
        "29-pairs",
        "29-text",
    ],
)
async def test_headers_that_cannot_travel_are_refused_at_publish(headers: Any, said: str) -> None:
    async with App("a").test() as bus:
        with pytest.raises(ConfigurationError, match=said):
            await bus.publish(JOBS, Job(1), headers=headers)
        assert bus.messages(JOBS) == []


async def test_row_28_a_header_of_a_megabyte_is_refused_at_publish_and_nothing_else() -> None:
    async with App("a").test() as bus:
        with pytest.raises(PublishRefused, match="the headers have 1048577 bytes"):
            await bus.publish(JOBS, Job(1), headers={"h": "x" * MIB})
        await bus.publish(JOBS, Job(2), headers={"h": ""})
        assert bus.published(JOBS) == [Job(2)]


TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


ENDS = [
    "", "zz", TRACE[:-1], TRACE + "-more", TRACE + "\n", TRACE.upper(), "ff" + TRACE[2:], "x" * 10_240,
    "00-" + "0" * 32 + TRACE[35:], TRACE[:36] + "0" * 16 + TRACE[52:],
]  # fmt: skip
GOES_ON = [TRACE, "01" + TRACE[2:], "01" + TRACE[2:] + "-what-comes-later"]


async def test_row_43_a_malformed_trace_ends_here(tmp_path: Path) -> None:
    """The handler runs, and what it publishes begins a trace of its own."""
    file, answers = tmp_path / "bus.db", Topic("answers", str)
    app, answered = App("worker", settings=Settings(url=f"sqlite:///{file}?sync=normal")), dict[str, Message]()

    @app.consume(JOBS)
    async def work(_: Job, delivery: Delivery[Job]) -> None:
        await app.publish(answers, delivery.message.id)

    @app.consume(answers)
    async def read(ident: str, delivery: Delivery[str]) -> None:
        answered[ident] = delivery.message

    async with app.running():
        parents = [*ENDS, *GOES_ON]
        states = ["vendor=1"] * len(parents)
        parents.append(TRACE)
        states.append("x" * 10_240)
        Bus(app, file).write(
            *[
                (attributes(id=f"m{n}", traceparent=parent, tracestate=state), BODY)
                for n, (parent, state) in enumerate(zip(parents, states, strict=True))
            ]
        )
        await until(lambda: len(answered) == len(parents))
    found = [(answered[f"m{n}"].traceparent, answered[f"m{n}"].tracestate) for n in range(len(parents))]
    assert found == [*[(None, None)] * len(ENDS), *[(parent, "vendor=1") for parent in GOES_ON], (TRACE, None)]


# ---------------------------------------------------------------- logs


@pytest.mark.parametrize("ident", ["", "a\r\nERROR forged", "x" * 10_240, "\x1b[2J", "\u2028", "\ud800", "🚀"])
async def test_row_41_an_id_from_any_broker_is_one_short_line_of_the_log(
    ident: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The embedded broker lets no such id through; one that does must not be able to write lines of our log."""
    bench = Bench()

    async def fail(delivery: Delivery[Any]) -> None:
        if delivery.message.id == ident:
            raise ValueError("first line\nsecond line \x1b[2J" + "x" * 10_000)

    with caplog.at_level(logging.INFO):
        async with consuming(bench, fail, retry=Retry.fixed(2, delay=0.02)):
            bench.push(message(ident), message("next"))
            await until(lambda: bench.ids(DeadLetter) == [ident])
            await until(lambda: bench.ids(Ack) == ["next"])
    assert len(caplog.records) == 2
    assert_lines(caplog)


def assert_lines(caplog: pytest.LogCaptureFixture) -> None:
    """Each entry is one line of bounded length that nothing has forged, and none is a crash."""
    for entry in caplog.records:
        line = entry.getMessage()
        assert line.isprintable(), line
        assert len(line) < 1_000
        assert entry.levelno < logging.ERROR


def damaged(whole: bytes, seed: int) -> bytes:
    """Some bytes changed, taken out or put in."""
    chance, part = random.Random(seed), bytearray(whole)
    for _ in range(chance.randint(1, 3)):
        place = chance.randrange(len(part))
        how = chance.randrange(3)
        if how == 0:
            part[place] = chance.choice(b'0123456789{}[]",:-+eETZ\\un\x00\xff')
        elif how == 1:
            del part[place : place + chance.randint(1, 8)]
        else:
            part[place:place] = chance.randbytes(chance.randint(1, 4))
    return bytes(part)
