"""Each rule of the strict proxy by itself: what AWS takes passes, what it refuses does not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.brokers.strict import batches, messages, queues, topics
from tests.brokers.strict.places import MIB, TOPIC, Place
from tests.brokers.strict.refusing import Refusal

STANDARD = Place("sqs", "orders", MIB)
FIFO = Place("sqs", "orders.fifo", MIB)
TOPIC_PLACE = Place("sns", "orders", TOPIC)
FIFO_TOPIC = Place("sns", "orders.fifo", TOPIC)


def text(value: str = "v", kind: str = "String") -> dict[str, str]:
    return {"DataType": kind, "StringValue": value}


def code(refusal: Refusal | None) -> str:
    return refusal.code if refusal else ""


def sent(place: Place = STANDARD, **parameters: Any) -> Refusal | None:
    return messages.refuse({"MessageBody": "body", **parameters}, place)


def test_a_plain_message_passes() -> None:
    assert sent() is None
    assert sent(MessageAttributes={f"a{n}": text() for n in range(10)}, DelaySeconds=900) is None
    assert sent(MessageBody="tab\t line\n \r é 𝄞 \ud7ff \ue000 \ufffd") is None
    assert sent(MessageGroupId="tenant") is None  # fair queues
    assert sent(FIFO, MessageGroupId="g", MessageDeduplicationId="d", DelaySeconds=0) is None


@pytest.mark.parametrize("character", ["\x00", "\x08", "\x0b", "\x1f", "\ud800", "\ufffe", "\uffff"])
def test_characters_outside_of_xml_are_refused_in_bodies_and_attributes(character: str) -> None:
    assert code(sent(MessageBody=f"a{character}b")) == "InvalidMessageContents"
    assert code(sent(MessageAttributes={"a": text(f"a{character}b")})) == "InvalidMessageContents"
    assert code(topics.refuse({"Message": character}, TOPIC_PLACE)) == "InvalidParameter"


def test_an_empty_body_is_refused() -> None:
    assert code(sent(MessageBody="")) == "MissingParameter"
    assert code(topics.refuse({"Message": ""}, TOPIC_PLACE)) == "InvalidParameter"


def test_the_eleventh_attribute_is_refused_by_sqs_and_taken_by_sns() -> None:
    eleven = {f"a{n}": text() for n in range(11)}
    refusal = sent(MessageAttributes=eleven)
    assert refusal is not None
    assert refusal.text == "Number of message attributes [11] exceeds the allowed maximum [10]."
    assert topics.refuse({"Message": "m", "MessageAttributes": eleven}, TOPIC_PLACE) is None


@pytest.mark.parametrize("name", ["", "AWS.x", "amazon.x", ".a", "a.", "a..b", "a b", "ä", "a" * 257])
def test_names_of_attributes(name: str) -> None:
    assert code(sent(MessageAttributes={name: text()})) == "InvalidParameterValue"
    assert code(topics.refuse({"Message": "m", "MessageAttributes": {name: text()}}, TOPIC_PLACE)) == "InvalidParameter"


@pytest.mark.parametrize("name", ["a", "AWSome", "a.b-c_d", "9", "a" * 256])
def test_good_names_of_attributes(name: str) -> None:
    assert sent(MessageAttributes={name: text()}) is None


@pytest.mark.parametrize(
    "value",
    [
        text(""),
        text(kind="Text"),
        text("x", "Number"),
        {"DataType": "String"},
        {"DataType": "Binary", "BinaryValue": ""},
        {"StringValue": "v"},
    ],
)
def test_values_of_attributes(value: dict[str, str]) -> None:
    assert code(sent(MessageAttributes={"a": value})) == "InvalidParameterValue"


def test_good_values_of_attributes() -> None:
    values = [text(), text(kind="String.uuid"), text("-1.5e3", "Number"), {"DataType": "Binary", "BinaryValue": "AA=="}]
    assert [sent(MessageAttributes={"a": value}) for value in values] == [None] * 4


def test_an_empty_value_is_refused_by_sns() -> None:
    refusal = topics.refuse({"Message": "m", "MessageAttributes": {"a": text("")}}, TOPIC_PLACE)
    assert code(refusal) == "ParameterValueInvalid"


def test_the_size_counts_bytes_names_types_and_values() -> None:
    attributes = {"ab": text("é"), "b": {"DataType": "Binary", "BinaryValue": "AAAA"}}
    assert messages.size({"MessageBody": "é", "MessageAttributes": attributes}) == 2 + (2 + 6 + 2) + (1 + 6 + 3)


def test_a_message_of_a_mebibyte_passes_and_one_byte_more_does_not() -> None:
    assert sent(MessageBody="x" * MIB) is None
    refusal = sent(MessageBody="x" * (MIB - 7), MessageAttributes={"a": text()})
    assert refusal is not None
    assert refusal.text.endswith("Message must be shorter than 1048576 bytes.")
    assert code(topics.refuse({"Message": "x" * (TOPIC + 1)}, TOPIC_PLACE)) == "InvalidParameter"
    assert topics.refuse({"Message": "x" * TOPIC}, TOPIC_PLACE) is None


def test_delays() -> None:
    assert code(sent(DelaySeconds=901)) == code(sent(DelaySeconds=-1)) == "InvalidParameterValue"
    refusal = sent(FIFO, MessageGroupId="g", MessageDeduplicationId="d", DelaySeconds=1)
    assert refusal is not None
    assert "not valid for this queue type" in refusal.text


def test_fifo_asks_for_a_group_and_a_deduplication_id() -> None:
    assert code(sent(FIFO, MessageDeduplicationId="d")) == "MissingParameter"
    assert code(sent(FIFO, MessageGroupId="g")) == "InvalidParameterValue"
    assert sent(Place("sqs", "o.fifo", MIB, content_based=True), MessageGroupId="g") is None
    assert code(sent(MessageDeduplicationId="d")) == "InvalidParameterValue"
    assert code(sent(FIFO, MessageGroupId="a b", MessageDeduplicationId="d")) == "InvalidParameterValue"
    assert code(sent(FIFO, MessageGroupId="g", MessageDeduplicationId="d" * 129)) == "InvalidParameterValue"
    assert code(topics.refuse({"Message": "m", "MessageGroupId": "g"}, FIFO_TOPIC)) == "InvalidParameter"
    assert code(topics.refuse({"Message": "m", "MessageDeduplicationId": "d"}, FIFO_TOPIC)) == "InvalidParameter"
    assert topics.refuse({"Message": "m", "MessageGroupId": "g", "MessageDeduplicationId": "d"}, FIFO_TOPIC) is None


def batch(*ids: str, body: str = "b") -> list[dict[str, str]]:
    return [{"Id": one, "MessageBody": body, "Message": body} for one in ids]


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ([], "EmptyBatchRequest"),
        (batch(*map(str, range(11))), "TooManyEntriesInBatchRequest"),
        (batch("a", "b", "a"), "BatchEntryIdsNotDistinct"),
        (batch("a b"), "InvalidBatchEntryId"),
        (batch(""), "InvalidBatchEntryId"),
        (batch("a" * 81), "InvalidBatchEntryId"),
        (batch("a", "b", body="x" * (MIB // 2 + 1)), "BatchRequestTooLong"),
    ],
)
def test_batches(entries: list[dict[str, str]], expected: str) -> None:
    assert code(batches.refuse("sqs", "SendMessageBatch", entries, MIB)) == f"AWS.SimpleQueueService.{expected}"
    assert code(batches.refuse("sns", "PublishBatch", entries, TOPIC)) == expected


def test_good_batches() -> None:
    assert batches.refuse("sqs", "SendMessageBatch", batch("a", "b", body="x" * (MIB // 2)), MIB) is None
    assert batches.refuse("sns", "PublishBatch", batch(*"abcdefghij"), TOPIC) is None
    assert (
        code(batches.refuse("sns", "PublishBatch", batch("a", "b", body="x" * TOPIC), TOPIC)) == "BatchRequestTooLong"
    )


def made(name: str, **attributes: str) -> str:
    return code(queues.refuse_creation({"Attributes": attributes}, Place("sqs", name, MIB)))


def test_names_of_queues() -> None:
    assert made("a-b_C9") == made("o.fifo", FifoQueue="true") == made("a" * 80) == ""
    assert {made(name) for name in ("", "a.b", "a" * 81, "ä", "a b", "o.fifo")} == {"InvalidParameterValue"}
    assert made("o", FifoQueue="true") == made("a" * 76 + ".fifo", FifoQueue="true") == "InvalidParameterValue"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("VisibilityTimeout", "43201"),
        ("VisibilityTimeout", "x"),
        ("MessageRetentionPeriod", "59"),
        ("MessageRetentionPeriod", "1209601"),
        ("DelaySeconds", "901"),
        ("MaximumMessageSize", "1048577"),
        ("ReceiveMessageWaitTimeSeconds", "21"),
    ],
)
def test_attributes_of_queues(name: str, value: str) -> None:
    assert made("o", **{name: value}) == "InvalidAttributeValue"


def test_a_standard_queue_has_no_attributes_of_fifo() -> None:
    assert made("o", ContentBasedDeduplication="true") == "InvalidAttributeName"
    assert made("o.fifo", FifoQueue="true", ContentBasedDeduplication="true") == ""


@pytest.mark.parametrize(
    ("target", "times", "expected"),
    [
        ("arn:aws:sqs:r:1:dead", 1000, ""),
        ("arn:aws:sqs:r:1:dead", 1001, "InvalidParameterValue"),
        ("arn:aws:sqs:r:1:dead", 0, "InvalidParameterValue"),
        ("arn:aws:sqs:r:1:dead.fifo", 10, "InvalidParameterValue"),
    ],
)
def test_redrive_policies(target: str, times: int, expected: str) -> None:
    assert made("o", RedrivePolicy=json.dumps({"deadLetterTargetArn": target, "maxReceiveCount": times})) == expected


def test_receives() -> None:
    def asked(**parameters: int) -> str:
        return code(queues.refuse_receive(parameters, STANDARD))

    assert asked() == asked(MaxNumberOfMessages=10, WaitTimeSeconds=20, VisibilityTimeout=43200) == ""
    bad = (asked(MaxNumberOfMessages=11), asked(MaxNumberOfMessages=0), asked(WaitTimeSeconds=21))
    assert {*bad, asked(VisibilityTimeout=43201)} == {"InvalidParameterValue"}


def test_names_of_topics() -> None:
    def topic(name: str, **attributes: str) -> str:
        return code(topics.refuse_creation({"Attributes": attributes}, Place("sns", name, TOPIC)))

    assert topic("a-b_9") == topic("o.fifo", FifoTopic="true") == topic("a" * 256) == ""
    assert {topic("a.b"), topic("o.fifo"), topic("o", FifoTopic="true"), topic("a" * 257)} == {"InvalidParameter"}
