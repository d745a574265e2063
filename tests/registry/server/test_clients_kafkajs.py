"""npm's `@kafkajs/confluent-schema-registry`, as it is, against a running server."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from tests.registry.server.node import installed, script
from tests.registry.server.processes import Server

ROUND = """
const { SchemaRegistry, SchemaType } = require('@kafkajs/confluent-schema-registry')
const [host, subject] = process.argv.slice(1)
const fields = [{ name: 'id', type: 'string' }, { name: 'total', type: 'long' }]
const order = JSON.stringify({ type: 'record', name: 'Order', namespace: 'shop', fields })
const must = JSON.stringify({ type: 'record', name: 'Order', namespace: 'shop', fields: [...fields, { name: 'must', type: 'string' }] })
const avro = schema => ({ type: SchemaType.AVRO, schema })

const main = async () => {
  const registry = new SchemaRegistry({ host })
  const { id } = await registry.register(avro(order), { subject })
  const again = await new SchemaRegistry({ host }).register(avro(order), { subject })
  const data = await registry.encode(id, { id: 'a-1', total: 7 })
  const other = new SchemaRegistry({ host })
  const failed = await registry.register(avro(must), { subject }).then(() => null, error => ({ status: error.status, text: error.message }))
  const level = await other.register(avro(order), { subject, compatibility: 'FULL' }).then(() => null, error => error.message)
  const missing = await other.getSchema(999999).then(() => null, error => error.status)
  console.log(JSON.stringify({
    id, again: again.id, magic: data[0], at: data.readInt32BE(1), decoded: await other.decode(data),
    latest: await other.getLatestSchemaId(subject), found: await other.getRegistryIdBySchema(subject, avro(order)),
    byVersion: await other.getRegistryId(subject, 1), failed, level, missing
  }))
}
main().catch(error => { console.error(error); process.exit(1) })
"""


@pytest.fixture(scope="module")
def package() -> Path:
    return installed()


def test_its_methods(running: Server, package: Path) -> None:
    subject = f"kafkajs-{uuid.uuid4().hex[:8]}"
    found = script(package, ROUND, running.url, subject)
    assert isinstance(found, dict)
    id_ = found["id"]
    failed = found.pop("failed")
    level = found.pop("level")
    assert found == {
        "id": id_,
        "again": id_,
        "magic": 0,
        "at": id_,
        "decoded": {"id": "a-1", "total": 7},
        "latest": id_,
        "found": id_,
        "byVersion": id_,
        "missing": 404,
    }
    assert failed["status"] == 409
    assert "must" in failed["text"]
    assert "BACKWARD" in level
