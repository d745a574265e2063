"""What answers mean: registries that differ, servers that are none, and servers that cannot answer now."""

from __future__ import annotations

import base64
import json

import pytest

from tests.registry.client.scripted import Answer, Request, Script, scripted
from waybill_schema_registry import (
    Access,
    Conflict,
    Forbidden,
    Incompatible,
    Invalid,
    InvalidSchema,
    Level,
    NotFound,
    Registry,
    RegistryError,
    RegistryUnavailable,
    Schema,
)

QUICK = Access(backoff=0.001)
ONCE = Access(retries=0)
AWAY = "http://127.0.0.1:1"
STRING = Schema(text='"string"')


def refused(code: object, message: str = "why", **more: object) -> str:
    return json.dumps({"error_code": code, "message": message, **more})


@pytest.mark.parametrize(
    ("answer", "kind", "code"),
    [
        (Answer(404, refused(40403)), NotFound, 40403),
        (Answer(404, refused(40401)), NotFound, 40401),
        (Answer(404, refused(404, name="ArtifactNotFoundException")), NotFound, 404),  # Apicurio
        (Answer(409, refused(40901)), Incompatible, 40901),
        (Answer(409, refused(409)), Incompatible, 40901),  # Karapace
        (Answer(409, refused(40902)), Conflict, 40902),
        (Answer(422, refused(42201)), InvalidSchema, 42201),
        (Answer(422, refused(42205)), Invalid, 42205),
        (Answer(400, refused(400)), Invalid, 400),
        (Answer(413, ""), InvalidSchema, 41300),
        (Answer(401, refused(40101)), Forbidden, 40101),
        (Answer(401, "<html>"), Forbidden, 401),
        (Answer(403, refused(40301)), Forbidden, 40301),
        (Answer(500, refused(50001)), RegistryUnavailable, 50001),
        (Answer(503, "<html>"), RegistryUnavailable, 50300),
        (Answer(405, refused(405)), RegistryError, 405),
    ],
)
async def test_an_error_is_ours(answer: Answer, kind: type[RegistryError], code: int) -> None:
    async with scripted(lambda _: answer) as server, Registry(server.url, ONCE) as registry:
        with pytest.raises(RegistryError) as caught:
            await registry.register_schema("s", STRING)
    assert type(caught.value) is kind
    assert caught.value.code == code


NO_REGISTRIES = [
    Answer(404, "<html>not here</html>"),
    Answer(404, ""),
    Answer(404, refused(404, "HTTP 404 Not Found")),  # Confluent's server, of a path it does not know
    Answer(404, '{"detail": "Not Found"}'),
    Answer(404, '{"status": 404, "error": "Not Found", "path": "/schemas"}'),
    Answer(200, "<html>welcome</html>"),
    Answer(200, "[1, 2]"),
    Answer(200, '{"schema": 7}'),
    Answer(200, b"\xff\xfe"),
    Answer(200, "[" * 100_000),
    Answer(302, "", {"Location": "http://169.254.169.254/"}),
]


@pytest.mark.parametrize("answer", NO_REGISTRIES, ids=range(len(NO_REGISTRIES)))
async def test_what_is_no_registry_says_nothing_about_a_schema(answer: Answer) -> None:
    """It must not look like a schema that nobody has: messages would be dead letters."""
    async with scripted(lambda _: answer) as server, Registry(server.url, QUICK) as registry:
        with pytest.raises(RegistryUnavailable, match=r"not as a registry does.*Check the URL"):
            await registry.get_schema(1)
    assert len(server.asked) == 1  # neither again nor elsewhere


async def test_a_server_that_cannot_answer_now_is_asked_again() -> None:
    answers = [Answer(503), None, Answer(429), Answer(200, '{"schema": "\\"string\\""}')]

    async with scripted(lambda _: answers.pop(0)) as server, Registry(server.url, QUICK) as registry:
        assert await registry.get_schema(1) == STRING
    assert len(server.asked) == 4


async def test_it_is_not_asked_for_ever() -> None:
    async with scripted(lambda _: Answer(503, refused(50002, "later"))) as server:
        async with Registry(server.url, Access(retries=2, backoff=0.001)) as registry:
            with pytest.raises(RegistryUnavailable, match=r"cannot answer now \(503\): later"):
                await registry.get_schema(1)
        assert len(server.asked) == 3


@pytest.mark.parametrize("answer", [None, Answer(500), Answer(502), Answer(504)], ids=["cut", "500", "502", "504"])
async def test_a_deletion_that_may_have_been_done_is_not_asked_for_again(answer: Answer | None) -> None:
    """Its second answer would be that there is no such subject."""
    async with scripted(lambda _: answer) as server, Registry(server.url, QUICK) as registry:
        with pytest.raises(RegistryUnavailable):
            await registry.delete_subject("s")
    assert len(server.asked) == 1


@pytest.mark.parametrize("status", [429, 503])
async def test_a_deletion_that_was_not_begun_is_asked_for_again(status: int) -> None:
    answers = [Answer(status), Answer(200, "[1]")]
    async with scripted(lambda _: answers.pop(0)) as server, Registry(server.url, QUICK) as registry:
        assert list(await registry.delete_subject("s")) == [1]


async def test_the_next_server_is_asked_where_one_is_away() -> None:
    async with scripted(lambda _: Answer(200, "[1]")) as server, Registry(f"{AWAY},{server.url}", ONCE) as registry:
        assert list(await registry.get_versions("s")) == [1]
        assert list(await registry.get_versions("s")) == [1]


