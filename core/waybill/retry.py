"""When a failed message is tried again, and when not any more. Pure: no clock, no I/O, and chance is passed in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from types import MappingProxyType

from waybill.errors import LONGEST, ConfigurationError, classes_of, parts_of

__all__ = ["MINIMUM_DELAY", "GiveUp", "Retry", "Wait", "duration", "seconds"]

MINIMUM_DELAY = 0.01
"""Seconds. A failing message is never tried again at once, or it would spin."""
SPREAD = 0.1
"""The share by which those that were asked to wait equally long may come back later, so that they do not all at once."""


def seconds(value: float | timedelta, what: str) -> float:
    """A duration in seconds from a number or a `timedelta`; `ConfigurationError` if it is negative, endless or no number."""
    number = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(number, bool) or not isinstance(number, int | float) or not 0 <= number <= LONGEST:
        raise ConfigurationError(
            f"{what}={value!r}: a duration is a number of seconds or a timedelta, not negative and at most a century"
        )
    return float(number)


def duration(seconds: float) -> str:
    """Seconds for people: `0.05 s`, `90 s`, `15 min`, `2 h`, `3 d`."""
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"


@dataclass(frozen=True, slots=True)
class Wait:
    """Try again in `delay` seconds."""

    delay: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Dead-letter, for this reason."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """How often, and how far apart. Make one with `exponential`, `fixed` or `none`.

    attempts: how many times a handler is started for one message, the first included.
    first, factor, cap: the ceiling before attempt n + 1 is `first * factor ** (n - 1)` seconds, at most `cap`.
    jitter: wait a random share of that ceiling ("full jitter"), so that what failed together does not return together.
    max_age: seconds since the first failure after which no further attempt is made.
    never: exception classes that are dead-lettered at once.
    per: a policy of its own for an exception class; the most specific class counts. Of a group of exceptions, the policy with the
    fewest attempts.
    heed: seconds that an error may ask for at most (`Retry-After`, see `waybill.asked`), instead of a shorter wait of the
    policy's; 0: it is not listened to. A handler's own `RetryAfter` is taken as it is.
    """

    attempts: int
    first: float = 0.0
    factor: float = 1.0
    cap: float = LONGEST
    jitter: bool = True
    max_age: float | None = None
    never: tuple[type[BaseException], ...] = ()
    per: Mapping[type[BaseException], Retry] = field(default_factory=lambda: MappingProxyType({}))
    heed: float = 3600.0

    def __post_init__(self) -> None:
        if isinstance(self.attempts, bool) or not isinstance(self.attempts, int) or self.attempts < 1:
            raise ConfigurationError(f"Retry: attempts={self.attempts!r} is the total of handlings, at least 1")
        if not 1 <= self.factor <= LONGEST:
            raise ConfigurationError(f"Retry: factor={self.factor!r}: at least 1, or the delays would shrink")
        for what, value in (("first", self.first), ("cap", self.cap), ("max_age", self.max_age), ("heed", self.heed)):
            if value is not None:
                seconds(value, f"Retry: {what}")
        for kind in (*self.never, *self.per):
            if not isinstance(kind, type) or not issubclass(kind, BaseException):
                raise ConfigurationError(f"Retry: {kind!r} is no exception class")
        for kind, policy in self.per.items():
            if not isinstance(policy, Retry):
                raise ConfigurationError(
                    f"Retry: per[{kind.__name__}]={policy!r} is no Retry; use Retry.none() for no retries"
                )

    @classmethod
    def exponential(
        cls,
        attempts: int = 5,
        *,
        first: float | timedelta = 1.0,
        cap: float | timedelta = 60.0,
        factor: float = 2.0,
        jitter: bool = True,
        max_age: float | timedelta | None = None,
        never: Sequence[type[BaseException]] = (),
        per: Mapping[type[BaseException], Retry] | None = None,
        heed: float | timedelta = 3600.0,
    ) -> Retry:
        """Each delay `factor` times the one before, up to `cap`."""
        return cls(
            attempts=attempts,
            first=seconds(first, "first"),
            factor=factor,
            cap=seconds(cap, "cap"),
            jitter=jitter,
            max_age=None if max_age is None else seconds(max_age, "max_age"),
            never=tuple(never),
            per=MappingProxyType(dict(per or {})),
            heed=seconds(heed, "heed"),
        )

    @classmethod
    def fixed(
        cls,
        attempts: int,
        *,
        delay: float | timedelta,
        max_age: float | timedelta | None = None,
        never: Sequence[type[BaseException]] = (),
        per: Mapping[type[BaseException], Retry] | None = None,
        heed: float | timedelta = 3600.0,
    ) -> Retry:
        """Always the same delay, without jitter."""
        return cls.exponential(
            attempts,
            first=delay,
            cap=delay,
            factor=1.0,
            jitter=False,
            max_age=max_age,
            never=never,
            per=per,
            heed=heed,
        )

    @classmethod
    def none(cls) -> Retry:
        """One attempt, then the dead letters."""
        return cls(attempts=1)

    def decide(
        self,
        attempt: int,
        error: BaseException,
        *,
        age: float,
        chance: float,
        asked: float | None = None,
        least: float = 0.0,
    ) -> Wait | GiveUp:
        """What follows the failed `attempt` (1 for the first) with an error that may be tried again.

        `age`: seconds since the first failure; `chance`: uniform in [0, 1); `asked`: the seconds that the handler asked
        for, instead of the policy's; `least`: the seconds that the error itself asks to wait.
        """
        policy = self._for(error)
        if attempt >= policy.attempts:
            return GiveUp("retries_exhausted")
        delay = policy.ceiling(attempt) if asked is None else asked
        if policy.jitter and asked is None:
            delay *= chance
        if (least := min(least, policy.heed)) > delay:
            delay = least * (1 + chance * SPREAD)
        delay = max(delay, MINIMUM_DELAY)
        if policy.max_age is not None and age + delay > policy.max_age:
            return GiveUp("expired")
        return Wait(delay)

    @property
    def most(self) -> int:
        """The most attempts that any error can have."""
        return max([self.attempts, *(policy.most for policy in self.per.values())])

    @property
    def oldest(self) -> float | None:
        """Seconds since the first failure within which an attempt is worth something, whatever the error was; `None`: always."""
        ages = (policy.max_age for policy in (self, *self.per.values()))
        return min((age for age in ages if age is not None), default=None)

    def ceiling(self, attempt: int) -> float:
        """The longest wait in seconds after the failed `attempt`."""
        try:
            return min(self.cap, self.first * self.factor ** (attempt - 1))
        except OverflowError:
            return self.cap

    def timeline(self) -> list[float]:
        """The longest wait in seconds after each failed attempt but the last."""
        return [max(self.ceiling(attempt), MINIMUM_DELAY) for attempt in range(1, self.attempts)]

    def names(self, error: BaseException) -> bool | None:
        """Whether the policy speaks of the error's class: `True`, it has one for it; `False`, never again; `None`, it does not."""
        for kind in classes_of(error):
            if kind in self.never:
                return False
            if kind in self.per:
                return self.per[kind].names(error) is not False
        return None

    def _for(self, error: BaseException) -> Retry:
        """The policy for the most specific class of `error` that is named."""
        for kind in classes_of(error):
            if kind in self.per:
                return self.per[kind]
        return min(map(self._for, parts_of(error)), key=lambda policy: policy.attempts, default=self)
