"""aiokafka as this adapter uses it. It has annotations, and few that a strict checker can follow: its objects are `Any`
from here on, and what is asked of its private parts is asked here."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportIncompatibleMethodOverride=false

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from typing import Any, TypeAlias

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition, errors
from aiokafka.abc import AbstractTokenProvider
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.conn import create_conn
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError, MessageSizeTooLargeError
from aiokafka.protocol import admin as requests
from aiokafka.protocol.commit import OffsetCommitRequest, OffsetFetchRequest
from aiokafka.protocol.metadata import MetadataRequest

from waybill_kafka.fetched import Fetched, Unreadable
from waybill_kafka.pacing import Pace

__all__ = [
    "Admin",
    "Batch",
    "CommitFailedError",
    "Consumer",
    "IllegalStateError",
    "KafkaError",
    "Listener",
    "MessageSizeTooLargeError",
    "Producer",
    "Record",
    "TokenProvider",
    "TopicPartition",
    "Unreadable",
    "abandon",
    "admin",
    "api_versions",
    "assignment",
    "begun",
    "close_admin",
    "consumer",
    "coordinator_of",
    "delete_groups",
    "describe_groups",
    "errors",
    "explain",
    "heard",
    "offset_commit",
    "offset_fetch",
    "partitions",
    "position_of",
    "producer",
    "records_before",
    "send",
    "start",
    "stop",
    "subscription",
    "tidy",
    "topic_metadata",
    "topic_resource",
    "wait_at_most",
]

Admin: TypeAlias = Any
Batch: TypeAlias = Any
Consumer: TypeAlias = Any
Producer: TypeAlias = Any
Record: TypeAlias = Any

CLOSING = 0.5
"""Seconds that a client is given to say goodbye."""
COORDINATING = ("_coordination_task", "_heartbeat_task", "_commit_refresh_task", "_reset_committed_task")
CONNECTING = (
    "client_id",
    "request_timeout_ms",
    "ssl_context",
    "security_protocol",
    "sasl_mechanism",
    "sasl_plain_username",
    "sasl_plain_password",
    "sasl_oauth_token_provider",
)
PROTOCOL = 0
"""The version of what members of a group say to each other."""


def admin(told: Mapping[str, Any], pace: Pace) -> Admin:
    made = AIOKafkaAdminClient(**told)
    pace.keep(made._client)
    return made


def consumer(told: Mapping[str, Any], pace: Pace) -> Consumer:
    made = AIOKafkaConsumer(**told)
    pace.keep(made._client)
    return made


def producer(told: Mapping[str, Any], pace: Pace) -> Producer:
    made = AIOKafkaProducer(**told)
    made._message_accumulator._pending_batches = _Batches()
    _note_tasks(made._sender)
    pace.keep(made.client)
    return made


def _note_tasks(sender: Any) -> None:
    """Have a sender note in `under_way` what carries its batches: who ends it has to end these too."""
    send, under_way = sender._send_produce_req, set[Any]()

    async def noted(*given: Any) -> None:
        task = asyncio.current_task()
        under_way.add(task)
        try:
            await send(*given)
        finally:
            under_way.discard(task)

    sender.under_way, sender._send_produce_req = under_way, noted


class _Batches(set[Any]):
    """A batch that was sent twice is taken out twice, when it is done."""

    def remove(self, batch: Any) -> None:
        self.discard(batch)


async def start(client: Admin | Consumer | Producer) -> None:
    """Start it. Cancelled in the middle of it, it would leave a connection behind."""
    starting = asyncio.ensure_future(client.start())
    try:
        await asyncio.shield(starting)
    except asyncio.CancelledError:
        await asyncio.wait([starting], timeout=CLOSING)
        starting.cancel()
        raise
    if isinstance(client, AIOKafkaConsumer):
        keep: Any = client
        keep._fetcher._records = Fetched()


async def explain(client: Admin) -> None:
    """Connect once more: the library logs why nobody could be connected to, and raises only that it is so."""
    inner = client._client
    told = {name: getattr(inner, f"_{name}") for name in CONNECTING}
    for host, port, _ in inner.hosts:
        (await create_conn(host, port, **told)).close()


async def tidy(inner: Any) -> None:
    """Close what was being connected while a client was closed, which would stay for ever."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(CLOSING), inner._get_conn_lock:
            pass
    for connection in list(inner._conns.values()):
        connection.close()


async def stop(client: Consumer) -> None:
    """Stop a consumer. By itself it would wait for ever for a broker that is away."""
    stopping = asyncio.ensure_future(client.stop())
    try:
        await asyncio.wait([stopping], timeout=CLOSING)
    finally:
        if not stopping.done() or stopping.cancelled() or stopping.exception() is not None:
            _drop(client, stopping)
    await tidy(client._client)


