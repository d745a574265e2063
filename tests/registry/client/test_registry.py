"""One protocol, whatever the URL means: in this process over memory and a file, and over HTTP. And the same synchronously."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.brokers.certificates import certificates
from tests.registry.client.scripted import Answer, scripted
from tests.registry.server.processes import server
from waybill.errors import WaybillError
from waybill_schema_registry import (
    Access,
    Config,
    Incompatible,
    InvalidSchema,
    Level,
    Mode,
    NotFound,
    Reference,
    Registry,
    RegistryUnavailable,
    Schema,
    SyncRegistry,
)

ORDER = Schema(text='{"type":"record","name":"Order","fields":[{"name":"id","type":"string"}]}')
WIDER = Schema(
    text='{"type":"record","name":"Order","fields":[{"name":"id","type":"string"},{"name":"n","type":"int","default":0}]}'
)
OTHER = Schema(text='{"type":"record","name":"Order","fields":[{"name":"id","type":"long"}]}')


@pytest.fixture(scope="module")
def served() -> Iterator[str]:
    with server("--store", "memory://") as running:
        yield running.url


@pytest.fixture(params=["memory", "sqlite", "http"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "http":
        return str(request.getfixturevalue("served"))
    return "memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/registry.db"


@pytest.fixture
def subject(request: pytest.FixtureRequest) -> str:
    """One of its own for each test: the server is shared."""
    return f"{request.node.name} ü/%"


async def test_schemas_come_and_are_found(url: str, subject: str) -> None:
    async with Registry(url) as registry:
        made = await registry.register_schema(subject, ORDER)
        assert (made.subject, made.version, made.schema.text) == (subject, 1, ORDER.text)
        assert await registry.register_schema(subject, ORDER) == made
        assert (await registry.register_schema(subject, WIDER)).version == 2
        assert await registry.get_schema(made.id, subject) == ORDER
        assert await registry.get_schema_by_guid(made.guid) == ORDER
        assert subject in await registry.get_subjects()
        assert list(await registry.get_subjects(prefix=subject[:-1])) == [subject]
        assert list(await registry.get_versions(subject)) == [1, 2]
        assert (await registry.get_version(subject, 1)).id == made.id
        assert (await registry.get_latest_version(subject)).version == 2
        assert (await registry.lookup_schema(subject, ORDER)).version == 1
        with pytest.raises(NotFound):
            await registry.lookup_schema(subject, OTHER)
        with pytest.raises(NotFound):
            await registry.get_schema(999_999)
        with pytest.raises(InvalidSchema):
            await registry.register_schema(subject, Schema(text='{"type": "recrd"}'))


async def test_levels_are_kept(url: str, subject: str) -> None:
    async with Registry(url) as registry:
        await registry.register_schema(subject, ORDER)
        assert await registry.get_compatibility(subject) is Level.BACKWARD
        assert await registry.test_compatibility(subject, OTHER)
        assert not await registry.test_compatibility(subject, WIDER)
        assert not await registry.test_compatibility(subject, WIDER, 1)
        with pytest.raises(Incompatible):
            await registry.register_schema(subject, OTHER)
        with pytest.raises(NotFound):
            await registry.get_config(subject)
        assert await registry.set_compatibility(Level.NONE, subject) is Level.NONE
        assert await registry.get_compatibility(subject) is Level.NONE
        assert (await registry.get_config(subject)).compatibility is Level.NONE
        await registry.set_config(Config(normalize=True), subject)
        assert await registry.get_config(subject) == Config(compatibility=Level.NONE, normalize=True)
        assert (await registry.register_schema(subject, OTHER)).version == 2
        assert (await registry.delete_config(subject)).compatibility is Level.NONE
        assert await registry.get_compatibility(subject) is Level.BACKWARD
        with pytest.raises(NotFound):
            await registry.delete_config(subject)


async def test_modes_are_kept(url: str, subject: str) -> None:
    async with Registry(url) as registry:
        assert await registry.get_mode(subject) is Mode.READWRITE
        assert await registry.set_mode(Mode.READONLY, subject) is Mode.READONLY
        assert await registry.get_mode(subject) is Mode.READONLY
        assert await registry.delete_mode(subject) is Mode.READONLY
        assert await registry.get_mode() is Mode.READWRITE


async def test_deleting_takes_two_steps(url: str, subject: str) -> None:
    async with Registry(url) as registry:
        await registry.register_schema(subject, ORDER)
        await registry.register_schema(subject, WIDER)
        assert await registry.delete_version(subject, 1) == 1
        assert list(await registry.delete_subject(subject)) == [2]
        assert list(await registry.get_versions(subject, deleted=True)) == [1, 2]
        assert (await registry.get_version(subject, 2, deleted=True)).deleted
        assert await registry.delete_version(subject, 1, permanent=True) == 1
        assert list(await registry.delete_subject(subject, permanent=True)) == [2]
        with pytest.raises(NotFound):
            await registry.get_versions(subject, deleted=True)


async def test_references_are_kept(url: str, subject: str) -> None:
    using = Schema(
        text='{"type":"record","name":"Basket","fields":[{"name":"order","type":"Order"}]}',
        references=(Reference(name="Order", subject=subject, version=1),),
    )
    async with Registry(url) as registry:
        await registry.register_schema(subject, ORDER)
        made = await registry.register_schema(f"{subject}.basket", using)
        assert (await registry.get_version(f"{subject}.basket", 1)).schema == using
        assert await registry.get_schema(made.id) == using


async def test_it_may_be_closed_and_used_again(url: str, subject: str) -> None:
    registry = Registry(url)
    await registry.aclose()
    await registry.register_schema(subject, ORDER)
    await registry.aclose()
    await registry.aclose()
    assert list(await registry.get_versions(subject)) == [1]
    await registry.aclose()


def test_one_object_serves_several_event_loops(url: str, subject: str) -> None:
    registry = Registry(url)

    async def register() -> int:
        async with registry:
            return (await registry.register_schema(subject, ORDER)).id

    assert asyncio.run(register()) == asyncio.run(register())


async def test_who_is_cancelled_while_it_opens_takes_it_from_nobody(url: str, subject: str) -> None:
    async with Registry(url) as other:
        await other.register_schema(subject, ORDER)
    registry = Registry(url)
    first = asyncio.create_task(registry.get_subjects())
    await asyncio.sleep(0)
    second = asyncio.create_task(registry.get_mode())
    first.cancel()
    assert await second is Mode.READWRITE
    await registry.aclose()


def test_it_is_the_same_without_await(url: str, subject: str) -> None:
    found: list[int] = []
    with SyncRegistry(url) as registry:
        made = registry.register_schema(subject, ORDER)
        threads = [
            threading.Thread(target=lambda: found.append(registry.register_schema(subject, ORDER).id)) for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with pytest.raises(NotFound):
            registry.get_version(subject, 7)
    assert found == [made.id] * 8
    registry.close()  # twice is the same as once


async def test_it_may_be_called_where_a_loop_runs(url: str) -> None:
    with SyncRegistry(url) as registry:
        assert registry.get_mode() is Mode.READWRITE


def test_it_starts_anew_in_a_forked_process(tmp_path: Path) -> None:
    program = f"""
