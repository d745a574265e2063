"""Encrypted connections, client certificates, and how a user proves who he is."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.brokers.owning import native
from tests.brokers.running import Running
from tests.contract.kafka_verbs import Verbs
from tests.leaving_out import leave_out
from waybill import App, BrokerUnavailable, ConfigurationError, Confirmed, PublishUnknown, Settings, Topic
from waybill.doctor import examine
from waybill.findings import Finding


async def published(url: str, verbs: Verbs, **table: object) -> object:
    topic = Topic(f"{verbs.prefix}.orders", int, groups=["group"])
    async with App("group", settings=Settings(url=url, broker={"kafka": table}), topics=[topic]).running(
        consume=False
    ) as app:
        return await app.publish(topic, 1)


@pytest.fixture
def folder(kafka: Running, tmp_path: Path) -> Path:
    """What `certificates` has made for the broker."""
    native(kafka, "and has no encrypted listener")
    for name in ("ca.pem", "client.pem", "client.key", "stranger.pem"):
        (tmp_path / name).write_text(kafka.run("cat", name))
    return tmp_path


async def test_both_sides_show_who_they_are(kafka: Running, verbs: Verbs, folder: Path) -> None:
    url = f"kafka+ssl://127.0.0.1:{kafka.further['encrypted']}"
    ours = {"certfile": str(folder / "client.pem"), "keyfile": str(folder / "client.key")}
    assert isinstance(await published(url, verbs, cafile=str(folder / "ca.pem"), **ours), Confirmed)
    with pytest.raises(BrokerUnavailable):
        await published(url, verbs, cafile=str(folder / "stranger.pem"), connect_timeout=2.0, **ours)
    with pytest.raises(BrokerUnavailable):
        await published(url, verbs, cafile=str(folder / "ca.pem"), connect_timeout=2.0)


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "SCRAM-SHA-512"])
async def test_a_password_is_proved_and_never_sent(verbs: Verbs, mechanism: str) -> None:
    assert isinstance(await published(verbs.mine, verbs, sasl=mechanism), Confirmed)
    with pytest.raises(BrokerUnavailable):
        await published(verbs.refused, verbs, sasl=mechanism, connect_timeout=2.0)


async def test_a_password_that_anybody_could_read_is_sent_only_where_that_was_allowed(verbs: Verbs) -> None:
    url = verbs.url("plain", "plain-secret", "127.0.0.1", verbs.server.further["secured"])
    with pytest.raises(ConfigurationError, match="plain_without_tls"):
        await published(url, verbs)
    assert isinstance(await published(url, verbs, plain_without_tls=True), Confirmed)


def token(user: str, *, seconds: float) -> str:
    """Who somebody is, for so long; nobody has signed it."""
    now = time.time()
    parts = {"alg": "none"}, {"sub": user, "iat": now - 1, "exp": now + seconds}
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts) + "."


async def test_a_token_is_read_anew_at_each_connect(verbs: Verbs, tmp_path: Path) -> None:
    file = tmp_path / "token"
    url = f"kafka://127.0.0.1:{verbs.server.further['secured']}"
    bearer = {"sasl": "OAUTHBEARER", "token_file": str(file)}
    file.write_text(token(verbs.prefix, seconds=-60))
    with pytest.raises(BrokerUnavailable):
        await published(url, verbs, connect_timeout=3.0, **bearer)
    file.write_text(token(verbs.prefix, seconds=60))
    assert isinstance(await published(url, verbs, **bearer), Confirmed)


async def test_who_is_cut_off_when_his_token_has_run_out_goes_on_with_the_next(verbs: Verbs, tmp_path: Path) -> None:
    file = tmp_path / "token"
    lifetime = 10.0
    file.write_text(token(verbs.prefix, seconds=lifetime))
    over = time.monotonic() + lifetime
    table = {"sasl": "OAUTHBEARER", "token_file": str(file)}
    url = f"kafka://127.0.0.1:{verbs.server.further['secured']}"
    topic: Topic[int] = Topic(f"{verbs.prefix}.orders", int)
    app, given = App("group", settings=Settings(url=url, broker={"kafka": table})), set[int]()

    @app.consume(topic)
    async def take(number: int) -> None:
        given.add(number)

    async with app.running():
        file.write_text(token(verbs.prefix, seconds=60))
        end, number, confirmed = over + 4, 0, set[int]()
        while time.monotonic() < end or (len(confirmed) <= 50 and time.monotonic() < end + 30):
            number += 1
            with suppress(PublishUnknown):  # what was on its way when the connection was cut
                await app.publish(topic, number)
                confirmed.add(number)
            await asyncio.sleep(0.02)
        await verbs.until(lambda: confirmed <= given, "all that was confirmed is handled")
        await app.publish(topic, 0, deadline=5)
        await verbs.until(lambda: 0 in given, "it goes on")
    assert len(confirmed) > 50, f"only {len(confirmed)} of {number} were confirmed"


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
async def test_what_is_compressed_is_read_by_whoever_consumes(verbs: Verbs, codec: str) -> None:
    if codec in {"snappy", "lz4", "zstd"} and find_spec("cramjam") is None:
        leave_out(f"{codec} needs cramjam: pip install waybill[kafka]")
    topic: Topic[bytes] = Topic(f"{verbs.prefix}.packed", bytes)
    settings = Settings(url=verbs.mine, broker={"kafka": {"sasl": "SCRAM-SHA-512", "compression": codec}})
    app, given = App("group", settings=settings), list[bytes]()

    @app.consume(topic)
    async def take(body: bytes) -> None:
        given.append(body)

    bodies = [b"x" * size for size in (0, 1, 1000, 100_000)]
    async with app.running():
        await app.publish_many(topic, bodies)
        await verbs.until(lambda: sorted(given) == bodies, "all arrive as they were")


async def findings(url: str, topic: Topic[int], *, consumes: bool) -> dict[str, Finding]:
    app = App("group", settings=Settings(url=url, broker={"kafka": {"sasl": "SCRAM-SHA-512"}}), topics=[topic])
    if consumes:

        @app.consume(topic)
        async def take(_: int) -> None: ...

    found: list[Finding] = []
    await examine(app, [topic], found.append)
    return {finding.what: finding for finding in found}


async def test_doctor_names_what_a_user_may_not_do(verbs: Verbs) -> None:
    topic = Topic(f"{verbs.prefix}.orders", int, groups=["group"])
    settings = Settings(url=verbs.mine, broker={"kafka": {"sasl": "SCRAM-SHA-512"}})
    async with App("group", settings=settings, topics=[topic]).running(consume=False):
        pass
    consume, publish = f"consume {topic.name}/group", f"publish to {topic.name}"
    for consumes, what in ((True, consume), (False, publish)):
        assert (await findings(verbs.modest, topic, consumes=consumes))[what].trouble is None
    async with verbs.forbid(topic.name, "group", user=verbs.poor):
        told = (await findings(verbs.modest, topic, consumes=True))[consume]
        assert told.trouble == f"this user may not read on the topic {topic.name}"
        assert told.fix is not None
    async with verbs.dead_end(topic.name, "group", user=verbs.poor):
        told = (await findings(verbs.modest, topic, consumes=True))[consume]
        assert told.trouble == f"this user may not write on the topic {topic.name}..group.dead"
    async with verbs.no_group(topic.name, user=verbs.poor):
        told = (await findings(verbs.modest, topic, consumes=False))[publish]
        assert "no group" in str(told.trouble)
        told = (await findings(verbs.modest, topic, consumes=True))[consume]
        assert told.trouble == f"this user may not read on the group {topic.name}..group"


async def test_doctor_says_what_is_wrong_with_the_way_there(verbs: Verbs) -> None:
    topic = Topic(f"{verbs.prefix}.orders", int)
    found = await findings(verbs.refused, topic, consumes=False)
    assert "sasl" in str(found["kafka"].fix)
    sound = await findings(verbs.mine, topic, consumes=False)
    assert sound["kafka"].value == "4.0 or later"
    assert sound["servers"].trouble is None
    assert "all codecs" in sound["compression"].value
