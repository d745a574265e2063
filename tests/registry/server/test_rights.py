"""Who may do what: users from a file, by password or token, with a right to each beginning of a subject's name."""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from tests.registry.server.conftest import opened, schema
from waybill.errors import ConfigurationError
from waybill_schema_registry.server import users
from waybill_schema_registry.server.options import Options
from waybill_schema_registry.server.passwords import hash_password, hash_token
from waybill_schema_registry.server.users import read_users

TOKEN = "a-token-nobody-guesses"
PASSWORDS = {name: hash_password(f"{name}'s password") for name in ("reader", "writer", "owner", "colon", "half")}
FILE = f"""
[users.reader]
password = "{PASSWORDS["reader"]}"
rights = {{ "" = "read" }}

[users.writer]
password = "{PASSWORDS["writer"]}"
rights = {{ "orders." = "write" }}

[users.owner]
password = "{PASSWORDS["owner"]}"
rights = {{ "orders." = "admin", "orders.secret." = "none", ":.test:" = "admin" }}

[users.colon]
password = "{PASSWORDS["colon"]}"
rights = {{ ":." = "admin" }}

[users.robot]
token = "{hash_token(TOKEN)}"
rights = {{ "" = "admin" }}
"""


def basic(name: str, password: str | None = None) -> dict[str, str]:
    given = base64.b64encode(f"{name}:{password or name + chr(39) + 's password'}".encode()).decode()
    return {"authorization": f"Basic {given}"}


READER, WRITER, OWNER, COLON = basic("reader"), basic("writer"), basic("owner"), basic("colon")
ROBOT = {"authorization": f"Bearer {TOKEN}"}


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    file = tmp_path / "users.toml"
    file.write_text(FILE)
    async with opened(Options(users=read_users(file))) as client:
        for number, subject in enumerate(["orders.placed", "orders.secret.x", "invoices", ":.test:s"]):
            made = await client.post(f"/subjects/{subject}/versions", json=schema(f"f{number}"), headers=ROBOT)
            assert made.status_code == 200, made.text
        yield client


async def test_who_is_not_known_may_only_ask_whether_the_server_is_up(guarded: httpx.AsyncClient) -> None:
    strangers = [
        {},
        basic("reader", "wrong"),
        basic("nobody"),
        {"authorization": "Bearer wrong"},
        {"authorization": "Basic ???"},
        {"authorization": "Digest x"},
        {"authorization": "Basic"},
    ]
    for headers in strangers:
        answer = await guarded.get("/subjects", headers=headers)
        assert (answer.status_code, answer.json()["error_code"]) == (401, 401)
        assert answer.headers["www-authenticate"].startswith("Basic ")
    for path in ("/", "/health", "/metrics", "/openapi.json", "/v1/metadata/version"):
        assert (await guarded.get(path)).status_code == 200


async def test_each_right_allows_what_is_its_own_and_no_more(guarded: httpx.AsyncClient) -> None:
    body, level = schema("f0"), {"compatibility": "NONE"}
    one, all_ = "/subjects/orders.placed", "/subjects"
    cases = [
        (READER, "GET", f"{one}/versions/1", None, 200),
        (READER, "POST", one, body, 200),
        (READER, "POST", f"/compatibility{one}/versions/1", body, 200),
        (READER, "GET", "/config", None, 200),
        (READER, "POST", f"{one}/versions", body, 403),
        (READER, "DELETE", one, None, 403),
        (READER, "PUT", "/config", level, 403),
        (WRITER, "POST", f"{one}/versions", body, 200),
        (WRITER, "GET", f"{one}/versions/1", None, 200),
        (WRITER, "PUT", "/config/orders.placed", level, 403),
        (WRITER, "PUT", "/mode/orders.placed", {"mode": "READONLY"}, 403),
        (WRITER, "DELETE", f"{one}?permanent=true", None, 403),
        (WRITER, "POST", f"{one}/versions?force=true", body, 403),
        (WRITER, "GET", "/subjects/invoices/versions/1", None, 403),
        (WRITER, "POST", "/subjects/invoices/versions", body, 403),
        (WRITER, "POST", "/subjects/order/versions", body, 403),
        (WRITER, "GET", "/config", None, 200),
        (OWNER, "PUT", "/config/orders.placed", level, 200),
        (OWNER, "PUT", "/config", level, 403),
        (OWNER, "GET", "/subjects/orders.secret.x/versions/1", None, 403),
        (OWNER, "GET", "/subjects/:.test:s/versions/1", None, 200),
        (OWNER, "GET", "/contexts/.test/subjects/s/versions/1", None, 200),
        (OWNER, "PUT", "/contexts/.test/config", level, 200),
        (ROBOT, "PUT", "/config", level, 200),
        (WRITER, "DELETE", one, None, 200),
        (OWNER, "DELETE", f"{one}?permanent=true", None, 200),
        (ROBOT, "GET", all_, None, 200),
    ]
    wrong = []
    for user, method, path, given, expected in cases:
        answer = await guarded.request(method, path, json=given, headers=user)
        if answer.status_code != expected:
            wrong.append((user, method, path, answer.status_code, answer.text))
    assert wrong == []


