"""Looks at the queues, topics and subscriptions of AWS, makes those that are missing, and removes what goes with a process."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec

from waybill.addressing import fitted
from waybill.errors import BrokerError, DestinationMissing
from waybill.topology import Change, Subscription, TopicSpec
from waybill_sqs import objects
from waybill_sqs.client import Aws
from waybill_sqs.layout import Layout
from waybill_sqs.objects import Part

__all__ = ["LONGEST_TAG", "WHOSE", "Hand", "Seen"]

log = logging.getLogger("waybill.sqs")

UNKNOWN = "InvalidAttributeName"
WHOSE = "waybill"
"""A tag with the topic or group that it is."""
LONGEST_TAG = 256
POLICIES = {"Policy", "RedrivePolicy"}
"""What a queue of ours has from its beginning, or shortly after where the server knows less than AWS."""


class Seen(msgspec.Struct, frozen=True):
    """What there is of a group: attributes of its queues and its subscription. `None`: it is not there."""

    queue: Mapping[str, str] | None
    dead: Mapping[str, str] | None
    share: Mapping[str, str] | None
    share_arn: str = ""


class Hand:
    """Of one account and region."""

    def __init__(self, aws: Aws, layout: Layout) -> None:
        self._aws = aws
        self._layout = layout

    # ---------------------------------------------------------------- looking

    async def topic(self, spec: TopicSpec) -> bool:
        """Whether it is there. One that is direct is when its group's queue is."""
        name = self._layout.topic(spec)
        if self._layout.kind(spec).direct:
            return await self.attributes(name) is not None
        try:
            arn = await self._aws.topic_arn(name)
            await self._aws.sns("get_topic_attributes", f"cannot look at {name}", TopicArn=arn)
        except DestinationMissing:
            return False
        return True

    async def attributes(self, queue: str) -> Mapping[str, str] | None:
        """Of a queue that is there."""
        try:
            answer = await self._aws.sqs(
                "get_queue_attributes",
                f"cannot look at {queue}",
                QueueUrl=await self._aws.url(queue),
                AttributeNames=["All"],
            )
        except DestinationMissing:
            self._aws.forget(queue)
            return None
        found: Mapping[str, str] = answer["Attributes"]
        return found

    async def group(self, subscription: Subscription) -> Seen:
        where = subscription.topic, subscription.group
        queue, dead = await asyncio.gather(
            self.attributes(self._layout.queue(*where)), self.attributes(self._layout.dead(*where))
        )
        if self._layout.kind(subscription.topic).direct or queue is None:
            return Seen(queue, dead, None)
        arn = await self._share_arn(subscription.topic, queue["QueueArn"])
        if not arn:
            return Seen(queue, dead, None)
        answer = await self._aws.sns(
            "get_subscription_attributes", f"cannot look at {subscription.name}", SubscriptionArn=arn
        )
        return Seen(queue, dead, answer["Attributes"], arn)

    async def _share_arn(self, spec: TopicSpec, queue_arn: str) -> str:
        topic = await self._aws.topic_arn(self._layout.topic(spec))
        more: dict[str, str] = {}
        while True:
            try:
                answer = await self._aws.sns(
                    "list_subscriptions_by_topic", f"cannot see who shares {spec.name}", TopicArn=topic, **more
                )
            except DestinationMissing:
                return ""
            for each in answer.get("Subscriptions") or ():
                if each["Endpoint"] == queue_arn:
                    return str(each["SubscriptionArn"])
            if not (token := answer.get("NextToken")):
                return ""
            more = {"NextToken": token}

    async def changes(self, subscription: Subscription) -> list[Change]:
        """What making the group would change."""
        what, seen = f"group {subscription.name}", await self.group(subscription)
        direct = self._layout.kind(subscription.topic).direct
        owner = _owner(seen.queue or {})
        if direct and owner and owner != self._layout.dead(subscription.topic, subscription.group):
            other = f"the topic is direct, and its queue is the group's whose dead letters are {owner}"
            return [Change("differs", what, other)]
        if seen.queue is None or seen.dead is None or (seen.share is None and not direct):
            return [Change("create", what)]
        found = [d for _, ds in await self._different(subscription, seen) for d in ds]
        if any(d.attribute in POLICIES and d.there == "none" for d in found):  # another process makes it just now
            return [Change("create", what)]
        return [
            Change("differs" if d.dear else "alter", what, f"{d.attribute}: {d.wanted} is wanted, {d.there} is there")
            for d in found
        ]

    async def _different(
        self, subscription: Subscription, seen: Seen
    ) -> list[tuple[Part | None, list[objects.Different]]]:
        """By queue; `None` is the subscription."""
        assert seen.queue is not None  # noqa: S101 - its callers have looked
        assert seen.dead is not None  # noqa: S101
        dead_arn = seen.dead["QueueArn"]
        found: list[tuple[Part | None, list[objects.Different]]] = []
        for part, there in (
            (objects.group_part(self._layout, subscription, dead_arn=dead_arn), seen.queue),
            (objects.dead_part(self._layout, subscription), seen.dead),
        ):
            wanted = dict(part.attributes)
            if seen.share is not None:
                topic = await self._aws.topic_arn(self._layout.topic(subscription.topic))
                wanted["Policy"] = objects.allowing(there.get("Policy"), there["QueueArn"], topic)
            found.append((part, list(objects.differences(wanted, there))))
        if seen.share is not None and not subscription.by_contract:
            wanted = {"FilterPolicy": ""} | objects.share(subscription, dead_arn=dead_arn)
            there = {"FilterPolicy": ""} | dict(seen.share)
            found.append((None, list(objects.differences(wanted, there))))
        return found

    # ---------------------------------------------------------------- making

    async def make_topic(self, spec: TopicSpec) -> None:
        if self._layout.kind(spec).direct:
            return
        await self._aws.sns(
            "create_topic",
            f"cannot make the topic {spec.name}",
            Name=self._layout.topic(spec),
            Attributes=objects.topic_attributes(self._layout, spec),
            Tags=[{"Key": name, "Value": value} for name, value in self._tags(spec.name).items()],
        )

    async def make_group(self, subscription: Subscription, *, tags: Mapping[str, str] | None = None) -> None:
        """Dead letters first, the subscription last: whatever is published to it has a place to lie then.

        tags: of its queues, besides the usual ones.
        """
        tags = {**self._tags(subscription.name), **(tags or {})}
        dead = objects.dead_part(self._layout, subscription)
        dead_arn = await self._make(dead, tags, await self._policy(subscription, dead))
        part = objects.group_part(self._layout, subscription, dead_arn=dead_arn)
        queue_arn = await self._make(part, tags, await self._policy(subscription, part))
        dead_name = self._layout.dead(subscription.topic, subscription.group)
        with suppress(_Unknown):
            allow = {"redrivePermission": "byQueue", "sourceQueueArns": [queue_arn]}
            await self._set(dead_name, "RedriveAllowPolicy", msgspec.json.encode(allow).decode())
        if not self._layout.kind(subscription.topic).direct:
            await self._share(subscription, {part.name: queue_arn, dead_name: dead_arn}, queue_arn, dead_arn)

    async def _share(self, subscription: Subscription, arns: Mapping[str, str], queue_arn: str, dead_arn: str) -> None:
        topic = await self._aws.topic_arn(self._layout.topic(subscription.topic))
        for name, arn in arns.items():
            there = await self.attributes(name) or {}
            wanted = {"Policy": objects.allowing(there.get("Policy"), arn, topic)}
            for each in objects.differences(wanted, there):
                await self._set(name, each.attribute, each.wanted)
        await self._aws.sns(
            "subscribe",
            f"cannot let {subscription.name} share its topic",
            TopicArn=topic,
            Protocol="sqs",
            Endpoint=queue_arn,
            Attributes=objects.share(subscription, dead_arn=dead_arn),
            ReturnSubscriptionArn=True,
        )

    async def _policy(self, subscription: Subscription, part: Part) -> dict[str, str]:
        """What lets the topic send to the queue. It takes a minute until all of AWS knows of what is set later."""
        if self._layout.kind(subscription.topic).direct:
            return {}
        topic = await self._aws.topic_arn(self._layout.topic(subscription.topic))
        return {"Policy": objects.allowing(None, await self._aws.queue_arn(part.name), topic)}

    async def _make(self, part: Part, tags: Mapping[str, str], policy: Mapping[str, str]) -> str:
        """The queue's ARN. `policy`: what it is made with besides, where it is."""
        doing = f"cannot make the queue {part.name}"
        there = await self.attributes(part.name)
        if there is None:
            await self._create(part, {**part.attributes, **policy}, tags, doing)
            there = await self.attributes(part.name)
        if there is None:
            raise BrokerError(f"{doing}: it was made, and is not there yet; try again in a minute")
        for name, value in part.attributes.items():
            if there.get(name) != value:
                with suppress(_Unknown):
                    await self._set(part.name, name, value)
        return there["QueueArn"]

    async def _create(self, part: Part, wanted: Mapping[str, str], tags: Mapping[str, str], doing: str) -> None:
        """With all it shall have; where the server knows less than AWS does, with the least."""
        for attributes in ({**part.made_with, **wanted}, part.made_with):
            try:
                await self._aws.sqs(
                    "create_queue", doing, QueueName=part.name, Attributes=dict(attributes), tags=dict(tags)
                )
            except BrokerError as error:
                if "QueueNameExists" in str(error) or "QueueAlreadyExists" in str(error):
                    return  # another process has made it just now, and may have set more of it
                if UNKNOWN not in str(error) or attributes is part.made_with:
                    raise
            else:
                return

    async def _set(self, queue: str, name: str, value: str) -> None:
        try:
            await self._aws.sqs(
                "set_queue_attributes",
                f"cannot set {name} of {queue}",
                QueueUrl=await self._aws.url(queue),
                Attributes={name: value},
            )
        except BrokerError as error:
            if UNKNOWN in str(error):  # an emulator; AWS knows them all
                raise _Unknown(str(error)) from error
            raise

    async def alter(self, subscription: Subscription, *, allowed: bool) -> None:
        """Set what differs and costs nobody anything; what does only where it is `allowed`."""
        seen = await self.group(subscription)
        if seen.queue is None or seen.dead is None:
            return
        for part, different in await self._different(subscription, seen):
            for each in different:
                if each.dear and not allowed:
                    continue
                if part is not None:
                    await self._set(part.name, each.attribute, each.wanted)
                else:
                    await self._aws.sns(
                        "set_subscription_attributes",
                        f"cannot change how {subscription.name} shares its topic",
                        SubscriptionArn=seen.share_arn,
                        AttributeName=each.attribute,
                        AttributeValue=each.wanted or "{}",
                    )

    def _tags(self, whose: str) -> dict[str, str]:
        return {**self._layout.table.tags, WHOSE: fitted(whose, LONGEST_TAG)}

    # ---------------------------------------------------------------- removing

    async def remove(self, spec: TopicSpec, queues: Sequence[str]) -> None:
        """These queues, and their subscriptions to the topic. What is gone already is nobody's trouble."""
        for name in queues:
            there = await self.attributes(name)
            if there is None:
                continue
            if not self._layout.kind(spec).direct and (arn := await self._share_arn(spec, there["QueueArn"])):
                await self._aws.sns("unsubscribe", f"cannot end what {name} shares", SubscriptionArn=arn)
            with suppress(DestinationMissing):
                await self._aws.sqs("delete_queue", f"cannot remove {name}", QueueUrl=await self._aws.url(name))
            self._aws.forget(name)


class _Unknown(BrokerError):
    """The server knows no such attribute."""


def _owner(attributes: Mapping[str, Any]) -> str:
    """The queue of the dead letters of whose queue it is."""
    policy: dict[str, Any] = msgspec.json.decode(attributes.get("RedrivePolicy") or "{}")
    return str(policy.get("deadLetterTargetArn", "")).rpartition(":")[2]
