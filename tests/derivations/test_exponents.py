"""The exponents that the code forms, as sums of letters, against those that it forms on numbers."""

import dataclasses

import numpy as np
import pytest

from derivations.engines import exponents
from derivations.engines.cases import every_width, shapes
from gdn_core import reference
from gdn_core.rules import RULES


@pytest.mark.parametrize("sizes", list(every_width(3, 2, 3)), ids=str)
def test_the_sums_are_the_exponents_on_numbers(sizes):
    S, x, seen = exponents.stream(sizes)
    reference.chunk(S, x, exp=seen.exp, stack=exponents.stack)
    g = -np.random.default_rng(2).random(sizes["g"])
    on_numbers = []

    def exp(logs):
        on_numbers.extend(np.ravel(logs))
        return np.exp(logs)

    reference.chunk(S, dataclasses.replace(x, g=g), exp=exp)
    sums = np.array(sorted(seen.seen)) @ g.ravel()
    assert {round(float(z), 12) for z in sums} == {round(float(z), 12) for z in on_numbers}


def test_the_exponential_of_what_is_no_log_decay_is_refused():
    _, x, seen = exponents.stream(shapes(RULES["gated-deltanet"], 2, 1, 1))
    with pytest.raises(ArithmeticError, match="not a sum of log decays"):
        seen.exp(x.v)
    with pytest.raises(ArithmeticError, match="takes no exponential"):
        seen.positive()
    seen.exp(x.g[0] - x.g[1])
    assert seen.positive() == ["exp(+1 g1 -1 g2)"]
