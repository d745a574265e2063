"""Every metric there is, as data: its name, what it counts, and its labels.

`messaging.…`: OpenTelemetry's semantic conventions 1.44, messaging metrics, with the buckets advised there.
`waybill.…`: ours. Depth, age, redelivery and dead letters are in no convention.
"""

from __future__ import annotations

from waybill.telemetry.tally import Metric

__all__ = ["ANSWERS", "APPLICATION", "BUCKETS", "EXPORTER", "OUTCOMES", "REASONS"]

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
WAITS = (*BUCKETS, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)
"""A message may wait much longer than a handling takes."""

ANSWERS = ("confirmed", "refused", "unknown")
"""What a broker makes of a message that is sent."""
OUTCOMES = ("acked", "retried", "released", "dead_lettered", "lost")
"""What becomes of a delivery."""
REASONS = ("decode_error", "rejected", "retries_exhausted", "non_retryable", "expired", "crashed", "redrive_limit")
"""Why an application gives a message up."""

PLACE = (
    "messaging.system",
    "messaging.destination.name",
    "messaging.destination.template",
    "messaging.consumer.group.name",
    "server.address",
    "server.port",
)
"""What is said of a destination or a subscription."""
CONVENTIONS = ("messaging.operation.name", "messaging.operation.type", *PLACE, "error.type")
OURS = ("destination", "group")

# ---------------------------------------------------------------- while messages are handled

SENT = Metric(
    name="messaging.client.sent.messages",
    kind="counter",
    unit="{message}",
    about="Messages that were handed to the broker, whatever became of them.",
    labels=CONVENTIONS,
)
CONSUMED = Metric(
    name="messaging.client.consumed.messages",
    kind="counter",
    unit="{message}",
    about="Messages that the broker handed out.",
    labels=CONVENTIONS,
)
OPERATION = Metric(
    name="messaging.client.operation.duration",
    kind="histogram",
    unit="s",
    about="Calls to the broker: sends and settlements, each of one or of many messages.",
    labels=CONVENTIONS,
    bounds=BUCKETS,
)
PROCESS = Metric(
    name="messaging.process.duration",
    kind="histogram",
    unit="s",
    about="Handlings, of a message or of a batch, with the application's middleware.",
    labels=CONVENTIONS,
    bounds=BUCKETS,
)
PUBLISHED = Metric(
    name="waybill.published.messages",
    kind="counter",
    unit="{message}",
    about="Messages that were sent to a topic, by the broker's answer: " + ", ".join(ANSWERS) + ".",
    labels=("destination", "outcome"),
)
DELIVERED = Metric(
    name="waybill.delivered.messages",
    kind="counter",
    unit="{message}",
    about="Messages that the broker handed out, those that are passed over with them.",
    labels=OURS,
)
REDELIVERED = Metric(
    name="waybill.redelivered.messages",
    kind="counter",
    unit="{message}",
    about="Of the delivered ones, those that the broker says it had handed out before.",
    labels=OURS,
)
SETTLED = Metric(
    name="waybill.settled.messages",
    kind="counter",
    unit="{message}",
    about="What became of deliveries, once the broker has answered: " + ", ".join(OUTCOMES) + ".",
    labels=(*OURS, "outcome"),
)
DEAD_LETTERED = Metric(
    name="waybill.dead.lettered.messages",
    kind="counter",
    unit="{message}",
    about="Messages that the application gave up, by the reason.",
    labels=(*OURS, "reason"),
)
END_TO_END = Metric(
    name="waybill.end.to.end",
    kind="histogram",
    unit="s",
    about="From the publishing of a message until the broker has taken its acknowledgement.",
    labels=OURS,
    bounds=WAITS,
)

# ---------------------------------------------------------------- looked at when somebody asks

