from __future__ import annotations

import asyncio

import pytest

from waybill.errors import BrokerUnavailable
from waybill.foreign import translated


async def call(begun: asyncio.Event, *, forgets: bool = False) -> None:
    """As a library does that raises what became of it when it is cancelled, or `forgets` that."""
    with translated("asking", [((ConnectionError,), BrokerUnavailable)]):
        try:
            begun.set()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if not forgets:
                raise ConnectionError("the channel is closed") from None


@pytest.mark.parametrize("forgets", [False, True])
async def test_what_a_library_makes_of_being_cancelled_is_being_cancelled(forgets: bool) -> None:
    begun = asyncio.Event()
    calling = asyncio.create_task(call(begun, forgets=forgets))
    await begun.wait()
    calling.cancel()
    await asyncio.wait({calling})
    assert calling.cancelled()


async def test_and_at_a_deadline_it_is_that() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await call(asyncio.Event())


async def test_what_fails_after_it_was_cancelled_is_what_it_is() -> None:
    async def clean_up() -> str:
        try:
            await asyncio.Event().wait()
        finally:
            try:
                with translated("closing", [((ConnectionError,), BrokerUnavailable)]):
                    raise ConnectionError("gone")
            except BrokerUnavailable as error:
                said.append(str(error))
        return ""

    said: list[str] = []
    cleaning = asyncio.create_task(clean_up())
    await asyncio.sleep(0)
    cleaning.cancel()
    await asyncio.wait({cleaning})
    assert said == ["closing: gone"]
