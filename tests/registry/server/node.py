"""npm's `@kafkajs/confluent-schema-registry`, fetched once into the cache of the tests."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from pathlib import Path

from tests.brokers.fetching import ONLINE, Cache, cache_folder
from tests.brokers.processes import run
from tests.brokers.running import Broken, Unavailable
from tests.leaving_out import leave_out

PACKAGE, VERSION = "@kafkajs/confluent-schema-registry", "3.9.0"
OLDEST = 16
"""Of Node, for what the package needs."""


def installed() -> Path:
    """Its folder; else the test is left out, with the reason."""
    try:
        return asyncio.run(_installed())
    except (Unavailable, Broken) as problem:
        leave_out(f"{PACKAGE} is left out: {problem}")


async def _installed() -> Path:
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise Unavailable("`node` and `npm` are missing. Install them (Debian: apt-get install nodejs npm).")
    version = await run(node, "--version", remedy="")
    if int(version.strip().lstrip("v").partition(".")[0]) < OLDEST:
        raise Unavailable(f"Node {version.strip()} is too old: {OLDEST} or later is needed.")

    async def make(half: Path) -> None:
        half.mkdir()
        options = ("--silent", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", str(half))
        await run(npm, "install", *options, f"{PACKAGE}@{VERSION}", remedy=ONLINE)

    return await Cache(cache_folder(), print).part(f"kafkajs-registry-{VERSION}", f"{PACKAGE} by npm", make)


def script(folder: Path, text: str, *arguments: str) -> object:
    """What a script prints, as JSON. `require` finds the package."""
    done = subprocess.run(
        ["node", "-e", text, *arguments], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
