"""Signs of series: prove that an element is nonnegative where its variables are positive.

The proof is by repeated differentiation: if the value at 0 and the derivative are nonnegative, so is the element.
"""

from __future__ import annotations

from sympy.polys.fields import FracElement

from derivations.engines.series import Series


def unproved(x: Series, variable: Series, *, rungs: int = 6) -> Series | str:
    """Try to prove that an element is nonnegative where every variable is positive.

    A term is nonnegative if the coefficients of its rational function are. If some are negative, the value at 0 and the
    derivative with respect to ``variable`` are proved nonnegative instead. An element that is not zero is then positive
    where the variables are positive.

    Args:
        x: the element.
        variable: the variable to differentiate by.
        rungs: the largest number of derivatives.

    Returns:
        "" if it is proved, else the derivative that could not be decided.
    """
    if all(_has_no_sign(factor) for factor in x.terms.values()):
        return ""
    if not rungs:
        return x
    expanded = x.expanded(variable, 0)
    if len(expanded) > 1:
        return x
    start = expanded[0]
    return start if not all(_has_no_sign(f) for f in start.terms.values()) else unproved(
        x.diff(variable), variable, rungs=rungs - 1
    )  # fmt: skip


def _has_no_sign(factor: FracElement) -> bool:
    return all(c > 0 for part in (factor.numer, factor.denom) for c in part.coeffs()) or all(
        c < 0 for part in (factor.numer, factor.denom) for c in part.coeffs()
    )
