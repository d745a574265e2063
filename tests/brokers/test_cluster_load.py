"""Our publisher and our consumer on three nodes while one of them is killed, all are restarted in turn, or one stands still."""

from __future__ import annotations

import asyncio
import time
import uuid
from dataclasses import dataclass

import pytest

from tests.brokers.cluster import Cluster
from waybill import App, PublishRefused, PublishUnknown, Settings, Topic

MESSAGES = 400
RECOVERY = 60.0
"""Seconds in which all that was confirmed has to arrive after the fault is over."""


@dataclass
class Tick:
    number: int


def application(cluster: Cluster) -> App:
    first, *others = cluster.urls
    hosts = [url.rpartition("@")[2].rstrip("/") for url in others]
    return App("load", settings=Settings(url=first, broker={"rabbitmq": {"hosts": hosts, "heartbeat": 2}}))


def strike(cluster: Cluster, fault: str, queue: str) -> None:
    """Do it, and let the cluster be whole again. Blocks."""
    if fault == "a rolling restart":
        cluster.rolling_restart()
        return
    leader = cluster.leader(queue)
    if fault == "the leader is killed":
        leader.kill()
        time.sleep(3)  # the others choose another meanwhile
        leader.start()
    else:
        leader.pause()
        time.sleep(15)  # longer than connections to it live
        leader.resume()


@pytest.mark.soak
@pytest.mark.disturbs
@pytest.mark.timeout(300)
@pytest.mark.parametrize("fault", ["the leader is killed", "a rolling restart", "the leader stands still"])
async def test_nothing_that_was_confirmed_is_lost(rabbitmq_cluster: Cluster, fault: str) -> None:
    topic = Topic(f"ticks-{uuid.uuid4().hex[:12]}", Tick, groups=["load"])
    confirmed: set[int] = set()
    handled: set[int] = set()
    struck = asyncio.Event()
    app = application(rabbitmq_cluster)

    @app.consume(topic)
    async def take(tick: Tick) -> None:
        handled.add(tick.number)

    async def publish() -> None:
        number = 0
        while number < MESSAGES or not struck.is_set():
            number += 1
            try:
                await app.publish(topic, Tick(number), deadline=5)
            except (PublishRefused, PublishUnknown):
                continue
            confirmed.add(number)

    async with app.running():
        publishing = asyncio.create_task(publish())
        while len(handled) < 20:  # the load is on
            await asyncio.sleep(0.01)
        await asyncio.to_thread(strike, rabbitmq_cluster, fault, f"{topic.name}/load")
        over = time.monotonic()
        last = len(confirmed)
        while len(confirmed) < last + 20:
            assert time.monotonic() < over + RECOVERY, "nothing is confirmed any more"
            await asyncio.sleep(0.05)
        struck.set()
        await publishing
        while confirmed - handled:
            assert time.monotonic() < over + RECOVERY, f"{len(confirmed - handled)} of {len(confirmed)} have not come"
            await asyncio.sleep(0.05)
        print(f"{fault}: {len(confirmed)} confirmed, all handled {time.monotonic() - over:.1f} s after it was over")
