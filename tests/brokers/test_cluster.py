"""The cluster keeps what it confirmed: its leader is killed, and its nodes are restarted one after another."""

from __future__ import annotations

import asyncio
import time
import uuid

import aio_pika
import pytest
from aio_pika.exceptions import AMQPError

from tests.brokers.cluster import Cluster

BODIES = [b"%d" % number for number in range(20)]


async def fill(cluster: Cluster, queue: str) -> None:
    async with await aio_pika.connect(cluster.urls[0]) as connection:
        channel = await connection.channel()
        await channel.declare_queue(queue, durable=True, arguments={"x-queue-type": "quorum"})
        for body in BODIES:
            await channel.default_exchange.publish(aio_pika.Message(body, delivery_mode=2), queue)


async def drain(url: str, queue: str) -> list[bytes]:
    """All that was confirmed; a queue whose leader has just gone may answer with an error, or with nothing, for a moment."""
    bodies: list[bytes] = []
    end = time.monotonic() + 30
    while len(bodies) < len(BODIES) and time.monotonic() < end:
        try:
            async with await aio_pika.connect(url) as connection:
                found = await (await connection.channel()).get_queue(queue)
                while (message := await found.get(fail=False)) is not None:
                    await message.ack()
                    bodies.append(message.body)
        except (AMQPError, OSError):
            pass
        await asyncio.sleep(0.1)
    return bodies


@pytest.mark.soak
@pytest.mark.disturbs
@pytest.mark.parametrize("fault", ["the leader is killed", "a rolling restart"])
async def test_a_cluster_keeps_what_it_confirmed(rabbitmq_cluster: Cluster, fault: str) -> None:
    queue = f"smoke-{uuid.uuid4().hex[:12]}"
    await fill(rabbitmq_cluster, queue)
    leader = await asyncio.to_thread(rabbitmq_cluster.leader, queue)
    other = next(node for node in rabbitmq_cluster.nodes.values() if node != leader)
    if fault == "the leader is killed":
        leader.kill()
        assert await drain(other.url, queue) == BODIES
        await asyncio.to_thread(leader.start)
    else:
        await asyncio.to_thread(rabbitmq_cluster.rolling_restart)
        assert await drain(other.url, queue) == BODIES
    running = await asyncio.to_thread(rabbitmq_cluster.ctl, "eval", "length(rabbit_nodes:list_running()).")
    assert running == "3"
