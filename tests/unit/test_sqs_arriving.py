from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from waybill_sqs.arriving import first_suspect
from waybill_sqs.polling import Came


def came(ident: str, times: int, group: str | None = None) -> Came:
    attributes: dict[str, Any] = {"ApproximateReceiveCount": str(times)}
    if group is not None:
        attributes["MessageGroupId"] = group
    return Came({"MessageId": ident, "Attributes": attributes}, 0.0)


@given(
    st.lists(st.tuples(st.uuids().map(str), st.integers(4, 9)), min_size=2, max_size=10, unique_by=lambda it: it[0]),
    st.data(),
)
def test_whoever_comes_back_beside_a_killer_is_handled_before_it_soon(
    there: list[tuple[str, int]], data: st.DataObject
) -> None:
    killer, _ = data.draw(st.sampled_from(there))
    counts = dict(there)
    counts[killer] = max(counts.values())  # it has been there from the beginning
    for _ in range(2):
        ready = [came(ident, count) for ident, count in counts.items()]
        while (first := first_suspect(ready)).native["MessageId"] != killer:
            ready.remove(first)
        counts = {it.native["MessageId"]: counts[it.native["MessageId"]] + 1 for it in ready}
    assert list(counts) == [killer], f"still beside it: {counts}"


def test_of_a_key_the_first_is_first() -> None:
    ready = [came("3", 4, "a"), came("1", 4, "a"), came("2", 4, "b"), came("0", 4, "b")]
    for count in (4, 5):
        ready = [came(it.native["MessageId"], count, it.native["Attributes"]["MessageGroupId"]) for it in ready]
        assert first_suspect(ready).native["MessageId"] in {"3", "2"}
    assert first_suspect([came("5", 4, "a"), came("1", 5, "a")]).native["MessageId"] == "5"
