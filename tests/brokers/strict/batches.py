"""What SQS and SNS refuse of a batch as a whole, whatever its entries are.

Pages "SendMessageBatch", "DeleteMessageBatch" and "ChangeMessageVisibilityBatch" of the Amazon SQS API reference, and "PublishBatch" of
Amazon SNS's.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from tests.brokers.strict.messages import size
from tests.brokers.strict.places import MIB, TOPIC, Service
from tests.brokers.strict.refusing import Parameters, Refusal, first

ENTRIES = 10
ID = re.compile(r"[A-Za-z0-9_-]{1,80}")
AT_SNS = {
    "EmptyBatchRequest": "The batch request doesn't contain any entries.",
    "TooManyEntriesInBatchRequest": "The batch request contains more entries than permissible.",
    "InvalidBatchEntryId": "The Id of a batch entry in a batch request doesn't abide by the specification.",
    "BatchEntryIdsNotDistinct": "Two or more batch entries in the request have the same Id.",
    "BatchRequestTooLong": "The length of all the batch messages put together is more than the limit.",
}


def refuse(service: Service, action: str, entries: Sequence[Parameters], largest: int) -> Refusal | None:
    """The first rule that the batch breaks, in the words of the service. largest: of one message there, in bytes."""
    found = first(
        empty(action, entries),
        too_many(entries),
        ids(entries),
        too_long(entries, "MessageBody", MIB)
        if service == "sqs"
        else too_long(entries, "Message", max(TOPIC, largest)),
    )
    if found is None or service == "sqs":
        return found and replace(found, code=f"AWS.SimpleQueueService.{found.code}")
    return replace(found, text=AT_SNS[found.code])


def empty(action: str, entries: Sequence[Parameters]) -> Refusal | None:
    if entries:
        return None
    return Refusal("EmptyBatchRequest", f"There should be at least one {action}RequestEntry in the request.")


def too_many(entries: Sequence[Parameters]) -> Refusal | None:
    if len(entries) <= ENTRIES:
        return None
    text = f"Maximum number of entries per request are {ENTRIES}. You have sent {len(entries)}."
    return Refusal("TooManyEntriesInBatchRequest", text)


def ids(entries: Sequence[Parameters]) -> Refusal | None:
    if not all(ID.fullmatch(entry.get("Id", "")) for entry in entries):
        text = "A batch entry id can only contain alphanumeric characters, hyphens and underscores."
        return Refusal("InvalidBatchEntryId", f"{text} It can be at most 80 letters long.")
    twice = [name for name, times in Counter(entry["Id"] for entry in entries).items() if times > 1]
    return Refusal("BatchEntryIdsNotDistinct", f"Id {twice[0]} repeated.") if twice else None


def too_long(entries: Sequence[Parameters], body: str, most: int) -> Refusal | None:
    if (sent := sum(size(entry, body) for entry in entries)) <= most:
        return None
    text = f"Batch requests cannot be longer than {most} bytes. You have sent {sent} bytes."
    return Refusal("BatchRequestTooLong", text)
