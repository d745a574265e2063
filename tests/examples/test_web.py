"""The web example: with a real server, and through httpx's ASGI transport with the lifespan run."""

import asyncio
import json
import shlex
import socket
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from http import HTTPStatus
from pathlib import Path

import httpx
import pytest

from examples.web import service
from examples.web.contracts import OrderPlaced, orders
from examples.web.totals import Totals
from tests.examples.user import EXAMPLES, PATIENCE, User, commands, lines, shown
from waybill import ClosedError

PAGE = EXAMPLES / "web" / "README.md"
ORDER = {"order_id": "o-1", "customer_id": "c-1", "cents": 1200}


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


def curl(line: str, port: int) -> str:
    """What the page's `curl` command prints."""
    *rest, url = shlex.split(line)[1:]
    url = url.replace("localhost:8000", f"http://127.0.0.1:{port}")
    answer = httpx.post(url, json=json.loads(rest[1])) if rest else httpx.get(url)
    return answer.text + "\n"


def test_orders_are_counted_behind_a_server(tmp_path: Path) -> None:
    serve, *placing, counting = commands(PAGE)
    port = free_port()
    with User(tmp_path, WAYBILL_URL="sqlite:///waybill.db").start(f"{serve} --port {port}") as server:
        server.until("Application startup complete")
        server.until("running on")
        placed = "".join(curl(line, port) for line in placing)
        end = time.monotonic() + PATIENCE
        while [lines(placed + (counted := curl(counting, port)))] != shown(PAGE):
            assert time.monotonic() < end, placed + counted
            time.sleep(0.02)
        server.stop()
        assert "Application shutdown complete" in server.log
    assert {path.name for path in tmp_path.glob("*.db")} == {"waybill.db", "totals.db"}


@asynccontextmanager
async def client() -> AsyncIterator[httpx.AsyncClient]:
    """The web application, started and ended as a server would: httpx's transport alone runs no lifespan."""
    transport = httpx.ASGITransport(service.api)
    running = service.api.router.lifespan_context(service.api)
    async with running, httpx.AsyncClient(transport=transport, base_url="http://test") as web:
        yield web


@pytest.fixture
def bus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The bus's file; with the read model beside it."""
    monkeypatch.setenv("WAYBILL_URL", f"sqlite:///{tmp_path}/bus.db")
    monkeypatch.setattr(service, "totals", Totals(tmp_path / "totals.db"))
    return tmp_path / "bus.db"


@contextmanager
def taken(bus: Path) -> Iterator[None]:
    """Somebody holds the file, so that nothing can be published."""
    other = sqlite3.connect(bus, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.close()


async def until_counted(web: httpx.AsyncClient, orders: int) -> dict[str, int]:
    end = time.monotonic() + PATIENCE
    while (total := (await web.get("/customers/c-1")).json())["orders"] < orders:
        assert time.monotonic() < end, total
    return total


async def test_the_lifespan_starts_and_ends_the_application(bus: Path) -> None:
    async with client() as web:
        assert (await web.post("/orders", json=ORDER)).status_code == HTTPStatus.ACCEPTED
        assert await until_counted(web, 1) == {"orders": 1, "cents": 1200}
    with pytest.raises(ClosedError):
        await service.app.publish(orders, OrderPlaced(**ORDER))


async def test_what_was_taken_before_a_restart_is_counted_after_it(bus: Path) -> None:
    async with service.app.running(consume=False):
        await service.app.publish(orders, OrderPlaced(**ORDER))
    async with client() as web:
        assert await until_counted(web, 1) == {"orders": 1, "cents": 1200}


async def test_a_publish_that_fails_is_503_and_may_be_sent_again(bus: Path) -> None:
    async with client() as web:
        assert (await web.post("/orders", json=ORDER)).status_code == HTTPStatus.ACCEPTED
        begun = time.monotonic()
        with taken(bus):
            answer = await web.post("/orders", json={**ORDER, "order_id": "o-2"})
        assert time.monotonic() - begun < 4.5  # by itself the bus would not give up before five
        assert answer.status_code == HTTPStatus.SERVICE_UNAVAILABLE
        assert "again" in answer.json()["detail"]
        assert answer.headers["retry-after"] == "1"
        for order in ("o-2", "o-3"):
            end = time.monotonic() + 10
            while (await web.post("/orders", json={**ORDER, "order_id": order})).status_code != HTTPStatus.ACCEPTED:
                assert time.monotonic() < end, "it is refused though the bus is free again"
                await asyncio.sleep(1)  # as it asks for
        assert await until_counted(web, 3) == {"orders": 3, "cents": 3600}


async def test_what_is_no_order_is_not_published(bus: Path) -> None:
    async with client() as web:
        assert (await web.post("/orders", json={"order_id": "o-1"})).status_code == HTTPStatus.UNPROCESSABLE_ENTITY
        assert (await web.get("/customers/c-1")).json() == {"orders": 0, "cents": 0}