def _drop(client: Consumer, stopping: asyncio.Future[Any]) -> None:
    """End all that it has begun, at once and without a word to the broker."""
    client._closed = True
    coordinator, fetcher = client._coordinator, client._fetcher
    tasks = [stopping, getattr(client._client, "_sync_task", None)]
    for owner, names in ((coordinator, COORDINATING), (fetcher, ("_fetch_task",))):
        tasks += [getattr(owner, name, None) for name in names]
    tasks += getattr(fetcher, "_pending_tasks", ())
    for task in tasks:
        if task is not None:
            task.cancel()
    for connection in list(client._client._conns.values()):
        connection.close()


async def close_admin(client: Admin) -> None:
    with contextlib.suppress(Exception):
        async with asyncio.timeout(CLOSING):
            await client.close()
    await tidy(client._client)


async def abandon(client: Producer) -> None:
    """End a producer without waiting for what it has not sent: it would wait for ever for that."""
    client._closed = True
    sender = client._sender.sender_task
    if sender is not None and not sender.done():
        sender.remove_done_callback(client._sender._fail_all)  # which fails, where a batch has nobody waiting
        sender.cancel()
    with contextlib.suppress(Exception):
        async with asyncio.timeout(CLOSING):
            await client.client.close()
    for task in [*client._sender.under_way]:  # they may wait for metadata, which a closed client never has
        task.cancel()
    accumulator = client._message_accumulator
    for batch in [*itertools.chain(*accumulator._batches.values()), *accumulator._pending_batches]:
        with contextlib.suppress(Exception):
            batch.failure(KafkaError("the connection was given up before the answer came"))
        heard(batch._drain_waiter)  # of the batch itself `Line` hears
    if sender is not None:
        await asyncio.wait([sender], timeout=CLOSING)
    await tidy(client.client)


def heard(future: asyncio.Future[Any]) -> None:
    """Whatever has become of it is known: the event loop need not complain that nobody has asked."""
    if future.done() and not future.cancelled():
        future.exception()


class Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    """Calls these when a rebalance begins, and when it has ended."""

    def __init__(
        self,
        revoked: Callable[[], Awaitable[None]],
        assigned: Callable[[set[TopicPartition]], Awaitable[None]],
    ) -> None:
        self._revoked = revoked
        self._assigned = assigned

    async def on_partitions_revoked(self, revoked: Any) -> None:
        del revoked
        await self._revoked()

    async def on_partitions_assigned(self, assigned: Any) -> None:
        await self._assigned(set(assigned))


class TokenProvider(AbstractTokenProvider):  # type: ignore[misc]
    """Asks this for a token at each connect."""

    def __init__(self, ask: Callable[[], Awaitable[str]]) -> None:
        self._ask = ask

    async def token(self) -> str:
        return await self._ask()


def subscription(topics: Iterable[str], user_data: bytes) -> Any:
    """What a member says when it joins."""
    return ConsumerProtocolMemberMetadata(PROTOCOL, sorted(topics), user_data)


def assignment(topics: Mapping[str, list[int]], user_data: bytes) -> Any:
    """What a member is told."""
    return ConsumerProtocolMemberAssignment(PROTOCOL, sorted(topics.items()), user_data)


def coordinator_of(client: Consumer) -> Any:
    """Its `generation`, `_do_heartbeat` and `request_rejoin`."""
    return client._coordinator


def position_of(client: Consumer, tp: TopicPartition) -> int | None:
    """How far it has read, where it is known to have begun."""
    assignment = client._subscription.subscription.assignment
    if assignment is None or tp not in assignment.tps:
        return None
    state = assignment.state_value(tp)
    return state.position if state.has_valid_position else None


def begun(client: Consumer) -> Collection[TopicPartition]:
    """Those of whose last fetch something is left to give out. Paused now, they would lose it, and fetch it again."""
    there: Collection[TopicPartition] = client._fetcher._records.keys()
    return there


def wait_at_most(client: Consumer, milliseconds: int) -> None:
    """How long the broker may wait for something to come, from the next fetch on."""
    client._fetcher._fetch_max_wait_ms = milliseconds


# ---------------------------------------------------------------- requests


async def send(client: Admin, request: Any, node: int | None = None) -> Any:
    return await client._send_request(request, node)


def api_versions() -> Any:
    return requests.ApiVersionRequest()


def topic_metadata(topics: list[str] | None) -> Any:
    return MetadataRequest(topics, allow_auto_topic_creation=False)


def delete_groups(groups: list[str]) -> Any:
    return requests.DeleteGroupsRequest(groups)


def describe_groups(groups: list[str]) -> Any:
    return requests.DescribeGroupsRequest(groups)


def offset_fetch(group: str) -> Any:
    """All that the group has committed."""
    return OffsetFetchRequest(group, None)  # pyright: ignore[reportArgumentType] - None is for all


def offset_commit(group: str, topics: list[tuple[str, list[tuple[int, int, str]]]]) -> Any:
    """For a group without members."""
    return OffsetCommitRequest(group, -1, "", -1, topics)


def topic_resource(topic: str, entries: Mapping[str, str] | None = None) -> Any:
    return ConfigResource(ConfigResourceType.TOPIC, topic, None if entries is None else dict(entries))


def partitions(number: int) -> Any:
    return NewPartitions(number)


def records_before(offset: int) -> Any:
    return RecordsToDelete(offset)
