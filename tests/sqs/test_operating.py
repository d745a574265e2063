"""What is left of processes that died, where calls go, and what `waybill doctor` finds."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import aioboto3
import pytest

from tests.brokers.running import Running
from waybill import App, ConfigurationError, Settings, Topic
from waybill.findings import Diagnoses, Finding, KnowsRights
from waybill_sqs import names

os.environ.setdefault("AWS_ACCESS_KEY_ID", "emulated")
os.environ.setdefault("AWS_SECRET_ACCESS_KEY", "emulated")


def made(server: Running, **table: Any) -> tuple[App, Topic[str]]:
    settings = Settings(url="sqs://us-east-1", broker={"sqs": {"endpoint": server.url, "wait": 1, **table}})
    return App("group", settings=settings), Topic(f"w{uuid4().hex[:10]}", str, groups=["group"])


@asynccontextmanager
async def client(server: Running, service: str) -> AsyncGenerator[Any, None]:
    session: Any = aioboto3.Session(region_name="us-east-1")
    async with session.client(service, endpoint_url=server.url) as found:
        yield found


async def test_what_a_killed_process_has_left_of_its_own_group_is_removed_by_the_next(sns: Running) -> None:
    app, topic = made(sns)
    left, living, lasting = (
        names.queue(topic.spec, group, fifo=False)
        for group in ("group.0123456789ab", "group.ba9876543210", "group.of.mine")
    )

    @app.consume(topic, group="group", ephemeral=True)
    async def handle(_: str) -> None: ...

    async with client(sns, "sqs") as sqs:
        await sqs.create_queue(QueueName=left, tags={"waybill-seen": "1700000000"})
        await sqs.create_queue(QueueName=living, tags={"waybill-seen": "99999999999"})
        await sqs.create_queue(QueueName=lasting)
        begin = names.queue(topic.spec, "group.", fifo=False)

        async def there() -> list[str]:
            found = await sqs.list_queues(QueueNamePrefix=begin)
            return sorted(url.rpartition("/")[2] for url in found.get("QueueUrls", ()))

        async with app.running():
            while_running = await there()
            assert left not in while_running
            assert len(while_running) == 4, (
                "its own, with dead letters, the one of a process that lives, and one that stays"
            )
        assert await there() == sorted([living, lasting])


async def test_a_queue_lets_its_own_topic_send_and_nobody_else(sns: Running) -> None:
    app, topic = made(sns, tags={"team": "billing"})
    app.consume(topic)(_nothing)
    async with app.running(), client(sns, "sqs") as sqs:
        url = (await sqs.get_queue_url(QueueName=f"{topic.name}_to_group"))["QueueUrl"]
        attributes = (await sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"]))["Attributes"]
        tags = (await sqs.list_queue_tags(QueueUrl=url))["Tags"]
    assert f'"aws:SourceArn":"arn:aws:sns:us-east-1:123456789012:{topic.name}"' in attributes["Policy"].replace(" ", "")
    assert attributes["MessageRetentionPeriod"] == "1209600"
    assert tags == {"team": "billing", "waybill": f"{topic.name}/group"}


async def test_an_endpoint_that_is_not_aws_is_said_and_an_open_one_elsewhere_is_refused(
    sqs: Running, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, _ = made(sqs, direct=True)
    with caplog.at_level(logging.WARNING, "waybill.sqs"):
        async with app.connected():
            pass
    assert sqs.url.rstrip("/") in caplog.text
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://sqs.example.com")
    with pytest.raises(ConfigurationError, match="https"):
        async with App("group", settings=Settings(url="sqs://us-east-1")).connected():
            pass


async def test_the_doctor_finds_what_there_is(sqs: Running) -> None:
    app, topic = made(sqs, direct=True)
    app.consume(topic)(_nothing)
    adapter = app.brokers().of(topic.spec)
    assert isinstance(adapter, Diagnoses)
    found = {finding.what: finding for finding in await adapter.diagnose()}
    assert found["sqs"] == Finding("sqs", "in us-east-1")
    assert found["endpoint"].trouble, "it is an emulator"
    assert found["long polls"].fix == "set wait = 20"
    async with app.running(), app.connected() as brokers:
        adapter = brokers.of(topic.spec)
        assert isinstance(adapter, KnowsRights)
        rights = await adapter.rights(app.topology)
    assert [finding.trouble for finding in rights] == [None, None]


async def test_nobody_there_is_told_with_what_to_do() -> None:
    settings = Settings(url="sqs://us-east-1?endpoint=http://127.0.0.1:9")
    adapter = App("group", settings=settings).brokers().all[None]
    assert isinstance(adapter, Diagnoses)
    found = {finding.what: finding for finding in await adapter.diagnose()}
    assert found["sqs"].trouble
    assert found["sqs"].fix


async def _nothing(_: str) -> None: ...
