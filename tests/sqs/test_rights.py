"""Each role does its work with the policy that is written for it, and cannot do another's."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.brokers.running import Running
from tests.sqs.allowing import Policies, allowing
from waybill import App, Confirmed, Delivery, Refused, Reject, Retry, Settings, Topic
from waybill.redrive import redrive
from waybill.topology import Subscription
from waybill_sqs import rights
from waybill_sqs.layout import Layout
from waybill_sqs.options import BrokerTable

ROLES = ["job", "publisher", "consumer", "operator"]
NOT_HERE = {
    "job": {"sqs:TagQueue", "sns:TagResource", "sns:GetSubscriptionAttributes", "sns:SetSubscriptionAttributes"},
    "publisher": {"sns:GetTopicAttributes"},
    "consumer": {"sqs:ChangeMessageVisibility"},
    "operator": {"sqs:StartMessageMoveTask", "sqs:ListMessageMoveTasks", "sqs:CancelMessageMoveTask"},
}
"""Used by what this test does not do: altering, tags while making, `waybill doctor`, renewing, and SQS's own move task."""


class Shop:
    """One topic, and an application for each role, which differ in who they are."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, **table: Any) -> None:
        self.topic = Topic(f"w{uuid4().hex[:10]}", int, key=str, groups=["group"])
        self.subscription = Subscription(topic=self.topic.spec, group="group", ordered=bool(table.get("fifo")))
        self.table, layout = table, Layout(BrokerTable(**table))
        by_role: Mapping[str, rights.Rights] = {
            "job": rights.making(layout, [self.topic.spec]),
            "publisher": rights.publishing(layout, self.topic.spec),
            "consumer": rights.consuming(layout, self.subscription),
            "operator": rights.operating(layout, self.subscription),
        }
        self.policies = Policies(
            {role: rights.policy(those, region="us-east-1", account="123456789012") for role, those in by_role.items()}
        )
        (folder / "credentials").write_text(
            "".join(f"[{role}]\naws_access_key_id = {role}\naws_secret_access_key = secret\n" for role in ROLES)
        )
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(folder / "credentials"))
        self.done: list[Delivery[int]] = []

    def app(self, role: str, endpoint: str) -> App:
        broker = {"sqs": {"endpoint": endpoint, "wait": 1, "profile": role, **self.table}}
        return App("group", settings=Settings(url="sqs://us-east-1", broker=broker), topics=[self.topic])

    async def handle(self, number: int, delivery: Delivery[int]) -> None:
        if number == 1 and not delivery.message.redrives:
            raise Reject("not yet")
        if number == 2 and delivery.attempt == 1:
            raise ValueError("once more")
        self.done.append(delivery)

    async def until_done(self, many: int) -> None:
        end = time.monotonic() + 30
        while len(self.done) < many:
            assert time.monotonic() < end
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("fifo", [False, True])
async def test_each_role_does_its_work_and_no_more(
    sns: Running, fifo: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Shop(tmp_path, monkeypatch, fifo=fifo)
    async with allowing(sns.url, shop.policies) as endpoint:
        job, publisher, consumer, operator = (shop.app(role, endpoint) for role in ROLES)
        consumer.consume(shop.topic, ordered=fifo, retry=Retry.fixed(3, delay=0.1))(shop.handle)
        async with job.admin() as admin:
            await admin.apply(await admin.plan(job.topology))
            assert not (await admin.plan(job.topology)).changes
        assert not shop.policies.denied
        async with publisher.running(), consumer.running():
            results = await publisher.publish_many(shop.topic, [0, 1, 2])
            assert all(isinstance(result, Confirmed) for result in results), results
            (refused,) = await consumer.publish_many(shop.topic, [3])
            assert isinstance(refused, Refused)
            assert "not authorized" in refused.reason
            await shop.until_done(2)
            async with operator.connected() as brokers:
                adapter = brokers.of(shop.topic.spec)
                end = time.monotonic() + 30
                while not (found := (await adapter.admin.browse(shop.subscription)).messages):
                    assert time.monotonic() < end
                    await asyncio.sleep(0.1)
                (letter,) = found
                assert (await adapter.admin.backlog(shop.subscription)).dead.value == 1
                assert (await redrive(adapter, shop.subscription, lambda _: True)).sent == 1
            await shop.until_done(3)
        assert shop.done[-1].message.id == letter.id
    for role in ROLES:
        allowed = {action for each in shop.policies.by_key[role]["Statement"] for action in each["Action"]}
        assert allowed - shop.policies.used[role] <= NOT_HERE[role], f"{role} is allowed more than it needs"
