"""From a broker into the index, and from a file back to a broker."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from tests.dlq.letters import JOE, NOW, key, letter, states
from waybill import BrokerError, ConfigurationError
from waybill.adapter import Adapter, Page
from waybill.clock import SystemClock
from waybill.dlq.collecting import collect
from waybill.dlq.index import Index
from waybill.dlq.model import Recorded, State
from waybill.dlq.transfer import Imported, Line, bring, known_to, read
from waybill.letters import export, pages
from waybill.loading import AdapterContext
from waybill.message import Message
from waybill.redrive import discard, redrive
from waybill.topology import Backlog, Plan, Subscription, TopicSpec, Topology
from waybill_embedded import adapter

TOPIC = TopicSpec("orders")
BILLING = Subscription(topic=TOPIC, group="billing")
ELSEWHERE = Subscription(topic=TopicSpec("parked"), group="night")


@asynccontextmanager
async def broker(path: Path) -> AsyncGenerator[Adapter, None]:
    context = AdapterContext(application="test", clock=SystemClock(), options={})
    async with adapter(f"sqlite:///{path}", context) as bus:
        await bus.admin.apply(await bus.admin.plan(Topology((TOPIC, ELSEWHERE.topic), (BILLING, ELSEWHERE))))
        yield bus


async def bury(bus: Adapter, *letters: Message, subscription: Subscription = BILLING) -> None:
    assert (await bring(bus, subscription, letters, known=lambda _: False)).written == len(letters)


async def dead(bus: Adapter, subscription: Subscription = BILLING) -> list[Message]:
    return [message async for page in pages(bus.admin, subscription) for message in page.messages]


async def test_a_look_finds_what_is_new_known_gone_and_back(index: Index, tmp_path: Path) -> None:
    async with broker(tmp_path / "bus.db") as bus:
        await bury(bus, *(letter(n) for n in range(5)))
        assert (await collect(bus.admin, BILLING, index)).found == Recorded(new=5)
        assert (await collect(bus.admin, BILLING, index)).found == Recorded(known=5)
        await discard(bus, BILLING, lambda m: m.id == "m-1", reason="by another tool")
        found = await collect(bus.admin, BILLING, index)
        assert (found.found, found.complete) == (Recorded(known=4, gone=1), True)
        await redrive(bus, BILLING, lambda m: m.id == "m-2")
        assert (await collect(bus.admin, BILLING, index)).found.gone == 1
        assert states(index) == {State.UNRESOLVED: 3, State.ARCHIVED: 2}
        again = msgspec.structs.replace(letter(2, ago=0), redrives=1)
        await bury(bus, again)
        assert (await collect(bus.admin, BILLING, index)).found.back == 1
    assert index.message(key(2)) == again
    (entry, *_) = index.audit()
    assert (entry.verb, entry.topic, entry.group, entry.why) == (
        "collect",
        "orders",
        "billing",
        "0 new, 1 came back, 0 gone",
    )


async def test_more_than_a_page_is_collected(index: Index, tmp_path: Path) -> None:
    async with broker(tmp_path / "bus.db") as bus:
        await bury(bus, *(letter(n) for n in range(1200)))
        assert (await collect(bus.admin, BILLING, index)).found == Recorded(new=1200)


class Showing:
    """An admin that shows some, and then fails or says that there are others."""

    def __init__(self, *answers: Page | BrokerError) -> None:
        self._answers = list(answers)

    async def browse(self, subscription: Subscription, *, after: str | None = None, limit: int = 100) -> Page:
        del subscription, after, limit
        answer = self._answers.pop(0)
        if isinstance(answer, BrokerError):
            raise answer
        return answer

    async def plan(self, topology: Topology) -> Plan:
        raise NotImplementedError(topology)

    async def apply(self, plan: Plan, *, allow: Sequence[str] = ()) -> None:  # type: ignore[override]
        raise NotImplementedError(plan, allow)

    async def expand(self, subscription: Subscription) -> Sequence[Subscription]:
        return [subscription]

    async def backlog(self, subscription: Subscription) -> Backlog:
        raise NotImplementedError(subscription)


async def test_what_a_broker_could_not_show_is_not_gone(index: Index) -> None:
    everything = Page([letter(n) for n in range(3)])
    await collect(Showing(everything), BILLING, index)
    some = Page([letter(0)], after="1", complete=False)
    seen = await collect(Showing(some, Page([])), BILLING, index)
    assert (seen.found.gone, seen.complete) == (0, False)
    with pytest.raises(BrokerError, match="away"):
        await collect(Showing(Page([letter(9)], after="1"), BrokerError("away")), BILLING, index)
    assert states(index) == {State.UNRESOLVED: 4}, "what was seen before it failed is there, and nothing is gone"


async def written(bus: Adapter, path: Path) -> list[bytes]:
    with path.open("wb") as file:
        await export(bus.admin, BILLING, lambda _: True, file.write)
    return path.read_bytes().splitlines()


async def test_what_was_exported_comes_back_as_it_was_to_another_broker(index: Index, tmp_path: Path) -> None:
    odd = [
        letter(
            1, headers={"x-token": "kept", "ü": "ö"}, body=b"\x00\xff", traceparent="00-a", expires=NOW, tracestate="s"
        ),
        letter(2, body=None, redrives=2, redrive="op-1", edit_of="m-0"),
        letter(3, stack="…", first_failure=NOW, place="orders/3@17", span="00-b", service="shop"),
        letter(4, correlation_id="c", causation_id="d", schema="s", content_type="application/json"),
    ]
    async with broker(tmp_path / "one.db") as one, broker(tmp_path / "other.db") as other:
        await bury(one, *odd)
        lines = await written(one, tmp_path / "letters.jsonl")
        came = [line.message for line in read(lines)]
        done = await bring(other, BILLING, came, known=lambda _: False)
        assert done == Imported(written=4)
        assert await dead(other) == await dead(one) == odd
        await collect(other.admin, BILLING, index)
        once_more = await bring(other, BILLING, came, known=known_to(index, BILLING))
        assert once_more == Imported(known=4), "who has it already keeps it as it is"
        assert len(await dead(other)) == 4
        index.review([key(1)], State.DISCARDED, JOE, now=NOW)
        await discard(other, BILLING, lambda m: m.id == "m-1", reason="gone by mistake")
        await collect(other.admin, BILLING, index)
        assert (await bring(other, BILLING, came, known=known_to(index, BILLING))).written == 1


async def test_letters_can_be_brought_to_another_group(tmp_path: Path) -> None:
    async with broker(tmp_path / "bus.db") as bus:
        await bury(bus, letter(1))
        lines = await written(bus, tmp_path / "letters.jsonl")
        (line,) = read(lines)
        assert line == Line("orders", "billing", letter(1, visit=line.message.dead.id if line.message.dead else ""))
        await bring(bus, ELSEWHERE, [line.message], known=lambda _: False)
        (moved,) = await dead(bus, ELSEWHERE)
    assert moved.dead is not None
    assert (moved.dead.topic, moved.dead.group, moved.dead.place) == ("parked", "night", "orders/billing")
    assert moved.body == line.message.body


async def test_an_export_of_long_ago_is_read(tmp_path: Path) -> None:
    async with broker(tmp_path / "bus.db") as bus:
        await bury(bus, letter(1))
        (line,) = await written(bus, tmp_path / "letters.jsonl")
    told = json.loads(line)
    kept = {
        "reason",
        "detail",
        "topic",
        "group",
        "attempts",
        "at",
        "error",
        "stack",
        "host",
        "process",
        "first_failure",
    }
    told["record"] = {name: value for name, value in told["record"].items() if name in kept}
    del told["redrive"], told["edit_of"]
    (old,) = read([json.dumps(told).encode()])
    assert old.message.id == "m-1"
    assert old.message.dead is not None
    assert old.message.dead.error == "shop.bank.Timeout"


@pytest.mark.parametrize(
    "line",
    [b"x", b"{}", b"[]", b'{"topic": "t"}', b"\xff", b"[" * 100_000],
)
def test_a_line_that_is_no_letter_is_named(line: bytes) -> None:
    with pytest.raises(ConfigurationError, match="line 2 "):
        list(read([b"\n", line]))


async def test_a_topic_that_is_not_there_refuses_and_says_why(tmp_path: Path) -> None:
    nowhere = Subscription(topic=TopicSpec("nowhere"), group="billing")
    async with broker(tmp_path / "bus.db") as bus:
        done = await bring(bus, nowhere, [letter(1), letter(2)], known=lambda _: False)
    assert (done.written, done.refused) == (0, 2)
    assert done.cause


async def test_collecting_does_not_hold_up_the_loop(index: Index, tmp_path: Path) -> None:
    """It works in threads, and others go on meanwhile."""
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0)
            ticks += 1

    async with broker(tmp_path / "bus.db") as bus:
        await bury(bus, *(letter(n) for n in range(500)))
        other = asyncio.create_task(tick())
        await collect(bus.admin, BILLING, index)
        other.cancel()
    assert ticks > 50
