"""AWS as this adapter uses it: a client for long polls, one for all other calls of SQS, and each call counted by its kind.

The library's pool of connections has no limit to how long a call waits in it, so nothing shares one with long polls.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any

from waybill.errors import BrokerError, ConfigurationError, DestinationMissing
from waybill.foreign import CredentialsRefused, NotPermitted
from waybill_sqs.connecting import session_for, told
from waybill_sqs.mapping import mapped
from waybill_sqs.options import BrokerTable, is_aws, is_safe, unsafe
from waybill_sqs.signing import sign_quickly
from waybill_sqs.wire import write_plainly

__all__ = ["Aws"]

log = logging.getLogger("waybill.sqs")

_told: set[str] = set()
"""Addresses that this process has warned of."""

NOBODYS = "waybill-is-anybody-there"
"""A queue that need not exist: whoever says so is there, and knows us."""


class Aws:
    """One account and region."""

    def __init__(self, region: str, table: BrokerTable, application: str) -> None:
        self.region = region
        self.table = table
        self.application = application
        self.calls: Counter[str] = Counter()
        """Calls made so far, by their kind: what AWS bills, nearly."""
        self._stack = AsyncExitStack()
        self._sqs: Any = None
        self._polls: Any = None
        self._sns: Any = None
        self._session: Any = None
        self._urls: dict[str, str] = {}
        self._whose: tuple[str, str] | None = None

    async def open(self) -> None:
        """Raises `BrokerError`."""
        self._session = await session_for(self.region, self.table)
        try:
            self._sqs = await self._client("sqs")
            self._polls = await self._client("sqs", waits=self.table.wait)
            await self._greet()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        if self.calls:
            log.info("calls of AWS: %s", ", ".join(f"{name} {number}" for name, number in sorted(self.calls.items())))
        stack, self._stack = self._stack, AsyncExitStack()
        self._sqs = self._polls = self._sns = None
        with mapped("closing"):
            await stack.aclose()

    async def _client(self, service: str, *, waits: float = 0) -> Any:
        config = told(self.table, self.application, waits=waits)
        with mapped(f"cannot make a client of {service}"):
            making = self._session.client(
                service, endpoint_url=self.table.endpoint, config=config, verify=self._verify()
            )
            stack = self._stack
            async with AsyncExitStack() as made:
                client = await made.enter_async_context(making)
                if stack is not self._stack:
                    raise BrokerError(f"cannot make a client of {service}: the way to AWS is closed")
                stack.push_async_exit(made.pop_all())
        self._look_at(service, str(client.meta.endpoint_url))
        if service == "sqs":
            write_plainly(client)
            sign_quickly(client)
        return client

    def _look_at(self, service: str, endpoint: str) -> None:
        """Where calls go, whoever said so: the AWS library also listens to its own environment and files."""
        if not is_safe(endpoint):
            raise ConfigurationError(unsafe(service, endpoint))
        if endpoint not in _told and not is_aws(endpoint):
            _told.add(endpoint)
            log.warning("%s is not AWS's but at %s", service, endpoint)

    def _verify(self) -> bool | None:
        """A context of TLS is not made where it is not used."""
        return False if (self.table.endpoint or "").startswith("http://") else None

    async def _greet(self) -> None:
        try:
            await self.url(NOBODYS)
        except CredentialsRefused:
            raise
        except (DestinationMissing, NotPermitted):
            pass

    # ---------------------------------------------------------------- calls

    async def sqs(self, call: str, doing: str, **given: Any) -> dict[str, Any]:
        """A call to SQS. Raises `BrokerError`: a `NotTaken` where it was certainly not done."""
        return await self._call(self._sqs, call, doing, given)

    async def poll(self, **given: Any) -> list[dict[str, Any]]:
        answer = await self._call(self._polls, "receive_message", "cannot receive", given)
        return answer.get("Messages") or []

    async def sns(self, call: str, doing: str, **given: Any) -> dict[str, Any]:
        if self._sns is None:
            client = await self._client("sns")
            if self._sns is None:
                self._sns = client
        return await self._call(self._sns, call, doing, given)

    async def _call(self, client: Any, call: str, doing: str, given: dict[str, Any]) -> dict[str, Any]:
        if client is None:
            raise BrokerError(f"{doing}: the way to AWS is closed")
        self.calls[call] += 1
        with mapped(doing):
            answer: dict[str, Any] = await getattr(client, call)(**given)
        return answer

    # ---------------------------------------------------------------- names of AWS's own

    @property
    def endpoint(self) -> str:
        """Where SQS is, once it is open."""
        return "" if self._sqs is None else str(self._sqs.meta.endpoint_url)

    @property
    def known(self) -> Mapping[str, str]:
        """The URLs of queues that were asked for."""
        return self._urls

    async def url(self, queue: str) -> str:
        """Raises `DestinationMissing`."""
        if (known := self._urls.get(queue)) is None:
            answer = await self.sqs("get_queue_url", f"cannot find the queue {queue}", QueueName=queue)
            known = self._urls[queue] = str(answer["QueueUrl"])
        return known

    def forget(self, queue: str) -> None:
        self._urls.pop(queue, None)

    def known_arn(self, topic: str) -> str | None:
        """As `topic_arn`, where nobody need be asked."""
        if self._whose is None:
            return None
        return f"arn:{self._whose[0]}:sns:{self.region}:{self._whose[1]}:{topic}"

    async def topic_arn(self, topic: str) -> str:
        await self._identity()
        return str(self.known_arn(topic))

    async def queue_arn(self, queue: str) -> str:
        partition, account = await self._identity()
        return f"arn:{partition}:sqs:{self.region}:{account}:{queue}"

    async def _identity(self) -> tuple[str, str]:
        """The partition of AWS and the account, which any credentials may ask for."""
        if self._whose is None:
            async with AsyncExitStack() as stack:
                with mapped("cannot ask AWS whose account this is"):
                    making = self._session.client(
                        "sts",
                        endpoint_url=self.table.endpoint,
                        config=told(self.table, self.application),
                        verify=self._verify(),
                    )
                    client = await stack.enter_async_context(making)
                answer = await self._call(client, "get_caller_identity", "cannot ask AWS whose account this is", {})
            self._whose = str(answer["Arn"]).split(":")[1], str(answer["Account"])
        return self._whose
