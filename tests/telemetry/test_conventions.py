"""What is told on each broker, held against the conventions: names, kinds, required attributes, links; and their names, letter by
letter, against the package that publishes them."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from opentelemetry.semconv._incubating.attributes import aws_attributes, messaging_attributes
from opentelemetry.semconv.attributes import error_attributes, server_attributes
from opentelemetry.semconv.schemas import Schemas

from waybill.telemetry import conventions

HERE = Path(__file__).parent
MODEL = tomllib.loads((HERE / "conventions.toml").read_text())
GOLDENS = sorted(MODEL["system"])
PUBLISHED = {
    value
    for module in (messaging_attributes, aws_attributes, error_attributes, server_attributes)
    for name, value in vars(module).items()
    if name.isupper() and isinstance(value, str)
}
ONE = "messaging.message.id"
MANY = "messaging.batch.message_count"


def spans(golden: str) -> Iterator[Any]:
    for step in json.loads((HERE / "golden" / f"{golden}.json").read_text()).values():
        yield from step


def operation(span: Any) -> Any:
    return MODEL["operation"][span["attributes"].get("messaging.operation.type", "none")]


@pytest.mark.parametrize("golden", GOLDENS)
def test_every_span_has_a_kind_that_its_operation_may_have(golden: str) -> None:
    for span in spans(golden):
        assert span["kind"] in operation(span)["kinds"], span["name"]


@pytest.mark.parametrize("golden", GOLDENS)
def test_every_span_is_named_by_its_operation_and_its_destination(golden: str) -> None:
    for span in spans(golden):
        told = span["attributes"]
        assert told["messaging.operation.name"] in operation(span)["names"]
        assert span["name"] == f"{told['messaging.operation.name']} {told['messaging.destination.name']}"


@pytest.mark.parametrize("golden", GOLDENS)
def test_every_span_says_what_is_required_and_nothing_that_nobody_knows(golden: str) -> None:
    model, known = MODEL["system"][golden], MODEL["attributes"]
    allowed = {*known["common"], *known["ours"], *model["own"]}
    for span in spans(golden):
        told = span["attributes"]
        assert set(operation(span)["required"]) <= set(told), span["name"]
        assert set(told) <= allowed, span["name"]
        assert told["messaging.system"] in model["systems"]
        assert ("error.type" in told) == (span["status"] == "ERROR")


@pytest.mark.parametrize("golden", GOLDENS)
def test_what_varies_within_a_batch_is_told_of_its_links(golden: str) -> None:
    single = set(MODEL["attributes"]["single"])
    batches = [span for span in spans(golden) if span["attributes"].get(MANY, 1) > 1]
    assert batches
    for span in batches:
        assert not single & set(span["attributes"]), span["name"]
        if span["kind"] == "CONSUMER":
            assert all(ONE in link["attributes"] for link in span["links"])


@pytest.mark.parametrize("golden", GOLDENS)
def test_every_handling_is_linked_to_where_its_messages_were_created(golden: str) -> None:
    handlings = [span for span in spans(golden) if span["kind"] == "CONSUMER"]
    assert len(handlings) == 4
    for span in handlings:
        assert len(span["links"]) >= span["attributes"].get(MANY, 1)
    assert all(span["links"] for span in spans(golden) if span["name"].startswith("send") and span["kind"] == "CLIENT")


def test_the_names_are_those_that_are_published() -> None:
    known = MODEL["attributes"]
    names = {*known["common"], *(name for model in MODEL["system"].values() for name in model["own"])}
    assert names <= PUBLISHED
    written = {value for name, value in constants(conventions) if value.startswith(("messaging.", "error."))}
    assert written <= PUBLISHED
    assert Schemas.V1_44_0.value == conventions.SCHEMA


def test_our_own_names_are_nobody_elses() -> None:
    ours = {value for name, value in constants(conventions) if value.startswith("waybill.")}
    assert ours == set(MODEL["attributes"]["ours"])


def test_the_systems_are_those_that_are_published_but_for_the_one_that_is_ours() -> None:
    systems = {system for model in MODEL["system"].values() for system in model["systems"]}
    assert systems - {each.value for each in messaging_attributes.MessagingSystemValues} == {"waybill_embedded"}
    types = {each.value for each in messaging_attributes.MessagingOperationTypeValues}
    assert set(MODEL["operation"]) - {"none"} <= types


def constants(module: ModuleType) -> Iterator[tuple[str, str]]:
    for name, value in vars(module).items():
        if name.isupper() and isinstance(value, str):
            yield name, value