async def test_lists_and_ids_show_nothing_of_what_one_may_not_read(guarded: httpx.AsyncClient) -> None:
    async def got(path: str, user: dict[str, str]) -> object:
        answer = await guarded.get(path, headers=user)
        return answer.json() if answer.status_code == 200 else answer.status_code

    assert await got("/subjects", READER) == [":.test:s", "invoices", "orders.placed", "orders.secret.x"]
    assert await got("/subjects", OWNER) == [":.test:s", "orders.placed"]
    assert await got("/subjects", WRITER) == ["orders.placed", "orders.secret.x"]
    found = (await guarded.get("/schemas", headers=OWNER)).json()
    assert [one["subject"] for one in found] == [":.test:s", "orders.placed"]
    assert [one["subject"] for one in (await guarded.get("/schemas?limit=1&offset=1", headers=OWNER)).json()] == [
        "orders.placed"
    ]
    invoices = (await guarded.get("/subjects/invoices/versions/1", headers=ROBOT)).json()
    for path in (f"/schemas/ids/{invoices['id']}", f"/schemas/guids/{invoices['guid']}"):
        assert isinstance(await got(path, READER), dict)
        assert isinstance(await got(path, READER), dict)  # from what is kept
        assert await got(path, WRITER) == 404
    assert await got(f"/schemas/ids/{invoices['id']}/subjects", WRITER) == []


async def test_an_alias_opens_no_door(guarded: httpx.AsyncClient) -> None:
    made = await guarded.put("/config/orders.alias", json={"alias": "invoices"}, headers=OWNER)
    assert made.status_code == 200
    assert (await guarded.get("/subjects/orders.alias/versions/1", headers=ROBOT)).json()["subject"] == "invoices"
    assert (await guarded.get("/subjects/orders.alias/versions/1", headers=OWNER)).status_code == 403
    assert (await guarded.post("/subjects/orders.alias/versions", json=schema("z"), headers=OWNER)).status_code == 403


async def test_what_is_kept_for_one_is_not_shown_to_another(guarded: httpx.AsyncClient) -> None:
    path = "/subjects/invoices/versions/1"
    for _ in range(3):
        assert (await guarded.get(path, headers=READER)).status_code == 200
        assert (await guarded.get(path, headers=WRITER)).status_code == 403
        assert (await guarded.get(path)).status_code == 401


