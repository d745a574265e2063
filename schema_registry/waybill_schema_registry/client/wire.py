"""One question to a registry over HTTP: with patience, on the next server where one fails, and without trust in the answer."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from waybill.errors import one_line, shown
from waybill_schema_registry.client.access import Access
from waybill_schema_registry.client.addresses import Address
from waybill_schema_registry.client.answers import DUBIOUS, LATER, error_of, no_registry, read
from waybill_schema_registry.errors import RegistryError, RegistryUnavailable
from waybill_schema_registry.extras import needed

if TYPE_CHECKING:
    import httpx

__all__ = ["Wire"]

SENT = "application/vnd.schemaregistry.v1+json"
ACCEPTED = f"{SENT}, application/vnd.schemaregistry+json; q=0.9, application/json; q=0.5"
LONGEST_PAUSE = 5.0
"""Seconds, whatever a server asks for: somebody waits."""


class Unreached(Exception):
    """No answer. sent: whether the question may have been read all the same."""

    def __init__(self, text: str, *, sent: bool) -> None:
        super().__init__(text)
        self.sent = sent


class Wire:
    """Belongs to the event loop that it is first used in. Raises `ConfigurationError` for what it is given."""

    def __init__(self, servers: Sequence[Address], access: Access) -> None:
        self._httpx: Any = needed("httpx", "avro", "a registry over HTTP")
        self._servers = servers
        self._headers = [_headers(access.header(server.user, server.password)) for server in servers]
        self._access = access
        self._at = 0
        self._client: httpx.AsyncClient = self._httpx.AsyncClient(
            verify=access.tls(), timeout=access.timeout, follow_redirects=False
        )

    async def ask(
        self,
        method: str,
        path: str,
        kind: Any,
        *,
        query: Mapping[str, str | bool] | None = None,
        body: object = None,
    ) -> Any:
        """The answer, as `kind`. A deletion that may have been done is not asked for again."""
        content = None if body is None else msgspec.json.encode(body)
        params = {
            name: str(value).lower() if isinstance(value, bool) else value for name, value in (query or {}).items()
        }
        tries = max(1 + self._access.retries, len(self._servers))
        for attempt in range(1, tries + 1):
            place = self._at % len(self._servers)
            where, pause = f"the registry at {self._servers[place].base}", 0.0
            failure: RegistryError
            try:
                status, answer, pause = await self._once(place, method, path, params, content)
            except Unreached as error:
                failure = RegistryUnavailable(f"{where} cannot be reached: {error}")
                failure.__cause__ = error.__cause__
                if attempt == tries or (error.sent and method == "DELETE"):
                    raise failure from error.__cause__
            else:
                if status < 300:
                    return read(answer, kind, where)
                failure = error_of(status, answer, where)
                if attempt == tries or status not in LATER or (status in DUBIOUS and method == "DELETE"):
                    raise failure
            self._at = place + 1
            if attempt % len(self._servers) == 0:
                await asyncio.sleep(max(self._pause(attempt // len(self._servers)), min(pause, LONGEST_PAUSE)))
        raise AssertionError("each try ends in an answer or an error")

    async def aclose(self) -> None:
        await self._client.aclose()

    def _pause(self, rounds: int) -> float:
        doubled = self._access.backoff * 2.0 ** (min(rounds, 32) - 1)
        return min(doubled, LONGEST_PAUSE) * random.uniform(0.5, 1.0)  # noqa: S311 - so that not all come at once

    async def _once(
        self, place: int, method: str, path: str, params: Mapping[str, str], content: bytes | None
    ) -> tuple[int, bytes, float]:
        """Status, body, and the seconds that the server asks to wait. Raises `Unreached`."""
        httpx, limit = self._httpx, self._access.timeout
        if self._client.is_closed:  # by another user of the same registry, while this one paused: not its fault
            raise RegistryUnavailable(f"the connections to {self._servers[place].base} were given back meanwhile")
        request = self._client.build_request(
            method,
            self._servers[place].base + path,
            params=params or None,
            content=content,
            headers=self._headers[place],
        )
        try:
            async with asyncio.timeout(limit):
                response = await self._client.send(request, stream=True)
                try:
                    body = await self._body(response, place)
                finally:
                    await response.aclose()
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise Unreached(_why(error), sent=False) from error
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            raise Unreached(_why(error), sent=True) from error
        except TimeoutError as error:
            raise Unreached(f"no whole answer within {limit:g} s", sent=True) from error
        return response.status_code, body, _seconds(response.headers.get("Retry-After"))

    async def _body(self, response: httpx.Response, place: int) -> bytes:
        parts = bytearray()
        async for part in response.aiter_bytes():
            parts += part
            if len(parts) > self._access.largest:
                raise no_registry(
                    f"the registry at {self._servers[place].base}",
                    f"its answer is longer than {self._access.largest} bytes (Access(largest=…) allows more)",
                )
        return bytes(parts)


def _headers(authorization: str | None) -> dict[str, str]:
    common = {"Accept": ACCEPTED, "Accept-Encoding": "identity", "Content-Type": SENT}
    return common if authorization is None else {**common, "Authorization": authorization}


def _seconds(retry_after: str | None) -> float:
    try:
        return max(0.0, float(retry_after or 0))
    except ValueError:
        return 0.0  # a date: our own pause will do


def _why(error: Exception) -> str:
    text = shown(str(error), 300)
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return f"{text}: name who signs its certificate with Access(cafile=…)"
    return text or one_line(error)
