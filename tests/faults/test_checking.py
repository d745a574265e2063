"""The checker, on journals written by hand: each rule is broken once, and kept beside it."""

from __future__ import annotations

import pytest

from waybill_contracts.faults.checking import Allowed, Verdict, check, disorder, undecided, unsettled
from waybill_contracts.tasks import Step

ORDERED = Allowed(ordered=True)


def steps(text: str) -> list[Step]:
    """`ok:1 started:1 done:1/b@2`: what happened to which number, of key `a` unless another is named, in process 0 unless
    one is; a second apart."""
    found: list[Step] = []
    for at, word in enumerate(text.split()):
        rest, _, process = word.partition("@")
        rest, _, key = rest.partition("/")
        what, _, number = rest.partition(":")
        found.append(Step(what, int(number), key or "a", 1, int(process or 0), float(at)))
    return found


def wrong(text: str, allowed: Allowed, dead: tuple[int, ...] = ()) -> str:
    return "; ".join(check(steps(text), allowed, dead=dead).wrong)


def test_a_sound_journal_is_counted_and_nothing_is_wrong() -> None:
    text = "try:1 ok:1 started:1 done:1 try:2 refused:2 try:3 unknown:3 try:4 started:3 failed:3 started:3 done:3 try:5 ok:5"
    verdict = check(steps(text), ORDERED, dead=[5])
    verdict.hold(seed=7)
    assert verdict == Verdict(
        confirmed=2, refused=1, unknown=2, handled=2, dead=1, failed=1, repeated=0, slowest=None, wrong=[]
    )


@pytest.mark.parametrize(
    ("text", "dead", "said"),
    [
        ("ok:1 ok:2 started:1 done:1", (), "1 confirmed and neither handled nor a dead letter (lost): [2]"),
        ("ok:1 started:1", (), "(lost): [1]"),
        ("ok:1 started:1 failed:1", (), "(lost): [1]"),
        ("ok:1 started:1 failed:1", (1,), ""),
        ("unknown:1 try:2", (), ""),
    ],
)
def test_what_is_confirmed_is_handled_or_a_dead_letter(text: str, dead: tuple[int, ...], said: str) -> None:
    assert said in wrong(text, Allowed(), dead)
    assert bool(said) == bool(wrong(text, Allowed(), dead))


def test_what_was_refused_is_not_handled_while_the_unknown_may_be() -> None:
    assert wrong("refused:1 started:1 done:1", Allowed()) == "1 refused, and handled all the same: [1]"
    assert not wrong("unknown:1 started:1 done:1 try:2 started:2 done:2", Allowed())


def test_a_message_comes_once_more_for_each_fault_at_most() -> None:
    twice = "ok:1 started:1 started:1 done:1"
    assert "handled more than once more for each of 0 faults: [1]" in wrong(twice, Allowed(each=9))
    assert not wrong(twice, Allowed(faults=1, each=1))
    thrice = "ok:1 started:1 started:1 started:1 done:1"
    assert "each of 1 faults: [1]" in wrong(thrice, Allowed(faults=1, each=9))
    assert not wrong(thrice, Allowed(faults=2, each=1))
    assert not wrong("ok:1 started:1 failed:1 started:1 done:1", Allowed()), "a second try after a failure is none"
    assert not wrong(twice, Allowed(faults=1, each=1, copies=1))


