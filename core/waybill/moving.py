"""Sending what a group's dead letters were once more: the copy is confirmed first, then the letter is removed."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Literal, TypeAlias

import msgspec

from waybill.adapter import Sink
from waybill.errors import BrokerError
from waybill.message import Delivery, Message
from waybill.outcomes import ACK, RELEASE, Confirmed, Refused, SendResult, Settled, Unknown
from waybill.taking import Letters

__all__ = ["PATIENCE", "Journal", "Moved", "Mover", "Then", "finish", "why"]

log = logging.getLogger("waybill.moving")

PATIENCE = 30.0
"""Seconds a copy is given to be confirmed."""
GIVE_UP = 3
"""Sends in a row of which the broker took nothing, for a reason that is not the letters'."""

Then: TypeAlias = Literal["send", "remove", "leave"]
"""What is to be done with a letter: a copy sent; only removed, since its copy is there; or left, since it is not ours to move."""


class Journal:
    """What is written down on the way, so that another process can go on. This one writes nothing down."""

    async def sending(self, letters: Sequence[Delivery[Any]]) -> Sequence[Then]:
        """They are about to be sent. Says of each what is to be done with it."""
        all_of_them: list[Then] = ["send" for _ in letters]
        return all_of_them

    async def sent(self, letters: Sequence[Delivery[Any]], results: Sequence[SendResult]) -> None:
        """What became of their copies. Those that are confirmed are being removed meanwhile."""

    async def removed(self, letters: Sequence[Delivery[Any]]) -> None:
        """Their copies are confirmed, and they are no dead letters any more. `sent` may be under way still."""

    async def held_back(self, letters: Sequence[Delivery[Any]]) -> None:
        """They stay, since they must not pass one of their key that was refused."""


class Moved(msgspec.Struct, frozen=True):
    """What became of those that were sent."""

    sent: int = 0
    refused: int = 0
    unknown: int = 0
    unremoved: int = 0
    cause: str = ""
    """Why the first was not sent, or not removed."""


class Mover:
    """Sends copies, removes the letters whose copies are confirmed, and counts."""

    def __init__(
        self,
        letters: Letters,
        sink: Sink,
        copy: Callable[[Message], Message],
        *,
        ordered: bool,
        one_by_one: bool,
        journal: Journal | None = None,
        stuck: dict[str, bool] | None = None,
    ) -> None:
        """`ordered`: a key's letters do not pass each other. `one_by_one`: two of a key are never in one send. `stuck`: keys of
        which a letter stayed, and whether for good: their later ones must not pass it."""
        self._letters = letters
        self._sink = sink
        self._copy = copy
        self._ordered = ordered
        self._one_by_one = one_by_one
        self._journal = Journal() if journal is None else journal
        self._counts: Counter[str] = Counter()
        self._cause = ""
        self._stuck = {} if stuck is None else stuck
        self._vain = 0
        self.gave_up = ""
        """Why it goes no further: the broker takes no copies any more, or removes no letters."""

    @property
    def moved(self) -> Moved:
        count = self._counts
        return Moved(count["sent"], count["refused"], count["unknown"], count["unremoved"], self._cause)

    async def move(self, chunk: Sequence[Delivery[Any]]) -> None:
        for wave in _waves(chunk) if self._one_by_one else [chunk]:
            await self._move([delivery for delivery in wave if self._letters.holds(delivery)])

    async def _move(self, wave: Sequence[Delivery[Any]]) -> None:
        going = [delivery for delivery in wave if delivery.message.key not in self._stuck]
        self._counts["refused"] += len(wave) - len(going)
        if behind := [d for d in wave if d.message.key is not None and self._stuck.get(d.message.key)]:
            await self._letters.keeping(self._journal.held_back(behind))
        then = await self._letters.keeping(self._journal.sending(going)) if going else ()
        done = {delivery.token for delivery, what in zip(going, then, strict=True) if what == "remove"}
        sending = [delivery for delivery, what in zip(going, then, strict=True) if what == "send"]
        results: Sequence[SendResult] = ()
        if sending:
            results = await self._letters.keeping(self._send([self._copy(delivery.message) for delivery in sending]))
            done |= self._confirmed(sending, results)
        settled = [Settled(d, ACK if d.token in done else RELEASE) for d in wave]
        # Both at once: what is confirmed may go, whether or not that is written down; what is says that it needs no second copy.
        writing = asyncio.ensure_future(self._journal.sent(sending, results)) if sending else None
        try:
            undone = {item.delivery.token for item in await self._letters.settle(settled) if item.settlement is ACK}
            refusal = self._letters.refusal
            if done - undone:
                await self._letters.keeping(self._journal.removed([d for d in going if d.token in done - undone]))
        finally:
            if writing is not None:
                await self._letters.keeping(writing)
        self._counts["unremoved"] += len(undone)
        if undone and refusal:  # what is sent on would only be there twice
            self.gave_up = f"what was sent cannot be removed: {refusal}"
            self._cause = self._cause or self.gave_up

    def _confirmed(self, sending: Sequence[Delivery[Any]], results: Sequence[SendResult]) -> set[Any]:
        """The tokens of those whose copies are confirmed."""
        done: set[Any] = set()
        for delivery, result in zip(sending, results, strict=True):
            if isinstance(result, Confirmed):
                self._counts["sent"] += 1
                done.add(delivery.token)
                continue
            self._counts["refused" if isinstance(result, Refused) else "unknown"] += 1
            self._cause = self._cause or why(result)
            if self._ordered and delivery.message.key is not None:
                self._stuck[delivery.message.key] = isinstance(result, Refused) and not result.transient
        self._look_at(results)
        return done

    async def _send(self, copies: Sequence[Message]) -> Sequence[SendResult]:
        try:
            return await self._sink.send(copies, deadline=asyncio.get_running_loop().time() + PATIENCE)
        except BrokerError as error:
            return [Unknown(str(error))] * len(copies)

    def _look_at(self, results: Sequence[SendResult]) -> None:
        """A broker that takes nothing for a reason of its own is not asked a thousand times."""
        vain = all(isinstance(r, Unknown) or (isinstance(r, Refused) and r.transient) for r in results)
        self._vain = self._vain + 1 if vain else 0
        if self._vain >= GIVE_UP:
            self.gave_up = "the broker takes nothing now"


def why(result: Refused | Unknown) -> str:
    """Why it is not confirmed, in words."""
    return result.reason if isinstance(result, Refused) else result.cause


async def finish(work: Coroutine[Any, Any, None]) -> None:
    """Let `work` end, also when we are cancelled meanwhile: what was sent has to be removed. Twice cancelled leaves at once."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("interrupted, and what was under way failed: %s", error)
        raise


def _waves(chunk: Sequence[Delivery[Any]]) -> list[list[Delivery[Any]]]:
    """One after another, none with two letters of one key, for a broker that may store one and not the one before it."""
    waves: list[list[Delivery[Any]]] = []
    seen: Counter[str] = Counter()
    for delivery in chunk:
        key = delivery.message.key
        number = 0 if key is None else seen[key]
        if key is not None:
            seen[key] += 1
        if number == len(waves):
            waves.append([])
        waves[number].append(delivery)
    return waves
