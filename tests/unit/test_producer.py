"""One topic's producer: batches, back-pressure, doubt, cancellation and the end."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Sequence
from contextvars import ContextVar
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from waybill import BrokerUnavailable, ClosedError, PublishRefused, PublishUnknown
from waybill.message import Message
from waybill.outcomes import Confirmed, Refused, SendResult, Unknown
from waybill.producer import Producer

from .stand_ins import message, never, until


class Wire:
    """A sink whose answers a test holds back and decides."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.open.set()
        self.sends: list[list[str]] = []
        self.stored: list[str] = []
        self.answer: Callable[[Message], SendResult | None] = lambda _: None
        self.error: BaseException | None = None
        self.miscount = 0
        self.keys: Counter[str] = Counter()
        self.overlapping = 0
        self.most_overlapping = 0

    async def send(self, messages: Sequence[Message], *, deadline: float) -> Sequence[SendResult]:
        del deadline
        keys = {item.key for item in messages if item.key is not None}
        self.keys.update(keys)
        assert all(self.keys[key] == 1 for key in keys), "two overlapping sends have a message of one key"
        self.overlapping += 1
        self.most_overlapping = max(self.most_overlapping, self.overlapping)
        self.sends.append([item.id for item in messages])
        try:
            await self.open.wait()
            await asyncio.sleep(0)
            if self.error is not None:
                raise self.error
            results: list[SendResult] = []
            for item in messages:
                result = self.answer(item) or Confirmed(item.id, "here")
                if isinstance(result, Confirmed):
                    self.stored.append(item.id)
                results.append(result)
            return results[self.miscount :]
        finally:
            self.overlapping -= 1
            self.keys.subtract(keys)


@contextlib.asynccontextmanager
async def producing(wire: Wire, *, grace: float = 1.0, **options: Any) -> AsyncGenerator[Producer, None]:
    options.setdefault("sends_in_order", True)
    producer = Producer(wire, topic="things", **options)
    try:
        yield producer
    finally:
        await producer.close(grace)


def soon(seconds: float = 5.0) -> float:
    return asyncio.get_running_loop().time() + seconds


async def test_a_confirmed_message_returns_its_confirmation() -> None:
    wire = Wire()
    async with producing(wire) as producer:
        assert await producer.send(message("a"), deadline=soon()) == Confirmed("a", "here")


async def test_what_is_sent_is_in_no_callers_context() -> None:
    caller: ContextVar[str] = ContextVar("caller", default="nobody")
    seen: list[str] = []

    def look(_: Message) -> None:
        seen.append(caller.get())

    async def call(producer: Producer, name: str) -> None:
        caller.set(name)
        await producer.send(message(name), deadline=soon())

    wire = Wire()
    wire.answer = look
    async with producing(wire) as producer, asyncio.TaskGroup() as both:
        both.create_task(call(producer, "alice"))
        both.create_task(call(producer, "bob"))
    assert seen == ["nobody"] * 2


async def test_what_gathers_while_a_batch_is_on_the_wire_goes_out_together() -> None:
    wire = Wire()
    wire.open.clear()
    async with producing(wire) as producer:
        sends = [asyncio.ensure_future(producer.send(message(f"a{n}"), deadline=soon())) for n in range(100)]
        await until(lambda: wire.sends)
        wire.open.set()
        await asyncio.gather(*sends)
    assert len(wire.sends) < 5
    assert wire.stored == [f"a{n}" for n in range(100)]


async def test_each_message_of_a_batch_has_its_own_result() -> None:
    wire = Wire()
    wire.answer = lambda item: {"b": Refused("too bad"), "c": Unknown("cut")}.get(item.id)
    async with producing(wire) as producer:
        results = await asyncio.gather(
            *(producer.send(message(name), deadline=soon()) for name in "abcd"), return_exceptions=True
        )
    assert [type(result) for result in results] == [Confirmed, PublishRefused, PublishUnknown, Confirmed]
    assert "too bad" in str(results[1])
    assert results[1].message_id == "b"
    assert results[1].topic == "things"


