"""Kafka as the kit sees it: a user and a prefix for each test; behind a proxy where a test asks for one."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from tests.brokers.plugin import running
from tests.contract.kafka_verbs import Verbs
from waybill_contracts.harness import Broker
from waybill_kafka import Kafka as Options

__all__ = ["Kafka"]

CANNOT = {
    "give_up": "Kafka gives up nothing by itself",
    "remove": "Kafka removes no group that has members",
    "rolling": "one server, which is away while it is restarted",
}


class Kafka:
    """Its tests are marked `broker("kafka")`."""

    name = "kafka 4.3"
    waived: Mapping[str, str] = {
        "F03": "a partition is one member's, so what lies behind what that one handles waits for it",
    }

    @property
    def provider(self) -> str:
        return running("kafka").provider

    @asynccontextmanager
    async def broker(self, folder: Path) -> AsyncGenerator[Broker, None]:
        del folder
        async with Verbs(running("kafka")) as verbs:
            yield Broker(
                url=verbs.mine,
                version="4",  # a broker tells what it understands, and not which 4 it is
                route=verbs.route,
                options={"kafka": {"session_timeout": 6.0, "sasl": "SCRAM-SHA-512"}},
                credentials=verbs.refused,
                permissions=verbs.modest,
                partitions=lambda number: Options(partitions=number),
                prefix=verbs.prefix,
                cannot=CANNOT,
                **verbs.given,
            )
