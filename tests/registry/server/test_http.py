"""What comes before any operation: paths, types, bodies, spellings; and the API's own errors for all that is wrong."""

from __future__ import annotations

import json

import httpx
import pytest

from tests.registry.server.conftest import V1, opened, schema
from waybill_schema_registry.server.options import Options
from waybill_schema_registry.server.rights import EVERYBODY


def code(answer: httpx.Response) -> tuple[int, int]:
    """Status and `error_code` of an error, which has a text too and no traceback."""
    body = answer.json()
    assert set(body) == {"error_code", "message"}, body
    assert body["message"]
    assert "Traceback" not in body["message"]
    return answer.status_code, body["error_code"]


async def test_what_is_asked_wrongly_gets_an_error_of_the_api(client: httpx.AsyncClient) -> None:
    post = ("POST", "/subjects/s/versions")
    json_type = {"content-type": "application/json"}
    cases: list[tuple[str, str, bytes | None, dict[str, str], tuple[int, int]]] = [
        ("GET", "/nothing/here", None, {}, (404, 404)),
        ("GET", "/subjects/s/versions/1/nothing", None, {}, (404, 404)),
        ("PATCH", "/subjects", None, {}, (405, 405)),
        ("GET", "/subjects", None, {"accept": "text/html"}, (406, 406)),
        ("GET", "/subjects", None, {"accept": "application/json;q=0"}, (406, 406)),
        (*post, b"schema=x", {"content-type": "application/x-www-form-urlencoded"}, (415, 415)),
        (*post, b"{", json_type, (400, 400)),
        (*post, b"\xff\xfe", json_type, (400, 400)),
        (*post, b"[" * 100_000, json_type, (400, 400)),
        (*post, b"[]", json_type, (400, 400)),
        (*post, b'{"schema": 7}', json_type, (400, 400)),
        (*post, b'{"schema": "\\"string\\"", "references": {}}', json_type, (400, 400)),
        (*post, b"", json_type, (422, 422)),
        (*post, b'{"schema": "no schema"}', json_type, (422, 42201)),
        (*post, b'{"schema": "\\"string\\"", "schemaType": "XML"}', json_type, (422, 42201)),
        ("GET", "/schemas/ids/seven", None, {}, (404, 404)),
        ("GET", "/schemas/ids/99999999999", None, {}, (404, 404)),
        ("GET", "/schemas/ids/7", None, {}, (404, 40403)),
        ("GET", "/schemas/ids/7/schema", None, {}, (404, 40403)),
        ("GET", "/schemas/guids/no-guid", None, {}, (404, 40403)),
        ("GET", "/subjects/s/versions/0", None, {}, (422, 42202)),
        ("GET", "/subjects/s/versions/one", None, {}, (422, 42202)),
        ("GET", "/subjects/s/versions/1", None, {}, (404, 40401)),
        ("GET", "/subjects?limit=many", None, {}, (400, 400)),
        ("GET", "/subjects/%FF/versions", None, {}, (400, 400)),
        ("GET", "/config/s", None, {}, (404, 40408)),
        ("GET", "/mode/s", None, {}, (404, 40409)),
        ("PUT", "/config", b'{"compatibility": "SIDEWAYS"}', json_type, (422, 42203)),
        ("PUT", "/config", b'{"normalize": "perhaps"}', json_type, (400, 400)),
        ("PUT", "/mode", b'{"mode": "SLEEPING"}', json_type, (422, 42204)),
    ]
    wrong = []
    for method, path, body, headers, expected in cases:
        found = code(await client.request(method, path, content=body, headers=headers))
        if found != expected:
            wrong.append((method, path, body and body[:40], found, expected))
    assert wrong == []


@pytest.mark.parametrize(
    "path", ["/subjects/a%00b/versions", "/subjects/a%0Ab/versions", "/subjects/__GLOBAL/versions"]
)
async def test_a_name_that_can_be_no_subject_is_refused(client: httpx.AsyncClient, path: str) -> None:
    assert code(await client.post(path, json=schema("a"))) == (422, 42208)


async def test_a_subject_may_hold_what_a_url_must_escape(client: httpx.AsyncClient) -> None:
    names = ["../../etc/passwd", "a/b", "a b", "a:b", "ü€", "a%2Fb", "*", "a?b", "a#b", "'; drop table"]
    for name in names:
        made = await client.post(f"/subjects/{_escaped(name)}/versions", json=schema("a"))
        assert made.status_code == 200, (name, made.text)
        found = await client.get(f"/subjects/{_escaped(name)}/versions/latest")
        assert found.json()["subject"] == name
    assert sorted(names) == (await client.get("/subjects")).json()


def _escaped(name: str) -> str:
    from urllib.parse import quote

    return quote(name, safe="")


async def test_a_method_that_is_not_allowed_is_told_those_that_are(client: httpx.AsyncClient) -> None:
    answer = await client.request("PUT", "/subjects/s")
    assert answer.headers["allow"] == "DELETE, POST"


