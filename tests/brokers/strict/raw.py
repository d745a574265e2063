"""What becomes of a message with more attributes than SQS takes, where a topic's subscription delivers it raw.

"Amazon SNS message attributes" in the developer guide: SNS discards it as a client-side error. "Amazon SNS dead-letter queues": such a
message goes to the subscription's dead-letter queue at once, if it has one. Here that happens to the message as a whole, as
if every subscription of the topic were raw.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

from tests.brokers.strict.call import Call
from tests.brokers.strict.messages import ATTRIBUTES
from tests.brokers.strict.wire import Answer, texts

Ask = Callable[[Call], Awaitable[Answer]]


async def discarded(call: Call, ask: Ask) -> frozenset[str]:
    """The entries that reach nobody, by id, after their bodies went to dead-letter queues; "" for a call that is no batch."""
    many = [entry for entry in call.entries if len(entry.get("MessageAttributes") or {}) > ATTRIBUTES]
    if not many or not (subscriptions := await raw(call, ask)):
        return frozenset()
    for policy in subscriptions:
        target = str(json.loads(policy.get("RedrivePolicy") or "{}").get("deadLetterTargetArn", ""))
        for entry in many if target else ():
            _, _, _, region, account, name = target.split(":")
            queue = f"https://sqs.{region}.amazonaws.com/{account}/{name}"
            await ask(Call("sqs", "SendMessage", {"QueueUrl": queue, "MessageBody": entry["Message"]}))
    return frozenset(entry["Id"] if call.batch else "" for entry in many)


async def raw(call: Call, ask: Ask) -> list[dict[str, Any]]:
    """The attributes of those of the topic's subscriptions that deliver raw."""
    listed = await ask(Call("sns", "ListSubscriptionsByTopic", {"TopicArn": call.parameters["TopicArn"]}))
    found: list[dict[str, Any]] = []
    for arn in texts(listed, "SubscriptionArn"):
        answer = await ask(Call("sns", "GetSubscriptionAttributes", {"SubscriptionArn": arn}))
        found.append(dict(zip(texts(answer, "key"), texts(answer, "value"), strict=True)))
    return [one for one in found if one.get("RawMessageDelivery") == "true"]
