"""What SQS refuses of a queue's name and attributes, and of a ReceiveMessage.

Pages "CreateQueue", "SetQueueAttributes" and "ReceiveMessage" of the Amazon SQS API reference, and "Amazon SQS standard queue quotas" of
the developer guide.
"""

from __future__ import annotations

import json
import re
from typing import Any

from tests.brokers.strict.places import MIB, Place
from tests.brokers.strict.refusing import Parameters, Refusal, bad_value, first, invalid, out_of

NAME = re.compile(r"(?=.{1,80}$)[A-Za-z0-9_-]+(\.fifo)?")
RANGES = {
    "DelaySeconds": (0, 900),
    "MaximumMessageSize": (1024, MIB),
    "MessageRetentionPeriod": (60, 14 * 86400),
    "ReceiveMessageWaitTimeSeconds": (0, 20),
    "VisibilityTimeout": (0, 12 * 3600),
    "KmsDataKeyReusePeriodSeconds": (60, 86400),
}
FIFO_ONLY = ("FifoQueue", "ContentBasedDeduplication", "DeduplicationScope", "FifoThroughputLimit")


def refuse_creation(call: Parameters, place: Place) -> Refusal | None:
    attributes = call.get("Attributes") or {}
    if not NAME.fullmatch(place.name):
        return invalid("Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length")
    if place.fifo and attributes.get("FifoQueue") != "true":
        return invalid("The name of a FIFO queue can only end with .fifo, and needs the attribute FifoQueue.")
    if attributes.get("FifoQueue") == "true" and not place.fifo:
        return invalid("The name of a FIFO queue can only include alphanumeric characters, hyphens, or underscores, "
                       "must end with .fifo suffix and be 1 to 80 in length.")  # fmt: skip
    return refuse_attributes(call, place)


def refuse_attributes(call: Parameters, place: Place) -> Refusal | None:
    attributes = call.get("Attributes") or {}
    for name, (low, high) in RANGES.items():
        if name in attributes and not (str(attributes[name]).isdigit() and low <= int(attributes[name]) <= high):
            return Refusal("InvalidAttributeValue", f"Invalid value for the parameter {name}.")
    for name in FIFO_ONLY:
        if name in attributes and not place.fifo:
            return Refusal("InvalidAttributeName", f"Unknown Attribute {name}.")
    return redrive(attributes.get("RedrivePolicy"), place)


def redrive(policy: str | None, place: Place) -> Refusal | None:
    """ "RedrivePolicy" of SetQueueAttributes: a limit of 1 to 1,000, and a dead-letter queue of the same type."""
    if not policy:
        return None
    try:
        given: dict[str, Any] = json.loads(policy)
        target, times = str(given["deadLetterTargetArn"]), int(given["maxReceiveCount"])
    except (ValueError, KeyError, TypeError):
        return bad_value("RedrivePolicy", policy, "Redrive policy does not contain mandatory attributes.")
    if not 1 <= times <= 1000:
        return bad_value("RedrivePolicy", policy, "Invalid value for maxReceiveCount: must be between 1 and 1000.")
    if target.endswith(".fifo") != place.fifo:
        return bad_value("RedrivePolicy", policy, "Dead-letter queue must be same type of queue as the source.")
    return None


def refuse_receive(call: Parameters, place: Place) -> Refusal | None:
    del place
    many = call.get("MaxNumberOfMessages", 1)
    return first(
        None if 1 <= many <= 10 else bad_value("MaxNumberOfMessages", many, "Must be between 1 and 10, if provided."),
        out_of("WaitTimeSeconds", call.get("WaitTimeSeconds"), 0, 20),
        out_of("VisibilityTimeout", call.get("VisibilityTimeout"), 0, 12 * 3600),
    )