@pytest.mark.parametrize("error", [BrokerUnavailable("away"), KeyError("an adapter's bug")])
async def test_an_error_of_the_sink_leaves_every_message_unknown(error: Exception) -> None:
    wire = Wire()
    wire.error = error
    async with producing(wire) as producer:
        with pytest.raises(PublishUnknown):
            await producer.send(message("a"), deadline=soon())


async def test_an_unknown_is_tried_again_under_the_same_id() -> None:
    wire = Wire()
    wire.answer = lambda _: Unknown("cut") if len(wire.sends) == 1 else None
    async with producing(wire) as producer:
        with pytest.raises(PublishUnknown) as caught:
            await producer.send(message("a", key="k"), deadline=soon())
        assert await caught.value.retry() == Confirmed("a", "here")
    assert wire.sends == [["a"], ["a"]]


async def test_trying_again_waits_for_the_first_answer_instead_of_being_refused_behind_itself() -> None:
    wire = Wire()
    wire.open.clear()
    async with producing(wire) as producer:
        patient = asyncio.ensure_future(producer.send(message("other"), deadline=soon()))
        with pytest.raises(PublishUnknown) as caught:
            await producer.send(message("a", key="k"), deadline=soon(0.05))
        again = asyncio.ensure_future(caught.value.retry())
        await asyncio.sleep(0.15)
        wire.open.set()
        assert (await again).id == "a"
        await patient


async def test_no_answer_by_the_deadline_is_unknown_and_in_time() -> None:
    wire = Wire()
    wire.open.clear()
    async with producing(wire, grace=0.05) as producer:
        before = asyncio.get_running_loop().time()
        with pytest.raises(PublishUnknown, match="deadline"):
            await producer.send(message("a"), deadline=soon(0.1))
        assert 0.09 < asyncio.get_running_loop().time() - before < 20


async def test_a_full_buffer_makes_publishers_wait_up_to_their_deadline() -> None:
    wire = Wire()
    wire.open.clear()
    async with producing(wire, buffer=2) as producer:
        sends = []
        for n in range(6):  # four on the wire, two in the buffer
            sends.append(asyncio.ensure_future(producer.send(message(f"a{n}"), deadline=soon())))
            await asyncio.sleep(0.001)
        assert len(wire.sends) == 4
        with pytest.raises(PublishRefused, match="waiting to be sent"):
            await producer.send(message("late"), deadline=soon(0.05))
        waiting = asyncio.ensure_future(producer.send(message("patient"), deadline=soon()))
        await never(waiting.done, during=0.05)
        wire.open.set()
        await asyncio.gather(*sends, waiting)
    assert "late" not in wire.stored


async def test_room_is_passed_on_when_the_one_whose_turn_it_was_gave_up() -> None:
    wire = Wire()
    wire.open.clear()
    async with producing(wire, buffer=1) as producer:
        sends = []
        for n in range(5):  # four on the wire, one in the buffer
            sends.append(asyncio.ensure_future(producer.send(message(f"a{n}"), deadline=soon())))
            await asyncio.sleep(0.001)
        first = asyncio.ensure_future(producer.send(message("first"), deadline=soon()))
        second = asyncio.ensure_future(producer.send(message("second"), deadline=soon(1.0)))
        await asyncio.sleep(0.01)
        real = producer._make_room

        def then_cancel() -> None:  # the waiter is cancelled in the moment its turn has come
            real()
            first.cancel()

        producer._make_room = then_cancel  # type: ignore[method-assign]
        wire.open.set()
        await asyncio.gather(*sends)
        assert (await second).id == "second"
        with contextlib.suppress(asyncio.CancelledError):
            await first