async def test_a_server_that_is_away_is_named_without_its_password() -> None:
    async with Registry("http://user:s3/cr3t@127.0.0.1:1", ONCE) as registry:
        with pytest.raises(RegistryUnavailable, match=r"http://127\.0\.0\.1:1 cannot be reached") as caught:
            await registry.get_schema(1)
    assert "cr3t" not in str(caught.value)


async def test_an_answer_that_never_ends_is_waited_for_no_longer_than_asked() -> None:
    impatient = Access(timeout=0.2, retries=0)
    async with scripted(lambda _: Answer(200, "[]", hangs=60)) as server, Registry(server.url, impatient) as registry:
        with pytest.raises(RegistryUnavailable, match="cannot be reached"):
            await registry.get_subjects()


async def test_an_answer_that_is_too_long_is_refused() -> None:
    answer, access = Answer(200, json.dumps(["s" * 100_000])), Access(largest=1000)
    async with scripted(lambda _: answer) as server, Registry(server.url, access) as registry:
        with pytest.raises(RegistryUnavailable, match="longer than 1000 bytes"):
            await registry.get_subjects()


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.mark.parametrize(
    ("credentials", "access", "environment", "sent"),
    [
        ("", Access(), {}, None),
        ("u:p%2Fq@", Access(), {}, basic("u", "p/q")),
        ("u:p/q@", Access(), {}, basic("u", "p/q")),
        ("u@", Access(), {"PASSWORD": "x"}, basic("u", "x")),
        ("u:p@", Access(user="v", password="ü"), {}, basic("v", "ü")),
        ("u:p@", Access(token="abc"), {"USER": "w"}, "Bearer abc"),
        ("u:p@", Access(), {"TOKEN": "abc"}, basic("u", "p")),
        ("", Access(), {"TOKEN": "abc"}, "Bearer abc"),
        ("", Access(), {"USER": "w", "PASSWORD": "x"}, basic("w", "x")),
    ],
)
async def test_who_asks(
    credentials: str, access: Access, environment: dict[str, str], sent: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(f"WAYBILL_REGISTRY_{name}", value)
    async with scripted(lambda _: Answer(200, "[]")) as server:
        async with Registry(server.url.replace("//", f"//{credentials}"), access) as registry:
            await registry.get_subjects()
        assert server.asked[0].headers.get("authorization") == sent


async def test_names_that_mean_something_in_paths_are_names() -> None:
    async with scripted(lambda _: Answer(200, "[1]")) as server, Registry(server.url) as registry:
        for subject in ("a/b", "..", ".", ":.ctx:s", "ü ?#%", ""):
            await registry.get_versions(subject)
    assert [request.path.partition("?")[0] for request in server.asked] == [
        "/subjects/a%2Fb/versions",
        "/subjects/%2E%2E/versions",
        "/subjects/%2E/versions",
        "/subjects/%3A.ctx%3As/versions",
        "/subjects/%C3%BC%20%3F%23%25/versions",
        "/subjects//versions",
    ]


# Registries that differ from Confluent's latest one.


async def test_a_registry_that_says_the_id_only() -> None:
    """Confluent's before 8, and Karapace."""

    def script(request: Request) -> Answer:
        if request.path.startswith("/subjects/s/versions"):
            return Answer(200, '{"id": 7}')
        return Answer(200, '{"subject": "s", "id": 7, "version": 3, "schema": "\\"string\\""}')

    async with scripted(script) as server, Registry(server.url) as registry:
        made = await registry.register_schema("s", STRING)
    assert (made.id, made.version, made.guid, made.schema) == (7, 3, "", STRING)


def karapace(level: str, broken: set[str]) -> Script:
    """No path for the history as a whole; messages for single versions. broken: the versions that do not fit."""

    def script(request: Request) -> Answer:
        path = request.path.partition("?")[0]
        if path.startswith("/config/"):
            return Answer(404, refused(40401)) if "defaultToGlobal" in request.path else Answer(404)
        if path == "/config":
            return Answer(200, json.dumps({"compatibilityLevel": level}))
        if path == "/subjects/s/versions":
            return Answer(200, "[1, 2, 3]")
        if path.startswith("/compatibility/subjects/s/versions/"):
            fits = path.rpartition("/")[2] not in broken
            return Answer(
                200, json.dumps({"is_compatible": fits, "messages": [] if fits else [f"broken by {path[-1]}"]})
            )
        return Answer(404, '{"detail": "Not Found"}')

    return script


@pytest.mark.parametrize(
    ("level", "broken", "messages"),
    [
        ("BACKWARD", {"1"}, []),
        ("BACKWARD", {"3"}, ["broken by 3"]),
        ("BACKWARD_TRANSITIVE", {"1", "2"}, ["broken by 2"]),
        ("NONE", set[str](), []),
    ],
)
async def test_karapace_is_asked_about_each_version(level: str, broken: set[str], messages: list[str]) -> None:
    async with scripted(karapace(level, broken)) as server, Registry(server.url) as registry:
        assert list(await registry.test_compatibility("s", STRING)) == messages
        assert await registry.get_compatibility("s") is Level(level)


async def test_unknown_members_are_left_alone_and_missing_ones_have_defaults() -> None:
    body = '{"subject": "s", "version": 1, "id": 2, "schema": "\\"string\\"", "newer": {"x": 1}, "references": null}'
    async with scripted(lambda _: Answer(200, body)) as server, Registry(server.url) as registry:
        found = await registry.get_latest_version("s")
    assert found.schema == STRING
    assert found.at == 0
