"""Every error a user of Waybill can meet.

    WaybillError
    ├── ConfigurationError            what was written in code or settings cannot work; raised before any I/O
    │   ├── AdapterNotFound           no installed adapter answers to the URL's scheme
    │   ├── CapabilityError           the broker cannot do what a topic or subscription needs
    │   └── TopologyMismatch          topics or groups on the broker are missing or differ from what the code declares
    ├── PublishError                  a publish did not end in a confirmation
    │   ├── PublishRefused            certainly not stored: publishing again is safe
    │   └── PublishUnknown            may be stored: publishing again may make a second copy (of the same id)
    ├── BrokerError                   the broker, or the way to it, failed
    │   ├── BrokerUnavailable         cannot be reached, or take more, now; trying again may help
    │   ├── DestinationMissing        a topic or group does not exist on the broker
    │   └── BrokerFileError           the embedded broker's file cannot be used (newer, corrupt, read-only …)
    ├── CodecError
    │   ├── EncodeError               a value could not be turned into bytes; raised to the publisher
    │   ├── DecodeError               bytes could not be turned into a value; the message is dead-lettered
    │   └── CodecUnavailable          what a codec must ask, e.g. a schema registry, does not answer now; it is asked again
    ├── LeaseLost                     a delivery is no longer ours; what its handler did may be done again elsewhere
    ├── HandlerTimeout                a handler ran longer than its subscription allows
    ├── ClosedError                   used before start or after stop
    ├── ItemsFailed                   raised by a batch handler: these of its messages failed, the others did not
    └── Outcome                       not failures: what a handler raises to decide about its message
        ├── Reject                    dead-letter now
        └── RetryAfter                try again, not before the given time

A client library's own exception never reaches a user except as `__cause__`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from waybill.outcomes import Confirmed

__all__ = [
    "AdapterNotFound",
    "BrokerError",
    "BrokerFileError",
    "BrokerUnavailable",
    "CapabilityError",
    "ClosedError",
    "CodecError",
    "CodecUnavailable",
    "ConfigurationError",
    "DecodeError",
    "DestinationMissing",
    "EncodeError",
    "HandlerTimeout",
    "ItemsFailed",
    "LeaseLost",
    "Outcome",
    "PublishError",
    "PublishRefused",
    "PublishUnknown",
    "Reject",
    "RetryAfter",
    "TopologyMismatch",
    "WaybillError",
]


LONGEST = 100 * 365.25 * 86_400.0
"""Seconds: the longest duration that anything may have."""
ALL = (Exception, BaseException)
"""What every error is."""


class WaybillError(Exception):
    """Root of every error of this library."""


class ConfigurationError(WaybillError):
    """What was written in code or settings cannot work. The message names the fix."""


class AdapterNotFound(ConfigurationError):
    """No installed adapter answers to the URL's scheme."""


class CapabilityError(ConfigurationError):
    """The broker cannot do what a topic or a subscription needs. Lists every gap at once; each is one of `args`."""

    def __str__(self) -> str:
        return "; ".join(map(str, self.args))


class TopologyMismatch(ConfigurationError):
    """Topics or groups on the broker are missing, or differ from what the code declares. Names each object and value."""


class PublishError(WaybillError):
    """A publish did not end in a confirmation.

    `topic` is the topic's name and `message_id` the id the message was given.
    """

    def __init__(self, text: str, *, topic: str, message_id: str) -> None:
        super().__init__(text)
        self.topic = topic
        self.message_id = message_id


class PublishRefused(PublishError):
    """The message is certainly not stored. Publishing it again is safe."""


class PublishUnknown(PublishError):
    """The message may be stored: the broker's answer did not arrive in time.

    `await error.retry()` sends the same message under the same id, so that a consumer that deduplicates drops the
    second copy. A plain second `publish` makes a message of its own.
    """

    def __init__(
        self, text: str, *, topic: str, message_id: str, retry: Callable[[], Awaitable[Confirmed]] | None = None
    ) -> None:
        super().__init__(text, topic=topic, message_id=message_id)
        self._retry = retry

    async def retry(self) -> Confirmed:
        """Send the same message, under the same id, once more. Raises what `publish` raises."""
        if self._retry is None:
            raise ClosedError("this error did not come from a running application: publish again instead")
        return await self._retry()


class BrokerError(WaybillError):
    """The broker, or the way to it, failed."""


class BrokerUnavailable(BrokerError):
    """The broker cannot be reached now, or cannot take more. Waybill keeps trying; nothing that was confirmed is lost."""


class DestinationMissing(BrokerError):
    """A topic or a group does not exist on the broker (any more)."""


class BrokerFileError(BrokerError):
    """The embedded broker's file cannot be used as it is."""


class CodecError(WaybillError):
    """A body and a value could not be turned into each other."""


