"""How a subscription is consumed, as one value that checks itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from waybill.errors import ConfigurationError
from waybill.retry import Retry

__all__ = ["ConsumerOptions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerOptions:
    """How one subscription is consumed. Durations are seconds.

    concurrency: handlers at once. window: deliveries held at once, started or not, unsettled; `None`: four times the
    concurrency, at least 16. window_bytes: the bodies held at once, approximately. timeout: a handler's; `None`: no end.
    on_failure: whether a key waits for its failed message; `None`: yes where the subscription is ordered.
    """

    concurrency: int = 10
    window: int | None = None
    window_bytes: int = 64 << 20
    timeout: float | None = 60.0
    retry: Retry = Retry.exponential()  # noqa: RUF009 - frozen
    on_failure: Literal["block-key", "relax"] | None = None

    def __post_init__(self) -> None:
        if isinstance(self.concurrency, bool) or not isinstance(self.concurrency, int) or self.concurrency < 1:
            raise ConfigurationError(f"concurrency={self.concurrency!r}: at least 1 handler at a time")
        if self.on_failure not in {None, "block-key", "relax"}:
            raise ConfigurationError(
                f"on_failure={self.on_failure!r}: block-key (later ones of the key wait) or relax (they pass)"
            )
        if self.window is not None and self.window < self.concurrency:
            raise ConfigurationError(
                f"window={self.window!r}: a window smaller than concurrency={self.concurrency} would leave handlers idle"
            )
        if self.window_bytes < 1:
            raise ConfigurationError(f"window_bytes={self.window_bytes!r}: at least 1")
        if self.timeout is not None and not self.timeout > 0:
            raise ConfigurationError(f"timeout={self.timeout!r}: seconds above 0, or None for no end")

    @property
    def relaxed(self) -> bool:
        """Whether a key's later messages go on while a failed one waits."""
        return self.on_failure == "relax"

    @property
    def held(self) -> int:
        """Deliveries held at once."""
        return max(16, 4 * self.concurrency) if self.window is None else self.window
