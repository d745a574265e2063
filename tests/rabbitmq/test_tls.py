"""Encrypted connections, client certificates, and passwords and servers that change."""

from __future__ import annotations

import asyncio
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.brokers.administration import Administration, vhost_of
from tests.brokers.certificates import certificates
from tests.brokers.owning import native
from tests.brokers.processes import free_port
from tests.rabbitmq.looking import eventually
from waybill import App, BrokerUnavailable, Confirmed, PublishRefused, PublishUnknown, Settings, Topic

ORDERS = Topic("orders", int, groups=["group"])

SSL = """
Kinds = rabbit_networking:start_ssl_listener({port}, [
    {{cacertfile, "/data/tls/ca.pem"}}, {{certfile, "/data/tls/server.pem"}}, {{keyfile, "/data/tls/server.key"}},
    {{verify, verify_peer}}, {{fail_if_no_peer_cert, true}}], 1).
"""


@pytest.fixture
def folder(boss: Administration, tmp_path: Path) -> Path:
    native(boss.broker, "and publishes no port but its own")
    certificates(tmp_path)
    return tmp_path


@pytest.fixture
def encrypted(boss: Administration, url: str, folder: Path) -> str:
    """The same virtual host over a listener that wants certificates."""
    port = free_port()
    boss.broker.run("mkdir", "-p", "/data/tls")
    for name in ("ca.pem", "server.pem", "server.key"):
        boss.broker.run("sh", "-c", f"cat > /data/tls/{name} <<'X'\n{(folder / name).read_text()}X")
    boss.ctl("eval", SSL.format(port=port))
    return f"amqps://guest:guest@127.0.0.1:{port}/{vhost_of(url)}"


async def published(url: str, **table: object) -> object:
    settings = Settings(url=url, broker={"rabbitmq": table})
    async with App("group", settings=settings, topics=[ORDERS]).running(consume=False) as app:
        return await app.publish(ORDERS, 1)


async def test_both_sides_show_who_they_are(encrypted: str, folder: Path) -> None:
    ours = {"certfile": str(folder / "client.pem"), "keyfile": str(folder / "client.key")}
    assert isinstance(await published(encrypted, cafile=str(folder / "ca.pem"), **ours), Confirmed)
    with pytest.raises(BrokerUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
        await published(encrypted, cafile=str(folder / "stranger.pem"), **ours)
    with pytest.raises(BrokerUnavailable):
        await published(encrypted, cafile=str(folder / "ca.pem"))


async def test_a_server_of_the_list_that_is_dead_is_passed_by(url: str) -> None:
    dead, alive = free_port(), urlsplit(url).port
    for _ in range(5):  # in a random order
        there = url.replace(f":{alive}/", f":{dead}/")
        assert isinstance(await published(there, hosts=[f"127.0.0.1:{alive}"]), Confirmed)


async def test_a_password_that_changes_is_read_anew_at_each_connect(
    boss: Administration, url: str, tmp_path: Path
) -> None:
    file = tmp_path / "password"
    with boss.user(url, configure=".*", write=".*", read=".*") as own:
        parts = urlsplit(own)
        file.write_text(f"{parts.password}\n")
        there = url.replace("guest:guest@", f"{parts.username}@")
        settings = Settings(url=there, broker={"rabbitmq": {"password_file": str(file)}})
        async with App("group", settings=settings, topics=[ORDERS]).running(consume=False) as app:
            await app.publish(ORDERS, 1)
            boss.ask("PUT", f"users/{parts.username}", {"password": "another", "tags": ""})
            file.write_text("another\n")
            await asyncio.to_thread(boss.close_connections, url)

            async def again() -> object:
                try:
                    return await app.publish(ORDERS, 2, deadline=5)
                except (PublishUnknown, PublishRefused):
                    return None

            await eventually(again)
