"""Three RabbitMQ nodes that are one broker, natively: for tests that kill its leader or restart it node by node."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.brokers.rabbitmq import Node, RabbitMQ, node
from tests.brokers.recipe import Address, Launch
from tests.brokers.running import Broken, Running

NODES = ("rabbitmq_node1", "rabbitmq_node2", "rabbitmq_node3")


@functools.cache
def common() -> tuple[int, str]:
    """The name look-up's port and the cookie of the cluster; a keeper has one."""
    return Node().mapper, Node().cookie


class ClusterNode(RabbitMQ):
    """One of three. Each comes with a port mapper, of which the first serves all and the others end at once."""

    def __init__(self, name: str) -> None:
        super().__init__("4.0")
        self.name, self.variable, self.image = name, "", None

    def launch(self, installed: Path, folder: Path, at: Address) -> Launch:
        peers = (f"cluster_formation.classic_config.nodes.{i} = {name}@localhost" for i, name in enumerate(NODES, 1))
        settings = "\n".join(["cluster_formation.peer_discovery_backend = classic_config", *peers, ""])
        return node(installed, folder, at, Node(self.name, *common(), settings))


@dataclass(frozen=True)
class Cluster:
    """Its nodes; any of them is the way in. Every call blocks."""

    nodes: Mapping[str, Running]

    @property
    def urls(self) -> list[str]:
        return [node.url for node in self.nodes.values()]

    def leader(self, queue: str) -> Running:
        """The node that leads a quorum queue of the virtual host `/`."""
        for line in self.ctl("list_queues", "name", "leader", "--no-table-headers").splitlines():
            name, _, leader = line.partition("\t")
            if name == queue:
                return self.nodes[leader.partition("@")[0]]
        raise LookupError(f"no queue {queue!r} has a leader")

    def rolling_restart(self) -> None:
        """Restart the nodes one after another, each when the queues can do without it."""
        for running in self.nodes.values():
            running.run("rabbitmq-upgrade", "--quiet", "await_online_quorum_plus_one", "--timeout", "60")
            running.restart()

    def ctl(self, *arguments: str) -> str:
        """Run `rabbitmqctl` beside the first node that answers it."""
        *first, last = self.nodes.values()
        for running in first:
            try:
                return running.run("rabbitmqctl", "--quiet", *arguments)
            except Broken:
                continue
        return last.run("rabbitmqctl", "--quiet", *arguments)
