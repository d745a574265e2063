"""Under which subject a topic's schema is registered: Confluent's three strategies, or a function of one's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

__all__ = ["SubjectStrategy", "record_subject", "topic_record_subject", "topic_subject"]

SubjectStrategy: TypeAlias = Callable[[str, str], str]
"""From the topic's name and the full name of the schema's record to the subject."""


def topic_subject(topic: str, record: str) -> str:
    """`orders.placed-value`: one schema a topic. What everybody has unless they ask for something else."""
    del record
    return f"{topic}-value"


def record_subject(topic: str, record: str) -> str:
    """`shop.OrderPlaced`: one history of a record, whatever topics it travels on."""
    del topic
    return record


def topic_record_subject(topic: str, record: str) -> str:
    """`orders.placed-shop.OrderPlaced`: several kinds of records on one topic, each with a history of its own."""
    return f"{topic}-{record}"


STRATEGIES: Final[dict[str, SubjectStrategy]] = {
    "topic": topic_subject,
    "record": record_subject,
    "topic-record": topic_record_subject,
}
