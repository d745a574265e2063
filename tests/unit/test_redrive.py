"""Redrive, discard and export on the embedded broker's real file; what fails in between is put in between."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import subprocess
import sys
import time
from base64 import b64decode
from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from waybill import (
    App,
    BrokerError,
    ConfigurationError,
    DeadLetterRecord,
    DestinationMissing,
    Reject,
    Settings,
    Topic,
    envelope,
)
from waybill.adapter import Adapter, Sink, Source
from waybill.clock import SystemClock
from waybill.letters import Exported, export, pages
from waybill.loading import AdapterContext
from waybill.message import Delivery, Message
from waybill.outcomes import (
    DONE,
    LOST,
    Ack,
    Confirmed,
    ExtendResult,
    Failed,
    Refused,
    SendResult,
    Settled,
    SettleResult,
)
from waybill.redrive import Discarded, Redriven, discard, redrive
from waybill.topology import Destination, Subscription, TopicSpec, Topology
from waybill_embedded import adapter

from .stand_ins import message, until

TOPIC = TopicSpec("things", ordered=True)
BILLING = Subscription(topic=TOPIC, group="billing")
SHIPPING = Subscription(topic=TOPIC, group="shipping")
ORDERED = Subscription(topic=TOPIC, group="billing", ordered=True)
AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def everything(_: Message) -> bool:
    return True


def letter(ident: str, *, reason: str = "rejected", **more: Any) -> Message:
    record = DeadLetterRecord(reason=reason, topic="things", group="billing", attempts=5, at=AT, stack="…")
    return message(ident, dead=record, attempts=4, first_failure=AT, **more)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'bus.db'}"


@contextlib.asynccontextmanager
async def opened(url: str) -> AsyncGenerator[Adapter, None]:
    async with adapter(url, AdapterContext(application="test", clock=SystemClock(), options={})) as bus:
        await bus.admin.apply(await bus.admin.plan(Topology((TOPIC,), (BILLING, SHIPPING))))
        yield bus


async def bury(bus: Adapter, *letters: Message) -> None:
    async with bus.sink(Destination("dead", TOPIC, "billing")) as sink:
        results = await sink.send(letters, deadline=time.monotonic() + 5)
    assert all(isinstance(result, Confirmed) for result in results)


async def dead(bus: Adapter) -> list[Message]:
    return [item async for page in pages(bus.admin, BILLING) for item in page.messages]


async def free(bus: Adapter) -> list[str]:
    """The dead letters that can be taken now."""
    async with bus.dead_letters(BILLING) as source:
        return [delivery.message.id for delivery in await source.receive(1000)]


async def ready(bus: Adapter, subscription: Subscription = BILLING) -> list[Delivery[Any]]:
    """What the group can be handed now, all of it."""
    count = (await bus.admin.backlog(subscription)).ready.value
    found: list[Delivery[Any]] = []
    async with bus.source(subscription, window=1000, notify=lambda _: None) as source, asyncio.timeout(5):
        while len(found) < (count or 0):
            found += await source.receive(1000)
    return found


class Between:
    """An adapter whose ways of a redrive lead through a test's hands."""

    def __init__(
        self, bus: Adapter, *, source: type[SourceBetween] | None = None, sink: type[SinkBetween] | None = None
    ):
        self._bus, self._source, self._sink = bus, source, sink
        self.capabilities = bus.capabilities
        self.admin = bus.admin
        self.sinks: list[SinkBetween] = []
        self.sources: list[SourceBetween] = []

    @contextlib.asynccontextmanager
    async def dead_letters(self, subscription: Subscription) -> AsyncGenerator[Source, None]:
        async with self._bus.dead_letters(subscription) as source:
            self.sources.append((self._source or SourceBetween)(source))
            yield self.sources[-1]

    @contextlib.asynccontextmanager
    async def sink(self, destination: Destination) -> AsyncGenerator[Sink, None]:
        async with self._bus.sink(destination) as sink:
            self.sinks.append((self._sink or SinkBetween)(sink))
            yield self.sinks[-1]


