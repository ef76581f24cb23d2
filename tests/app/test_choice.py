"""What a visitor may choose, and which choices compute the same."""

from dataclasses import replace

import pytest

from app.choice import Choice, Origin, Panel, Stage
from gdn_core.rules import Discretisation


def test_what_is_shown_does_not_change_what_is_computed() -> None:
    shown = Choice(token=7, panel=Panel.SIZE, stage=Stage.TAKEN, text="not used", table=(), head=3)
    assert shown != Choice()
    assert shown.numbers() == Choice().numbers()
    for changed in (
        Choice(settings=replace(Choice().settings, seed=1)),
        Choice(rules=("deltanet",)),
        Choice(origin=Origin.TEXT),
        Choice(half_life=3.0),
    ):
        assert changed.numbers() != Choice().numbers()


def test_a_discretisation_counts_where_a_rule_has_one() -> None:
    for rule, counts in (("deltanet", False), ("mamba", True)):
        own, zoh = (Choice(rules=(rule,), discretisation=method) for method in (None, Discretisation.ZOH))
        assert (own.numbers() != zoh.numbers()) is counts


@pytest.mark.parametrize(
    "change",
    [
        {"preset": "x"},
        {"rules": ()},
        {"rules": ("x",)},
        {"head": -1},
        {"token": -2},
        {"half_life": 0.0},
        {"text": "x" * 10**6},
    ],
    ids=str,
)
def test_a_choice_out_of_range_cannot_be_made(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="expected"):
        Choice(**change)  # type: ignore[arg-type]
