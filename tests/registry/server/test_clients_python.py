"""python-schema-registry-client, as it is, against a running server."""

from __future__ import annotations

import uuid

import pytest
from schema_registry.client import SchemaRegistryClient, schema  # noqa: TID251 - that is its name
from schema_registry.client.errors import ClientError  # noqa: TID251 - that is its name
from schema_registry.serializers import AvroMessageSerializer  # noqa: TID251 - that is its name

from tests.registry.server.processes import Server

USER = {
    "type": "record",
    "name": "User",
    "fields": [{"name": "name", "type": "string"}, {"name": "age", "type": "int", "default": 0}],
}
BROKEN = {**USER, "fields": [*USER["fields"], {"name": "must", "type": "string"}]}


@pytest.fixture
def registry(running: Server) -> SchemaRegistryClient:
    return SchemaRegistryClient(running.url)


def test_its_methods(registry: SchemaRegistryClient, running: Server) -> None:
    subject = f"python-{uuid.uuid4().hex[:8]}"
    user, broken = schema.AvroSchema(USER), schema.AvroSchema(BROKEN)
    made = registry.register(subject, user)
    assert registry.register(subject, user) == made
    assert registry.get_by_id(made).raw_schema == USER
    assert registry.get_schema(subject).schema_id == made
    assert registry.get_schema(subject, version=1).version == 1
    assert registry.get_versions(subject) == [1]
    assert subject in registry.get_subjects()
    assert registry.check_version(subject, user).schema_id == made
    assert registry.check_version(subject, broken) is None
    assert [(one.subject, one.version) for one in registry.get_schema_subject_versions(made)] == [(subject, 1)]
    assert registry.test_compatibility(subject, user)
    assert not registry.test_compatibility(subject, broken)
    with pytest.raises(ClientError) as error:
        registry.register(subject, broken)
    assert error.value.http_code == 409
    assert registry.update_compatibility("FULL", subject)
    assert registry.get_compatibility(subject) == "FULL"
    assert registry.delete_version(subject, 1) == 1
    assert SchemaRegistryClient(running.url).register(subject, user) == made
    assert registry.delete_subject(subject) == [2]


def test_its_serializer_goes_round(registry: SchemaRegistryClient) -> None:
    subject = f"python-{uuid.uuid4().hex[:8]}"
    serializer = AvroMessageSerializer(registry)
    data = serializer.encode_record_with_schema(subject, schema.AvroSchema(USER), {"name": "Ada", "age": 36})
    assert serializer.decode_message(data) == {"name": "Ada", "age": 36}
