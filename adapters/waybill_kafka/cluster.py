"""What is asked of the broker, one request each, all of them bounded in time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import msgspec

from waybill.errors import BrokerError, BrokerUnavailable
from waybill.foreign import NotPermitted, said
from waybill_kafka import asking, client
from waybill_kafka.client import Admin, Consumer, KafkaError, TopicPartition
from waybill_kafka.connecting import Place, common
from waybill_kafka.mapping import mapped, raise_for
from waybill_kafka.options import BrokerTable
from waybill_kafka.pacing import Pace

__all__ = ["BEFORE", "Cluster", "Committed", "NewTopic"]

T = TypeVar("T")

log = logging.getLogger("waybill.kafka")

FETCH, FIRST_OF_4_0 = 1, 4
"""Kafka 4.0 dropped what was before the fourth version of this request (KIP-896)."""
TOPIC_FORBIDDEN, GROUP_FORBIDDEN, TOPIC_EXISTS = 29, 30, 36
REBALANCE = 10.0
"""Seconds that a group waits for a member to say what it holds. It says so at once, whatever its handlers do."""
FOR_EVER_MS = 2**31 - 1
"""Handlers may take as long as they like: heartbeats keep the membership."""
AGAIN = 0.1
"""Seconds until the broker is asked again."""
BEFORE = "before 4.0"
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
        self.pace = Pace()
        self._admin: Admin | None = None
        self._opening = asyncio.Lock()

    async def clients(self, role: str) -> dict[str, Any]:
        """What a client of ours is told."""
        return await common(self.place, self.table, f"{self.application} {role}")

    async def consumers(self, role: str, session: float) -> dict[str, Any]:
        """What a member of a group is told. Whoever joins is answered when all have, or those who died were given up."""
        rebalance = max(session, REBALANCE)
        return await self.clients(role) | {
            "enable_auto_commit": False,
            "auto_offset_reset": "earliest",
            "session_timeout_ms": round(session * 1000),
            "rebalance_timeout_ms": round(rebalance * 1000),
            "request_timeout_ms": round(max(self.table.request_timeout, rebalance + 5.0) * 1000),
            "max_poll_interval_ms": FOR_EVER_MS,
        }

    async def _ask(self, what: str, call: Callable[[Admin], Awaitable[T]]) -> T:
        """Ask, and ask again while the broker is busy with itself: loading a group, choosing a leader."""
        trouble: BaseException | None = None
        with mapped(what):
            try:
                async with asyncio.timeout(self.table.connect_timeout):
                    admin = await self._client()
                    while True:
                        try:
                            return await call(admin)
                        except KafkaError as error:
                            if not error.retriable:
                                raise
                            trouble = error
                        await asyncio.sleep(AGAIN)
            except TimeoutError as error:
                why = said(trouble) if trouble else f"no answer within {self.table.connect_timeout:g} s"
                raise BrokerUnavailable(f"{what}: {why}") from (trouble or error)

    async def _client(self) -> Admin:
        async with self._opening:
            if self._admin is None:
                admin = client.admin(await self.clients("admin"), self.pace)
                try:
                    await client.start(admin)
                except BaseException as error:
                    await client.close_admin(admin)
                    if isinstance(error, client.errors.KafkaConnectionError):
                        await client.explain(admin)
                    raise
                self._admin = admin
            return self._admin

    async def open(self) -> None:
        """Raises `BrokerUnavailable`."""
        await self._ask(f"cannot connect to {self.place.name}", _nothing)

    async def version(self) -> str:
        """As far as it can be told: a broker tells what it understands, and not what it is called."""

        async def ask(admin: Admin) -> Any:
            return await client.send(admin, client.api_versions())

        answer = await self._ask("cannot see the broker's version", ask)
        least = {key: least for key, least, _ in answer.api_versions}
        return "4.0 or later" if least.get(FETCH, 0) >= FIRST_OF_4_0 else BEFORE

    async def servers(self) -> list[str]:
        async def ask(admin: Admin) -> Any:
            return (await client.send(admin, client.topic_metadata([]))).to_object()

        found = (await self._ask("cannot see the servers", ask))["brokers"]
        return sorted(f"{each['host']}:{each['port']}" for each in found)

    async def topic_rights(self, topics: list[str]) -> dict[str, int]:
        """What we may do with these topics, as far as they are there: bits of `asking`."""

        async def ask(admin: Admin) -> Any:
            return (await client.send(admin, asking.topic_rights(topics))).to_object()

        found = (await self._ask("cannot see our rights", ask))["topics"]
        return {each["topic"]: each["operations"] for each in found if not each["error_code"]} | {
            each["topic"]: 0 for each in found if each["error_code"] == TOPIC_FORBIDDEN
        }

    async def group_rights(self, group: str) -> int:
        try:
            answer = await self._ask_coordinator(group, asking.group_rights(group), "cannot see our rights", _no_code)
        except NotPermitted:
            return 0
        found = answer.to_object()["groups"][0]
        return 0 if found["error_code"] == GROUP_FORBIDDEN else int(found["operations"])

    async def close(self) -> None:
        admin, self._admin = self._admin, None
        if admin is not None:
            await client.close_admin(admin)

    # ---------------------------------------------------------------- topics

    async def topics(self, names: Collection[str] | None = None) -> dict[str, int]:
        """The partitions of these topics, as far as they are there; of all, without names."""
        if names is not None and not names:
            return {}

        async def ask(admin: Admin) -> Any:
            wanted = None if names is None else sorted(set(names))
            return (await client.send(admin, client.topic_metadata(wanted))).to_object()

        found = (await self._ask("cannot see the topics", ask))["topics"]
        return {each["topic"]: len(each["partitions"]) for each in found if not each["error_code"]}

    async def create(self, topics: Sequence[NewTopic]) -> None:
        """Make those that are missing, and wait until they are known to be there."""

        async def ask(admin: Admin) -> None:
            answer = await admin.create_topics(topics, timeout_ms=round(self.table.connect_timeout * 1000))
            for name, code, *message in answer.topic_errors:
                if code != TOPIC_EXISTS:
                    raise_for(code, f"{name}: {' '.join(filter(None, message))}")

        wanted = [topic.name for topic in topics]
        await self._ask("cannot create " + ", ".join(wanted), ask)
        await self._until("created", lambda there: len(there) == len(wanted), wanted)

    async def grow(self, topics: Mapping[str, int]) -> None:
        """Give these topics so many partitions."""

        async def ask(admin: Admin) -> None:
            await admin.create_partitions({name: client.partitions(number) for name, number in topics.items()})

        await self._ask("cannot add partitions", ask)
        await self._until("grown", lambda there: there == topics, list(topics))

    async def _until(self, what: str, true: Callable[[dict[str, int]], bool], names: Sequence[str]) -> None:
        """Wait until the broker that we ask knows what the controller has decided."""
        try:
            async with asyncio.timeout(self.table.connect_timeout):
                while not true(await self.topics(names)):  # noqa: ASYNC110 - nobody tells
                    await asyncio.sleep(AGAIN)
        except TimeoutError as error:
            raise BrokerUnavailable(f"{', '.join(names)}: not {what} in time") from error

    async def delete(self, topics: Sequence[str]) -> None:
        async def ask(admin: Admin) -> None:
            await admin.delete_topics(list(topics))

        await self._ask("cannot delete topics", ask)

    async def entries(self, topics: Iterable[str]) -> dict[str, dict[str, tuple[str, bool]]]:
        """The configuration of these topics: each entry, and whether it was given for the topic itself."""
        wanted = [client.topic_resource(name) for name in topics]

        async def ask(admin: Admin) -> dict[str, dict[str, tuple[str, bool]]]:
            found: dict[str, dict[str, tuple[str, bool]]] = {}
            for answer in await admin.describe_configs(wanted):
                for code, message, _, name, entries in answer.resources:
                    raise_for(code, message)
                    found[name] = {entry[0]: (entry[1], _given(entry)) for entry in entries}
            return found

        return await self._ask("cannot see the configuration of topics", ask)

    async def configure(self, topic: str, entries: Mapping[str, str]) -> None:
        """Give these entries other values, and leave the rest as it is."""
        there = (await self.entries([topic]))[topic]
        given = {name: value for name, (value, ours) in there.items() if ours} | dict(entries)

        async def ask(admin: Admin) -> None:
            for answer in await admin.alter_configs([client.topic_resource(topic, given)]):
                for code, message, *_ in answer.resources:
                    raise_for(code, message)

        await self._ask(f"cannot configure {topic}", ask)

    async def forget(self, before: Mapping[TopicPartition, int]) -> None:
        """Let the broker remove the records before these offsets."""

        async def ask(admin: Admin) -> None:
            await admin.delete_records({tp: client.records_before(offset) for tp, offset in before.items()})

        await self._ask("cannot remove records", ask)

    async def sweep(self, before: Mapping[TopicPartition, int]) -> None:
        """`forget`, for tidiness: where it may not be, what is done with stays."""
        if before:
            try:
                await self.forget(before)
            except BrokerError as error:
                log.debug("not swept: %s", error)

    # ---------------------------------------------------------------- groups

    async def groups(self) -> list[str]:
        """The names of all consumer groups that we may see."""

        async def ask(admin: Admin) -> list[str]:
            return [name for name, *_ in await admin.list_consumer_groups()]

        return await self._ask("cannot see the groups", ask)

    async def living(self, groups: Collection[str]) -> bool:
        """Whether one of these has members."""
        for group in groups:
            answer = await self._ask_coordinator(group, client.describe_groups([group]), "cannot see a group", _no_code)
            if any(each[2] not in GONE for each in answer.groups):
                return True
        return False

    async def committed(self, group: str) -> dict[TopicPartition, Committed]:
        """What the group has committed."""
        request, what = client.offset_fetch(group), f"cannot see the offsets of {group}"
        answer = await self._ask_coordinator(group, request, what, lambda told: int(told.error_code))
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
        request = client.offset_commit(group, list(topics.items()))
        await self._ask_coordinator(
            group,
            request,
            f"cannot commit for {group}",
            lambda told: next((code for _, parts in told.topics for _, code in parts if code), 0),
        )

    async def remove_group(self, group: str) -> None:
        await self._ask_coordinator(group, client.delete_groups([group]), f"cannot remove {group}", _no_code)

    async def _ask_coordinator(self, group: str, request: Any, what: str, code: Callable[[Any], int]) -> Any:
        """`code`: the error in its answer."""

        async def ask(admin: Admin) -> Any:
            answer = await client.send(admin, request, await admin.find_coordinator(group))
            raise_for(code(answer))
            return answer

        return await self._ask(what, ask)

    # ---------------------------------------------------------------- logs

    @asynccontextmanager
    async def reader(self) -> AsyncGenerator[Consumer, None]:
        """A consumer of no group, for as long as the block lasts."""
        told = await self.clients("reader")
        reader = client.consumer(
            told
            | {
                "group_id": None,
                "enable_auto_commit": False,
                "auto_offset_reset": "earliest",
                "fetch_max_wait_ms": 100,
            }
            | self.reading,
            self.pace,
        )
        try:
            with mapped("cannot read"):
                async with asyncio.timeout(self.table.connect_timeout):
                    await client.start(reader)
            yield reader
        finally:
            await client.stop(reader)

    @property
    def reading(self) -> dict[str, Any]:
        """How records are read."""
        isolation = "read_committed" if self.table.read_committed else "read_uncommitted"
        return {"isolation_level": isolation, "max_partition_fetch_bytes": self.table.fetch_bytes}

    async def bounds(
        self, topics: Mapping[str, int], *, reader: Consumer | None = None
    ) -> tuple[dict[TopicPartition, int], dict[TopicPartition, int]]:
        """The first offset of each partition, and the one behind its last."""
        tps = [TopicPartition(name, number) for name, count in topics.items() for number in range(count)]
        if not tps:
            return {}, {}
        if reader is None:
            async with self.reader() as own:
                return await self.bounds(topics, reader=own)
        with mapped("cannot see the offsets"):
            async with asyncio.timeout(self.table.connect_timeout):
                return await reader.beginning_offsets(tps), await reader.end_offsets(tps)


async def _nothing(_: Admin) -> None: ...


def _no_code(_: Any) -> int:
    return 0


def _given(entry: Sequence[Any]) -> bool:
    """Whether a described entry was given for the topic itself: (name, value, read only, source or default, …)."""
    source = entry[3]
    return not source if isinstance(source, bool) else source == DYNAMIC
