"""RabbitMQ: natively a small Debian in a folder, entered by chroot in a mount namespace of its own."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from tests.brokers import images
from tests.brokers.fetching import Cache
from tests.brokers.inside import inside
from tests.brokers.processes import free_port
from tests.brokers.recipe import Address, Image, Launch, Recipe, ask

SUITES = {"4.0": "trixie", "4.3": "forky"}
"""Debian's release for each version. The first is stable; the second moves, so only a run that asks for the newest uses it."""

CONFIGURATION = """\
listeners.tcp.1 = 127.0.0.1:{port}
management.tcp.ip = 127.0.0.1
management.tcp.port = {management}
log.console = true
log.file = false
vm_memory_high_watermark.absolute = 1GB
disk_free_limit.absolute = 50MB
"""


class RabbitMQ(Recipe):
    """One node, with the management plugin."""

    further: ClassVar = {"management": 15672}

    def __init__(self, version: str, suffix: str = "") -> None:
        self.version, self.suite = version, SUITES[version]
        self.variable = f"TEST_AMQP{suffix}"
        self.image = Image(f"TEST_RABBITMQ{suffix}_IMAGE", f"rabbitmq:{version}-management", 5672, self._build)

    def url(self, host: str, port: int) -> str:
        return f"amqp://guest:guest@{host}:{port}/"

    def probe(self, host: str, port: int) -> str:
        # Connection.Start, whose server properties hold the version as a field of type S; the listener opens last.
        answer = ask(host, port, b"AMQP\x00\x00\x09\x01", whole_frame)
        found = re.search(rb"\x07versionS\x00\x00\x00.([0-9.]+)", answer, re.DOTALL)
        return found[1].decode() if found else ""

    async def install(self, cache: Cache) -> tuple[Path, str]:
        root = await cache.debian(f"rabbitmq-{self.suite}", self.suite, "rabbitmq-server")
        return root, self.version

    def launch(self, installed: Path, folder: Path, at: Address) -> Launch:
        return node(installed, folder, at, Node())

    async def _build(self, cache: Cache) -> str:
        root, _ = await self.install(cache)
        return await images.rabbitmq(cache, root, self.version)


@dataclass(frozen=True)
class Node:
    """A native node as others of its cluster know it."""

    name: str = "rabbit"
    mapper: int = field(default_factory=free_port)
    """The port where names are looked up, the same in all of a cluster, as is the cookie."""
    cookie: str = field(default_factory=lambda: os.urandom(12).hex())
    settings: str = ""


def node(installed: Path, folder: Path, at: Address, this: Node) -> Launch:
    """Write a node's files into `folder`, and tell how it runs."""
    (folder / "rabbitmq.conf").write_text(CONFIGURATION.format(port=at.port, **at.further) + this.settings)
    (folder / "enabled_plugins").write_text("[rabbitmq_management].\n")
    (folder / ".erlang.cookie").write_text(this.cookie)
    (folder / ".erlang.cookie").chmod(0o400)
    environment = {
        "PATH": "/usr/lib/rabbitmq/bin:/usr/bin:/bin",  # not /usr/sbin: Debian's wrappers there ask for another user
        "HOME": "/data",
        "ERL_EPMD_PORT": this.mapper,
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODENAME": f"{this.name}@localhost",
        "RABBITMQ_DIST_PORT": free_port(),
        "RABBITMQ_CONFIG_FILE": "/data/rabbitmq.conf",
        "RABBITMQ_ENABLED_PLUGINS_FILE": "/data/enabled_plugins",
        "RABBITMQ_MNESIA_BASE": "/data/db",
        "RABBITMQ_LOG_BASE": "/data/log",
    }
    tool = inside(installed, folder, environment)
    # RUNNING_UNDER_SYSTEMD: exec the virtual machine, with no shell in between.
    server = [*tool, "env", "RUNNING_UNDER_SYSTEMD=true", "rabbitmq-server"]
    # The node would start a port mapper that outlives it; this one is in the foreground.
    mapper = [*tool, "epmd", "-port", str(this.mapper), "-address", "127.0.0.1"]
    return Launch(server, beside=[mapper], tool=tool)


def whole_frame(answer: bytes) -> bool:
    """A frame of AMQP 0-9-1: type, channel, size, as many bytes, and an end."""
    if answer[:1] not in {b"", b"\x01"}:
        raise ConnectionError("what answers there does not speak AMQP 0-9-1")
    return len(answer) >= 7 and len(answer) >= 8 + int.from_bytes(answer[3:7], "big")
