"""Mamba's code uses Bbar = Delta B: its difference from zero-order hold."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

from derivations.engines import series, written
from derivations.engines.series import Series, phi
from derivations.engines.signs import unproved
from derivations.engines.written import Written, exp
from derivations.models.discretisation import ANY_MATRIX, MATRIX, NORM, REAL_NEGATIVE, STEP, D, a, r, written_zoh, zoh
from derivations.papers import cite
from derivations.registry import claim
from gdn_core import ssm

BOUND = {2: Fraction(1, 2), 3: Fraction(1, 6)}  # phi_k(x) <= BOUND[k] e^x for x > 0


def left_out(order: int, A: Any, delta: Any, phi: Callable[[int, Any], Any]) -> Any:
    """Return what Bbar / B leaves out that ends before this order in Delta."""
    return delta**order * phi(order, delta * A) * A ** (order - 1)


def bounded(k: int, x: Written) -> Written:
    """Print the bound of phi_k."""
    return BOUND[k] * written.exp(x)


def leading() -> Series:
    """Return the coefficient of Delta^2 in the difference between the inputs of zero-order hold and of Mamba's code."""
    return (zoh()[1] - ssm.mamba(a, D, exp=series.exp)[1]).expanded(D, 2)[2]


@claim(
    statement=lambda: (
        r"\bar B_{\text{ZOH}} - \bar B_{\text{Mamba}} = "
        rf"({written_zoh()[1] - ssm.mamba(MATRIX, STEP, exp=exp)[1]}) B "
        rf"= {left_out(2, MATRIX, STEP, written.phi)} B = {leading().tex()} \Delta^2 B + R, \quad "
        rf"\|R\| = \|{left_out(3, MATRIX, STEP, written.phi)} B\| \le {left_out(3, NORM, STEP, bounded)} \|B\|"
    ),
    assumptions=("The norm is submultiplicative.",),
    scope=ANY_MATRIX,
    engine="series",
    source=cite("2312.00752", "eq. 4; selective_scan_ref in github.com/state-spaces/mamba"),
    code=(ssm.zoh, ssm.mamba),
)
def mamba_input_is_zoh_to_first_order() -> Any:
    """Mamba's code uses Bbar = Delta B: the input of zero-order hold up to first order in Delta."""
    decay, factor = zoh()
    euler_decay, euler_factor = ssm.mamba(a, D, exp=series.exp)
    difference = factor - euler_factor
    return {
        "decay": decay - euler_decay,
        "difference": difference - left_out(2, a, D, phi),
        "leading": leading() - a / 2,
        "remainder": difference - leading() * D**2 - left_out(3, a, D, phi),
        "poles": [phi(2, D * a).pole(a), phi(3, D * a).pole(a)],
    }


def remainder_bound(k: int, factor: Fraction) -> Any:
    """Show phi_k(x) <= factor e^x for x > 0; so ||phi_k(X)|| <= phi_k(||X||) <= factor e^||X||."""
    return unproved(D**k * (factor * series.exp(D) - phi(k, D)), D)


@mamba_input_is_zoh_to_first_order.step(engine="series", scope=ANY_MATRIX)
def bound_of_the_remainder() -> Any:
    """||phi_k(X)|| <= phi_k(||X||) <= e^||X|| / k! for k = 2 and 3: the coefficients 1 / (j + k)! are positive."""
    return [remainder_bound(k, factor) for k, factor in BOUND.items()]


@mamba_input_is_zoh_to_first_order.step(engine="series", scope=REAL_NEGATIVE)
def sharper_where_a_is_negative() -> Any:
    """For a = -r the code writes too much, by less than r Delta^2 / 2; this bound has no exponential."""
    excess = ssm.mamba(-r, D, exp=series.exp)[1] - zoh(-r)[1]
    return [unproved(excess, D), unproved(r * D**2 / 2 - excess, D)]


@mamba_input_is_zoh_to_first_order.refute
def half_left_out() -> Any:
    """The leading term is said to be A B Delta^2."""
    return zoh()[1] - ssm.mamba(a, D, exp=series.exp)[1] - D**2 * a - D**3 * phi(3, D * a) * a**2


@mamba_input_is_zoh_to_first_order.refute
def no_difference() -> Any:
    """The code is said to be zero-order hold."""
    return zoh()[1] - ssm.mamba(a, D, exp=series.exp)[1]


@mamba_input_is_zoh_to_first_order.refute
def bound_too_small() -> Any:
    """phi_2(x) <= e^x / 4 is claimed."""
    return remainder_bound(2, Fraction(1, 4))
