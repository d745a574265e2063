"""Receives of a FIFO queue that are tried again by the name of their attempt, which the emulators do not know or half know.

Page "ReceiveMessage" of the Amazon SQS API reference, `ReceiveRequestAttemptId`: for five minutes the same attempt brings the
same messages with the same handles, and hides them anew, unless one of them was deleted or its visibility was changed or has ended.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from dataclasses import dataclass

from tests.brokers.strict.call import Call
from tests.brokers.strict.receipts import Receipts
from tests.brokers.strict.wire import Answer

ATTEMPT = "ReceiveRequestAttemptId"
FIVE_MINUTES = 300.0
REMEMBERED = 10_000


@dataclass(frozen=True)
class Brought:
    answer: Answer
    at: float
    until: dict[str, float | None]
    """When each message is visible again, by its handle, if nobody changes that."""


class Attempts:
    """What each attempt has brought, by its queue and name."""

    def __init__(self, receipts: Receipts) -> None:
        self._receipts = receipts
        self._brought: OrderedDict[tuple[str, str], Brought] = OrderedDict()

    def remember(self, call: Call, answer: Answer, now: float) -> None:
        """What an attempt brought just now, and `Receipts` knows."""
        if name := call.parameters.get(ATTEMPT):
            handles = [message["ReceiptHandle"] for message in json.loads(answer.body)["Messages"]]
            until = {handle: self._receipts.held_until(handle) for handle in handles}
            self._brought[call.target, name] = Brought(answer, now, until)
            while len(self._brought) > REMEMBERED:
                self._brought.popitem(last=False)

    def again(self, call: Call, now: float) -> Brought | None:
        """What the attempt has brought before, if it is as it was then."""
        brought = self._brought.get((call.target, call.parameters.get(ATTEMPT, "")))
        if brought is None or now > brought.at + FIVE_MINUTES:
            return None
        held = {handle: self._receipts.held_until(handle) for handle in brought.until}
        return (
            brought if held == brought.until and all(end is not None and end > now for end in held.values()) else None
        )
