"""Whose a broker is, and what it can be used for."""

from __future__ import annotations

from tests.brokers.providers import RECIPES
from tests.brokers.running import Running
from tests.leaving_out import leave_out


def ours(broker: Running) -> Running:
    """The broker, for a test that administers, ends or holds it; such a test is left out where a variable names the broker."""
    if broker.provider == "url":
        variable = RECIPES[broker.name]().variable
        leave_out(f"no test may administer, end or hold the broker that {variable} names: unset it to have one started")
    return broker


def native(broker: Running, why: str) -> Running:
    """The same for a test that takes a process of this machine. why: what a container does not have."""
    if ours(broker).provider != "native":
        leave_out(f"{broker.name} is a container, {why}: TEST_BROKERS=native starts it as a process")
    return broker
