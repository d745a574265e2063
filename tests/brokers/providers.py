"""Where a broker comes from: a URL, else a container, else this machine's own processes."""

from __future__ import annotations

import asyncio
import functools
import os
import time
from collections.abc import Callable
from pathlib import Path

from tests.brokers.broker import Broker, Given
from tests.brokers.cluster import NODES, ClusterNode
from tests.brokers.containers import container
from tests.brokers.elasticmq import ElasticMQ
from tests.brokers.fetching import Cache, cache_folder
from tests.brokers.kafka import Kafka
from tests.brokers.kafka_cluster import KAFKA_NODES, KafkaNode
from tests.brokers.moto import Moto
from tests.brokers.native import Native
from tests.brokers.postgres import Postgres
from tests.brokers.rabbitmq import RabbitMQ
from tests.brokers.recipe import Recipe
from tests.brokers.running import Broken, Unavailable

RECIPES: dict[str, Callable[[], Recipe]] = {
    "rabbitmq": lambda: RabbitMQ("4.0"),
    "rabbitmq43": lambda: RabbitMQ("4.3", "43"),
    "kafka": Kafka,
    "sqs": ElasticMQ,
    "sns": Moto,
    "postgres": Postgres,
    **{name: functools.partial(ClusterNode, name) for name in NODES},
    **{name: functools.partial(KafkaNode, name) for name in KAFKA_NODES},
}


async def provide(name: str, session: Path, say: Callable[[str], None]) -> Broker:
    """A broker that answers. Raises Unavailable or Broken; whatever it had started by then is ended."""
    recipe, begin = RECIPES[name](), time.monotonic()
    broker = await find(recipe, name, session, Cache(cache_folder(), say))
    try:
        await broker.create()
    except BaseException:
        await asyncio.shield(broker.discard())
        raise
    where = {"url": f"as {recipe.variable} says", "container": "in a container", "native": "as a native process"}
    broker.seconds = time.monotonic() - begin
    say(f"{name} {broker.version} is ready {where[broker.provider]}, after {broker.seconds:.1f} s.")
    return broker


async def find(recipe: Recipe, name: str, session: Path, cache: Cache) -> Broker:
    """The first way that is open. TEST_BROKERS=docker or native leaves no other than that."""
    if recipe.variable and (url := os.environ.get(recipe.variable)):
        return Given(recipe, url)
    way = os.environ.get("TEST_BROKERS", "")
    if way not in {"", "docker", "native"}:
        raise Broken(f"TEST_BROKERS is {way!r}: it can be docker, native, or nothing for whichever is there.")
    closed = ""
    if way != "native":
        try:
            return await container(recipe, cache)
        except Unavailable as problem:
            closed = f"{problem}\n"
            if way == "docker":
                raise
    try:
        installed, version = await recipe.install(cache)
    except Unavailable as problem:
        other = f"\nOr name a broker that runs with {recipe.variable}." if recipe.variable else ""
        raise Unavailable(f"{closed}{problem}{other}") from None
    return Native(recipe, installed, version, session, name)
