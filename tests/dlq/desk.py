"""Somebody's desk: an application on the embedded broker's file, its dead letters, the index, and operations on them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar, cast

from waybill import App, DeadLetterRecord, Delivery, Message, Retry, Settings, Topic
from waybill.adapter import Adapter
from waybill.deadletters import fingerprint
from waybill.dlq.collecting import collect
from waybill.dlq.index import Index
from waybill.dlq.model import Key, Query, State
from waybill.dlq.operation import Operation, Orders, Progress
from waybill.dlq.operations import Operations
from waybill.dlq.planning import Plan, plan
from waybill.dlq.running import Outcome, decide, run
from waybill.letters import pages
from waybill.outcomes import Confirmed
from waybill.topology import Destination, Subscription

__all__ = ["Desk", "desk", "letter"]

T = TypeVar("T")
ALL = Query()
BROKEN = fingerprint("builtins.ValueError", "service:handle", "things")


def letter(ident: str, *, reason: str = "retries_exhausted", age: float = 60.0, **more: Any) -> Message:
    """A dead letter of the group `billing`, which has failed `age` seconds ago."""
    at = datetime.fromtimestamp(time.time() - age, UTC)
    record = DeadLetterRecord(
        id=f"death-of-{ident}-{more.get('redrives', 0)}", reason=reason, topic="things", group="billing", attempts=5,
        at=at, error="builtins.ValueError", fingerprint=BROKEN,
    )  # fmt: skip
    given: dict[str, Any] = {
        "id": ident, "body": b'"x"', "type": "things", "source": "test", "time": at, "content_type": "application/json",
        "dead": record, **more,
    }  # fmt: skip
    return Message(**given)


class Desk:
    """`billing` and `shipping` share the topic `things`; `mended` is what is done to what `billing` is handed."""

    def __init__(
        self, folder: Path, *, ordered: bool = False, key: bool = False, tells: bool = False, **topic: Any
    ) -> None:
        self.url = f"sqlite:///{folder / 'bus.db'}"
        self.path = folder / "dlq.db"
        self.topic = Topic(
            "things", str, groups=["billing", "shipping"], key=(lambda text: text[:1] or None) if key else None, **topic
        )
        self.group = Subscription(topic=self.topic.spec, group="billing", ordered=ordered)
        self.handled: list[Message] = []
        self.fails: Callable[[Message], bool] = lambda _: False
        self.tells = tells
        self.adapter: Adapter
        self.operations: Operations

    def app(self, name: str = "billing", **options: Any) -> App:
        """One that handles, and raises for what `fails`."""
        from waybill.dlq.telling import Tells

        app = App(name, settings=Settings(url=self.url), instruments=[Tells(self.path)] if self.tells else ())
        options.setdefault("retry", Retry.none())

        async def handle(_: str, delivery: Delivery[str]) -> None:
            if self.fails(delivery.message):
                raise ValueError("broken")
            self.handled.append(delivery.message)

        cast("Any", app.consume)(self.topic, **options)(handle)
        return app

    async def bury(self, *letters: Message) -> None:
        async with self.adapter.sink(Destination("dead", self.topic.spec, "billing")) as sink:
            results = await sink.send(letters, deadline=time.monotonic() + 30)
        assert all(isinstance(result, Confirmed) for result in results)
        await self.collect()

    async def collect(self) -> None:
        assert (await collect(self.adapter.admin, self.group, self.operations.index)).complete

    async def dead(self) -> list[Message]:
        return [message async for page in pages(self.adapter.admin, self.group) for message in page.messages]

    async def waiting(self, group: str = "billing") -> float:
        subscription = Subscription(topic=self.topic.spec, group=group)
        return (await self.adapter.admin.backlog(subscription)).ready.value or 0

    async def plan(self, query: Query = ALL, **orders: Any) -> Plan:
        more = {name: orders.pop(name) for name in ("check", "to", "history") if name in orders}
        return await plan(self.operations.index, self.group, query, Orders(**orders), **more)

    def begin(self, query: Query = ALL, *, verb: Any = "redrive", to: str = "", **orders: Any) -> Operation:
        return self.operations.begin(verb, self.group, query, Orders(**orders), to=to, by="ada", why="it is mended")

    async def run(self, operation: Operation, **more: Any) -> Outcome:
        return await run(self.adapter, self.group, self.operations, operation, **more)

    async def decided(self, operation: Operation, **more: Any) -> Progress:
        """What has become of it, when that is known of all."""

        async def look() -> Progress:
            return await decide(self.adapter, self.group, self.operations, operation, **more)

        return await eventually(look, lambda progress: not progress.pending)

    def states(self) -> dict[str, State]:
        """Of all letters, by id."""
        found = self.operations.index.page(Query(states=frozenset()), limit=10_000).letters
        return {each.key.id: each.state for each in found}

    def key(self, ident: str) -> Key:
        return Key("things", "billing", ident)


async def eventually(look: Callable[[], Awaitable[T]], true: Callable[[T], Any]) -> T:
    """What is seen when it is as it must be."""
    async with asyncio.timeout(20):
        while not true(seen := await look()):
            await asyncio.sleep(0.02)
    return seen


@asynccontextmanager
async def desk(folder: Path, **options: Any) -> AsyncGenerator[Desk, None]:
    """All of it opened, and the topology there."""
    made = Desk(folder, **options)
    app = made.app()
    with Index.open(made.path) as index:
        made.operations = Operations(index)
        async with app.connected() as brokers:
            made.adapter = brokers.of(made.topic.spec)
            await made.adapter.admin.apply(await made.adapter.admin.plan(app.topology))
            yield made


def ids(messages: Sequence[Message]) -> list[str]:
    return sorted(message.id for message in messages)
