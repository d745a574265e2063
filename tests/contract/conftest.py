"""Brokers are shown in whole in containers, and for the ledger, and where promises are asked for by name.
Otherwise, as `make test` does natively, those where versions or ways to run them may differ, so that it stays short."""

from __future__ import annotations

import os

import pytest

FEW = (
    "A04", "A07", "C01", "D05", "D12", "G02", "H10", "L03", "O02", "O07", "P05", "P12", "P14", "R08", "S01", "S03",
    "T04", "T07", "X05", "Y01", "fault-03", "fault-12", "fault-26", "fault-29",
)  # fmt: skip
"""Who has a partition, returns of quorum queues and offsets of a log, their counts, delays, limits, and what is on disk."""
IN_WHOLE = ("_on_4_0[", "_on_4_3[", "_on_kafka[", "_on_sqs[", "_on_sqs_fifo[", "_on_sns[", "_on_sns_fifo[")
"""In containers."""
REAL = (*IN_WHOLE, "_on_postgres[")
IN_CONTAINERS_ALONE = {"D12": ("_on_sqs[", "_on_sns_fifo["), "P05": ("_on_sqs[", "_on_sqs_fifo[", "_on_sns_fifo[")}
"""What takes emulators long. Of D12, natively, a queue that is FIFO and SNS before one that is not show all that may differ."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--conformance-write") or config.option.keyword:
        return
    contained = os.environ.get("TEST_BROKERS") == "docker"
    few = REAL[len(IN_WHOLE) :] if contained else REAL
    left_out = [item for item in items if _is(item, few) and not _is_one_of_few(item, contained=contained)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]


def _is_one_of_few(item: pytest.Item, *, contained: bool) -> bool:
    promise = promise_of(item)
    return promise in FEW and (contained or not _is(item, IN_CONTAINERS_ALONE.get(promise, ())))


def _is(item: pytest.Item, tests: tuple[str, ...]) -> bool:
    return any(part in item.name for part in tests)


def promise_of(item: pytest.Item) -> str:
    """Its id, from `test_on_4_3[A04-what_…]`, or `[fault-03-…]`."""
    words = item.name.partition("[")[2].split("-")
    return "-".join(words[:-1])
