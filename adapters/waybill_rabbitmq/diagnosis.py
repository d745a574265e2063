"""What there is to know about the broker and our rights there, and what is wrong with them: for `waybill doctor`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import Any

from waybill.errors import BrokerError, CapabilityError
from waybill.findings import Finding
from waybill.foreign import CredentialsRefused, NotPermitted
from waybill_rabbitmq import ladder, names
from waybill_rabbitmq.connecting import Connector, Place
from waybill_rabbitmq.declaring import Hand
from waybill_rabbitmq.line import Line
from waybill_rabbitmq.management import Management
from waybill_rabbitmq.objects import Exchange
from waybill_rabbitmq.version import check_version

__all__ = ["diagnose", "policies"]

PATIENCE = 10.0
OTHERS = "publish and consume: topics and groups are made by somebody else (topology = 'verify')"
HARMFUL = {
    "expires": "the queue is deleted with what lies in it when nobody has used it for so long",
    "message-ttl": "what waits for so long becomes a dead letter, or comes before its time where it is delayed",
    "max-length": "publishing is refused when so many messages wait",
    "max-length-bytes": "publishing is refused when so many bytes wait",
}
"""Rules of policies that change what is promised, and how."""
LOOPBACK = {"localhost", "127.0.0.1", "::1"}


async def diagnose(connector: Connector, place: Place, management: Management | None) -> Sequence[Finding]:
    """See `waybill.findings.Diagnoses`."""
    found = [Finding("aiormq", version("aiormq")), _secrecy(place)]
    line = Line(connector, "doctor")
    try:
        async with asyncio.timeout(PATIENCE):
            async for finding in _findings(line, place):
                found.append(finding)  # noqa: PERF401 - what was found before the time is over
            if management is not None:
                found += await _managed(management)
    except TimeoutError:
        found.append(Finding("rabbitmq", "", f"it has not answered within {PATIENCE:g} s"))
    finally:
        await line.close()
    return found


def _secrecy(place: Place) -> Finding:
    hosts = {host for host, _ in place.servers}
    if place.secure or hosts <= LOOPBACK:
        return Finding("connection", "encrypted" if place.secure else "to this machine")
    return Finding("connection", "not encrypted", "the password and every message can be read", "use amqps://")


async def _findings(line: Line, place: Place) -> AsyncIterator[Finding]:
    try:
        connection = await line.connection()
    except CredentialsRefused as error:  # its text says what to do
        yield Finding("rabbitmq", "", str(error))
        return
    except BrokerError as error:
        yield Finding("rabbitmq", "", str(error), "is it running, and are host and port right?")
        return
    text = str(connection.server_properties.get("version", "unknown"))
    try:
        check_version(text)
        yield Finding("rabbitmq", text)
    except CapabilityError as error:
        yield Finding("rabbitmq", text, str(error))
    if connection.blocked is not None:
        yield Finding(
            "alarm", connection.blocked, "it takes nothing that is published", "free memory or disk on the broker"
        )
    yield Finding("user", f"{place.username} on {place.vhost}")
    async with Hand(line) as hand:
        async for finding in _rights(hand):
            yield finding


async def _managed(management: Management) -> Sequence[Finding]:
    try:
        queues = await management.policies()
    except BrokerError as error:
        return [Finding("management", "", str(error), "correct the setting `management` of [broker.rabbitmq]")]
    return [Finding("management", management.name.removeprefix("the ")), *policies(queues)]


def policies(queues: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    """What operators have set for our queues besides the arguments these were made with."""
    for queue in queues:
        name: str = queue["name"]
        rules: Mapping[str, Any] = queue.get("effective_policy_definition") or {}
        if "/" not in name or not rules:
            continue
        whose = " and ".join(str(queue[kind]) for kind in ("policy", "operator_policy") if queue.get(kind))
        shown = ", ".join(f"{rule}={value}" for rule, value in sorted(rules.items()))
        troubles = [HARMFUL[rule] for rule in sorted(rules) if rule in HARMFUL]
        fix = f"see that this is meant, or change the policy {whose}" if troubles else None
        yield Finding(f"policy {whose} on {name}", shown, "; ".join(troubles) or None, fix)


async def _rights(hand: Hand) -> AsyncIterator[Finding]:
    apply = "waybill topology apply, by a user who may configure `.*`"
    if not await hand.visible(names.LOST):
        yield Finding("rights", OTHERS)
        return
    lost = await hand.queue(names.LOST)
    if lost is None:
        yield Finding("delays and retries", "", f"the {ladder.STEPS} queues that they wait in are not there", apply)
        return
    there = f"{lost.messages} messages came back for groups or topics that are gone" if lost.messages else None
    yield Finding("lost", str(lost.messages), there, f"look at the queue {names.LOST}" if there else None)
    yield await _declaring(hand)


async def _declaring(hand: Hand) -> Finding:
    """Declaring once more what is there shows whether we might, and changes nothing."""
    try:
        await hand.make_exchange(Exchange(names.LOST, "fanout"))
    except NotPermitted:
        return Finding("rights", OTHERS)
    return Finding("rights", "declare, publish and consume")
