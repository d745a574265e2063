"""An account of AWS as the kit sees it: topics and queues of a test's own, which are removed behind it."""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aioboto3
import botocore.session

from tests.leaving_out import in_ci
from waybill_contracts.harness import VERBS, Broker

__all__ = ["Account", "why_not"]

OURS = "waybilltest"
"""What the names of all that is made here begin with."""
ITS_OWN = "nobody but AWS can do that to AWS"


def why_not() -> str | None:
    """Why nothing is shown on AWS here; `None`: it is."""
    if in_ci():
        return "AWS is never asked in CI: it costs money, and the credentials are somebody's"
    if not os.environ.get("TEST_AWS"):
        return "name a region: make test-aws REGION=eu-west-1"
    library: Any = botocore.session
    if library.get_session().get_credentials() is None:
        return (
            "there are no AWS credentials: see https://docs.aws.amazon.com/cli/latest/userguide/cli-chap-configure.html"
        )
    return None


class Account:
    """Queues of one kind. See `Harness`."""

    provider = "aws"

    def __init__(self, name: str, *, direct: bool, fifo: bool) -> None:
        self.name = name
        self._direct = direct
        self._fifo = fifo
        self.waived: Mapping[str, str] = {}

    @asynccontextmanager
    async def broker(self, folder: Path) -> AsyncGenerator[Broker, None]:
        del folder
        region, prefix = os.environ["TEST_AWS"], f"{OURS}{secrets.token_hex(5)}"
        try:
            yield Broker(
                url=f"sqs://{region}",
                options={"sqs": {"direct": self._direct, "fifo": self._fifo, "wait": 1}},
                prefix=prefix,
                cannot=dict.fromkeys(VERBS.keys() - {"processes"}, ITS_OWN),
            )
        finally:
            await clear(region, prefix)


async def clear(region: str, prefix: str) -> None:
    """Remove every queue, topic and subscription whose name begins so."""
    session: Any = aioboto3.Session(region_name=region)
    async with AsyncExitStack() as stack:
        sqs, sns = [await stack.enter_async_context(session.client(service)) for service in ("sqs", "sns")]
        async for page in sns.get_paginator("list_topics").paginate():
            for arn in [each["TopicArn"] for each in page["Topics"]]:
                if arn.rpartition(":")[2].startswith(prefix):
                    await _remove_topic(sns, arn)
        async for page in sqs.get_paginator("list_queues").paginate(QueueNamePrefix=prefix):
            for url in page.get("QueueUrls", ()):
                await sqs.delete_queue(QueueUrl=url)


async def _remove_topic(sns: Any, arn: str) -> None:
    async for page in sns.get_paginator("list_subscriptions_by_topic").paginate(TopicArn=arn):
        for each in page["Subscriptions"]:
            await sns.unsubscribe(SubscriptionArn=each["SubscriptionArn"])
    await sns.delete_topic(TopicArn=arn)
