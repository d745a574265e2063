"""What only SQS and SNS know: of a topic (`SQS`), and of the whole account and region (`[broker.sqs]`)."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from waybill.errors import ConfigurationError
from waybill.tables import Table
from waybill.topology import BrokerOptions, TopicSpec

__all__ = ["SQS", "BrokerTable", "Kind", "is_aws", "is_safe", "kind_of", "options_of", "unsafe"]

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
AWS = (".amazonaws.com", ".amazonaws.com.cn", ".api.aws", ".amazonaws.eu")
FORTNIGHT = 14 * 86_400
MOST_FILTERS = 8
"""Of the ten attributes that a message may have one is the envelope's; SNS filters by five names at most, AWS says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SQS(BrokerOptions):
    """SQS's and SNS's options of a topic: `orders.on(SQS(fifo=True))`. What is not given is as `[broker.sqs]` says.

    fifo: FIFO queues, and a FIFO topic before them: messages of one key are handled in order, and one without a key waits for
    none. direct: the topic is no SNS topic but one queue, which is its one group's: a call less for each ten messages, and
    no second group ever. filter_headers: headers that travel as attributes of their own, so that SNS leaves out what a
    group's `where` does not want; else it is fetched, and passed over in the process.
    throughput: of FIFO queues, above 300 calls a second, at which AWS limits a queue rather than a key.

    Raises `ConfigurationError`.
    """

    fifo: bool | None = None
    direct: bool | None = None
    filter_headers: tuple[str, ...] = ()
    throughput: bool = True

    def __post_init__(self) -> None:
        if isinstance(self.filter_headers, str) or len(self.filter_headers) > MOST_FILTERS:
            raise ConfigurationError(
                f"SQS(filter_headers={self.filter_headers!r}): names of headers, at most {MOST_FILTERS} of them"
            )


NOTHING = SQS()


def options_of(topic: TopicSpec) -> SQS:
    """Those that the topic was given, or the defaults."""
    return topic.option(NOTHING)


class BrokerTable(Table):
    """The settings `[broker.sqs]`, which may stand in the URL's query as well. Durations are seconds, sizes are bytes."""

    endpoint: str | None = None
    """Where SQS, SNS and STS are, instead of AWS: an emulator, or an endpoint of your network. Plain http goes to this
    machine alone."""
    profile: str | None = None
    """Of the AWS configuration files. `None`: the default chain (environment, files, web identity, container, instance)."""
    role: str | None = None
    """The ARN of a role that is assumed, and assumed anew before its credentials expire."""
    prefix: str = Field(default="", pattern=r"^[A-Za-z0-9-]*$", max_length=20)
    """Begins the name of every queue and topic, to tell applications or stages of one account apart."""
    fifo: bool = False
    """Of a topic that says nothing of its own."""
    direct: bool = False
    """Of a topic that says nothing of its own."""
    wait: int = Field(default=20, ge=1, le=20)
    """How long one receive waits for a message. An idle group costs one call in so long, and stopping in order may take
    so long: a receive that is broken off may strand what it was about to bring."""
    receivers: int = Field(default=8, ge=1, le=100)
    """Receives of one group at once, at most: one asks for ten messages, and more are begun only while they come back full."""
    receive_linger: float = Field(default=0.02, ge=0, le=1)
    """How long the next receive is put off after one that was not full, so that more comes with it."""
    send_linger: float = Field(default=0.02, ge=0, le=1)
    """How long after a call the next one is put off that is not full: publishes share it."""
    settle_linger: float = Field(default=0.05, ge=0, le=1)
    """The same for deletes; of a FIFO queue 20 ms at most, since a delete frees its key for other members."""
    calls: int = Field(default=16, ge=1, le=200)
    """Calls of one kind at once, of one topic or group. Throttled, there are fewer, until it is over."""
    connect_timeout: float = Field(default=3.0, gt=0)
    """How long a connection may take."""
    request_timeout: float = Field(default=10.0, gt=0)
    """How long an answer may take, besides what a receive waits."""
    sns_message_size: int = Field(default=256 << 10, ge=1024, le=1 << 20)
    """The largest message that the SNS topics take: 256 KiB, unless their `MaximumMessageSize` was raised."""
    retention: int = Field(default=FORTNIGHT, ge=60, le=FORTNIGHT)
    """How long a queue keeps what nobody handles. Dead letters are kept for 14 days; those that SQS itself gave up, from when they
    were published."""
    receives: int = Field(default=1000, ge=50, le=1000)
    """Times that SQS hands out one message in vain before it dead-letters it: the net below the retries."""
    kms_key: str | None = None
    """The key that queues and topics are encrypted with; `None`: as AWS does by itself."""
    tags: dict[str, str] = Field(default_factory=dict)
    """Of every queue and topic that is made, besides `waybill`."""

    @field_validator("endpoint")
    @classmethod
    def _is_safe(cls, url: str | None) -> str | None:
        if url is None:
            return None
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("write https://host, or http://localhost:port")
        if parts.username is not None:
            raise ValueError(
                "it holds credentials, which are sent nowhere and would be logged: see `profile` and `role`"
            )
        if not is_safe(url):
            raise ValueError("plain http lets everybody on the way read and change all messages: use https://")
        return url


def is_safe(endpoint: str) -> bool:
    """Whether nobody on the way can read along."""
    parts = urlsplit(endpoint)
    return parts.scheme == "https" or parts.hostname in LOOPBACK


def unsafe(service: str, endpoint: str) -> str:
    """What is said of an endpoint that is not safe, which the AWS library has found somewhere."""
    return (
        f"{service} would be called at {endpoint}, where everybody on the way can read and change all messages: use "
        f"https. It stands in the environment (AWS_ENDPOINT_URL) or in the AWS configuration file"
    )


def is_aws(endpoint: str) -> bool:
    """Whether it is AWS itself that answers there."""
    return (urlsplit(endpoint).hostname or "").endswith(AWS)


@dataclass(frozen=True, slots=True)
class Kind:
    """What a topic is made of."""

    fifo: bool
    direct: bool


def kind_of(topic: TopicSpec, table: BrokerTable) -> Kind:
    options = options_of(topic)
    return Kind(
        table.fifo if options.fifo is None else options.fifo,
        table.direct if options.direct is None else options.direct,
    )
