"""The recording through the bus, with an ingester that is killed on the way; some seconds, in a temporary folder.

python -m examples.discord
"""

import asyncio
import logging
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TypeAlias

from examples.discord import service
from examples.discord.contracts import replies
from examples.discord.events import CommandInvoked
from examples.discord.gateway import Gateway
from examples.discord.ingest import Ingester, Note
from examples.discord.process import KILLED, Doomed, run
from examples.discord.recording import PAYLOADS
from examples.discord.store import Store
from waybill.adapter import Admin
from waybill.topology import Subscription

Figure: TypeAlias = tuple[str, int, int]
"""What, how many here, how many by the recording."""


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="waybill-discord-") as folder:
        os.environ["WAYBILL_URL"] = f"sqlite:///{folder}/bus.db"
        sys.exit(asyncio.run(demo(Path(folder) / "note.json", Store(Path(folder) / "discord.db"))))


async def demo(path: Path, store: Store) -> int:
    """0 if all is as it was recorded, 1 otherwise."""
    logging.getLogger("examples.discord").setLevel(logging.ERROR)  # the ingester tells what it skips, in its process
    service.store, handled = store, Counter[str]()
    service.app.observe(lambda ended: handled.update([ended.delivery.group]))
    async with service.app.running(), service.app.admin() as bus:
        print(f"{len(PAYLOADS)} payloads are recorded; the ingester begins", flush=True)
        ended = [await run(Doomed, path)]
        print(f"it was killed; another resumes after sequence {Note.read(path).sequence}", flush=True)
        ended += [await run(Ingester, path)]
        print("it has come to the end\n")
        await emptied(bus)
        waiting = sum([await left(bus, group) for group in replies.subscriptions()])
    rows = [*figures(store, handled, waiting), *skipped(Note.read(path))]
    show(rows, store)
    return 0 if ended == [KILLED, 0] and all(here == recorded for _, here, recorded in rows) else 1


async def emptied(bus: Admin) -> None:
    """Wait until both groups have handled all that was published."""
    async with asyncio.timeout(30):
        waiting = 1
        while waiting:
            await asyncio.sleep(0.02)
            waiting = sum([await left(bus, registration.subscription) for registration in service.app.registrations])


async def left(bus: Admin, group: Subscription) -> int:
    """Messages that wait for the group or are in its hands."""
    backlog = await bus.backlog(group)
    return sum(int(count.value or 0) for count in (backlog.ready, backlog.in_flight, backlog.delayed))


# ---------------------------------------------------------------- what came of it, beside a plain loop over the recording


def figures(store: Store, handled: Counter[str], waiting: int) -> list[Figure]:
    events = {event.identity: event for event in Gateway().events(PAYLOADS)}
    recorded = by_channel((event.key, identity) for identity, event in events.items())
    applied = by_channel(store.applied())
    in_order = sum(applied.get(channel) == identities for channel, identities in recorded.items())
    commands = sum(isinstance(event, CommandInvoked) for event in events.values())
    return [
        ("handled by moderation", handled["moderation"], len(events)),
        ("applied", len(store.applied()), len(events)),
        ("channels in their order", in_order, len(recorded)),
        ("commands answered", waiting, commands),
        ("handled by archive", handled["archive"], len(events)),
        ("archived", len(store.archived() & events.keys()), len(events)),
    ]


def by_channel(events: Iterable[tuple[str, ...]]) -> dict[str, list[str]]:
    """The identities of each channel's events, in their order. A guild's joins count as a channel."""
    channels: dict[str, list[str]] = {}
    for channel, identity in events:
        channels.setdefault(channel, []).append(identity)
    return channels


def skipped(note: Note) -> list[Figure]:
    connection = Gateway()
    list(connection.events(PAYLOADS))
    return [
        (f"skipped: {kind}", note.skipped.get(kind, 0), connection.skipped[kind])
        for kind in sorted(connection.skipped | note.skipped)
    ]


def show(rows: Iterable[Figure], store: Store) -> None:
    print(f"{'':30}{'here':>8}{'recorded':>12}")
    for what, here, recorded in rows:
        print(f"{what:30}{here:>8}{recorded:>12}{'' if here == recorded else '  differs'}")
    print("\nthe messages that stand")
    for channel, author, content in store.messages():
        print(f"  {channel}  {author}: {content}")


if __name__ == "__main__":
    main()
