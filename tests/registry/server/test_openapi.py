"""The document of the API, and whether the server does as it says, whatever it is asked (schemathesis)."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.registry.server.processes import Server
from waybill_schema_registry.server.openapi import document
from waybill_schema_registry.server.table import TABLE

ONLY_RANDOM = schemathesis.Config.from_dict(
    {"phases": {"coverage": {"enabled": False}, "examples": {"enabled": False}}}
)
"""Boundary values one by one would be hundreds of requests an operation."""
API = schemathesis.openapi.from_dict(json.loads(document(TABLE)), config=ONLY_RANDOM)
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
EXAMPLES = 3
"""Of each operation; there are some 50."""


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    with requests.Session() as made:
        yield made


@API.parametrize()
@settings(max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_the_server_does_as_its_document_says(
    case: schemathesis.Case, running: Server, session: requests.Session
) -> None:
    case.call_and_validate(base_url=running.url, session=session, checks=CHECKS)


async def test_the_document_is_served_and_names_every_route(client: httpx.AsyncClient) -> None:
    answer = await client.get("/openapi.json")
    paths = answer.json()["paths"]
    assert answer.headers["content-type"] == "application/json"
    assert {(method, path) for path in paths for method in paths[path]} == {
        (route.method.lower(), route.path) for route in TABLE
    }
