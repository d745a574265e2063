"""The proxy does what its verbs say: shown on a server that echoes."""

from __future__ import annotations

import asyncio
import gc
import socket
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from waybill_contracts.faults.proxy import Proxy

RESET = (ConnectionError, asyncio.IncompleteReadError)


class Echo:
    """Answers each line with the same line, and remembers what came."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.received = 0
        self.ended: list[str] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                self.received += len(data)
                self.lines += data.splitlines()
                writer.write(data)
            self.ended.append("end")
        except ConnectionError:
            self.ended.append("reset")
        finally:
            writer.close()

    @asynccontextmanager
    async def behind(self) -> AsyncGenerator[Proxy, None]:
        server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        try:
            async with Proxy("127.0.0.1", server.sockets[0].getsockname()[1], seed=7) as proxy:
                yield proxy
        finally:
            server.close()
            await asyncio.sleep(0.01)  # for the server's side of each connection to end


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def ask(self, line: bytes = b"hello\n", within: float = 5.0) -> float:
        """Seconds until the answer."""
        began = time.monotonic()
        self.writer.write(line)
        async with asyncio.timeout(within):
            assert await self.reader.readexactly(len(line)) == line
        return time.monotonic() - began


@asynccontextmanager
async def client(proxy: Proxy) -> AsyncGenerator[Client, None]:
    reader, writer = await asyncio.open_connection(proxy.host, proxy.port)
    try:
        yield Client(reader, writer)
    finally:
        writer.transport.abort()


async def until(true: object) -> None:
    async with asyncio.timeout(5):
        while not true():  # type: ignore[operator]
            await asyncio.sleep(0.005)


async def test_everything_passes_and_nothing_is_left_of_it() -> None:
    echo = Echo()
    async with echo.behind() as proxy:
        async with client(proxy) as one, client(proxy) as two:
            assert await one.ask() < 1
            assert await two.ask(b"x" * 300_000 + b"\n") < 5
            assert proxy.connections == 2
        await until(lambda: proxy.connections == 0)
        assert len(echo.ended) == 2


async def test_a_cut_resets_both_sides_and_new_connections_work() -> None:
    echo = Echo()
    async with echo.behind() as proxy:
        async with client(proxy) as old:
            await old.ask()
            proxy.cut()
            with pytest.raises(ConnectionResetError):
                await old.reader.readexactly(1)
            await until(lambda: echo.ended == ["reset"])
        async with client(proxy) as new:
            await new.ask()


async def test_a_half_closed_connection_ends_for_the_client_who_may_still_send() -> None:
    echo = Echo()
    async with echo.behind() as proxy, client(proxy) as one:
        await one.ask()
        proxy.half_close()
        assert await one.reader.read() == b""
        one.writer.write(b"still there\n")
        await until(lambda: b"still there" in echo.lines)
        assert not echo.ended


async def test_requests_pass_while_replies_are_held_and_come_later() -> None:
    echo = Echo()
    async with echo.behind() as proxy, client(proxy) as one:
        await one.ask()
        with proxy.replies_held():
            with pytest.raises(TimeoutError):
                await one.ask(b"held\n", within=0.3)
            assert b"held" in echo.lines
        assert await one.reader.readexactly(5) == b"held\n"


async def test_held_replies_are_gone_when_the_connection_is_cut() -> None:
    echo = Echo()
    async with echo.behind() as proxy, client(proxy) as one:
        await one.ask()
        with proxy.replies_held():
            one.writer.write(b"held\n")
            await until(lambda: b"held" in echo.lines)
            proxy.cut()
        with pytest.raises(RESET):
            await one.reader.readexactly(5)
        await until(lambda: proxy.connections == 0)


async def test_in_silence_nothing_passes_and_connections_stay() -> None:
    echo = Echo()
    async with echo.behind() as proxy, client(proxy) as one:
        await one.ask()
        with proxy.silent():
            async with client(proxy) as new:
                with pytest.raises(TimeoutError):
                    await new.ask(b"new\n", within=0.2)
                with pytest.raises(TimeoutError):
                    await one.ask(b"old\n", within=0.2)
                assert echo.lines == [b"hello"]
                assert proxy.connections == 2
        assert await one.reader.readexactly(4) == b"old\n"


async def test_latency_is_added_each_way_and_is_no_lower_throughput() -> None:
    async with Echo().behind() as proxy, client(proxy) as one:
        with proxy.slow(0.2, 0.05):
            assert 0.3 <= await one.ask() <= 2
            began = time.monotonic()
            for number in range(10):  # all on their way at once
                one.writer.write(b"%d\n" % number)
                await asyncio.sleep(0.02)
            assert await one.reader.readexactly(20) == b"".join(b"%d\n" % n for n in range(10))
            assert time.monotonic() - began < 2.5, "one after the other they take three seconds"
        assert min([await one.ask() for _ in range(5)]) < 0.3


async def test_a_rate_holds_the_sender_up() -> None:
    echo = Echo()
    async with echo.behind() as proxy, client(proxy) as one:
        with proxy.throttled(20_000):
            began = time.monotonic()
            one.writer.write(b"x" * 40_000)
            await until(lambda: echo.received >= 20_000)
            assert time.monotonic() - began >= 0.8, "a second, less what passes at once"
        one.writer.write(b"x" * 40_000)
        await until(lambda: echo.received == 80_000)


@pytest.mark.parametrize("count", [1, 5, 4096])
async def test_a_connection_is_cut_after_so_many_bytes(count: int) -> None:
    echo = Echo()
    async with echo.behind() as proxy:
        async with client(proxy) as one:
            proxy.cut_after(count)
            one.writer.write(b"x" * (count + 10))
            with pytest.raises(RESET):
                await one.reader.readexactly(count + 10)
            assert echo.received <= count
        async with client(proxy) as one:
            await one.ask()  # it happens once
            proxy.cut_after(count, requests=False)
            one.writer.write(b"y" * (count + 10))
            with pytest.raises(RESET):
                await one.reader.readexactly(count + 10)


async def test_what_is_refused_is_accepted_later_at_the_same_port() -> None:
    async with Echo().behind() as proxy, client(proxy) as old:
        await old.ask()
        proxy.refuse()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(proxy.host, proxy.port)
        await old.ask()
        proxy.accept()
        async with client(proxy) as new:
            await new.ask()
        with proxy.away():
            with pytest.raises(ConnectionResetError):
                await old.reader.readexactly(1)
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection(proxy.host, proxy.port)
        async with client(proxy) as new:
            await new.ask()


async def test_it_goes_on_while_the_event_loop_of_the_test_is_blocked() -> None:
    with socket.create_server(("127.0.0.1", 0)) as broker:
        broker.settimeout(5)
        async with Proxy("127.0.0.1", broker.getsockname()[1]) as proxy:
            with socket.create_connection((proxy.host, proxy.port), timeout=5) as one, broker.accept()[0] as other:
                one.sendall(b"blocking")
                assert other.recv(100) == b"blocking"


async def test_where_no_broker_is_a_connection_ends() -> None:
    async with Proxy("127.0.0.1", 1) as proxy, client(proxy) as one:
        with pytest.raises(RESET):
            await one.reader.readexactly(1)


async def test_who_connects_while_it_ends_is_not_left_open() -> None:
    for _ in range(20):
        async with Echo().behind() as proxy:
            sockets = [socket.socket() for _ in range(4)]
            for each in sockets:
                each.setblocking(False)
                each.connect_ex((proxy.host, proxy.port))
        for each in sockets:
            each.close()
    gc.collect()  # what was left open says so now, and that is an error
