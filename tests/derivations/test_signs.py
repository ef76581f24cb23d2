"""Signs of series: what is proved, and that nothing false is proved."""

import pytest

from derivations.engines import series
from derivations.engines.series import Variables
from derivations.engines.signs import unproved

D, R = Variables("d r").all()


@pytest.mark.parametrize(
    "positive",
    [
        series.exp(D) - 1 - D - D**2 / 2,
        D * R - 1 + series.exp(-D * R),
        1 - D + D**2 / 2 - series.exp(-D),
        R / (1 + D),
        series.exp(-D) * (series.exp(D) - 1),
    ],
)
def test_the_ladder_proves_what_is_not_negative(positive):
    assert unproved(positive, D) == ""


@pytest.mark.parametrize(
    "negative_somewhere",
    [
        1 - D - series.exp(-D),
        series.exp(D) - 1 - D - D**2,
        series.exp(-D) - R,
        D - 1,
        1 - 2 * series.exp(-D),
    ],
)
def test_the_ladder_proves_nothing_false(negative_somewhere):
    assert unproved(negative_somewhere, D)
