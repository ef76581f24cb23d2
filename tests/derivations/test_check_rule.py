"""A user's rule, checked against every claim that is stated for all rules."""

import doctest

import pytest

from derivations import run
from derivations.run import check_rule, stated_for
from gdn_core.rules import RULES, Clock, Gate, Source, WriteRule


def rule(**gates):
    return WriteRule(slug="mine", title="Mine", year=2026, source=Source("none", "none"), summary="Mine.", **gates)


@pytest.mark.parametrize(
    "mine",
    [
        rule(decay=Gate.VALUE, erase=Gate.KEY, write=Gate.VALUE),
        rule(decay=Gate.VALUE, erase=Gate.SCALAR, write=Gate.SCALAR, tied=True),
        rule(decay=Gate.SCALAR, erase=Gate.SCALAR, clock=Clock.FIXED),
    ],
    ids=["untied", "tied", "fixed"],
)
def test_a_rule_of_ones_own_is_checked_against_every_claim_for_all_rules(mine):
    results = check_rule(mine)
    assert [fault for result in results for fault in result.faults] == []
    assert {result.claim for result in results} >= {
        "every_rule_has_a_chunk_form",
        "chunk_backward_is_the_derivative",
        "padding_leaves_the_memory",
        "stages_add_up_to_the_step",
        "every_rule_minimises_an_objective",
        "wider_rules_contain_the_narrower_ones",
    }
    assert all(step.rule == "mine" for result in results for step in result.steps)


def test_a_rule_is_checked_against_the_claims_of_its_kind_only():
    by_key, scalar = ({made.name for made in stated_for(RULES[slug])} for slug in ("gla", "mamba-2"))
    assert "chunk_by_channel_equals_recurrence" in by_key - scalar
    assert "additive_recurrence_is_masked_attention" in scalar - by_key


def test_the_documented_call_holds():
    tested = doctest.testmod(run)
    assert (tested.failed, tested.attempted) == (0, 6)
