"""Reviews and claims: from state to state, by one rule, and never without a line in the audit."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.dlq.letters import ANY, JOE, NOW, again, key, letter, put, states, walk
from waybill.dlq.index import Index
from waybill.dlq.model import NEXT, OPEN, Action, Query, State
from waybill.message import Message

REVIEWED = frozenset({State.UNRESOLVED, State.TRIAGED, State.RESOLVED, State.DISCARDED, State.ARCHIVED})
"""States in which letters are nobody's but people's."""


def test_whoever_triages_says_who_and_what_and_the_audit_keeps_it(index: Index) -> None:
    put(index, [letter(1)])
    assert index.review([key(1)], State.TRIAGED, JOE, owner="ann", ticket="SHOP-1", note="bank down", now=NOW) == [
        key(1)
    ]
    assert index.review([key(1)], State.TRIAGED, Action(by="ann", why="wrong"), note="was the proxy", now=NOW) == [
        key(1)
    ]
    one = index.get(key(1))
    assert one is not None
    assert (one.owner, one.ticket, one.note) == ("ann", "SHOP-1", "was the proxy"), "what is not given stays"
    last, first = index.audit(key=key(1))
    assert (first.by, first.verb, first.why, first.before, first.after) == (
        "joe", "triaged", "the bank was down", "unresolved", "triaged",
    )  # fmt: skip
    assert (last.by, last.before, last.after) == ("ann", "triaged", "triaged")
    assert first.at == NOW


def test_a_step_that_the_rule_does_not_know_is_not_taken(index: Index) -> None:
    put(index, [letter(1), letter(2)])
    index.review([key(1)], State.DISCARDED, JOE, now=NOW)
    assert index.review([key(1), key(2), key(3)], State.TRIAGED, JOE, now=NOW) == [key(2)]
    assert states(index) == {State.DISCARDED: 1, State.TRIAGED: 1}
    assert index.review([key(1)], State.UNRESOLVED, JOE, now=NOW) == [key(1)], "but it can be taken up again"


def test_nobody_reviews_what_an_operation_has_in_its_hands(index: Index) -> None:
    put(index, [letter(1)])
    index.claim([key(1)], "op", JOE, now=NOW)
    for to in State:
        assert index.review([key(1)], to, JOE, now=NOW) == []
    index.advance([key(1)], "op", State.PENDING, JOE, now=NOW)
    for to in State:
        assert index.review([key(1)], to, JOE, now=NOW) == []


def test_a_letter_is_in_one_operation_at_most(index: Index) -> None:
    put(index, [letter(n) for n in range(4)])
    first = [key(n) for n in range(3)]
    assert index.claim(first, "one", JOE, now=NOW) == first
    assert index.claim(first, "one", JOE, now=NOW) == first, "asked again, it answers the same"
    assert index.claim([key(n) for n in range(4)], "two", JOE, now=NOW) == [key(3)]
    assert index.advance(first, "two", State.PENDING, JOE, now=NOW) == []
    assert index.advance(first, "one", State.PENDING, JOE, now=NOW) == first
    assert index.advance(first, "one", State.PENDING, JOE, now=NOW) == first
    assert index.advance(first[:1], "one", State.RESOLVED, JOE, now=NOW) == first[:1]
    assert index.advance(first[:1], "one", State.PENDING, JOE, now=NOW) == [], "it only moves forward"
    assert {entry.verb for entry in index.audit(operation="one")} == set(), "who acts for an operation says so"


def test_what_an_operation_does_is_found_by_its_id(index: Index) -> None:
    put(index, [letter(n) for n in range(3)])
    action = Action(by="joe", why="mended", operation="op-1")
    index.claim([key(0), key(1)], "op-1", action, now=NOW)
    index.advance([key(0)], "op-1", State.PENDING, action, now=NOW)
    found = index.audit(operation="op-1")
    assert [(entry.verb, entry.id) for entry in found] == [("pending", "m-0"), ("claim", "m-1"), ("claim", "m-0")]
    assert index.audit(operation="op-1", after=found[0].number, limit=1) == found[1:2]
    assert walk(index, Query(operation="op-1"), limit=1) == ["m-0", "m-1"]


def test_a_letter_that_came_back_is_not_pending_any_more_whatever_its_operation_says(index: Index) -> None:
    first = letter(1, ago=100)
    put(index, [first])
    index.claim([key(1)], "op", JOE, now=NOW)
    put(index, [again(first)])
    assert index.advance([key(1)], "op", State.PENDING, JOE, now=NOW) == []
    assert states(index) == {State.UNRESOLVED: 1}


def test_a_secret_in_a_reason_is_not_kept(index: Index) -> None:
    put(index, [letter(1)])
    index.review(
        [key(1)], State.DISCARDED, Action(by="joe", why="password=hunter22 was wrong"), note="token: abcdef", now=NOW
    )
    assert "hunter22" not in index.audit()[0].why
    one = index.get(key(1))
    assert one is not None
    assert "abcdef" not in one.note


def test_the_audit_cannot_be_changed(index: Index) -> None:
    index.note("redrive", JOE, topic="orders", group="billing", count=7, now=NOW)
    with pytest.raises(Exception, match="never changed"), index.database.writing() as connection:
        connection.execute("UPDATE audit SET by = 'somebody else'")
    (entry,) = index.audit()
    assert (entry.by, entry.verb, entry.count) == ("joe", "redrive", 7)


def test_from_every_open_state_there_is_a_way_out() -> None:
    assert set(NEXT) == set(State)
    done = set(State) - OPEN
    for state in OPEN:
        reached, seen = {state}, set[State]()
        while reached - seen:
            seen |= reached
            reached = seen | {then for now in seen for then in NEXT[now]}
        assert done <= reached


class Story(RuleBasedStateMachine):
    """What may happen to a few letters, against a model of it."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory()
        self.opened = Index.open(Path(self.folder.name) / "letters.db")
        self.index = self.opened.__enter__()
        self.seen: dict[int, Message] = {}
        self.state: dict[int, State] = {}
        self.claimed: dict[int, str] = {}
        self.gone: set[int] = set()
        self.steps = 0

    def teardown(self) -> None:
        self.opened.__exit__(None, None, None)
        self.folder.cleanup()

    @rule(n=st.integers(0, 5))
    def appears(self, n: int) -> None:
        if n not in self.seen:
            self.seen[n] = letter(n, ago=1000)
            self.state[n] = State.UNRESOLVED
        elif n in self.gone and self.state[n] is State.ARCHIVED:
            self.state[n] = State.UNRESOLVED
        self.gone.discard(n)
        put(self.index, [self.seen[n]])

    @precondition(lambda self: self.seen)
    @rule(data=st.data())
    def comes_back(self, data: st.DataObject) -> None:
        n = data.draw(st.sampled_from(sorted(self.seen)))
        self.steps += 1
        self.seen[n] = again(self.seen[n], ago=1000 - self.steps)
        self.state[n] = State.UNRESOLVED
        self.gone.discard(n)
        put(self.index, [self.seen[n]])

    @precondition(lambda self: self.seen)
    @rule(data=st.data(), to=st.sampled_from(State))
    def is_reviewed(self, data: st.DataObject, to: State) -> None:
        n = data.draw(st.sampled_from(sorted(self.seen)))
        moves = to in NEXT[self.state[n]] and self.state[n] in REVIEWED
        moves &= not (to is State.UNRESOLVED and n in self.gone)  # nobody could do anything about it
        assert self.index.review([key(n)], to, JOE, now=NOW) == [key(n)] * moves
        if moves:
            self.state[n] = to

    @rule(ns=st.sets(st.integers(0, 5)), operation=st.sampled_from(["one", "two"]))
    def is_claimed(self, ns: set[int], operation: str) -> None:
        free = {n for n in ns if self.state.get(n) in {State.UNRESOLVED, State.TRIAGED} and n not in self.gone}
        own = {n for n in ns if self.state.get(n) is State.REDRIVING and self.claimed.get(n) == operation}
        assert set(self.index.claim([key(n) for n in ns], operation, JOE, now=NOW)) == {key(n) for n in free | own}
        for n in free:
            self.state[n], self.claimed[n] = State.REDRIVING, operation

    @rule(
        ns=st.sets(st.integers(0, 5)),
        operation=st.sampled_from(["one", "two"]),
        to=st.sampled_from([State.PENDING, State.RESOLVED, State.DISCARDED, State.UNRESOLVED]),
    )
    def is_carried_on(self, ns: set[int], operation: str, to: State) -> None:
        mine = {n for n in ns if self.claimed.get(n) == operation}
        moves = {n for n in mine if self.state[n] in {State.REDRIVING, State.PENDING} and to in NEXT[self.state[n]]}
        there = {n for n in mine if self.state[n] is to}
        found = set(self.index.advance([key(n) for n in ns], operation, to, JOE, now=NOW))
        assert found == {key(n) for n in moves | there}
        for n in moves:
            self.state[n] = State.ARCHIVED if to is State.UNRESOLVED and n in self.gone else to

    @rule(ns=st.sets(st.integers(0, 5)))
    def a_whole_look_sees_only(self, ns: set[int]) -> None:
        seen = ns & self.seen.keys()
        for n in seen:
            self.appears(n)
            if self.state[n] not in OPEN:
                self.state[n] = State.UNRESOLVED
        look = self.index.look("orders", "billing", now=NOW + timedelta(days=1))
        look.record([self.seen[n] for n in seen], now=NOW)
        look.end(complete=True, now=NOW)
        for n in self.seen.keys() - seen - self.gone:
            self.gone.add(n)
            if self.state[n] in {State.UNRESOLVED, State.TRIAGED}:
                self.state[n] = State.ARCHIVED

    @invariant()
    def all_questions_agree(self) -> None:
        told = {each.key.id: each.state for each in self.index.page(Query(states=ANY), limit=100).letters}
        assert told == {f"m-{n}": state for n, state in self.state.items()}
        counted: dict[State, int] = {}
        for state in self.state.values():
            counted[state] = counted.get(state, 0) + 1
        assert states(self.index) == counted
        (group,) = self.index.groups(Query(states=ANY)).groups or (None,)
        assert (group.counts if group else {}) == counted
        opened = sum(state in OPEN for state in self.state.values())
        assert self.index.count(Query()) == opened == (group.open if group else 0)
        assert len(walk(self.index, Query(text="order"), limit=2)) == opened


Story.TestCase.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
TestStory: Callable[..., object] = Story.TestCase
