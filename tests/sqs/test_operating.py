"""What is left of processes that died, where calls go, and what `waybill doctor` finds."""

from __future__ import annotations

import logging
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


def made(server: Running, **table: Any) -> tuple[App, Topic[str]]:
    settings = Settings(url="sqs://us-east-1", broker={"sqs": {"endpoint": server.url, "wait": 1, **table}})
    return App("group", settings=settings), Topic(f"w{uuid4().hex[:10]}", str, groups=["group"])


@asynccontextmanager
async def client(server: Running, service: str) -> AsyncGenerator[Any, None]:
    session: Any = aioboto3.Session(region_name="us-east-1")
    async with session.client(service, endpoint_url=server.url) as found:
        yield found


@pytest.mark.parametrize("fifo", [False, True])
@pytest.mark.parametrize("longer", [0, 40, 110])
async def test_what_a_killed_process_has_left_of_its_own_group_is_removed_by_the_next(
    sns: Running, longer: int, fifo: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("waybill.consumer.LAST_CALL", 30.0)  # moto takes its time
    app, _ = made(sns, fifo=fifo)
    topic = Topic(f"w{uuid4().hex[:10]}" + "x" * longer, str, groups=["group"])
    groups = ["group.0123456789ab", "group.ba9876543210", "group.of.mine", "groups.0123456789ab"]
    left, living, lasting, others = (names.queue(topic.spec, group, fifo=fifo) for group in groups)
    assert max(map(len, (left, living, lasting, others))) <= 80
    attributes = {"FifoQueue": "true"} if fifo else {}

    @app.consume(topic, group="group", ephemeral=True)
    async def handle(_: str) -> None: ...

    async with client(sns, "sqs") as sqs:
        for name, group, seen in zip(
            (left, living, lasting, others), groups, ("1700000000", "99999999999", "", "1700000000"), strict=True
        ):
            tags = {"waybill": f"{topic.name}/{group}"} | ({"waybill-seen": seen} if seen else {})
            await sqs.create_queue(QueueName=name, tags=tags, Attributes=attributes)

        async def there() -> set[str]:
            found = await sqs.list_queues(QueueNamePrefix=topic.name[:11])
            return {url.rpartition("/")[2] for url in found.get("QueueUrls", ())}

        before = {living, lasting, others, *await there()} - {left}
        async with app.running():
            own = await there() - before
            assert len(own) == 4, "its own with its dead letters, and the two of the contract's group"
            for name in own:
                url = (await sqs.get_queue_url(QueueName=name))["QueueUrl"]
                tags = (await sqs.list_queue_tags(QueueUrl=url))["Tags"]
                assert ("waybill-seen" in tags) is tags["waybill"].startswith(f"{topic.name}/group.")
            assert left not in await there()
        assert {living, lasting, others} <= await there()
        assert len(await there()) == 5, "and the two of the contract's group"


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
    address = sqs.url.rstrip("/").replace("127.0.0.1", "localhost")
    with caplog.at_level(logging.WARNING, "waybill.sqs"):
        for _ in range(2):
            app, _topic = made(sqs, direct=True, endpoint=address)
            async with app.connected():
                pass
    assert caplog.text.count(address) == 1, "it is said once"
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