async def test_many_publishers_share_a_small_buffer_without_loss() -> None:
    wire = Wire()
    async with producing(wire, buffer=3) as producer:
        await asyncio.gather(*(producer.send(message(f"a{n}"), deadline=soon()) for n in range(300)))
    assert sorted(wire.stored) == sorted(f"a{n}" for n in range(300))


async def test_a_publish_cancelled_in_the_queue_is_never_sent() -> None:
    wire = Wire()
    wire.open.clear()
    async with producing(wire) as producer:
        sends = []
        for n in range(4):
            sends.append(asyncio.ensure_future(producer.send(message(f"a{n}"), deadline=soon())))
            await asyncio.sleep(0.001)
        queued = asyncio.ensure_future(producer.send(message("queued"), deadline=soon()))
        await asyncio.sleep(0.01)
        queued.cancel()
        with pytest.raises(asyncio.CancelledError):
            await queued
        wire.open.set()
        await asyncio.gather(*sends)
        await producer.send(message("next"), deadline=soon())
    assert wire.stored == ["a0", "a1", "a2", "a3", "next"]


async def test_a_publish_cancelled_on_the_wire_ends_at_once_and_the_next_works() -> None:
    wire = Wire()
    wire.open.clear()
    async with producing(wire) as producer:
        sent = asyncio.ensure_future(producer.send(message("a", key="k"), deadline=soon()))
        await until(lambda: wire.sends)
        sent.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sent
        wire.open.set()
        assert (await producer.send(message("b", key="k"), deadline=soon())).id == "b"


@pytest.mark.parametrize("sends_in_order", [True, False])
async def test_a_key_is_never_in_two_overlapping_sends_and_keeps_its_order(*, sends_in_order: bool) -> None:
    wire = Wire()
    async with producing(wire, sends_in_order=sends_in_order) as producer:

        async def publish(key: str) -> None:
            waiting = []
            for n in range(40):
                waiting.append(await producer.submit(message(f"{key}-{n:02}", key=key), deadline=soon()))
                if n % 7 == 0:
                    await asyncio.sleep(0)
            await asyncio.gather(*waiting)

        await asyncio.gather(*(publish(f"k{n}") for n in range(5)))
    for n in range(5):
        of_key = [ident for ident in wire.stored if ident.startswith(f"k{n}-")]
        assert of_key == sorted(of_key)
        assert len(of_key) == 40
    assert wire.most_overlapping <= 4
    if not sends_in_order:
        assert all(len({ident[:2] for ident in send}) == len(send) for send in wire.sends)


async def test_a_slow_confirmation_does_not_hold_other_keys() -> None:
    wire = Wire()
    wire.open.clear()
    async with producing(wire) as producer:
        slow = asyncio.ensure_future(producer.send(message("slow", key="a"), deadline=soon()))
        await until(lambda: wire.sends)
        other = asyncio.ensure_future(producer.send(message("other", key="b"), deadline=soon()))
        behind = asyncio.ensure_future(producer.send(message("behind", key="a"), deadline=soon()))
        await until(lambda: ["other"] in wire.sends)
        await never(lambda: ["behind"] in wire.sends, during=0.05)
        wire.open.set()
        await asyncio.gather(slow, other, behind)


async def test_what_waits_behind_a_doubtful_message_of_its_key_is_refused_not_sent_past_it() -> None:
    wire = Wire()
    wire.open.clear()
    wire.answer = lambda item: Unknown("cut") if item.id == "first" else None
    async with producing(wire) as producer:
        first = asyncio.ensure_future(producer.send(message("first", key="k"), deadline=soon()))
        await until(lambda: wire.sends)
        behind = asyncio.ensure_future(producer.send(message("behind", key="k"), deadline=soon()))
        other = asyncio.ensure_future(producer.send(message("other", key="x"), deadline=soon()))
        await asyncio.sleep(0.01)
        wire.open.set()
        with pytest.raises(PublishUnknown):
            await first
        with pytest.raises(PublishRefused, match="in order"):
            await behind
        assert (await other).id == "other"
        assert (await producer.send(message("later", key="k"), deadline=soon())).id == "later"
    assert "behind" not in wire.stored


