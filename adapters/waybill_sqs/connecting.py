"""From a URL and settings to a session of the AWS library: where AWS is, and who we are there."""

from __future__ import annotations

import asyncio
import functools
from importlib.metadata import version
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import aioboto3  # pyright: ignore[reportMissingTypeStubs]
import botocore.loaders  # pyright: ignore[reportMissingTypeStubs]
from aiobotocore.config import AioConfig  # pyright: ignore[reportMissingTypeStubs]
from aiobotocore.credentials import (  # pyright: ignore[reportMissingTypeStubs]
    AioAssumeRoleCredentialFetcher,
    AioDeferredRefreshableCredentials,
)

from waybill.errors import ConfigurationError
from waybill.tables import read_table
from waybill_sqs.mapping import mapped
from waybill_sqs.options import BrokerTable, is_safe, unsafe
from waybill_sqs.wire import Parsers

__all__ = ["located", "session_for", "told"]

SERVICES = ("sqs", "sns", "sts")
LIBRARY = f"Waybill/{version('waybill')} Aiobotocore/{version('aiobotocore')}"


def located(url: str, given: dict[str, Any]) -> tuple[str, BrokerTable]:
    """The region, and the settings with what stands in the URL's query. Raises `ConfigurationError`."""
    parts = urlsplit(url)
    if parts.scheme != "sqs" or not parts.netloc or parts.path.strip("/"):
        raise ConfigurationError(f"{url}: write sqs://REGION, e.g. sqs://eu-west-1")
    if "@" in parts.netloc or ":" in parts.netloc:
        raise ConfigurationError(
            "the URL names a region and nobody's credentials: AWS's chain, `profile` or `role` in [broker.sqs] say who we "
            "are, and `endpoint` where another server is"
        )
    return parts.netloc, read_table(BrokerTable, "sqs", given | dict(parse_qsl(parts.query)))


@functools.cache
def _loader() -> Any:
    """One for all sessions of the process: to read the models of AWS's services takes long."""
    library: Any = botocore.loaders
    return library.create_loader()


def _warm() -> None:
    loader = _loader()
    for service in SERVICES:
        loader.load_service_model(service, "service-2")
        loader.load_service_model(service, "endpoint-rule-set-1")
    for data in ("endpoints", "partitions", "sdk-default-configuration", "_retry"):
        loader.load_data(data)


async def session_for(region: str, table: BrokerTable) -> aioboto3.Session:
    """A session that finds its credentials by itself, and refreshes them. Raises `BrokerError`."""
    await asyncio.to_thread(_warm)
    with mapped("cannot use the AWS configuration"):
        session = aioboto3.Session(profile_name=table.profile, region_name=region)
        library: Any = getattr(session, "_session")  # noqa: B009 - of a class without types
        library.register_component("data_loader", _loader())
        library.register("before-send.sts", _look_at)  # the chain asks it too, by clients of its own
        library.register_component("response_parser_factory", Parsers())
        if table.role is not None:
            library._credentials = await _assumed(library, region, table)
    return session


def _look_at(request: Any, **_: object) -> None:
    """Let no identity out where everybody can read it, whoever said where AWS is."""
    url: str = request.url
    if not is_safe(url):
        parts = urlsplit(url)
        raise ConfigurationError(unsafe("sts", f"{parts.scheme}://{parts.hostname}"))


async def _assumed(library: Any, region: str, table: BrokerTable) -> AioDeferredRefreshableCredentials:
    """Credentials of a role, fetched at the first need of them and again before they expire."""
    source = await library.get_credentials()
    if source is None:
        raise ConfigurationError("there are no AWS credentials to assume the role with: see the default chain of AWS")
    create: Any = functools.partial(library.create_client, region_name=region, endpoint_url=table.endpoint)
    fetcher: Any = AioAssumeRoleCredentialFetcher(
        client_creator=create, source_credentials=source, role_arn=table.role, extra_args={"RoleSessionName": "waybill"}
    )
    return AioDeferredRefreshableCredentials(fetcher.fetch_credentials, "assume-role")


def told(table: BrokerTable, application: str, *, waits: float = 0) -> AioConfig:
    """What a client is told. Nothing is repeated by the library: what may be, this adapter knows better."""
    options: dict[str, Any] = {
        "connect_timeout": table.connect_timeout,
        "read_timeout": table.request_timeout + waits,
        "max_pool_connections": 1000,  # what bounds calls is of each kind, so that none waits behind another
        "retries": {"mode": "standard", "total_max_attempts": 1},
        "tcp_keepalive": True,
        "parameter_validation": False,
        "user_agent": f"{LIBRARY} app/{application}",  # a whole one: the library would put its own together at each call
    }
    return AioConfig(**options)
