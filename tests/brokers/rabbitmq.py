"""RabbitMQ: natively a small Debian in a folder, entered by chroot in a mount namespace of its own."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

from tests.brokers import images
from tests.brokers.fetching import Cache
from tests.brokers.processes import free_port
from tests.brokers.recipe import Image, Launch, Recipe, ask

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

    variable = "WAYBILL_TEST_AMQP"

    def __init__(self, version: str) -> None:
        self.version, self.suite = version, SUITES[version]
        self.image = Image("WAYBILL_TEST_RABBITMQ_IMAGE", f"rabbitmq:{version}-management", 5672, self._build)

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

    def launch(self, installed: Path, folder: Path, port: int) -> Launch:
        names, distribution, management = free_port(), free_port(), free_port()
        (folder / "rabbitmq.conf").write_text(CONFIGURATION.format(port=port, management=management))
        (folder / "enabled_plugins").write_text("[rabbitmq_management].\n")
        (folder / ".erlang.cookie").write_text(os.urandom(12).hex())
        (folder / ".erlang.cookie").chmod(0o400)
        environment = {
            "HOME": "/data",
            "ERL_EPMD_PORT": names,
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": "rabbit@localhost",
            "RABBITMQ_DIST_PORT": distribution,
            "RABBITMQ_CONFIG_FILE": "/data/rabbitmq.conf",
            "RABBITMQ_ENABLED_PLUGINS_FILE": "/data/enabled_plugins",
            "RABBITMQ_MNESIA_BASE": "/data/db",
            "RABBITMQ_LOG_BASE": "/data/log",
            "RUNNING_UNDER_SYSTEMD": "true",  # exec the virtual machine, with no shell in between
        }
        given = [f"{name}={value}" for name, value in environment.items()]
        # The node would start a port mapper that outlives it; this one is in the foreground.
        mapper = inside(installed, folder, "epmd", "-port", str(names), "-address", "127.0.0.1")
        return Launch(inside(installed, folder, *given, "/usr/lib/rabbitmq/bin/rabbitmq-server"), beside=[mapper])

    async def _build(self, cache: Cache) -> str:
        root, _ = await self.install(cache)
        return await images.rabbitmq(cache, root, self.version)


def whole_frame(answer: bytes) -> bool:
    """A frame of AMQP 0-9-1: type, channel, size, as many bytes, and an end."""
    if answer[:1] not in {b"", b"\x01"}:
        raise ConnectionError("what answers there does not speak AMQP 0-9-1")
    return len(answer) >= 7 and len(answer) >= 8 + int.from_bytes(answer[3:7], "big")


def inside(root: Path, folder: Path, *command: str) -> list[str]:
    """The command, with `root` as its root folder and `folder` on its /data; every step execs, so the process id stays."""
    here, there = shlex.quote(str(folder)), shlex.quote(str(root))
    alone = ["--mount", "--propagation", "private"]
    proc = f"mount -t proc proc {there}/proc"
    if os.geteuid():
        alone, proc = ["--user", "--map-root-user", *alone], f"mount --rbind /proc {there}/proc"
    clean = shlex.join(["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", *command])
    script = f"mount --bind {here} {there}/data && {proc} && exec chroot {there} {clean}"
    # A new user namespace forgets whom it dies with, so that is said inside.
    return ["unshare", *alone, "setpriv", "--pdeathsig", "KILL", "sh", "-ec", script]
