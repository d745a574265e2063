"""Wrong about what a message carries."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Any, ClassVar

import msgspec
from msgspec.structs import replace

from waybill.adapter import Source
from waybill.envelope import UNREADABLE
from waybill.message import Delivery, Message
from waybill.topology import Subscription
from waybill_contracts.mutants.moves import acknowledge
from waybill_contracts.mutants.running import mutant
from waybill_contracts.mutants.wrapping import Wrapped

__all__: list[str] = []


class HandsOutAnother(Wrapped):
    """Override `handed`: the message that is handed out instead of a delivery's own."""

    def handed(self, delivery: Delivery[Any]) -> Message:
        return delivery.message

    def changed_delivery(self, delivery: Delivery[Any]) -> Delivery[Any]:
        return replace(delivery, message=self.handed(delivery))


class ChangesText(Wrapped):
    """Override `text`: what becomes of keys, and of the names and values of headers."""

    def text(self, text: str) -> str:
        return text

    def changed_message(self, message: Message) -> Message:
        headers = {self.text(name): self.text(value) for name, value in message.headers.items()}
        return replace(message, key=message.key and self.text(message.key), headers=headers)


@mutant("H01")
class SendsBodiesAsText(Wrapped):
    """A body is sent as UTF-8, and what is none is replaced."""

    def changed_message(self, message: Message) -> Message:
        return replace(message, body=message.body and message.body.decode(errors="replace").encode())


@mutant("H01")
class TrimsBodies(Wrapped):
    """White space around a body is taken off."""

    def changed_message(self, message: Message) -> Message:
        return replace(message, body=message.body and (message.body.strip() or message.body))


@mutant("H01")
class EndsAtZero(Wrapped):
    """A body ends at its first zero byte."""

    def changed_message(self, message: Message) -> Message:
        return replace(message, body=message.body and (message.body.split(b"\0")[0] or message.body))


@mutant("H02")
class MakesNothingOfEmpty(Wrapped):
    """An empty body is sent as none."""

    def changed_message(self, message: Message) -> Message:
        return replace(message, body=message.body or None)


@mutant("H02")
class FillsWhatIsEmpty(Wrapped):
    """The broker takes no empty body, so it gets a blank, and so does the handler."""

    def changed_message(self, message: Message) -> Message:
        return replace(message, body=b" " if message.body == b"" else message.body)


@mutant("H03")
class NormalizesText(ChangesText):
    """Text is brought to Unicode's composed form."""

    def text(self, text: str) -> str:
        return unicodedata.normalize("NFC", text)


@mutant("H03")
class SendsLatinText(ChangesText):
    """Names and values are sent as Latin 1, as HTTP's were."""

    def text(self, text: str) -> str:
        return text.encode("latin-1", "replace").decode("latin-1")


@mutant("H03")
class TrimsText(ChangesText):
    """White space around names and values is taken off."""

    def text(self, text: str) -> str:
        return text.strip()


@mutant("H04")
class KeepsTenHeaders(Wrapped):
    """A message has ten attributes, and what is beyond is dropped."""

    def changed_message(self, message: Message) -> Message:
        return replace(message, headers=dict(list(message.headers.items())[:10]))


@mutant("H05")
class GuessesTypes(ChangesText):
    """A header that looks like a number or a truth is sent as one, and comes back as that is written."""

    def text(self, text: str) -> str:
        try:
            return str(msgspec.json.decode(text))
        except msgspec.DecodeError:
            return text


@mutant("H05")
class DropsEmptyHeaders(Wrapped):
    """A header without a value is not sent."""

    def changed_message(self, message: Message) -> Message:
        return replace(message, headers={name: value for name, value in message.headers.items() if value})


@mutant("H06")
class IgnoresTheCase(Wrapped):
    """Names of headers are the same whatever their case, as HTTP's are."""

    def changed_message(self, message: Message) -> Message:
        return replace(message, headers={name.lower(): value for name, value in message.headers.items()})


