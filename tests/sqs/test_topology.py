"""What is made on AWS, what is seen to differ from that, and what is mended of it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from uuid import uuid4

import aioboto3
import pytest

from tests.brokers.running import Running
from waybill import App, Settings, Topic
from waybill.errors import TopologyMismatch
from waybill.topology import Plan, Topology
from waybill_sqs import SQS

FORTNIGHT = str(14 * 86_400)
THEIRS = {
    "Version": "2012-10-17",
    "Statement": [{"Sid": "theirs", "Effect": "Deny", "Principal": "*", "Action": "sqs:SendMessage", "Resource": "*"}],
}


class Account:
    """What an operator sees and does, and one topic with a group that wants only some of it."""

    def __init__(self, url: str, sqs: Any, sns: Any, *, fifo: bool) -> None:
        self.sqs, self.sns, self.fifo = sqs, sns, fifo
        self.end = ".fifo" if fifo else ""
        name = f"w{uuid4().hex[:10]}"
        self.topic = Topic(name, str, key=str, groups=["group"]).on(SQS(fifo=fifo, filter_headers=("region",)))
        self.url = url
        self.queue, self.dead = f"{name}_to_group{self.end}", f"{name}_to_group_dead{self.end}"
        self.arn = f"arn:aws:sns:us-east-1:123456789012:{name}{self.end}"
        self.group = f"group {name}/group"

    def app(self, *, topology: Any = "create", **table: Any) -> App:
        broker = {"sqs": {"endpoint": self.url, "wait": 1, **table}}
        app = App("group", settings=Settings(url="sqs://us-east-1", broker=broker, topology=topology))

        @app.consume(self.topic, where={"region": "eu"}, ordered=self.fifo)
        async def handle(_: str) -> None: ...

        return app

    async def apply(self, *allow: str, **table: Any) -> None:
        app = self.app(**table)
        async with app.admin() as admin:
            await admin.apply(await admin.plan(app.topology), allow=allow)

    async def plan(self, **table: Any) -> Plan:
        app = self.app(**table)
        async with app.admin() as admin:
            return await admin.plan(app.topology)

    async def differing(self, **table: Any) -> dict[str, str]:
        """Attributes, and what would be done about them."""
        changes = (await self.plan(**table)).changes
        assert {change.what for change in changes} <= {self.group}
        return {change.detail.partition(":")[0]: change.action for change in changes}

    async def attributes(self, queue: str) -> Mapping[str, str]:
        url = (await self.sqs.get_queue_url(QueueName=queue))["QueueUrl"]
        found: Mapping[str, str] = (await self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"]))[
            "Attributes"
        ]
        return found

    async def set(self, queue: str, **attributes: str) -> None:
        url = (await self.sqs.get_queue_url(QueueName=queue))["QueueUrl"]
        await self.sqs.set_queue_attributes(QueueUrl=url, Attributes=attributes)

    async def share(self) -> tuple[str, Mapping[str, str]]:
        """The group's subscription, the topic's only one."""
        (each,) = (await self.sns.list_subscriptions_by_topic(TopicArn=self.arn))["Subscriptions"]
        arn = each["SubscriptionArn"]
        return arn, (await self.sns.get_subscription_attributes(SubscriptionArn=arn))["Attributes"]


@pytest.fixture(params=[False, True], ids=["standard", "fifo"])
async def account(sns: Running, request: pytest.FixtureRequest) -> AsyncGenerator[Account, None]:
    async with made(sns.url, fifo=request.param) as found:
        yield found


@asynccontextmanager
async def made(url: str, *, fifo: bool) -> AsyncGenerator[Account, None]:
    session: Any = aioboto3.Session(region_name="us-east-1")
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(session.client(service, endpoint_url=url)) for service in ("sqs", "sns")
        ]
        yield Account(url, *clients, fifo=fifo)


async def test_a_group_is_a_queue_its_dead_letters_and_a_raw_filtered_subscription(account: Account) -> None:
    assert [change.action for change in (await account.plan()).changes] == ["create", "create"]
    await account.apply(kms_key="alias/waybill", tags={"team": "billing"})
    queue, dead = await account.attributes(account.queue), await account.attributes(account.dead)
    assert json.loads(queue["RedrivePolicy"]) == {"deadLetterTargetArn": dead["QueueArn"], "maxReceiveCount": 1000}
    _, share = await account.share()
    assert share["RawMessageDelivery"] == "true"
    assert json.loads(share["FilterPolicy"]) == {"region": ["eu"]}
    assert json.loads(share["RedrivePolicy"]) == {"deadLetterTargetArn": dead["QueueArn"]}
    topic = (await account.sns.get_topic_attributes(TopicArn=account.arn))["Attributes"]
    assert topic["KmsMasterKeyId"] == "alias/waybill"
    for attributes in (queue, dead):
        assert attributes["MessageRetentionPeriod"] == FORTNIGHT
        assert attributes["KmsMasterKeyId"] == "alias/waybill"
        (statement,) = json.loads(attributes["Policy"])["Statement"]
        assert statement["Condition"] == {"ArnEquals": {"aws:SourceArn": account.arn}}
        assert (statement["Effect"], statement["Resource"]) == ("Allow", attributes["QueueArn"])
        assert attributes.get("FifoQueue", "false") == topic.get("FifoTopic", "false") == str(account.fifo).lower()
    tags = (await account.sns.list_tags_for_resource(ResourceArn=account.arn))["Tags"]
    assert {each["Key"]: each["Value"] for each in tags} == {"team": "billing", "waybill": account.topic.name}
    if account.fifo:
        assert queue["FifoThroughputLimit"] == "perMessageGroupId"
        assert queue["DeduplicationScope"] == "messageGroup"
    assert not (await account.plan(kms_key="alias/waybill")).changes


async def test_whatever_somebody_has_changed_is_seen_and_mended(account: Account) -> None:
    await account.apply()
    arn, _ = await account.share()
    await account.set(account.queue, MessageRetentionPeriod="3600", Policy=json.dumps(THEIRS))
    await account.set(account.dead, MessageRetentionPeriod="7200", Policy=json.dumps(THEIRS))
    for name, value in (("RawMessageDelivery", "false"), ("RedrivePolicy", "{}")):
        await account.sns.set_subscription_attributes(SubscriptionArn=arn, AttributeName=name, AttributeValue=value)
    seen = await account.differing()
    assert seen == dict.fromkeys(["MessageRetentionPeriod", "Policy", "RawMessageDelivery", "RedrivePolicy"], "alter")
    app = account.app(topology="verify")
    with pytest.raises(TopologyMismatch, match=f"{account.topic.name}/group"):
        async with app.running():
            pass
    assert await account.differing() == seen, "to look changes nothing"
    await account.apply()
    assert not await account.differing()
    assert (await account.attributes(account.dead))["MessageRetentionPeriod"] == FORTNIGHT
    statements = json.loads((await account.attributes(account.queue))["Policy"])["Statement"]
    assert [each["Sid"] for each in statements] == ["theirs", "waybill"]


async def test_what_would_cost_somebody_something_is_left_until_it_is_allowed(account: Account) -> None:
    await account.apply()
    arn, _ = await account.share()
    await account.sns.set_subscription_attributes(
        SubscriptionArn=arn, AttributeName="FilterPolicy", AttributeValue='{"region":["us"]}'
    )
    shorter = {"retention": 3600}
    assert await account.differing(**shorter) == {"MessageRetentionPeriod": "differs", "FilterPolicy": "differs"}
    await account.apply(**shorter)
    assert len(await account.differing(**shorter)) == 2
    await account.apply(account.group, **shorter)
    await account.apply(**shorter)  # moto forgets a queue's policy when something else of it is set
    assert not await account.differing(**shorter)
    assert (await account.attributes(account.dead))["MessageRetentionPeriod"] == FORTNIGHT


async def test_what_a_group_does_not_want_never_reaches_its_queue(account: Account) -> None:
    app = account.app()
    async with app.admin() as admin:
        await admin.apply(await admin.plan(app.topology))
    publisher = App("shop", settings=app.settings, topics=[account.topic])
    async with publisher.running(consume=False):
        for number, region in enumerate(["eu", "us", "eu"]):
            await publisher.publish(account.topic, str(number), headers={"region": region})
    end = time.monotonic() + 20
    while (await account.attributes(account.queue))["ApproximateNumberOfMessages"] != "2":
        assert time.monotonic() < end
        await asyncio.sleep(0.1)


async def test_a_topic_without_its_group_is_made_alone(account: Account) -> None:
    app = account.app()
    async with app.admin() as admin:
        await admin.apply(await admin.plan(Topology([account.topic.spec], [])))
    assert not (await account.sns.list_subscriptions_by_topic(TopicArn=account.arn))["Subscriptions"]
