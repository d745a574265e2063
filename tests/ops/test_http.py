"""What operators ask over HTTP: probes that follow an application's life, its health, its circuits."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from tests.unit.stand_ins import never, until
from waybill import App, CircuitBreaker, Settings, Topic
from waybill.ops.asgi import operations
from waybill.ops.folder import Folder, Order
from waybill.ops.obeying import Obeying

orders = Topic("orders.placed", str)


class Service:
    """An application with one circuit, and those who ask it."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.app = App("billing", topics=[orders], settings=settings)
        self.bank = CircuitBreaker("bank")
        self.handled: list[str] = []
        self.app.consume(orders, breaker=self.bank)(self._handle)

    async def _handle(self, order: str) -> None:
        self.handled.append(order)

    @asynccontextmanager
    async def asked(self, obeying: Obeying | None = None) -> AsyncGenerator[httpx.AsyncClient, None]:
        transport = httpx.ASGITransport(operations(self.app, obeying=obeying))
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            yield client


async def statuses(client: httpx.AsyncClient) -> tuple[int, int]:
    return (await client.get("/livez")).status_code, (await client.get("/readyz")).status_code


async def test_the_probes_follow_its_life() -> None:
    service = Service()
    async with service.asked() as client:
        assert await statuses(client) == (200, 503)
        assert (await client.get("/readyz")).json()["reasons"] == ["it is starting"]
        async with service.app.test():
            assert await statuses(client) == (200, 200)
        assert await statuses(client) == (200, 503)
        assert (await client.get("/health")).json()["stage"] == "stopping"


async def test_what_may_pass_by_itself_is_not_ready_and_lives() -> None:
    service = Service()
    async with service.app.test(), service.asked() as client:
        service.app.consumer(orders).stalled = "3 messages are ready and none was delivered for 60 s"
        assert await statuses(client) == (200, 503)
        told = (await client.get("/readyz")).json()
        assert told == {
            "ok": False,
            "stage": "running",
            "status": "degraded",
            "reasons": ["orders.placed/billing: 3 messages are ready and none was delivered for 60 s"],
        }
        service.app.consumer(orders).stalled = None
        assert await statuses(client) == (200, 200)


async def test_what_only_a_new_process_mends_does_not_live() -> None:
    service = Service()
    async with service.app.test(), service.asked() as client:
        service.app.consumer(orders)._fetcher.task.cancel()
        await service.app.publish(orders, "later")
        assert await statuses(client) == (503, 503)


async def test_what_is_meant_is_ready() -> None:
    """A pause or an open circuit must neither hold up a roll-out nor take away what else the process serves."""
    service = Service()
    async with service.app.test(), service.asked() as client:
        service.bank.open("maintenance")
        assert await statuses(client) == (200, 200)
        assert (await client.get("/health")).json()["status"] == "degraded"
        service.bank.auto()
        service.app.consumer(orders).pause()
        assert await statuses(client) == (200, 200)


async def test_a_circuit_is_opened_and_let_go() -> None:
    service = Service(Settings(url="memory://"))
    async with service.app.running(), service.asked() as client:
        answer = await client.post("/circuits/bank/open", json={"reason": "maintenance", "by": "ada"})
        assert answer.json()["state"] == service.bank.state == "forced-open"
        assert "maintenance (by ada)" in answer.json()["why"]
        await service.app.publish(orders, "one")
        await never(lambda: service.handled)
        assert (await client.post("/circuits/bank/close")).json()["state"] == "forced-closed"
        await until(lambda: service.handled == ["one"])
        assert (await client.post("/circuits/bank/auto")).json()["state"] == "closed"
        (circuit,) = (await client.get("/circuits")).json()
        assert circuit["groups"] == ["orders.placed/billing"]


@pytest.mark.parametrize(
    ("path", "options", "status", "says"),
    [
        ("/circuits/post/open", {}, 404, "Known: bank"),
        ("/circuits/bank/explode", {}, 404, "open, close or auto"),
        ("/circuits/bank/open", {"headers": {"origin": "http://elsewhere"}}, 403, "web pages"),
        ("/circuits/bank/open", {"content": b"{"}, 400, "JSON"),
        ("/circuits/bank/open", {"content": b"[]"}, 400, "JSON"),
        ("/circuits/bank/open", {"content": b" " * 20_000}, 400, "JSON"),
    ],
)
async def test_what_cannot_be_ordered_changes_nothing(
    path: str, options: dict[str, Any], status: int, says: str
) -> None:
    service = Service()
    async with service.app.test(), service.asked() as client:
        answer = await client.post(path, **options)
        assert (answer.status_code, says in answer.json()["error"]) == (status, True)
        assert (await client.get("/circuits/bank/open")).status_code == 405
        assert service.bank.state == "closed"


