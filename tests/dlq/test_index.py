"""The index: what was seen of dead letters, and what is answered from it."""

from __future__ import annotations

import sqlite3
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.dlq.letters import ANY, JOE, NOW, again, found, key, letter, put, states, walk
from waybill import BrokerError, BrokerFileError, ConfigurationError, envelope
from waybill.dlq.index import Index
from waybill.dlq.model import Group, Key, Query, Recorded, State
from waybill.message import Message


def test_what_was_seen_is_there_once_with_every_byte(index: Index) -> None:
    odd = letter(
        1, body=b"\x00\xff not text", headers={"a": "ü", "b": ""}, correlation_id="c", traceparent="t", key=None
    )
    tombstone = letter(2, body=None)
    assert index.record("orders", "billing", [odd, tombstone], now=NOW) == Recorded(new=2)
    assert index.record("orders", "billing", [odd, tombstone], now=NOW) == Recorded(known=2)
    assert index.message(key(1)) == odd
    assert index.message(key(2)) == tombstone
    assert index.message(key(3)) is None
    one = index.get(key(1))
    assert one is not None
    assert (one.record, one.state, one.visits, one.message_key) == (odd.dead, State.UNRESOLVED, 1, None)


def test_the_same_message_of_two_groups_is_two_letters(index: Index) -> None:
    put(index, [letter(1)])
    index.record("orders", "shipping", [letter(1)], now=NOW)
    assert index.review([key(1)], State.TRIAGED, JOE, now=NOW) == [key(1)]
    other = index.get(Key("orders", "shipping", "m-1"))
    assert other is not None
    assert other.state is State.UNRESOLVED


def test_pages_have_the_order_of_time_both_ways_and_leave_none_out(index: Index) -> None:
    put(index, [letter(n) for n in range(50)])  # the 49th is the oldest
    newest_first = [f"m-{n}" for n in range(50)]
    for limit in (1, 7, 50, 100):
        assert walk(index, Query(), limit=limit) == newest_first
        assert walk(index, Query(), limit=limit, oldest_first=True) == newest_first[::-1]


def test_letters_of_one_moment_are_all_there(index: Index) -> None:
    """And those of times that no clock shows."""
    odd = [datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC), NOW, NOW]
    put(index, [letter(n, ago=0) for n in range(100)] + [letter(200 + n, at=at) for n, at in enumerate(odd)])
    assert len(set(walk(index, Query(), limit=9))) == 104
    first = index.page(Query(), limit=1).letters[0]
    assert first.key.id == "m-201"
    assert first.record.at == odd[1], "it is told as it was said"


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"reason": "rejected"}, {3}),
        ({"disposition": "poison"}, {3}),
        ({"topic": "orders"}, {1, 2, 3, 4, 5, 6}),
        ({"group": "shipping"}, {6}),
        ({"topic": "nothing"}, set()),
        ({"type": "invoices"}, {5}),
        ({"ids": ("m-1", "m-2")}, {1, 2}),
        ({"ids": ("m",), "reason": "rejected"}, {3}),
        ({"ids": ("x",)}, set()),
        ({"since": NOW - timedelta(seconds=2)}, {1, 2}),
        ({"before": NOW - timedelta(seconds=3)}, {4, 5, 6}),
        ({"states": frozenset({State.TRIAGED})}, {4}),
        ({"states": frozenset({State.TRIAGED, State.UNRESOLVED}), "reason": "retries_exhausted"}, {1, 2, 4, 5, 6}),
        ({"owner": "joe"}, {4}),
        ({"owner": ""}, {1, 2, 3, 5, 6}),
        ({"owner": "nobody"}, set()),
        ({"operation": "op"}, set()),
        ({"text": "order-2"}, {2}),
        ({"text": "order 2"}, {2, 5}),
        ({"text": "customer-1"}, {1, 4}),
        ({"text": "Timeout"}, {1, 2, 4, 5, 6}),
        ({"text": "bank:charge timeout"}, {1, 2, 4, 5, 6}),
        ({"text": "wrong", "reason": "rejected"}, {3}),
        ({"text": "wrong", "reason": "expired"}, set()),
        ({"text": "ans*", "group": "shipping"}, {6}),
        ({"text": "green"}, {5}),
        ({"text": "berlin"}, {5}),
        ({"text": 'OR "NEAR( AND'}, set()),
    ],
)
def test_what_is_asked_for_is_found_listed_and_counted(index: Index, query: dict[str, Any], expected: set[int]) -> None:
    put(
        index,
        [
            letter(1),
            letter(2),
            letter(3, reason="rejected", disposition="poison", error="shop.Wrong", detail="wrong currency"),
            letter(4),
            letter(5, type="invoices", headers={"colour": "green"}, body=b'{"city": "Berlin"}'),
        ],
    )
    index.record("orders", "shipping", [letter(6)], now=NOW)
    index.review([key(4)], State.TRIAGED, JOE, owner="joe", now=NOW)
    asked = Query(**query)
    assert {int(each.removeprefix("m-")) for each in walk(index, asked, limit=2)} == expected
    assert index.count(asked) == len(expected)
    assert index.count(asked, most=1) == min(1, len(expected))


