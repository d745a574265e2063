"""From the gateway onto the bus: each event in its order, and none lost when this is killed at any moment.

How far it is, is noted only when the events are on the bus. Whoever resumes from the note may so publish some of them
again, with the same identities, and the bus takes each once.
"""

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Self

import msgspec

from examples.discord.contracts import Happened, happened
from examples.discord.gateway import Gateway
from waybill import App, Confirmed

__all__ = ["Ingester", "NotOnTheBus", "Note"]

log = logging.getLogger(__name__)


class NotOnTheBus(Exception):
    """Some of the events may not be on the bus: begin again from the note."""


class Note(msgspec.Struct, frozen=True):
    """How far the ingester is. A real one notes the session's id as well."""

    sequence: int | None = None
    skipped: dict[str, int] = {}
    """In one with the sequence, so that a payload that comes again is not counted again."""

    @classmethod
    def read(cls, path: Path) -> Self:
        return msgspec.json.decode(path.read_bytes(), type=cls) if path.exists() else cls()

    def write(self, path: Path) -> None:
        """The file holds the last note or this one, never a half."""
        new = path.with_suffix(".new")
        new.write_bytes(msgspec.json.encode(self))
        new.replace(path)


class Ingester:
    """One connection to the gateway, from the note on."""

    def __init__(self, app: App, path: Path) -> None:
        self.app = app
        note = Note.read(path)
        self.gateway = Gateway(note.sequence, note.skipped)
        self._path = path

    async def take(self, payloads: Iterable[str]) -> None:
        """Publish their events, and only then note how far we are. Raises `NotOnTheBus`."""
        events = [Happened(event) for event in self.gateway.events(payloads)]
        results = await self.app.publish_many(happened, events)
        missing = [result for result in results if not isinstance(result, Confirmed)]
        if missing:
            raise NotOnTheBus(f"{len(missing)} of {len(results)} events, the first of them: {missing[0]}")
        log.info("on the bus up to sequence %s, events: %d", self.gateway.sequence, len(results))
        self.note()

    def note(self) -> None:
        Note(self.gateway.sequence, dict(self.gateway.skipped)).write(self._path)
