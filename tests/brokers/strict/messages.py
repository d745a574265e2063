"""What SQS refuses of one message.

Pages of the Amazon SQS API reference and developer guide: "SendMessage" (characters, delay, group and deduplication id), "Amazon SQS
message quotas" (size, ten attributes), "Amazon SQS message metadata" (names, types and values of attributes).
"""

from __future__ import annotations

import base64
import re
from itertools import chain

from tests.brokers.strict.places import Place
from tests.brokers.strict.refusing import Parameters, Refusal, bad_value, first, invalid, missing, out_of, unsuitable

NOT_XML = re.compile(r"[^\x09\x0a\x0d\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
NAME = re.compile(r"(?!aws\.|amazon\.|.*\.\.|\.)[A-Za-z0-9_.-]{1,256}(?<!\.)", re.IGNORECASE)
TYPE = re.compile(r"(String|Number|Binary)(\..+)?")
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
ID = re.compile(r"[A-Za-z0-9!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~]{1,128}")
ATTRIBUTES = 10
ALLOWED = "#x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | #x10000 to #x10FFFF"


def refuse(message: Parameters, place: Place) -> Refusal | None:
    """The first rule that a SendMessage, or an entry of a SendMessageBatch, breaks."""
    return first(
        None if message.get("MessageBody") else missing("MessageBody"),
        characters(message.get("MessageBody", "")),
        too_many(message.get("MessageAttributes") or {}),
        *(attribute(name, value) for name, value in (message.get("MessageAttributes") or {}).items()),
        too_long(message, place),
        delay(message, place),
        group(message, place),
        deduplication(message, place),
    )


def characters(text: str) -> Refusal | None:
    if not NOT_XML.search(text):
        return None
    return Refusal("InvalidMessageContents", f"Invalid characters found. Valid unicode characters are {ALLOWED}.")


def too_many(attributes: Parameters) -> Refusal | None:
    if len(attributes) <= ATTRIBUTES:
        return None
    return invalid(f"Number of message attributes [{len(attributes)}] exceeds the allowed maximum [{ATTRIBUTES}].")


def attribute(name: str, value: Parameters) -> Refusal | None:
    kind = value.get("DataType", "")
    content = value.get("BinaryValue" if kind.startswith("Binary") else "StringValue")
    if not NAME.fullmatch(name):
        return invalid(f"Message (user) attribute name '{name}' is invalid.")
    if not TYPE.fullmatch(kind) or len(kind) > 256:
        return invalid(f"The type of message (user) attribute '{name}' is invalid. You must use only the following "
                       "supported type prefixes: Binary, Number, String.")  # fmt: skip
    if not content:
        return invalid(f"Message (user) attribute '{name}' must contain a non-empty value of type '{kind}'.")
    if kind.startswith("Number") and not NUMBER.fullmatch(content):
        return invalid(f"Can't cast the value of message (user) attribute '{name}' to a number.")
    return characters(content)


def size(message: Parameters, body: str = "MessageBody") -> int:
    """In bytes: the body, and the name, type and value of each attribute."""
    attributes = message.get("MessageAttributes") or {}
    texts = chain.from_iterable(
        (name, value.get("DataType", ""), value.get("StringValue", "")) for name, value in attributes.items()
    )
    binaries = (base64.b64decode(value.get("BinaryValue", "")) for value in attributes.values())
    return (
        len(message.get(body, "").encode(errors="surrogatepass"))
        + sum(len(text.encode(errors="surrogatepass")) for text in texts)
        + sum(map(len, binaries))
    )


def too_long(message: Parameters, place: Place) -> Refusal | None:
    if size(message) <= place.largest:
        return None
    return invalid(f"One or more parameters are invalid. Reason: Message must be shorter than {place.largest} bytes.")


def delay(message: Parameters, place: Place) -> Refusal | None:
    seconds = message.get("DelaySeconds")
    if place.fifo and seconds:
        return unsuitable("DelaySeconds", seconds)
    return out_of("DelaySeconds", seconds, 0, 900)


def group(message: Parameters, place: Place) -> Refusal | None:
    if (given := message.get("MessageGroupId")) is None:
        return missing("MessageGroupId") if place.fifo else None
    return identifier("MessageGroupId", given)


def deduplication(message: Parameters, place: Place) -> Refusal | None:
    given = message.get("MessageDeduplicationId")
    if given is not None:
        return (
            identifier("MessageDeduplicationId", given) if place.fifo else unsuitable("MessageDeduplicationId", given)
        )
    if place.fifo and not place.content_based:
        return invalid("The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId "
                       "provided explicitly")  # fmt: skip
    return None


def identifier(parameter: str, value: str) -> Refusal | None:
    if ID.fullmatch(value):
        return None
    reason = f"{parameter} can only include alphanumeric and punctuation characters. 1 to 128 in length."
    return bad_value(parameter, value, reason)
