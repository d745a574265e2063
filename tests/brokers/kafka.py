"""Kafka in KRaft mode: one node that is broker and controller; natively its jars and `java`."""

from __future__ import annotations

import base64
import struct
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from tests.brokers import images
from tests.brokers.fetching import Cache
from tests.brokers.processes import free_port
from tests.brokers.recipe import Address, Image, Launch, Recipe, ask, java

VERSION = "4.3.1"
DIGEST = "9b241538730d32e890117f2362eee3ff6ed60f753d73e6a46652b547a64df32f"
"""Of the jars of this version and all they need (`digest_of`)."""

SETTINGS = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "listener.security.protocol.map": "CLIENT:PLAINTEXT,PROXIED:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "inter.broker.listener.name": "CLIENT",
    "controller.listener.names": "CONTROLLER",
    "auto.create.topics.enable": "false",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "3",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "3",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "3",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    "broker.session.timeout.ms": "3000",  # a killed broker is taken back only after this and a second more
    "broker.heartbeat.interval.ms": "500",
    "log.cleaner.dedupe.buffer.size": "4194304",  # else 128 MB of heap
}


class Kafka(Recipe):
    """A broker without security, whose topics are made by hand."""

    variable = "TEST_KAFKA"
    further: ClassVar = {"proxied": 9093, "proxy": 0}
    """Who comes by `proxied` is sent to `proxy` for all that follows."""

    def __init__(self) -> None:
        self.image = Image("TEST_KAFKA_IMAGE", f"apache/kafka:{VERSION}", 9092, self._build)

    def url(self, host: str, port: int) -> str:
        return f"kafka://{host}:{port}"

    def probe(self, host: str, port: int) -> str:
        # ApiVersions, version 0. The port is open earlier; requests wait until the broker may serve.
        question = struct.pack(">hhih", 18, 0, 1, -1)
        ask(host, port, struct.pack(">i", len(question)) + question, lambda answer: len(answer) >= 8)
        return ""

    async def install(self, cache: Cache) -> tuple[Path, str]:
        # Kafka brings no logger of its own, and would be silent about what is wrong.
        coordinates = (f"org.apache.kafka:kafka_2.13:{VERSION}", "org.slf4j:slf4j-simple:1.7.36")
        return await cache.jars(f"kafka-{VERSION}", DIGEST, *coordinates), VERSION

    def launch(self, installed: Path, folder: Path, at: Address) -> Launch:
        controller = free_port()
        settings = SETTINGS | {
            "listeners": f"{advertised(at, at.further['proxied'])},CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": advertised(at, at.further["proxy"]),
            "controller.quorum.voters": f"1@127.0.0.1:{controller}",
            "log.dirs": str(folder / "data"),
        }
        properties = folder / "server.properties"
        properties.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        tool = ["kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(properties)]
        return Launch(
            java(installed, "kafka.Kafka", str(properties), heap=512),
            once=[java(installed, *tool, heap=512)],
        )

    def environment(self, at: Address) -> Mapping[str, str]:
        settings = SETTINGS | {
            "listeners": "CLIENT://:9092,PROXIED://:9093,CONTROLLER://localhost:9094",
            "advertised.listeners": advertised(at, at.further["proxy"]),
            "controller.quorum.voters": "1@localhost:9094",
        }
        return {f"KAFKA_{name.upper().replace('.', '_')}": value for name, value in settings.items()}

    async def _build(self, cache: Cache) -> str:
        jars, version = await self.install(cache)
        return await images.kafka(cache, jars, version)


def advertised(at: Address, proxied: int) -> str:
    """The two listeners of clients."""
    return f"CLIENT://{at.host}:{at.port},PROXIED://127.0.0.1:{proxied}"
