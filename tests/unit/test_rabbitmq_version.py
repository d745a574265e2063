"""Which brokers will do: decided by what they say of themselves, also by one that only says so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pamqp import commands, frame
from pamqp.header import ProtocolHeader

from waybill import CapabilityError
from waybill.clock import SystemClock
from waybill.loading import AdapterContext
from waybill_rabbitmq import adapter
from waybill_rabbitmq.version import check_version


@pytest.mark.parametrize("text", ["4.0.5", "4.0.0-rc.1", "4.3.6", "5.1", "10.0", "my own", ""])
def test_a_broker_that_is_new_enough_or_somebodys_own_will_do(text: str) -> None:
    check_version(text)


@pytest.mark.parametrize("text", ["3.13.7", "3.9", "0.1"])
def test_an_older_one_is_refused_with_the_reason(text: str) -> None:
    with pytest.raises(CapabilityError, match=rf"RabbitMQ {text}, and Waybill needs 4\.0.*Upgrade the broker"):
        check_version(text)


ANSWERS: dict[str, Any] = {
    "ProtocolHeader": lambda version: commands.Connection.Start(
        server_properties={"version": version}, locales="en_US"
    ),
    "Connection.StartOk": lambda _: commands.Connection.Tune(channel_max=9, frame_max=131_072, heartbeat=0),
    "Connection.Open": lambda _: commands.Connection.OpenOk(),
    "Connection.Close": lambda _: commands.Connection.CloseOk(),
}


@asynccontextmanager
async def speaking(version: str) -> AsyncGenerator[tuple[str, list[str]], None]:
    """The URL of one that says it has this version, and what it is told."""
    told: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = b""
        while more := await reader.read(65_536):
            there += more
            while there:
                size, _, said = frame.unmarshal(there)
                there = there[size:]
                told.append("ProtocolHeader" if isinstance(said, ProtocolHeader) else said.name)
                if (answer := ANSWERS.get(told[-1])) is not None:
                    writer.write(frame.marshal(answer(version), 0))
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"amqp://127.0.0.1:{server.sockets[0].getsockname()[1]}", told


async def test_an_older_one_is_left_again_as_soon_as_it_has_said_so() -> None:
    async with speaking("3.13.7") as (url, told):
        with pytest.raises(CapabilityError, match="Upgrade the broker"):
            async with adapter(url, AdapterContext(application="a", clock=SystemClock(), options={})):
                pass
        async with asyncio.timeout(10):
            while told[-1] != "Connection.Close":
                await asyncio.sleep(0.01)
    assert "Channel.Open" not in told