def test_a_search_for_no_word_says_so(index: Index) -> None:
    for text in ("*", '"', "a*"):
        with pytest.raises(ConfigurationError):
            index.page(Query(text=text))


def test_ids_are_found_by_their_beginning_and_a_whole_one_is_meant(index: Index) -> None:
    put(index, [letter(1), letter(11), letter(12), letter(2)])
    assert {each.key.id for each in index.find("m-1")} == {"m-1"}
    assert {each.key.id for each in index.find("m-")} == {"m-1", "m-11", "m-12", "m-2"}
    assert index.find("%") == []


def test_what_failed_alike_is_one_group_with_its_figures(index: Index) -> None:
    put(index, [letter(n) for n in range(6)])
    put(index, [letter(10 + n, error="shop.Wrong", reason="rejected") for n in range(3)])
    index.review([key(0), key(1)], State.TRIAGED, JOE, owner="joe", now=NOW)
    index.review([key(2)], State.DISCARDED, JOE, now=NOW)
    first, second = index.groups(Query()).groups
    assert (first.error, first.reason, first.open, second.open) == ("shop.bank.Timeout", "retries_exhausted", 5, 3)
    assert first.counts == {State.UNRESOLVED: 3, State.TRIAGED: 2, State.DISCARDED: 1}
    assert (first.oldest, first.newest, first.owners) == (NOW - timedelta(seconds=5), NOW, ("joe",))
    assert first.fingerprint != second.fingerprint
    assert [g.error for g in index.groups(Query(states=frozenset({State.DISCARDED}))).groups] == ["shop.bank.Timeout"]
    assert found(index, fingerprint=second.fingerprint[:6]) == ["m-10", "m-11", "m-12"]


def test_groups_come_in_pages_the_largest_first(index: Index) -> None:
    for n in range(7):
        put(index, [letter(100 * n + each, error=f"shop.E{n}") for each in range(n + 1)])
    seen: list[Group] = []
    after = None
    while True:
        page = index.groups(Query(), after=after, limit=3)
        seen += page.groups
        after = page.after
        if after is None:
            break
    assert [group.open for group in seen] == [7, 6, 5, 4, 3, 2, 1]


def test_what_comes_back_is_unresolved_again_and_keeps_what_was_said_of_it(index: Index) -> None:
    first = letter(1, ago=100)
    put(index, [first])
    index.review([key(1)], State.TRIAGED, JOE, owner="joe", ticket="SHOP-1", note="the bank", now=NOW)
    index.claim([key(1)], "op", JOE, now=NOW)
    index.advance([key(1)], "op", State.PENDING, JOE, now=NOW)
    assert index.record("orders", "billing", [again(first)], now=NOW) == Recorded(back=1)
    one = index.get(key(1))
    assert one is not None
    assert (one.state, one.visits, one.came_back, one.redrives) == (State.UNRESOLVED, 2, True, 1)
    assert (one.owner, one.ticket, one.note, one.operation) == ("joe", "SHOP-1", "the bank", "op")
    assert found(index, since=NOW - timedelta(seconds=1)) == ["m-1"], "it has its place by its last dead-lettering"
    assert found(index, text="order") == ["m-1"]
    assert walk(index, Query(states=ANY), limit=5) == ["m-1"], "it is one letter"


def test_what_comes_back_for_another_reason_is_told_apart(index: Index) -> None:
    first = letter(1, ago=100)
    put(index, [first, again(first, error="shop.Other", detail="new")])
    one = index.get(key(1))
    assert one is not None
    assert not one.came_back
    assert [(group.error, group.open) for group in index.groups(Query()).groups] == [("shop.Other", 1)]


def test_an_old_look_does_not_undo_a_newer_one(index: Index) -> None:
    first = letter(1, ago=100)
    put(index, [again(first)])
    assert index.record("orders", "billing", [first], now=NOW) == Recorded(known=1)


