"""What only RabbitMQ knows: of a topic (`RabbitMQ`), and of the whole broker (`[broker.rabbitmq]`)."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator

from waybill.errors import ConfigurationError
from waybill.tables import Table
from waybill.topology import BrokerOptions, TopicSpec

__all__ = ["BrokerTable", "RabbitMQ", "options_of", "partitions_of"]

PARTITIONS = 8
MOST_PARTITIONS = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class RabbitMQ(BrokerOptions):
    """RabbitMQ's options of a topic: `orders.on(RabbitMQ(partitions=8))`.

    partitions: how many queues a group has that is consumed in order. A message's key decides its queue, each queue is consumed
    by one member at a time, and the members share them. `None`: 8 for a group that is consumed `ordered`, and one for any
    other, which its members share. A number above 1 is for all groups of the topic. It may grow, which moves keys to other
    queues; it never shrinks.
    """

    partitions: int | None = None

    def __post_init__(self) -> None:
        if self.partitions is not None and not 1 <= self.partitions <= MOST_PARTITIONS:
            raise ConfigurationError(f"RabbitMQ(partitions={self.partitions!r}): from 1 to {MOST_PARTITIONS}")


NOTHING = RabbitMQ()


def options_of(topic: TopicSpec) -> RabbitMQ:
    """Those that the topic was given, or the defaults."""
    return topic.option(NOTHING)


def partitions_of(topic: TopicSpec) -> int:
    """How many partitions its messages are for, whether or not a group tells them apart."""
    return options_of(topic).partitions or PARTITIONS


class BrokerTable(Table):
    """The settings `[broker.rabbitmq]`. Durations are seconds, sizes are bytes."""

    hosts: tuple[str, ...] = ()
    """Further servers of the cluster, as `host` or `host:port`; the URL's and these are tried in a random order."""
    username: str | None = None
    """Instead of the URL's."""
    password: SecretStr | None = None
    """Instead of the URL's."""
    password_file: str | None = None
    """A file that holds the password, read anew at each connect, for one that changes."""
    heartbeat: int = Field(default=10, ge=1, le=600)
    """How often each side tells that it is there. A dead connection is noticed after three times as long and a bit."""
    connect_timeout: float = Field(default=10.0, gt=0)
    """How long one server is given to answer when connecting."""
    max_message_size: int = Field(default=16 << 20, ge=1024)
    """The largest body; the broker's own `max_message_size` must not be below it."""
    delivery_limit: int = Field(default=1000, ge=50)
    """Times that the broker hands out one message in vain (its process died, it was given back) before it dead-letters
    it. The net below the retries, which do not count here: at least ten times the attempts of any policy."""
    cafile: str | None = None
    """Certificates of the authorities that the broker's is checked against; `None`: the system's."""
    certfile: str | None = None
    """This client's certificate, read anew at each connect."""
    keyfile: str | None = None
    """Its key, where it is not in the same file."""
    management: str | None = Field(default=None, repr=False)
    """The URL of the management API, e.g. `http://localhost:15672`: with it, backlogs say what is in flight, and plans
    compare every argument and bindings. The credentials are the broker's unless it has its own."""

    @field_validator("management")
    @classmethod
    def _is_http(cls, url: str | None) -> str | None:
        if url is not None and (urlsplit(url).scheme not in {"http", "https"} or not urlsplit(url).hostname):
            raise ValueError("write http://host:15672 or https://host:15671")
        return url
