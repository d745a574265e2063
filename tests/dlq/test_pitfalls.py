"""What has gone wrong with dead letters elsewhere, and must not here. Each with where it was seen, or why it happens.

Others are where their code is tested: `test_records` (secrets in stack traces), `test_index` (what comes back, what is gone),
`test_redrive_…` (loops, order, schemas, fan-out).
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from pamqp import commands as spec
from pamqp.header import ContentHeader

from tests.dlq.letters import NOW, put
from waybill import Message
from waybill.dlq.index import Index
from waybill.dlq.model import Key, Query, State
from waybill.dlq.policy import Policy
from waybill.topology import Subscription, TopicSpec
from waybill_kafka.layout import FOR_EVER
from waybill_rabbitmq import headers
from waybill_sqs import objects, records
from waybill_sqs.layout import Layout
from waybill_sqs.options import BrokerTable

BILLING = Subscription(topic=TopicSpec("orders"), group="billing")
DIED = datetime(2026, 11, 19, tzinfo=UTC)


def from_rabbitmq(body: bytes, *, count: int, at: datetime = NOW) -> Message:
    """What another program published without any header of ours, and RabbitMQ dead-lettered."""
    death = {"reason": "delivery_limit", "queue": "orders/billing", "count": count, "time": DIED, "exchange": "orders"}
    last = {"x-last-death-reason": "delivery_limit", "x-last-death-queue": "orders/billing"}
    properties = spec.Basic.Properties(headers={"x-death": [death], "x-delivery-count": count, **last})
    raw = ContentHeader(properties=properties).marshal()[12:]
    return headers.read(raw, body, subscription=BILLING, received=at, dead=True)[0]


def from_sqs(body: str, **attributes: str) -> Message:
    """The same on SQS."""
    stamp = str(int(DIED.timestamp() * 1000))
    native: dict[str, Any] = {
        "MessageId": "sqs-1",
        "Body": body,
        "Attributes": {"SentTimestamp": stamp, "ApproximateReceiveCount": "9", **attributes},
    }
    return records.read(native, subscription=BILLING, dead=True, source="orders-billing")


def test_what_brokers_made_is_in_the_index_in_one_form(index: Index) -> None:
    made = [
        from_rabbitmq(b"one", count=20),
        from_sqs("two", DeadLetterQueueSourceArn="arn:aws:sqs:eu:1:orders-billing"),
    ]
    put(index, made)
    put(index, [from_rabbitmq(b"one", count=21, at=NOW + timedelta(hours=1)), from_sqs("two")])
    letters = index.page(Query(reason="delivery_limit")).letters
    assert len(letters) == 2, "however often they are looked at"
    assert {letter.record.disposition for letter in letters} == {"poison"}
    assert {letter.record.at for letter in letters} == {DIED}
    assert {letter.record.place for letter in letters} == {"orders:orders/billing", "arn:aws:sqs:eu:1:orders-billing"}
    assert all(letter.fingerprint and letter.record.id for letter in letters)


def test_the_brokers_own_count_is_no_count_of_attempts() -> None:
    """x-death's has not grown since RabbitMQ 3.13 for what a client publishes again (rabbitmq-server#11331)."""
    found = from_rabbitmq(b"{}", count=20)
    assert found.dead is not None
    assert (found.dead.attempts, found.attempts, found.redrives) == (0, 0, 0)
    sqs = from_sqs("{}")
    assert sqs.dead is not None
    assert sqs.dead.attempts == 0


def test_a_body_that_sns_has_wrapped_is_searched_and_kept_as_it_was_published(index: Index) -> None:
    body = '{"order": "A-17"}'
    wrapped = {
        "Type": "Notification", "MessageId": "sns-1", "TopicArn": "arn:aws:sns:eu:1:orders", "Message": body,
        "Timestamp": "2026-11-19T00:00:00Z", "SignatureVersion": "1",
    }  # fmt: skip
    put(index, [from_sqs(json.dumps(wrapped))])
    kept = index.message(Key("orders", "billing", "sns-1"))
    assert kept is not None
    assert kept.body == body.encode()
    assert len(index.page(Query(text="a-17")).letters) == 1


def test_the_first_dead_letter_is_seen_by_who_watches_a_figure(index: Index) -> None:
    """A counter that is born as a one has never grown, and `increase()` says 0. So there is a zero before it."""
    index.look("orders", "billing", now=NOW).end(complete=True, now=NOW)
    before = index.tally()["orders", "billing"][State.UNRESOLVED]
    put(index, [from_sqs("{}")])
    assert (before, index.tally()["orders", "billing"][State.UNRESOLVED]) == (0, 1)


def test_brokers_keep_dead_letters_longer_than_they_may_wait() -> None:
    """SQS counts a standard queue's retention from the first queue on, so a shorter one would take them unseen."""
    layout = Layout(BrokerTable(retention=3600))
    kept = timedelta(seconds=int(objects.dead_part(layout, BILLING).attributes["MessageRetentionPeriod"]))
    assert kept == timedelta(days=14)
    assert Policy().of("orders", "billing").service_level < kept
    assert FOR_EVER["retention.ms"] == "-1", "Kafka"


def test_what_a_broker_has_dropped_all_the_same_is_not_lost(index: Index) -> None:
    made = from_sqs("the body")
    put(index, [made])
    index.look("orders", "billing", now=NOW + timedelta(days=14)).end(complete=True, now=NOW)
    (letter,) = index.page(Query(states=frozenset({State.ARCHIVED}))).letters
    assert index.message(letter.key) == made, "it can be written among the dead letters again"