@pytest.mark.parametrize(
    ("accept", "type_"),
    [
        (None, V1),
        ("", V1),
        ("*/*", V1),
        ("application/json", "application/json"),
        ("application/*;q=0.5, text/html", V1),
        ("application/vnd.schemaregistry.v1+json, application/vnd.schemaregistry+json, application/json", V1),
        ("application/json, application/vnd.schemaregistry+json;q=0.8", "application/json"),
        ("application/vnd.schemaregistry+json", "application/vnd.schemaregistry+json"),
    ],
)
async def test_an_answer_has_the_type_that_is_wanted_most(
    client: httpx.AsyncClient, accept: str | None, type_: str
) -> None:
    if accept is None:
        del client.headers["accept"]
    else:
        client.headers["accept"] = accept
    assert (await client.get("/subjects")).headers["content-type"] == type_


@pytest.mark.parametrize(
    "type_", ["", V1, "application/json; charset=utf-8", "application/octet-stream", "Application/JSON"]
)
async def test_a_body_is_read_as_json_also_where_no_type_is_given(client: httpx.AsyncClient, type_: str) -> None:
    content = json.dumps(schema("a")).encode()
    answer = await client.post("/subjects/s/versions", content=content, headers={"content-type": type_})
    assert answer.status_code == 200


async def test_parameters_are_taken_in_both_spellings_and_any_case(client: httpx.AsyncClient) -> None:
    for subject in ("kept", "gone"):
        await client.post(f"/subjects/{subject}/versions", json=schema("a"))
    await client.delete("/subjects/gone")

    async def listed(query: str) -> list[str]:
        return (await client.get(f"/subjects?{query}")).json()

    assert await listed("deleted=False&deleted_only=False&offset=0&limit=-1") == ["kept"]
    assert await listed("deleted=True") == ["gone", "kept"]
    assert await listed("deletedOnly=TRUE") == await listed("deleted_only=true") == ["gone"]
    assert await listed("subjectPrefix=k") == await listed("subject_prefix=k") == await listed("subject=k") == ["kept"]
    assert await listed("deleted=true&offset=1") == ["kept"]
    assert await listed("deleted=true&limit=1") == ["gone"]
    assert await listed("deleted=true&limit=0") == []
    assert await listed("deleted=yes") == ["kept"]


async def test_a_context_before_the_path_is_that_of_the_subject(client: httpx.AsyncClient) -> None:
    made = await client.post("/contexts/.test/subjects/s/versions", json=schema("a"))
    assert made.json()["id"] == 1
    assert (await client.get("/subjects/:.test:s/versions/1")).json()["subject"] == ":.test:s"
    assert (await client.get("/contexts/test/subjects")).json() == [":.test:s"]
    assert (await client.get("/contexts/:.test:/subjects/s/versions")).json() == [1]
    assert (await client.get("/contexts/.test/schemas/ids/1")).status_code == 200
    assert (await client.get("/contexts/.other/schemas/ids/1")).status_code == 404
    assert (await client.get("/schemas/ids/1")).status_code == 404
    assert (await client.put("/contexts/.test/config", json={"compatibility": "NONE"})).status_code == 200
    assert (await client.get("/config/:.test:")).json()["compatibilityLevel"] == "NONE"
    assert (await client.get("/config")).json()["compatibilityLevel"] == "BACKWARD"
    assert (await client.get("/contexts")).json() == [".", ".test"]
    assert code(await client.delete("/contexts/.test")) == (422, 42211)


async def test_a_slash_at_the_end_changes_nothing(client: httpx.AsyncClient) -> None:
    assert (await client.get("/subjects/")).json() == []
    assert (await client.get("/config/")).json()["compatibilityLevel"] == "BACKWARD"


async def test_members_that_are_not_known_are_ignored(client: httpx.AsyncClient) -> None:
    body = schema("a", somethingNew={"x": [1]}, metadata=None, ruleSet=None, references=None)
    assert (await client.post("/subjects/s/versions", json=body)).status_code == 200


async def test_a_body_that_is_too_large_is_refused_before_it_is_read() -> None:
    async with opened(Options(body=1000)) as client:
        assert code(await client.post("/subjects/s/versions", content=b"x" * 1001)) == (413, 413)

        async def without_a_length():
            for _ in range(11):
                yield b"x" * 100

        assert code(await client.post("/subjects/s/versions", content=without_a_length())) == (413, 413)


async def test_more_requests_than_may_be_at_once_are_told_to_come_again() -> None:
    async with opened(Options(busy=0)) as client:
        answer = await client.get("/subjects")
        assert code(answer) == (503, 503)
        assert answer.headers["retry-after"] == "1"


async def test_a_read_only_server_takes_no_write_and_answers_every_question() -> None:
    async with opened(Options(read_only=True)) as client:
        writes = [
            await client.post("/subjects/s/versions", json=schema("a")),
            await client.delete("/subjects/s"),
            await client.delete("/subjects/s/versions/1"),
            await client.put("/config", json={"compatibility": "NONE"}),
            await client.delete("/config/s"),
            await client.put("/mode", json={"mode": "IMPORT"}),
            await client.delete("/contexts/.c"),
        ]
        assert [code(answer) for answer in writes] == [(422, 42205)] * len(writes)
        assert (await client.get("/subjects")).json() == []
        checked = await client.post("/compatibility/subjects/s/versions/latest", json=schema("a"))
        assert checked.json() == {"is_compatible": True}


def test_where_there_are_no_users_everybody_may_do_everything() -> None:
    assert Options().users.known(b"Basic xyz") is EVERYBODY
