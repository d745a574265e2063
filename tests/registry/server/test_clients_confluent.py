"""confluent-kafka's client, serializer and deserializer, as they are, against a running server."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from confluent_kafka.schema_registry import (
    ConfigCompatibilityLevel,
    Metadata,
    MetadataProperties,
    Schema,
    SchemaReference,
    SchemaRegistryClient,
    ServerConfig,
)
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.schema_registry.error import SchemaRegistryError
from confluent_kafka.serialization import MessageField, SerializationContext

from tests.registry.server.processes import Server

ORDER = {
    "type": "record",
    "name": "Order",
    "namespace": "shop",
    "fields": [{"name": "id", "type": "string"}, {"name": "total", "type": "long"}],
}
WIDER = {**ORDER, "fields": [*ORDER["fields"], {"name": "note", "type": ["null", "string"], "default": None}]}
BROKEN = {**ORDER, "fields": [*ORDER["fields"], {"name": "must", "type": "string"}]}


@pytest.fixture
def registry(running: Server) -> Iterator[SchemaRegistryClient]:
    with SchemaRegistryClient({"url": running.url}) as client:
        yield client


@pytest.fixture
def subject() -> str:
    return f"confluent-{uuid.uuid4().hex[:8]}-value"


def avro(value: object, **more: object) -> Schema:
    return Schema(json.dumps(value), "AVRO", **more)


def refused(error: pytest.ExceptionInfo[SchemaRegistryError]) -> tuple[int, int]:
    return error.value.http_status_code, error.value.error_code


def test_schemas_are_registered_found_and_deleted(registry: SchemaRegistryClient, subject: str) -> None:
    first = registry.register_schema_full_response(subject, avro(ORDER))
    assert registry.register_schema(subject, avro(ORDER), normalize_schemas=True) == first.schema_id
    second = registry.register_schema(subject, avro(WIDER))
    assert second != first.schema_id

    assert json.loads(registry.get_schema(first.schema_id).schema_str) == ORDER
    assert json.loads(registry.get_schema(second, subject_name=subject, fmt="resolved").schema_str) == WIDER
    assert json.loads(registry.get_schema_by_guid(first.guid).schema_str) == ORDER
    assert "AVRO" in registry.get_schema_types()
    assert registry.get_subjects_by_schema_id(second) == [subject]
    assert [(one.subject, one.version) for one in registry.get_schema_versions(second)] == [(subject, 2)]

    found = registry.lookup_schema(subject, avro(ORDER))
    assert (found.version, found.schema_id, found.guid) == (1, first.schema_id, first.guid)
    assert subject in registry.get_subjects()
    assert registry.get_subjects(subject_prefix=subject[:-6]) == [subject]
    assert registry.get_versions(subject) == [1, 2]
    assert registry.get_latest_version(subject).version == 2
    assert registry.get_version(subject, 1).schema_id == first.schema_id
    assert registry.get_referenced_by(subject, 1) == []

    assert registry.delete_version(subject, 1) == 1
    assert registry.get_versions(subject) == [2]
    assert registry.get_versions(subject, deleted=True) == [1, 2]
    assert registry.get_version(subject, 1, deleted=True).version == 1
    assert registry.delete_version(subject, 1, permanent=True) == 1
    assert registry.delete_subject(subject) == [2]
    assert registry.delete_subject(subject, permanent=True) == [2]
    with pytest.raises(SchemaRegistryError) as error:
        registry.get_versions(subject)
    assert refused(error) == (404, 40401)


def test_compatibility_is_checked_and_set(registry: SchemaRegistryClient, subject: str) -> None:
    registry.register_schema(subject, avro(ORDER))
    assert registry.test_compatibility(subject, avro(WIDER))
    assert not registry.test_compatibility(subject, avro(BROKEN), version=1)
    assert not registry.test_compatibility_all_versions(subject, avro(BROKEN))
    with pytest.raises(SchemaRegistryError) as error:
        registry.register_schema(subject, avro(BROKEN))
    assert refused(error) == (409, 40901)
    assert "must" in error.value.error_message

    with pytest.raises(SchemaRegistryError) as error:
        registry.get_compatibility(subject)
    assert refused(error) == (404, 40408)
    assert registry.get_compatibility() == "BACKWARD"
    assert registry.set_compatibility(subject, "forward")["compatibility"] == "FORWARD"
    assert registry.get_compatibility(subject) == "FORWARD"
    registry.register_schema(subject, avro(BROKEN))

    assert registry.set_config(subject, ServerConfig(ConfigCompatibilityLevel.FULL, compatibility_group="major"))
    found = registry.get_config(subject)
    assert (found.compatibility_level, found.compatibility_group) == ("FULL", "major")
    registry.delete_config(subject)
    with pytest.raises(SchemaRegistryError) as error:
        registry.get_config(subject)
    assert refused(error) == (404, 40408)


def test_references_and_metadata(registry: SchemaRegistryClient, subject: str) -> None:
    base = f"{subject}-base"
    money = {"type": "record", "name": "Money", "namespace": "shop", "fields": [{"name": "cents", "type": "long"}]}
    registry.register_schema(base, avro(money))
    using = {"type": "record", "name": "Bill", "fields": [{"name": "sum", "type": "shop.Money"}]}
    properties = Metadata(tags=None, properties=MetadataProperties({"owner": "billing", "team": "a"}), sensitive=None)
    schema = avro(using, references=[SchemaReference("shop.Money", base, 1)], metadata=properties)
    made = registry.register_schema(subject, schema)

    assert registry.get_referenced_by(base, 1) == [made]
    assert registry.get_latest_with_metadata(subject, {"owner": "billing", "team": "a"}).schema_id == made
    with pytest.raises(SchemaRegistryError) as error:
        registry.get_latest_with_metadata(subject, {"owner": "nobody"})
    assert refused(error)[0] == 404
    found = registry.get_schema(made)
    assert found.references == [SchemaReference("shop.Money", base, 1)]
    assert found.metadata.properties.properties == {"owner": "billing", "team": "a"}
    registry.clear_caches()
    assert '"cents"' in registry.get_schema(made, fmt="resolved").schema_str
    with pytest.raises(SchemaRegistryError) as error:
        registry.delete_subject(base)
    assert refused(error) == (422, 42206)


def test_modes_and_contexts(registry: SchemaRegistryClient, subject: str) -> None:
    assert registry.get_global_mode() == "READWRITE"
    registry.register_schema(subject, avro(ORDER))
    assert registry.update_mode(subject, "READONLY") == "READONLY"
    assert registry.get_mode(subject) == "READONLY"
    with pytest.raises(SchemaRegistryError) as error:
        registry.register_schema(subject, avro(WIDER))
    assert refused(error) == (422, 42205)
    assert registry.delete_mode(subject) == "READONLY"
    with pytest.raises(SchemaRegistryError) as error:
        registry.get_mode(subject)
    assert refused(error) == (404, 40409)
    registry.register_schema(f":.{subject}:s", avro(ORDER))
    assert f".{subject}" in registry.get_contexts()


@dataclass
class Placed:
    id: str
    total: int


@pytest.mark.parametrize(
    "conf", [{}, {"auto.register.schemas": False}, {"auto.register.schemas": False, "use.latest.version": True}]
)
def test_a_serializer_and_a_deserializer_go_round(
    registry: SchemaRegistryClient, subject: str, conf: dict[str, object]
) -> None:
    registry.register_schema(subject, avro(ORDER))
    place = SerializationContext(subject.removesuffix("-value"), MessageField.VALUE)
    write = AvroSerializer(registry, json.dumps(ORDER), lambda order, _: vars(order), conf)
    data = write(Placed("a-1", 7), place)
    assert data[0] == 0
    assert int.from_bytes(data[1:5]) == registry.get_latest_version(subject).schema_id
    read = AvroDeserializer(registry, json.dumps(WIDER))
    assert read(data, place) == {"id": "a-1", "total": 7, "note": None}