import os
from waybill_schema_registry import Schema, SyncRegistry
registry = SyncRegistry("sqlite:///{tmp_path}/registry.db")
registry.register_schema("s", Schema(text='"string"'))
child = os.fork()
if child == 0:
    os._exit(0 if list(registry.get_versions("s")) == [1] else 1)
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


async def test_a_store_that_cannot_be_opened_is_told_each_time(tmp_path: Path) -> None:
    (tmp_path / "registry.db").write_bytes(b"this is no database" * 100)
    registry = Registry(f"sqlite:///{tmp_path}/registry.db")
    for _ in range(2):
        with pytest.raises(WaybillError, match=r"registry\.db"):
            await registry.get_subjects()


async def test_a_server_that_is_away_is_told_as_such() -> None:
    async with Registry("http://127.0.0.1:1") as registry:
        with pytest.raises(RegistryUnavailable, match="cannot be reached"):
            await registry.get_subjects()


async def test_who_asks_while_another_closes_is_told_that_it_is_away() -> None:
    """The connections are shared: who closes them knows nothing of who is between two tries."""
    async with scripted(lambda _: Answer(503)) as server, asyncio.timeout(20):
        registry = Registry(server.url, Access(retries=3, backoff=0.2))
        asking = asyncio.create_task(registry.get_subjects())
        while not server.asked:
            await asyncio.sleep(0.005)
        await registry.aclose()
        with pytest.raises(RegistryUnavailable):
            await asking


def test_the_package_is_quick_to_import() -> None:
    """What the names need is loaded with them."""
    program = """
import sys
import waybill_schema_registry
slow = [name for name in ("httpx", "fastavro", "pydantic", "starlette", "typer") if name in sys.modules]
assert not slow, slow
for name in waybill_schema_registry.__all__:
    assert getattr(waybill_schema_registry, name).__name__ == name
assert "httpx" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_a_missing_extra_is_named() -> None:
    program = """
import sys
sys.modules["httpx"] = None
from waybill.errors import ConfigurationError
from waybill_schema_registry import Registry
try:
    Registry("http://localhost:8081")
except ConfigurationError as error:
    assert "pip install 'waybill[avro]'" in str(error), error
else:
    raise SystemExit("it was not missed")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_a_server_is_believed_only_if_its_certificate_is(tmp_path: Path) -> None:
    certificates(tmp_path)
    given = ["--certificate", f"{tmp_path}/server.pem", "--key", f"{tmp_path}/server.key"]
    with server("--store", "memory://", *given) as running:
        with SyncRegistry(running.url, Access(cafile=f"{tmp_path}/ca.pem")) as registry:
            assert registry.register_schema("s", ORDER).version == 1
        unknown = pytest.raises(RegistryUnavailable, match=r"Access\(cafile=…\)")
        with SyncRegistry(running.url, Access(retries=0)) as registry, unknown:
            registry.get_subjects()
