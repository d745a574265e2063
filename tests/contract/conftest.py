"""RabbitMQ 4.0 and 4.3 are shown in whole in containers, and all for the ledger, and where promises are asked for by name;
otherwise, as `make test` does, a third on Kafka, and on RabbitMQ what may differ between versions or ways to run them, so that it
stays short. On Kafka in a container it is the same few."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping

import pytest

FEW = (
    "A04", "A07", "C01", "D05", "D12", "G02", "H10", "L03", "O02", "O07", "P05", "P12", "P14", "R08", "S01", "S03",
    "T04", "T07", "X05", "fault-03", "fault-12", "fault-26", "fault-29",
)  # fmt: skip
"""Where they have differed, or may: priorities and returns of quorum queues, their counts, delays, limits, and what is on disk."""
THIRD = (
    "A01", "A03", "A04", "A06", "A07", "A11", "A13", "A16", "A18", "C02", "C03", "C06", "C08", "D04", "D05", "D12", "D13",
    "D14", "F04", "F06", "F07", "F13", "G01", "G02", "G05", "G06", "G08", "G12", "G14", "H08", "H10", "H11", "L03", "L05",
    "L07", "O02", "O04", "O07", "O09", "P01", "P04", "P05", "P07", "P12", "R03", "R08", "R15", "S01", "S03", "T01", "T04",
    "T07", "T09", "T10", "X02", "X04", "X05", "fault-03", "fault-12", "fault-13", "fault-17", "fault-26", "fault-29",
    "fault-31",
)  # fmt: skip
"""What a log makes hard (one message among others, keys, who has a partition, what waits), and one of each other kind."""
NATIVELY = {"_on_4_0[": FEW, "_on_4_3[": FEW, "_on_kafka[": THIRD}
IN_CONTAINERS = {"_on_kafka[": FEW}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--conformance-write") or config.option.keyword:
        return
    sampled = IN_CONTAINERS if os.environ.get("TEST_BROKERS") == "docker" else NATIVELY
    left_out = [item for item in items if promise_of(item) not in shown_of(item, sampled)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]


def shown_of(item: pytest.Item, sampled: Mapping[str, Collection[str]]) -> Collection[str]:
    """What of its broker is shown; where that is all, its own promise is among it."""
    return next((few for part, few in sampled.items() if part in item.name), (promise_of(item),))


def promise_of(item: pytest.Item) -> str:
    """Its id, from `test_on_4_3[A04-what_…]`, or `[fault-03-…]`."""
    words = item.name.partition("[")[2].split("-")
    return "-".join(words[:-1])
