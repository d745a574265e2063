"""Kafka in KRaft mode: one node that is broker and controller; natively its jars and `java`."""

from __future__ import annotations

import base64
import struct
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from tests.brokers import images
from tests.brokers.certificates import certificates
from tests.brokers.fetching import Cache
from tests.brokers.processes import free_port
from tests.brokers.recipe import Address, Image, Launch, Recipe, ask, java

VERSION = "4.3.1"
DIGEST = "9b241538730d32e890117f2362eee3ff6ed60f753d73e6a46652b547a64df32f"
"""Of the jars of this version and all they need (`digest_of`)."""

PROXIES = 8
"""Tests that have a proxy before it at once."""
PROXIED = [f"proxied{number}" for number in range(PROXIES)]
PLAIN = "org.apache.kafka.common.security.plain.PlainLoginModule required user_plain=plain-secret;"
SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
BEARER = (
    "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required "
    'unsecuredLoginStringClaim_sub="broker";'
)
"""Takes tokens that nobody has signed."""
LOGINS = {"PLAIN": PLAIN, "SCRAM-SHA-256": SCRAM, "SCRAM-SHA-512": SCRAM, "OAUTHBEARER": BEARER}
MECHANISMS = ",".join(LOGINS)

SETTINGS = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "inter.broker.listener.name": "CLIENT",
    "controller.listener.names": "CONTROLLER",
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "super.users": "User:ANONYMOUS;User:plain;User:CN=client",  # those who come by CLIENT need not say who they are
    "sasl.enabled.mechanisms": MECHANISMS,
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
    """A broker whose topics are made by hand. Who comes by its URL may do everything; by other ports, who may is asked."""

    variable = "TEST_KAFKA"
    further: ClassVar = {
        "secured": 9093,
        "encrypted": 0,
        **{name: 9100 + number for number, name in enumerate(PROXIED)},
        **{f"proxy{number}": 0 for number in range(PROXIES)},
    }
    """`secured`: with SASL. `encrypted`: TLS with certificates of clients, natively only. Who comes by `proxied0`, with SASL,
    is sent to `proxy0` for all that follows."""

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
        certificates(folder)
        listening = {
            "CLIENT": at.port,
            **{name.upper(): at.further[name] for name in INSIDE},
            "ENCRYPTED": at.further["encrypted"],
        }
        settings = (
            SETTINGS
            | secured("CLIENT:PLAINTEXT", "ENCRYPTED:SSL")
            | encrypted(folder)
            | {
                "listeners": f"{joined(listening, '127.0.0.1')},CONTROLLER://127.0.0.1:{controller}",
                "advertised.listeners": f"{advertised(at)},ENCRYPTED://127.0.0.1:{at.further['encrypted']}",
                "controller.quorum.voters": f"1@127.0.0.1:{controller}",
                "log.dirs": str(folder / "data"),
            }
        )
        return formatted(installed, folder, settings, base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("="))

    def environment(self, at: Address) -> Mapping[str, str]:
        settings = (
            SETTINGS
            | secured("CLIENT:PLAINTEXT")
            | {
                "listeners": f"CLIENT://:9092,{joined(INSIDE)},CONTROLLER://localhost:9094",
                "advertised.listeners": advertised(at),
                "controller.quorum.voters": "1@localhost:9094",
            }
        )
        return {
            f"KAFKA_{name.upper().replace('-', '___').replace('.', '_')}": value for name, value in settings.items()
        }

    async def _build(self, cache: Cache) -> str:
        jars, version = await self.install(cache)
        return await images.kafka(cache, jars, version)


def formatted(installed: Path, folder: Path, settings: Mapping[str, str], cluster: str) -> Launch:
    """A node of the cluster of this id, with its folder prepared."""
    properties = folder / "server.properties"
    properties.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    tool = ["kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(properties)]
    return Launch(
        java(installed, "kafka.Kafka", str(properties), heap=512),
        once=[java(installed, *tool, heap=512)],
        tool=["env", "-C", str(folder)],
    )


INSIDE = {name: port for name, port in Kafka.further.items() if port}
"""The listeners with SASL, and their ports in a container."""


def joined(ports: Mapping[str, int], host: str = "") -> str:
    return ",".join(f"{name.upper()}://{host}:{port}" for name, port in ports.items())


def advertised(at: Address) -> str:
    """What clients are told: of each listener its own port, or its proxy's."""
    proxies = {name: at.further[f"proxy{number}"] for number, name in enumerate(PROXIED)}
    return f"CLIENT://{at.host}:{at.port},SECURED://{at.host}:{at.further['secured']},{joined(proxies, '127.0.0.1')}"


def secured(*others: str) -> Mapping[str, str]:
    """What each listener asks of its clients."""
    kinds = [*others, "CONTROLLER:PLAINTEXT", *(f"{name.upper()}:SASL_PLAINTEXT" for name in INSIDE)]
    settings = {"listener.security.protocol.map": ",".join(kinds)}
    for name in INSIDE:
        settings[f"listener.name.{name}.num.network.threads"] = "1"
        for mechanism, login in LOGINS.items():
            settings[f"listener.name.{name}.{mechanism.lower()}.sasl.jaas.config"] = login
        settings[f"listener.name.{name}.oauthbearer.connections.max.reauth.ms"] = (
            "3600000"  # or as long as a token lives
        )
    return settings


def encrypted(folder: Path) -> Mapping[str, str]:
    """TLS with what `certificates` has made."""
    server = folder / "server.keystore.pem"
    server.write_text((folder / "server.key").read_text() + (folder / "server.pem").read_text())
    told = {
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(server),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(folder / "ca.pem"),
        "ssl.client.auth": "required",
    }
    return {f"listener.name.encrypted.{name}": value for name, value in told.items()}
