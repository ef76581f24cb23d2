"""Mamba-3's exponential trapezoidal rule, and its order."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from derivations.engines import series
from derivations.engines.series import Series, phi
from derivations.engines.written import exp
from derivations.models.discretisation import ANY_MATRIX, MATRIX, STEP, VARIABLES, WEIGHT, D, a, f0, f1, f2, lam
from derivations.mutants.by_hand import planted
from derivations.papers import cite
from derivations.registry import claim
from gdn_core import ssm


def mamba3_error(weight: Series, order: int) -> Series:
    """Return the error of one step at an order in Delta, for the input f_0 + f_1 s + f_2 s^2 / 2 from h_0 = 0."""
    _, before, now = ssm.exponential_trapezoidal(a, D, weight, exp=series.exp)
    made = before * f0 + now * (f0 + f1 * D + f2 * D**2 / 2)
    exact = D * phi(1, D * a) * f0 + D**2 * phi(2, D * a) * f1 + D**3 * phi(3, D * a) * f2
    return (made - exact).expanded(D, order)[order]


@claim(
    statement=lambda: (
        "h_t = {} h_{{t-1}} + {} f(0) + {} f(\\Delta): \\quad ".format(
            *ssm.exponential_trapezoidal(MATRIX, STEP, WEIGHT, exp=exp)
        )
        + rf"\text{{error}} = {mamba3_error(lam, 2).tex()}\, \Delta^2 + O(\Delta^3)"
    ),
    assumptions=(
        "$f = B u$ is three times continuously differentiable over the step.",
        r"$\lambda$ is a smooth function of $\Delta$; so the error is of third order for every $A$ and $f$ exactly "
        r"when $\lambda = \tfrac{1}{2} + O(\Delta)$.",
    ),
    scope=ANY_MATRIX,
    engine="series",
    source=cite("2603.15569", "Proposition 1 and Remarks 2 and 3, sec. 3.1"),
    code=(ssm.exponential_trapezoidal, ssm.mamba),
)
def exponential_trapezoidal_rule_has_local_order_three_exactly_at_one_half() -> Any:
    """Mamba-3's rule has a local error of order 3 if and only if lambda = 1/2 + O(Delta), else of order 2."""
    return {
        "orders 0 and 1": [mamba3_error(lam, 0), mamba3_error(lam, 1)],
        "order 2": mamba3_error(lam, 2) - (lam - Fraction(1, 2)) * (f1 - a * f0),
        "lambda = 1/2 + lam Delta": [mamba3_error(Fraction(1, 2) + lam * D, n) for n in range(3)],
    }


@exponential_trapezoidal_rule_has_local_order_three_exactly_at_one_half.step(engine="series", scope=ANY_MATRIX)
def exact_response_to_a_polynomial() -> Any:
    """The exact response to the input s^m / m! is Delta^(m+1) phi_(m+1)(Delta A): it solves y' = A y + s^m / m!."""
    out = []
    for m, factorial in enumerate((1, 1, 2)):
        y = D ** (m + 1) * phi(m + 1, D * a)
        out += [y.diff(D) - a * y - D**m / factorial, y.at(D, 0), y.pole(a)]
    return out


@exponential_trapezoidal_rule_has_local_order_three_exactly_at_one_half.step(engine="series", scope=ANY_MATRIX)
def third_order_is_reached() -> Any:
    """At lambda = 1/2 + lam Delta the coefficient of Delta^3 is this one, and not zero for every A and f."""
    wanted = lam * (f1 - a * f0) + (a**2 * f0 - 2 * a * f1 + f2) / 12
    return mamba3_error(Fraction(1, 2) + lam * D, 3) - wanted


@exponential_trapezoidal_rule_has_local_order_three_exactly_at_one_half.step(engine="series", scope=ANY_MATRIX)
def euler_at_lambda_one() -> Any:
    """At lambda = 1 it is the rule of Mamba's code: the decay of zero-order hold and the input of Euler."""
    decay, before, now = ssm.exponential_trapezoidal(a, D, VARIABLES.number(1), exp=series.exp)
    mamba_decay, mamba_factor = ssm.mamba(a, D, exp=series.exp)
    return [decay - mamba_decay, before, now - mamba_factor]


@exponential_trapezoidal_rule_has_local_order_three_exactly_at_one_half.refute
def third_order_at_every_lambda() -> Any:
    """The order is said to be 3 for every lambda."""
    return mamba3_error(lam, 2)


@exponential_trapezoidal_rule_has_local_order_three_exactly_at_one_half.refute
def earlier_end_not_decayed() -> Any:
    """The input at the start of the step is not decayed over it: the trapezoidal rule without the exponential."""
    wrong = planted(ssm.exponential_trapezoidal, "(1 - lam) * delta * decay", "(1 - lam) * delta")
    _, before, now = wrong(a, D, VARIABLES.number(Fraction(1, 2)), exp=series.exp)
    exact = D * phi(1, D * a) * f0 + D**2 * phi(2, D * a) * f1
    return (before * f0 + now * (f0 + f1 * D) - exact).expanded(D, 2)[2]