class SourceBetween:
    def __init__(self, inner: Source) -> None:
        self.inner = inner
        self.extensions = 0

    async def receive(self, limit: int) -> Sequence[Delivery[Any]]:
        return await self.inner.receive(limit)

    async def settle(self, settled: Sequence[Settled]) -> Sequence[SettleResult]:
        return await self.inner.settle(settled)

    async def extend(self, deliveries: Sequence[Delivery[Any]]) -> Sequence[ExtendResult]:
        self.extensions += 1
        return await self.inner.extend(deliveries)

    async def quiesce(self) -> None:
        await self.inner.quiesce()


class SinkBetween:
    def __init__(self, inner: Sink) -> None:
        self.inner = inner
        self.sends: list[list[str]] = []

    async def send(self, messages: Sequence[Message], *, deadline: float) -> Sequence[SendResult]:
        self.sends.append([item.id for item in messages])
        return await self.inner.send(messages, deadline=deadline)


# ---------------------------------------------------------------- redrive


async def test_a_letter_goes_back_to_the_group_it_failed_in_and_to_no_other(url: str) -> None:
    async with opened(url) as bus:
        await bury(
            bus, letter("m1", key="k", headers={"tenant": "north"}, body=b"\xff", redrives=2, correlation_id="c")
        )
        assert await redrive(bus, BILLING, everything) == Redriven(sent=1)
        assert await dead(bus) == []
        (delivery,) = await ready(bus)
        assert delivery.attempt == 1
        found = delivery.message
        assert (found.id, found.key, found.body, found.headers) == ("m1", "k", b"\xff", {"tenant": "north"})
        assert (found.redrives, found.attempts, found.dead, found.first_failure) == (3, 0, None, None)
        assert found.correlation_id == "c"
        assert (await bus.admin.backlog(SHIPPING)).ready.value == 0


async def test_what_fails_again_comes_back_with_its_redrives_and_is_not_taken_a_second_time(url: str) -> None:
    topic = Topic("things", bytes)
    app = App("billing", settings=Settings(url=url))
    handled: list[int] = []

    @app.consume(topic)
    async def fail(_: bytes) -> None:
        handled.append(1)
        raise Reject("still no good")

    async with app.running(), app.connected() as brokers:
        bus = brokers.of(topic.spec)
        for number in range(30):
            await app.publish(topic, b"%d" % number)
        await until(lambda: len(handled) == 30)

        async def died(redrives: int) -> bool:
            letters = await dead(bus)
            return len(letters) == 30 and all(item.redrives == redrives for item in letters)

        for redrives in range(3):
            async with asyncio.timeout(10):
                while not await died(redrives):
                    await asyncio.sleep(0.01)
            # some are dead again before the last has been sent: those are not sent once more
            result = await redrive(bus, BILLING, everything, rate=200)
            assert (result.sent, result.unwanted) == (30, 0)
        async with asyncio.timeout(10):
            while not await died(3):
                await asyncio.sleep(0.01)
    assert len(handled) == 120


async def test_a_cut_between_the_send_and_the_removal_makes_a_copy_and_loses_nothing(url: str) -> None:
    class Cut(SourceBetween):
        async def settle(self, settled: Sequence[Settled]) -> Sequence[SettleResult]:
            raise RuntimeError("cut")

    async with opened(url) as bus:
        await bury(bus, *(letter(f"m{n}") for n in range(3)))
        with pytest.raises(RuntimeError, match="cut"):
            await redrive(Between(bus, source=Cut), BILLING, everything)  # type: ignore[arg-type]
        assert [item.id for item in await dead(bus)] == ["m0", "m1", "m2"]
        assert await redrive(bus, BILLING, everything) == Redriven(sent=3)
        assert sorted(d.message.id for d in await ready(bus)) == ["m0", "m0", "m1", "m1", "m2", "m2"]
        assert await dead(bus) == []


async def test_a_process_that_dies_between_the_send_and_the_removal_loses_nothing(url: str) -> None:
    async with opened(url) as bus:
        await bury(bus, *(letter(f"m{n}") for n in range(3)))
    program = f"""
import asyncio, os
from waybill.redrive import redrive
from waybill_embedded.dead import DeadSource
from tests.unit.test_redrive import BILLING, everything, opened

async def settle(self, settled):
    os._exit(9)

async def main():
    async with opened({url!r}) as bus:
        DeadSource.settle = settle
        await redrive(bus, BILLING, everything)

asyncio.run(main())
"""
    root = Path(__file__).parents[2]
    ended = subprocess.run([sys.executable, "-c", program], cwd=root, check=False, timeout=30)
    assert ended.returncode == 9
    async with opened(url) as bus:
        assert [item.id for item in await dead(bus)] == ["m0", "m1", "m2"]
        assert await redrive(bus, BILLING, everything) == Redriven(sent=3)  # what it had taken can be taken again
        assert {d.message.id for d in await ready(bus)} == {"m0", "m1", "m2"}


