"""Wrong adapters for Kafka, each sound but for one thing, and the promises that must notice it on the real broker; a test of
Kafka alone where what is wrong has no name in a promise.

python -m tests.contract.mutating runs them. Each is put in the place of what it varies, in a process of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

import waybill_kafka
from tests.contract.mutant import Mutants
from waybill.adapter import Stalled
from waybill.history import Stretch
from waybill.message import Message
from waybill.outcomes import Confirmed, SendResult, Settled, SettleResult
from waybill.topology import TopicSpec
from waybill_kafka import counting, history, layout, member, names, part, pump, records, rooms, watermark
from waybill_kafka.part import Part
from waybill_kafka.pump import Pump
from waybill_kafka.sharing import Claim
from waybill_kafka.sink import KafkaSink
from waybill_kafka.source import KafkaSource
from waybill_kafka.watermark import Watermark

__all__ = ["MUTANTS"]

OWNERSHIP = "tests/kafka/test_ownership.py"
MUTANTS = Mutants()
instead_of = MUTANTS.instead_of


# ---------------------------------------------------------------- commits


@instead_of(watermark.Watermark, "offset", "A04", "G11")
@property
def commits_what_was_handed_out(self: Watermark) -> int:
    """All that was handed out is committed, finished or not."""
    return self.position


class _Highest(Watermark):
    def finish(self, offset: int) -> None:
        """What is behind the highest that is finished counts as finished."""
        for earlier in [earlier for earlier in self._open if earlier <= offset]:
            super().finish(earlier)


@instead_of(part, "Watermark", "fault-18")
class CommitsPastAGap(_Highest):
    """The highest offset that is finished is committed, whatever is unfinished before it."""


@instead_of(member.Member, "_keep", "A02")
async def commits_at_the_end_alone(self: member.Member) -> None:
    """Nothing is committed before its member leaves, and then nothing either."""
    self.commit = _true  # type: ignore[method-assign]


async def _true(**_: Any) -> bool:
    return True


@instead_of(member.Member, "_on_revoked", f"{OWNERSHIP}::test_what_was_at_work_when_a_member_came_is_not_committed")
async def commits_what_is_at_work_when_a_rebalance_begins(self: member.Member) -> None:
    """All that was handed out is committed before partitions are shared anew, without waiting for its end."""
    self.frozen = True
    await self.consumer.commit({tp: (part.marks.position, "") for tp, part in self.parts.items()})


late = KafkaSource.settle


@instead_of(
    KafkaSource,
    "settle",
    f"{OWNERSHIP}::test_what_an_earlier_owner_says_when_the_partition_has_come_back_to_it_is_lost",
)
async def ignores_which_ownership_it_was(self: KafkaSource, settled: Sequence[Settled]) -> Sequence[SettleResult]:
    """What was handed out in an earlier ownership of a partition is settled in this one."""
    for item in settled:
        token = item.delivery.token
        token.part = self._member.parts.get(token.part.tp, token.part)
    return await late(self, settled)


# ---------------------------------------------------------------- who has what


@instead_of(member.Member, "ours_until", "A11")
@property
def believes_itself_for_ever(self: member.Member) -> float:
    """A member that was not heard of goes on as if nothing had happened."""
    return float("inf")


@instead_of(Part, "give_back", f"{OWNERSHIP}::test_what_is_released_comes_back_alone")
def forgets_what_is_given_back(self: Part, record: Any) -> None:
    """What is released is not handed out again by who had it."""


give_back = Part.give_back


@instead_of(Part, "give_back", f"{OWNERSHIP}::test_what_is_released_comes_back_alone")
def seeks_back_to_what_is_given_back(self: Part, record: Any) -> None:
    """What was handed out behind it is handed out again as well."""
    give_back(self, record)
    for offset, delivery in self.out.items():
        if offset > record.offset:
            give_back(self, delivery.native)


claim = member.Member._claim


@instead_of(member.Member, "_claim", f"{OWNERSHIP}::test_a_member_that_comes_takes_away_nothing_that_is_at_work")
def gives_away_what_is_at_work(self: member.Member) -> Claim:
    """A partition may go elsewhere whatever is at work in it."""
    return Claim(claim(self).owned)


@instead_of(part.Part, "dubious", "D12")
@property
def trusts_whoever_died(self: Part) -> bool:
    """What was at work when its owner died is handed out as if nothing had been."""
    return False


@instead_of(member, "Pump", "G09")
class ForgetsAPausedPartition(Pump):
    """A partition that was full, which it soon is here, is never read on."""

    def __init__(self, *known: Any, **options: Any) -> None:
        super().__init__(*known, **options)
        pump.MOST = 20

    def _resume(self, part: Part) -> None:
        """Leave it as it is."""


# ---------------------------------------------------------------- names, retries and letters


@instead_of(names, "inbox", "R08")
def comes_back_by_the_topic(spec: TopicSpec, name: str) -> str:
    """A group's own messages are every group's."""
    return f"{spec.name}..inbox"


@instead_of(names, "dead", "D06")
def shares_dead_letters(spec: TopicSpec, name: str) -> str:
    """All groups of a topic have one place for dead letters."""
    return f"{spec.name}..dead"


whole = KafkaSink.send


@instead_of(KafkaSink, "send", "fault-29")
async def counts_a_copy_before_it_is_stored(
    self: KafkaSink, messages: Sequence[Message], *, deadline: float
) -> Sequence[SendResult]:
    """A retry or a dead letter counts as placed, whatever became of it."""
    results = await whole(self, messages, deadline=deadline)
    if self._destination.kind == "topic":
        return results
    return [Confirmed(message.id) for message in messages]


@instead_of(rooms, "hop", "S01")
def waits_on_one_step(now: float, due: float) -> tuple[int, float]:
    """A delay is that of the highest step that fits into it."""
    step = max(0, sum(seconds <= due - now for seconds in rooms.STEPS) - 1)
    return step, now + rooms.STEPS[step]


@instead_of(layout.Layout, "shared", "P03")
async def sees_somebody_everywhere(self: layout.Layout, topic: str) -> bool:
    """Whether anybody shares a topic is not looked at."""
    return True


# ---------------------------------------------------------------- history


bounds = history.bounds


@instead_of(history, "bounds", "Y01")
async def replays_all_there_is(cluster: Any, reader: Any, stretch: Stretch, topics: Any) -> Any:
    """Which positions were asked for is not looked at."""
    return await bounds(cluster, reader, replace(stretch, first=(), last=()), topics)


@instead_of(waybill_kafka, "seek", "Y02")
async def seeks_nowhere(cluster: Any, subscription: Any, stretch: Stretch, topics: Any) -> None:
    """A group that is to begin somewhere else is left where it is, whoever consumes it."""


# ---------------------------------------------------------------- traces


written = records.write


@instead_of(records, "write", "V01")
def writes_no_redrives_span(message: Message) -> list[tuple[str, bytes]]:
    """What redrove a message is not told."""
    return written(replace(message, redrive_span=None))


@instead_of(records, "write", "V05")
def writes_the_cause_as_the_story(message: Message) -> list[tuple[str, bytes]]:
    """The correlation id is that of the message before."""
    return written(replace(message, correlation_id=message.causation_id))


@instead_of(counting, "_known", "V04")
def forgets_what_was_committed(committed: tuple[int, str] | None, first: int) -> tuple[int, str]:
    """All that a partition holds lies before the group."""
    del committed
    return first, ""


# ---------------------------------------------------------------- health


@instead_of(waybill_kafka.source, "Resumed", "V03")
def says_not_that_it_is_over() -> Stalled:
    """That the broker is away is told, and that it is back is not."""
    return Stalled("it was away")
