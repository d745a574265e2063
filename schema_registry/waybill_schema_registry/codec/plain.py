"""Encoding and decoding in code that is not asynchronous and runs no application: scripts, notebooks, tests.

body = encode(orders, OrderPlaced("o1", "c1"))
order = decode(orders, body)
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

from waybill.codec import Lacking
from waybill.errors import CodecUnavailable, ConfigurationError
from waybill.message import NO_HEADERS, Message
from waybill.topic import Readable, Topic

__all__ = ["decode", "encode"]

T = TypeVar("T")
R = TypeVar("R")

ROUNDS = 8
"""Answers that one call may need."""


def encode(topic: Topic[T], value: T) -> bytes:
    """The body that publishing `value` would have. Raises `EncodeError`, `CodecUnavailable`."""
    return _waited(topic, lambda: topic.codec.encode(value))


def decode(topic: Readable[T], body: bytes, *, headers: Mapping[str, str] = NO_HEADERS) -> T:
    """The value of a body. headers: of its message, which may name the schema. Raises `DecodeError`, `CodecUnavailable`."""
    now = datetime.now(UTC)
    message = Message(id="decoded", body=body, type=topic.name, source="", time=now, headers=headers)
    return _waited(topic, lambda: topic.decode(message))


def _waited(topic: Readable[Any], call: Callable[[], R]) -> R:
    for _ in range(ROUNDS):
        try:
            return call()
        except Lacking as lacking:
            _check_no_loop()
            asyncio.run(_fetched(topic, lacking))
    raise CodecUnavailable(f"{topic.name}: after {ROUNDS} answers something is lacking still")


async def _fetched(topic: Readable[Any], lacking: Lacking) -> None:
    try:
        await lacking.fetch()
    finally:
        if topic.remote is not None:
            await topic.remote.close()


def _check_no_loop() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise ConfigurationError("this is asynchronous code: publish and consume with the application instead")
