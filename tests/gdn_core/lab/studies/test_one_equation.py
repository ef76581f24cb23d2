"""The numbers of the lesson on the one equation, against exact fractions and a solver of the equation."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from gdn_core.lab.studies import one_equation


def solved(S: np.ndarray, k: np.ndarray, v: np.ndarray, beta: float, g: float = 0.0, pieces: int = 400) -> np.ndarray:
    """Solve dS/ds = g S + beta (v - S k) k^T over s from 0 to 1 by Runge and Kutta's rule of order four."""

    def slope(S: np.ndarray) -> np.ndarray:
        return g * S + beta * np.outer(v - S @ k, k)

    for _ in range(pieces):
        a = slope(S)
        b = slope(S + a / (2 * pieces))
        c = slope(S + b / (2 * pieces))
        S = S + (a + 2 * b + 2 * c + slope(S + c / pieces)) / (6 * pieces)
    return S


def test_the_memories_are_the_steps_along_the_equation() -> None:
    length = 1.5
    numbers = one_equation.four_memories(length)
    S, (k,), (v,) = one_equation.start(length)
    assert np.linalg.norm(k) == pytest.approx(length)
    for n in (0, 7, 20, 40):
        beta = numbers["beta"][n]
        explicit, implicit, exact, projected = numbers["memory"][n]
        np.testing.assert_allclose(explicit, S + beta * np.outer(v - S @ k, k), atol=1e-12)
        np.testing.assert_allclose(implicit, S + beta * np.outer(v - implicit @ k, k), atol=1e-12)  # slope at the end
        np.testing.assert_allclose(exact, solved(S, k, v, beta), atol=1e-8)
        np.testing.assert_allclose(projected @ k, v, atol=1e-12)
        np.testing.assert_allclose((projected - S) @ np.linalg.svd(k[None])[2][1:].T, 0, atol=1e-12)  # least change
        left = [np.linalg.norm(v - made @ k) / np.linalg.norm(v - S @ k) for made in numbers["memory"][n]]
        np.testing.assert_allclose(np.abs(1 - numbers["share"][n]), left, atol=1e-12)


def test_the_solution_is_followed_within_the_step() -> None:
    numbers = one_equation.along_the_step()
    S, (k,), (v,) = one_equation.start(1.0)
    for n in (5, 30):
        for p in (0, 10, 40):
            made = solved(S, k, v, numbers["size"][n] * numbers["s"][p])
            left = np.linalg.norm(v - made @ k) / np.linalg.norm(v - S @ k)
            assert 1 - numbers["exact"][n, p] == pytest.approx(left, abs=1e-8)


def test_pieces_leave_the_powers_of_what_one_leaves() -> None:
    numbers = one_equation.in_pieces(2.5)
    size = Fraction(5, 2)
    for n, share in zip(numbers["pieces"].tolist(), numbers["share"], strict=True):
        left = [(1 - size / n) ** n, 1 / (1 + size / n) ** n]
        np.testing.assert_allclose(share[:2], [float(1 - part) for part in left], rtol=1e-9)
        assert share[2] == pytest.approx(1 - np.e**-2.5)


def test_the_gated_rules_differ_from_the_solution_at_second_order() -> None:
    alpha, beta = 0.7, 1.3
    numbers = one_equation.with_decay(alpha, beta)
    S, (k,), (v,) = one_equation.start(1.0)
    for n, h in enumerate(numbers["step"][:4]):
        true = solved(S, k, v, beta * h, np.log(alpha) * h)
        decayed = alpha**h * S
        gated = decayed + beta * h * np.outer(v - decayed @ k, k)
        behind = solved(decayed, k, v, beta * h)
        off = [abs(gated - true).max(), abs(behind - true).max()]
        np.testing.assert_allclose(numbers["difference"][n], off, rtol=1e-5)
    slopes = np.log2(numbers["difference"][-2] / numbers["difference"][-1])
    np.testing.assert_allclose(slopes, 2, atol=0.02)
    assert one_equation.with_decay(1.0, beta)["difference"][:, 1].max() < 1e-12  # without decay EFLA is the solution
