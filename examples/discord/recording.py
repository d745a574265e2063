"""A stand-in for Discord: it plays the recording, from the beginning or, as after a resume, from a sequence number on."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

__all__ = ["PAYLOADS", "play"]

PAYLOADS = Path(__file__).with_name("gateway.jsonl").read_text().splitlines()
"""A payload a line."""
AT_ONCE = 4
"""Payloads that come together."""


def play(after: int | None = None) -> Iterator[Sequence[str]]:
    """What comes after the first payload with that sequence number, some at a time."""
    numbers = [json.loads(payload)["s"] for payload in PAYLOADS]
    start = 0 if after is None else numbers.index(after) + 1
    for place in range(start, len(PAYLOADS), AT_ONCE):
        yield PAYLOADS[place : place + AT_ONCE]
