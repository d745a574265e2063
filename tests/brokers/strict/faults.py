"""Which calls, and which entries of batches, fail without a fault of theirs: by chance, and the same for the same seed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from random import Random

from tests.brokers.strict.call import Call
from tests.brokers.strict.refusing import Refusal

MESSAGING = (
    "SendMessage",
    "SendMessageBatch",
    "ReceiveMessage",
    "DeleteMessage",
    "DeleteMessageBatch",
    "ChangeMessageVisibility",
    "ChangeMessageVisibilityBatch",
    "Publish",
    "PublishBatch",
)
"""The calls that carry messages, rather than those that make queues and topics."""


@dataclass(frozen=True)
class Faults:
    """Shares, from 0 to 1. Of a call at most one of `errors`, `throttled` and `cut` happens."""

    seed: int = 0
    failed: float = 0.0
    """Of the entries of batches: answered in `Failed`, and not carried out."""
    sender: float = 0.0
    """Of those: with `SenderFault`, so that a retry is of no use."""
    errors: float = 0.0
    """Of the calls: a 500 or 503, and not carried out."""
    throttled: float = 0.0
    """Of the calls: `ThrottlingException` or `RequestThrottled`, and not carried out."""
    cut: float = 0.0
    """Of the calls: carried out, and the connection closed instead of an answer."""
    slow: float = 0.0
    """Of the calls: carried out, and answered `seconds` later."""
    seconds: float = 1.0
    actions: tuple[str, ...] = MESSAGING
    target: str = ""
    """Only calls to queues and topics whose name has this in it."""


@dataclass(frozen=True)
class Fate:
    refusal: Refusal | None = None
    failed: dict[str, Refusal] = field(default_factory=dict[str, Refusal])
    seconds: float = 0.0
    cut: bool = False


BROKEN = (
    Refusal("InternalError", "We encountered an internal error. Please try again.", 500, sender=False),
    Refusal(
        "ServiceUnavailable", "The request has failed due to a temporary failure of the server.", 503, sender=False
    ),
)
THROTTLED = (
    Refusal("ThrottlingException", "Rate exceeded"),
    Refusal("RequestThrottled", "The request was denied due to request throttling."),
)
ENTRY = Refusal("InternalError", "We encountered an internal error. Please try again.", sender=False)
AT_FAULT = Refusal("InvalidParameterValue", "The entry was refused because a test asked for it.")


class Fates:
    """The fate of one call after another. The n-th call of an action has the same one whatever other calls came between."""

    def __init__(self, faults: Faults) -> None:
        self.faults = faults
        self.injected: Counter[str] = Counter()
        self._seen: Counter[str] = Counter()

    def next(self, call: Call) -> Fate:
        faults = self.faults
        if call.action not in faults.actions or faults.target not in call.target:
            return Fate()
        self._seen[call.action] += 1
        chance = Random(f"{faults.seed} {call.action} {self._seen[call.action]}")
        what, slow = chance.random(), chance.random() < faults.slow
        refusal: Refusal | None = None
        if what < faults.errors:
            refusal = self._note("errors", chance.choice(BROKEN))
        elif what < faults.errors + faults.throttled:
            refusal = self._note("throttled", chance.choice(THROTTLED))
        cut = refusal is None and what >= 1 - faults.cut
        self.injected.update(slow=slow, cut=cut)
        failed = {} if refusal else self._failed(call, chance)
        return Fate(refusal, failed, faults.seconds if slow else 0.0, cut)

    def _failed(self, call: Call, chance: Random) -> dict[str, Refusal]:
        failed: dict[str, Refusal] = {}
        for entry in call.entries if call.batch else ():
            this, whose = chance.random() < self.faults.failed, chance.random() < self.faults.sender
            if this:
                failed[entry.get("Id", "")] = self._note("failed", AT_FAULT if whose else ENTRY)
        return failed

    def _note(self, kind: str, refusal: Refusal) -> Refusal:
        self.injected[kind] += 1
        return refusal
