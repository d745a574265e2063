"""Dead letters on Kafka once more: as `redriving`, from one topic to another, `acks=all`."""

from __future__ import annotations

from benchmarks.harness import Row, Run
from benchmarks.kafka import broker
from benchmarks.redriving import measured

__all__ = ["measure"]


def measure(run: Run) -> list[Row]:
    """Letters a second."""
    return measured(run, lambda: broker().url, "Kafka: ")
