"""The shapes of answers: what each operation says, and what is left out of it."""

from __future__ import annotations

import json
import uuid

import httpx
import pytest

from tests.registry.server.conftest import schema

TEXT = '{"type":"record","name":"R","fields":[{"name":"a","type":"string","default":""}]}'


async def test_a_version_says_all_about_itself_and_nothing_empty(client: httpx.AsyncClient) -> None:
    made = (await client.post("/subjects/s/versions", json=schema("a"))).json()
    assert made.pop("ts") > 1_700_000_000_000
    guid = made.pop("guid")
    assert uuid.UUID(guid)
    assert made == {"subject": "s", "version": 1, "id": 1, "schemaType": "AVRO", "schema": TEXT}
    for path in ("/subjects/s/versions/1", "/subjects/s/versions/latest", "/subjects/s/versions/-1"):
        found = (await client.get(path)).json()
        assert {**found, "ts": 0} == {**made, "guid": guid, "ts": 0}
    found = (await client.post("/subjects/s", json=schema("a"))).json()
    assert {**found, "ts": 0} == {**made, "guid": guid, "ts": 0}
    by_id = (await client.get("/schemas/ids/1")).json()
    assert {name: by_id[name] for name in ("schema", "schemaType", "guid")} == {
        "schema": TEXT,
        "schemaType": "AVRO",
        "guid": guid,
    }
    assert "subject" not in by_id
    assert (await client.get("/schemas/ids/1?subject=s")).json()["version"] == 1
    assert (await client.get("/schemas/ids/1?fetchMaxId=True")).json()["maxId"] == 1
    assert (await client.get("/schemas/ids/1?fetch_max_id=true")).json()["maxId"] == 1
    assert (await client.get(f"/schemas/guids/{guid}")).json()["schema"] == TEXT
    assert (await client.get(f"/schemas/guids/{guid}/ids")).json() == [{"context": ".", "id": 1}]
    assert (await client.get("/schemas/ids/1/versions")).json() == [{"subject": "s", "version": 1}]
    assert (await client.get("/schemas/ids/1/subjects")).json() == ["s"]
    for path in ("/schemas/ids/1/schema", "/subjects/s/versions/1/schema"):
        assert (await client.get(path)).text == TEXT
    (listed,) = (await client.get("/schemas?latestOnly=true")).json()
    assert (listed["subject"], listed["version"], listed["schema"]) == ("s", 1, TEXT)
    assert "AVRO" in (await client.get("/schemas/types")).json()


async def test_deletion_says_what_is_gone(client: httpx.AsyncClient) -> None:
    for fields in ("a",), ("a", "b"):
        await client.post("/subjects/s/versions", json=schema(*fields))
    assert (await client.delete("/subjects/s/versions/latest")).json() == 2
    assert (await client.get("/subjects/s/versions?deleted=true")).json() == [1, 2]
    assert (await client.get("/subjects/s/versions?deletedAsNegative=true&deleted=true")).json() == [1, -2]
    assert (await client.get("/subjects/s/versions?deletedOnly=true")).json() == [2]
    assert (await client.get("/subjects/s/versions/2?deleted=true")).json()["deleted"] is True
    assert (await client.delete("/subjects/s/versions/2?permanent=True")).json() == 2
    assert (await client.delete("/subjects/s")).json() == [1]
    assert (await client.delete("/subjects/s")).json()["error_code"] == 40404
    assert (await client.delete("/subjects/s?permanent=true")).json() == [1]
    assert (await client.delete("/subjects/s?permanent=true")).json()["error_code"] == 40401


