"""What the rest of the house hears of Discord: events of our own, each with an identity and an order.

`identity` is the same whenever Discord tells of the same event again, which it does after a resume. `key` names those
that keep their order: a channel's, and for what has no channel the guild's. Ids stay texts, as Discord sends them: they
have 64 bits, and a number in JSON is not safe beyond 53.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal, TypeAlias

__all__ = [
    "CommandInvoked",
    "Event",
    "MemberJoined",
    "MessageDeleted",
    "MessageEdited",
    "MessagePosted",
    "time_of",
]

EPOCH = datetime(2015, 1, 1, tzinfo=UTC)


def time_of(snowflake: str) -> datetime:
    """When the id was made, to the millisecond: the time stands above its lowest 22 bits."""
    return EPOCH + timedelta(milliseconds=int(snowflake) >> 22)


@dataclass(frozen=True, slots=True, kw_only=True)
class MessagePosted:
    kind: Literal["message-posted"] = "message-posted"
    message_id: str
    channel_id: str
    guild_id: str | None = None
    """`None` in private."""
    author_id: str
    author: str
    content: str
    """Empty without the intent `MESSAGE_CONTENT`, unless the message is to or about the bot."""

    @property
    def identity(self) -> str:
        return f"{self.kind}/{self.message_id}"

    @property
    def key(self) -> str:
        return self.channel_id


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageEdited:
    kind: Literal["message-edited"] = "message-edited"
    message_id: str
    channel_id: str
    content: str
    edited_at: datetime

    @property
    def identity(self) -> str:
        """A message may be edited again, and its id stays the same."""
        return f"{self.kind}/{self.message_id}/{self.edited_at.isoformat()}"

    @property
    def key(self) -> str:
        return self.channel_id


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageDeleted:
    kind: Literal["message-deleted"] = "message-deleted"
    message_id: str
    channel_id: str

    @property
    def identity(self) -> str:
        return f"{self.kind}/{self.message_id}"

    @property
    def key(self) -> str:
        return self.channel_id


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberJoined:
    kind: Literal["member-joined"] = "member-joined"
    guild_id: str
    user_id: str
    name: str
    joined_at: datetime

    @property
    def identity(self) -> str:
        """One may leave and join again."""
        return f"{self.kind}/{self.guild_id}/{self.user_id}/{self.joined_at.isoformat()}"

    @property
    def key(self) -> str:
        return self.guild_id


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandInvoked:
    kind: Literal["command-invoked"] = "command-invoked"
    interaction_id: str
    channel_id: str
    user_id: str
    command: str
    options: dict[str, str | int | float | bool] = field(default_factory=dict[str, str | int | float | bool])

    @property
    def identity(self) -> str:
        return f"{self.kind}/{self.interaction_id}"

    @property
    def key(self) -> str:
        return self.channel_id


Event: TypeAlias = MessagePosted | MessageEdited | MessageDeleted | MemberJoined | CommandInvoked
