"""Signs of series: a proof that an element is not negative where its variables are positive.

The proof climbs a ladder: where the value at 0 and the derivative are not negative, neither is the element.
"""

from __future__ import annotations

from sympy.polys.fields import FracElement

from derivations.engines.series import Series


def unproved(x: Series, variable: Series, *, rungs: int = 6) -> list[Series]:
    """Show that an element is not negative where every variable is positive; return what is left to show.

    A term is not negative if the coefficients of its rational function are not. Otherwise the ladder climbs: if the
    value at 0 and the derivative with respect to ``variable`` are not negative, neither is the element. An element
    that is not zero is then positive wherever the variables are.

    Args:
        x: the element.
        variable: what to differentiate by.
        rungs: how often.

    Returns:
        Nothing, or the element that the ladder got stuck on.
    """
    if all(_has_no_sign(factor) for factor in x.terms.values()):
        return []
    if not rungs:
        return [x]
    expanded = x.expanded(variable, 0)
    if len(expanded) > 1:
        return [x]
    start = expanded[0]
    return [start] if not all(_has_no_sign(f) for f in start.terms.values()) else unproved(
        x.diff(variable), variable, rungs=rungs - 1
    )  # fmt: skip


def _has_no_sign(factor: FracElement) -> bool:
    return all(c > 0 for part in (factor.numer, factor.denom) for c in part.coeffs()) or all(
        c < 0 for part in (factor.numer, factor.denom) for c in part.coeffs()
    )
