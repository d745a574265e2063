"""Decoding what a handler is about, before it starts: where a codec lacks something that must be asked for, once that is here."""

from __future__ import annotations

import time
from collections.abc import Callable
from math import inf

from waybill.codec import Lacking
from waybill.errors import CodecUnavailable, DecodeError
from waybill.holding import Held, Run

__all__ = ["Decoding"]

ROUNDS = 8
"""Answers that the decoding of one message may need: its schema, what that refers to, …"""


class Decoding:
    """Of one consumer's messages."""

    def __init__(
        self, timeout: float | None, on_unavailable: Callable[[Lacking, CodecUnavailable], None] | None
    ) -> None:
        """`timeout`: seconds that a handling may take. `on_unavailable`: called when what decoding lacks cannot be had now;
        `None`: it never lacks anything."""
        self._timeout = timeout
        self._on_unavailable = on_unavailable
        self.remote = on_unavailable is not None
        """Whether it may lack something."""

    async def all(self, run: Run) -> dict[Held, BaseException]:
        """What of a batch cannot be decoded, so that a body that does not fit fails alone. The others are decoded by this."""
        errors: dict[Held, BaseException] = {}
        for held in run.helds:
            try:
                if self.remote:
                    await self.one(run, held)
                held.delivery.value  # noqa: B018 - looking at it decodes it
            except CodecUnavailable:
                raise
            except Exception as error:  # noqa: BLE001 - a codec that breaks as well: judged for each
                errors[held] = error
        return errors

    async def one(self, run: Run, held: Held) -> None:
        """Decode it, once all that this lacks was fetched, in time of its own. What cannot be decoded is met by who looks at it.

        Raises `CodecUnavailable`, and `DecodeError` where there is no such thing.
        """
        for _ in range(ROUNDS):
            try:
                held.delivery.value  # noqa: B018 - looking at it decodes it
            except Lacking as lacking:
                await self._fetch(run, lacking)
            except Exception:  # noqa: BLE001 - the middleware shall see it
                return
            else:
                return
        raise DecodeError(f"after {ROUNDS} answers decoding still lacks something: what it knows is forgotten too soon")

    async def _fetch(self, run: Run, lacking: Lacking) -> None:
        run.deadline = inf
        try:
            await lacking.fetch()
        except CodecUnavailable as error:
            run.cause = "codec"
            assert self._on_unavailable is not None  # noqa: S101 - or nothing would have been lacking
            self._on_unavailable(lacking, error)
            raise
        run.deadline = inf if self._timeout is None else time.monotonic() + self._timeout
