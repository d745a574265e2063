"""What a codec lacks, asked for until there is an answer: by publishers until their deadline, by consumers for as long as it
takes. And the codecs of an application, looked at when it starts."""

from __future__ import annotations

import asyncio
import logging
from asyncio import Task
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from waybill.codec import Lacking, RemoteCodec
from waybill.errors import CodecUnavailable, PublishRefused, one_line
from waybill.settling import back_off
from waybill.topic import Readable

__all__ = ["Lines", "Standstill", "check_codecs", "close_codecs", "codecs_of", "provided"]

log = logging.getLogger("waybill.asking")

R = TypeVar("R")

PATIENCE = 15.0
"""Seconds that all codecs together are given to be looked at when an application starts."""
FIRST = 0.2
"""Seconds of the first pause, about; each further one may be twice as long."""


async def provide(lacking: Lacking, topic: str, deadline: float) -> None:
    """Fetch what `encode` lacks, as often as it takes until `deadline` (the loop's clock).

    Raises `PublishRefused` where it could not be had by then, `EncodeError` where there is no such thing.
    """
    now, failures, cause = asyncio.get_running_loop().time, 0, f"{lacking}, and nobody has answered"
    while now() < deadline:
        try:
            async with asyncio.timeout_at(deadline):
                await lacking.fetch()
        except TimeoutError:
            break
        except CodecUnavailable as error:
            cause = str(error)
            failures += 1
            await asyncio.sleep(min(back_off(failures, first=FIRST), max(0.0, deadline - now())))
        else:
            return
    raise PublishRefused(
        f"{topic}: not stored: by the deadline it could not be encoded: {cause}", topic=topic, message_id=""
    )


async def provided(call: Callable[[], R], topic: str, deadline: float) -> R:
    """What `call` gives, once all that it lacks was fetched. Raises as `provide`, and what `call` raises."""
    while True:
        try:
            return call()
        except Lacking as lacking:
            await provide(lacking, topic, deadline)


class Line:
    """Those who wait to publish, with as many as hold or want its lock."""

    __slots__ = ("lock", "people")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.people = 0


class Lines:
    """A line of publishers for each codec that lacks something: only the first one asks, and who comes later passes nobody, so that
    keys keep their order."""

    def __init__(self) -> None:
        self._lines: dict[int, Line] = {}

    def waits(self, topic: Readable[Any]) -> bool:
        """Whether anybody stands in line for the topic's codec."""
        return id(topic.remote) in self._lines

    async def turn(self, topic: Readable[Any], call: Callable[[], R], deadline: float) -> R:
        """Stand in line, and then as `provided`. Raises `PublishRefused` where that takes longer than until `deadline`."""
        line = self._lines.setdefault(id(topic.remote), Line())
        line.people += 1
        try:
            try:
                async with asyncio.timeout_at(deadline):
                    await line.lock.acquire()
            except TimeoutError:
                text = "by the deadline it could not be encoded: others wait for what its codec lacks"
                raise PublishRefused(f"{topic.name}: not stored: {text}", topic=topic.name, message_id="") from None
            try:
                return await provided(call, topic.name, deadline)
            finally:
                line.lock.release()
        finally:
            line.people -= 1
            if not line.people:
                del self._lines[id(topic.remote)]


class Standstill:
    """One consumer stands still, since what a codec lacks cannot be had now; it is asked for until there is an answer."""

    def __init__(self, *, on_trouble: Callable[[str | None], None], on_over: Callable[[], None], name: str) -> None:
        """`on_trouble`: told why it stands still, and `None` when it goes on. `on_over`: called when it goes on."""
        self._on_trouble = on_trouble
        self._on_over = on_over
        self._name = name
        self._asking: Task[None] | None = None

    def begin(self, lacking: Lacking, error: CodecUnavailable) -> None:
        if self._asking is None:
            self._on_trouble(f"it stands still: {error}")
            self._asking = asyncio.get_running_loop().create_task(
                self._ask(lacking), name=f"waybill-asking {self._name}"
            )

    async def end(self) -> None:
        """Ask no more."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait([self._asking])

    async def _ask(self, lacking: Lacking) -> None:
        failures = 0
        while True:
            failures += 1
            await asyncio.sleep(back_off(failures, first=FIRST))
            try:
                await lacking.fetch()
            except CodecUnavailable as error:
                self._on_trouble(f"it stands still: {error}")
            except Exception as error:  # noqa: BLE001 - an answer all the same: the message it is about meets it again
                log.debug("%s: %s", self._name, error)
                break
            else:
                break
        self._asking = None
        self._on_trouble(None)
        self._on_over()


def codecs_of(topics: Iterable[Readable[Any]]) -> list[tuple[str, RemoteCodec[Any]]]:
    """Those that must ask somebody, each once, with the name of its topic. Topics of one name may have several."""
    return list({id(topic.remote): (topic.name, topic.remote) for topic in topics if topic.remote is not None}.values())


async def check_codecs(topics: Iterable[Readable[Any]]) -> None:
    """Raises `ConfigurationError` for a codec that will never work; one that does not answer now is only told of."""
    codecs = codecs_of(topics)
    try:
        async with asyncio.timeout(PATIENCE):
            found = await asyncio.gather(*(codec.check() for _, codec in codecs), return_exceptions=True)
    except TimeoutError:
        found = [CodecUnavailable(f"no answer within {PATIENCE:g} s")] * len(codecs)
    for (name, _), result in zip(codecs, found, strict=True):
        if isinstance(result, CodecUnavailable):
            log.warning("%s: its codec cannot ask what it must: %s", name, result)
        elif isinstance(result, BaseException):
            raise result


async def close_codecs(topics: Iterable[Readable[Any]]) -> None:
    """Let go of their connections, of all of them whatever one does."""
    for name, codec in codecs_of(topics):
        try:
            await codec.close()
        except Exception as error:  # noqa: BLE001 - what is said of it is all that is left to do
            log.warning("%s: its codec was not closed in order: %s", name, one_line(error))
