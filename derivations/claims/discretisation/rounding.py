"""phi_1 in float64 is right to the last bits."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal, localcontext
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np

from derivations.engines.written import Written, exp
from derivations.mutants.by_hand import planted
from derivations.papers import cite
from derivations.registry import claim
from derivations.scope import AtPoints
from gdn_core import ssm


@cache
def exact_phi1(z: float) -> Fraction:
    """Compute (e^z - 1) / z to 60 digits by a correctly rounded exponential."""
    if z == 0:
        return Fraction(1)
    with localcontext() as context:
        context.prec = 400  # digits, enough for exp(z) - 1 at the smallest z below
        return Fraction(quotient(Decimal(z), Decimal.exp))


def quotient(z: Any, exp: Callable[[Any], Any]) -> Any:
    """Return phi_1 by its definition."""
    return (exp(z) - 1) / z


BITS = 50  # that must be right, so an error of up to 4 units in the last place
POINTS = tuple(
    sign * z
    for z in (0.0, 1e-300, 1e-20, 3e-15, 1e-12, 1e-9, 3e-5, 0.01, 0.3, 1.0, 2.5, 20.0, 300.0, 700.0)
    for sign in (1, -1)
)


SHAPES = ((28, 1), (2, 14), (2, 2, 7), (2, 7, 2, 1), (5, 56), (1000,))  # of the same points, over and over


def phi1_far_off(function: Any) -> list[str]:
    """Return for each point its phi_1 in float64 if fewer than ``BITS`` bits of it are right, else ""."""
    with np.errstate(divide="raise", over="raise", invalid="raise"):
        found = function(np.array(POINTS))
        of_shapes = [function(np.resize(POINTS, shape)) for shape in SHAPES]

    def right(z: float, y: float) -> bool:
        return np.isfinite(y) and abs(Fraction(y) - exact_phi1(z)) <= abs(exact_phi1(z)) / 2**BITS

    wrong = ["" if right(z, float(y)) else f"phi_1({z}) = {float(y)!r}" for z, y in zip(POINTS, found, strict=True)]
    for y, shape in zip(of_shapes, SHAPES, strict=True):
        points, off = np.resize(POINTS, shape), np.flatnonzero(~np.equal(y, np.resize(found, shape)))
        wrong += [f"phi_1({points.flat[n]}) = {float(y.flat[n])!r} in shape {shape}" for n in off[:1]] or [""]
    return wrong + [of_another_type(function, z) for z in OTHERS]


OTHERS: tuple[Any, ...] = (
    0,
    -3,
    0.25,
    np.float32(0.3),
    np.float64(-0.3),
    np.array([0.3, 0.0], np.float32),
    np.arange(3),
)


def of_another_type(function: Any, z: Any) -> str:
    """Say where phi_1 of numbers of another type or shape is not that of the same numbers in an array of float64."""
    with np.errstate(all="ignore"):
        got, want = function(z), function(np.atleast_1d(z).astype(float))
    said = f"phi_1 of {type(z).__name__} {z}"
    if np.shape(got) != np.shape(z) or getattr(got, "dtype", None) != np.float64:
        return f"{said} has the shape {np.shape(got)} and the type {getattr(got, 'dtype', type(got).__name__)}"
    return "" if np.array_equal(np.ravel(got), want) else f"{said} = {got}, and in float64 {want}"


@claim(
    statement=lambda: (
        rf"|\operatorname{{fl}}(\varphi_1(z)) - \varphi_1(z)| \le 2^{{-{BITS}}}\, \varphi_1(z), \quad "
        rf"\varphi_1(z) = {quotient(Written('z'), exp)}"
    ),
    assumptions=("The processor's expm1 is the one that runs.",),
    scope=AtPoints(
        f"{len(POINTS)} numbers from -700 to 700, 0 and 1e-300 among them, in arrays of one to four axes, and at "
        "integers, numbers of 32 bits and single numbers,"
    ),
    engine="exact",
    source=cite("2312.00752", "eq. 4"),
    code=(ssm.phi1,),
)
def float_phi1_is_accurate_to_rounding() -> Any:
    """The code's phi_1 is right to the last few bits, near zero and at zero too."""
    return phi1_far_off(ssm.phi1)


@float_phi1_is_accurate_to_rounding.refute
def difference_of_near_numbers() -> Any:
    """exp(z) - 1 is computed as a difference, which loses all digits near zero."""
    return phi1_far_off(lambda z: np.where(z == 0, 1.0, (np.exp(z) - 1) / np.where(z == 0, 1.0, z)))


@float_phi1_is_accurate_to_rounding.refute
def no_limit_at_zero() -> Any:
    """The limit at zero is taken to be 0."""
    return phi1_far_off(planted(ssm.phi1, "np.where(z == 0, 1.0, np.expm1", "np.where(z == 0, 0.0, np.expm1"))
