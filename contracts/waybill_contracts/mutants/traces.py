"""Wrong about what can be followed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec.structs import force_setattr, replace

from waybill.adapter import Sink
from waybill.message import Delivery, Message
from waybill.outcomes import DeadLetter, SendResult, Settled, Settlement
from waybill.topology import Destination
from waybill_contracts.mutants.running import mutant
from waybill_contracts.mutants.wrapping import Wrapped

__all__: list[str] = []


@mutant("V01")
class LosesTheVendorsState(Wrapped):
    """`traceparent` is carried, and `tracestate` is not."""

    def changed_message(self, message: Message) -> Message:
        return replace(message, tracestate=None)


@mutant("V01")
class LosesBaggage(Wrapped):
    """Headers that are the broker's own business, it thinks, are taken off."""

    def changed_message(self, message: Message) -> Message:
        return replace(message, headers={name: text for name, text in message.headers.items() if name != "baggage"})


@mutant("V01")
class TracesToARetryAnew(Wrapped):
    """What comes once more has lost where it came from."""

    def changed_delivery(self, delivery: Delivery[Any]) -> Delivery[Any]:
        if delivery.attempt == 1:
            return delivery
        return replace(delivery, message=replace(delivery.message, traceparent=None))


@mutant("V01")
class TakesTheLettersTrace(Wrapped):
    """A dead letter's context becomes that of the span it failed in."""

    def changed_settlement(self, settled: Settled) -> Settlement:
        settlement = settled.settlement
        if isinstance(settlement, DeadLetter):
            force_setattr(settled.delivery.message, "traceparent", settlement.record.span)
        return settlement


@mutant("V01")
class SaysNotWhichSpanFailed(Wrapped):
    """The record of a dead letter does not name its span."""

    def changed_settlement(self, settled: Settled) -> Settlement:
        settlement = settled.settlement
        return DeadLetter(replace(settlement.record, span=None)) if isinstance(settlement, DeadLetter) else settlement


@mutant("V01")
class ForgetsTheRedrivesSpan(Wrapped):
    """What is sent to a group alone is not linked to what sent it."""

    async def do_send(
        self, sink: Sink, to: Destination, messages: Sequence[Message], deadline: float
    ) -> Sequence[SendResult]:
        del to
        return await sink.send([replace(message, redrive_span=None) for message in messages], deadline=deadline)


@mutant("V05")
class ForgetsHowTheStoryBegan(Wrapped):
    """A correlation id is carried for one hop."""

    def changed_message(self, message: Message) -> Message:
        return message if message.correlation_id == message.causation_id else replace(message, correlation_id=None)


@mutant("V05")
class TakesTheStoryForTheCause(Wrapped):
    """The causation id is the correlation id."""

    def changed_message(self, message: Message) -> Message:
        return replace(message, causation_id=message.correlation_id)


@mutant("V05")
class ForgetsTheCauseOfARetry(Wrapped):
    """What comes once more has lost what caused it."""

    def changed_delivery(self, delivery: Delivery[Any]) -> Delivery[Any]:
        if delivery.attempt == 1:
            return delivery
        return replace(delivery, message=replace(delivery.message, causation_id=None))
