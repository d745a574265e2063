"""A cache that holds no more than so many bytes."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from waybill_schema_registry.engine.bounded import Bounded


def test_what_was_used_longest_ago_goes_first() -> None:
    cache = Bounded[str, int](3)
    for key in "abc":
        cache.put(key, ord(key), 1)
    assert cache.get("a") == ord("a")
    cache.put("d", ord("d"), 1)
    assert [cache.get(key) for key in "abcd"] == [ord("a"), None, ord("c"), ord("d")]


def test_what_is_too_large_alone_takes_nobodys_place() -> None:
    cache = Bounded[str, int](3)
    cache.put("a", 1, 1)
    cache.put("b", 2, 4)
    assert (cache.get("a"), cache.get("b"), cache.held) == (1, None, 1)
    cache.put("a", 1, 4)
    assert (cache.get("a"), cache.held) == (None, 0), "nor does an old value stay for it"


@settings(deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.sampled_from("abcde"), st.integers(0, 6))))
def test_it_never_holds_more_than_it_may(puts: list[tuple[str, int]]) -> None:
    cache = Bounded[str, int](10)
    for key, weight in puts:
        cache.put(key, weight, weight)
        assert cache.held <= 10
    assert cache.held == sum(value for key in "abcde" if (value := cache.get(key)) is not None)
