"""A call before it is passed on: refused, refused in part, or quietly not done."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tests.brokers.strict import batches, messages, queues, topics
from tests.brokers.strict.call import Call
from tests.brokers.strict.places import Place
from tests.brokers.strict.receipts import Ignored, Receipts
from tests.brokers.strict.refusing import Parameters, Refusal

WHOLE: Mapping[str, Callable[[Parameters, Place], Refusal | None]] = {
    "CreateQueue": queues.refuse_creation,
    "SetQueueAttributes": queues.refuse_attributes,
    "ReceiveMessage": queues.refuse_receive,
    "CreateTopic": topics.refuse_creation,
}
EACH: Mapping[str, Callable[[Parameters, Place, Receipts, float], Refusal | Ignored | None]] = {
    "SendMessage": lambda entry, place, _receipts, _now: messages.refuse(entry, place),
    "Publish": lambda entry, place, _receipts, _now: topics.refuse(entry, place),
    "DeleteMessage": lambda entry, place, receipts, now: receipts.refuse_delete(place, entry.get("ReceiptHandle"), now),
    "ChangeMessageVisibility": lambda entry, place, receipts, now: receipts.refuse_change(
        place, entry.get("ReceiptHandle"), entry.get("VisibilityTimeout"), now
    ),
}


@dataclass(frozen=True)
class Verdict:
    whole: Refusal | None = None
    failed: Mapping[str, Refusal] = field(default_factory=dict[str, Refusal])
    """Entries of a batch that are answered as failed, by their id."""
    ignored: frozenset[str] = frozenset()
    """Those that are answered as done, and not passed on; "" for a call that is no batch."""


def judge(call: Call, place: Place, receipts: Receipts, now: float) -> Verdict:
    """By what is known of the place and of the handles at this time."""
    if rule := WHOLE.get(call.action):
        return Verdict(rule(call.parameters, place))
    if (each := EACH.get(call.action.removesuffix("Batch"))) is None:
        return Verdict()
    if call.batch and (refusal := batches.refuse(call.service, call.action, call.entries, place.largest)):
        return Verdict(refusal)
    found = {entry["Id"] if call.batch else "": each(entry, place, receipts, now) for entry in call.entries}
    failed = {name: one for name, one in found.items() if isinstance(one, Refusal)}
    if not call.batch:
        return Verdict(failed.get(""), ignored=frozenset(name for name, one in found.items() if one == "ignored"))
    return Verdict(None, failed, frozenset(name for name, one in found.items() if one == "ignored"))