LAG = Metric(
    name="waybill.lag",
    kind="gauge",
    unit="s",
    about="How old the message was, since its publishing, that was delivered last, when it was.",
    labels=OURS,
)
CONSUMER_UP = Metric(
    name="waybill.consumer.up",
    kind="gauge",
    unit="1",
    about="1: the subscription is consumed; 0: only a new process would help.",
    labels=OURS,
)
CONSUMER_DEGRADED = Metric(
    name="waybill.consumer.degraded",
    kind="gauge",
    unit="1",
    about="1: something keeps the subscription from moving, which health tells in words.",
    labels=OURS,
)
RUNNING = Metric(
    name="waybill.handlers.running", kind="gauge", unit="{handler}", about="Handlers at work.", labels=OURS
)
HELD = Metric(
    name="waybill.held.messages", kind="gauge", unit="{message}", about="Messages held and not settled.", labels=OURS
)
WAITING = Metric(
    name="waybill.publishes.waiting",
    kind="gauge",
    unit="{message}",
    about="Messages on their way to the broker, which has not confirmed them.",
    labels=("destination",),
)
CIRCUIT_OPEN = Metric(
    name="waybill.circuit.open",
    kind="gauge",
    unit="1",
    about="1: the circuit breaker lets nothing through, or only a probe.",
    labels=("circuit", *OURS),
)
CIRCUIT_TRANSITIONS = Metric(
    name="waybill.circuit.transitions",
    kind="counter",
    unit="{transition}",
    about="How often the circuit breaker has changed, by what it became.",
    labels=("circuit", "to"),
)
EMULATED = Metric(
    name="waybill.emulated",
    kind="gauge",
    unit="1",
    about="1: the broker cannot do this by itself, and what Waybill does instead promises less; `explain` says what.",
    labels=(*OURS, "ability"),
)
CALLS = Metric(
    name="waybill.broker.calls",
    kind="counter",
    unit="{call}",
    about="Calls to a broker that is paid by the call, by their kind.",
    labels=("call",),
)

# ---------------------------------------------------------------- what a broker and an index know: `waybill exporter`

BACKLOG = Metric(
    name="waybill.backlog.messages",
    kind="gauge",
    unit="{message}",
    about="Messages that could be handed out now, or are and not settled.",
    labels=OURS,
)
READY = Metric(
    name="waybill.ready.messages",
    kind="gauge",
    unit="{message}",
    about="Of the backlog, what could be handed out now.",
    labels=OURS,
)
DELAYED = Metric(
    name="waybill.delayed.messages",
    kind="gauge",
    unit="{message}",
    about="Messages that wait for their time: a retry, or a delayed publish.",
    labels=OURS,
)
BACKLOG_LIMIT = Metric(
    name="waybill.backlog.limit.messages",
    kind="gauge",
    unit="{message}",
    about="The backlog at which publishing is refused, where the topic declares one.",
    labels=OURS,
)
APPROXIMATE = Metric(
    name="waybill.backlog.approximate",
    kind="gauge",
    unit="1",
    about="1: the broker only estimates the backlog.",
    labels=OURS,
)
OLDEST = Metric(
    name="waybill.oldest.message.age",
    kind="gauge",
    unit="s",
    about="Age of the oldest message in the backlog, where the broker can say.",
    labels=OURS,
)
OBJECTIVE = Metric(
    name="waybill.objective.age", kind="gauge", unit="s", about="The age that no message should reach.", labels=OURS
)
EXPECTED = Metric(
    name="waybill.consumers.expected",
    kind="gauge",
    unit="{consumer}",
    about="Consumers that there should be at least.",
    labels=OURS,
)
DLQ = Metric(
    name="waybill.dlq.messages",
    kind="gauge",
    unit="{message}",
    about="Dead letters, by the state of their review; without an index all are unresolved.",
    labels=(*OURS, "state"),
)
DLQ_OLDEST = Metric(
    name="waybill.dlq.oldest.unresolved.age",
    kind="gauge",
    unit="s",
    about="How long the oldest dead letter is there that nobody has looked at.",
    labels=OURS,
)
BROKER_UP = Metric(
    name="waybill.broker.up", kind="gauge", unit="1", about="1: the exporter's last look at each broker succeeded."
)
LOOKED = Metric(
    name="waybill.exporter.last.success.timestamp",
    kind="gauge",
    unit="s",
    about="When the exporter last saw each broker, in seconds since the epoch.",
)

APPLICATION = (
    SENT,
    CONSUMED,
    OPERATION,
    PROCESS,
    PUBLISHED,
    DELIVERED,
    REDELIVERED,
    SETTLED,
    DEAD_LETTERED,
    END_TO_END,
    LAG,
    CONSUMER_UP,
    CONSUMER_DEGRADED,
    RUNNING,
    HELD,
    WAITING,
    CIRCUIT_OPEN,
    CIRCUIT_TRANSITIONS,
    EMULATED,
    CALLS,
)
"""What an application tells of itself."""
EXPORTER = (
    BACKLOG,
    READY,
    DELAYED,
    BACKLOG_LIMIT,
    APPROXIMATE,
    OLDEST,
    OBJECTIVE,
    EXPECTED,
    DLQ,
    DLQ_OLDEST,
    BROKER_UP,
    LOOKED,
)
"""What `waybill exporter` tells of the brokers."""
