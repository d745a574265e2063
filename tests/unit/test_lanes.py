"""Lanes: pure, so every sequence of events can be tried."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from waybill.lanes import Lanes


def test_without_order_everything_may_start_in_the_order_it_came() -> None:
    lanes: Lanes[int] = Lanes(ordered=False)
    for number in range(5):
        lanes.add("k", number)
    assert [lanes.take() for _ in range(6)] == [0, 1, 2, 3, 4, None]


def test_the_second_of_a_key_starts_when_the_first_has_ended() -> None:
    lanes: Lanes[str] = Lanes(ordered=True)
    for item in ("a1", "a2", "b1"):
        lanes.add(item[0], item)
    assert (lanes.take(), lanes.take(), lanes.take()) == ("a1", "b1", None)
    lanes.done("a")
    assert lanes.take() == "a2"


def test_a_message_without_key_waits_for_none() -> None:
    lanes: Lanes[int] = Lanes(ordered=True)
    lanes.add(None, 1)
    lanes.add(None, 2)
    assert (lanes.take(), lanes.take()) == (1, 2)
    lanes.done(None)


def test_a_closed_lane_starts_nothing_until_its_head_may_start_again() -> None:
    lanes: Lanes[str] = Lanes(ordered=True)
    lanes.add("a", "a1")
    assert lanes.take() == "a1"
    lanes.add("a", "a2")
    assert lanes.take() is None
    lanes.again("a", "a1")
    assert (lanes.take(), lanes.take()) == ("a1", None)
    lanes.done("a")
    assert lanes.take() == "a2"


def test_evicting_the_head_takes_all_behind_it_and_opens_the_lane() -> None:
    lanes: Lanes[str] = Lanes(ordered=True)
    for item in ("a1", "a2", "a3", "b1"):
        lanes.add(item[0], item)
    assert lanes.evict("a", "a1") == ["a1", "a2", "a3"]
    assert (lanes.take(), lanes.take()) == ("b1", None)
    lanes.add("a", "a4")
    assert lanes.take() == "a4"


def test_evicting_one_behind_a_started_head_keeps_the_lane() -> None:
    lanes: Lanes[str] = Lanes(ordered=True)
    for item in ("a1", "a2", "a3"):
        lanes.add("a", item)
    assert lanes.take() == "a1"
    assert lanes.evict("a", "a3") == ["a2", "a3"]
    lanes.add("a", "a4")
    assert lanes.take() is None
    lanes.done("a")
    assert lanes.take() == "a4"


def test_evicting_what_is_not_there_takes_nothing() -> None:
    lanes: Lanes[str] = Lanes(ordered=True)
    lanes.add("a", "a1")
    assert lanes.evict("a", "zz") == lanes.evict("b", "zz") == lanes.evict(None, "zz") == []
    assert lanes.take() == "a1"


def test_a_key_takes_nothing_in_until_the_last_that_was_given_back_is_taken() -> None:
    lanes: Lanes[str] = Lanes(ordered=True)
    for item in ("a1", "a2"):
        lanes.returns("a", item)
    lanes.returned("a", "a1")
    assert not lanes.add("a", "a3")
    assert lanes.add("b", "b1")
    assert lanes.add(None, "no key")
    lanes.returned("a", "a2")
    assert lanes.add("a", "a3")
    assert [lanes.take() for _ in range(4)] == ["b1", "no key", "a3", None]


def test_what_was_not_on_its_way_back_opens_no_key() -> None:
    lanes: Lanes[str] = Lanes(ordered=True)
    lanes.returned("a", "a1")
    lanes.returns("a", "a2")
    lanes.returned("a", "a1")
    assert not lanes.add("a", "a3")


def test_after_one_that_was_kept_it_is_anothers_turn_and_then_its_own_again() -> None:
    lanes: Lanes[str] = Lanes(ordered=False)
    lanes.add(None, "poison")
    assert lanes.take() == "poison"
    lanes.keep(None, "poison")
    for item in ("a", "b", "c"):
        lanes.add(None, item)
    assert lanes.ready == 4
    assert [(lanes.next, lanes.take())[1] for _ in range(5)] == ["a", "poison", "b", "c", None]


def test_what_was_kept_is_evicted_with_all_that_is_behind_it() -> None:
    lanes: Lanes[str] = Lanes(ordered=True)
    lanes.add("a", "a1")
    lanes.add("a", "a2")
    assert lanes.take() == "a1"
    lanes.keep("a", "a1")
    assert lanes.evict("a", "a1") == ["a1", "a2"]
    assert lanes.take() is None


class LanesMachine(RuleBasedStateMachine):
    """Against a model: the queue of each key, and what has started."""

    def __init__(self) -> None:
        super().__init__()
        self.lanes: Lanes[tuple[str | None, int]] = Lanes(ordered=True)
        self.waiting: dict[str | None, list[tuple[str | None, int]]] = {}
        self.started: list[tuple[str | None, int]] = []
        self.in_place: list[tuple[str | None, int]] = []
        self.next = 0

    @rule(key=st.sampled_from(["a", "b", "c", None]))
    def add(self, key: str | None) -> None:
        item = (key, self.next)
        self.next += 1
        self.lanes.add(key, item)
        self.waiting.setdefault(key, []).append(item)

    @rule()
    def take(self) -> None:
        item = self.lanes.take()
        if item is None:
            assert not [item for item in self.in_place if item[0] is None], "something kept could start"
            busy = {key for key, _ in (*self.started, *self.in_place)}
            assert all(not items or key in busy for key, items in self.waiting.items()), "something could start"
            return
        key = item[0]
        if item in self.in_place:
            self.in_place.remove(item)
        else:
            assert self.waiting[key].pop(0) == item
        if key is not None:
            assert key not in {k for k, _ in self.started}, "two of one key at once"
        self.started.append(item)

    @precondition(lambda self: self.started)
    @rule(data=st.data())
    def done(self, data: st.DataObject) -> None:
        item = data.draw(st.sampled_from(self.started))
        self.started.remove(item)
        self.lanes.done(item[0])

    @precondition(lambda self: any(key is not None for key, _ in self.started))
    @rule(data=st.data())
    def retry_in_place(self, data: st.DataObject) -> None:
        item = data.draw(st.sampled_from([item for item in self.started if item[0] is not None]))
        self.started.remove(item)
        self.in_place.append(item)
        self.lanes.again(item[0], item)

    @precondition(lambda self: self.started)
    @rule(data=st.data())
    def keep(self, data: st.DataObject) -> None:
        item = data.draw(st.sampled_from(self.started))
        self.started.remove(item)
        self.in_place.append(item)
        self.lanes.keep(item[0], item)
        assert self.lanes.next is not None

    @precondition(lambda self: any(self.waiting.values()))
    @rule(data=st.data())
    def evict(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from([key for key, items in self.waiting.items() if items]))
        item = data.draw(st.sampled_from(self.waiting[key]))
        gone = self.lanes.evict(key, item)
        assert item in gone
        if key is None:
            assert gone == [item]
        else:  # a head that may start now is left where it is, unless it is the one to go
            first_may_start = key not in {k for k, _ in (*self.started, *self.in_place)}
            keep = int(first_may_start and item != self.waiting[key][0])
            assert gone == self.waiting[key][keep:]
        self.waiting[key] = [i for i in self.waiting[key] if i not in gone]


TestLanesMachine = LanesMachine.TestCase
TestLanesMachine.settings = settings(max_examples=40, stateful_step_count=30)