def test_a_letter_without_an_id_of_its_own_is_back_when_it_was_gone_or_redriven(index: Index) -> None:
    mine = letter(1, visit="")
    put(index, [mine])
    later = letter(1, visit="", ago=0)
    assert index.record("orders", "billing", [later], now=NOW).known == 1, "a broker tells another time at each look"
    index.look("orders", "billing", now=NOW + timedelta(seconds=1)).end(complete=True, now=NOW)
    assert index.record("orders", "billing", [later], now=NOW).back == 1
    assert index.record("orders", "billing", [again(later, id="")], now=NOW).back == 1


def test_a_time_without_a_zone_that_another_program_wrote_is_utc_and_keeps_no_other_letter_out(index: Index) -> None:
    told = '{"v":1,"dead":{"reason":"odd","topic":"orders","group":"billing","attempts":1,"at":"2026-11-20T11:00:00"}}'
    odd = envelope.decode({"id": "m-1", "waybill": told}, b"", topic="orders", received=NOW)
    assert index.record("orders", "billing", [odd, letter(2, ago=60)], now=NOW) == Recorded(new=2)
    assert found(index) == ["m-2", "m-1"]
    assert index.record("orders", "billing", [again(odd)], now=NOW) == Recorded(back=1)


def test_one_more_redrive_is_back_whatever_the_clock_of_who_buried_it_says(index: Index) -> None:
    put(index, [letter(1, ago=0)])
    slow = again(letter(1), ago=60)  # by a host whose clock is a minute late
    assert index.record("orders", "billing", [slow], now=NOW) == Recorded(back=1)
    by_the_broker = msgspec.structs.replace(
        slow, redrives=2, dead=None
    )  # of which only the message's own time is known
    assert index.record("orders", "billing", [by_the_broker], now=NOW) == Recorded(back=1)
    assert states(index) == {State.UNRESOLVED: 1}


@pytest.mark.parametrize("done", [State.RESOLVED, State.DISCARDED])
def test_what_is_done_with_and_there_still_is_unresolved_again(index: Index, done: State) -> None:
    """The broker has not heard that it is to be removed, or somebody was too quick."""
    one = letter(1)
    put(index, [one])
    index.review([key(1)], State.TRIAGED, JOE, now=NOW)
    begun_before = index.look("orders", "billing", now=NOW - timedelta(seconds=1))
    index.review([key(1)], done, JOE, now=NOW)
    begun_before.record([one], now=NOW + timedelta(seconds=1))
    begun_before.end(complete=True, now=NOW)
    assert states(index) == {done: 1}, "it may be gone since"
    look = index.look("orders", "billing", now=NOW + timedelta(seconds=1))
    look.record([one], now=NOW + timedelta(seconds=1))
    look.end(complete=True, now=NOW)
    assert states(index) == {State.UNRESOLVED: 1}
    assert index.audit(key=key(1))[0].verb == "found again"


def test_what_a_whole_look_has_not_seen_is_gone(index: Index) -> None:
    put(index, [letter(n) for n in range(4)])
    index.claim([key(2)], "op", JOE, now=NOW)
    index.advance([key(2)], "op", State.PENDING, JOE, now=NOW)
    later = NOW + timedelta(minutes=1)
    look = index.look("orders", "billing", now=later)
    look.record([letter(0)], now=later)
    index.record("orders", "billing", [letter(9)], now=later + timedelta(seconds=1))  # somebody else, meanwhile
    assert look.end(complete=True, now=later).gone == 3
    assert states(index) == {State.UNRESOLVED: 2, State.ARCHIVED: 2, State.PENDING: 1}
    gone = index.get(key(2))
    assert gone is not None
    assert gone.gone == later
    assert index.message(key(3)) == index.message(key(3)), "and can be read still"
    assert index.claim([key(3)], "op", JOE, now=NOW) == [], "what is gone cannot be redriven"


