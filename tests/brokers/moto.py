"""moto's server: SNS and SQS on one port, in memory. It is a package of the virtual environment, so nothing is fetched."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys
from pathlib import Path

from tests.brokers import images
from tests.brokers.fetching import Cache
from tests.brokers.recipe import Address, HttpRecipe, Image, Launch
from tests.brokers.running import Unavailable

VERSION = "5.2.5"
"""Of the image. Natively it is the one that is installed, as constraints.txt has it."""


class Moto(HttpRecipe):
    """SNS with SQS behind it. A restart forgets everything."""

    variable = "TEST_SNS"

    def __init__(self) -> None:
        self.image = Image("TEST_SNS_IMAGE", f"motoserver/moto:{VERSION}", 5000, self._build)

    async def install(self, cache: Cache) -> tuple[Path, str]:
        if not importlib.util.find_spec("moto") or not importlib.util.find_spec("flask"):
            raise Unavailable("moto's server is missing. Install it with: pip install 'moto[server]'")
        return Path(sys.executable), importlib.metadata.version("moto")

    def launch(self, installed: Path, folder: Path, at: Address) -> Launch:
        return Launch([str(installed), "-m", "moto.server", "-H", "127.0.0.1", "-p", str(at.port)])

    async def _build(self, cache: Cache) -> str:
        return await images.moto(
            cache, await cache.wheels(f"moto-{VERSION}", f"moto[server]=={VERSION}", "3.13"), VERSION
        )
