"""Wrong about bodies that are no text, and about what is given back."""

from __future__ import annotations

from datetime import UTC, datetime

from msgspec.structs import replace

from waybill.message import DeadLetterRecord, Message
from waybill.outcomes import Defer, Release, Settled, Settlement
from waybill_contracts.mutants.running import mutant
from waybill_contracts.mutants.settlement import Burying, Dropping
from waybill_contracts.mutants.wrapping import Wrapped

__all__: list[str] = []


@mutant("Z01")
class SendsAvroAsText(Wrapped):
    """A body goes through a text type, which ends at a zero byte."""

    def changed_message(self, message: Message) -> Message:
        return replace(message, body=message.body and message.body.replace(b"\0", b" "))


@mutant("Z01")
class ForgetsTheContentType(Wrapped):
    """What a body is, is not sent."""

    def changed_message(self, message: Message) -> Message:
        return replace(message, content_type=None)


@mutant("Z02")
class DropsWhatNobodyDecodes(Dropping):
    """What cannot be decoded is acknowledged: nobody could handle it."""

    def drops(self, record: DeadLetterRecord) -> bool:
        return record.reason == "decode_error"


@mutant("Z02")
class BuriesReadableBodies(Burying):
    """A dead letter is for people, so its body is made readable."""

    def buried(self, letter: Message) -> Message:
        return replace(letter, body=letter.body and letter.body.decode(errors="replace").encode())


@mutant("Z03")
class CountsWhatIsGivenBack(Wrapped):
    """Giving back counts as a failure."""

    def changed_settlement(self, settled: Settled) -> Settlement:
        if isinstance(settled.settlement, Release):
            return Defer(0.0, settled.delivery.attempt, datetime.now(UTC))
        return settled.settlement