def test_many_that_are_gone_are_found_some_at_a_time(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("waybill.dlq.looking.BATCH", 3)
    put(index, [letter(n, fingerprint=f"{n % 3}") for n in range(20)])
    later = NOW + timedelta(minutes=1)
    index.review([key(n) for n in range(8)], State.TRIAGED, JOE, now=NOW)
    look = index.look("orders", "billing", now=later)
    look.record([letter(n, visit="same") for n in (0, 10)], now=later)
    assert look.end(complete=True, now=later).gone == 18
    assert states(index)[State.ARCHIVED] == 18


def test_a_look_that_was_not_whole_takes_nothing_for_gone(index: Index) -> None:
    put(index, [letter(n) for n in range(4)])
    look = index.look("orders", "billing", now=NOW + timedelta(minutes=1))
    assert look.end(complete=False, now=NOW).gone == 0
    assert states(index) == {State.UNRESOLVED: 4}


def test_what_was_only_hidden_is_as_it_was(index: Index) -> None:
    same = letter(1)
    put(index, [same])
    index.look("orders", "billing", now=NOW + timedelta(minutes=1)).end(complete=True, now=NOW)
    assert states(index) == {State.ARCHIVED: 1}
    assert index.record("orders", "billing", [same], now=NOW).known == 1
    assert states(index) == {State.UNRESOLVED: 1}


def test_a_group_without_letters_has_its_zeros(index: Index) -> None:
    """Else the first dead letter would be born as a one, which a rate does not see."""
    index.look("orders", "billing", now=NOW).end(complete=True, now=NOW)
    assert index.tally() == {("orders", "billing"): dict.fromkeys(State, 0)}
    assert index.oldest("orders", "billing") is None


def test_the_oldest_is_of_its_group_and_states(index: Index) -> None:
    put(index, [letter(n) for n in range(5)])
    index.record("orders", "shipping", [letter(50)], now=NOW)
    index.review([key(4)], State.TRIAGED, JOE, now=NOW)
    assert index.oldest("orders", "billing") == NOW - timedelta(seconds=3)
    assert index.oldest("orders", "billing", frozenset({State.TRIAGED})) == NOW - timedelta(seconds=4)


def test_what_is_done_with_can_be_forgotten_but_not_by_the_audit(index: Index) -> None:
    put(index, [letter(1), letter(2)])
    index.review([key(1)], State.DISCARDED, JOE, now=NOW)
    later = NOW + timedelta(days=1)
    assert index.forget("orders", "billing", before=later) == 0, "the broker has it still"
    index.look("orders", "billing", now=later).end(complete=True, now=NOW)
    index.record("orders", "billing", [letter(2, visit="another", ago=0)], now=NOW)
    assert index.forget("orders", "shipping", before=later) == 0
    assert index.forget("orders", "billing", before=later) == 1
    assert index.get(key(1)) is None
    assert found(index, text="order", states=ANY) == ["m-2"]
    assert [entry.by for entry in index.audit(key=key(1)) if entry.verb == "discarded"] == ["joe"]


def test_two_processes_may_use_it_at_once(tmp_path: Path) -> None:
    path = tmp_path / "letters.db"
    failed: list[BaseException] = []

    def file(start: int) -> None:
        try:
            with Index.open(path) as index:
                for n in range(start, start + 40):
                    put(index, [letter(n)])
        except BaseException as error:  # noqa: BLE001 - shown below
            failed.append(error)

    threads = [threading.Thread(target=file, args=(1000 * n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    with Index.open(path, create=False) as index:
        assert states(index) == {State.UNRESOLVED: 160}


def test_looking_makes_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="waybill dlq collect"), Index.open(tmp_path / "none.db", create=False):
        pass
    assert list(tmp_path.iterdir()) == []


def test_only_its_owner_may_read_it(tmp_path: Path, index: Index) -> None:
    put(index, [letter(1)])
    assert {oct(file.stat().st_mode & 0o077) for file in tmp_path.iterdir()} == {"0o0"}


def test_a_file_that_is_somebody_elses_or_of_a_later_version_is_left_alone(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "other.db") as other:
        other.execute("CREATE TABLE mine (x)")
    other.close()
    with pytest.raises(BrokerFileError, match="another program"), Index.open(tmp_path / "other.db"):
        pass
    with Index.open(tmp_path / "letters.db"):
        pass
    with sqlite3.connect(tmp_path / "letters.db") as later:
        later.execute("PRAGMA user_version = 99")
    later.close()
    with pytest.raises(BrokerFileError, match="upgrade"), Index.open(tmp_path / "letters.db"):
        pass


def test_a_file_that_is_deleted_under_our_hands_is_noticed(tmp_path: Path) -> None:
    with Index.open(tmp_path / "letters.db") as index:
        put(index, [letter(1)])
        for file in tmp_path.iterdir():
            file.unlink()
        with pytest.raises(BrokerError, match="deleted"):
            put(index, [letter(2)])


def test_what_fails_halfway_is_not_done_at_all(index: Index) -> None:
    def messages() -> list[Message]:
        return [letter(1), msgspec.structs.replace(letter(2), headers={"odd": object()})]

    with pytest.raises(TypeError):
        put(index, messages())
    assert states(index) == {}
    put(index, [letter(1)])
    assert states(index) == {State.UNRESOLVED: 1}


def test_pages_that_were_not_given_are_refused(index: Index) -> None:
    with pytest.raises(ConfigurationError, match="the page before"):
        index.page(Query(), after="x")
