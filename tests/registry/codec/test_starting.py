"""What is told when an application starts, and by the doctor: what waiting will not mend."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager

import pytest

from tests.registry.codec.shelf import Shelf
from waybill import App, ConfigurationError, DecodeError, Settings, Topic
from waybill.codec import text_codec_of
from waybill.doctor import examine
from waybill_schema_registry.client.access import Access
from waybill_schema_registry.client.registry import Registry
from waybill_schema_registry.codec import Avro, decode, encode
from waybill_schema_registry.errors import Forbidden, NoRegistry, RegistryUnavailable

ORDER = {"type": "record", "name": "Order", "fields": [{"name": "id", "type": "string"}]}


def unknown_host() -> Exception:
    error = RegistryUnavailable("it cannot be reached")
    error.__cause__ = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    return error


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (Forbidden("wrong password", code=401), "wrong password"),
        (Forbidden("wrong password", code=40101), "wrong password"),
        (NoRegistry("a page for people"), "a page for people"),
        (unknown_host(), "no such host"),
    ],
    ids=["401", "40101", "no registry", "unknown host"],
)
async def test_what_waiting_will_not_mend_is_told_at_the_start(error: Exception, told: str) -> None:
    shelf = Shelf()
    shelf.error = error
    app = App("readers", topics=[Topic("orders", dict, codec=Avro(shelf, schema=ORDER))])
    with pytest.raises(ConfigurationError, match=told):
        async with app.test():
            pass


@pytest.mark.parametrize("error", [RegistryUnavailable("no answer"), Forbidden("no settings for you", code=403)])
async def test_what_may_pass_is_only_told(error: Exception, caplog) -> None:
    shelf = Shelf()
    shelf.error = error
    app = App("readers", topics=[Topic("orders", dict, codec=Avro(shelf, schema=ORDER))])
    async with app.test():
        pass
    assert ("no answer" in caplog.text) == isinstance(error, RegistryUnavailable)


@asynccontextmanager
async def serving(answer: bytes):
    """Something that answers every request so."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def page(status: str, body: bytes) -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body


async def test_a_wrong_path_is_told_at_the_start() -> None:
    async with serving(page("404 Not Found", b"<html>nothing here</html>")) as url:
        app = App("readers", topics=[Topic("orders", dict, codec=Avro(f"{url}/wrong", schema=ORDER))])
        with pytest.raises(ConfigurationError, match="path"):
            async with app.test():
                pass


async def test_a_wrong_password_is_told_without_telling_it() -> None:
    refusal = page("401 Unauthorized", b'{"error_code": 401, "message": "who are you"}')
    async with serving(refusal) as url:
        registry = Registry(url, Access(user="reader", password="hunter2"))
        app = App("readers", topics=[Topic("orders", dict, codec=Avro(registry, schema=ORDER))])
        with pytest.raises(ConfigurationError, match="who are you") as told:
            async with app.test():
                pass
        assert "hunter2" not in str(told.value)
        await registry.aclose()


async def test_the_doctor_says_which_registry_answers() -> None:
    app, found = App("readers", settings=Settings(url="memory://")), []
    await examine(app, [Topic("orders", dict, codec=Avro("memory://", schema=ORDER))], found.append)
    assert [finding.value for finding in found if finding.what == "codec of orders"] == [
        "the registry memory:// answers; what is new must be BACKWARD"
    ]


def test_people_write_json() -> None:
    """`waybill publish --data '{"id": "a"}'`."""
    orders = Topic("orders", dict, codec=Avro(Shelf(), schema=ORDER))
    assert text_codec_of(orders.codec, orders.payload).decode(b'{"id": "a"}') == {"id": "a"}
    plain = Topic("orders", bytes)
    assert text_codec_of(plain.codec, plain.payload) is plain.codec


def test_a_default_of_who_wrote_it_need_not_fit() -> None:
    """What is kept by other registries was checked by nobody."""
    shelf = Shelf()
    shelf.put(
        "orders-value",
        '{"type": "record", "name": "Order", "fields": [{"name": "id", "type": "string", "default": 7}]}',
    )
    orders = Topic("orders", dict, codec=Avro(shelf, schema=ORDER))
    assert decode(orders, b"\0\0\0\0\1\2a") == {"id": "a"}


def test_a_name_that_fastavro_would_take_for_another_is_refused() -> None:
    shelf = Shelf()
    inner = {"type": "record", "name": "Inner", "namespace": "", "fields": []}
    fields = [{"name": "one", "type": inner}, {"name": "id", "type": "string"}]
    import json

    shelf.put("orders-value", json.dumps({"type": "record", "name": "a.Order", "fields": fields}))
    with pytest.raises(DecodeError, match="has no namespace"):
        decode(Topic("orders", dict, codec=Avro(shelf, schema=ORDER)), b"\0\0\0\0\1\2a")


def test_a_script_keeps_its_registry_in_memory() -> None:
    orders = Topic("orders", dict, codec=Avro("memory://", schema=ORDER))
    assert decode(orders, encode(orders, {"id": "a"})) == {"id": "a"}