def test_all_together_they_are_as_many_as_were_at_risk_at_most() -> None:
    text = " ".join(f"ok:{n} started:{n} started:{n} done:{n}" for n in range(5))
    assert "5 handlings were repeated, and 4 may be: [0, 1, 2, 3, 4]" in wrong(text, Allowed(faults=2, each=2))
    assert "5 handlings were repeated, and 3 may be" in wrong(text, Allowed(faults=2, each=9, repeats=3))
    assert not wrong(text, Allowed(faults=1, each=5))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ok:1 ok:2 started:1 done:1 started:2 done:2", ""),
        ("started:2 done:2 started:1 done:1 ok:1 ok:2", "a: 1 was first handled after 2"),
        ("ok:1 started:2 done:2 started:1 done:1 ok:2", "a: 2 began before 1 had succeeded"),
        ("started:1 started:2@1 done:1 done:2@1 ok:1 ok:2", "a: 2 began before 1 had succeeded"),
        ("started:1 failed:1 started:2 done:2 started:1 done:1 ok:1 ok:2", "a: 2 began before 1 had succeeded"),
        ("started:1 done:1 started:2 done:2 started:1 done:1 started:2 done:2 ok:1 ok:2", ""),
        ("ok:1 ok:2 ok:3 started:1 done:1 started:1 done:1 started:3 done:3", "a: 3 began before 2 had succeeded"),
        ("started:1 started:1 done:1 done:1 ok:1", "a: 1 and 1 at the same time in process 0"),
        ("started:1 started:1@1 done:1@1 ok:1", ""),
        ("ok:2 ok:1/b started:2 started:1/b done:2 done:1/b", ""),
    ],
)
def test_the_messages_of_a_key_come_in_order_without_a_gap(text: str, said: str) -> None:
    allowed = Allowed(ordered=True, faults=1, each=9)
    assert said in wrong(text, allowed)
    assert ("order" in wrong(text, allowed)) == bool(said)
    assert "order" not in wrong(text, Allowed(faults=1, each=9)), "where none was promised"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("started:1 done:1 started:2 done:2", []),
        ("started:1 started:1@1 done:1@1", ["a: 1 and 1 at the same time in process 0 and 1"]),
        ("started:1 done:1@1 started:1@1", ["a: 1 and 1 at the same time in process 0 and 1"]),
        ("started:1 done:1 started:2 cut:2 started:1@1 done:1@1 started:2@1 done:2@1", []),
        ("started:1 done:1 started:2 cut:2 started:3@1", ["a: 3 began before 2 had succeeded"]),
    ],
)
def test_where_a_key_is_handled_alone_no_two_processes_have_it_at_once(text: str, said: list[str]) -> None:
    assert disorder(steps(text), alone=True) == said


def test_a_dead_letter_holds_up_nobody() -> None:
    assert not wrong("ok:1 ok:2 started:1 failed:1 started:2 done:2", ORDERED, dead=(1,))


def test_it_goes_on_in_time_after_each_fault() -> None:
    text = "ok:1 started:1 done:1 unknown:2 unknown:3 try:4 ok:4 started:4 done:4"  # the last ok at 6 s, done at 8 s
    assert not wrong(text, Allowed(over=[4.0], within=4.0))
    assert "again only after 4.0 s, and 3 s are allowed" in wrong(text, Allowed(over=[4.0], within=3.0))
    assert "never again, and 60 s are allowed" in wrong(text, Allowed(over=[1.0, 8.5], within=60.0))
    assert check(steps(text), Allowed(over=[4.0])).slowest == 4.0
    assert "never again" in wrong("ok:1 started:1 done:1 ok:2", Allowed(over=[2.5], within=60.0)), "nothing is handled"
    consumer_only = "started:1 done:1 started:2 done:2"
    assert not wrong(consumer_only, Allowed(over=[1.5], within=2.0)), (
        "who publishes nothing need not be confirmed again"
    )


def test_what_is_at_risk_in_a_process_is_counted() -> None:
    text = steps("started:1@5 done:1@5 settled:1@5 started:2@5 done:2@5 started:3@5 started:4@6 lost:3@5")
    assert unsettled(text, 5) == 1
    assert unsettled(text, 6) == 1
    assert unsettled(text, 7) == 0
    assert undecided(steps("try:1@5 ok:1@5 try:2@5 try:3@6 refused:3@6"), 5) == 1
    assert undecided(steps("try:1@5 ok:1@5 try:3@6 unknown:3@6"), 6) == 0


def test_a_verdict_names_the_numbers_the_figures_and_the_seed() -> None:
    with pytest.raises(AssertionError) as raised:
        check(steps("ok:1 ok:2 started:1 done:1"), Allowed()).hold(seed=4711)
    for part in ("[2]", "2 confirmed", "1 handled", "FAULT_SEED=4711"):
        assert part in str(raised.value)
    with pytest.raises(AssertionError, match="only 0 were confirmed, which shows nothing"):
        check([], Allowed()).hold()
