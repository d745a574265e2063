"""What others may send, and what the broker may say, on a real RabbitMQ: nothing of it ends a connection or is lost."""

from __future__ import annotations

import asyncio
import base64
import struct
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import aiormq
import pytest
from aiormq.abc import ChannelFrame

from tests.rabbitmq.looking import dead, eventually, until
from waybill import App, Confirmed, PublishRefused, Refused, Retry, Settings, Topic
from waybill_rabbitmq import wire


def nested(depth: int) -> bytes:
    table = b""
    for _ in range(depth):
        table = b"\x01tF" + struct.pack(">I", len(table)) + table
    return struct.pack(">I", len(table)) + table


POISON = {
    "a date beyond all calendars": b"\x00\x40" + struct.pack(">Q", 2**63),
    "an id that is no UTF-8": b"\x00\x80\x02\xff\xfe",
    "a content type that is no UTF-8": b"\x80\x00\x02\xff\xfe",
    "a header name that is no UTF-8": b"\x20\x00\x00\x00\x00\x05\x02\xff\xfet\x01",
    "tables within tables": b"\x20\x00" + nested(900),
    "a delivery mode that there is not": b"\x10\x00\x03",
}


@asynccontextmanager
async def raw(url: str) -> AsyncGenerator[Callable[[str, bytes, bytes], Awaitable[None]], None]:
    """Publishes any bytes as properties."""
    async with aiormq.connect(url) as connection:
        channel: Any = await connection.channel(publisher_confirms=False)

        async def publish(exchange: str, properties: bytes, body: bytes) -> None:
            frames = wire.publish(
                channel.number, wire.method(channel.number, exchange, "x", mandatory=False), properties, body, 131_072
            )
            await channel.write_queue.put(ChannelFrame(frames, should_close=False))

        yield publish


@pytest.mark.parametrize("ephemeral", [False, True], ids=["quorum", "classic"])
@pytest.mark.parametrize("properties", POISON.values(), ids=POISON.keys())
async def test_what_kills_other_clients_is_a_dead_letter_and_the_connection_lives(
    url: str, properties: bytes, ephemeral: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """The queues of an ephemeral group are classic, and its dead letters go with it: its log says what became of them."""
    topic, app, seen = Topic("orders", bytes), App("group", settings=Settings(url=url)), list[bytes]()

    @app.consume(topic, retry=Retry.none(), ephemeral=ephemeral)
    async def handle(body: bytes) -> None:
        seen.append(body)

    async with app.running(), raw(url) as publish:
        await publish("orders", properties, b"the poison")
        await app.publish(topic, b"sound")
        await until(lambda: b"sound" in seen)
        if b"the poison" not in seen:  # a strange delivery mode hurts nobody here
            await until(lambda: b"the poison" in seen or "is a dead letter: decode_error" in caplog.text)
        if b"the poison" not in seen and not ephemeral:
            (letter,) = await eventually(lambda: dead(app, topic))
            assert letter.body == b"the poison"
            assert base64.b64decode(letter.headers["attributes"]) == properties[: 16 << 10]
        assert app.health().ok


async def test_of_two_messages_of_one_id_the_one_that_nobody_gets_is_refused(url: str) -> None:
    """The library matches what comes back by id, and takes one for the other."""
    app = App("group", settings=Settings(url=url))
    wanted: Topic[str] = Topic("orders", str, id=lambda _: "same", groups=["group"])
    unwanted: Topic[str] = Topic("nobody", str, id=lambda _: "same")
    async with app.running(consume=False):
        results = await asyncio.gather(
            *(app.publish_many(topic, ["x"] * 50) for topic in (wanted, unwanted) for _ in range(2))
        )
    for kind, (lot, *_) in zip([Confirmed, Confirmed, Refused, Refused], [(r,) for r in results], strict=True):
        assert {type(result) for result in lot} == {kind}


async def test_what_cannot_be_sent_takes_no_neighbour_down(url: str) -> None:
    app, topic = App("group", settings=Settings(url=url)), Topic("orders", str, groups=["group"])
    async with app.running(consume=False):
        sound = [asyncio.create_task(app.publish(topic, str(n))) for n in range(50)]
        with pytest.raises(PublishRefused, match="255"):
            await app.publish(topic, "odd", headers={"€" * 100: "a name of 300 bytes"})
        assert {type(result) for result in await asyncio.gather(*sound)} == {Confirmed}


async def test_what_the_broker_itself_gives_up_is_a_dead_letter_in_the_same_form(url: str) -> None:
    """The net below the retries."""
    table = {"rabbitmq": {"delivery_limit": 50}}
    app, topic = App("group", settings=Settings(url=url, broker=table)), Topic("orders", str, groups=["group"])
    async with app.running(consume=False):
        sent, sent_at = await app.publish(topic, "deadly", headers={"customer": "c"}), datetime.now(UTC)
    async with aiormq.connect(url) as connection:
        channel = await connection.channel()
        while (got := await channel.basic_get("orders/group")).delivery_tag is not None:
            await channel.basic_reject(got.delivery_tag, requeue=True)
    (letter,) = await eventually(lambda: dead(app, topic))
    assert letter.dead is not None
    assert (letter.id, letter.headers["customer"], letter.dead.reason) == (sent.id, "c", "delivery_limit")
    assert letter.dead.place.endswith("orders/group"), "it says where the broker had it"
    assert abs(letter.dead.at - sent_at) < timedelta(minutes=1), "and when that was"
    (later,) = await eventually(lambda: dead(app, topic))
    assert later.dead == letter.dead, "it is the same at every look"


async def test_headers_that_leave_no_room_for_why_keep_nothing_from_being_a_dead_letter(url: str) -> None:
    topic, app = Topic("orders", int), App("group", settings=Settings(url=url))

    @app.consume(topic, retry=Retry.none())
    async def handle(number: int) -> None:
        raise AssertionError(number)

    many = b"".join(b"\x07h%06dS\x00\x00\x02\x00%b" % (number, b"x" * 512) for number in range(249))
    async with app.running(), raw(url) as publish:
        await publish("orders", b"\x20\x00" + struct.pack(">I", len(many)) + many, b"no number")
        (letter,) = await eventually(lambda: dead(app, topic))
        assert letter.body == b"no number"
        assert {len(value) for value in letter.headers.values()} == {100}
        assert letter.dead is not None
        assert letter.dead.reason == "decode_error"
        await until(lambda: app.health().status.value == "up")
