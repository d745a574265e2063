"""What a dead letter's record tells, and what it must not tell."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from waybill import App, DeadLetterRecord, Message, Reject, Retry, Settings, Topic, envelope
from waybill.adapter import Attributes, Describes
from waybill.clock import SystemClock
from waybill.deadletters import MAX_DETAIL, MAX_STACK, fingerprint, record
from waybill.loading import AdapterContext, open_adapter
from waybill.message import Delivery
from waybill.topology import Destination, Subscription, TopicSpec

SECRET = "tr0ub4dor-and-3"
CONTEXT = AdapterContext(application="shop", clock=SystemClock(), options={})
ORDERS: Topic[dict[str, Any]] = Topic("orders", dict[str, Any])


def delivery(**given: Any) -> Delivery[Any]:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    message = Message(**({"id": "1", "body": b"{}", "type": "orders", "source": "s", "time": at} | given))
    return Delivery(message=message, topic="orders", group="billing")


def raised(do: Callable[[], object]) -> BaseException:
    try:
        do()
    except BaseException as error:  # noqa: BLE001 - it is what is wanted
        return error
    raise AssertionError("it raised nothing")


def told(error: BaseException | None, reason: str = "retries_exhausted", **given: Any) -> DeadLetterRecord:
    return record(delivery(**given), reason, now=0.0, error=error)


def charge(order: int) -> None:
    raise ValueError(f"no answer for order {order}")


def charge_again(order: int) -> None:
    if order:
        raise ValueError("no answer")


def convert(text: str) -> None:
    json.loads(text)


def test_letters_that_failed_alike_have_the_same_fingerprint() -> None:
    one, two = told(raised(lambda: charge(1))), told(raised(lambda: charge(2)))
    assert one.fingerprint == two.fingerprint
    assert one.id != two.id
    others = [
        told(raised(lambda: charge_again(1))),
        told(raised(lambda: int("x"))),
        told(raised(lambda: charge(1)), type="invoices"),
        told(None, "expired"),
        told(None, "crashed"),
    ]
    assert len({one.fingerprint, *(other.fingerprint for other in others)}) == 6
    assert one.fingerprint == fingerprint("builtins.ValueError", one.frame, "orders")


def test_the_frame_is_the_innermost_of_our_own_code() -> None:
    assert told(raised(lambda: charge(1))).frame == f"{__name__}:charge"
    assert told(raised(lambda: convert("{"))).frame == f"{__name__}:convert", "and not the library's that it calls"
    assert told(ValueError("never raised")).frame == ""
    assert told(None).frame == ""


def test_an_endless_recursion_is_recorded_like_anything_else() -> None:
    def endless(n: int) -> int:
        return endless(n + 1)

    found = told(raised(lambda: endless(0)))
    assert found.error == "builtins.RecursionError"
    assert len((found.stack or "").encode()) <= MAX_STACK


def test_what_is_secret_in_an_error_is_not_in_its_record() -> None:
    quoted = b'{"card_number": "%s", "region": "%s"}' % (SECRET.encode(), b"north")

    def fail() -> None:
        raise ValueError(f"cannot charge {SECRET} in north; amqp://user:{SECRET}@host, password={SECRET}")

    found = told(raised(fail), body=quoted)
    assert SECRET not in str(found)
    assert "in north" in found.detail
    assert "in fail" in (found.stack or ""), "but where it failed is"


def test_a_secret_is_not_cut_in_two() -> None:
    for before in range(MAX_DETAIL - 60, MAX_DETAIL + 1, 7):
        found = told(ValueError("x" * before + f" password={SECRET}" + "y" * 3000))
        assert SECRET[:6] not in found.detail
        assert len(found.detail.encode()) <= MAX_DETAIL


class Telling(Describes):
    def place_attributes(self, place: Destination | Subscription) -> Attributes:
        return {"messaging.destination.name": f"queue of {place.name}"}


@pytest.mark.parametrize(
    ("adapter", "expected"),
    [
        (Telling(), "queue of orders/billing"),
        (open_adapter("kafka://localhost:9092", CONTEXT), "orders/3@17"),
    ],
    ids=["by default", "Kafka"],
)
def test_where_a_message_was_is_told_as_its_broker_names_it(adapter: Any, expected: str) -> None:
    place = Subscription(topic=TopicSpec("orders"), group="billing")
    one = msgspec.structs.replace(delivery(), partition="orders/3", native=SimpleNamespace(offset=17))
    assert adapter.location(place, one) == expected


async def test_a_record_says_who_gave_the_message_up_and_where_it_was(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    app = App("shop", settings=Settings(url=f"sqlite:///{tmp_path}/bus.db", version="1.2.3", redact=("customer",)))

    @app.consume(ORDERS, group="billing", retry=Retry.fixed(2, delay=0.01))
    async def handle(_: dict[str, Any], delivery: Delivery[dict[str, Any]]) -> None:
        raise ValueError(f"{delivery.message.headers['customer']} is not known")

    async with app.running(), app.admin() as admin:
        await app.publish(ORDERS, {"n": 1}, headers={"customer": "Agatha-17"})
        async with asyncio.timeout(10):
            while not (page := await admin.browse(app.topology.subscriptions[0])).messages:
                await asyncio.sleep(0.01)
    (letter,) = page.messages
    found = letter.dead
    assert found is not None
    assert (found.service, found.version, found.group) == ("shop", "1.2.3", "billing")
    assert found.handler.endswith("handle")
    assert found.place == "orders"
    assert found.id
    assert found.frame.endswith("handle")
    assert "Agatha-17" not in found.detail + (found.stack or ""), "a marked header's value is secret everywhere"
    assert "is not known" in found.detail
    assert "is not known" in caplog.text
    assert "Agatha-17" not in caplog.text
    assert letter.headers["customer"] == "Agatha-17", "but the message is as it was"


async def test_a_planted_secret_appears_in_no_log_line_and_no_record(caplog: pytest.LogCaptureFixture) -> None:
    app = App("shop", settings=Settings(url="memory://"))

    @app.consume(ORDERS, retry=Retry.fixed(2, delay=1.0))
    async def handle(order: dict[str, Any]) -> None:
        if order["n"] == 1:
            raise ValueError(f"the bank refused {order['password']}")
        if order["n"] == 2:
            raise Reject(f"token={SECRET}")
        await asyncio.sleep(0)
        raise ConnectionError(f"https://user:{SECRET}@bank/ does not answer")

    caplog.set_level(logging.DEBUG, "waybill")
    async with app.test() as bus:
        for n in range(3):
            await bus.publish(ORDERS, {"n": n, "password": SECRET}, headers={"x-api-key": SECRET})
        await bus.drain()
        letters = bus.dead_letters(ORDERS)
        assert len(letters) == 3
    for letter in letters:
        assert SECRET not in str(letter.record)
    assert caplog.records, "something was logged"
    assert SECRET not in caplog.text


def test_an_old_record_is_read_as_it_was() -> None:
    """Of a Waybill that knew less."""

    text = '{"v":1,"dead":{"reason":"rejected","detail":"d","topic":"orders","group":"g","attempts":2,"at":"2026-01-01T00:00:00Z"}}'
    message = envelope.decode({"id": "1", "waybill": text}, b"{}", topic="orders", received=datetime.now(UTC))
    assert message.dead is not None
    assert (message.dead.reason, message.dead.id, message.dead.fingerprint, message.dead.span) == (
        "rejected",
        "",
        "",
        None,
    )


def test_a_record_of_all_its_fields_comes_back() -> None:
    whole = DeadLetterRecord(
        id="1", reason="rejected", disposition="poison", fingerprint="f", detail="d", topic="t", group="g", attempts=1,
        at=datetime(2026, 1, 1, tzinfo=UTC), first_failure=datetime(2026, 1, 1, tzinfo=UTC), error="e", frame="m:f", stack="s",
        handler="h", service="s", version="v", library="l", host="h", process=1, place="p", span="00-a-b-01",
    )  # fmt: skip
    sent = delivery(dead=whole).message
    back = envelope.decode(envelope.encode(sent), sent.body, topic="orders", received=sent.time)
    assert back == sent
