"""The document of the API (OpenAPI 3.1), from the table of routes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any

import msgspec

from waybill_schema_registry.server.failures import Failure, status_of
from waybill_schema_registry.server.media import ANSWERED, READ
from waybill_schema_registry.server.routing import Parameter, Route

__all__ = ["document"]

PLACE = "#/components/schemas/{name}"
ANY_ROUTE = (400, 403, 406, 408, 413, 50001, 50002, 503)
"""Codes that every operation may answer."""
IN_PATH: dict[str, dict[str, Any]] = {
    "version": {"type": "string", "description": "A number from 1, `latest` or -1."},
    "id": {"type": "integer", "minimum": 0, "maximum": 2**31 - 1},
}


def document(table: Sequence[Route]) -> bytes:
    """As JSON."""
    types = [Failure, *(kind for route in table for kind in (route.answer, route.body) if kind is not None)]
    shapes, components = msgspec.json.schema_components(types, ref_template=PLACE)
    shape_of = dict(zip(map(str, types), shapes, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for route in table:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, shape_of)
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {
                "title": "Waybill schema registry",
                "version": "1",
                "description": "The REST API of Confluent's Schema Registry. Any path may begin with `/contexts/{context}`.",
            },
            "paths": paths,
            "components": {
                "schemas": components,
                "securitySchemes": {
                    "basic": {"type": "http", "scheme": "basic"},
                    "bearer": {"type": "http", "scheme": "bearer"},
                },
            },
        }
    )


def _operation(route: Route, shape_of: dict[str, Any]) -> dict[str, Any]:
    suffix = "of_" + "_".join(route.parameters) if route.parameters else route.method.lower()
    said: dict[str, Any] = {
        "operationId": f"{route.name}_{suffix}",
        "parameters": [*map(_path_parameter, route.parameters), *map(_query_parameter, route.query)],
        "responses": dict(_responses(route, shape_of)),
    }
    if not route.open:
        said["security"] = [{}, {"basic": []}, {"bearer": []}]
    if route.body is not None:
        shape = shape_of[str(route.body)]
        said["requestBody"] = {"required": True, "content": {kind: {"schema": shape} for kind in sorted(READ)}}
    return said


def _path_parameter(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": IN_PATH.get(name, {"type": "string"})}


def _query_parameter(parameter: Parameter) -> dict[str, Any]:
    kind: dict[str, Any] = {"type": parameter.kind}
    if parameter.kind == "integer":
        kind |= {"minimum": -(2**31) + 1, "maximum": 2**31 - 1}
    return {
        "name": parameter.name,
        "in": "query",
        "description": parameter.says,
        "schema": {"type": "array", "items": kind} if parameter.many else kind,
    }


def _responses(route: Route, shape_of: dict[str, Any]) -> Iterable[tuple[str, dict[str, Any]]]:
    kinds = (route.content,) if route.content else ANSWERED
    done: dict[str, Any] = {"description": "Done."}
    if route.answer is not None:
        done["content"] = {kind: {"schema": shape_of[str(route.answer)]} for kind in kinds}
    yield str(route.status), done
    codes = {*ANY_ROUTE, *route.codes}
    if not route.open:
        codes.add(401)
    if route.parameters:
        codes.add(404)
    if route.writes:
        codes.add(42205)
    if route.body is not None:
        codes |= {415, 422}
    by_status: dict[int, list[int]] = {}
    for code in sorted(codes):
        by_status.setdefault(status_of(code), []).append(code)
    for status, found in sorted(by_status.items()):
        yield (
            str(status),
            {
                "description": f"{HTTPStatus(status).phrase}: error_code {', '.join(map(str, found))}.",
                "content": {kind: {"schema": shape_of[str(Failure)]} for kind in ANSWERED},
            },
        )
