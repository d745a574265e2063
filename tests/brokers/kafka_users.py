"""What an administrator does to a Kafka: users, and what they may do there."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Iterable
from typing import Any, NamedTuple

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import for_code
from aiokafka.protocol import admin as acls
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import CompactArray, CompactBytes, CompactString, Int8, Int16, Int32, Schema, TaggedFields

__all__ = ["ALLOW", "DENY", "EVERYTHING", "Rule", "Users"]

ITERATIONS = 4096
MECHANISMS = {"SCRAM-SHA-256": (1, "sha256"), "SCRAM-SHA-512": (2, "sha512")}
KINDS = {"topic": 2, "group": 3, "cluster": 4}
OPERATIONS = {
    name: number
    for number, name in enumerate(
        (
            "all",
            "read",
            "write",
            "create",
            "delete",
            "alter",
            "describe",
            "cluster_action",
            "describe_configs",
            "alter_configs",
        ),
        2,
    )
}
LITERAL, PREFIXED = 3, 4
DENY, ALLOW = 2, 3


class Rule(NamedTuple):
    """Kafka's rule: who may, or may not, do this to what is called so. A name that ends with `*` is a beginning."""

    kind: str
    name: str
    operation: str
    permission: int = ALLOW

    def told(self, user: str) -> tuple[Any, ...]:
        prefixed = self.name.endswith("*") and self.name != "*"
        name, pattern = (self.name[:-1], PREFIXED) if prefixed else (self.name, LITERAL)
        operation = OPERATIONS[self.operation]
        return KINDS[self.kind], name, pattern, f"User:{user}", "*", operation, self.permission


EVERYTHING = [Rule("topic", "*", "all"), Rule("group", "*", "all"), Rule("cluster", "kafka-cluster", "all")]


class Users:
    """Of one broker, through a client that may do everything."""

    def __init__(self, admin: AIOKafkaAdminClient) -> None:
        self._admin: Any = admin

    async def password(self, user: str, password: str) -> None:
        """Make the user, or give it this password."""
        for number, name in MECHANISMS.values():  # one at a time, as the broker wants it
            salt = secrets.token_bytes(16)
            salted = hashlib.pbkdf2_hmac(name, password.encode(), salt, ITERATIONS)
            await self._alter([], [(user, number, ITERATIONS, salt, salted, {})])

    async def _alter(self, gone: list[Any], wanted: list[Any]) -> None:
        answer = await self._admin._send_request(_AlterUsers(gone, wanted))
        _raise((code, message) for _, code, message, _ in answer.results)

    async def rule(self, user: str, *rules: Rule) -> None:
        answer = await self._admin._send_request(_CreateRules([rule.told(user) for rule in rules]))
        _raise(answer.creation_responses)
        await self._heard(user, rules, there=True)

    async def unrule(self, user: str, *rules: Rule) -> None:
        answer = await self._admin._send_request(_DeleteRules([rule.told(user) for rule in rules]))
        _raise((each[0], each[1]) for each in answer.filter_responses)
        await self._heard(user, rules, there=False)

    async def _heard(self, user: str, rules: Iterable[Rule], *, there: bool) -> None:
        """Wait until the broker goes by them: its controller answers before the broker has heard of it."""
        async with asyncio.timeout(20):
            for rule in rules:
                while bool((await self._admin._send_request(_DescribeRule(*rule.told(user)))).resources) is not there:
                    await asyncio.sleep(0.02)


def _raise(answers: Iterable[tuple[int, str | None]]) -> None:
    for code, message in answers:
        if code:
            raise for_code(code)(message)


class _UsersAltered(Response):
    API_KEY = 51
    API_VERSION = 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "results",
            CompactArray(
                ("user", CompactString("utf-8")),
                ("error_code", Int16),
                ("error_message", CompactString("utf-8")),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class _AlterUsersStruct(RequestStruct):
    """AlterUserScramCredentials, which the library does not know."""

    FLEXIBLE_VERSION = True
    API_KEY = 51
    API_VERSION = 0
    RESPONSE_TYPE = _UsersAltered
    SCHEMA = Schema(
        ("deletions", CompactArray(("name", CompactString("utf-8")), ("mechanism", Int8), ("tags", TaggedFields))),
        (
            "upsertions",
            CompactArray(
                ("name", CompactString("utf-8")),
                ("mechanism", Int8),
                ("iterations", Int32),
                ("salt", CompactBytes),
                ("salted_password", CompactBytes),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class _AlterUsers(Request[_AlterUsersStruct]):
    API_KEY = 51
    ALLOW_UNKNOWN_API_VERSION = True

    def __init__(self, gone: list[Any], wanted: list[Any]) -> None:
        self._told = gone, wanted

    def build(self, request_struct_class: type[_AlterUsersStruct]) -> _AlterUsersStruct:
        return request_struct_class(*self._told, {})


class _CreateRules(Request[acls.CreateAclsRequest_v1]):
    API_KEY = 30

    def __init__(self, rules: list[Any]) -> None:
        self._rules = rules

    def build(self, request_struct_class: type[acls.CreateAclsRequest_v1]) -> acls.CreateAclsRequest_v1:
        return request_struct_class(self._rules)


class _DescribeRule(Request[acls.DescribeAclsRequest_v1]):
    """A broker answers with what it goes by itself."""

    API_KEY = 29

    def __init__(self, *told: Any) -> None:
        self._told = told

    def build(self, request_struct_class: type[acls.DescribeAclsRequest_v1]) -> acls.DescribeAclsRequest_v1:
        return request_struct_class(*self._told)


class _DeleteRules(Request[acls.DeleteAclsRequest_v1]):
    API_KEY = 31

    def __init__(self, rules: list[Any]) -> None:
        self._rules = rules

    def build(self, request_struct_class: type[acls.DeleteAclsRequest_v1]) -> acls.DeleteAclsRequest_v1:
        return request_struct_class(self._rules)
