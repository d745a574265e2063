"""H. Payload: what arrives is what was published, byte by byte and name by name."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from waybill import (
    ConfigurationError,
    Delivery,
    EncodeError,
    Message,
    Reject,
    Retry,
    Tombstone,
    Topic,
)
from waybill_contracts.behaviour import behaviour
from waybill_contracts.bench import FAST, Bench
from waybill_contracts.tasks import Task, key_of, numbers_of

SCRIPTS = [
    "é" + unicodedata.normalize("NFD", "é"),
    "Ω ы ש م अ 中 한 あ",
    "🚚 👩‍👩‍👧 🏳️‍🌈",
    "\u200bzero width\u2028\ufeff",
    "\U0010ffff",
    " around ",
]
"""What is damaged by normalizing, trimming, or fewer than 21 bits a character."""


def bytes_topic(bench: Bench, **options: Any) -> Topic[bytes]:
    return Topic(bench.name("bytes"), bytes, **options)


async def round_trip(bench: Bench, topic: Topic[Any], *published: Mapping[str, Any]) -> list[Message]:
    """What arrives for each of these `App.publish`es, in their order."""
    app, given = bench.receiver(topic)
    async with app.running():
        ids = [(await app.publish(topic, **options)).id for options in published]
        await bench.until(lambda: {delivery.message.id for delivery in given} >= set(ids), "all of them arrive")
    found = {delivery.message.id: delivery.message for delivery in given}
    return [found[ident] for ident in ids]


@behaviour("H01", seconds=1)
async def a_body_of_any_bytes_is_unchanged(bench: Bench) -> None:
    every = bytes(range(256))
    bodies = [
        every,
        every[::-1],
        *(bytes([value]) for value in every),
        b"\xff\xfe\x00",
        b"\0\0",
        b" \r\n\t ",
        b" text\n",
        b"==YQ==",
    ]
    arrived = await round_trip(bench, bytes_topic(bench), *({"value": body} for body in bodies))
    changed = [(body, message.body) for body, message in zip(bodies, arrived, strict=True) if body != message.body]
    assert not changed, f"{len(changed)} bodies have changed, the first from {changed[0][0]!r} to {changed[0][1]!r}"


@behaviour("H02", seconds=1)
async def an_empty_body_is_empty_and_not_missing(bench: Bench) -> None:
    (message,) = await round_trip(bench, bytes_topic(bench), {"value": b""})
    assert message.body == b"", f"it has become {message.body!r}"


@behaviour("H03", seconds=1)
async def text_of_any_script_is_unchanged_in_keys_and_headers(bench: Bench) -> None:
    topic = bytes_topic(bench)
    published = [{"value": b"x", "key": text, "headers": {f"name {text}": text, "plain": text}} for text in SCRIPTS]
    arrived = await round_trip(bench, topic, *published)
    for sent, message in zip(published, arrived, strict=True):
        assert message.key == sent["key"], f"the key {sent['key']!r} has become {message.key!r}"
        assert dict(message.headers) == sent["headers"], f"{sent['headers']!r} has become {dict(message.headers)!r}"


@behaviour("H04", seconds=1)
async def fifty_headers_arrive(bench: Bench) -> None:
    headers = {f"header-{number}": f"value {number}" for number in range(50)}
    (message,) = await round_trip(bench, bytes_topic(bench), {"value": b"x", "headers": headers})
    assert dict(message.headers) == headers, f"{len(message.headers)} of 50 headers arrive as they were"


@behaviour("H05", seconds=1)
async def a_header_is_text_and_stays_text_whatever_it_looks_like(bench: Bench) -> None:
    texts = [
        "",
        "1",
        "01",
        "1.0",
        "-0",
        "1e400",
        "true",
        "null",
        "None",
        "[1]",
        '{"a": 1}',
        "2024-05-01T00:00:00Z",
        "AA==",
    ]
    headers = {f"h{number}": text for number, text in enumerate(texts)}
    topic = bytes_topic(bench)
    (message,) = await round_trip(bench, topic, {"value": b"x", "headers": headers})
    assert dict(message.headers) == headers, f"{headers!r} has become {dict(message.headers)!r}"
    async with bench.app("publisher").running(consume=False) as app:
        for value in (1, True, b"bytes", None, 1.5, ["list"]):
            headers_of_another_type: Any = {"name": value}
            try:
                await app.publish(topic, b"x", headers=headers_of_another_type)
            except ConfigurationError:
                continue
            raise AssertionError(f"a header of {value!r} is not text, and was published")


@behaviour("H06", seconds=1)
async def a_header_that_cannot_travel_is_an_error_where_it_is_published_and_every_other_one_arrives(
    bench: Bench,
) -> None:
    topic = bytes_topic(bench)
    app, given = bench.receiver(topic)
    wrong = [
        ("", "x"),
        ("\ud800", "x"),
        ("x", "\ud800"),
        ("a\nb", "x"),
        ("x", "a\0b"),
        ("n" * 129, "x"),
        ("ce_id", "x"),
    ]
    async with app.running():
        for name, value in wrong:
            try:
                await app.publish(topic, b"wrong", headers={"fine": "yes", name: value})
            except ConfigurationError:
                continue
            raise AssertionError(f"the header {name!r}: {value!r} cannot be carried, and was published")
        right = {"UPPER": "1", "upper": "2", "a.b": "3", "a-b": "4", "a_b": "5", "a:b/c d,e;f=g": "6", "n" * 128: "7"}
        await app.publish(topic, b"right", headers=right)
        await bench.until(lambda: given, "what was accepted arrives")
        await bench.never(lambda: len(given) > 1, "one that was refused arrives")
    assert given[0].message.body == b"right"
    assert dict(given[0].message.headers) == right, f"{right!r} has become {dict(given[0].message.headers)!r}"


@behaviour("H07", seconds=1)
async def headers_are_the_users_own_and_are_not_passed_on(bench: Bench) -> None:
    topic, onward = bench.topic(), bench.topic("onward")
    app, last = bench.app(), list[Delivery[Task]]()
    seen: list[dict[str, str]] = []
    headers = {"tenant": "one"}

    @app.consume(topic, retry=FAST)
    async def first(task: Task, delivery: Delivery[Task]) -> None:
        seen.append(dict(delivery.message.headers))
        if delivery.attempt == 1:
            raise ValueError("as told")
        await app.publish(onward, task)
        raise Reject("as told")

    @app.consume(onward)
    async def second(_: Task, delivery: Delivery[Task]) -> None:
        last.append(delivery)

    async with app.running():
        await app.publish(topic, Task(1), headers=headers)
        await bench.until(lambda: last, "what a handler publishes arrives")
        (letter,) = await bench.eventually(lambda: bench.dead(topic), bool, "it is a dead letter")
    assert seen == [headers, headers], f"at its attempts it has {seen!r}"
    assert dict(letter.headers) == headers, f"as a dead letter it has {dict(letter.headers)!r}"
    assert not last[0].message.headers, f"what its handler published has {dict(last[0].message.headers)!r}"


@behaviour("H08", seconds=2)
async def the_id_is_the_same_over_retries_dead_letters_and_redrives(bench: Bench) -> None:
    topic = bench.topic()
    app, ids, mended = bench.app(), list[tuple[int, int, str]](), list[bool]()

    @app.consume(topic, retry=FAST)
    async def handle(_: Task, delivery: Delivery[Task]) -> None:
        ids.append((delivery.message.redrives, delivery.attempt, delivery.message.id))
        if not mended:
            raise ValueError("as told")

    async with app.running():
        ident = (await app.publish(topic, Task(1))).id
        (letter,) = await bench.eventually(lambda: bench.dead(topic), bool, "it is a dead letter")
        assert letter.id == ident, "as a dead letter it has another id"
        mended.append(True)
        await bench.redrive(topic)
        await bench.until(lambda: len(ids) >= 4, "it comes again when it is redriven")
    assert ids[:4] == [(0, 1, ident), (0, 2, ident), (0, 3, ident), (1, 1, ident)], f"published as {ident}: {ids!r}"


@behaviour("H09", seconds=1)
async def what_a_failed_handler_did_to_its_message_is_not_seen_again(bench: Bench) -> None:
    topic: Topic[dict[str, list[int]]] = Topic(bench.name("mutable"), dict[str, list[int]])
    app, seen = bench.app(), list[tuple[dict[str, str], dict[str, list[int]]]]()

    @app.consume(topic, retry=Retry.fixed(3, delay=0.05))
    async def handle(value: dict[str, list[int]], delivery: Delivery[dict[str, list[int]]]) -> None:
        headers: Any = delivery.message.headers
        seen.append((dict(headers), {name: list(numbers) for name, numbers in value.items()}))
        value["numbers"].append(delivery.attempt)
        with suppress(TypeError):  # better still: it cannot be
            headers["changed"] = "yes"
        raise ValueError("as told")

    async with app.running():
        await app.publish(topic, {"numbers": [0]}, headers={"tenant": "one"})
        (letter,) = await bench.eventually(lambda: bench.dead(topic), bool, "it is a dead letter")
    assert seen == [({"tenant": "one"}, {"numbers": [0]})] * 3, f"its attempts have seen {seen!r}"
    assert dict(letter.headers) == {"tenant": "one"}, f"as a dead letter it has {dict(letter.headers)!r}"
    assert topic.decode(letter) == {"numbers": [0]}, "as a dead letter it has another body"


@behaviour("H10", verbs=("foreign",), seconds=3)
async def what_a_foreign_program_publishes_is_delivered_or_a_dead_letter_and_holds_nobody_up(bench: Bench) -> None:
    topic = bench.topic()
    app, given = bench.receiver(topic)
    assert bench.broker.foreign is not None
    bodies = [topic.codec.encode(Task(7, "seven")), b"\xff\x00 no JSON", b'{"number": "none"}']
    async with app.running():
        for body in bodies:
            await bench.broker.foreign(topic.name, body)
        await app.publish(topic, Task(8))
        await bench.until(lambda: 8 in numbers_of(given), "the one behind them is handled")

        async def found() -> set[bytes | None]:
            letters = await bench.dead(topic)
            return {message.body for message in (*letters, *(delivery.message for delivery in given))}

        await bench.eventually(found, lambda bodies_found: bodies_found >= set(bodies), "none is lost")
        assert app.health().ok
    letters = [letter for letter in await bench.dead(topic) if letter.body in bodies[1:]]
    assert [letter.dead.reason for letter in letters if letter.dead] == ["decode_error"] * 2


@behaviour("H11", seconds=1)
async def a_key_without_a_value_arrives_as_a_tombstone(bench: Bench) -> None:
    topic = Topic.with_tombstones(bench.name("kept"), Task, key=key_of)
    app, given = bench.receiver(topic)
    async with app.running():
        await app.publish(topic, Task(1, "one"))
        await app.publish(topic, Tombstone("one"))
        await bench.until(lambda: len(given) >= 2, "both arrive")
        values = [delivery.value for delivery in given]
        assert Tombstone("one") in values, f"what arrives: {values!r}"
        assert Task(1, "one") in values, f"what arrives: {values!r}"
        assert {delivery.message.key for delivery in given} == {"one"}, "the key has changed"
        plain: Topic[Any] = bench.topic("plain")
        try:
            await app.publish(plain, Tombstone("one"))
        except EncodeError:
            return
    raise AssertionError("a topic that carries no tombstones took one")


@behaviour("H12", seconds=1)
async def the_clients_own_object_is_at_hand_and_nothing_needs_it(bench: Bench) -> None:
    topic = bench.topic()
    app, given = bench.receiver(topic)
    async with app.running():
        await bench.publish(topic, *(Task(number) for number in range(2)), app=app)
        await bench.until(lambda: len(given) >= 2, "all arrive")
    kinds: set[type[Any]] = {type(delivery.native) for delivery in given}
    assert len(kinds) == 1, f"now it is one thing and now another: {kinds!r}"
    assert not any(kind.__module__.startswith("waybill.") for kind in kinds), f"that is Waybill's own: {kinds!r}"
    if kinds == {type(None)}:
        bench.partial("its client has no object for a message")
