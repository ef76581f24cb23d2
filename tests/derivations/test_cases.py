"""The letters of a rule's stream: their widths, and what the rule fixes."""

import random
from dataclasses import fields

import numpy as np
import pytest

from derivations.engines.cases import every_width, shapes, symbols, tokens
from derivations.engines.field import Field
from gdn_core import streams
from gdn_core.reference import Token
from gdn_core.rules import RULES

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_letters_have_the_shapes_of_the_tokens_that_a_stream_makes(rule):
    T, V, K = 4, 2, 3
    none = np.zeros(T)
    stream = streams.Stream(
        q=RNG.normal(size=(T, K)), k=RNG.normal(size=(T, K)), v=RNG.normal(size=(T, V)), g=np.zeros((T, K)) - 1,
        beta=np.ones((T, K)), w=np.ones((T, V)), delta=np.ones((T, V)), A=-np.ones((V, K)),
    )  # fmt: skip
    made = streams.tokens(rule, stream)
    numbers = Field(random.Random(0))
    sizes = shapes(rule, T, V, K)
    drawn = tokens(rule, numbers.letters(sizes))
    for f in fields(Token):
        assert getattr(drawn, f.name).shape == getattr(made, f.name).shape, f.name
    assert sizes["S"] == (made.v.shape[1], K)
    assert none.shape == (T,)


def test_what_a_rule_fixes_is_fixed_in_its_letters():
    for rule in RULES.values():
        x = symbols(rule, 3, 2, 3).x
        assert rule.tied == (x.b is x.w)
        if rule.slug in ("linear-attention", "deltanet"):
            assert not x.g.any()
        if rule.slug in ("mamba-2", "gla"):
            assert not x.b.any() and (x.w == 1).all()
    assert (symbols(RULES["retnet"], 3, 2, 3).x.g == symbols(RULES["retnet"], 3, 2, 3).x.g[:1]).all()


def test_every_width_of_every_rule_is_among_all_combinations():
    every = [tuple(sizes.items()) for sizes in every_width(3, 2, 4)]
    assert len(set(every)) == len(every) == 24
    assert {tuple(shapes(rule, 3, 2, 4).items()) for rule in RULES.values() if not rule.normalised} <= set(every)
