"""Requests that the library does not know, or reads wrongly: what this user may do with topics and groups.

Codes of operations are bits of the answers, as Kafka numbers them.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportIncompatibleMethodOverride=false, reportAssignmentType=false

from __future__ import annotations

from typing import Any

from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Array, Boolean, Bytes, Int16, Int32, Schema, String

__all__ = ["CREATE", "DELETE", "DESCRIBE", "READ", "WRITE", "group_rights", "names_of", "topic_rights"]

READ, WRITE, CREATE, DELETE, DESCRIBE = (1 << code for code in (3, 4, 5, 6, 8))
NAMES = {READ: "read", WRITE: "write", CREATE: "create", DELETE: "delete", DESCRIBE: "describe"}
TEXT = String("utf-8")


def names_of(operations: int) -> str:
    return " and ".join(name for bit, name in NAMES.items() if operations & bit)


class _TopicAnswer(Response):  # type: ignore[misc]
    API_KEY = 3
    API_VERSION = 8
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("brokers", Array(("node_id", Int32), ("host", TEXT), ("port", Int32), ("rack", TEXT))),
        ("cluster_id", TEXT),
        ("controller_id", Int32),
        (
            "topics",
            Array(
                ("error_code", Int16),
                ("topic", TEXT),
                ("is_internal", Boolean),
                (
                    "partitions",
                    Array(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", Array(Int32)),
                        ("isr", Array(Int32)),
                        ("offline_replicas", Array(Int32)),
                    ),
                ),
                ("operations", Int32),
            ),
        ),
        ("cluster_operations", Int32),
    )


class _TopicQuestion(RequestStruct):  # type: ignore[misc]
    """Metadata."""

    API_KEY = 3
    API_VERSION = 8
    RESPONSE_TYPE = _TopicAnswer
    SCHEMA = Schema(
        ("topics", Array(TEXT)),
        ("allow_auto_topic_creation", Boolean),
        ("with_cluster_operations", Boolean),
        ("with_operations", Boolean),
    )


class _TopicRights(Request[_TopicQuestion]):  # type: ignore[misc]
    API_KEY = 3

    def __init__(self, topics: list[str]) -> None:
        self._topics = topics

    def build(self, request_struct_class: type[_TopicQuestion]) -> _TopicQuestion:
        return request_struct_class(self._topics, False, True, True)


class _GroupAnswer(Response):  # type: ignore[misc]
    API_KEY = 15
    API_VERSION = 3
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "groups",
            Array(
                ("error_code", Int16),
                ("group", TEXT),
                ("state", TEXT),
                ("protocol_type", TEXT),
                ("protocol", TEXT),
                (
                    "members",
                    Array(
                        ("member_id", TEXT),
                        ("client_id", TEXT),
                        ("client_host", TEXT),
                        ("member_metadata", Bytes),
                        ("member_assignment", Bytes),
                    ),
                ),
                ("operations", Int32),
            ),
        ),
    )


class _GroupQuestion(RequestStruct):  # type: ignore[misc]
    """DescribeGroups."""

    API_KEY = 15
    API_VERSION = 3
    RESPONSE_TYPE = _GroupAnswer
    SCHEMA = Schema(("groups", Array(TEXT)), ("with_operations", Boolean))


class _GroupRights(Request[_GroupQuestion]):  # type: ignore[misc]
    API_KEY = 15

    def __init__(self, group: str) -> None:
        self._group = group

    def build(self, request_struct_class: type[_GroupQuestion]) -> _GroupQuestion:
        return request_struct_class([self._group], True)


def topic_rights(topics: list[str]) -> Any:
    return _TopicRights(topics)


def group_rights(group: str) -> Any:
    return _GroupRights(group)