async def test_close_sends_what_is_queued_and_waits_for_the_answers() -> None:
    wire = Wire()
    wire.open.clear()
    producer = Producer(wire, topic="things", sends_in_order=True)
    futures = [await producer.submit(message(f"a{n}", key=f"k{n % 3}"), deadline=soon()) for n in range(100)]
    asyncio.get_running_loop().call_later(0.05, wire.open.set)
    await producer.close(2.0)
    assert all(type(future.result()) is Confirmed for future in futures)


async def test_close_decides_every_publish_even_if_the_broker_never_answers() -> None:
    wire = Wire()
    wire.open.clear()
    before = asyncio.all_tasks()
    producer = Producer(wire, topic="things", sends_in_order=True)
    futures = []
    for n in range(8):
        futures.append(await producer.submit(message(f"a{n}"), deadline=soon(60)))
        await asyncio.sleep(0.001)
    await producer.close(0.05)
    left = asyncio.all_tasks() - before
    undecided = [number for number, future in enumerate(futures) if not future.done()]
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    assert not undecided
    assert not left
    assert [type(future.result()) for future in futures] == [Unknown] * 4 + [Refused] * 4
    assert len(wire.sends) == 4, "nothing is put on the wire once the grace is over"


async def test_after_close_a_publish_is_refused_as_closed_and_a_second_close_does_nothing() -> None:
    producer = Producer(Wire(), topic="things")
    await producer.close(0.1)
    with pytest.raises(ClosedError):
        await producer.send(message("a"), deadline=soon())
    await producer.close(0.1)


async def test_those_who_wait_for_room_at_close_are_told() -> None:
    wire = Wire()
    wire.open.clear()
    producer = Producer(wire, topic="things", buffer=1)
    for n in range(5):
        await producer.submit(message(f"a{n}"), deadline=soon())
        await asyncio.sleep(0.001)
    waiting = asyncio.ensure_future(producer.send(message("waits"), deadline=soon()))
    await asyncio.sleep(0.01)
    closing = asyncio.ensure_future(producer.close(0.5))
    await asyncio.sleep(0.01)
    wire.open.set()
    with pytest.raises(ClosedError):
        await waiting
    await closing


async def test_an_adapter_that_forgets_a_result_does_not_leave_its_key_or_its_callers_behind() -> None:
    wire = Wire()
    wire.miscount = 1
    async with producing(wire, grace=0.1) as producer:
        with pytest.raises(PublishUnknown):
            async with asyncio.timeout(1):
                await producer.send(message("a", key="k"), deadline=soon(30))
        wire.miscount = 0
        assert (await producer.send(message("b", key="k"), deadline=soon(1))).id == "b"


@settings(max_examples=60)
@given(
    keys=st.lists(st.sampled_from(["a", "b", None]), min_size=1, max_size=40),
    bad=st.sets(st.integers(0, 39), max_size=6),
    in_order=st.booleans(),
)
def test_every_publish_ends_and_a_key_never_passes_a_doubtful_message(
    keys: list[str | None], bad: set[int], *, in_order: bool
) -> None:
    async def run() -> None:
        wire = Wire()
        wire.answer = lambda item: Unknown("cut") if int(item.id) in bad else None
        producer = Producer(wire, topic="things", sends_in_order=in_order)
        futures = []
        for number, key in enumerate(keys):
            futures.append(await producer.submit(message(str(number), key=key), deadline=soon()))
        await producer.close(5.0)
        results = [future.result() for future in futures]
        for key in ("a", "b"):
            stored = [int(ident) for ident in wire.stored if keys[int(ident)] == key]
            assert stored == sorted(stored)
        for number, result in enumerate(results):
            assert (str(number) in wire.stored) == (type(result) is Confirmed)

    asyncio.run(run())
