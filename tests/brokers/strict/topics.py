"""What SNS refuses of a topic and of one message.

Pages "Publish", "PublishBatch" and "CreateTopic" of the Amazon SNS API reference, and "Amazon SNS message attributes" of the developer
guide. That page also says what becomes of a message with more than ten attributes and a subscription with raw delivery
(raw.py). Characters that SQS would refuse are refused here as well: such a message reaches no queue.
"""

from __future__ import annotations

import re

from tests.brokers.strict.messages import ID, NAME, NOT_XML, TYPE, size
from tests.brokers.strict.places import Place
from tests.brokers.strict.refusing import Parameters, Refusal, first

TOPIC_NAME = re.compile(r"[A-Za-z0-9_-]{1,251}(\.fifo|[A-Za-z0-9_-]{0,5})")


def invalid(text: str) -> Refusal:
    return Refusal("InvalidParameter", f"Invalid parameter: {text}")


def refuse_creation(call: Parameters, place: Place) -> Refusal | None:
    fifo = (call.get("Attributes") or {}).get("FifoTopic") == "true"
    if not TOPIC_NAME.fullmatch(place.name) or fifo != place.fifo:
        return invalid("Topic Name")
    return None


def refuse(message: Parameters, place: Place) -> Refusal | None:
    """The first rule that a Publish, or an entry of a PublishBatch, breaks."""
    text = message.get("Message", "")
    return first(
        None if text else invalid("Empty message"),
        invalid("Message contains invalid characters") if NOT_XML.search(text) else None,
        *(attribute(name, value) for name, value in (message.get("MessageAttributes") or {}).items()),
        invalid("Message too long") if size(message, "Message") > place.largest else None,
        group(message, place),
        deduplication(message, place),
    )


def attribute(name: str, value: Parameters) -> Refusal | None:
    kind = value.get("DataType", "")
    if not NAME.fullmatch(name):
        return invalid(f"Message attribute name '{name}' is invalid")
    if not TYPE.fullmatch(kind):
        return Refusal(
            "ParameterValueInvalid", f"The message attribute '{name}' has an invalid message attribute type."
        )
    if not value.get("BinaryValue" if kind.startswith("Binary") else "StringValue"):
        text = (
            f"The message attribute '{name}' must contain non-empty message attribute value for message attribute type"
        )
        return Refusal("ParameterValueInvalid", f"{text} '{kind}'.")
    return None


def group(message: Parameters, place: Place) -> Refusal | None:
    if (given := message.get("MessageGroupId")) is None:
        return invalid("The MessageGroupId parameter is required for FIFO topics") if place.fifo else None
    return None if ID.fullmatch(given) else invalid("MessageGroupId")


def deduplication(message: Parameters, place: Place) -> Refusal | None:
    given = message.get("MessageDeduplicationId")
    if given is not None and not place.fifo:
        return invalid("The request includes MessageDeduplicationId parameter that is not valid for this topic type")
    if given is None and place.fifo and not place.content_based:
        return invalid("The topic should either have ContentBasedDeduplication enabled or MessageDeduplicationId "
                       "provided explicitly")  # fmt: skip
    return None if given is None or ID.fullmatch(given) else invalid("MessageDeduplicationId")
