"""What is a break, and what may not hide behind another."""

from __future__ import annotations

import json

import pytest

from tests.registry.gate.calling import record
from waybill.errors import ConfigurationError
from waybill_schema_registry import InvalidSchema, Level
from waybill_schema_registry.formats.avro.parsing import parse
from waybill_schema_registry.gate.contract import Contract, Source
from waybill_schema_registry.gate.judging import MOST, judge
from waybill_schema_registry.gate.rules import NAMES, Policy, policy
from waybill_schema_registry.gate.verdict import Verdict

NO_DEFAULT = "READER_FIELD_MISSING_DEFAULT_VALUE"


def judged(new: str, *history: str, level: Level = Level.BACKWARD, chosen: Policy | None = None) -> Verdict:
    versions = [(f"version {number}", parse(text)) for number, text in enumerate(history, 1)]
    return judge(Contract("s", new, Source("t")), versions, level, chosen or Policy())


def found(verdict: Verdict, grade: str = "forbidden") -> list[tuple[str, str, str]]:
    return [(one.rule, one.location, one.direction) for one in verdict.breaks if one.grade == grade]


def test_a_new_subject_breaks_nothing() -> None:
    verdict = judged(record("id:string"))
    assert (verdict.state, verdict.broken, verdict.breaks) == ("new", False, ())


def test_what_is_the_same_breaks_nothing_whatever_came_before() -> None:
    verdict = judged(record("id:long"), record("id:string"), record("id:long"), level=Level.FULL_TRANSITIVE)
    assert (verdict.state, verdict.breaks) == ("unchanged", ())


def test_white_space_and_the_order_of_keys_are_no_change() -> None:
    other = json.dumps(dict(reversed(json.loads(record("id:string")).items())), indent=4)
    assert judged(other, record("id:string")).state == "unchanged"


@pytest.mark.parametrize(
    ("new", "level", "breaks", "order"),
    [
        (record("id:string", "n:int"), Level.BACKWARD, [(NO_DEFAULT, "/fields/1", "backward")], "producers"),
        (record("id:string", "n:int"), Level.FORWARD, [], "producers"),
        (record("id:string", "n:int"), Level.NONE, [], "producers"),
        (record("id:string", "n:int=0"), Level.FULL, [], "any"),
        (record(), Level.BACKWARD, [], "consumers"),
        (record(), Level.FORWARD, [(NO_DEFAULT, "/fields/0", "forward")], "consumers"),
        (record(), Level.FULL, [(NO_DEFAULT, "/fields/0", "forward")], "consumers"),
        (record("id:long"), Level.BACKWARD, [("TYPE_MISMATCH", "/fields/0/type", "backward")], "nobody"),
    ],
)
def test_levels_decide_what_is_a_break_and_facts_decide_who_goes_first(
    new: str, level: Level, breaks: list[tuple[str, str, str]], order: str
) -> None:
    verdict = judged(new, record("id:string"), level=level)
    assert (found(verdict), verdict.order, verdict.broken) == (breaks, order, bool(breaks))


def test_transitive_levels_look_at_every_version_and_others_at_the_latest() -> None:
    history = (record("id:string"), record("id:string", "n:int=0"))
    new = record("id:string", "n:int")
    assert not judged(new, *history).broken
    (one,) = judged(new, *history, level=Level.BACKWARD_TRANSITIVE).breaks
    assert (one.rule, one.versions) == (NO_DEFAULT, ("version 1",))


def test_the_same_break_of_several_versions_is_one() -> None:
    history = (record("id:string"), record("id:string", "a:null=null"), record("id:string", "b:null=null"))
    (one,) = judged(record("id:string", "n:int"), *history, level=Level.BACKWARD_TRANSITIVE).breaks
    assert one.versions == ("version 3", "version 2", "version 1")


def test_each_break_is_proved_and_placed() -> None:
    (one,) = judged(record("id:string", "vat:int"), record("id:string")).breaks
    assert one.evidence is not None
    assert json.loads(one.evidence.datum).keys() == {"id"}
    assert not one.evidence.misread
    assert (one.place, one.field) == ("field vat of Order", "vat")


# What is allowed hides nothing else.


def test_an_allowed_break_hides_no_other_rule() -> None:
    chosen = Policy(allow=frozenset({NO_DEFAULT}))
    verdict = judged(record("id:long", "n:int"), record("id:string"), chosen=chosen)
    assert found(verdict) == [("TYPE_MISMATCH", "/fields/0/type", "backward")]
    assert found(verdict, "allowed") == [(NO_DEFAULT, "/fields/1", "backward")]


def test_an_allowed_break_of_the_latest_version_hides_no_older_version() -> None:
    """Confluent stops at the first version that fails."""
    history = (record("id:long", "n:int=0"), record("id:string"))
    new = record("id:string", "n:int")
    chosen = Policy(allow=frozenset({NO_DEFAULT}))
    verdict = judged(new, *history, level=Level.BACKWARD_TRANSITIVE, chosen=chosen)
    (one,) = [one for one in verdict.breaks if one.grade == "forbidden"]
    assert (one.rule, one.versions) == ("TYPE_MISMATCH", ("version 1",))


