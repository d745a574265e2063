"""What may keep a consumer from starting handlers: circuit breakers, bulkheads, rate limits; and the budget for retries."""

from waybill.gates.breaker import CircuitBreaker, CircuitReport
from waybill.gates.budget import RetryBudget
from waybill.gates.bulkhead import Bulkhead
from waybill.gates.gate import Failure, Gate
from waybill.gates.limit import RateLimit

__all__ = ["Bulkhead", "CircuitBreaker", "CircuitReport", "Failure", "Gate", "RateLimit", "RetryBudget"]
