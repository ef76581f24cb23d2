"""The benchmark measures nothing that is wrong, and says what it missed."""

from dataclasses import replace

import pytest

from app import compute
from app.choice import Choice
from tests.benchmarks import correct
from tests.benchmarks.clients import Shown
from tests.benchmarks.result import Result


def test_a_picture_of_other_numbers_is_told_apart() -> None:
    choice = Choice(settings=replace(Choice().settings, dk=8, dv=7, T=16))
    shown = compute.picture(choice).payload
    assert correct.error(shown, choice) < correct.TOLERANCE / 10
    assert [result.met for result in Shown([1.0], [(choice, shown)], []).results("a thing", 1, 4, None)] == [True]
    for other in (
        replace(choice, settings=replace(choice.settings, seed=1)),
        replace(choice, settings=replace(choice.settings, alpha=0.979)),
        replace(choice, rules=("linear-attention", "mamba-2", "gated-deltanet", "deltanet")),
    ):
        assert correct.error(shown, other) > correct.TOLERANCE
        assert [result.met for result in Shown([1.0], [(other, shown)], []).results("a thing", 1, 4, None)][1] is False


def test_nothing_is_measured_when_a_number_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    correct.check()
    monkeypatch.setattr(correct, "outputs", lambda choice: [1.01 * o for o in outputs(choice)])
    with pytest.raises(SystemExit, match="wrong"):
        correct.check()


outputs = correct.outputs


@pytest.mark.parametrize(
    ("values", "median", "p95", "met"),
    [
        ([1.0] * 19 + [9.0], 2, 2, True),  # one in twenty may pass the 95th percentile
        ([1.0] * 18 + [9.0] * 2, 2, 2, False),
        ([3.0] * 20, 2, None, False),
        ([3.0] * 20, None, None, True),
    ],
)
def test_a_target_is_met_or_missed(values: list[float], median: float, p95: float, met: bool) -> None:
    result = Result("a thing", "ms", values, median, p95)
    assert result.met is met
    assert ("met" if met else "MISSED") in result.line()
