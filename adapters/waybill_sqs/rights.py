"""The least that a role must be allowed for what an application does, as IAM policies, and what is missing of it.

AWS tells nobody what he may do. So `missing` looks at what each role looks at, and deletes with a receipt that is none:
whoever may is told that it is none, and nothing is sent, taken or changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from waybill.errors import BrokerError, DestinationMissing
from waybill.findings import Finding
from waybill.foreign import NotPermitted
from waybill.topology import Subscription, TopicSpec, Topology
from waybill_sqs import names
from waybill_sqs.client import Aws
from waybill_sqs.layout import Layout

__all__ = ["Rights", "consuming", "making", "missing", "operating", "policy", "publishing"]

FIND = frozenset({"sqs:GetQueueUrl", "sqs:GetQueueAttributes"})
SEND = FIND | {"sqs:SendMessage"}
TAKE = FIND | {"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility"}
PUBLISH = frozenset({"sns:Publish", "sns:GetTopicAttributes", "sns:ListSubscriptionsByTopic"})
MAKE_QUEUE = FIND | {"sqs:CreateQueue", "sqs:SetQueueAttributes", "sqs:TagQueue"}
MAKE_TOPIC = frozenset(
    {
        "sns:CreateTopic",
        "sns:GetSubscriptionAttributes",
        "sns:GetTopicAttributes",
        "sns:ListSubscriptionsByTopic",
        "sns:SetSubscriptionAttributes",
        "sns:Subscribe",
        "sns:TagResource",
    }
)
MOVE = frozenset({"sqs:StartMessageMoveTask", "sqs:ListMessageMoveTasks", "sqs:CancelMessageMoveTask"})
ANYWHERE = frozenset(
    {"sns:GetSubscriptionAttributes", "sns:SetSubscriptionAttributes", "sns:Unsubscribe", "sqs:ListQueues"}
)
"""What AWS lets be allowed of everything alone. Source: its Service Authorization Reference."""
PASSING = frozenset({"sqs:DeleteQueue", "sqs:ListQueues", "sqs:ListQueueTags", "sns:Unsubscribe"})
"""What a group that goes with its process takes as well."""

Rights = Mapping[str, frozenset[str]]
"""Actions, by the resource's name behind `arn:aws:sqs:REGION:ACCOUNT:` or `arn:aws:sns:…`, as `sqs:name` or `sns:name`."""


def publishing(layout: Layout, topic: TopicSpec) -> Rights:
    """Of who publishes to it."""
    name = layout.topic(topic)
    return {f"sqs:{name}": SEND} if layout.kind(topic).direct else {f"sns:{name}": PUBLISH}


def consuming(layout: Layout, subscription: Subscription) -> Rights:
    """Of who handles its messages: to send to the queue is for retries that wait for longer than SQS can hide."""
    where = subscription.topic, subscription.group
    own = {f"sqs:{layout.queue(*where)}": TAKE | SEND, f"sqs:{layout.dead(*where)}": SEND}
    if not subscription.ephemeral:
        return own
    queues, topics = _names(layout, subscription.topic)
    return {queues: TAKE | SEND | MAKE_QUEUE | PASSING, topics: MAKE_TOPIC | PASSING}


def operating(layout: Layout, subscription: Subscription) -> Rights:
    """Of who looks at its dead letters, has them handled again or discards them, and sees what waits before it."""
    where = subscription.topic, subscription.group
    return {f"sqs:{layout.dead(*where)}": TAKE | MOVE, f"sqs:{layout.queue(*where)}": SEND}


def making(layout: Layout, topics: Iterable[TopicSpec]) -> Rights:
    """Of who makes these topics and their groups."""
    needed: dict[str, frozenset[str]] = {}
    for topic in topics:
        queues, shared = _names(layout, topic)
        needed[queues] = MAKE_QUEUE
        if layout.published_to(topic):
            needed[shared] = MAKE_TOPIC
    return needed


def _names(layout: Layout, topic: TopicSpec) -> tuple[str, str]:
    """What all queues of the topic's groups begin with, and what it is called itself."""
    prefix = layout.table.prefix
    return f"sqs:{names.stem_of(topic, prefix=prefix)}*", f"sns:{names.topic(topic, fifo=False, prefix=prefix)}*"


def policy(rights: Rights, *, region: str, account: str) -> dict[str, Any]:
    """The IAM policy that allows this."""
    statements: list[dict[str, Any]] = []
    anywhere: set[str] = set()
    for resource, actions in sorted(rights.items()):
        service, _, name = resource.partition(":")
        ours = {action for action in actions if action.startswith(service)}
        anywhere |= ours & ANYWHERE
        if allowed := sorted(ours - ANYWHERE):
            where = f"arn:aws:{service}:{region}:{account}:{name}"
            statements.append({"Effect": "Allow", "Action": allowed, "Resource": where})
    if anywhere:
        statements.append({"Effect": "Allow", "Action": sorted(anywhere), "Resource": "*"})
    return {"Version": "2012-10-17", "Statement": statements}


# ---------------------------------------------------------------- asking


async def missing(aws: Aws, layout: Layout, topology: Topology) -> Sequence[Finding]:
    """What we may not do of publishing to these topics and consuming these groups."""
    found = [
        await _finding(aws, f"publish to {topic.name}", publishing(layout, topic))
        for topic in topology.topics
        if not topic.pattern
    ]
    groups = [await _finding(aws, f"consume {one.name}", consuming(layout, one)) for one in topology.subscriptions]
    return [*found, *groups]


async def _finding(aws: Aws, what: str, needed: Rights) -> Finding:
    for resource, actions in needed.items():
        try:
            await _try(aws, resource, actions)
        except DestinationMissing:
            continue  # what is not there is nobody's trouble here
        except NotPermitted as error:
            wanted = policy(needed, region=aws.region, account="ACCOUNT")["Statement"]
            return Finding(what, "", str(error), f"allow {msgspec.json.encode(wanted).decode()}")
        except BrokerError as error:
            return Finding(what, "", str(error))
    return Finding(what, "allowed, as far as can be seen")


async def _try(aws: Aws, resource: str, actions: frozenset[str]) -> None:
    service, _, name = resource.partition(":")
    if name.endswith("*"):
        return
    if service == "sns":
        await aws.sns("get_topic_attributes", f"cannot look at {name}", TopicArn=await aws.topic_arn(name))
        return
    url = await aws.url(name)
    await aws.sqs("get_queue_attributes", f"cannot look at {name}", QueueUrl=url, AttributeNames=["QueueArn"])
    if "sqs:DeleteMessage" in actions:
        entries = [{"Id": "0", "ReceiptHandle": "none"}]
        await aws.sqs("delete_message_batch", f"cannot delete from {name}", QueueUrl=url, Entries=entries)
