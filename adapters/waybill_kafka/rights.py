"""The least that a user may do for what an application does, and what is missing of it.

    role                    topics                                                        groups
    publishes to t          write t; describe t..…; for delays write t..later             describe t..…
    consumes t as g         read t, t..later; read and write t..g.inbox and t..g.later;   read t..g, waybill/t..g.later,
                            write t, t..g.dead                                            waybill/t..later
    `dlq` for g             read and write t..g.dead, write t..g.inbox                    read t..g.dead
    replays t               read t
    seeks g of t            read t                                                        read t..g
    makes topology          create, describe, alter and their configuration: t, t..…     read t..…, and on the cluster describe

Who may read or write may describe. Writing to `t` is for handing on what was published for later.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from waybill.errors import BrokerError
from waybill.findings import Finding
from waybill.topology import Subscription, TopicSpec, Topology
from waybill_kafka import names
from waybill_kafka.asking import READ, WRITE, names_of
from waybill_kafka.cluster import Cluster

__all__ = ["Rights", "consuming", "missing", "publishing"]


class Rights(msgspec.Struct, frozen=True):
    """Operations on topics and on groups, as bits, by their names."""

    topics: Mapping[str, int] = {}
    groups: Mapping[str, int] = {}


def publishing(topic: TopicSpec) -> Rights:
    """Of who publishes to it."""
    return Rights({topic.name: WRITE})


def consuming(subscription: Subscription) -> Rights:
    """Of who handles its messages."""
    spec, group = subscription.topic, subscription.group
    later = names.later(spec, group)
    own = {names.inbox(spec, group): READ | WRITE, later: READ | WRITE, names.dead(spec, group): WRITE}
    source = {} if spec.pattern else {spec.name: READ}
    return Rights({**source, **own}, {names.group(spec, group): READ, names.forwarders(later): READ})


async def missing(cluster: Cluster, topology: Topology) -> Sequence[Finding]:
    """What this user may not do of publishing to these topics and consuming these groups."""
    found: list[Finding] = []
    for topic in topology.topics:
        if not topic.pattern:
            finding = await _said(cluster, f"publish to {topic.name}", publishing(topic))
            found.append(finding if finding.trouble else await _heard(cluster, topic, finding))
    groups = [await _said(cluster, f"consume {one.name}", consuming(one)) for one in topology.subscriptions]
    return [*found, *groups]


async def _said(cluster: Cluster, what: str, needed: Rights) -> Finding:
    lacking: list[str] = []
    try:
        allowed = await cluster.topic_rights(list(needed.topics))
        for name, wanted in needed.topics.items():
            if lack := wanted & ~allowed.get(name, wanted):  # what is not there is nobody's trouble here
                lacking.append(f"{names_of(lack)} on the topic {name}")
        for name, wanted in needed.groups.items():
            if lack := wanted & ~await cluster.group_rights(name):
                lacking.append(f"{names_of(lack)} on the group {name}")
    except BrokerError as error:
        return Finding(what, "", str(error))
    if not lacking:
        return Finding(what, "allowed")
    return Finding(what, "", f"this user may not {', '.join(lacking)}", "kafka-acls.sh --add: see docs/kafka.md")


async def _heard(cluster: Cluster, topic: TopicSpec, allowed: Finding) -> Finding:
    """Whoever publishes sees whether somebody shares the topic."""
    if names.groups_of(topic.name, await cluster.groups()) or not await cluster.topics([topic.name]):
        return allowed
    trouble = "no group that shares it is seen, so that publishing is refused"
    fix = f"declare a group, or allow this user to describe the groups that begin with {topic.name}.."
    return Finding(allowed.what, "allowed", trouble, fix)
