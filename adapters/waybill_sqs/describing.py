"""What OpenTelemetry's conventions say of queues of SQS and topics of SNS. Pure.

Source: open-telemetry/semantic-conventions v1.44.0, docs/messaging/sqs.md and sns.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from waybill.adapter import Attributes
from waybill.topology import Destination, Subscription
from waybill_sqs.layout import Layout

__all__ = ["of_place"]


def of_place(
    place: Destination | Subscription,
    layout: Layout,
    *,
    queues: Mapping[str, str],
    arn: Callable[[str], str | None],
    endpoint: str,
) -> Attributes:
    """queues: the URLs of those that are known. arn: of a topic, where it is known. endpoint: where SQS is."""
    if isinstance(place, Destination) and layout.published(place):
        topic = layout.topic(place.topic)
        known = arn(topic)
        named: Attributes = {} if known is None else {"aws.sns.topic.arn": known}
        return {"messaging.system": "aws.sns", "messaging.destination.name": topic, **named}
    told: dict[str, str | int | bool] = {"messaging.system": "aws_sqs"}
    if isinstance(place, Subscription):
        queue = layout.queue(place.topic, place.group)
        told["messaging.consumer.group.name"] = place.group
    else:
        queue = layout.place(place)
    told["messaging.destination.name"] = queue
    if (url := queues.get(queue)) is not None:
        told["aws.sqs.queue.url"] = url
    server = urlsplit(endpoint)
    if server.hostname:
        told |= {"server.address": server.hostname, "server.port": server.port or {"http": 80}.get(server.scheme, 443)}
    return told
