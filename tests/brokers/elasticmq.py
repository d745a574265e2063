"""ElasticMQ, which speaks the protocol of SQS and keeps its messages; natively its jars and `java`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tests.brokers import images
from tests.brokers.fetching import Cache
from tests.brokers.recipe import Address, HttpRecipe, Image, Launch, java

VERSION = "1.7.1"
DIGEST = "6575f6e1f7968c697f27ccd9cfc52c3cf0e49af40ae28228a85e835b7c0840bc"
"""Of the jars of this version and all they need (`digest_of`)."""

CONFIGURATION = """\
include classpath("application.conf")
node-address {{ protocol = http, host = "{host}", port = {port}, context-path = "" }}
rest-sqs {{ enabled = true, bind-hostname = "{bind}", bind-port = {inner}, sqs-limits = strict }}
rest-stats {{ enabled = false }}
generate-node-address = false
queues {{ }}
queues-storage {{ enabled = false, path = "" }}
# Without WRITE_DELAY=0 a kill takes the last half second with it.
messages-storage {{ enabled = true, driver-class = "org.h2.Driver", uri = "jdbc:h2:{data}/messages;WRITE_DELAY=0",
  username = "sa", password = "", prune-data-on-init = false }}
aws {{ region = "us-east-1", accountId = "000000000000" }}
"""


class ElasticMQ(HttpRecipe):
    """SQS without SNS."""

    variable = "TEST_SQS"

    def __init__(self) -> None:
        self.image = Image("TEST_SQS_IMAGE", f"softwaremill/elasticmq:{VERSION}", 9324, self._build)

    async def install(self, cache: Cache) -> tuple[Path, str]:
        name = f"org.elasticmq:elasticmq-server_2.13:{VERSION}"
        return await cache.jars(f"elasticmq-{VERSION}", DIGEST, name), VERSION

    def launch(self, installed: Path, folder: Path, at: Address) -> Launch:
        file = folder / "elasticmq.conf"
        file.write_text(
            CONFIGURATION.format(host="127.0.0.1", port=at.port, bind="127.0.0.1", inner=at.port, data=folder)
        )
        return Launch(java(installed, f"-Dconfig.file={file}", "org.elasticmq.server.Main", heap=256))

    def files(self, at: Address) -> Mapping[str, str]:
        conf = CONFIGURATION.format(host=at.host, port=at.port, bind="0.0.0.0", inner=9324, data="/tmp/elasticmq")
        return {"/opt/elasticmq.conf": conf}

    async def _build(self, cache: Cache) -> str:
        jars, version = await self.install(cache)
        return await images.elasticmq(cache, jars, version)
