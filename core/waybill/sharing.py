"""What the consumers of one handler share, where it serves several topics: its slots, its rate limit and its retry budget."""

from __future__ import annotations

from waybill.clock import Clock
from waybill.gates.budget import Spending
from waybill.gates.gate import Gate
from waybill.gates.limit import KeyLimiter, Limiter
from waybill.gates.turn import Turn
from waybill.holding import Slots
from waybill.options import ConsumerOptions

__all__ = ["Shared"]


class Shared:
    """Made of the handler's options, which are the same for all its topics."""

    def __init__(self, options: ConsumerOptions, clock: Clock) -> None:
        limit, budget = options.limit, options.budget
        self.slots = Slots(options.concurrency)
        self.gates: tuple[Gate, ...] = options.gates
        """What may keep its handlers from starting."""
        self.spending = None if budget is None else Spending(budget, clock, options.retry.oldest)
        self.turns: tuple[Turn, ...] = () if self.spending is None else (self.spending,)
        """What a single delivery may have to wait for."""
        if limit is not None and limit.by is None:
            self.gates += (Limiter(limit, batch=1 if options.batch is None else options.batch.size),)
        elif limit is not None:
            self.turns = (KeyLimiter(limit), *self.turns)
