"""Content types: what a request may be, and what its answer is (SCHEMA-REGISTRY: `Accept` by weight)."""

from __future__ import annotations

from functools import lru_cache

__all__ = ["ANSWERED", "V1", "negotiated", "readable"]

V1 = "application/vnd.schemaregistry.v1+json"
ANSWERED = (V1, "application/vnd.schemaregistry+json", "application/json")
"""By weight: what is asked for equally is answered as the first of them."""
READ = frozenset((*ANSWERED, "application/octet-stream"))


@lru_cache(maxsize=256)
def negotiated(accept: bytes) -> str | None:
    """The type of the answer; None if nothing that is accepted can be had. Empty accepts everything."""
    ranges = [_range(part) for part in accept.decode("latin-1").split(",") if part.strip()]
    if not ranges:
        return V1
    weights = {kind: _weight(kind, ranges) for kind in ANSWERED}
    best = max(ANSWERED, key=lambda kind: weights[kind])
    return best if weights[best] > 0 else None


@lru_cache(maxsize=256)
def readable(content_type: bytes) -> bool:
    """Whether a body of this type is read as JSON. Empty: nothing was said."""
    kind = content_type.decode("latin-1").partition(";")[0].strip().lower()
    return not kind or kind in READ


def _range(part: str) -> tuple[str, float]:
    kind, *parameters = (piece.strip().lower() for piece in part.split(";"))
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return kind, min(1.0, max(0.0, float(value)))
            except ValueError:
                return kind, 0.0
    return kind, 1.0


def _weight(kind: str, ranges: list[tuple[str, float]]) -> float:
    """As the most specific range says (RFC 9110, 12.5.1)."""
    for pattern in (kind, f"{kind.partition('/')[0]}/*", "*/*", "*"):
        for accepted, weight in ranges:
            if accepted == pattern:
                return weight
    return 0.0
