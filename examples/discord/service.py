"""The service: moderation follows what stands in each channel and answers commands; the archive keeps what happened."""

import os
from pathlib import Path

from examples.discord.contracts import Happened, Reply, happened, replies
from examples.discord.events import CommandInvoked
from examples.discord.store import Store
from waybill import App, Batch, Delivery

app = App("discord")
store = Store(Path(os.environ.get("DISCORD_FILE", "discord.db")))


@app.consume(happened, group="moderation", ordered=True)
def moderate(what: Happened) -> None:
    """A channel's events come one after another. Plain, as SQLite is: it runs in a thread."""
    store.apply(what.event)
    if isinstance(what.event, CommandInvoked):
        app.sync.publish(replies, answer(what.event))


def answer(command: CommandInvoked) -> Reply:
    options = "".join(f" {name}={value}" for name, value in command.options.items())
    return Reply(command.interaction_id, command.channel_id, f"heard: {command.command}{options}")


@app.consume(happened, group="archive", batch=Batch(100, wait=0.2), concurrency=1)
def archive(_batch: list[Happened], deliveries: list[Delivery[Happened]]) -> None:
    """As it travelled: the message's id is the event's identity."""
    store.keep((delivery.message.id, delivery.message.body or b"") for delivery in deliveries)
