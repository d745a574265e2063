"""How many partitions a member keeps."""

from __future__ import annotations

import pytest

from waybill_rabbitmq.spread import too_many


@pytest.mark.parametrize(
    ("held", "partitions", "members", "kept"),
    [(8, 8, 1, 8), (8, 8, 2, 4), (5, 8, 2, 4), (4, 8, 2, 4), (8, 8, 3, 3), (8, 8, 9, 1), (3, 8, 2, 3), (2, 2, 5, 1)],
)
def test_what_is_more_than_a_fair_share_is_given_away(held: int, partitions: int, members: int, kept: int) -> None:
    feeds = list(range(held))
    assert too_many(feeds, partitions, members) == feeds[kept:]
