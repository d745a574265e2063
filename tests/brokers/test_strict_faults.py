"""Faults come by chance, in the shares that were asked for, and again with the same seed."""

from __future__ import annotations

import pytest

from tests.brokers.strict.call import Call
from tests.brokers.strict.faults import Fate, Fates, Faults

ENTRIES = [{"Id": str(number)} for number in range(10)]


def call(action: str = "SendMessageBatch", queue: str = "orders") -> Call:
    return Call("sqs", action, {"QueueUrl": f"http://localhost/1/{queue}", "Entries": ENTRIES})


def fates(faults: Faults, calls: int = 1000) -> list[Fate]:
    told = Fates(faults)
    return [told.next(call()) for _ in range(calls)]


def share(found: list[bool]) -> float:
    return sum(found) / len(found)


def test_nothing_fails_unasked() -> None:
    assert {repr(fate) for fate in fates(Faults(), 100)} == {repr(Fate())}


def test_shares_are_as_asked_for() -> None:
    found = fates(Faults(errors=0.1, throttled=0.2, cut=0.3, slow=0.5, seconds=2))
    refused = [fate.refusal.status >= 500 for fate in found if fate.refusal]
    assert share([fate.refusal is not None for fate in found]) == pytest.approx(0.3, abs=0.05)
    assert share(refused) == pytest.approx(1 / 3, abs=0.08)
    assert share([fate.cut for fate in found]) == pytest.approx(0.3, abs=0.05)
    assert share([fate.seconds == 2 for fate in found]) == pytest.approx(0.5, abs=0.05)
    assert not any(fate.cut and fate.refusal for fate in found)


def test_entries_fail_by_whose_fault_it_should_be() -> None:
    failed = [refusal for fate in fates(Faults(failed=0.2, sender=0.25)) for refusal in fate.failed.values()]
    assert len(failed) / 10_000 == pytest.approx(0.2, abs=0.02)
    assert share([refusal.sender for refusal in failed]) == pytest.approx(0.25, abs=0.04)


def test_the_same_seed_fails_the_same_whatever_else_is_called() -> None:
    faults = Faults(seed=7, failed=0.3, errors=0.1)
    told, expected = Fates(faults), fates(faults, 50)
    found: list[Fate] = []
    for _ in range(50):
        told.next(call("DeleteMessageBatch"))
        found.append(told.next(call()))
    assert found == expected
    assert fates(Faults(seed=8, failed=0.3, errors=0.1), 50) != expected


def test_only_what_is_named_fails() -> None:
    told = Fates(Faults(errors=1, target="orders", actions=("SendMessageBatch",)))
    assert told.next(call()).refusal
    assert told.next(call(queue="invoices")).refusal is None
    assert told.next(call("DeleteMessageBatch")).refusal is None
    assert told.injected["errors"] == 1
    assert Fates(Faults(errors=1)).next(Call("sqs", "CreateQueue", {"QueueName": "orders"})).refusal is None
