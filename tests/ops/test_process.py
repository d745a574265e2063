"""What a process does for its operators while it runs, and that nothing of it can end the process."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import httpx
import pytest

from tests.ops.test_http import Service
from tests.unit.stand_ins import until
from waybill import ConfigurationError, Settings
from waybill.ops import probing
from waybill.ops.folder import Folder, Order
from waybill.ops.listening import address, listening
from waybill.ops.operating import operated
from waybill.ops.state import State


@pytest.mark.parametrize(
    ("text", "worker", "where"),
    [
        ("127.0.0.1:9100", 0, ("127.0.0.1", 9100)),
        ("127.0.0.1:9100", 1, ("127.0.0.1", 9100)),
        ("0.0.0.0:9100", 3, ("0.0.0.0", 9102)),
        ("[::]:9100", 2, ("::", 9101)),
        ("localhost:0", 3, ("localhost", 0)),
    ],
)
def test_each_worker_has_its_own_port(text: str, worker: int, where: tuple[str, int]) -> None:
    assert address(text, worker) == where


@pytest.mark.parametrize("text", ["9100", ":9100", "here", "here:port", "here:70000", "127.0.0.1:65535", "here:²", ""])
def test_what_is_no_address_names_the_fix(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"write HOST:PORT|begin with a lower one"):
        address(text, worker=2)


@asynccontextmanager
async def run(folder: Path, states: list[State] | None = None, **settings: str) -> AsyncGenerator[Service, None]:
    known = Settings(url="memory://", status_dir=str(folder), **settings)
    service = Service(known)
    on_state = None if states is None else states.append
    async with operated(service.app, known, worker=2, on_state=on_state):
        yield service


def only(folder: Folder) -> State:
    (state,) = folder.states()
    return state


async def test_it_says_how_it_is_every_second_and_nothing_any_more_at_the_end(tmp_path: Path) -> None:
    folder, states = Folder(tmp_path / "status"), list[State]()
    async with run(folder.path, states, version="1.2") as service:
        first = only(folder)
        assert (first.stage, first.live, first.ready, first.worker, first.version) == (
            "starting",
            True,
            False,
            2,
            "1.2",
        )
        async with service.app.running():
            await until(lambda: only(folder).ready)
            assert [circuit.name for circuit in only(folder).circuits] == ["bank"]
            assert probing.ready(folder.states(), time.time()).ok
            await until(lambda: states[-1].ready)
    assert folder.states() == []
    assert [file for file in folder.path.rglob("*") if file.is_file()] == []


async def test_a_blocked_event_loop_says_nothing(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    async with run(folder.path):
        before = only(folder).written
        time.sleep(1.2)
        assert only(folder).written == before
        await until(lambda: only(folder).written > before)


async def test_it_follows_orders_that_are_older_than_itself(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.give(Order(circuit="bank", to="open", reason="their maintenance", by="ada", at=time.time()))
    folder.give(Order(circuit="of somebody else", to="open"))
    async with run(tmp_path) as service:
        assert service.bank.state == "forced-open"
        assert "their maintenance (by ada)" in str(only(folder).circuits[0].why)
        folder.give(Order(circuit="bank", to="auto", at=time.time()))
        await until(lambda: not service.bank.state.startswith("forced"))


async def test_what_was_let_go_long_ago_is_no_news(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    Folder(tmp_path).give(Order(circuit="bank", to="auto", at=time.time() - 60))
    async with run(tmp_path):
        pass
    assert not caplog.records


async def test_a_folder_that_cannot_be_used_is_told_once_and_ends_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    states = list[State]()
    async with run(tmp_path / "file", states) as service, service.app.running():
        await until(lambda: len(states) > 2)
        (tmp_path / "file").unlink()
        await until(lambda: Folder(tmp_path / "file").states())
    said = [record.getMessage() for record in caplog.records if record.name == "waybill.ops"]
    assert len(said) == 1, said
    assert "is not told" in said[0] or "are not told how this process is" in said[0]


async def test_an_order_that_cannot_be_read_makes_nobody_look_dead(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "circuits" / "bank.json").mkdir(parents=True)  # as little to be read as a file of somebody else's
    folder = Folder(tmp_path)
    async with run(tmp_path):
        before = only(folder).written
        await until(lambda: only(folder).written > before)
    said = [record.getMessage() for record in caplog.records if record.name == "waybill.ops"]
    assert len(said) == 1, said
    assert "cannot be used" in said[0]


async def test_a_bug_in_what_looks_for_orders_makes_nobody_look_dead(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Folder) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Folder, "orders", fail)
    folder = Folder(tmp_path)
    async with run(tmp_path):
        before = only(folder).written
        await until(lambda: only(folder).written > before)
    (told,) = [record for record in caplog.records if record.name == "waybill.ops"]
    assert told.exc_info


async def test_it_answers_over_http_while_it_starts_and_runs(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    async with run(tmp_path, ops="127.0.0.1:0") as service:
        await until(lambda: only(folder).ops)
        url = str(only(folder).ops)
        async with httpx.AsyncClient(base_url=url) as client:
            assert (await client.get("/readyz")).status_code == 503
            async with service.app.running():
                assert (await client.get("/readyz")).status_code == 200
                assert "waybill_circuit_open" in (await client.get("/metrics")).text
    async with httpx.AsyncClient(base_url=url) as client:
        with pytest.raises(httpx.ConnectError):
            await client.get("/livez")


async def test_a_port_that_is_taken_is_told_and_had_when_it_is_free(caplog: pytest.LogCaptureFixture) -> None:
    urls = list[str | None]()
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        async with listening(_hello, "127.0.0.1", port, urls.append):
            await until(lambda: any("already in use" in record.getMessage() for record in caplog.records))
            other.close()
            await until(lambda: urls and urls[-1])
            async with httpx.AsyncClient(base_url=str(urls[-1])) as client:
                assert (await client.get("/")).text == "hello"
    assert urls[-1] is None


async def test_a_port_that_stays_taken_is_told_once_and_how_to_take_another(caplog: pytest.LogCaptureFixture) -> None:
    urls = list[str | None]()
    with socket.create_server(("127.0.0.1", 0)) as other:
        async with listening(_hello, "127.0.0.1", other.getsockname()[1], urls.append):
            await until(lambda: len(urls) >= 3)  # each is a try in vain
    (told,) = [record.getMessage() for record in caplog.records if record.name == "waybill.ops"]
    assert "WAYBILL_OPS" in told


async def test_a_request_that_hangs_does_not_hold_up_the_end() -> None:
    urls, begun = list[str | None](), asyncio.Event()

    async def hang(scope: object, receive: object, send: object) -> None:
        begun.set()
        await asyncio.sleep(3600)

    async with httpx.AsyncClient() as client:
        async with listening(hang, "127.0.0.1", 0, urls.append):
            await until(lambda: urls and urls[-1])
            asking = asyncio.ensure_future(client.get(str(urls[-1])))
            await begun.wait()
        assert (await asking).status_code == 500


async def test_who_only_holds_connections_keeps_nobody_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("waybill.ops.listening.MOST", 10)
    async with hello() as url, httpx.AsyncClient() as client, AsyncExitStack() as stack:
        held = [await stack.enter_async_context(connected(url)) for _ in range(30)]
        for _, writer in held[::2]:
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nX-A:")
        await until(lambda: sum(_is_over(reader) for reader, _ in held) >= 20)
        assert (await client.get(url)).text == "hello"


async def test_a_connection_that_asks_for_nothing_is_closed_and_one_that_asks_is_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("waybill.ops.listening.PATIENCE", 4.0)
    async with hello() as url, connected(url) as silent, connected(url) as slow, connected(url) as asking:
        async with asyncio.timeout(20):
            while not (_is_over(silent[0]) and _is_over(slow[0])):
                asking[1].write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                assert (await asking[0].readuntil(b"hello")).startswith(b"HTTP/1.1 200")
                slow[1].write(b"G")
                await asyncio.sleep(0.02)


@asynccontextmanager
async def hello() -> AsyncGenerator[str, None]:
    urls = list[str | None]()
    async with listening(_hello, "127.0.0.1", 0, urls.append):
        await until(lambda: urls and urls[-1])
        yield str(urls[-1])


@asynccontextmanager
async def connected(url: str) -> AsyncGenerator[tuple[asyncio.StreamReader, asyncio.StreamWriter], None]:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


def _is_over(reader: asyncio.StreamReader) -> bool:
    return reader.at_eof() or reader.exception() is not None


async def _hello(scope: object, receive: object, send: object) -> None:
    from starlette.responses import PlainTextResponse

    await PlainTextResponse("hello")(scope, receive, send)  # type: ignore[arg-type]
