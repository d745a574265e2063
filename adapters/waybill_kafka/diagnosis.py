"""What there is to know about the broker and the way to it, and what is wrong with that: for `waybill doctor`."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from importlib.util import find_spec

from waybill.errors import BrokerError
from waybill.findings import Finding
from waybill.foreign import CredentialsRefused
from waybill_kafka.cluster import BEFORE, Cluster
from waybill_kafka.connecting import Place
from waybill_kafka.options import BrokerTable

__all__ = ["diagnose"]

LOOPBACK = {"localhost", "127.0.0.1", "[::1]"}
FEWEST = 3
"""Servers of a cluster that keeps what it has confirmed when one of them is lost, and takes more."""


async def diagnose(cluster: Cluster) -> Sequence[Finding]:
    """See `waybill.findings.Diagnoses`."""
    found = [Finding("aiokafka", version("aiokafka")), _secrecy(cluster.place), _codecs(cluster.table)]
    try:
        return [*found, *await _seen(cluster)]
    except CredentialsRefused as error:
        fix = f"check user {cluster.place.username!r}, its password, and `sasl` of [broker.kafka]"
        return [*found, Finding("kafka", "", str(error), fix)]
    except BrokerError as error:
        return [*found, Finding("kafka", "", str(error), "is it running, and are host, port and security right?")]
    finally:
        await cluster.close()


async def _seen(cluster: Cluster) -> Sequence[Finding]:
    await cluster.open()
    told = await cluster.version()
    old = "Waybill needs 4.0 or later" if told == BEFORE else None
    servers = await cluster.servers()
    few = None
    if len(servers) < FEWEST and not {place.rpartition(":")[0] for place in servers} <= LOOPBACK:
        few = "what it has confirmed is lost with a disk"
    fix = "run three, with Kafka(replication=3, min_insync_replicas=2)" if few else None
    return [Finding("kafka", told, old), Finding("servers", ", ".join(servers), few, fix)]


def _secrecy(place: Place) -> Finding:
    hosts = {server.rpartition(":")[0] for server in place.servers}
    if place.secure or hosts <= LOOPBACK:
        return Finding("connection", "encrypted" if place.secure else "to this machine")
    return Finding("connection", "not encrypted", "every message can be read on the way", "use kafka+ssl://")


def _codecs(table: BrokerTable) -> Finding:
    if find_spec("cramjam") is not None:
        return Finding("compression", f"{table.compression}; all codecs can be read")
    trouble = "records that others compressed with snappy, lz4 or zstd cannot be read, and hold up their partition"
    return Finding("compression", table.compression, trouble, "pip install waybill[kafka]")
