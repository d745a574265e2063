"""What only Kafka knows: of a topic (`Kafka`), and of the whole broker (`[broker.kafka]`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from importlib.util import find_spec
from types import MappingProxyType
from typing import Literal

from pydantic import Field, SecretStr, model_validator

from waybill.errors import ConfigurationError
from waybill.retry import seconds
from waybill.tables import Table
from waybill.topology import BrokerOptions, TopicSpec

__all__ = ["BrokerTable", "Kafka", "options_of"]

MOST_PARTITIONS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Kafka(BrokerOptions):
    """Kafka's options of a topic: `orders.on(Kafka(partitions=12, replication=3))`. What is not given is the broker's.

    partitions: how many the topic has, and with it the inbox and the dead letters of each group. A message's key decides
    its partition, and each partition is consumed by one member of a group at a time: so many members at most share the
    work. It may grow, which moves keys to other partitions; it never shrinks. `None`: as `[broker.kafka] partitions` says.
    replication: on how many servers each partition lies. min_insync_replicas: how many of them must have a message before
    it is confirmed; with 3 servers, 2 keeps what is confirmed when one of them dies.
    retention: how long messages are kept, handled or not, in seconds or as a timedelta; a `Topic(retention=…)` of the
    contract comes first. retention_bytes: how many bytes a partition keeps at most.
    compaction: keep the last message of each key, whatever its age; every message needs a key then, and a tombstone
    removes one.
    config: further entries of the topic's configuration, by Kafka's names.

    Raises `ConfigurationError`.
    """

    partitions: int | None = None
    replication: int | None = None
    min_insync_replicas: int | None = None
    retention: float | timedelta | None = None
    retention_bytes: int | None = None
    compaction: bool = False
    config: Mapping[str, str] = field(default_factory=dict[str, str], hash=False)

    def __post_init__(self) -> None:
        for name, most in (("partitions", MOST_PARTITIONS), ("replication", 32), ("min_insync_replicas", 32)):
            value = getattr(self, name)
            if value is not None and not 1 <= value <= most:
                raise ConfigurationError(f"Kafka({name}={value!r}): from 1 to {most}")
        object.__setattr__(self, "config", MappingProxyType(dict(self.config)))
        if self.retention is not None:
            seconds(self.retention, "Kafka(retention=…)")
        if self.replication and self.min_insync_replicas and self.min_insync_replicas > self.replication:
            raise ConfigurationError(
                f"Kafka(replication={self.replication}, min_insync_replicas={self.min_insync_replicas}): nothing could "
                f"ever be confirmed; min_insync_replicas is at most the replication, and one less lets a server die"
            )

    def entries(self, spec: TopicSpec) -> dict[str, str]:
        """The topic's configuration, as far as it was given."""
        kept = spec.retention if spec.retention is not None else self.retention
        found = dict(self.config)
        if kept is not None:
            found["retention.ms"] = str(round(seconds(kept, "retention") * 1000))
        if self.retention_bytes is not None:
            found["retention.bytes"] = str(self.retention_bytes)
        if self.min_insync_replicas is not None:
            found["min.insync.replicas"] = str(self.min_insync_replicas)
        if self.compaction:
            found["cleanup.policy"] = "compact,delete" if kept is not None else "compact"
        return found


NOTHING = Kafka()


def options_of(topic: TopicSpec) -> Kafka:
    """Those that the topic was given, or the defaults."""
    return topic.option(NOTHING)


class BrokerTable(Table):
    """The settings `[broker.kafka]`. Durations are seconds, sizes are bytes."""

    partitions: int = Field(default=4, ge=1, le=MOST_PARTITIONS)
    """Of a topic that says nothing of its own."""
    replication: int = Field(default=-1, ge=-1, le=32)
    """Of a topic that says nothing of its own; -1: the broker's default."""
    security: Literal["plaintext", "tls"] | None = None
    """`None`: as the URL says, `kafka://` without TLS and `kafka+ssl://` with it."""
    cafile: str | None = None
    """Certificates of the authorities that the broker's is checked against; `None`: the system's."""
    certfile: str | None = None
    """This client's certificate."""
    keyfile: str | None = None
    """Its key, where it is not in the same file."""
    sasl: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] | None = None
    """How we prove who we are. `None`: PLAIN where there is a user name, else not at all."""
    username: str | None = None
    """Instead of the URL's."""
    password: SecretStr | None = None
    """Instead of the URL's."""
    token_file: str | None = None
    """A file that holds the token for OAUTHBEARER, read anew at each connect, for one that changes."""
    plain_without_tls: bool = False
    """Let a password travel readable by everybody on the way: PLAIN on a connection without TLS."""
    compression: Literal["none", "gzip", "snappy", "lz4", "zstd"] = "none"
    """Of what is published."""
    linger: float = Field(default=0.0, ge=0, le=5)
    """How long a message waits for others to share a batch with. What is published at once shares one anyway."""
    batch_size: int = Field(default=256 << 10, ge=1024)
    """Bytes of a batch of one partition, before compression."""
    max_message_size: int = Field(default=1 << 20, ge=1024)
    """The largest body. Topics that we make carry it with its headers."""
    connect_timeout: float = Field(default=10.0, gt=0)
    """How long the broker is given to answer when connecting, and when something is declared or looked at."""
    request_timeout: float = Field(default=10.0, gt=0)
    """How long one request may take before its connection is given up."""
    session_timeout: float = Field(default=10.0, gt=0, le=1800)
    """How long a member may be silent before its partitions go to others, if its subscription's lease is not shorter. The
    broker allows 6 to 1800 (`group.min.session.timeout.ms`)."""
    rebalance_timeout: float = Field(default=60.0, gt=0)
    """How long handlers may still run on partitions that are to go to another member; then they go all the same, and what
    is unfinished comes again there."""
    static_membership: str | None = None
    """This process's lasting name, which no other has: restarted within its session, it has its partitions back and
    nothing moves. They stand still as long as it is away."""
    read_committed: bool = True
    """Leave out what others published in transactions that were aborted, and wait for those that are open."""
    skip_unreadable: bool = False
    """Go on behind records that nobody can read (their checksum is wrong, their compression unknown), and leave them out.
    Else what is behind them in their partition waits, and health says so."""
    fetch_bytes: int = Field(default=1 << 20, ge=1024)
    """Bytes of one partition that are fetched at once."""
    commit_interval: float = Field(default=0.1, gt=0, le=10)
    """How often what was handled is committed while much is; else it is at once. What was not, a killed process's
    successor handles again."""
    most_unfinished: int = Field(default=2000, ge=10)
    """Messages of one partition between the first that is not handled and the last that was handed out. A key that waits
    longer than that holds up its partition."""

    @model_validator(mode="after")
    def _fits(self) -> BrokerTable:
        if self.sasl == "OAUTHBEARER" and self.token_file is None:
            raise ValueError("sasl = 'OAUTHBEARER' needs token_file")
        if self.compression in {"snappy", "lz4", "zstd"} and find_spec("cramjam") is None:
            raise ValueError(f"compression = '{self.compression}' needs cramjam: pip install waybill[kafka]")
        return self
