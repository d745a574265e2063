"""JSON lines from a file or a pipe, in bounded memory: a thread reads, so that a slow pipe holds up nobody else."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import BinaryIO

from waybill.errors import ConfigurationError

__all__ = ["Line", "chunks"]

CHUNK = 1000
"""Lines published together."""
BLOCK = 256 << 10
LONGEST = 64 << 20
"""Bytes of one line. No broker carries that much; without an end it would be read into memory for ever."""

Line = tuple[int, bytes]
"""Its number, from 1, and its bytes."""


async def chunks(file: BinaryIO, read: list[int]) -> AsyncIterator[list[Line]]:
    """What has arrived, at most `CHUNK` lines at a time, without empty ones. `read[0]` counts the bytes.

    Raises `ConfigurationError` for what is no text of lines, and `OSError`.
    """
    loop = asyncio.get_running_loop()
    blocks: asyncio.Queue[bytes | Exception] = asyncio.Queue(maxsize=2)

    def read_blocks() -> None:
        block: bytes | Exception = b"-"
        while block and not isinstance(block, Exception):
            try:
                block = file.read1(BLOCK)  # type: ignore[attr-defined]  # any buffered reader has it
            except Exception as error:  # noqa: BLE001 - raised where it is waited for
                block = error
            try:
                asyncio.run_coroutine_threadsafe(blocks.put(block), loop).result()
            except (RuntimeError, asyncio.CancelledError):
                return  # nobody wants more

    threading.Thread(target=read_blocks, name="waybill-lines", daemon=True).start()
    number, rest = 0, b""
    while True:
        block = await blocks.get()
        if isinstance(block, Exception):
            raise block
        read[0] += len(block)
        *whole, rest = (rest + block).split(b"\n") if block else (rest, b"")
        if len(rest) > LONGEST:
            raise ConfigurationError(
                f"line {number + len(whole) + 1} is longer than {LONGEST >> 20} MiB: is this a file of JSON lines?"
            )
        for start in range(0, len(whole), CHUNK):
            lines = list(enumerate(whole[start : start + CHUNK], number + start + 1))
            if kept := [(place, text.strip()) for place, text in lines if text.strip()]:
                yield kept
        number += len(whole)
        if not block:
            return