async def test_wrong_passwords_keep_nobody_waiting_for_long(
    guarded: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(users, "WAITING", 4)
    assert (await guarded.get("/subjects", headers=READER)).status_code == 200

    async def asked(headers: dict[str, str]) -> int:
        return (await guarded.get("/subjects", headers=headers)).status_code

    wrong = [asyncio.create_task(asked(basic("reader", f"wrong{n}"))) for n in range(20)]
    same = [asyncio.create_task(asked(basic("reader", "wrong0"))) for _ in range(20)]
    assert [await asked(headers) for headers in (READER, ROBOT)] == [200, 200]
    assert sorted(await asyncio.gather(*wrong)) == [401] * 4 + [503] * 16
    assert set(await asyncio.gather(*same)) == {401}
    assert set(await asyncio.gather(*(asked(OWNER) for _ in range(20)))) == {200}
    monkeypatch.setattr(users, "WAITING", 0)
    assert await asked(basic("reader", "wrong")) == 503
    health = await guarded.get("/health", headers=basic("reader", "wrong"))
    assert health.status_code == 200, "it asks nobody who they are"


async def test_who_says_nothing_has_the_rights_of_anonymous(tmp_path: Path) -> None:
    file = tmp_path / "users.toml"
    file.write_text('[anonymous]\nrights = { "public." = "write" }\n' + FILE)
    async with opened(Options(users=read_users(file))) as client:
        assert (await client.post("/subjects/public.s/versions", json=schema("a"))).status_code == 200
        assert (await client.post("/subjects/orders.s/versions", json=schema("a"))).status_code == 403
        assert (await client.get("/subjects", headers=basic("reader", "wrong"))).status_code == 401


async def test_no_spelling_of_a_subject_gets_round_a_right(guarded: httpx.AsyncClient) -> None:
    for subject in ("orders.secret.x", ":.:orders.secret.x"):
        answers = [
            await guarded.get(f"/subjects/{subject}/versions/1", headers=OWNER),
            await guarded.get(f"/contexts/%2E/subjects/{subject}/versions/1", headers=OWNER),
            await guarded.post(f"/subjects/{subject}/versions", json=schema("b"), headers=COLON),
            await guarded.delete(f"/subjects/{subject}?permanent=true", headers=COLON),
            await guarded.put(f"/config/{subject}", json={"compatibility": "NONE"}, headers=COLON),
        ]
        assert [each.status_code for each in answers] == [403] * 5, subject


async def test_what_is_global_has_no_other_name(guarded: httpx.AsyncClient) -> None:
    for scope in ("", "/:.:", "/:.__GLOBAL:"):
        answer = await guarded.put(f"/config{scope}", json={"compatibility": "NONE"}, headers=COLON)
        assert answer.status_code == 403, scope


async def test_a_subject_of_another_context_is_not_found_without_a_right_to_it(guarded: httpx.AsyncClient) -> None:
    await guarded.post("/subjects/:.hidden:orders.x/versions", json=schema("h"), headers=ROBOT)
    tags = [{"schemaEntity": {"entityPath": "R", "entityType": "sr_record"}, "tags": ["t"]}]
    answers = [
        await guarded.get("/subjects/orders.x/versions/1", headers=WRITER),
        await guarded.get("/subjects/orders.x/versions/latest/schema", headers=WRITER),
        await guarded.get("/subjects/orders.x/versions/1/referencedby", headers=WRITER),
        await guarded.post("/subjects/orders.x", json=schema("h"), headers=WRITER),
        await guarded.post("/subjects/orders.x/versions", json={"schemaTagsToAdd": tags}, headers=WRITER),
    ]
    assert [each.json().get("error_code") for each in answers] == [40401] * 5
    assert (await guarded.get("/subjects/orders.x/versions/1", headers=ROBOT)).json()["subject"] == ":.hidden:orders.x"


async def test_a_reference_shows_nothing_that_may_not_be_read(guarded: httpx.AsyncClient) -> None:
    body = {"schema": '["null","R"]', "references": [{"name": "R", "subject": "invoices", "version": 1}]}
    for path in (
        "/subjects/orders.mine/versions",
        "/compatibility/subjects/orders.mine/versions?verbose=true",
        "/compatibility/subjects/orders.mine/versions/latest?verbose=true",
    ):
        answer = await guarded.post(path, json=body, headers=WRITER)
        assert (answer.status_code, "'invoices'" in answer.text) == (403, True), path
    wanted = [{"subject": "orders.mine", "schema": body}]
    resource = {"resourceName": "t", "resourceNamespace": "n", "resourceId": "i", "associations": wanted}
    assert (await guarded.post("/associations", json=resource, headers=WRITER)).status_code == 403
    assert (await guarded.post("/subjects/orders.mine/versions", json=body, headers=ROBOT)).status_code == 200


async def test_an_administrator_may_come_by_the_environment() -> None:
    async with opened(Options(users=read_users(None, "root:a:b"))) as client:
        assert (await client.get("/subjects")).status_code == 401
        answer = await client.put("/config", json={"compatibility": "FULL"}, headers=basic("root", "a:b"))
        assert answer.status_code == 200


async def test_each_write_leaves_a_line_and_no_secret(
    guarded: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        await guarded.post("/subjects/orders.new/versions", json=schema("a"), headers=WRITER)
        await guarded.delete("/subjects/orders.new", headers=READER)
        await guarded.get("/subjects", headers=ROBOT)
    lines = [record.getMessage() for record in caplog.records if record.name == "waybill.registry.audit"]
    assert len(lines) == 2
    assert '"user": "writer"' in lines[0]
    assert '"operation": "register"' in lines[0]
    assert '"subject": "orders.new"' in lines[0]
    assert '"user": "reader"' in lines[1]
    assert '"status": 403' in lines[1]
    assert "password" not in caplog.text
    assert TOKEN not in caplog.text


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[users.a]\nrights = {}", "neither a password nor a token"),
        ('[users.a]\npassword = "plain"\nrights = {}', "must be a hash"),
        ('[users.a]\ntoken = "plain"\nrights = {}', "must be a hash"),
        (f'[users.a]\npassword = "{PASSWORDS["half"][:-3]}"\nrights = {{}}', "must be a hash"),
        (f'[users.a]\npassword = "{PASSWORDS["half"].replace("$8$", "$0$")}"\nrights = {{}}', "must be a hash"),
        (
            f'[users.a]\ntoken = "{hash_token("x")}"\nrights = {{ "" = "all" }}',
            "must be one of none, read, write, admin",
        ),
        ("[users.a]\nright = {}", "unknown field"),
        ("users = 1", "users"),
        ("[users", "cannot be used"),
    ],
)
def test_a_file_of_users_that_is_wrong_says_where(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "users.toml"
    file.write_text(text)
    with pytest.raises(ConfigurationError, match=says):
        read_users(file)


def test_a_file_of_users_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"missing\.toml"):
        read_users(tmp_path / "missing.toml")
