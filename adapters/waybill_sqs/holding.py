"""Messages that are ours for a while: deleted, hidden for longer or given back, ten a call, each with a result of its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import msgspec

from waybill.errors import BrokerError, DestinationMissing
from waybill.outcomes import DONE, LOST, Failed, SettlementKind, SettleResult
from waybill.settling import back_off
from waybill_sqs.client import Aws
from waybill_sqs.limits import BATCH, LONGEST_HIDE
from waybill_sqs.mapping import is_lost, refusal

__all__ = ["INSISTING", "Hands", "Token"]

INSISTING = 2.0
"""Seconds for which what nobody waits for is tried again, so that leaving takes no longer where the way is closed."""


class Token(msgspec.Struct, eq=False, gc=False):
    """What settles a delivery. A message that comes again while it is held has a newer receipt, which is the one that counts."""

    ident: str
    """Its id on SQS."""
    receipt: str
    received: int
    """How often SQS has handed it out."""
    since: float
    """When it came, on `time.monotonic()`."""
    lease_until: float
    settled: SettlementKind | None = None


Change = tuple[Token, int]
"""For how many seconds from now it is to be hidden."""


class Hands:
    """What can be done with messages of one queue."""

    def __init__(self, aws: Aws, url: str) -> None:
        self._aws = aws
        self._url = url
        self._turns = asyncio.Semaphore(aws.table.calls)
        self._hiding: set[asyncio.Task[Any]] = set()

    def where(self, token: Token) -> tuple[str, str]:
        return self._url, token.ident

    async def delete(self, tokens: Sequence[Token], *, patience: float = 0.0) -> Sequence[SettleResult]:
        """patience: seconds for which those that fail are asked for again, where nobody else would."""
        entries = [{"ReceiptHandle": token.receipt} for token in tokens]
        return await self._all("delete_message_batch", entries, patience)

    async def hide(self, changes: Sequence[Change], *, patience: float = 0.0) -> Sequence[SettleResult]:
        """Keep them from everybody for so long; 0: give them back. patience: as of `delete`."""
        now = time.monotonic()
        entries = [
            {
                "ReceiptHandle": token.receipt,
                "VisibilityTimeout": max(0, min(wanted, int(LONGEST_HIDE - (now - token.since)) - 1)),
            }
            for token, wanted in changes
        ]
        return await self._all("change_message_visibility_batch", entries, patience)

    def hide_soon(self, changes: Sequence[Change]) -> None:
        """The same, of what nobody waits for the result of."""
        if changes:
            making = self.hide(changes, patience=INSISTING)
            hiding = asyncio.get_running_loop().create_task(making, name="waybill-sqs-hide")
            self._hiding.add(hiding)
            hiding.add_done_callback(self._hiding.discard)

    def give_back_soon(self, tokens: Sequence[Token]) -> None:
        self.hide_soon([(token, 0) for token in tokens])

    async def finish(self) -> None:
        if self._hiding:
            await asyncio.wait(self._hiding)

    async def _all(self, call: str, entries: Sequence[dict[str, Any]], patience: float) -> Sequence[SettleResult]:
        """In the order given."""
        results = await self._once(call, entries)
        end, failures = time.monotonic() + patience, 0
        while places := [place for place, result in enumerate(results) if isinstance(result, Failed)]:
            failures += 1
            if time.monotonic() + (pause := back_off(failures)) > end:
                break
            await asyncio.sleep(pause)
            for place, result in zip(places, await self._once(call, [entries[p] for p in places]), strict=True):
                results[place] = result
        return results

    async def _once(self, call: str, entries: Sequence[dict[str, Any]]) -> list[SettleResult]:
        parts = [entries[start : start + BATCH] for start in range(0, len(entries), BATCH)]
        if len(parts) == 1:
            return await self._some(call, parts[0])
        found = await asyncio.gather(*(self._some(call, part) for part in parts))
        return [result for results in found for result in results]

    async def _some(self, call: str, entries: Sequence[dict[str, Any]]) -> list[SettleResult]:
        numbered = [{"Id": str(number), **entry} for number, entry in enumerate(entries)]
        try:
            async with self._turns:
                answer = await self._aws.sqs(call, "cannot settle", QueueUrl=self._url, Entries=numbered)
        except DestinationMissing:
            return [LOST] * len(entries)
        except BrokerError as error:
            return [Failed(str(error))] * len(entries)
        results: list[SettleResult] = [Failed("AWS did not say what became of it")] * len(entries)
        for done in answer.get("Successful") or ():
            results[int(done["Id"])] = DONE
        for failed in answer.get("Failed") or ():
            results[int(failed["Id"])] = LOST if is_lost(failed) else Failed(refusal(failed)[0])
        return results
