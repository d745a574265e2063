"""Three Kafka nodes that are one broker, natively, each broker and controller: for tests that kill a leader or a coordinator."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient

from tests.brokers.kafka import SETTINGS, Kafka, cluster_id, formatted
from tests.brokers.processes import free_port
from tests.brokers.recipe import Address, Launch
from tests.brokers.running import Running

__all__ = ["KAFKA_NODES", "KafkaCluster", "KafkaNode"]

KAFKA_NODES = ("kafka_node1", "kafka_node2", "kafka_node3")
THREEFOLD = {
    "offsets.topic.replication.factor": "3",
    "transaction.state.log.replication.factor": "3",
    "transaction.state.log.min.isr": "2",
    "share.coordinator.state.topic.replication.factor": "3",
    "share.coordinator.state.topic.min.isr": "2",
    "default.replication.factor": "3",
    "min.insync.replicas": "2",
}


@functools.cache
def common() -> tuple[str, Mapping[str, int]]:
    """The cluster's id, and the ports on which its controllers find each other; a keeper has one cluster."""
    return cluster_id(), {name: free_port() for name in KAFKA_NODES}


class KafkaNode(Kafka):
    """One of three, without users and rights."""

    variable = ""
    further: Mapping[str, int] = {}  # type: ignore[misc]

    def __init__(self, name: str) -> None:
        self.name, self.image = name, None

    def launch(self, installed: Path, folder: Path, at: Address) -> Launch:
        cluster, controllers = common()
        numbers = {name: number for number, name in enumerate(KAFKA_NODES, 1)}
        voters = (f"{numbers[name]}@127.0.0.1:{port}" for name, port in controllers.items())
        settings = SETTINGS | THREEFOLD | {
            "node.id": str(numbers[self.name]),
            "listeners": f"CLIENT://127.0.0.1:{at.port},CONTROLLER://127.0.0.1:{controllers[self.name]}",
            "advertised.listeners": f"CLIENT://127.0.0.1:{at.port}",
            "listener.security.protocol.map": "CLIENT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "controller.quorum.voters": ",".join(voters),
            "log.dirs": str(folder / "data"),
        }  # fmt: skip
        return formatted(installed, folder, settings, cluster)


@dataclass(frozen=True)
class KafkaCluster:
    """Its nodes; any of them is the way in."""

    nodes: Mapping[str, Running]

    @property
    def addresses(self) -> str:
        return ",".join(node.address for node in self.nodes.values())

    async def leader(self, topic: str, partition: int = 0) -> Running:
        """The node that leads a partition."""
        admin = await self._admin()
        try:
            (found,) = await admin.describe_topics([topic])
        finally:
            await admin.close()
        return self._node(next(each["leader"] for each in found["partitions"] if each["partition"] == partition))

    async def coordinator(self, group: str) -> Running:
        """The node that knows who is in a group."""
        admin = await self._admin()
        try:
            return self._node(await admin.find_coordinator(group))
        finally:
            await admin.close()

    async def _admin(self) -> AIOKafkaAdminClient:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.addresses)
        await admin.start()
        return admin

    def _node(self, number: int) -> Running:
        return self.nodes[KAFKA_NODES[number - 1]]
