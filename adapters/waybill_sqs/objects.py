"""What a topic and a group are made of on AWS, and how that differs from what is there. Pure.

topic t          an SNS topic; or, direct, nothing but its group's queue
group t/g        a queue with a redrive policy to its dead letters, and the subscription of it: raw, filtered, with the
                 dead letters for what SNS cannot deliver; and the queue of its dead letters, which keeps for 14 days
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, cast

import msgspec

from waybill.topology import Subscription, TopicSpec
from waybill_sqs.layout import Layout
from waybill_sqs.options import FORTNIGHT, options_of

__all__ = [
    "Different",
    "Part",
    "allowing",
    "dead_part",
    "differences",
    "filter_of",
    "group_part",
    "share",
    "topic_attributes",
]

SID = "waybill"
LESS_IS_DEAR = frozenset({"MessageRetentionPeriod"})
SHOWN_IF_THERE = frozenset({"RedrivePolicy", "Policy", "FilterPolicy", "RawMessageDelivery"})
"""Of the others, a server that does not show them has none: emulators know few."""


class Part(msgspec.Struct, frozen=True):
    """A queue that there should be. `made_with`: what only its making decides; `attributes`: what may be set later."""

    name: str
    made_with: Mapping[str, str]
    attributes: Mapping[str, str]


class Different(NamedTuple):
    attribute: str
    wanted: str
    there: str
    dear: bool
    """Whether changing it costs somebody something."""


def group_part(layout: Layout, subscription: Subscription, *, dead_arn: str) -> Part:
    spec, table = subscription.topic, layout.table
    attributes = {
        "MessageRetentionPeriod": str(table.retention),
        "RedrivePolicy": _json({"deadLetterTargetArn": dead_arn, "maxReceiveCount": table.receives}),
    }
    if layout.kind(spec).fifo and options_of(spec).throughput:
        attributes |= {"DeduplicationScope": "messageGroup", "FifoThroughputLimit": "perMessageGroupId"}
    return _part(layout, spec, layout.queue(spec, subscription.group), attributes)


def dead_part(layout: Layout, subscription: Subscription) -> Part:
    spec = subscription.topic
    kept = {"MessageRetentionPeriod": str(FORTNIGHT)}
    return _part(layout, spec, layout.dead(spec, subscription.group), kept)


def _part(layout: Layout, spec: TopicSpec, name: str, attributes: dict[str, str]) -> Part:
    if layout.table.kms_key is not None:
        attributes["KmsMasterKeyId"] = layout.table.kms_key
    return Part(name, {"FifoQueue": "true"} if layout.kind(spec).fifo else {}, attributes)


def topic_attributes(layout: Layout, spec: TopicSpec) -> dict[str, str]:
    """Of the SNS topic, when it is made."""
    attributes: dict[str, str] = {}
    if layout.kind(spec).fifo:
        attributes |= {"FifoTopic": "true", "ContentBasedDeduplication": "false"}
        if options_of(spec).throughput:
            attributes["FifoThroughputScope"] = "MessageGroup"
    if layout.table.kms_key is not None:
        attributes["KmsMasterKeyId"] = layout.table.kms_key
    return attributes


def share(subscription: Subscription, *, dead_arn: str) -> dict[str, str]:
    """Attributes of the subscription of a group's queue to its topic."""
    attributes = {"RawMessageDelivery": "true", "RedrivePolicy": _json({"deadLetterTargetArn": dead_arn})}
    if (wanted := filter_of(subscription)) is not None:
        attributes["FilterPolicy"] = wanted
    return attributes


def filter_of(subscription: Subscription) -> str | None:
    """What SNS leaves out; `None`: nothing, since not all headers asked for travel as attributes, or none is asked for."""
    names = options_of(subscription.topic).filter_headers
    if not subscription.where or not all(name in names for name, _ in subscription.where):
        return None
    return _json({name: list(values) for name, values in subscription.where})


def allowing(policy: str | None, queue_arn: str, topic_arn: str) -> str:
    """The queue's policy with leave for the topic to send to it, and whatever others have put there."""
    found: dict[str, Any] = _parsed(policy) or {"Version": "2012-10-17"}
    statements: list[dict[str, Any]] = found.get("Statement", [])
    others = [each for each in statements if each.get("Sid") != SID]
    ours = {
        "Sid": SID,
        "Effect": "Allow",
        "Principal": {"Service": "sns.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": queue_arn,
        "Condition": {"ArnEquals": {"aws:SourceArn": topic_arn}},
    }
    return _json({**found, "Statement": [*others, ours]})


def differences(wanted: Mapping[str, str], there: Mapping[str, str]) -> Iterator[Different]:
    for name, value in wanted.items():
        found = there.get(name)
        if found is None and name not in SHOWN_IF_THERE:
            continue
        if _same(name, value, found):
            continue
        dear = name in LESS_IS_DEAR and int(value) < int(found or 0)
        yield Different(name, value, found if found is not None else "none", dear or name == "FilterPolicy")


def _same(name: str, wanted: str, there: str | None) -> bool:
    if name in {"RedrivePolicy", "Policy", "FilterPolicy"}:
        return bool(_texts(_parsed(wanted)) == _texts(_parsed(there)))
    return wanted == there


def _parsed(text: str | None) -> Any:
    try:
        return json.loads(text) if text else None
    except ValueError:
        return text


def _texts(value: Any) -> Any:
    """Numbers as texts: AWS shows some of them so."""
    if isinstance(value, dict):
        return {name: _texts(each) for name, each in cast("dict[str, Any]", value).items()}
    if isinstance(value, list):
        return [_texts(each) for each in cast("Any", value)]
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), sort_keys=True)
