"""The numbers of the lesson on the ODE, against exact fractions and exponentials of block matrices."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from gdn_core.lab.studies import ode


def exponential(M: np.ndarray) -> np.ndarray:
    """Return exp(M) by its eigenvalues."""
    values, vectors = np.linalg.eig(M)
    return (vectors * np.exp(values)) @ np.linalg.inv(vectors)


def held(rate: complex, gain: float, inputs: list[float], step: float) -> list[complex]:
    """Solve h' = rate h + gain u from 0, each input held over a step, by the exponential of a block matrix."""
    E = exponential(step * np.array([[rate, gain], [0, 0]]))
    states = [0j]
    for u in inputs:
        states.append(E[0, 0] * states[-1] + E[0, 1] * u)
    return states


def test_samples_are_the_solution_or_the_rational_recurrence() -> None:
    numbers = ode.sampled(1.5, -0.75)
    for n, step in enumerate(numbers["step"].tolist()):
        D, count = Fraction(step).limit_denominator(100), round(3 / step)
        r, b = Fraction(3, 2), Fraction(-3, 4)
        euler = bilinear = Fraction(0)
        for _ in range(count):
            euler += D * (b - r * euler)
            bilinear = ((1 - D * r / 2) * bilinear + D * b) / (1 + D * r / 2)
        true = held(-1.5, -0.75, [1.0] * count, step)[-1].real
        np.testing.assert_allclose(numbers["at_three"][n, :3], [true, float(bilinear), float(euler)], rtol=1e-9)
    exact = held(-1.5, -0.75, [1.0] * 120 + [0.0] * 120, 0.025)
    np.testing.assert_allclose(numbers["exact"], np.real(exact), atol=1e-12)


@pytest.mark.parametrize(("moves", "slopes"), [("held", (None, 2, 1, 1)), ("moving", (1, 1, 1, 1))])
def test_errors_fall_with_the_proven_slopes(moves: str, slopes: tuple[int | None, ...]) -> None:
    numbers = ode.errors(moves, 1.5)
    last = np.log2(numbers["error"][-3:-1] / numbers["error"][-2:])  # halvings, so a slope is a logarithm in base 2
    for m, slope in enumerate(slopes):
        if slope is None:
            assert (numbers["error"][:, m] < 1e-13).all()
        else:
            np.testing.assert_allclose(last[:, m], slope, atol=0.03)
    if moves == "moving":
        np.testing.assert_allclose(np.log2(numbers["trapezoid"][-3] / numbers["trapezoid"][-2]), 2, atol=0.03)


def test_errors_are_those_of_the_solution() -> None:
    true = held(-1.5, 1.0, [1.0, -0.5, 0.75, -1.0], 1.0)[-1].real
    h = Fraction(0)
    for u in (1, Fraction(-1, 2), Fraction(3, 4), -1):
        for _ in range(4):
            h += Fraction(1, 4) * (u - Fraction(3, 2) * h)
    assert ode.errors("held", 1.5)["error"][2, 2] == pytest.approx(abs(float(h) - true), rel=1e-9)
    fine = np.arange(1, 2**16 + 1) * 4 / 2**16
    moving = held(-1.5, 1.0, (np.sin(fine - 2 / 2**16)).tolist(), 4 / 2**16)[-1].real  # the input of each middle
    h = Fraction(0)
    for t in range(4):
        h += Fraction(np.sin(t + 1.0)) - Fraction(3, 2) * h
    assert ode.errors("moving", 1.5)["error"][0, 2] == pytest.approx(abs(float(h) - moving), rel=1e-6)


def test_a_complex_state_turns_as_a_rotation_matrix_does() -> None:
    rate, turn = 0.4, 2.5
    numbers = ode.turning(rate, turn)
    M = np.array([[-rate, -turn], [turn, -rate]])
    one = np.eye(2)
    for n in (0, 3, 12, 39):
        D = numbers["step"][n]
        steps = [exponential(D * M).real, np.linalg.solve(one - D * M / 2, one + D * M / 2), one + D * M]
        taken = int(6 / D + 1e-9)
        for m, made in enumerate(steps):
            h = np.linalg.matrix_power(made, taken)[:, 0]
            np.testing.assert_allclose(numbers["paths"][n, taken, m], h, rtol=1e-7, atol=1e-9)
            assert numbers["modulus"][n, m] == pytest.approx(np.sqrt(np.linalg.det(made)))
    grows = numbers["modulus"][:, 2] > 1
    assert (grows == (numbers["step"] > numbers["edge"])).all()
    assert grows.any()
    assert not (numbers["modulus"][:, :2] >= 1).any()
    for path, shown in zip(numbers["paths"][-1].swapaxes(0, 1), numbers["shown"][-1].swapaxes(0, 1), strict=True):
        left = [n for n, point in enumerate(path) if point @ point >= 2.25]
        inside = min(left, default=len(path))  # then it stays where it was
        np.testing.assert_array_equal(shown, path[np.minimum(np.arange(len(path)), inside - 1)])


def test_the_memory_is_the_solution_of_every_equation_under_zero_order_hold() -> None:
    numbers = ode.as_memory("zoh", 0.7)
    rng = np.random.default_rng(0)
    u, B = rng.uniform(-1, 1, (16, 3)), rng.uniform(-1, 1, (16, 4))
    for d in range(3):
        for k in range(4):
            states = held(-(k + 1.0), 1.0, (u[:, d] * B[:, k]).tolist(), 0.7)[1:]
            np.testing.assert_allclose(numbers["memory"][:, d, k], np.real(states), atol=1e-12)
            np.testing.assert_allclose(numbers["solution"][:, d, k], np.real(states), atol=1e-12)
    assert ode.as_memory("mamba", 0.7)["difference"].min() > 0.01
