"""A planted secret, in a body, in headers and in what is raised, appears nowhere that people look."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from waybill import App, Batch, Delivery, Handled, ItemsFailed, Reject, Retry, Settings, Topic
from waybill.cli import main
from waybill.outcomes import Defer
from waybill.telemetry.logs import JsonFormatter, TextFormatter
from waybill.telemetry.metrics import Metrics
from waybill.telemetry.prometheus import exposition_of
from waybill.telemetry.tracing import Tracing

IN_BODY, IN_HEADER, IN_MARKED, IN_ERROR, IN_WRONG = (
    f"planted-{name}-Qz7" for name in ("one", "two", "three", "four", "five")
)
SECRETS = (IN_BODY, IN_HEADER, IN_MARKED, IN_ERROR, IN_WRONG)
HEADERS = {"authorization": IN_HEADER, "x-licence": IN_MARKED, "region": "eu"}


@dataclass
class Login:
    user: str
    password: str
    how: str


@dataclass
class Odd:
    """What somebody else takes the topic to carry."""

    user: str
    password: list[str]
    how: str


logins = Topic("logins", Login)
odd = Topic("odd", Odd)
many = Topic("many", Login)


def refuse(login: Login, delivery: Delivery[Any]) -> Exception:
    text = (
        f"{login.user} cannot log in with {login.password!r}: {delivery.message.headers!r}, "
        f"connecting to postgresql://me:{IN_ERROR}@db/x, api_key={IN_ERROR}"
    )
    return Reject(text) if login.how == "reject" else ConnectionError(text)


def policy(_: BaseException) -> bool:
    raise RuntimeError(f"password={IN_ERROR}")


def service(settings: Settings | None, *instruments: Any) -> App:
    app = App("guard", settings=settings, instruments=instruments)

    @app.consume(logins, retry=Retry.fixed(2, delay=0.01))
    async def handle(login: Login, delivery: Delivery[Login]) -> None:
        raise refuse(login, delivery) from LookupError(login.password)

    @app.consume(odd)
    async def never(_: Odd) -> None: ...

    @app.consume(many, batch=Batch(2, wait=0.01), retry=Retry.none())
    async def together(found: list[Login], deliveries: list[Delivery[Login]]) -> None:
        raise ItemsFailed({place: refuse(*pair) for place, pair in enumerate(zip(found, deliveries, strict=True))})

    def observe(handled: Handled) -> None:
        if not isinstance(handled.settlement, Defer):
            raise RuntimeError(  # noqa: TRY004
                f"{handled.delivery.message.body!r} {handled.delivery.message.headers!r}"
            )

    app.observe(observe)
    return app


class Everything:
    """What people see of a run."""

    def __init__(self) -> None:
        self.streams = {"plain": io.StringIO(), "text": io.StringIO(), "json": io.StringIO()}
        self.spans = InMemorySpanExporter()
        self.metrics = self.health = ""

    def listen(self) -> list[tuple[logging.Logger, logging.Handler]]:
        """Waybill's own lines by any formatter; all lines by ours."""
        marked = ("X-Licence",)
        forms = {
            "plain": logging.Formatter(),
            "text": TextFormatter(marked=marked),
            "json": JsonFormatter(marked=marked),
        }
        made = list[tuple[logging.Logger, logging.Handler]]()
        for name, form in forms.items():
            handler = logging.StreamHandler(self.streams[name])
            handler.setFormatter(form)
            made.append((logging.getLogger("waybill" if name == "plain" else None), handler))
        return made

    def seen(self) -> dict[str, str]:
        spans = "".join(span.to_json() for span in self.spans.get_finished_spans())
        logs = {name: stream.getvalue() for name, stream in self.streams.items()}
        return {**logs, "spans": spans, "metrics": self.metrics, "health": self.health}


async def go_wrong(settings: Settings) -> Everything:
    seen = Everything()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(seen.spans))
    app = service(settings, Tracing(provider), Metrics())
    ended = list[Handled]()
    app.observe(ended.append)
    listening = seen.listen()
    for logger, handler in listening:
        logger.addHandler(handler)
    try:
        async with app.running():
            for how in ("reject", "fail"):
                await app.publish(logins, Login("me", IN_BODY, how), headers=HEADERS)
            await app.publish(Topic("odd", Login), Login("me", IN_WRONG, "never"), headers=HEADERS)
            for _ in range(2):
                await app.publish(many, Login("me", IN_BODY, "fail"), headers=HEADERS)
            async with asyncio.timeout(20):
                while sum(not isinstance(each.settlement, Defer) for each in ended) < 5:
                    await asyncio.sleep(0.01)
            seen.metrics = exposition_of(app)("")[0].decode()
            seen.health = msgspec.json.encode(app.health()).decode() + repr(app.explain())
    finally:
        for logger, handler in listening:
            logger.removeHandler(handler)
        provider.shutdown()
    return seen


def leaks(text: str) -> list[str]:
    return [secret for secret in SECRETS if secret in text]


def test_a_secret_is_in_no_line_span_metric_record_or_listing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = Settings(
        url=f"sqlite:///{tmp_path}/bus.db", redact=("X-Licence",), app="tests.telemetry.test_secrets:app"
    )
    seen = asyncio.run(go_wrong(settings)).seen()
    assert {name: leaks(text) for name, text in seen.items() if leaks(text)} == {}
    assert "ConnectionError" in seen["plain"]
    assert all(json.loads(line) for line in seen["json"].splitlines())
    assert "exception.message" in seen["spans"]
    assert asyncio.run(_records(settings)) == []
    monkeypatch.setenv("WAYBILL_URL", f"sqlite:///{tmp_path}/bus.db")
    monkeypatch.setenv("WAYBILL_REDACT", '["X-Licence"]')
    monkeypatch.setenv("WAYBILL_APP", "tests.telemetry.test_secrets:app")
    for words in LISTINGS:
        told = _told(words, monkeypatch, capsys)
        assert leaks(told) == [], f"waybill {' '.join(words)}: {told}"
    letters = json.loads(_told(["dlq", "list", "--json"], monkeypatch, capsys))
    assert len(letters) == 5
    for letter in letters:
        for words in (["dlq", "show", letter["id"]], ["dlq", "show", letter["id"], "--json"]):
            told = _told(words, monkeypatch, capsys)
            assert leaks(told) == [], f"waybill {' '.join(words)}: {told}"


LISTINGS: tuple[Sequence[str], ...] = (
    ("dlq", "list"),
    ("dlq", "list", "--json"),
    ("dlq", "groups"),
    ("dlq", "groups", "--json"),
    ("backlog",),
    ("explain",),
)


def _told(words: Sequence[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    monkeypatch.setattr(sys, "argv", ["waybill", *words])
    try:
        code: Any = main()
    except SystemExit as ended:
        code = ended.code
    told = capsys.readouterr()
    assert not code, f"waybill {' '.join(words)}: {told.out}{told.err}"
    return told.out + told.err if "--json" not in words else told.out


async def _records(settings: Settings) -> list[str]:
    """What of the secrets is in a record of a dead letter."""
    app = service(settings)
    found = list[str]()
    async with app.admin() as admin:
        for subscription in app.topology.subscriptions:
            page = await admin.browse(subscription)
            assert page.messages
            found += [leak for message in page.messages for leak in leaks(repr(message.dead))]
    return found


app = service(None)
