"""Receipt handles through time, on a standard and on a FIFO queue."""

from __future__ import annotations

import pytest

from tests.brokers.strict.places import MIB, Place
from tests.brokers.strict.receipts import HALF_A_DAY, Receipts
from tests.brokers.strict.refusing import Refusal

STANDARD = Place("sqs", "orders", MIB)
FIFO = Place("sqs", "orders.fifo", MIB)
BOTH = pytest.mark.parametrize("place", [STANDARD, FIFO], ids=["standard", "fifo"])


def received(place: Place, *handles: str, visibility: float = 30) -> Receipts:
    """Handles of one message, received one after the other at the time 0."""
    receipts = Receipts()
    for handle in handles:
        receipts.received(place, "m", handle, visibility, 0)
    return receipts


def reason(found: Refusal | str | None) -> str:
    return found.text.rpartition("Reason: ")[2] if isinstance(found, Refusal) else str(found)


@BOTH
def test_a_handle_that_is_held_may_all(place: Place) -> None:
    receipts = received(place, "h")
    assert receipts.refuse_delete(place, "h", 29) is None
    assert receipts.refuse_change(place, "h", 30, 29) is None


def test_a_delete_after_the_visibility_ended_is_refused_by_fifo_only() -> None:
    assert received(STANDARD, "h").refuse_delete(STANDARD, "h", 30) is None
    assert reason(received(FIFO, "h").refuse_delete(FIFO, "h", 30)) == "The receipt handle has expired."


def test_a_delete_after_a_later_receive_is_quietly_ignored_or_refused() -> None:
    assert received(STANDARD, "old", "new").refuse_delete(STANDARD, "old", 1) == "ignored"
    assert received(STANDARD, "old", "new").refuse_delete(STANDARD, "new", 1) is None
    assert reason(received(FIFO, "old", "new").refuse_delete(FIFO, "old", 1)) == "The receipt handle has expired."


@BOTH
def test_a_second_delete_is_taken(place: Place) -> None:
    receipts = received(place, "h")
    receipts.deleted("h")
    assert receipts.refuse_delete(place, "h", 100) == "ignored"


@BOTH
def test_a_change_asks_for_a_message_in_flight(place: Place) -> None:
    late = received(place, "h").refuse_change(place, "h", 30, 30)
    assert isinstance(late, Refusal)
    assert late.code == "AWS.SimpleQueueService.MessageNotInflight"
    gone = "Message does not exist or is not available for visibility timeout change."
    assert reason(received(place, "old", "new").refuse_change(place, "old", 30, 1)) == gone
    receipts = received(place, "h")
    receipts.deleted("h")
    assert reason(receipts.refuse_change(place, "h", 30, 1)) == gone


@BOTH
def test_a_change_counts_from_now(place: Place) -> None:
    receipts = received(place, "h")
    receipts.changed("h", 30, 29)
    assert receipts.refuse_change(place, "h", 30, 58) is None
    receipts.changed("h", 0, 58)
    assert receipts.refuse_change(place, "h", 30, 58) is not None


def test_twelve_hours_count_from_the_receive() -> None:
    receipts = received(STANDARD, "h", visibility=100)
    assert receipts.refuse_change(STANDARD, "h", HALF_A_DAY - 50, 50) is None
    assert "beyond the limit [43200 seconds]" in reason(receipts.refuse_change(STANDARD, "h", HALF_A_DAY - 49, 50))
    assert receipts.refuse_change(STANDARD, "h", HALF_A_DAY + 1, 0) is not None
    assert receipts.refuse_change(STANDARD, "h", 0, 50) is None


@BOTH
@pytest.mark.parametrize("handle", ["never", "of-another-queue"])
def test_an_unknown_handle_is_refused(place: Place, handle: str) -> None:
    receipts = received(place, "h")
    receipts.received(Place("sqs", "other", MIB), "m", "of-another-queue", 30, 0)
    for refusal in (receipts.refuse_delete(place, handle, 1), receipts.refuse_change(place, handle, 30, 1)):
        assert isinstance(refusal, Refusal)
        assert refusal.code == "ReceiptHandleIsInvalid"


def test_what_is_missing_is_named() -> None:
    receipts = received(STANDARD, "h")
    assert "ReceiptHandle" in reason(receipts.refuse_delete(STANDARD, None, 1))
    assert "VisibilityTimeout" in reason(receipts.refuse_change(STANDARD, "h", None, 1))


def test_only_so_many_handles_are_remembered() -> None:
    receipts = Receipts(remembered=2)
    for number in range(3):
        receipts.received(STANDARD, f"m{number}", f"h{number}", 30, 0)
    assert receipts.refuse_delete(STANDARD, "h0", 1) is not None
    assert receipts.refuse_delete(STANDARD, "h1", 1) is None