@mutant("H06")
class DropsOddNames(Wrapped):
    """A header whose name the broker does not take is left out in silence."""

    def changed_message(self, message: Message) -> Message:
        plain = {name: value for name, value in message.headers.items() if name.replace("-", "").isalnum()}
        return replace(message, headers=plain)


@mutant("H07")
class ShowsItsOwnHeaders(HandsOutAnother):
    """What the broker counts stands among the user's headers, from the second attempt on."""

    def handed(self, delivery: Delivery[Any]) -> Message:
        if delivery.attempt == 1:
            return delivery.message
        own = {"x-delivery-count": str(delivery.attempt)}
        return replace(delivery.message, headers={**delivery.message.headers, **own})


@mutant("H07")
class PassesHeadersOn(HandsOutAnother):
    """What is published has the headers of what came last."""

    last: ClassVar[dict[str, dict[str, str]]] = {}

    def handed(self, delivery: Delivery[Any]) -> Message:
        self.last[delivery.message.id] = dict(delivery.message.headers)
        return delivery.message

    def changed_message(self, message: Message) -> Message:
        return replace(message, headers={**self.last.get(message.causation_id or "", {}), **message.headers})


@mutant("H08")
class CountsIdsAnew(HandsOutAnother):
    """A retry is a message of its own, with an id of its own."""

    def handed(self, delivery: Delivery[Any]) -> Message:
        message = delivery.message
        return message if delivery.attempt == 1 else replace(message, id=f"{message.id}-{delivery.attempt}")


@mutant("H08")
class GivesARedrivenCopyAnId(HandsOutAnother):
    """What comes back from the dead letters is a new message."""

    def handed(self, delivery: Delivery[Any]) -> Message:
        message = delivery.message
        return replace(message, id=f"{message.id}-{message.redrives}") if message.redrives else message


@mutant("H09")
class ForgetsTheHeadersOfARetry(HandsOutAnother):
    """What is kept for a retry is the body."""

    def handed(self, delivery: Delivery[Any]) -> Message:
        return delivery.message if delivery.attempt == 1 else replace(delivery.message, headers={})


@mutant("H09")
class KeepsTheAttemptInTheBody(HandsOutAnother):
    """The count of attempts is written into the body, which the next attempt gets."""

    def handed(self, delivery: Delivery[Any]) -> Message:
        message = delivery.message
        return message if delivery.attempt == 1 else replace(message, body=(message.body or b"").replace(b"0", b"1"))


@mutant("H10")
class DropsWhatIsForeign(Wrapped):
    """What it did not write itself is acknowledged unseen."""

    async def do_receive(self, source: Source, subscription: Subscription, limit: int) -> Sequence[Delivery[Any]]:
        deliveries = await super().do_receive(source, subscription, limit)
        foreign = [delivery for delivery in deliveries if delivery.message.content_type == UNREADABLE]
        await acknowledge(source, foreign)
        return [delivery for delivery in deliveries if delivery not in foreign]


@mutant("H10")
class ChokesOnWhatIsForeign(Wrapped):
    """What has no attributes raises where it is read, again and again."""

    async def do_receive(self, source: Source, subscription: Subscription, limit: int) -> Sequence[Delivery[Any]]:
        deliveries = await super().do_receive(source, subscription, limit)
        if any(delivery.message.content_type == UNREADABLE for delivery in deliveries):
            raise KeyError("specversion")
        return deliveries


@mutant("H11")
class MakesEmptyOfNothing(Wrapped):
    """A message without a body is sent with an empty one."""

    def changed_message(self, message: Message) -> Message:
        return replace(message, body=message.body or b"")


@mutant("H11")
class LosesTheKeyOfATombstone(Wrapped):
    """A message without a body has no key either."""

    def changed_message(self, message: Message) -> Message:
        return message if message.body is not None else replace(message, key=None)


@mutant("H12")
class HandsOutItsOwnObject(Wrapped):
    """The native object is Waybill's own message, which is at hand anyway."""

    def changed_delivery(self, delivery: Delivery[Any]) -> Delivery[Any]:
        return replace(delivery, native=delivery.message)
