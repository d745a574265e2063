"""Kafka: who consumes which partitions."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from waybill_kafka.sharing import Claim, share

UNITS = [str(number) for number in range(8)]


def test_the_first_member_has_all_and_the_second_half() -> None:
    first = share(UNITS, {"a": Claim()})
    assert first["a"].units == UNITS
    both = share(UNITS, {"a": Claim(dict.fromkeys(UNITS, 1)), "b": Claim()})
    assert [len(both[member].units) for member in "ab"] == [4, 4]
    assert not both["a"].wanted


def test_what_is_at_work_stays_until_it_is_done() -> None:
    claims = {"a": Claim(dict.fromkeys(UNITS, 1), busy=UNITS[:6]), "b": Claim()}
    found = share(UNITS, claims)
    assert set(found["a"].units) == set(UNITS[:6])
    assert len(found["a"].wanted) == 2
    assert set(found["b"].units) == set(UNITS[6:])


def test_of_two_who_claim_one_he_has_it_who_was_given_it_last() -> None:
    found = share(["0"], {"a": Claim({"0": 5}), "b": Claim({"0": 6}, busy=["0"])})
    assert (found["a"].units, found["b"].units) == ([], ["0"])


@given(
    st.integers(1, 12),
    st.dictionaries(
        st.sampled_from("abcdef"), st.tuples(st.sets(st.integers(0, 14)), st.sets(st.integers(0, 14))), min_size=1
    ),
)
def test_every_unit_has_one_owner_and_it_ends_balanced_with_as_few_moves_as_that_takes(
    number: int, members: dict[str, tuple[set[int], set[int]]]
) -> None:
    units = [str(unit) for unit in range(number)]
    claims = {
        name: Claim({str(unit): generation for unit in owned}, sorted(str(unit) for unit in busy & owned))
        for generation, (name, (owned, busy)) in enumerate(members.items())
    }
    found = share(units, claims)
    assert sorted(unit for each in found.values() for unit in each.units) == sorted(units)
    for each in found.values():
        assert set(each.wanted) <= set(each.units)
    calm = share(units, {name: Claim(dict.fromkeys(each.units, 9)) for name, each in found.items()})
    sizes = [len(each.units) for each in calm.values()]
    assert max(sizes) - min(sizes) <= 1
    again = share(units, {name: Claim(dict.fromkeys(each.units, 10), each.units) for name, each in calm.items()})
    assert again == calm, "what is balanced moves"
