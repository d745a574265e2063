"""All contracts registered, or none as far as that can be: nothing is written before everything was checked."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

import msgspec

from waybill_schema_registry.client.api import RegistryClient
from waybill_schema_registry.entities import Schema, Version
from waybill_schema_registry.errors import Incompatible, RegistryError
from waybill_schema_registry.gate.contract import Contract

__all__ = ["ask_all", "in_order", "register_all"]


def in_order(contracts: Mapping[str, Contract]) -> Iterator[Contract]:
    """By subject, but what others refer to comes before them."""
    done: set[str] = set()

    def with_needed(subject: str) -> Iterator[Contract]:
        if subject in done or subject not in contracts:
            return
        done.add(subject)
        for reference in contracts[subject].references:
            yield from with_needed(reference.subject)
        yield contracts[subject]

    for subject in sorted(contracts):
        yield from with_needed(subject)


async def ask_all(registry: RegistryClient, contracts: Mapping[str, Contract], settled: Collection[str]) -> None:
    """What the registry itself has to say, since it may be stricter than `waybill.toml`. Raises `Incompatible`.

    settled: the subjects whose contracts it has already. A contract that refers to one it does not have cannot be asked about.
    """
    for contract in in_order(contracts):
        if any(one.subject in contracts and one.subject not in settled for one in contract.references):
            continue
        if messages := await registry.test_compatibility(contract.subject, contract.schema):
            raise Incompatible(
                f"{contract.subject}: the registry refuses it, whatever waybill.toml allows: {'; '.join(messages)}. Nothing was "
                f"registered. Its level there: waybill schema level {contract.subject}"
            )


async def register_all(registry: RegistryClient, contracts: Mapping[str, Contract]) -> list[Version]:
    """Doing it twice is the same as once. Where one is refused after all, the error says which stand already."""
    made: dict[str, Version] = {}
    for contract in in_order(contracts):
        try:
            made[contract.subject] = await registry.register_schema(contract.subject, _settled(contract, made))
        except RegistryError as error:
            done = ", ".join(f"{one.subject} version {one.version}" for one in made.values()) or "none"
            error.args = (
                f"{contract.subject}: {error}. Registered before it: {done}. Doing it again goes on from there",
            )
            raise
    return list(made.values())


def _settled(contract: Contract, made: Mapping[str, Version]) -> Schema:
    """With the versions that its references have now."""
    references = tuple(
        msgspec.structs.replace(one, version=made[one.subject].version) if one.subject in made else one
        for one in contract.references
    )
    return msgspec.structs.replace(contract.schema, references=references)
