"""SQS as the kit sees it: ElasticMQ for queues alone, moto for SNS before them; each standard and FIFO.

Behind a proxy that refuses what AWS refuses; there, entries of batches fail, calls are throttled, and answers are late at times.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from tests.brokers.plugin import running, strict
from tests.contract.sqs_verbs import Verbs
from waybill_contracts.harness import Broker

__all__ = ["QUEUE", "QUEUE_FIFO", "TOPIC", "TOPIC_FIFO", "Sqs"]

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
EMULATORS = {"sqs": "ElasticMQ", "sns": "moto"}
ONE_GROUP = "a queue without SNS before it has one group; it is shown with SNS"
TEXT = "SQS carries texts alone, so that no foreign program can publish other bytes"
SLOW = "moto takes 160 messages a second, and gives 30; it is shown without SNS"
NEVER_LATER = "it is refused where it is published, in another process; S01 shows that it is"
LEASED = "what it held when the broker was gone comes when its lease is over: nobody else can give it back"
EVERYWHERE = {"H10": TEXT} | dict.fromkeys(("fault-22", "fault-23"), LEASED)
DIRECT = EVERYWHERE | dict.fromkeys(
    ("D06", "D08", "G02", "G07", "G13", "P02", "R08", "T01", "T02", "T06", "T08", "T10"), ONE_GROUP
)
THROUGH_SNS = EVERYWHERE | dict.fromkeys(
    ("G09", "G10", "O01", "O02", "P05", "R10", "fault-09", "fault-18", "fault-30"), SLOW
)
FIVE_MINUTES = "FIFO remembers ids for five minutes, whatever is asked for, so that nothing can differ"
STRANDED = "what a receive was to bring when it was cut comes when its lease is over, later than this row allows"
BROKEN_OFF = dict.fromkeys(("fault-01", "fault-04"), STRANDED)
UNLOCKED = (
    "ElasticMQ forgets over a restart which keys of a FIFO queue are held, and reorders what came in one millisecond"
)
RESTARTED = dict.fromkeys(("fault-12", "fault-14"), UNLOCKED)
UNWRITTEN = (
    "ElasticMQ confirms before it has written: what it was told last is gone when it is ended, 7 of 10 of a call"
)
ENDED = dict.fromkeys(("C01", "fault-12", "fault-14"), UNWRITTEN)
NO_MEMORY = "moto forgets the id of a message that was deleted, where AWS remembers it for five minutes"
REORDERS = "moto hands out the last messages of a key first when the leases of several have run out"
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
        return f"the emulator {EMULATORS[self._fixture]}"

    @asynccontextmanager
    async def broker(self, folder: Path) -> AsyncGenerator[Broker, None]:
        del folder
        direct = self._fixture == "sqs"
        cannot = CANNOT if direct else CANNOT | dict.fromkeys(("restart", "kill", "stop"), FORGETS)
        async with Verbs(running(self._fixture), strict(self._fixture), direct=direct, fifo=self._fifo) as verbs:
            yield Broker(
                url=verbs.url,
                options={"sqs": {"direct": direct, "fifo": self._fifo, "wait": 1, "connect_timeout": 10.0}},
                route=verbs.route,
                prefix=verbs.prefix,
                cannot=cannot,
                **verbs.given,
            )


QUEUE = Sqs("sqs standard", "sqs", fifo=False, waived=DIRECT | BROKEN_OFF | ENDED)
QUEUE_FIFO = Sqs(
    "sqs fifo", "sqs", fifo=True, waived=DIRECT | ENDED | RESTARTED | {"S08": NEVER_LATER, "T04": FIVE_MINUTES}
)
TOPIC = Sqs("sns standard", "sns", fifo=False, waived=THROUGH_SNS | BROKEN_OFF | {"S08": NEVER_LATER})
TOPIC_FIFO = Sqs(
    "sns fifo",
    "sns",
    fifo=True,
    waived=THROUGH_SNS
    | {"S08": NEVER_LATER, "T04": FIVE_MINUTES, "P13": NO_MEMORY}
    | dict.fromkeys(("O07", "fault-21", "fault-26"), REORDERS),
)
