"""SQS: messages as entries, and entries of whoever wrote them."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from waybill import Message
from waybill.envelope import UNREADABLE
from waybill.message import DeadLetterRecord
from waybill.topology import Subscription, TopicSpec
from waybill_sqs import records
from waybill_sqs.limits import MOST_BYTES

NOW = datetime(2026, 5, 1, tzinfo=UTC)
SUBSCRIPTION = Subscription(topic=TopicSpec("orders"), group="billing")


def written(message: Message, **options: Any) -> records.Entry:
    given: dict[str, Any] = {
        "fifo": False,
        "dead": False,
        "hop": "topic",
        "ident": "",
        "delays": True,
        "filters": (),
        "now": 0.0,
    }
    return records.entry(message, **(given | options))


def arrived(fields: dict[str, Any], **attributes: str) -> dict[str, Any]:
    """What SQS hands out of an entry."""
    return {
        "MessageId": "m-1",
        "ReceiptHandle": "r-1",
        "Body": fields["MessageBody"],
        "MessageAttributes": fields.get("MessageAttributes"),
        "Attributes": {"SentTimestamp": "1777593600000", **attributes},
    }


def message(**given: Any) -> Message:
    return Message(**({"id": "1", "body": b"{}", "type": "orders", "source": "shop", "time": NOW} | given))


@pytest.mark.parametrize(
    "body", [b"{}", b"", None, b"\x00", b"\xff\xfe", "\ufffe".encode(), "ключ\n🂡".encode(), b" ", b"\r\n\t", bytes(256)]
)
def test_a_message_is_read_as_it_was_written(body: bytes | None) -> None:
    sent = message(body=body, key="ключ", headers={"a": "ü\uffff", "b": "", "c": "\U0010ffff"}, attempts=2, redrives=1)
    entry = written(sent, now=NOW.timestamp())
    assert records.read(arrived(entry.fields), subscription=SUBSCRIPTION) == sent
    texts = [entry.fields["MessageBody"], *(a["StringValue"] for a in entry.fields["MessageAttributes"].values())]
    assert all(texts), "AWS takes no empty text"
    assert not [text for text in texts if re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]", text)]


def test_text_stays_text_and_only_what_is_none_is_base64() -> None:
    assert written(message(body='{"a":"ü"}'.encode())).fields["MessageBody"] == '{"a":"ü"}'
    assert written(message(body=b"\x00")).fields["MessageBody"] == "AA=="


def test_fifty_headers_are_one_attribute_and_a_declared_one_is_another() -> None:
    sent = message(headers={"region": "eu", "empty": "", **{f"h{n}": str(n) for n in range(50)}})
    attributes = written(sent, filters=("region", "empty", "absent")).fields["MessageAttributes"]
    assert sorted(attributes) == ["region", "waybill"]
    assert attributes["region"] == {"DataType": "String", "StringValue": "eu"}


def test_bytes_are_counted_as_aws_does() -> None:
    entry = written(message(body="ü".encode()))
    envelope = entry.fields["MessageAttributes"]["waybill"]["StringValue"]
    assert entry.size == 2 + len("waybill") + len("String") + len(envelope.encode())


def test_a_copy_that_was_retried_redriven_or_sent_elsewhere_is_another_one_to_fifo_and_the_same_one_is_not() -> None:
    first = message(key="k")
    copies = [first, message(key="k", attempts=1), message(key="k", redrives=1), message(key="k", id="2")]
    marks = [records.deduplication(each, "topic", "") for each in copies]
    marks.append(records.deduplication(first, "group billing", ""))
    assert len(set(marks)) == len(marks)
    assert records.deduplication(message(key="k"), "topic", "") == marks[0]
    assert all(re.fullmatch(r"[A-Za-z0-9]{1,128}", mark) for mark in marks)


@pytest.mark.parametrize("key", ["customer-1", "a b", "ключ", "x" * 500, "", "~a", "\n"])
def test_a_key_is_a_group_and_no_two_are_the_same(key: str) -> None:
    group = written(message(key=key), fifo=True).group
    assert group is not None
    assert re.fullmatch(r"[!-~]{1,128}", group)
    assert group != written(message(key=key + "!"), fifo=True).group


def test_each_dead_letter_is_a_group_of_its_own() -> None:
    assert written(message(key="k", id="a"), fifo=True, dead=True, hop="dead group").group == "a"


def test_a_delay_is_never_shortened_to_whole_seconds() -> None:
    now, sent = NOW.timestamp(), message(due=NOW + timedelta(seconds=1.2))
    entry = written(sent, now=now)
    assert entry.fields["DelaySeconds"] == 2
    assert records.read(arrived(entry.fields), subscription=SUBSCRIPTION, now=now).due is None, "SQS has waited"
    assert "DelaySeconds" not in written(sent, now=now + 2).fields


@pytest.mark.parametrize("wait", [0.001, 0.5, 0.8999, 0.9, 0.9001, 0.9996, 1.0, 1.0004])
def test_no_delay_is_lost_between_what_sqs_waits_and_what_is_waited_for_here(wait: float) -> None:
    now = NOW.timestamp()
    fields = written(message(due=datetime.fromtimestamp(now + wait, UTC)), now=now).fields
    found = records.read(arrived(fields), subscription=SUBSCRIPTION, now=now)
    here = 0.0 if found.due is None else found.due.timestamp() - now
    assert here + fields.get("DelaySeconds", 0) >= wait - 0.001


def test_a_part_of_a_second_is_waited_for_by_whoever_receives_it_first() -> None:
    now = NOW.timestamp()
    fields = written(message(due=NOW + timedelta(seconds=0.3)), now=now).fields
    assert "DelaySeconds" not in fields
    found = records.read(arrived(fields), subscription=SUBSCRIPTION, now=now + 7)
    assert found.due == NOW + timedelta(seconds=7.3)
    again = arrived(fields, ApproximateReceiveCount="2")
    assert records.read(again, subscription=SUBSCRIPTION, now=now + 7).due is None


def test_what_sqs_cannot_delay_itself_says_when_it_is_due() -> None:
    sent = message(due=NOW + timedelta(hours=1))
    fields = written(sent, now=NOW.timestamp()).fields
    assert fields["DelaySeconds"] == 900
    assert records.read(arrived(fields), subscription=SUBSCRIPTION).due == sent.due
    fifo = written(sent, now=NOW.timestamp(), fifo=True).fields
    assert "DelaySeconds" not in fifo
    assert records.read(arrived(fifo), subscription=SUBSCRIPTION).due == sent.due


def test_a_trace_is_told_to_aws_in_its_own_words() -> None:
    sent = message(traceparent=f"00-{'5759e988bd862e3fe1be46a994272793'}-53995c3f42cd8ad8-01")
    told = written(sent).fields["MessageSystemAttributes"]["AWSTraceHeader"]["StringValue"]
    assert told == "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
    assert "MessageSystemAttributes" not in written(message(traceparent="nonsense")).fields


@pytest.mark.parametrize(("sampled", "flags"), [(";Sampled=1", "01"), (";Sampled=0", "00"), ("", "00")])
def test_a_trace_that_aws_tells_goes_on(sampled: str, flags: str) -> None:
    told = f"Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8{sampled}"
    found = records.read(arrived({"MessageBody": "hello"}, AWSTraceHeader=told), subscription=SUBSCRIPTION)
    assert found.traceparent == f"00-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8-{flags}"
    for nothing in ("Root=1-5759e988-bd862e3fe1be46a994272793", "nonsense", ""):
        found = records.read(arrived({"MessageBody": "hello"}, AWSTraceHeader=nothing), subscription=SUBSCRIPTION)
        assert found.traceparent is None


def test_what_others_send_is_a_message_with_what_it_has() -> None:
    fields = {
        "MessageBody": "hello",
        "MessageAttributes": {"a": {"DataType": "Number", "StringValue": "7"}, "b": {"BinaryValue": b"\xff"}},
    }
    found = records.read(arrived(fields, MessageGroupId="k"), subscription=SUBSCRIPTION)
    assert (found.id, found.body, found.key, found.time) == ("m-1", b"hello", "k", NOW)
    assert dict(found.headers) == {"a": "7", "b": "\\xff"}


@pytest.mark.parametrize(
    "text",
    ["", "no JSON", "[]", "7", '{"headers": 7}', '{"headers": {"a": 1}}', '{"encoding": "later"}', '{"waybill": "{}"}',
     '{"encoding": "base64"}', "[" * 100_000],
)  # fmt: skip
def test_an_envelope_that_nobody_can_read_makes_a_stand_in_with_the_bytes(text: str) -> None:
    fields = {"MessageBody": "not=base64!", "MessageAttributes": {"waybill": {"StringValue": text}}}
    found = records.read(arrived(fields), subscription=SUBSCRIPTION)
    assert (found.content_type, found.body) == (UNREADABLE, b"not=base64!")


def test_half_a_character_is_a_body_as_well() -> None:
    assert records.read(arrived({"MessageBody": "\ud800"}), subscription=SUBSCRIPTION).body == b"\xed\xa0\x80"


def test_what_the_broker_gave_up_says_so() -> None:
    source = "arn:aws:sqs:eu-central-1:123456789012:orders-billing"
    native = arrived(written(message()).fields, ApproximateReceiveCount="1001", DeadLetterQueueSourceArn=source)
    found = records.read(native, subscription=SUBSCRIPTION, dead=True)
    assert found.dead is not None
    assert (found.dead.reason, found.dead.group, found.dead.disposition) == ("delivery_limit", "billing", "poison")
    later = arrived(written(message()).fields, ApproximateReceiveCount="1002", DeadLetterQueueSourceArn=source)
    assert found.dead.place == source
    assert found.dead == records.read(later, subscription=SUBSCRIPTION, dead=True).dead, "the same at every look"


def test_what_sns_has_wrapped_is_the_message_within() -> None:
    """A subscription without raw delivery, which is what SNS makes of one by default."""
    body = '{"number": 1, "text": "quoted \\"…\\""}'
    notification = {
        "Type": "Notification",
        "MessageId": "sns-1",
        "TopicArn": "arn:aws:sns:eu-central-1:123456789012:orders",
        "Message": body,
        "Timestamp": "2026-05-01T00:00:00.000Z",
        "SignatureVersion": "1",
        "MessageAttributes": {"customer": {"Type": "String", "Value": "c"}},
    }
    native = arrived({"MessageBody": json.dumps(notification)})
    found = records.read(native, subscription=SUBSCRIPTION, dead=True)
    assert (found.id, found.body, dict(found.headers)) == ("sns-1", body.encode(), {"customer": "c"})
    own = written(message(id="7", key="k", headers={"a": "b"})).fields
    notification["Message"] = own["MessageBody"]
    attributes = own["MessageAttributes"]["waybill"]
    notification["MessageAttributes"] = {"waybill": {"Type": "String", "Value": attributes["StringValue"]}}
    found = records.read(arrived({"MessageBody": json.dumps(notification)}), subscription=SUBSCRIPTION, dead=True)
    assert (found.id, found.key, found.body, dict(found.headers)) == ("7", "k", b"{}", {"a": "b"})


@pytest.mark.parametrize(
    "body",
    [
        '{"Type": "Notification"}',
        '{"Type": "Notification", "TopicArn": 1, "Message": "x"}',
        '{"kind": "Notification"',
        "{}",
    ],
)
def test_what_only_looks_like_it_is_left_alone(body: str) -> None:
    found = records.read(arrived({"MessageBody": body}), subscription=SUBSCRIPTION)
    assert (found.id, found.body) == ("m-1", body.encode())


def test_what_sns_could_not_deliver_says_so() -> None:
    native = arrived(written(message()).fields)
    native["MessageAttributes"] |= {
        "ERROR_CODE": {"DataType": "String", "StringValue": "AccessDenied"},
        "ERROR_MESSAGE": {"DataType": "String", "StringValue": "not allowed"},
    }
    found = records.read(native, subscription=SUBSCRIPTION, dead=True)
    assert found.dead is not None
    assert "SNS could not deliver it: AccessDenied not allowed" in found.dead.detail


@pytest.mark.parametrize(("count", "times"), [("3", 3), ("0", 1), ("-1", 1), ("abc", 1), (None, 1)])
def test_how_often_it_was_handed_out_is_never_nonsense(count: str | None, times: int) -> None:
    native = {} if count is None else {"Attributes": {"ApproximateReceiveCount": count}}
    assert records.received_times(native) == times


def test_a_dead_letter_is_made_to_fit() -> None:
    record = DeadLetterRecord(
        reason="rejected", topic="orders", group="billing", attempts=1, at=NOW, stack="s" * 8000, detail="d" * 1000
    )
    letter = message(body=b"x" * (MOST_BYTES - 2000), headers={"h": "v" * 4000}, dead=record)
    sizes = [written(each).size for each in (letter, *records.shortened(letter))]
    assert sizes[0] > MOST_BYTES >= sizes[-1]
    assert not list(records.shortened(message()))


def test_a_dead_letter_that_sqs_itself_has_moved_is_one_that_was_redriven() -> None:
    record = DeadLetterRecord(reason="failed", detail="no", topic="orders", group="billing", attempts=5, at=NOW)
    fields = written(message(attempts=5, dead=record, first_failure=NOW), dead=True, hop="dead").fields
    letter = records.read(arrived(fields), subscription=SUBSCRIPTION, dead=True)
    moved = records.read(arrived(fields), subscription=SUBSCRIPTION)
    assert letter.dead == record
    assert (moved.id, moved.attempts, moved.redrives, moved.dead, moved.first_failure) == ("1", 0, 1, None, None)
