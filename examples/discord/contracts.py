"""What travels: what happened, by channel and once, and what the bot is to say."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated

from pydantic import Field

from examples.discord.events import Event
from waybill import Topic

__all__ = ["Happened", "Reply", "happened", "replies"]


@dataclass(frozen=True, slots=True)
class Happened:
    """One of the events; their `kind` tells which."""

    event: Annotated[Event, Field(discriminator="kind")]


@dataclass(frozen=True, slots=True)
class Reply:
    """What the bot is to say, and what to."""

    interaction_id: str
    channel_id: str
    content: str


REMEMBERED = timedelta(hours=1)
"""Longer than Discord lets a lost connection be resumed, which is minutes."""

happened = Topic(
    "discord.events",
    Happened,
    key=lambda happened: happened.event.key,
    groups=["moderation", "archive"],
    id=lambda happened: happened.event.identity,
    dedup_window=REMEMBERED,
)
replies = Topic(
    "discord.replies",
    Reply,
    key=lambda reply: reply.channel_id,
    groups=["bot"],  # a program of its own, which may send: the replies wait for it
    id=lambda reply: f"reply/{reply.interaction_id}",
    dedup_window=REMEMBERED,
)
