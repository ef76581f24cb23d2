"""Which rule contains which, by the widths of their gates."""

import itertools

import pytest

from derivations.models.containment import contains
from gdn_core.rules import DELTANET, GATED_DELTANET, GLA, KIMI_DELTA_ATTENTION, LINEAR_ATTENTION, MAMBA2, RETNET, RULES


@pytest.mark.parametrize(
    ("wide", "narrow", "contained"),
    [
        (KIMI_DELTA_ATTENTION, GATED_DELTANET, True),
        (GATED_DELTANET, DELTANET, True),
        (MAMBA2, RETNET, True),
        (RETNET, LINEAR_ATTENTION, True),
        (GATED_DELTANET, KIMI_DELTA_ATTENTION, False),
        (GATED_DELTANET, MAMBA2, False),
        (RETNET, MAMBA2, False),
        (MAMBA2, GLA, False),
    ],
)
def test_the_widths_say_which_rule_contains_which(wide, narrow, contained):
    assert contains(wide, narrow) is contained


def test_containment_is_an_order():
    rules = list(RULES.values())
    assert all(contains(rule, rule) for rule in rules)
    for a in rules:
        for b in rules:
            for c in rules:
                if contains(a, b) and contains(b, c):
                    assert contains(a, c)


def test_the_lattice_has_every_edge_that_the_lineage_is_told_by():
    told = ["gated-deltanet-2", "kimi-delta-attention", "gated-deltanet", "deltanet"]
    told_too = ["gated-deltanet-2", "gla", "mamba-2", "retnet", "linear-attention", "fast-weights"]
    for chain in (told, told_too):
        for wide, narrow in itertools.pairwise(chain):
            assert contains(RULES[wide], RULES[narrow])
