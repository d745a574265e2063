"""The management API, where the settings name one: what the protocol does not tell. Looks only."""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, unquote, urlencode, urlsplit

from waybill.errors import BrokerUnavailable
from waybill.foreign import NotPermitted
from waybill.topology import Count, Exactness
from waybill_rabbitmq.connecting import Connector
from waybill_rabbitmq.survey import Survey

__all__ = ["Management"]

TIMEOUT = 5.0
"""Seconds that it is given for an answer."""
BARE = {"disable_stats": "true"}
"""Without figures, which take the servers long where queues are many."""
UNTOLD = Count(None, Exactness.UNKNOWN)


class Management:
    """Asks for one virtual host. Follows no redirects, so that the password goes to nobody else."""

    def __init__(self, url: str, connector: Connector) -> None:
        parts = urlsplit(url)
        self._secure = parts.scheme == "https"
        self._address = parts.hostname or "localhost", parts.port or (15671 if self._secure else 15672)
        self._path = parts.path.rstrip("/").removesuffix("/api")
        self._own = (unquote(parts.username), unquote(parts.password or "")) if parts.username else None
        self._connector = connector
        self.name = f"the management API at {self._address[0]}:{self._address[1]}"
        """For people, without any secret."""

    async def survey(self) -> Survey:
        """All exchanges, queues and bindings. Raises `BrokerError`."""
        exchanges, queues, bindings = [await self._all(kind) for kind in ("exchanges", "queues", "bindings")]
        return Survey.of(exchanges, queues, bindings)

    async def in_flight(self, *queues: str) -> Count:
        """What these queues have handed out, as it was some seconds ago: the servers count every five. Raises `BrokerError`."""
        told: list[dict[str, Any]] = [await self._get("queues", self._connector.vhost, name) or {} for name in queues]
        counts: list[int] = [queue["messages_unacknowledged"] for queue in told if "messages_unacknowledged" in queue]
        return Count(sum(counts), Exactness.APPROXIMATE) if len(counts) == len(queues) else UNTOLD

    async def policies(self) -> Sequence[Mapping[str, Any]]:
        """What operators have set for each queue, as it was some seconds ago. Raises `BrokerError`."""
        return await self._all("queues", columns="name,policy,operator_policy,effective_policy_definition")

    async def _all(self, kind: str, **query: str) -> Sequence[Mapping[str, Any]]:
        return await self._get(kind, self._connector.vhost, **(query or BARE)) or []

    async def _get(self, *path: str, **query: str) -> Any:
        """What there is; `None` where nothing is."""
        target = f"{self._path}/api/{'/'.join(quote(part, safe='') for part in path)}?{urlencode(query)}"
        try:
            status, answer = await asyncio.to_thread(self._ask, target)
        except (OSError, http.client.HTTPException) as error:
            raise BrokerUnavailable(f"{self.name} does not answer: {error}") from error
        if status == http.HTTPStatus.NOT_FOUND:
            return None
        if status in {http.HTTPStatus.UNAUTHORIZED, http.HTTPStatus.FORBIDDEN}:
            raise NotPermitted(f"{self.name} lets this user see nothing: it takes the tag `monitoring` or `management`")
        try:
            if status == http.HTTPStatus.OK:
                return json.loads(answer)
        except ValueError:
            pass
        raise BrokerUnavailable(f"{self.name} answers {status}, and not as RabbitMQ does")

    def _ask(self, target: str) -> tuple[int, bytes]:
        connection = self._connect()
        try:
            connection.request("GET", target, headers=self._headers())
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def _connect(self) -> http.client.HTTPConnection:
        if self._secure:
            return http.client.HTTPSConnection(*self._address, timeout=TIMEOUT, context=self._connector.tls())
        return http.client.HTTPConnection(*self._address, timeout=TIMEOUT)

    def _headers(self) -> Mapping[str, str]:
        username, password = self._own or self._connector.credentials()
        return {"Authorization": f"Basic {base64.b64encode(f'{username}:{password}'.encode()).decode()}"}
