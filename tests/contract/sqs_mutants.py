"""Wrong adapters for SQS, each sound but for one thing, and the promises that must notice it on an emulator.

python -m tests.contract.mutating runs them. Each is put in the place of what it varies, in a process of its own. What only shows
when AWS takes a part of a call is in tests/sqs, where a server does that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tests.contract.mutant import Mutants
from waybill.message import Delivery, Message
from waybill.outcomes import DONE, Confirmed, Extended, ExtendResult, SendResult, Settled, SettleResult
from waybill.topology import TopicSpec
from waybill_sqs import attempts, names, records, sink
from waybill_sqs.holding import Hands, Token
from waybill_sqs.sink import SqsSink
from waybill_sqs.source import SqsSource

__all__ = ["MUTANTS"]

MUTANTS = Mutants()
instead_of = MUTANTS.instead_of


# ---------------------------------------------------------------- leases


@instead_of(SqsSource, "extend", "F07")
async def renews_without_cancelling(self: SqsSource, deliveries: Sequence[Delivery[Any]]) -> Sequence[ExtendResult]:
    """A lease is said to be renewed, whatever became of it."""
    return [Extended(float("inf")) for _ in deliveries]


@instead_of(SqsSource, "_kept", "F06")
def never_renews(self: SqsSource, token: Token, now: float) -> ExtendResult | None:
    """A lease is said to last, and SQS is not told."""
    return Extended(now + 60)


@instead_of(SqsSource, "_release", "A07")
def holds_on_to_what_it_gives_back(self: SqsSource, item: Settled) -> None:
    """What is given back stays hidden for an hour."""
    item.delivery.token.receipt = "none"


# ---------------------------------------------------------------- what is lost


whole = SqsSink.send


@instead_of(SqsSink, "send", "fault-29")
async def deletes_before_dead_lettering(
    self: SqsSink, messages: Sequence[Message], *, deadline: float
) -> Sequence[SendResult]:
    """A dead letter counts as placed, whatever becomes of it, so that its message is deleted first."""
    results = await whole(self, messages, deadline=deadline)
    if self._destination.kind == "topic":
        return results
    return [Confirmed(message.id) for message in messages]


@instead_of(Hands, "delete", "A02")
async def never_deletes(self: Hands, tokens: Sequence[Token]) -> Sequence[SettleResult]:
    """What is handled is said to be deleted."""
    return [DONE] * len(tokens)


# ---------------------------------------------------------------- what is told


@instead_of(records, "_body", "H01")
def sends_bytes_as_they_are(body: bytes | None) -> tuple[str, str | None]:
    """What is no text travels with its wrong characters replaced."""
    return (body or b"-").decode("utf-8", "replace"), None


@instead_of(sink.records, "deduplication", "D11")
def deduplicates_by_id_alone(message: Message, hop: str, ident: str) -> str:
    """A dead letter that is redriven within five minutes is the message that was there before."""
    return message.id[:128]


@instead_of(names, "dead", "D01")
def has_no_dead_letters_of_its_own(spec: TopicSpec, group: str, *, fifo: bool, prefix: str = "") -> str:
    """Dead letters lie in the group's queue."""
    return names.queue(spec, None, fifo=fifo, prefix=prefix)


@instead_of(attempts.Tried, "of", "R01")
def counts_no_attempts(self: attempts.Tried, where: tuple[str, str], carried: int) -> int:
    """Each attempt is the first."""
    return 0