async def test_only_what_is_wanted_and_no_more_than_the_limit_oldest_first(url: str) -> None:
    async with opened(url) as bus:
        await bury(bus, *(letter(f"m{n:04}", reason="expired" if n % 3 else "rejected") for n in range(1200)))

        def wanted(item: Message) -> bool:
            return item.dead is not None and item.dead.reason == "rejected"

        told: list[Redriven] = []
        result = await redrive(bus, BILLING, wanted, limit=300, on_progress=told.append)
        assert result.sent == 300
        assert told[-1] == result
        assert [item.sent for item in told] == sorted(item.sent for item in told)
        assert [d.message.id for d in await ready(bus)] == [f"m{n:04}" for n in range(0, 900, 3)]
        assert len(await dead(bus)) == len(await free(bus)) == 900
        assert (await redrive(bus, BILLING, wanted)).sent == 100
        assert len(await dead(bus)) == 800


async def test_what_is_not_confirmed_stays_and_is_counted(url: str) -> None:
    class Picky(SinkBetween):
        async def send(self, messages: Sequence[Message], *, deadline: float) -> Sequence[SendResult]:
            good = [item for item in messages if item.id != "m1"]
            taken = iter(await super().send(good, deadline=deadline))
            return [Refused("too large") if item.id == "m1" else next(taken) for item in messages]

    async with opened(url) as bus:
        await bury(bus, *(letter(f"m{n}", key="ab"[n % 2]) for n in range(6)))
        result = await redrive(Between(bus, sink=Picky), BILLING, everything)  # type: ignore[arg-type]
        assert result == Redriven(sent=5, refused=1, cause="too large")
        assert await free(bus) == ["m1"]


async def test_a_key_whose_letter_stayed_is_not_passed_by_its_later_ones(url: str) -> None:
    class Picky(SinkBetween):
        async def send(self, messages: Sequence[Message], *, deadline: float) -> Sequence[SendResult]:
            if any(item.id == "m1" for item in messages):
                return [Refused("too large")] * len(messages)
            return await super().send(messages, deadline=deadline)

    async with opened(url) as bus:
        await bury(bus, *(letter(f"m{n}", key="ab"[n % 2]) for n in range(6)))
        result = await redrive(Between(bus, sink=Picky), ORDERED, everything, rate=15)  # type: ignore[arg-type]
        assert (result.sent, result.refused) == (3, 3)
        assert await free(bus) == ["m1", "m3", "m5"]


async def test_one_at_a_time_of_a_key_where_the_broker_may_store_one_and_not_the_one_before(url: str) -> None:
    async with opened(url) as bus:
        await bury(bus, *(letter(f"m{n}", key="aab"[n % 3]) for n in range(6)), letter("m6"))
        between = Between(bus)
        between.capabilities = msgspec.structs.replace(bus.capabilities, sends_in_order=False)
        assert (await redrive(between, ORDERED, everything)).sent == 7  # type: ignore[arg-type]
        assert between.sinks[0].sends == [["m0", "m2", "m6"], ["m1", "m5"], ["m3"], ["m4"]]


@pytest.mark.parametrize("answer", [Refused("away", transient=True), BrokerError("cut")])
async def test_a_broker_that_takes_nothing_is_left_alone_soon(url: str, answer: Any) -> None:
    class Away(SinkBetween):
        async def send(self, messages: Sequence[Message], *, deadline: float) -> Sequence[SendResult]:
            self.sends.append([])
            if isinstance(answer, Exception):
                raise answer
            return [answer] * len(messages)

    async with opened(url) as bus:
        await bury(bus, *(letter(f"m{n}") for n in range(20)))
        between = Between(bus, sink=Away)
        result = await redrive(between, BILLING, everything, rate=19)  # type: ignore[arg-type]
        assert result.gave_up
        assert (result.sent, result.refused + result.unknown, len(between.sinks[0].sends)) == (0, 3, 3)
        assert result.cause in {"away", "cut"}
        assert len(await free(bus)) == 20


