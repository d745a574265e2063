"""From the gateway's payloads to events. Pure: no connection, no clock; the recording in `gateway.jsonl` is its proof.

Of the many fields of a payload only those that an event needs are read; others may come and go. A payload without them
is not what the gateway documents, and is skipped.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from examples.discord.events import (
    CommandInvoked,
    Event,
    MemberJoined,
    MessageDeleted,
    MessageEdited,
    MessagePosted,
)

__all__ = ["MALFORMED", "Gateway"]

log = logging.getLogger(__name__)

MALFORMED = "not as documented"
"""Among the types of what was skipped."""
DISPATCH = 0
"""The op code of events; the others (hello, heartbeats, reconnect …) are about the connection."""
COMMAND = 2
"""The type of an interaction that is a command, not a button or a form."""

Snowflake = Annotated[str, Meta(pattern=r"^[0-9]{1,20}$")]


class Payload(Struct):
    op: int
    d: msgspec.Raw = msgspec.Raw(b"null")
    s: int | None = None
    t: str | None = None


class User(Struct):
    id: Snowflake
    username: str


class MessageData(Struct):
    id: Snowflake
    channel_id: Snowflake
    author: User
    content: str
    guild_id: Snowflake | None = None
    edited_timestamp: datetime | None = None


class DeletionData(Struct):
    id: Snowflake
    channel_id: Snowflake


class MemberData(Struct):
    guild_id: Snowflake
    user: User
    joined_at: datetime


class Invoker(Struct):
    user: User


class Option(Struct):
    name: str
    value: str | int | float | bool | None = None


class CommandData(Struct):
    name: str = ""
    options: list[Option] = []


class InteractionData(Struct):
    id: Snowflake
    type: int
    channel_id: Snowflake | None = None
    data: CommandData | None = None
    member: Invoker | None = None
    """In a guild."""
    user: User | None = None
    """In private."""


def posted(body: MessageData) -> Event:
    return MessagePosted(
        message_id=body.id,
        channel_id=body.channel_id,
        guild_id=body.guild_id,
        author_id=body.author.id,
        author=body.author.username,
        content=body.content,
    )


def edited(body: MessageData) -> Event | None:
    if body.edited_timestamp is None:
        return None  # Discord has added a preview: nobody has edited anything
    return MessageEdited(
        message_id=body.id, channel_id=body.channel_id, content=body.content, edited_at=body.edited_timestamp
    )


def deleted(body: DeletionData) -> Event:
    return MessageDeleted(message_id=body.id, channel_id=body.channel_id)


def joined(body: MemberData) -> Event:
    return MemberJoined(guild_id=body.guild_id, user_id=body.user.id, name=body.user.username, joined_at=body.joined_at)


def invoked(body: InteractionData) -> Event | None:
    user = body.user if body.member is None else body.member.user
    if body.type != COMMAND or body.data is None or body.channel_id is None or user is None:
        return None
    options = {option.name: option.value for option in body.data.options if option.value is not None}
    return CommandInvoked(
        interaction_id=body.id, channel_id=body.channel_id, user_id=user.id, command=body.data.name, options=options
    )


def reading(kind: type[Any], translate: Callable[[Any], Event | None]) -> Callable[[msgspec.Raw], Event | None]:
    decode = msgspec.json.Decoder(kind).decode
    return lambda data: translate(decode(data))


TRANSLATIONS = {
    "MESSAGE_CREATE": reading(MessageData, posted),
    "MESSAGE_UPDATE": reading(MessageData, edited),
    "MESSAGE_DELETE": reading(DeletionData, deleted),
    "GUILD_MEMBER_ADD": reading(MemberData, joined),
    "INTERACTION_CREATE": reading(InteractionData, invoked),
}


class Gateway:
    """One connection's payloads, one after another. Goes on from `sequence` and `skipped`, if there was one before."""

    def __init__(self, sequence: int | None = None, skipped: Mapping[str, int] | None = None) -> None:
        self.sequence = sequence
        """The last sequence number: what a resume goes on from."""
        self.skipped = Counter[str](skipped)
        """Dispatches that are no event of ours, by their type; those that are not as documented, as `MALFORMED`."""
        self._decode = msgspec.json.Decoder(Payload).decode

    def events(self, lines: Iterable[str | bytes]) -> Iterator[Event]:
        """Those of these payloads, in their order. One that is not as documented is logged and counted: it ends nothing."""
        for line in lines:
            try:
                event = self.event(line)
            except msgspec.DecodeError as error:
                log.warning("a payload at sequence %s is %s: %s", self.sequence, MALFORMED, error)
                self.skipped[MALFORMED] += 1
            else:
                if event is not None:
                    yield event

    def event(self, line: str | bytes) -> Event | None:
        """The payload's event, if it has one. Raises `msgspec.DecodeError`; a resume does not bring that payload again."""
        payload = self._decode(line)
        if payload.op != DISPATCH or payload.t is None:
            return None
        self.sequence = payload.s
        translate = TRANSLATIONS.get(payload.t)
        event = None if translate is None else translate(payload.d)
        if event is None:
            self.skipped[payload.t] += 1
        return event
