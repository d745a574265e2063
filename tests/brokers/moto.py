"""moto's server: SNS and SQS on one port, in memory. It is a package of the virtual environment, so nothing is fetched."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys
from pathlib import Path

from tests.brokers.fetching import Cache
from tests.brokers.recipe import Address, Image, Launch, Recipe, http_answers
from tests.brokers.running import Unavailable


class Moto(Recipe):
    """SNS with SQS behind it. A restart forgets everything."""

    variable = "WAYBILL_TEST_SNS"

    def __init__(self) -> None:
        # No image is built here: it would be the same Python packages once more.
        self.image = Image("WAYBILL_TEST_SNS_IMAGE", "motoserver/moto:5.2.5", 5000)

    def url(self, host: str, port: int) -> str:
        return f"http://{host}:{port}"

    def probe(self, host: str, port: int) -> str:
        http_answers(host, port)
        return ""

    async def install(self, cache: Cache) -> tuple[Path, str]:
        if not importlib.util.find_spec("moto") or not importlib.util.find_spec("flask"):
            raise Unavailable("moto's server is missing. Install it with: pip install 'moto[server]'")
        return Path(sys.executable), importlib.metadata.version("moto")

    def launch(self, installed: Path, folder: Path, at: Address) -> Launch:
        return Launch([str(installed), "-m", "moto.server", "-H", "127.0.0.1", "-p", str(at.port)])
