"""Input that is too large, too deep or a trap: the API's own error, quickly, and the server goes on."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from tests.registry.server.processes import Server


def nested(depth: int) -> Any:
    made: Any = "string"
    for _ in range(depth):
        made = {"type": "array", "items": made}
    return made


def wide(fields: int) -> Any:
    return {"type": "record", "name": "Wide", "fields": [{"name": f"f{n}", "type": "string"} for n in range(fields)]}


SELF = {"type": "record", "name": "Self", "fields": [{"name": "me", "type": "Self"}]}

CASES: dict[str, tuple[bytes, set[tuple[int, int]]]] = {
    "10 MB of schema": (json.dumps({"schema": json.dumps(wide(280_000))}).encode(), {(422, 42209), (422, 42201)}),
    "more than is read": (b" " * 17_000_000, {(413, 413)}),
    "10,000 fields": (
        json.dumps({"schema": json.dumps(wide(10_000))}).encode(),
        {(200, 0), (422, 42201), (422, 42209)},
    ),
    "nested 1,000 deep": (json.dumps({"schema": json.dumps(nested(900))}).encode(), {(422, 42201)}),
    "nested 100,000 deep": (
        json.dumps({"schema": '{"type":"array","items":' * 100_000 + '"int"' + "}" * 100_000}).encode(),
        {(422, 42201), (422, 42209)},
    ),
    "body nested 100,000 deep": (b'{"schema":' * 100_000 + b"1" + b"}" * 100_000, {(400, 400)}),
    "a record that holds itself": (json.dumps({"schema": json.dumps(SELF)}).encode(), {(422, 42201)}),
    "a name that is a path": (
        json.dumps({"schema": json.dumps({"type": "record", "name": "../../etc/passwd", "fields": []})}).encode(),
        {(422, 42201)},
    ),
    "no schema": (b"{}", {(422, 42201)}),
    "a lone surrogate": (b'{"schema": "\\"\\ud800\\""}', {(400, 400), (422, 42201)}),
    "a million references": (
        b'{"schema": "\\"int\\"", "references": ['
        + b",".join(b'{"name": "a", "subject": "b", "version": 1}' for _ in range(100_000))
        + b"]}",
        {(422, 42201), (422, 42209)},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_refused_is_refused_by_the_api(running: Server, name: str) -> None:
    body, expected = CASES[name]
    began = time.monotonic()
    status, answer = running.ask("POST", "/subjects/hostile/versions?force=false", body)
    assert time.monotonic() - began < 10
    code = answer.get("error_code", 0)
    assert (status, code) in expected, answer
    assert "Traceback" not in str(answer)
    assert len(str(answer)) < 20_000
    assert running.ask("GET", "/health")[0] == 200


def record(**more: Any) -> str:
    return json.dumps({"type": "record", "name": "R", "fields": [{"name": "a", "type": "string"}], **more})


PII = [{"schemaEntity": {"entityPath": "R", "entityType": "sr_record"}, "tags": ["x"]}]
ODD: list[dict[str, Any]] = [
    {"schema": record(doc="\ud800")},
    {"schema": record(doc="\0")},
    {"schema": record(**{"\ud800": 1})},
    {"schema": record(), "metadata": {"properties": {"a": "\0", "\0": "b"}}},
    {"schema": record(fields=[{"name": "a", "type": "long", "default": 10**4000}])},
    {"schema": '{"type":"record","name":"R","fields":[{"name":"a","type":"long","default":' + "9" * 5000 + "}]}"},
    {"schema": '{"type":"record","name":"R","fields":[{"name":"a","type":"double","default":1e999}]}'},
    {"schema": '{"type":"record","name":"R","fields":[{"name":"a","type":"double","default":NaN}]}'},
    {"schema": record(), "id": 10**30},
    {"schema": record(), "id": 2**31},
    {"schema": record(), "version": 10**30},
    {"schema": record(), "version": -5},
    {"schema": record(), "references": [{"name": "x", "subject": "y", "version": 10**30}]},
    {"schema": record(), "references": [{"name": "x", "subject": "odd", "version": -1}]},
    {"schema": record(), "references": [{"name": "\0", "subject": "\0", "version": 1}]},
    {"schema": '{"type":"fixed","name":"F","size":' + "9" * 40 + "}"},
    {"schema": record(fields=[{"name": "a", "type": "int"}] * 2)},
    {"schema": record(fields={"a": 1})},
    {"schema": '{"type": 7}'},
    *({"schema": text} for text in ("null", "true", "1e400", "[]", '"\\ud800"', "{}", '{"type":[]}')),
    {"schema": record(aliases=[1, None])},
    {"schema": record(namespace="..")},
    {"schema": record(namespace=5)},
    {"schema": '{"type":"bytes","logicalType":"decimal","precision":1e999,"scale":-1}'},
    {"schema": '{"type":"bytes","logicalType":"decimal","precision":' + "9" * 400 + "}"},
    {"schema": record(), "ruleSet": {"domainRules": [{"name": "\0", "kind": "x", "mode": "y"}]}},
    {"schema": record(), "schemaTagsToAdd": PII},
    {"schema": "[[[", "schemaTagsToAdd": PII},
    {"schema": "[" * 100_000, "schemaTagsToAdd": PII},
    {"schema": '{"type":"record","fields":[1,{"type":5}]}', "schemaTagsToAdd": PII},
    {"schema": '{"type":"record","name":"R","fields":7}', "schemaTagsToAdd": PII},
    {"schemaTagsToAdd": PII},
]
"""Each of them is taken or refused; none is a failure of the server."""
SETTINGS: list[tuple[str, str, dict[str, Any]]] = [
    (
        "PUT",
        "/config/odd",
        {"defaultMetadata": {"properties": {"\0": "\0"}}, "alias": "\0", "compatibilityGroup": "\0"},
    ),
    ("PUT", "/config/%00", {"compatibility": "NONE"}),
    ("PUT", "/config/:.%01:", {"compatibility": "NONE"}),
    ("PUT", "/config/:.", {"compatibility": "NONE"}),
    ("PUT", "/contexts/%00/config", {"compatibility": "NONE"}),
    ("PUT", "/mode/%00", {"mode": "READONLY"}),
    ("POST", "/subjects/:.x/versions", {"schema": '"int"'}),
    ("POST", "/subjects/:.x:/versions", {"schema": '"int"'}),
    ("POST", "/subjects/:*:x/versions", {"schema": '"int"'}),
    ("POST", f"/subjects/{'x' * 5000}/versions", {"schema": '"int"'}),
    ("DELETE", "/contexts/%00", {}),
    ("POST", "/associations", {"resourceName": "\0", "resourceNamespace": "\0", "resourceId": "\0"}),
]


def failures(one: Server) -> list[object]:
    """What the server could not answer of all that is odd."""
    found: list[object] = []
    for mode in ("IMPORT", "READWRITE"):
        assert one.ask("PUT", "/contexts/.odd/mode?force=true", {"mode": mode})[0] == 200
        for number, body in enumerate(ODD):
            for path in (f"/subjects/odd-{number}/versions", "/subjects/odd", "/compatibility/subjects/odd/versions"):
                status, answer = one.ask("POST", f"/contexts/.odd{path}?verbose=true", body)
                if status >= 500:
                    found.append((mode, str(body)[:80], path, answer))
    for method, path, body in SETTINGS:
        status, answer = one.ask(method, path, body)
        if status >= 500:
            found.append((method, path, answer))
    lists = ("/subjects", "/schemas", "/contexts", "/config/odd", "/subjects/odd/versions")
    found += [path for path in lists if one.ask("GET", path)[0] >= 500]
    one.ask("DELETE", "/config/odd")
    return found


def test_what_is_odd_is_taken_or_refused(running: Server) -> None:
    assert failures(running) == []


def test_many_questions_at_once_are_all_answered(running: Server) -> None:
    """100 concurrent registrations of the same new schema: one id."""
    from concurrent.futures import ThreadPoolExecutor

    def register(number: int) -> int:
        return running.register(f"many-{number % 3}", {"type": "enum", "name": "Same", "symbols": ["A", "B"]})

    with ThreadPoolExecutor(100) as pool:
        assert len(set(pool.map(register, range(100)))) == 1
    assert [running.ask("GET", f"/subjects/many-{n}/versions") for n in range(3)] == [(200, [1])] * 3
