"""Which verbs a broker has of the kit's proxy, and which URL leads through it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from waybill_contracts import Broker, Route
from waybill_contracts.linking import linked, route_of


@pytest.mark.parametrize(
    ("url", "through"),
    [
        ("amqp://user:p%40ss@broker:5672/vhost?x=1", "amqp://user:p%40ss@there:99/vhost?x=1"),
        ("kafka://broker:9092", "kafka://there:99"),
        ("kafka://one:9092,two:9092", None),
        ("sqs://eu-west-1", None),
        ("sqlite:////var/bus.db", None),
        ("memory://bus", None),
    ],
)
def test_the_url_through_the_proxy_differs_in_host_and_port(url: str, through: str | None) -> None:
    route = route_of(url)
    assert (route and route.url("there", 99)) == through


async def _nothing() -> None: ...


@asynccontextmanager
async def server() -> AsyncGenerator[int, None]:
    listening = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    yield listening.sockets[0].getsockname()[1]
    listening.close()


async def test_a_broker_gets_the_verbs_that_its_harness_has_not() -> None:
    async with server() as port:
        broker = Broker(url=f"amqp://127.0.0.1:{port}", cut=_nothing, cannot={"silent": "no"})
        async with linked(broker, {"kill", "cut", "silent"}) as same:
            assert same is broker, "none of these needs a proxy"
        async with linked(broker, {"away"}) as behind:
            assert behind.link is not None
            assert behind.url == f"amqp://127.0.0.1:{behind.link.port}"
            assert behind.away is not None
            assert behind.cut is _nothing, "its own stays"
            async with behind.away():
                with pytest.raises(ConnectionRefusedError):
                    await asyncio.open_connection("127.0.0.1", behind.link.port)


async def test_a_proxy_that_a_harness_has_is_used() -> None:
    async with (
        server() as port,
        linked(Broker(url=f"amqp://127.0.0.1:{port}"), {"link"}) as first,
        linked(Broker(url=first.url, link=first.link), {"silent"}) as second,
    ):
        assert second.url == first.url
        assert second.link is first.link
        assert second.silent is not None


async def test_a_broker_may_say_where_it_is_and_how_it_is_reached_there() -> None:
    async with server() as port:
        route = Route(host="127.0.0.1", port=port, url=lambda host, port: f"sqs://region?endpoint={host}:{port}")
        async with linked(Broker(url="sqs://region", route=route), {"link"}) as behind:
            assert behind.link is not None
            assert behind.url == f"sqs://region?endpoint=127.0.0.1:{behind.link.port}"
