"""How a subscription is consumed, as one value that checks itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Literal, TypedDict

from waybill.classifying import ErrorTable, Kinds
from waybill.errors import ConfigurationError
from waybill.gates import Bulkhead, CircuitBreaker, Gate, RateLimit, RetryBudget
from waybill.retry import Retry, seconds

__all__ = ["Batch", "ConsumeOptions", "ConsumerOptions"]


class ConsumeOptions(TypedDict, total=False):
    """The options of `App.consume`. Durations are seconds or timedeltas."""

    group: str
    """Default: the application's name."""
    concurrency: int
    """Handlers at once. Default 10."""
    ordered: bool
    """Messages of one key one after another, in publishing order. Default no."""
    retry: Retry
    """Default `Retry.exponential(5, first=1.0, cap=60.0)`."""
    timeout: float | timedelta | None
    """How long one handling may take, `None` for no end. Default 60."""
    window: int
    """How many messages are held at once, started or not. Default: four times the concurrency, at least 16; for batches,
    one batch more than handlers."""
    window_bytes: int
    """How many bytes of bodies are held at once, about. Default 64 MiB."""
    on_failure: Literal["block-key", "block-partition", "relax"]
    """What an ordered key does while a failed message waits for its retry: `block-key` (the default) waits with it, `relax`
    goes on, and the message comes back with `Delivery.out_of_order`; `block-partition` lets all that is behind wait."""
    where: Mapping[str, str | Sequence[str]]
    """Only messages whose headers have these values, or one of these. The others are not handled, and not counted."""
    start: Literal["earliest", "latest"]
    """What a group that is new begins with: all that the topic still keeps (`Topic(retention=…)`), or what comes. Default:
    a topic's first group begins with what was published before it, a later one with what comes."""
    ephemeral: bool
    """The group lives as long as this consumer: it begins with what comes, every process has one of its own, and nothing
    is left of it, its dead letters included. Default no."""
    breaker: CircuitBreaker | Sequence[CircuitBreaker]
    """The dependencies that the handler calls: while one of them fails, nothing is fetched and nothing given up."""
    bulkhead: Bulkhead | Sequence[Bulkhead]
    """What bears only so many handlers at once, of all the subscriptions that name it."""
    limit: RateLimit
    """How many handlings may start in a time. Default: any number."""
    budget: RetryBudget
    """How many of the handlings may be retries. Default: any number."""
    errors: ErrorTable
    """What errors say: `{CardDeclined: "permanent", BankDown: "systemic"}`. Before `App(errors=…)`, the retry policy's own
    classes and the usual meaning. See `waybill.classifying`."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Messages are handled several at once: up to `size`, or as many as have come `wait` seconds after the first of them."""

    size: int
    wait: float | timedelta = 0.1

    def __post_init__(self) -> None:
        if isinstance(self.size, bool) or not isinstance(self.size, int) or self.size < 1:
            raise ConfigurationError(f"Batch: size={self.size!r}: at least 1 message")
        seconds(self.wait, "Batch: wait")

    @property
    def pause(self) -> float:
        """`wait` in seconds."""
        return seconds(self.wait, "wait")


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerOptions:
    """How one subscription is consumed, checked. Durations are seconds; `ConsumeOptions` says what each means."""

    concurrency: int = 10
    window: int | None = None
    window_bytes: int = 64 << 20
    timeout: float | None = 60.0
    retry: Retry = Retry.exponential()  # noqa: RUF009 - frozen
    on_failure: Literal["block-key", "block-partition", "relax"] | None = None
    batch: Batch | None = None
    gates: tuple[Gate, ...] = ()
    limit: RateLimit | None = None
    budget: RetryBudget | None = None
    kinds: Kinds = Kinds()  # noqa: RUF009 - never changed

    def __post_init__(self) -> None:
        if isinstance(self.concurrency, bool) or not isinstance(self.concurrency, int) or self.concurrency < 1:
            raise ConfigurationError(f"concurrency={self.concurrency!r}: at least 1 handler at a time")
        if self.on_failure not in (None, "block-key", "block-partition", "relax"):
            raise ConfigurationError(
                f"on_failure={self.on_failure!r}: block-key (later ones of the key wait), relax (they pass) or "
                f"block-partition (all that is behind waits)"
            )
        least = self.concurrency if self.batch is None else self.batch.size
        if self.window is not None and self.window < least:
            raise ConfigurationError(
                f"window={self.window!r}: a window smaller than {least} would leave handlers idle or batches short"
            )
        if not isinstance(self.retry, Retry):
            raise ConfigurationError(
                f"retry={self.retry!r}: write Retry.exponential(5), Retry.fixed(5, delay=1) or Retry.none()"
            )
        self._check_limits()
        if self.window_bytes < 1:
            raise ConfigurationError(f"window_bytes={self.window_bytes!r}: at least 1")
        if self.timeout is not None and not self.timeout > 0:
            raise ConfigurationError(f"timeout={self.timeout!r}: seconds above 0, or None for no end")

    def _check_limits(self) -> None:
        if self.limit is not None and not isinstance(self.limit, RateLimit):
            raise ConfigurationError(f"limit={self.limit!r}: write RateLimit(100) for 100 a second")
        if self.limit is not None and self.limit.by is not None and self.batch is not None:
            raise ConfigurationError(
                "limit=RateLimit(…, by=…) with batch=…: a batch holds messages of several keys. Drop one of the two"
            )
        if self.budget is not None and not isinstance(self.budget, RetryBudget):
            raise ConfigurationError(f"budget={self.budget!r}: write RetryBudget(0.2) for one retry in five handlings")
        if self.budget is not None and self.retry.most == 1:
            raise ConfigurationError(
                "budget=… with one attempt: there is no retry to count. Drop it, or give more attempts"
            )

    def resized(self, concurrency: int) -> ConsumerOptions:
        """The same with so many handlers at once, and a window that is not smaller than before if it was given."""
        window = None if self.window is None else max(concurrency, self.window)
        return replace(self, concurrency=concurrency, window=window)

    @property
    def relaxed(self) -> bool:
        """Whether a key's later messages go on while a failed one waits."""
        return self.on_failure == "relax"

    @property
    def held(self) -> int:
        """Deliveries held at once."""
        if self.window is not None:
            return self.window
        if self.batch is not None:
            return self.batch.size * (self.concurrency + 1)
        handlers = min([self.concurrency, *(gate.handlers for gate in self.gates if isinstance(gate, Bulkhead))])
        usual = max(16, 4 * handlers)
        if self.limit is None or self.limit.by is not None:
            return usual
        return min(
            usual, self.limit.held(self.concurrency, self.timeout)
        )  # what could not start for long is for others