@pytest.mark.parametrize(
    ("client", "status"),
    [
        ("127.0.0.1", 200),
        ("::1", 200),
        ("::ffff:127.0.0.1", 200),
        ("127.0.0.6", 403),  # a service mesh, for whoever asks it
        ("10.0.0.7", 403),
        ("::ffff:10.0.0.7", 403),
        ("x", 403),
    ],
)
async def test_orders_are_taken_from_this_machine_alone(client: str, status: int) -> None:
    service = Service()
    transport = httpx.ASGITransport(operations(service.app), client=(client, 5000))
    async with service.app.test(), httpx.AsyncClient(transport=transport, base_url="http://here") as asking:
        assert (
            await asking.post("/circuits/bank/open", json={"reason": "a\nline of \x1b[1mits own"})
        ).status_code == status
        assert (service.bank.state == "forced-open") is (status == 200)
        assert (await asking.get("/readyz")).status_code == 200, "anybody may look"
        assert "a line of [1mits own" in str(service.bank.describe().reason) or status != 200


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("Forwarded", "for=10.0.0.7"),
        ("X-Forwarded-For", "10.0.0.7"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Port", "443"),
        ("X-Real-IP", "10.0.0.7"),
        ("Via", "1.1 proxy"),
    ],
)
async def test_who_comes_through_a_proxy_is_not_on_this_machine(header: str, value: str) -> None:
    service = Service()
    async with service.app.test(), service.asked() as client:
        answer = await client.post("/circuits/bank/open", headers={header: value})
        assert (answer.status_code, service.bank.state) == (403, "closed")
        assert (await client.get("/readyz", headers={header: value})).status_code == 200


async def test_where_somebody_else_says_who_may_order_anybody_may() -> None:
    service = Service()
    transport = httpx.ASGITransport(operations(service.app, local=False), client=("10.0.0.7", 5000))
    async with service.app.test(), httpx.AsyncClient(transport=transport, base_url="http://here") as asking:
        assert (await asking.post("/circuits/bank/open")).status_code == 200


async def test_no_reason_tells_a_secret() -> None:
    service = Service()
    async with service.app.test(), service.asked() as client:
        service.app.consumer(orders)._troubles.note("fetching", "cannot receive: amqp://me:hunter2@host/ is away")
        await client.post("/circuits/bank/open", json={"reason": "their password=hunter2 is over"})
        told = "".join([(await client.get(path)).text for path in ("/readyz", "/health", "/circuits")])
        assert "amqp://***@host/ is away" in told
        assert "their password=***" in told
        assert "hunter2" not in told


async def test_an_order_stands_in_the_folder_for_the_others(tmp_path: Path) -> None:
    service, sibling, folder = Service(), Service(), Folder(tmp_path / "status")
    async with service.app.test(), service.asked(Obeying(service.app, folder)) as client:
        await client.post("/circuits/bank/open", json={"reason": "maintenance"})
    siblings = Obeying(sibling.app, folder)
    siblings.look()
    assert sibling.bank.state == "forced-open"
    sibling.bank.auto()  # by its own code: nobody orders that back
    siblings.look()
    assert sibling.bank.state != "forced-open"
    folder.give(Order(circuit="bank", to="open", at=1.0))
    siblings.look()
    assert sibling.bank.state == "forced-open"


async def test_what_is_let_go_by_a_clock_that_lags_is_let_go(tmp_path: Path) -> None:
    service, folder = Service(), Folder(tmp_path)
    obeying = Obeying(service.app, folder)
    folder.give(Order(circuit="bank", to="open", at=time.time() - 60))
    obeying.look()
    assert service.bank.state == "forced-open"
    folder.give(Order(circuit="bank", to="auto", at=time.time() - 60))
    obeying.look()
    assert not service.bank.state.startswith("forced")


async def test_an_order_that_cannot_be_written_is_not_half_done(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    service = Service()
    async with service.app.test(), service.asked(Obeying(service.app, Folder(tmp_path / "file"))) as client:
        answer = await client.post("/circuits/bank/open")
        assert answer.status_code == 500
        assert service.bank.state == "closed"


async def test_it_is_a_part_of_another_application() -> None:
    service = Service()
    api = Starlette(routes=[Mount("/ops", operations(service.app))], lifespan=service.app.lifespan)
    transport = httpx.ASGITransport(api)
    async with service.app.test(), httpx.AsyncClient(transport=transport, base_url="http://here") as client:
        assert (await client.get("/ops/readyz")).status_code == 200
        assert (await client.get("/ops/circuits")).json()[0]["name"] == "bank"
        assert (await client.get("/readyz")).status_code == 404
