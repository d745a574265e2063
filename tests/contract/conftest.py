"""RabbitMQ 4.0 is shown in whole natively; 4.3, and both in containers, where versions or ways to run them may differ. All of
both is shown for the ledger, and what is asked for by name."""

from __future__ import annotations

import os

import pytest

FEW = (
    "A04", "A07", "C01", "D05", "D12", "G02", "H10", "L03", "O02", "O07", "P05", "P12", "P14", "R08", "S01", "S03",
    "T04", "T07", "X05", "fault-03", "fault-12", "fault-26", "fault-29",
)  # fmt: skip
"""Where the two have differed, or may: who has a partition, returns of quorum queues, their counts, delays, limits, and what is on disk."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--conformance-write") or config.option.keyword:
        return
    sampled = ("_on_4_3[", "_on_4_0[") if os.environ.get("TEST_BROKERS") == "docker" else ("_on_4_3[",)
    left_out = [item for item in items if any(part in item.name for part in sampled) and promise_of(item) not in FEW]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]


def promise_of(item: pytest.Item) -> str:
    """Its id, from `test_on_4_3[A04-what_…]`, or `[fault-03-…]`."""
    words = item.name.partition("[")[2].split("-")
    return "-".join(words[:-1])
