"""Dead letters on RabbitMQ once more: as `redriving`, from one quorum queue to another, each confirmed."""

from __future__ import annotations

from benchmarks.harness import Row, Run
from benchmarks.rabbit import vhost
from benchmarks.redriving import measured

__all__ = ["measure"]


def measure(run: Run) -> list[Row]:
    """Letters a second."""
    with vhost() as url:
        return measured(run, lambda: url, "RabbitMQ: ")
