"""What is asked of the broker, one request each, all of them bounded in time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.protocol.admin import DeleteGroupsRequest, DescribeGroupsRequest
from aiokafka.protocol.commit import OffsetCommitRequest, OffsetFetchRequest
from aiokafka.protocol.metadata import MetadataRequest

from waybill.errors import BrokerUnavailable
from waybill_kafka.connecting import Place, common
from waybill_kafka.mapping import mapped, raise_for
from waybill_kafka.options import BrokerTable

__all__ = ["Cluster", "Committed", "NewTopic"]

TOPIC_EXISTS = 36
COORDINATOR_BUSY = (14, 15, 16)
"""It is loading the group, or somebody else is its coordinator by now: ask again."""
DYNAMIC = 1
"""The source of an entry that was given for this very topic."""
GONE = frozenset({"Dead", "Empty"})

Committed = tuple[int, str]
"""An offset and its metadata."""


class NewTopic(msgspec.Struct, frozen=True):
    """A topic to be made. The library's own class refuses a number of partitions with the broker's default replication."""

    name: str
    num_partitions: int
    replication_factor: int
    topic_configs: Mapping[str, str]
    replica_assignments: Mapping[int, Sequence[int]] = {}


class Cluster:
    """One connected adapter's administration. Opened by `open`, ended by `close`."""

    def __init__(self, place: Place, table: BrokerTable, application: str) -> None:
        self.place = place
        self.table = table
        self.application = application
        self._admin: AIOKafkaAdminClient | None = None
        self._opening = asyncio.Lock()

    async def clients(self, role: str) -> dict[str, Any]:
        """What a client of ours is told."""
        return await common(self.place, self.table, f"{self.application} {role}")

    @asynccontextmanager
    async def _asking(self, what: str) -> AsyncGenerator[AIOKafkaAdminClient, None]:
        with mapped(what):
            try:
                async with asyncio.timeout(self.table.connect_timeout):
                    yield await self._client()
            except TimeoutError as error:
                raise BrokerUnavailable(f"{what}: no answer within {self.table.connect_timeout:g} s") from error

    async def _client(self) -> AIOKafkaAdminClient:
        async with self._opening:
            if self._admin is None:
                admin = AIOKafkaAdminClient(**await self.clients("admin"))
                try:
                    await admin.start()
                except BaseException:
                    with contextlib.suppress(Exception):
                        await admin.close()
                    raise
                self._admin = admin
            return self._admin

    async def open(self) -> None:
        """Raises `BrokerUnavailable`."""
        async with self._asking(f"cannot connect to {self.place.name}"):
            pass

    async def close(self) -> None:
        admin, self._admin = self._admin, None
        if admin is not None:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(1.0):
                    await admin.close()

    # ---------------------------------------------------------------- topics

    async def topics(self, names: Collection[str] | None = None) -> dict[str, int]:
        """The partitions of these topics, as far as they are there; of all, without names."""
        if names is not None and not names:
            return {}
        async with self._asking("cannot see the topics") as admin:
            wanted = None if names is None else sorted(set(names))
            answer = await admin._send_request(MetadataRequest(wanted, allow_auto_topic_creation=False))
            found = answer.to_object()["topics"]
        return {each["topic"]: len(each["partitions"]) for each in found if not each["error_code"]}

    async def create(self, topics: Sequence[NewTopic]) -> None:
        """Make those that are missing, and wait until they are known to be there."""
        async with self._asking("cannot create " + ", ".join(topic.name for topic in topics)) as admin:
            answer = await admin.create_topics(topics, timeout_ms=round(self.table.connect_timeout * 1000))
            for name, code, *message in answer.topic_errors:
                if code != TOPIC_EXISTS:
                    raise_for(code, f"{name}: {' '.join(filter(None, message))}")
            while len(await self.topics([topic.name for topic in topics])) < len(topics):
                await asyncio.sleep(0.05)

    async def grow(self, topics: Mapping[str, int]) -> None:
        """Give these topics so many partitions."""
        async with self._asking("cannot add partitions") as admin:
            answer = await admin.create_partitions({name: NewPartitions(number) for name, number in topics.items()})
            for name, code, message in answer.topic_errors:
                raise_for(code, f"{name}: {message}")
            while await self.topics(list(topics)) != topics:
                await asyncio.sleep(0.05)

    async def delete(self, topics: Iterable[str]) -> None:
        async with self._asking("cannot delete topics") as admin:
            await admin.delete_topics(list(topics))

    async def entries(self, topics: Iterable[str]) -> dict[str, dict[str, tuple[str, bool]]]:
        """The configuration of these topics: each entry, and whether it was given for the topic itself."""
        wanted = [ConfigResource(ConfigResourceType.TOPIC, name) for name in topics]
        async with self._asking("cannot see the configuration of topics") as admin:
            found: dict[str, dict[str, tuple[str, bool]]] = {}
            for answer in await admin.describe_configs(wanted):
                for code, message, _, name, entries in answer.resources:
                    raise_for(code, message)
                    found[name] = {entry[0]: (entry[1], _given(entry)) for entry in entries}
            return found

    async def configure(self, topic: str, entries: Mapping[str, str]) -> None:
        """Give these entries other values, and leave the rest as it is."""
        there = (await self.entries([topic]))[topic]
        given = {name: value for name, (value, ours) in there.items() if ours} | dict(entries)
        async with self._asking(f"cannot configure {topic}") as admin:
            for answer in await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, given)]):
                for code, message, *_ in answer.resources:
                    raise_for(code, message)

    async def forget(self, before: Mapping[TopicPartition, int]) -> None:
        """Let the broker remove the records before these offsets."""
        async with self._asking("cannot remove records") as admin:
            await admin.delete_records({tp: RecordsToDelete(offset) for tp, offset in before.items()})

    # ---------------------------------------------------------------- groups

    async def groups(self) -> list[str]:
        """The names of all consumer groups that we may see."""
        async with self._asking("cannot see the groups") as admin:
            return [name for name, _ in await admin.list_consumer_groups()]

    async def living(self, groups: Collection[str]) -> bool:
        """Whether one of these has members."""
        for group in groups:
            answer = await self._ask_coordinator(group, DescribeGroupsRequest([group]), "cannot see a group")
            if any(each[2] not in GONE for each in answer.groups):
                return True
        return False

    async def committed(self, group: str) -> dict[TopicPartition, Committed]:
        """What the group has committed."""
        what = f"cannot see the offsets of {group}"
        answer = await self._ask_coordinator(group, OffsetFetchRequest(group, None), what, lambda told: told.error_code)
        with mapped(what):
            raise_for(answer.error_code)
        return {
            TopicPartition(topic, number): (offset, metadata or "")
            for topic, parts in answer.topics
            for number, offset, metadata, code in parts
            if offset >= 0 and not code
        }

    async def commit(self, group: str, offsets: Mapping[TopicPartition, Committed]) -> None:
        """Commit for a group that has no members. Raises `BrokerError` if it has."""
        topics: dict[str, list[tuple[int, int, str]]] = {}
        for tp, (offset, metadata) in offsets.items():
            topics.setdefault(tp.topic, []).append((tp.partition, offset, metadata))
        request = OffsetCommitRequest(group, -1, "", -1, list(topics.items()))

        def code(answer: Any) -> int:
            return next((code for _, parts in answer.topics for _, code in parts if code), 0)

        answer = await self._ask_coordinator(group, request, f"cannot commit for {group}", code)
        with mapped(f"cannot commit for {group}"):
            raise_for(code(answer))

    async def remove_group(self, group: str) -> None:
        await self._ask_coordinator(group, DeleteGroupsRequest([group]), f"cannot remove {group}")

    async def _ask_coordinator(self, group: str, request: Any, what: str, code: Any = lambda _: 0) -> Any:
        async with self._asking(what) as admin:
            while True:
                answer = None
                try:
                    answer = await admin._send_request(request, await admin.find_coordinator(group))
                except Exception as error:
                    if not getattr(error, "retriable", False):
                        raise
                if answer is not None and code(answer) not in COORDINATOR_BUSY:
                    return answer
                await asyncio.sleep(0.1)

    # ---------------------------------------------------------------- logs

    @asynccontextmanager
    async def reader(self) -> AsyncGenerator[AIOKafkaConsumer, None]:
        """A consumer of no group, for as long as the block lasts."""
        consumer = AIOKafkaConsumer(
            **await self.clients("reader"),
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=100,
            max_partition_fetch_bytes=self.table.fetch_bytes,
            isolation_level="read_committed" if self.table.read_committed else "read_uncommitted",
        )
        try:
            async with self._asking("cannot read"):
                await consumer.start()
            yield consumer
        finally:
            with contextlib.suppress(Exception, asyncio.CancelledError):
                async with asyncio.timeout(1.0):
                    await consumer.stop()

    async def bounds(
        self, topics: Mapping[str, int], *, reader: AIOKafkaConsumer | None = None
    ) -> tuple[dict[TopicPartition, int], dict[TopicPartition, int]]:
        """The first offset of each partition, and the one behind its last."""
        tps = [TopicPartition(name, number) for name, count in topics.items() for number in range(count)]
        if not tps:
            return {}, {}
        if reader is None:
            async with self.reader() as own:
                return await self.bounds(topics, reader=own)
        async with self._asking("cannot see the offsets"):
            return await reader.beginning_offsets(tps), await reader.end_offsets(tps)


def _given(entry: Sequence[Any]) -> bool:
    """Whether a described entry was given for the topic itself: (name, value, read only, source or default, …)."""
    source = entry[3]
    return not source if isinstance(source, bool) else source == DYNAMIC
