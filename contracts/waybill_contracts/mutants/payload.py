"""Wrong about what a message carries."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Any, ClassVar

import msgspec

from waybill.adapter import Sink, Source
from waybill.envelope import UNREADABLE
from waybill.message import Delivery, Message
from waybill.outcomes import ACK, SendResult, Settled
from waybill.topology import Destination, Subscription
from waybill_contracts.mutants.running import mutant
from waybill_contracts.mutants.wrapping import Wrapped

__all__: list[str] = []

replace = msgspec.structs.replace


class Garbles(Wrapped):
    """Override `garbled`: what is stored instead of a message, or `handed`: what is handed out instead of a delivery."""

    def garbled(self, message: Message) -> Message:
        return message

    def handed(self, delivery: Delivery[Any]) -> Message:
        return delivery.message

    async def do_send(
        self, sink: Sink, to: Destination, messages: Sequence[Message], deadline: float
    ) -> Sequence[SendResult]:
        return await super().do_send(sink, to, [self.garbled(message) for message in messages], deadline)

    async def do_receive(self, source: Source, subscription: Subscription, limit: int) -> Sequence[Delivery[Any]]:
        deliveries = await super().do_receive(source, subscription, limit)
        return [replace(delivery, message=self.handed(delivery)) for delivery in deliveries]


class ChangesText(Garbles):
    """Override `text`: what becomes of keys, and of the names and values of headers."""

    def text(self, text: str) -> str:
        return text

    def garbled(self, message: Message) -> Message:
        headers = {self.text(name): self.text(value) for name, value in message.headers.items()}
        return replace(message, key=message.key and self.text(message.key), headers=headers)


@mutant("H01")
class SendsBodiesAsText(Garbles):
    """A body is sent as UTF-8, and what is none is replaced."""

    def garbled(self, message: Message) -> Message:
        return replace(message, body=message.body and message.body.decode(errors="replace").encode())


@mutant("H01")
class TrimsBodies(Garbles):
    """White space around a body is taken off."""

    def garbled(self, message: Message) -> Message:
        return replace(message, body=message.body and (message.body.strip() or message.body))


@mutant("H01")
class EndsAtZero(Garbles):
    """A body ends at its first zero byte."""

    def garbled(self, message: Message) -> Message:
        return replace(message, body=message.body and (message.body.split(b"\0")[0] or message.body))


@mutant("H02")
class MakesNothingOfEmpty(Garbles):
    """An empty body is sent as none."""

    def garbled(self, message: Message) -> Message:
        return replace(message, body=message.body or None)


@mutant("H02")
class FillsWhatIsEmpty(Garbles):
    """The broker takes no empty body, so it gets a blank, and so does the handler."""

    def garbled(self, message: Message) -> Message:
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
class KeepsTenHeaders(Garbles):
    """A message has ten attributes, and what is beyond is dropped."""

    def garbled(self, message: Message) -> Message:
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
class DropsEmptyHeaders(Garbles):
    """A header without a value is not sent."""

    def garbled(self, message: Message) -> Message:
        return replace(message, headers={name: value for name, value in message.headers.items() if value})


@mutant("H06")
class IgnoresTheCase(Garbles):
    """Names of headers are the same whatever their case, as HTTP's are."""

    def garbled(self, message: Message) -> Message:
        return replace(message, headers={name.lower(): value for name, value in message.headers.items()})


@mutant("H06")
class DropsOddNames(Garbles):
    """A header whose name the broker does not take is left out in silence."""

    def garbled(self, message: Message) -> Message:
        plain = {name: value for name, value in message.headers.items() if name.replace("-", "").isalnum()}
        return replace(message, headers=plain)


@mutant("H07")
class ShowsItsOwnHeaders(Garbles):
    """What the broker counts stands among the user's headers, from the second attempt on."""

    def handed(self, delivery: Delivery[Any]) -> Message:
        if delivery.attempt == 1:
            return delivery.message
        own = {"x-delivery-count": str(delivery.attempt)}
        return replace(delivery.message, headers={**delivery.message.headers, **own})


@mutant("H07")
class PassesHeadersOn(Garbles):
    """What is published has the headers of what came last."""

    last: ClassVar[dict[str, dict[str, str]]] = {}

    def handed(self, delivery: Delivery[Any]) -> Message:
        self.last[delivery.message.id] = dict(delivery.message.headers)
        return delivery.message

    def garbled(self, message: Message) -> Message:
        return replace(message, headers={**self.last.get(message.causation_id or "", {}), **message.headers})


@mutant("H08")
class CountsIdsAnew(Garbles):
    """A retry is a message of its own, with an id of its own."""

    def handed(self, delivery: Delivery[Any]) -> Message:
        message = delivery.message
        return message if delivery.attempt == 1 else replace(message, id=f"{message.id}-{delivery.attempt}")


@mutant("H08")
class GivesARedrivenCopyAnId(Garbles):
    """What comes back from the dead letters is a new message."""

    def handed(self, delivery: Delivery[Any]) -> Message:
        message = delivery.message
        return replace(message, id=f"{message.id}-{message.redrives}") if message.redrives else message


@mutant("H09")
class ForgetsTheHeadersOfARetry(Garbles):
    """What is kept for a retry is the body."""

    def handed(self, delivery: Delivery[Any]) -> Message:
        return delivery.message if delivery.attempt == 1 else replace(delivery.message, headers={})


@mutant("H09")
class KeepsTheAttemptInTheBody(Garbles):
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
        await source.settle([Settled(delivery, ACK) for delivery in foreign])
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
class MakesEmptyOfNothing(Garbles):
    """A message without a body is sent with an empty one."""

    def garbled(self, message: Message) -> Message:
        return replace(message, body=message.body or b"")


@mutant("H11")
class LosesTheKeyOfATombstone(Garbles):
    """A message without a body has no key either."""

    def garbled(self, message: Message) -> Message:
        return message if message.body is not None else replace(message, key=None)


@mutant("H12")
class HandsOutItsOwnObject(Wrapped):
    """The native object is Waybill's own message, which is at hand anyway."""

    async def do_receive(self, source: Source, subscription: Subscription, limit: int) -> Sequence[Delivery[Any]]:
        deliveries = await super().do_receive(source, subscription, limit)
        return [replace(delivery, native=delivery.message) for delivery in deliveries]
