"""The promises, a module a section."""

__all__ = ["SECTIONS"]

SECTIONS = (
    "publishing",
    "payload",
    "groups",
    "order",
    "settlement",
    "retries",
    "dead_letters",
    "time",
    "flow",
    "lifecycle",
    "faults",
    "health",
    "topology",
    "capabilities",
    "history",
    "counting",
    "schemas",
    "traces",
)
"""Importing one of these registers its promises."""
