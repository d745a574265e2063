"""PostgreSQL: natively a small Debian in a folder, as a user that may do nothing else."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from pathlib import Path

from tests.brokers import images
from tests.brokers.fetching import Cache
from tests.brokers.inside import NOBODY, inside
from tests.brokers.recipe import Address, Image, Launch, Recipe, ask

VERSION = "17"
"""Of Debian's release trixie."""
BINARIES = f"/usr/lib/postgresql/{VERSION}/bin"
USER = PASSWORD = "postgres"

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": 200,
    "shared_buffers": "32MB",
    "dynamic_shared_memory_type": "mmap",  # the small Debian has no /dev/shm
    "fsync": "on",
}

STARTUP = b"\x00\x03\x00\x00user\x00" + USER.encode() + b"\x00database\x00postgres\x00\x00"
"""The first message of protocol 3.0, without its length."""


class Postgres(Recipe):
    """One server. Its user `postgres` may do everything, and everybody needs a password (SCRAM)."""

    variable = "TEST_POSTGRES"

    def __init__(self) -> None:
        self.image = Image("TEST_POSTGRES_IMAGE", f"postgres:{VERSION}", 5432, self._build)

    def url(self, host: str, port: int) -> str:
        return f"postgresql://{USER}:{PASSWORD}@{host}:{port}/postgres"

    def probe(self, host: str, port: int) -> str:
        # It asks for a password when it is ready; while it starts, it says that in an error.
        answer = ask(host, port, (len(STARTUP) + 4).to_bytes(4) + STARTUP, _whole)
        if answer[:1] != b"R":
            raise ConnectionError(f"{host}:{port} is not ready: {answer!r:.200}")
        return ""

    async def install(self, cache: Cache) -> tuple[Path, str]:
        return await cache.debian("postgres-trixie", "trixie", f"postgresql-{VERSION}"), VERSION

    def launch(self, installed: Path, folder: Path, at: Address) -> Launch:
        (folder / "password").write_text(PASSWORD)
        (folder / "db").mkdir(mode=0o700)
        if not os.geteuid():
            os.chown(folder / "db", NOBODY, NOBODY)
        tool = inside(installed, folder, {"PATH": f"{BINARIES}:/usr/bin:/bin"}, modest=True)
        given = [f"--{name}={value}" for name, value in {**SETTINGS, "port": at.port}.items()]
        asked = ["-U", USER, "--pwfile=/data/password", "--auth=scram-sha-256", "--encoding=UTF8", "--no-sync"]
        make = [*tool, "initdb", "-D", "/data/db", *asked]
        # SIGTERM would wait until everybody has gone.
        return Launch([*tool, "postgres", "-D", "/data/db", *given], once=[make], tool=tool, end=signal.SIGINT)

    def environment(self, at: Address) -> Mapping[str, str]:
        del at
        return {
            "POSTGRES_PASSWORD": PASSWORD,
            "POSTGRES_INITDB_ARGS": f"-c max_connections={SETTINGS['max_connections']}",
        }

    async def _build(self, cache: Cache) -> str:
        root, version = await self.install(cache)
        return await images.postgres(cache, root, version)


def _whole(answer: bytes) -> bool:
    """A message: its kind, its length, and as much."""
    return len(answer) >= 5 and len(answer) > int.from_bytes(answer[1:5])
