"""Answers that are kept as bytes are never stale, whoever has written meanwhile, and bounded."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx

from tests.registry.server.conftest import opened, schema
from waybill_schema_registry.server.options import Options
from waybill_schema_registry.stores.memory import Memory, MemoryStore
from waybill_schema_registry.stores.opening import open_store


async def twice(ask: Callable[[], Awaitable[httpx.Response]]) -> httpx.Response:
    """Asked until the answer is one that was kept."""
    await ask()
    first, second = await ask(), await ask()
    assert first.content == second.content
    return second


async def hits(client: httpx.AsyncClient) -> int:
    text = (await client.get("/metrics")).text
    (line,) = [line for line in text.splitlines() if line.startswith("waybill_registry_kept_hits{")]
    return int(line.rpartition(" ")[2])


async def test_what_is_asked_again_is_answered_from_what_is_kept(client: httpx.AsyncClient) -> None:
    body = schema("a")
    asks = [
        lambda: client.post("/subjects/s/versions", json=body),
        lambda: client.get("/schemas/ids/1"),
        lambda: client.get("/schemas/ids/1?subject=s"),
        lambda: client.post("/subjects/s", json=body),
        lambda: client.get("/subjects/s/versions/latest"),
    ]
    for number, ask in enumerate(asks):
        before = await hits(client)
        assert (await twice(ask)).status_code == 200
        assert await hits(client) > before, f"question {number} was not kept"


async def test_what_another_server_has_changed_is_seen_at_once(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'registry.db'}"
    async with opened(store=open_store(url)) as client, opened(store=open_store(url)) as other:
        body = schema("a")

        def register() -> Awaitable[httpx.Response]:
            return client.post("/subjects/s/versions", json=body)

        def latest() -> Awaitable[httpx.Response]:
            return client.get("/subjects/s/versions/latest")

        def by_id() -> Awaitable[httpx.Response]:
            return client.get("/schemas/ids/1")

        def look_up() -> Awaitable[httpx.Response]:
            return client.post("/subjects/s", json=body)

        for ask in (register, latest, by_id, look_up):
            assert (await twice(ask)).status_code == 200

        assert (await other.post("/subjects/s/versions", json=schema("a", "b"))).json()["version"] == 2
        assert (await latest()).json()["version"] == 2
        assert (await register()).json()["version"] == 1

        assert (await other.delete("/subjects/s/versions/2")).status_code == 200
        assert (await latest()).json()["version"] == 1

        await twice(look_up)
        assert (await other.delete("/subjects/s")).status_code == 200
        assert (await look_up()).status_code == 404
        assert (await latest()).status_code == 404
        assert (await by_id()).status_code == 200
        assert (await other.delete("/subjects/s?permanent=true")).status_code == 200
        assert (await by_id()).status_code == 404


async def test_an_alias_is_followed_as_it_is_now(client: httpx.AsyncClient) -> None:
    for subject, field in (("one", "a"), ("two", "b")):
        await client.post(f"/subjects/{subject}/versions", json=schema(field))
    for target in ("one", "two", "one"):
        await client.put("/config/either", json={"alias": target})
        answer = await twice(lambda: client.get("/subjects/either/versions/latest"))
        assert answer.json()["subject"] == target


async def test_what_is_kept_has_a_bound() -> None:
    async with opened(Options(kept=10_000)) as client:
        for number in range(50):
            await client.post(f"/subjects/s{number}/versions", json=schema(f"f{number}"))
            await client.get(f"/subjects/s{number}/versions/1")
        metrics = (await client.get("/metrics")).text
        (size,) = [line for line in metrics.splitlines() if line.startswith("waybill_registry_kept_bytes{")]
        assert 0 < int(size.rpartition(" ")[2]) <= 10_000


async def test_a_subject_that_gets_an_id_later_is_named_with_it(client: httpx.AsyncClient) -> None:
    await client.post("/subjects/one/versions", json=schema("a"))
    answer = await twice(lambda: client.get("/schemas/ids/1?subject=two"))
    assert "subject" not in answer.json()
    await client.post("/subjects/two/versions", json=schema("a"))
    answer = await twice(lambda: client.get("/schemas/ids/1?subject=two"))
    assert (answer.json()["subject"], answer.json()["version"]) == ("two", 1)


async def test_an_id_of_a_subject_in_another_context_is_seen_at_once(client: httpx.AsyncClient) -> None:
    await client.post("/subjects/one/versions", json=schema("a"))
    for path in ("/schemas/ids/1?subject=two", "/schemas/ids/1?subject=:*:"):
        for _ in range(2):
            await client.get(path)
    await client.post("/subjects/:.eu:two/versions", json=schema("b"))
    answer = await client.get("/schemas/ids/1?subject=two")
    assert (answer.json()["subject"], "b" in answer.json()["schema"]) == (":.eu:two", True)


async def test_a_store_that_was_put_back_is_answered_from_as_it_is() -> None:
    memory = Memory()
    async with opened(store=MemoryStore(memory)) as client:
        await client.put("/config", json={"compatibility": "NONE"})
        await client.post("/subjects/s/versions", json=schema("a"))
        before = await twice(lambda: client.get("/schemas/ids/1"))
        memory.__init__()  # type: ignore[misc]
        assert (await client.get("/subjects")).json() == []
        await client.post("/subjects/s/versions", json=schema("b"))
        after = await client.get("/schemas/ids/1")
        assert after.json()["guid"] != before.json()["guid"]
