"""What is settled on a channel, in as few frames as may be."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from waybill_rabbitmq.window import Window


def test_all_up_to_the_first_unsettled_one_take_one_frame() -> None:
    window = Window()
    for tag in range(1, 8):
        window.add(tag)
    assert window.acknowledge([2, 3]) == [(2, False), (3, False)]
    assert window.acknowledge([1, 4, 6]) == [(4, True), (6, False)]
    assert window.acknowledge([5]) == [(5, False)]
    assert window.acknowledge([7]) == [(7, False)]


@given(
    st.permutations(range(1, 20)), st.lists(st.integers(1, 6), min_size=19, max_size=19), st.sets(st.integers(1, 19))
)
def test_every_one_is_acknowledged_once_and_no_other(order: list[int], sizes: list[int], kept: set[int]) -> None:
    """A broker that is told so many times: `multiple` takes all it still holds up to a tag, which it must hold."""
    window, there = Window(), dict.fromkeys(range(1, 20))
    for tag in there:
        window.add(tag)
    order = [tag for tag in order if tag not in kept]
    while order:
        size = sizes.pop()
        lot, order = order[:size], order[size:]
        for tag, multiple in window.acknowledge(lot):
            assert tag in there, "the broker would close the channel"
            for gone in [other for other in there if other == tag or (multiple and other < tag)]:
                del there[gone]
        assert not set(lot) & set(there)
    assert set(there) == kept