async def test_settings_are_asked_for_by_one_name_and_set_by_another(client: httpx.AsyncClient) -> None:
    assert (await client.get("/config")).json() == {"compatibilityLevel": "BACKWARD"}
    put = await client.put("/config/s", json={"compatibility": "full_transitive", "normalize": True, "later": 1})
    assert put.json() == {"compatibility": "FULL_TRANSITIVE", "normalize": True}
    assert (await client.get("/config/s")).json() == {"compatibilityLevel": "FULL_TRANSITIVE", "normalize": True}
    assert (await client.put("/config/s", json={"alias": "t"})).json() == {**put.json(), "alias": "t"}
    assert (await client.delete("/config/s")).json()["compatibilityLevel"] == "FULL_TRANSITIVE"
    assert (await client.get("/config/s")).json() == {
        "error_code": 40408,
        "message": "Subject 's' does not have subject-level compatibility configured",
    }
    assert (await client.get("/config/s?defaultToGlobal=true")).json()["compatibilityLevel"] == "BACKWARD"
    assert (await client.put("/mode/s", json={"mode": "readonly"})).json() == {"mode": "READONLY"}
    assert (await client.get("/mode/s")).json() == {"mode": "READONLY"}
    assert (await client.get("/mode/t?defaultToGlobal=true")).json() == {"mode": "READWRITE"}
    assert (await client.delete("/mode/s")).json() == {"mode": "READONLY"}


async def test_compatibility_says_why_only_where_it_is_asked(client: httpx.AsyncClient) -> None:
    await client.post("/subjects/s/versions", json=schema("a"))
    bad = {"schema": json.dumps({"type": "record", "name": "R", "fields": [{"name": "b", "type": "int"}]})}
    for path in ("/compatibility/subjects/s/versions/latest", "/compatibility/subjects/s/versions"):
        assert (await client.post(path, json=bad)).json() == {"is_compatible": False}
        said = (await client.post(f"{path}?verbose=true", json=bad)).json()
        assert said["is_compatible"] is False
        assert "READER_FIELD_MISSING_DEFAULT_VALUE" in said["messages"][0]
        assert (await client.post(f"{path}?verbose=true", json=schema("a"))).json() == {
            "is_compatible": True,
            "messages": [],
        }
    refused = await client.post("/subjects/s/versions", json=bad)
    assert (refused.status_code, refused.json()["error_code"]) == (409, 40901)
    assert refused.json()["message"].startswith(
        'Schema being registered is incompatible with an earlier schema for subject "s", details: ['
    )


async def test_tags_are_found_and_changed_inside_a_schema(client: httpx.AsyncClient) -> None:
    def change(path: str, kind: str) -> list[dict[str, object]]:
        return [{"schemaEntity": {"entityPath": path, "entityType": kind}, "tags": ["PII"]}]

    await client.post("/subjects/s/versions", json=schema("a", "b"))
    added = await client.post("/subjects/s/versions", json={"schemaTagsToAdd": change("R.a", "sr_field")})
    assert added.json()["version"] == 2, added.text
    for path in ("/subjects/s/versions/2", f"/schemas/ids/{added.json()['id']}"):
        assert (await client.get(f"{path}?findTags=*")).json()["schemaTags"] == change("R.a", "sr_field")
        assert (await client.get(f"{path}?find_tags=PII")).json()["schemaTags"] == change("R.a", "sr_field")
        assert "schemaTags" not in (await client.get(f"{path}?findTags=OTHER")).json()
    removed = await client.post("/subjects/s/versions", json={"schemaTagsToRemove": change("R.a", "sr_field")})
    assert removed.json()["version"] == 3
    assert "PII" not in removed.json()["schema"]
    missing = await client.post("/subjects/s/versions", json={"schemaTagsToAdd": change("R.z", "sr_field")})
    assert missing.json()["error_code"] == 42201


