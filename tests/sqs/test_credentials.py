"""Who we are: the chain, a profile, a role, a web identity; credentials that expire in seconds, and secrets that nobody sees."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.brokers.running import Running
from tests.sqs.guarding import SECRET, TOKEN, Guard, guarding
from waybill import App, Confirmed, Settings, Topic
from waybill.errors import BrokerError, ConfigurationError
from waybill.findings import Diagnoses

pytestmark = pytest.mark.broker("sqs")
ROLE = "arn:aws:iam::000000000000:role/billing"
OWN_SECRET = "own-secret"
IDENTITY = "identity-token"
Know = Callable[[Guard, pytest.MonkeyPatch, Path], dict[str, Any]]


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No credentials but those that a test gives."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def by_environment(guard: Guard, monkeypatch: pytest.MonkeyPatch, _: Path) -> dict[str, Any]:
    guard.known.add("ENVIRONMENT")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "ENVIRONMENT")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", OWN_SECRET)
    return {}


def by_profile(guard: Guard, monkeypatch: pytest.MonkeyPatch, folder: Path) -> dict[str, Any]:
    by_environment(guard, monkeypatch, folder)
    guard.known.clear()  # it is not asked for
    guard.known.add("PROFILE")
    text = f"[billing]\naws_access_key_id = PROFILE\naws_secret_access_key = {OWN_SECRET}\n"
    (folder / "credentials").write_text(text)
    return {"profile": "billing"}


def by_role(guard: Guard, monkeypatch: pytest.MonkeyPatch, folder: Path) -> dict[str, Any]:
    by_environment(guard, monkeypatch, folder)
    guard.known.clear()  # it may assume the role, and nothing else
    return {"role": ROLE}


def by_web_identity(guard: Guard, monkeypatch: pytest.MonkeyPatch, folder: Path) -> dict[str, Any]:
    del guard
    (folder / "token").write_text(IDENTITY)
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(folder / "token"))
    monkeypatch.setenv("AWS_ROLE_ARN", ROLE)
    return {}


WAYS = [by_environment, by_profile, by_role, by_web_identity]


@asynccontextmanager
async def service(endpoint: str, **table: Any) -> AsyncGenerator[tuple[App, Topic[int], list[int]], None]:
    topic = Topic(f"w{uuid4().hex[:10]}", int, groups=["group"])
    settings = {"endpoint": endpoint, "direct": True, "wait": 1, **table}
    app = App("group", settings=Settings(url="sqs://us-east-1", broker={"sqs": settings}, shutdown_grace=5.0))
    done: list[int] = []

    @app.consume(topic)
    async def handle(number: int) -> None:
        done.append(number)

    async with app.running():
        yield app, topic, done


async def flow(app: App, topic: Topic[int], *, until: Callable[[], bool]) -> list[int]:
    """Publish on and on, until that is so; the numbers, all of which are confirmed."""
    sent: list[int] = []
    end = time.monotonic() + 60
    while not until():
        assert time.monotonic() < end
        batch = range(len(sent), len(sent) + 10)
        results = await app.publish_many(topic, list(batch))
        assert all(isinstance(result, Confirmed) for result in results), results
        sent += batch
    return sent


async def all_handled(sent: list[int], done: list[int]) -> None:
    end = time.monotonic() + 40
    while len(done) < len(sent):
        assert time.monotonic() < end, f"{len(sent)} sent, {len(done)} handled"
        await asyncio.sleep(0.02)
    assert sorted(done) == sent, "none is lost, and none was stored twice"


@pytest.mark.parametrize("way", WAYS)
async def test_each_way_lets_us_in(sqs: Running, way: Know, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    guard = Guard()
    async with guarding(sqs.url, guard) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", endpoint)
        async with service(endpoint, **way(guard, monkeypatch, tmp_path)) as (app, topic, done):
            await all_handled(await flow(app, topic, until=lambda: guard.seen.total() > 10), done)
    keys = {key for key in guard.seen if not key.startswith("Assume")}
    assert keys <= guard.known | guard.lent.keys()


@pytest.mark.parametrize("way", [by_role, by_web_identity])
async def test_credentials_that_last_for_seconds_are_refreshed_while_messages_flow(
    sqs: Running, way: Know, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    guard = Guard(lifetime=5.0)
    async with guarding(sqs.url, guard) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", endpoint)
        async with service(endpoint, **way(guard, monkeypatch, tmp_path)) as (app, topic, done):
            guard.forgets_every = 9
            begun = time.time()
            sent = await flow(app, topic, until=lambda: time.time() - begun > 6 and guard.forgotten > 2)
            guard.forgets_every = 0
            await all_handled(sent, done)
    assert min(guard.lent.values()) < begun + 6, "they have expired meanwhile"


async def test_a_web_identity_is_read_anew_since_its_file_is_written_anew(
    sqs: Running, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    guard = Guard()
    async with guarding(sqs.url, guard) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", endpoint)
        async with service(endpoint, **by_web_identity(guard, monkeypatch, tmp_path)) as (app, topic, done):
            (tmp_path / "token").write_text("another-token")
            await all_handled(await flow(app, topic, until=lambda: guard.tokens["another-token"] > 1), done)
    assert guard.tokens[IDENTITY]


async def test_a_role_that_may_not_be_assumed_for_a_while_costs_no_message(
    sqs: Running, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    guard = Guard()
    table = by_role(guard, monkeypatch, tmp_path)
    async with guarding(sqs.url, guard) as endpoint, service(endpoint, **table) as (app, topic, done):
        sent = await flow(app, topic, until=lambda: guard.seen.total() > 10)
        guard.lends = False
        (refused,) = await app.publish_many(topic, [-1], deadline=2.0)
        assert not isinstance(refused, Confirmed)
        guard.lends = True
        (more,) = await app.publish_many(topic, [len(sent)])
        assert isinstance(more, Confirmed)
        await all_handled([*sent, len(sent)], done)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("lets_in", [True, False])
async def test_no_secret_is_printed_whether_it_is_taken_or_not(
    sqs: Running, way: Know, lets_in: bool, request: pytest.FixtureRequest
) -> None:
    guard, said = Guard(lends=lets_in), list[str]()
    monkeypatch, caplog = request.getfixturevalue("monkeypatch"), request.getfixturevalue("caplog")
    caplog.set_level(logging.DEBUG, "waybill")
    async with guarding(sqs.url, guard) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", endpoint)
        table = way(guard, monkeypatch, request.getfixturevalue("tmp_path"))
        if not lets_in:
            guard.known.clear()
        try:
            async with service(endpoint, **table) as (app, topic, _):
                assert lets_in
                said += [str(app.explain()), repr(app.settings)]
                await app.publish(topic, 1)
        except BrokerError as error:
            assert not lets_in
            said += [str(error), repr(error), repr(error.__cause__)]
        settings = Settings(url="sqs://us-east-1", broker={"sqs": {"endpoint": endpoint, **table}})
        adapter = App("group", settings=settings).brokers().all[None]
        assert isinstance(adapter, Diagnoses)
        findings = await adapter.diagnose()
        assert any(found.trouble for found in findings if found.what == "sqs") is not lets_in
        said.append(str(findings))
    text = caplog.text + "".join(said)
    assert not [secret for secret in (OWN_SECRET, SECRET, TOKEN, IDENTITY) if secret in text]
    assert endpoint in text


async def test_an_identity_is_not_sent_where_everybody_can_read_it(
    sqs: Running, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    guard = Guard()
    by_web_identity(guard, monkeypatch, tmp_path)
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", "http://sts.example.com")
    with pytest.raises(ConfigurationError, match=r"sts would be called at http://sts\.example\.com.*https"):
        async with service(sqs.url):
            pass
