"""What AWS answers instead of doing what it was asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

Parameters: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True)
class Refusal:
    """An error of a call, or of one entry of a batch."""

    code: str
    """As a client shows it in `ClientError.response["Error"]["Code"]`."""
    text: str
    status: int = 400
    sender: bool = True
    """Whether the caller is at fault, so that a retry would not help."""


def invalid(text: str) -> Refusal:
    return Refusal("InvalidParameterValue", text)


def bad_value(parameter: str, value: object, reason: str) -> Refusal:
    return invalid(f"Value {value} for parameter {parameter} is invalid. Reason: {reason}")


def missing(parameter: str) -> Refusal:
    return Refusal("MissingParameter", f"The request must contain the parameter {parameter}.")


def unsuitable(parameter: str, value: object) -> Refusal:
    """A parameter that only the other type of queue has."""
    return bad_value(parameter, value, "The request include parameter that is not valid for this queue type.")


def first(*refusals: Refusal | None) -> Refusal | None:
    return next(filter(None, refusals), None)


def out_of(parameter: str, value: Any, low: int, high: int) -> Refusal | None:
    if value is None or low <= int(value) <= high:
        return None
    return bad_value(parameter, value, f"Must be >= {low} and <= {high}, if provided.")
