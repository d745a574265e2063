"""Wrong adapters for SQS, each sound but for one thing, and the promises that must notice it on an emulator.

python -m tests.contract.mutating runs them, on FIFO queues and on standard ones. Each is put in the place of what it varies, in a
process of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec.structs import replace

import waybill_sqs
from tests.contract.mutant import Mutant, Mutants
from waybill.adapter import Stalled
from waybill.ids import new_id
from waybill.message import DeadLetterRecord, Delivery, Message
from waybill.outcomes import DONE, Confirmed, Extended, ExtendResult, Failed, SendResult, Settled, SettleResult
from waybill.topology import Subscription, TopicSpec
from waybill_sqs import admin, attempts, names, records, sink
from waybill_sqs.holding import Hands, Token
from waybill_sqs.sink import SqsSink
from waybill_sqs.source import SqsSource

__all__ = ["MUTANTS", "STANDARD"]

MUTANTS = Mutants()
STANDARD = Mutants()
"""The same on queues that are not FIFO, without what only FIFO has."""
instead_of = MUTANTS.instead_of
PART = "tests/sqs/test_bad_days.py::test_a_part_of_each_call_fails_and_each_message_is_handled_once"
LATE = "tests/sqs/test_leases.py::test_what_is_past_its_lease_is_left_to_whoever_has_it_now"
RENEWED = "tests/sqs/test_leases.py::test_what_is_renewed_is_handed_out_to_nobody_else"


# ---------------------------------------------------------------- dead letters

_given_up = records._given_up


@instead_of(records, "_given_up", "D10")
def finds_it_anew_at_each_look(
    native: Mapping[str, Any], subscription: Subscription, message: Message, source: str
) -> DeadLetterRecord:
    """What SQS gave up itself was given up just now, whenever somebody looks."""
    return replace(_given_up(native, subscription, message, source), id=new_id())


@instead_of(records, "_given_up", "D10")
def says_that_it_crashed(
    native: Mapping[str, Any], subscription: Subscription, message: Message, source: str
) -> DeadLetterRecord:
    """What SQS gave up itself is said to have killed its process, nobody knows where."""
    return replace(_given_up(native, subscription, message, source), reason="crashed", place="")


# ---------------------------------------------------------------- leases


@instead_of(SqsSource, "extend", "F07")
async def renews_without_cancelling(self: SqsSource, deliveries: Sequence[Delivery[Any]]) -> Sequence[ExtendResult]:
    """A lease is said to be renewed, whatever became of it."""
    return [Extended(float("inf")) for _ in deliveries]


@instead_of(SqsSource, "_known", f"{LATE}[settlement0]")
def settles_by_an_expired_receipt(self: SqsSource, item: Settled, now: float) -> SettleResult | None:
    """What is past its lease is deleted, or given back, whoever has it now."""
    return None


@instead_of(SqsSource, "_kept", RENEWED)
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
async def never_deletes(self: Hands, tokens: Sequence[Token], *, patience: float = 0.0) -> Sequence[SettleResult]:
    """What is handled is said to be deleted."""
    return [DONE] * len(tokens)


sound_some, sound_sorted = Hands._some, SqsSink._sorted_out  # pyright: ignore[reportPrivateUsage]


@instead_of(Hands, "_some", f"{PART}[True]", f"{PART}[False]")
async def ignores_what_failed_of_a_settlement(
    self: Hands, call: str, entries: Sequence[dict[str, Any]]
) -> list[SettleResult]:
    """An entry that AWS has not taken counts as done."""
    return [DONE if isinstance(result, Failed) else result for result in await sound_some(self, call, entries)]


@instead_of(SqsSink, "_sorted_out", f"{PART}[True]", f"{PART}[False]")
def ignores_what_failed_of_a_publish(self: SqsSink, batch: Sequence[Any], answer: Mapping[str, Any]) -> list[Any]:
    """An entry that AWS has not taken counts as confirmed."""
    entries = [*(answer.get("Successful") or ()), *(answer.get("Failed") or ())]
    return sound_sorted(self, batch, {"Successful": entries})


# ---------------------------------------------------------------- what is told


@instead_of(records, "_body", "H01")
def sends_bytes_as_they_are(body: bytes | None) -> tuple[str, str | None]:
    """What is no text travels with its wrong characters replaced."""
    return (body or b"-").decode("utf-8", "replace"), None


@instead_of(sink.records, "deduplication", "D11")
def deduplicates_by_id_alone(message: Message, hop: str, ident: str) -> str:
    """A dead letter that is redriven within five minutes is the message that was there before."""
    return message.id[:128]


@instead_of(names, "dead", "R07")
def has_no_dead_letters_of_its_own(spec: TopicSpec, group: str, *, fifo: bool, prefix: str = "") -> str:
    """Dead letters lie in the group's queue."""
    return names.queue(spec, None, fifo=fifo, prefix=prefix)


@instead_of(attempts.Tried, "of", "R01")
def counts_no_attempts(self: attempts.Tried, where: tuple[str, str], carried: int) -> int:
    """Each attempt is the first."""
    return 0


told = records.envelope.encode


@instead_of(records.envelope, "encode", "V01")
def leaves_the_trace_to_aws(message: Message) -> dict[str, str]:
    """The trace is in `AWSTraceHeader` alone, which carries no state."""
    return {name: text for name, text in told(message).items() if not name.startswith("trace")}


@instead_of(records.envelope, "encode", "V05")
def tells_no_cause(message: Message) -> dict[str, str]:
    """What caused a message is not told."""
    return {name: text for name, text in told(message).items() if name != "causationid"}


MUTANTS["counts_only_what_is_delayed"] = Mutant(admin, "READY", ("ApproximateNumberOfMessagesDelayed",), ("V04",))


# ---------------------------------------------------------------- health


@instead_of(waybill_sqs.source, "Resumed", "V03")
def says_not_that_it_is_over() -> Stalled:
    """That the broker is away is told, and that it is back is not."""
    return Stalled("it was away")


ONLY_FIFO = "deduplicates_by_id_alone"
STANDARD.update({f"{name}_standard": found for name, found in MUTANTS.items() if name != ONLY_FIFO})