async def test_a_removal_is_asked_for_again_until_the_broker_answers(url: str) -> None:
    class Slow(SourceBetween):
        asked = 0

        async def settle(self, settled: Sequence[Settled]) -> Sequence[SettleResult]:
            type(self).asked += 1
            if self.asked == 1:
                raise BrokerError("cut")
            if self.asked == 2:
                return [Failed("not now")] * len(settled)
            return await super().settle(settled)

    async with opened(url) as bus:
        await bury(bus, letter("m1"), letter("m2"))
        assert await redrive(Between(bus, source=Slow), BILLING, everything) == Redriven(sent=2)  # type: ignore[arg-type]
        assert await dead(bus) == []


async def test_what_was_sent_and_could_not_be_removed_is_told(url: str) -> None:
    class Losing(SourceBetween):
        async def settle(self, settled: Sequence[Settled]) -> Sequence[SettleResult]:
            return [LOST if isinstance(item.settlement, Ack) else DONE for item in settled]

    async with opened(url) as bus:
        await bury(bus, letter("m1"), letter("m2"))
        result = await redrive(Between(bus, source=Losing), BILLING, everything)  # type: ignore[arg-type]
        assert result == Redriven(sent=2, unremoved=2)


async def test_the_rate_is_kept(url: str) -> None:
    async with opened(url) as bus:
        await bury(bus, *(letter(f"m{n}") for n in range(90)))
        for rate, count in ((40.0, 30), (60.0, 60)):
            start = time.monotonic()
            assert (await redrive(bus, BILLING, everything, rate=rate, limit=count)).sent == count
            took = time.monotonic() - start
            assert 0.95 * count / rate <= took <= 1.05 * count / rate + 10.0  # for opening, on a busy machine


async def test_what_it_took_to_begin_is_not_caught_up(url: str) -> None:
    class Late(SourceBetween):
        begun = 0.0

        async def receive(self, limit: int) -> Sequence[Delivery[Any]]:
            if not Late.begun:
                await asyncio.sleep(1.0)  # as long as a broker takes that is asked for the first time
                Late.begun = time.monotonic()
            return await super().receive(limit)

    async with opened(url) as bus:
        await bury(bus, *(letter(f"m{n}") for n in range(60)))
        assert (await redrive(Between(bus, source=Late), BILLING, everything, rate=60.0)).sent == 60  # type: ignore[arg-type]
        assert time.monotonic() - Late.begun >= 0.95


async def test_leases_are_kept_while_it_takes_long(url: str) -> None:
    short = msgspec.structs.replace(BILLING, lease=3.0)
    async with opened(url) as bus, opened(url) as other:
        await bury(bus, letter("m0"))
        between = Between(bus)
        running = asyncio.create_task(redrive(between, short, everything, rate=0.14))  # type: ignore[arg-type]
        await asyncio.sleep(6.5)  # more than twice the lease, and before it is sent
        assert between.sinks[0].sends == []
        assert await free(other) == []
        assert await running == Redriven(sent=1)
        assert between.sources[0].extensions >= 4
        assert len(await ready(bus)) == 1


async def test_what_is_lost_while_it_waits_is_not_sent(url: str) -> None:
    class Losing(SourceBetween):
        async def extend(self, deliveries: Sequence[Delivery[Any]]) -> Sequence[ExtendResult]:
            return [
                LOST if d.message.id == "m2" else r
                for d, r in zip(deliveries, await super().extend(deliveries), strict=True)
            ]

    short = msgspec.structs.replace(BILLING, lease=6.0)
    async with opened(url) as bus:
        await bury(bus, *(letter(f"m{n}") for n in range(3)))
        result = await redrive(Between(bus, source=Losing), short, everything, rate=1)  # type: ignore[arg-type]
        assert result.sent == 2
        assert [d.message.id for d in await ready(bus)] == ["m0", "m1"]