def test_an_allowed_break_in_one_direction_hides_none_in_the_other() -> None:
    chosen = Policy(allow=frozenset({"MISSING_ENUM_SYMBOLS"}))
    old, new = (
        record(f's:{{"type": "enum", "name": "S", "symbols": {symbols}}}', *more)
        for symbols, more in (('["A", "B"]', ("id:string",)), ('["A", "C"]', ()))
    )
    verdict = judged(new, old, level=Level.FULL, chosen=chosen)
    assert found(verdict) == [(NO_DEFAULT, "/fields/1", "forward")]
    assert {direction for _, _, direction in found(verdict, "allowed")} == {"backward", "forward"}


def optional(*fields: str) -> str:
    return record(f'customer:["null", {record(*fields, name="Customer")}]')


def test_what_is_behind_a_union_is_told_and_judged_by_itself() -> None:
    """Avro Java says MISSING_UNION_BRANCH of all that goes wrong in an optional record."""
    old, new = optional("name:string", "id:int"), optional("name:string", "vat:int", "id:string")
    allowing = Policy(allow=frozenset({"MISSING_UNION_BRANCH", NO_DEFAULT}))
    verdict = judged(new, old, chosen=allowing)
    assert found(verdict) == [("TYPE_MISMATCH", "/fields/0/type/1/fields/2/type", "backward")]
    assert found(verdict, "allowed") == [(NO_DEFAULT, "/fields/0/type/1/fields/1", "backward")]
    (one,) = [one for one in verdict.breaks if one.grade == "forbidden"]
    assert one.place == "field id of Customer"
    assert one.evidence is not None


def test_a_branch_that_is_missing_indeed_is_told_as_such() -> None:
    verdict = judged(record('v:["null", "string"]'), record('v:["null", "string", "bytes", "int"]'))
    assert found(verdict) == [("MISSING_UNION_BRANCH", "/fields/0/type/3", "backward")]


def test_types_that_contain_themselves_end() -> None:
    def tree(*more: str) -> str:
        return record('left:["null", "Order"]', 'right:["null", "Order"]', *more)

    verdict = judged(
        record(f'top:["null", {tree("n:int")}]', name="Top"), record(f'top:["null", {tree()}]', name="Top")
    )
    assert {rule for rule, _, _ in found(verdict)} == {NO_DEFAULT}


def test_where_there_are_more_breaks_than_are_looked_at_nothing_is_allowed() -> None:
    many = [f"f{number}:int" for number in range(MOST + 5)]
    chosen = Policy(allow=frozenset({NO_DEFAULT}))
    assert judged(record(*many), record(), chosen=chosen).broken
    assert not judged(record(*many[: MOST - 1]), record(), chosen=chosen).broken


# The stricter rules.


def decimal(scale: int) -> str:
    return record(f'p:{{"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": {scale}}}')


def test_what_avro_lets_rot_is_a_warning_until_somebody_forbids_it() -> None:
    warned = judged(decimal(3), decimal(2))
    assert (found(warned, "warning"), warned.broken) == (
        [("DECIMAL_SCALE_CHANGED", "/fields/0/type", "backward")],
        False,
    )
    forbidden = Policy(forbid=frozenset({"DECIMAL_SCALE_CHANGED"}))
    assert judged(decimal(3), decimal(2), chosen=forbidden).broken
    assert judged(decimal(3), decimal(2), level=Level.NONE, chosen=forbidden).broken
    assert len(judged(decimal(3), decimal(2), level=Level.FULL).breaks) == 1  # found in both directions, told once


def test_rules_that_do_not_warn_count_where_they_are_forbidden() -> None:
    assert not judged(record(), record("id:string")).breaks
    chosen = Policy(forbid=frozenset({"FIELD_REMOVED"}))
    assert found(judged(record(), record("id:string"), chosen=chosen)) == [("FIELD_REMOVED", "/", "backward")]


def test_rules_are_known_by_name() -> None:
    assert policy(["TYPE_MISMATCH"], ["FIELD_REMOVED"], "here").allow == {"TYPE_MISMATCH"}
    with pytest.raises(
        ConfigurationError, match=r"here: there is no rule 'TYPE_MISSMATCH'. Did you mean TYPE_MISMATCH\?"
    ):
        policy(["TYPE_MISSMATCH"], [], "here")
    with pytest.raises(ConfigurationError, match="TYPE_MISMATCH is allowed and forbidden"):
        policy(["TYPE_MISMATCH"], ["TYPE_MISMATCH"], "here")
    assert all(meaning.endswith(".") for meaning in NAMES.values())


def test_what_is_ambiguous_cannot_be_allowed() -> None:
    """It ends the comparison, so nobody knows what else there is."""
    old = record("a:int", "b:int")
    new = json.loads(record("a:int"))
    new["fields"][0]["aliases"] = ["b"]
    verdict = judged(json.dumps(new), old, chosen=Policy(allow=frozenset(NAMES)))
    assert verdict.broken


def test_a_schema_that_is_none_is_told_with_its_source() -> None:
    with pytest.raises(InvalidSchema, match=r"a\.avsc:1.*\(s\)"):
        judge(Contract("s", '{"type": "recrd"}', Source("t", "a.avsc")), [], Level.BACKWARD, Policy())