class EncodeError(CodecError):
    """A value could not be encoded for its topic."""


class DecodeError(CodecError):
    """A body could not be decoded for its topic. The message is dead-lettered with its raw bytes."""


class CodecUnavailable(CodecError):
    """What a codec must ask, e.g. a registry of schemas, does not answer now.

    Nothing is wrong with the message: a consumer gives it back, at no cost in attempts, and waits until there is an answer;
    a publisher waits until its deadline, and then meets `PublishRefused`.
    """


class LeaseLost(WaybillError):
    """The delivery is no longer ours: its lease ran out or the broker took it back.

    The handler is cancelled and its result is not acknowledged; another member may already be handling the message.
    """


class HandlerTimeout(WaybillError):
    """The handler ran longer than its subscription's `timeout`. Counts as a failed attempt."""


class ClosedError(WaybillError):
    """Used before it was started or after it was stopped."""


class ItemsFailed(WaybillError):
    """Raised by a batch handler: the messages at these places of its list failed, each with its error; the others did not.

    Each error counts as if a handler of single messages had raised it, `Reject` and `RetryAfter` included. Raises `TypeError`
    for what is no place or no exception, so that the batch fails as a whole; so it does if there is no such place in it.
    """

    def __init__(self, failures: Mapping[int, BaseException]) -> None:
        for place, error in failures.items():
            if not isinstance(place, int) or not isinstance(error, BaseException):
                raise TypeError(f"ItemsFailed({{{place!r}: a {type(error).__name__}}}): places and their exceptions")
        self.failures = dict(failures)
        super().__init__(f"{len(self.failures)} messages of the batch failed, at {', '.join(map(str, self.failures))}")


class Outcome(WaybillError):
    """What a handler raises to decide about its message. Not a failure of the library."""


class Reject(Outcome):
    """Dead-letter the message now, with this reason. No further attempt is made."""

    def __init__(self, reason: str = "rejected") -> None:
        self.reason = str(reason)
        super().__init__(self.reason)


class RetryAfter(Outcome):
    """Try the message again, not before `delay` (seconds or a timedelta) has passed. Counts as an attempt."""

    def __init__(self, delay: float | timedelta, reason: str = "") -> None:
        self.delay = delay.total_seconds() if isinstance(delay, timedelta) else float(delay)
        if not 0 <= self.delay <= LONGEST:
            raise ValueError(f"RetryAfter({delay!r}): the delay is in seconds, from 0 to {LONGEST:.0f} (a century)")
        super().__init__(reason or f"retry after {self.delay:g} s")


def missing(name: str) -> str:
    """What is said of a topic or a group (`topic/group`) that a broker does not have."""
    return f"{name} does not exist on this broker: run `waybill topology apply`"


def unrouted(topic: str) -> str:
    """What is said of a message that no group would get."""
    return (
        f"no group shares {topic}, so nobody would get it. Name its groups in the contract: "
        f"Topic({topic!r}, …, groups=[…]); or let it be: unrouted='accept'"
    )


def parts_of(error: BaseException) -> Sequence[BaseException]:
    """The errors in a group, as a `TaskGroup` raises it, and in the groups in it; of any other error none."""
    if not isinstance(error, BaseExceptionGroup):
        return ()
    group = cast("BaseExceptionGroup[BaseException]", error)
    return [part for one in group.exceptions for part in (parts_of(one) or (one,))]


def classes_of(error: BaseException) -> Sequence[type]:
    """The classes by which an error may be named, the most specific first. What is said of all errors is said of the parts of a
    group, and not of the group."""
    classes = type(error).__mro__
    return [cls for cls in classes if cls not in ALL] if parts_of(error) else classes


def describe(error: BaseException | None) -> str:
    """The error's text, even where its `__str__` is broken."""
    if error is None:
        return ""
    try:
        return str(error)
    except BaseException as second:  # noqa: BLE001 - a user's class; the letter must be written all the same
        return f"<{type(error).__qualname__}.__str__ raised {type(second).__qualname__}>"


def one_line(error: BaseException, safe: Callable[[str], str] = str) -> str:
    """The error for a log: class, text and the place where it was raised, on one line of bounded length.

    safe: leaves out of its text what is secret.
    """
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    place = "" if frame is None else f" ({frame.tb_frame.f_code.co_filename}:{frame.tb_lineno})"
    return f"{type(error).__name__}: {shown(safe(describe(error)[:4096]), 256)}{place}"


def shown(text: str, most: int = 80) -> str:
    """Somebody else's text for a log: on one line, without what would steer a terminal, at most `most` characters."""
    text = text if len(text) <= most else text[: most - 1] + "…"
    return text if text.isprintable() else " ".join("".join(c if c.isprintable() else " " for c in text).split())