async def test_cancelled_while_it_waits_it_gives_back_what_it_has_not_sent(url: str) -> None:
    told: list[Redriven] = []
    async with opened(url) as bus, opened(url) as other:
        await bury(bus, *(letter(f"m{n}") for n in range(40)))
        running = asyncio.create_task(redrive(bus, BILLING, everything, rate=20, on_progress=told.append))
        await until(lambda: told and told[-1].sent >= 4)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        sent = [d.message.id for d in await ready(bus)]
        assert len(sent) == told[-1].sent < 40
        assert sorted(sent + await free(other)) == sorted(f"m{n}" for n in range(40))


async def test_cancelled_while_it_sends_it_removes_what_was_sent(url: str) -> None:
    sending = asyncio.Event()

    class Slow(SinkBetween):
        async def send(self, messages: Sequence[Message], *, deadline: float) -> Sequence[SendResult]:
            results = await super().send(messages, deadline=deadline)
            sending.set()
            await asyncio.sleep(0.1)
            return results

    async with opened(url) as bus:
        await bury(bus, *(letter(f"m{n}") for n in range(700)))
        running = asyncio.create_task(redrive(Between(bus, sink=Slow), BILLING, everything))  # type: ignore[arg-type]
        await sending.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        left = await free(bus)
        assert len(left) == 200
        assert not set(left) & {d.message.id for d in await ready(bus)}


async def test_wrong_use_is_refused_before_anything_is_taken(url: str) -> None:
    async with opened(url) as bus:
        await bury(bus, letter("m1"))
        for wrong in ({"rate": 0.0}, {"rate": float("nan")}, {"limit": 0}):
            with pytest.raises(ConfigurationError):
                await redrive(bus, BILLING, everything, **wrong)  # type: ignore[arg-type]
        with pytest.raises(DestinationMissing):
            await redrive(bus, Subscription(topic=TOPIC, group="nobody"), everything)
        assert await free(bus) == ["m1"]


# ---------------------------------------------------------------- discard and export


async def test_discard_removes_what_is_wanted_and_logs_why(url: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="waybill.redrive")
    async with opened(url) as bus:
        await bury(bus, *(letter(f"m{n}") for n in range(4)))
        result = await discard(bus, BILLING, lambda item: item.id in {"m1", "m3"}, reason="test orders")
        assert result == Discarded(discarded=2, unwanted=2)
        assert await free(bus) == ["m0", "m2"]
        assert await ready(bus) == []
        assert caplog.messages == [
            f"discarding {ident} of things/billing (rejected): test orders" for ident in ("m1", "m3")
        ]
        with pytest.raises(ConfigurationError, match="why"):
            await discard(bus, BILLING, everything, reason=" ")
        assert (await discard(bus, BILLING, everything, reason="all", limit=1)).discarded == 1
        assert await free(bus) == ["m2"]


async def test_an_export_holds_all_there_is_and_removes_nothing(url: str) -> None:
    letters = [
        letter("m1", key="k", headers={"tenant": "north"}, body="grüße\n".encode(), redrives=2, correlation_id="c",
               expires=AT + timedelta(days=1), content_type="application/json", traceparent="00-1-2-03"),
        letter("m2", body=b"\xff\x00"),
        letter("m3", body=None, reason="expired"),
        letter("m4", body=b""),
    ]  # fmt: skip
    async with opened(url) as bus:
        await bury(bus, *letters)
        lines: list[bytes] = []
        assert await export(bus.admin, BILLING, everything, lines.append) == Exported(4)
        assert await export(bus.admin, BILLING, everything, lambda _: None, limit=2) == Exported(2)
        stored = await dead(bus)
        assert await free(bus) == ["m1", "m2", "m3", "m4"]
    assert all(line.endswith(b"\n") and line.count(b"\n") == 1 for line in lines)
    assert [read_back(line) for line in lines] == [
        msgspec.structs.replace(item, attempts=0, first_failure=None) for item in stored
    ]


def read_back(line: bytes) -> Message:
    found = json.loads(line)
    body = found["body"]
    if body is not None:
        body = b64decode(body) if found["body_encoding"] == "base64" else body.encode()
    attributes = envelope.decode(found["attributes"], body, headers=found["headers"], topic="?", received=AT)
    record = msgspec.convert(found["record"], DeadLetterRecord)
    return msgspec.structs.replace(attributes, redrives=found["redrives"], dead=record)
