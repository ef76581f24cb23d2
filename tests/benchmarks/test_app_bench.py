"""The benchmark measures nothing that is wrong, and says what it missed."""

from dataclasses import replace

import pytest

from app import compute
from app.choice import Choice
from tests.benchmarks import app as bench


def test_a_picture_of_other_numbers_is_told_apart() -> None:
    choice = Choice(settings=replace(Choice().settings, dk=8, dv=7, T=16))
    shown = compute.picture(choice).payload
    assert bench.error(shown, choice) < bench.TOLERANCE / 10
    for other in (
        replace(choice, settings=replace(choice.settings, seed=1)),
        replace(choice, settings=replace(choice.settings, alpha=0.979)),
        replace(choice, rules=("linear-attention", "mamba-2", "gated-deltanet", "deltanet")),
    ):
        assert bench.error(shown, other) > bench.TOLERANCE


def test_nothing_is_measured_when_a_number_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    bench.check()
    monkeypatch.setattr(bench, "outputs", lambda choice: [1.01 * o for o in outputs(choice)])
    with pytest.raises(SystemExit, match="wrong"):
        bench.check()


outputs = bench.outputs


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
    result = bench.Result("a thing", "ms", values, median, p95)
    assert result.met is met
    assert ("met" if met else "MISSED") in result.line()
