"""SQS as the kit sees it: ElasticMQ for queues alone, moto for SNS before them; each standard and FIFO."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from tests.brokers.plugin import running
from tests.contract.sqs_verbs import Verbs
from waybill_contracts.harness import Broker

__all__ = ["Sqs"]

os.environ.setdefault("AWS_ACCESS_KEY_ID", "emulated")
os.environ.setdefault("AWS_SECRET_ACCESS_KEY", "emulated")

CANNOT = {
    "rolling": "AWS restarts its servers unseen; the emulators have one",
    "credentials": "the emulators let everybody in",
    "lock_out": "the emulators let everybody in",
    "permissions": "the emulators let everybody do everything",
    "forbid": "the emulators let everybody do everything",
    "partitions": "a queue has none: each key is one of its own",
}
FORGETS = "moto keeps everything in memory, and forgets it when it ends"


class Sqs:
    """Queues of one kind on one emulator. Its tests are marked `broker(fixture)`."""

    def __init__(self, name: str, fixture: str, *, fifo: bool, waived: Mapping[str, str]) -> None:
        self.name = name
        self.waived = waived
        self._fixture = fixture
        self._fifo = fifo

    @property
    def provider(self) -> str:
        return running(self._fixture).provider

    @asynccontextmanager
    async def broker(self, folder: Path) -> AsyncGenerator[Broker, None]:
        del folder
        direct = self._fixture == "sqs"
        cannot = CANNOT if direct else CANNOT | dict.fromkeys(("restart", "kill", "stop"), FORGETS)
        async with Verbs(running(self._fixture), direct=direct, fifo=self._fifo) as verbs:
            yield Broker(
                url=verbs.url,
                options={"sqs": {"direct": direct, "fifo": self._fifo, "wait": 1}},
                route=verbs.route,
                prefix=verbs.prefix,
                cannot=cannot,
                **verbs.given,
            )
