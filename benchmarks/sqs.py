"""What the cases on SQS share: an emulator, queues of standard kind, our application, AWS's client driven by hand, and counts.

The emulator is that of the tests (tests/brokers), ElasticMQ: the one that `TEST_SQS` names, else a container, else a process of
this machine. It costs more than AWS's own servers would cost us, but none of it is in our process.
"""

from __future__ import annotations

import itertools
import logging
import os
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import aioboto3

from benchmarks import brokers
from benchmarks.payload import Order, body
from tests.brokers.running import Running
from waybill import App, Settings, Topic
from waybill_sqs import SQS

__all__ = [
    "CREDENTIALS",
    "GROUP",
    "REGION",
    "TOGETHER",
    "application",
    "broker",
    "by_hand",
    "counted",
    "entries",
    "new",
    "ours",
    "queue",
]

GROUP = "bench"
TOGETHER = 10
"""Messages in a call, at most."""
REGION = "us-east-1"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "bench"}
NUMBERS = itertools.count()


def broker() -> Running:
    for name, value in CREDENTIALS.items():
        os.environ.setdefault(name, value)
    return brokers.broker("sqs")


def application(*topics: Topic[Order], wait: int = 20) -> App:
    """`wait`: seconds that a receive waits for a message, and the end of the application for a receive."""
    url = f"sqs://{REGION}?endpoint={broker().url}&wait={wait}"
    return App(GROUP, settings=Settings(url=url), topics=topics)


def ours() -> Topic[Order]:
    """A topic that was not there before: one queue, of one group."""
    return Topic(new("ours"), Order, groups=[GROUP]).on(SQS(direct=True))


@asynccontextmanager
async def by_hand() -> AsyncIterator[Any]:
    """AWS's own client."""
    session: Any = aioboto3.Session(region_name=REGION)
    async with session.client("sqs", endpoint_url=broker().url) as client:
        yield client


async def queue(client: Any) -> str:
    """The URL of a queue that was not there before."""
    made = await client.create_queue(QueueName=new("hand"))
    return str(made["QueueUrl"])


def new(kind: str) -> str:
    """A name that nobody had, also where the emulator outlives this process."""
    return f"bench-{kind}-{os.getpid()}-{next(NUMBERS)}"


def entries(numbers: Iterator[int]) -> list[dict[str, str]]:
    """The next of a batch."""
    return [{"Id": str(number), "MessageBody": body(number).decode()} for number in itertools.islice(numbers, TOGETHER)]


class _Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if text.startswith("calls of AWS: "):
            for each in text.partition(": ")[2].split(", "):
                name, number = each.split()
                self.calls[name] += int(number)


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """Calls of applications that end inside, by their kind: what they log of it."""
    kept, log = _Kept(), logging.getLogger("waybill.sqs")
    before = log.level
    log.addHandler(kept)
    log.setLevel(logging.INFO)
    try:
        yield kept.calls
    finally:
        log.removeHandler(kept)
        log.setLevel(before)
