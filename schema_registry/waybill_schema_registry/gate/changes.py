"""What has changed between two versions of a schema, in few words."""

from __future__ import annotations

from waybill_schema_registry.formats.avro.differences import differences_of
from waybill_schema_registry.formats.avro.parsed import AvroSchema
from waybill_schema_registry.formats.avro.schema import Enum, Node, Record, named_types

__all__ = ["changed", "kept"]


def changed(old: AvroSchema, new: AvroSchema) -> list[str]:
    """Fields and symbols that came and went, and types that have others; `nothing that Avro reads` if it is only in words."""
    before, after = named_types(old.root), named_types(new.root)
    found = [f"+{name}" for name in after if name not in before] + [f"-{name}" for name in before if name not in after]
    for name in before.keys() & after.keys():
        found += _inside(before[name], after[name])
    return sorted(found, key=lambda text: text[1:]) or ([] if old.canonical == new.canonical else ["~the type itself"])


def kept(old: AvroSchema, new: AvroSchema) -> str:
    """Which promises the step from one to the next has kept."""
    backward = not differences_of(new.root, old.root)
    forward = not differences_of(old.root, new.root)
    return {(True, True): "FULL", (True, False): "BACKWARD", (False, True): "FORWARD"}.get((backward, forward), "NONE")


def _inside(old: Node, new: Node) -> list[str]:
    if isinstance(old, Enum) and isinstance(new, Enum):
        return _listed(f"{new.name}.", dict.fromkeys(old.symbols, ""), dict.fromkeys(new.symbols, ""))
    if isinstance(old, Record) and isinstance(new, Record):
        return _listed(f"{new.name}.", _types(old), _types(new))
    return []


def _types(record: Record) -> dict[str, str]:
    return {field.name: getattr(field.type, "fullname", field.type.type) for field in record.fields}


def _listed(prefix: str, old: dict[str, str], new: dict[str, str]) -> list[str]:
    came = [f"+{prefix}{name}" for name in new if name not in old]
    went = [f"-{prefix}{name}" for name in old if name not in new]
    return came + went + [f"~{prefix}{name}" for name in new if name in old and new[name] != old[name]]
