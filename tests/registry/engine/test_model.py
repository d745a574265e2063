"""Two engines over one memory, asked in turn, answer as a naive registry does, whatever is done to them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.registry.engine.conftest import record
from tests.registry.engine.faulty import SlowStore
from tests.registry.engine.naive import Fields, Naive, Refused
from waybill_schema_registry.engine.engine import Engine, Limits
from waybill_schema_registry.entities import Config, Mode, Version
from waybill_schema_registry.errors import RegistryError
from waybill_schema_registry.levels import Level
from waybill_schema_registry.stores.memory import Memory, MemoryStore

SUBJECTS = st.sampled_from(["orders", "lines", "vat"])
SCOPES = st.sampled_from(["", "orders", "lines"])
FIELDS = st.lists(st.sampled_from("abc"), unique=True, min_size=1, max_size=3).flatmap(
    lambda names: st.tuples(*(st.sampled_from([name, f"{name}?"]) for name in sorted(names)))
)
NUMBERS = st.sampled_from([-1, 1, 2, 3, 4])


class Registry(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.memory = Memory()
        self.naive = Naive()
        small = Limits(texts=1, parsed=1, known=1)
        self.engines = [Engine(MemoryStore(self.memory)), Engine(SlowStore(self.memory), limits=small)]
        self.turn = 0
        for engine in self.engines:
            self.runner.run(engine.open())

    def teardown(self) -> None:
        for engine in self.engines:
            self.runner.run(engine.close())
        self.runner.close()

    def ask(self, call: Callable[[Engine], Awaitable[Any]]) -> Any:
        self.turn += 1
        engine = self.engines[self.turn % 2]

        async def asked() -> Any:
            return await call(engine)

        try:
            found = self.runner.run(asked())
        except RegistryError as error:
            return error.code
        return (found.id, found.version) if isinstance(found, Version) else found

    def same(self, call: Callable[[Engine], Awaitable[Any]], naive: Callable[[], Any]) -> None:
        try:
            expected = naive()
        except Refused as refused:
            expected = refused.code
        assert self.ask(call) == expected

    @rule(subject=SUBJECTS, fields=FIELDS)
    def register(self, subject: str, fields: Fields) -> None:
        self.same(
            lambda engine: engine.register(subject, record(*fields)), lambda: self.naive.register(subject, fields)
        )

    @rule(subject=SUBJECTS, fields=FIELDS)
    def register_again(self, subject: str, fields: Fields) -> None:
        self.register(subject, fields)
        self.register(subject, fields)

    @rule(subject=SUBJECTS, fields=FIELDS, deleted=st.booleans())
    def lookup(self, subject: str, fields: Fields, deleted: bool) -> None:
        self.same(
            lambda engine: engine.lookup(subject, record(*fields), deleted=deleted),
            lambda: self.naive.lookup(subject, fields, deleted=deleted),
        )

    @rule(subject=SUBJECTS, number=NUMBERS)
    def version(self, subject: str, number: int) -> None:
        self.same(lambda engine: engine.version(subject, number), lambda: self.naive.version(subject, number))

    @rule(subject=SUBJECTS, number=NUMBERS, permanent=st.booleans())
    def delete_version(self, subject: str, number: int, permanent: bool) -> None:
        self.same(
            lambda engine: engine.delete_version(subject, number, permanent=permanent),
            lambda: self.naive.delete_version(subject, number, permanent=permanent),
        )

    @rule(subject=SUBJECTS, permanent=st.booleans())
    def delete_subject(self, subject: str, permanent: bool) -> None:
        self.same(
            lambda engine: engine.delete_subject(subject, permanent=permanent),
            lambda: self.naive.delete_subject(subject, permanent=permanent),
        )

    @precondition(lambda self: not self.naive.readonly)
    @rule(scope=SCOPES, level=st.sampled_from(list(Level)))
    def set_level(self, scope: str, level: Level) -> None:
        self.ask(lambda engine: engine.set_config(Config(compatibility=level), scope or None))
        self.naive.levels[scope] = level

    @precondition(lambda self: not self.naive.readonly)
    @rule(scope=SCOPES)
    def delete_level(self, scope: str) -> None:
        self.ask(lambda engine: engine.delete_config(scope or None))
        self.naive.levels.pop(scope, None)

    @rule(scope=SCOPES)
    def stop(self, scope: str) -> None:
        self.ask(lambda engine: engine.set_mode(Mode.READONLY, scope or None))
        self.naive.readonly.add(scope)

    @rule()
    def go_on(self) -> None:
        for scope in sorted(self.naive.readonly):
            self.ask(lambda engine, scope=scope: engine.delete_mode(scope or None))
        self.naive.readonly.clear()

    @rule()
    def open_anew(self) -> None:
        """Whoever comes later finds the same."""
        self.runner.run(self.engines[0].close())
        self.engines[0] = Engine(MemoryStore(self.memory))
        self.runner.run(self.engines[0].open())

    @invariant()
    def what_is_listed(self) -> None:
        live = sorted(subject for subject in self.naive.subjects if self.naive.live(subject))
        assert self.ask(lambda engine: engine.subjects()) == live
        assert self.ask(lambda engine: engine.subjects(deleted=True)) == sorted(self.naive.subjects)
        assert self.ask(lambda engine: engine.max_id()) == self.naive.highest
        for subject, entries in self.naive.subjects.items():
            found = self.ask(lambda engine, subject=subject: engine.versions(subject, deleted=True))
            expected = sorted((entry.version, entry.id, entry.deleted) for entry in entries)
            assert [(each.version, each.id, each.deleted) for each in found] == expected


TestRegistry = Registry.TestCase
TestRegistry.settings = settings(
    max_examples=40,
    stateful_step_count=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
