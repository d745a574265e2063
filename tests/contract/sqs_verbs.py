"""What can be done to SQS and SNS, for their harness."""

from __future__ import annotations

import functools
import json
import secrets
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any, Self
from urllib.parse import urlsplit

import aioboto3

from tests.brokers.running import Running
from tests.brokers.strict import Faults, Strict
from tests.contract.outages import Outages
from tests.contract.threads import begin_threads
from waybill.topology import TopicSpec
from waybill_contracts.harness import Route
from waybill_sqs import names
from waybill_sqs.limits import UNCARRIED

__all__ = ["REGION", "Verbs"]

REGION = "us-east-1"
SETTLING = ("DeleteMessageBatch", "ChangeMessageVisibilityBatch")
BAD_DAY = Faults(
    failed=0.03, throttled=0.01, slow=0.01, seconds=0.2, actions=("SendMessageBatch", "PublishBatch", *SETTLING)
)
"""What AWS does at times, and nobody shall notice."""


@functools.cache
def _session() -> Any:
    """One for all tests of the process: each reads the models of AWS's services anew, a tenth of a second."""
    return aioboto3.Session(region_name=REGION)


class Verbs(Outages):
    """One test's queues, which begin with its prefix and go with the block."""

    def __init__(self, server: Running, front: Strict, *, direct: bool, fifo: bool) -> None:
        super().__init__(server)
        self._front = front
        self.prefix = f"w{secrets.token_hex(5)}"
        self._direct = direct
        self._fifo = fifo

    async def __aenter__(self) -> Self:
        self._front.inject(BAD_DAY)
        await begin_threads()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.bring_back()
        async with self._client("sqs") as sqs:
            answer = await sqs.list_queues(QueueNamePrefix=self.prefix, MaxResults=1000)
            for url in answer.get("QueueUrls", ()):
                await sqs.delete_queue(QueueUrl=url)

    @asynccontextmanager
    async def _client(self, service: str) -> AsyncGenerator[Any, None]:
        async with AsyncExitStack() as stack:
            yield await stack.enter_async_context(_session().client(service, endpoint_url=self.server.url))

    # ---------------------------------------------------------------- the way there

    @property
    def url(self) -> str:
        return f"sqs://{REGION}?endpoint={self._front.url}"

    @property
    def route(self) -> Route:
        parts = urlsplit(self._front.url)
        return Route(host=parts.hostname or "", port=parts.port or 0, url=self._through)

    def _through(self, host: str, port: int) -> str:
        """What a cut leaves in doubt is counted there, and it has to be what the cut did."""
        self._front.inject(replace(BAD_DAY, actions=SETTLING))
        return f"sqs://{REGION}?endpoint=http://{host}:{port}"

    @property
    def given(self) -> dict[str, Any]:
        """For `Broker`."""
        own = ["pause", "resume", "foreign", "remove", "dead_end", "give_up"]
        if self._direct:
            own += ["restart", "kill", "stop"]
        return {name: getattr(self, name) for name in own}

    # ---------------------------------------------------------------- its process

    async def kill(self) -> None:
        with self._front.without_receives():
            await super().kill()

    async def stop(self) -> None:
        with self._front.without_receives():
            await super().stop()

    async def restart(self) -> None:
        await self.stop()
        await super().restart()

    # ---------------------------------------------------------------- what an operator sees and does

    def _queue(self, topic: str, group: str) -> str:
        return names.queue(TopicSpec(topic), None if self._direct else group, fifo=self._fifo)

    async def foreign(self, topic: str, body: bytes) -> None:
        """SQS carries texts: what is none is no body at all there."""
        text = UNCARRIED.sub("?", body.decode("utf-8", "replace")) or " "
        fifo = {"MessageGroupId": "foreign", "MessageDeduplicationId": secrets.token_hex(8)} if self._fifo else {}
        if self._direct:
            async with self._client("sqs") as sqs:
                url = (await sqs.get_queue_url(QueueName=self._queue(topic, "")))["QueueUrl"]
                await sqs.send_message(QueueUrl=url, MessageBody=text, **fifo)
            return
        async with self._client("sns") as sns:
            arn = f"arn:aws:sns:{REGION}:123456789012:{names.topic(TopicSpec(topic), fifo=self._fifo)}"
            await sns.publish(TopicArn=arn, Message=text, **fifo)

    async def remove(self, topic: str, group: str) -> None:
        async with self._client("sqs") as sqs:
            await self._delete(sqs, self._queue(topic, group))

    async def _delete(self, sqs: Any, name: str) -> dict[str, str]:
        url = (await sqs.get_queue_url(QueueName=name))["QueueUrl"]
        there = (await sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"]))["Attributes"]
        await sqs.delete_queue(QueueUrl=url)
        return there

    async def give_up(self, topic: str, group: str) -> None:
        """Receive what waits more often than its redrive policy allows, with one that allows it once."""
        async with self._client("sqs") as sqs:
            url = (await sqs.get_queue_url(QueueName=self._queue(topic, group)))["QueueUrl"]
            there = await sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["RedrivePolicy"])
            policy = there["Attributes"]["RedrivePolicy"]
            once = json.dumps(json.loads(policy) | {"maxReceiveCount": 1})
            await sqs.set_queue_attributes(QueueUrl=url, Attributes={"RedrivePolicy": once})
            for _ in range(3):
                await sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=0, WaitTimeSeconds=1)
            await sqs.set_queue_attributes(QueueUrl=url, Attributes={"RedrivePolicy": policy})

    @asynccontextmanager
    async def dead_end(self, topic: str, group: str) -> AsyncGenerator[None, None]:
        name = names.dead(TopicSpec(topic), group, fifo=self._fifo)
        async with self._client("sqs") as sqs:
            await self._delete(sqs, name)
            try:
                yield
            finally:
                await sqs.create_queue(QueueName=name, Attributes={"FifoQueue": "true"} if self._fifo else {})