async def test_associations(client: httpx.AsyncClient) -> None:
    await client.post("/subjects/t-value/versions", json=schema("a"))
    body = {
        "resourceName": "t",
        "resourceNamespace": "lkc-1",
        "resourceId": "t-1",
        "resourceType": "topic",
        "associations": [{"subject": "t-value", "associationType": "value", "lifecycle": "WEAK"}],
    }
    assert (await client.get("/associations/resources/-/t?resourceType=topic&associationType=value")).json() == []
    assert (await client.post("/associations?dryRun=true", json=body)).status_code == 200
    made = (await client.post("/associations", json=body)).json()
    assert made["resourceId"] == "t-1"
    assert [one["subject"] for one in made["associations"]] == ["t-value"]
    for path in (
        "/associations/resources/-/t?resourceType=topic&associationType=value",
        "/associations/resources/lkc-1/t",
        "/associations/resources/t-1",
        "/associations/subjects/t-value",
    ):
        (found,) = (await client.get(path)).json()
        assert (found["subject"], found["resourceName"], found["associationType"]) == ("t-value", "t", "value")
    assert (await client.get("/associations/resources/t-1?associationType=key")).json() == []
    (listed,) = (await client.get("/schemas?resourceType=topic")).json()
    assert [one["resourceId"] for one in listed["associations"]] == ["t-1"]
    assert "associations" not in (await client.get("/schemas")).json()[0]

    asked = await client.post("/associations:batchGet", json={"requests": [{"resourceId": "t-1"}, {"resourceId": "x"}]})
    assert asked.status_code == 207
    first, second = asked.json()["results"]
    assert first["result"]["associations"][0]["subject"] == "t-value"
    assert second == {"result": {}}
    changes = [
        {
            **body,
            "associations": [
                {"opType": "UPSERT", "subject": "t-value", "associationType": "value", "lifecycle": "STRONG"}
            ],
        },
        {
            **body,
            "resourceId": "u",
            "associations": [{"opType": "CREATE", "subject": "none", "associationType": "value"}],
        },
        {**body, "resourceId": "u", "associations": [{"opType": "SPIN"}]},
        {**body, "associations": [{"opType": "DELETE", "associationType": "value"}]},
    ]
    changed = await client.post("/associations:batchMutate", json={"requests": changes})
    results = changed.json()["results"]
    assert results[0]["result"]["associations"][0]["lifecycle"] == "STRONG"
    assert [one["error"]["error_code"] for one in results[1:3]] == [40907, 42212]
    assert "result" in results[3]
    gone = await client.delete("/associations/resources/t-1")
    assert (gone.status_code, gone.json()["error_code"]) == (404, 40410)
    await client.put("/associations", json=body)
    assert (await client.delete("/associations/resources/t-1")).status_code == 204
    assert (await client.post("/associations:batchGet", json={})).json()["error_code"] == 42212


async def test_the_server_tells_about_itself(client: httpx.AsyncClient) -> None:
    assert (await client.get("/")).json() == (await client.post("/")).json() == {}
    assert (await client.get("/health")).json() == {"status": "up"}
    assert (await client.get("/v1/metadata/id")).json()["scope"]["path"] == []
    assert set((await client.get("/v1/metadata/version")).json()) == {"version", "commitId"}
    assert "attributes" in (await client.get("/v1/metadata/deployment")).json()


@pytest.mark.parametrize("path", ["/subjects", "/config", "/openapi.json"])
async def test_a_head_is_answered_as_its_get(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.head(path)).status_code == 200


async def test_metrics_are_what_prometheus_reads(client: httpx.AsyncClient) -> None:
    await client.post("/subjects/s/versions", json=schema("a"))
    await client.get("/schemas/ids/99")
    answer = await client.get("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    lines = answer.text.splitlines()
    assert 'waybill_registry_requests_total{operation="register",status="200",worker="1"} 1' in lines
    assert 'waybill_registry_requests_total{operation="schema_by_id",status="404",worker="1"} 1' in lines
    assert 'waybill_registry_request_seconds_bucket{operation="register",worker="1",le="+Inf"} 1' in lines
    assert all(line.startswith("#") or line.rpartition(" ")[2].replace(".", "").isdigit() for line in lines)
