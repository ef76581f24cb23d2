"""The variables of the claims on discretisation, and zero-order hold of the code on them.

The functions of :mod:`gdn_core.ssm` run on series in one variable ``a``, which the engine ``series`` decides; ``a`` may
stand for a square matrix. ``D`` is the step Delta, and ``r = -a`` for real negative ``a``. B is the rightmost factor
everywhere and is left out: the input factor is ``Bbar / B``.
"""

from __future__ import annotations

from derivations.engines import series
from derivations.engines.notation import signed
from derivations.engines.series import Series, Variables
from derivations.engines.written import Kind, Written, exp, letters, phi1
from derivations.scope import Every
from gdn_core import ssm

ANY_MATRIX = Every("square A, singular and defective ones included")
REAL_NEGATIVE = Every("real A < 0 and every step Delta > 0")
TEX = {"lam": r"\lambda", "D": r"\Delta", "a": "A", "f_0": "f(0)", "f_1": "f'(0)", "f_2": "f''(0)"}
VARIABLES = Variables("lam r D a c f_0 f_1 f_2 w u", TEX)
lam, r, D, a, c, f0, f1, f2, w, u = VARIABLES.all()
Pair = tuple[Series, Series]
(MATRIX,), (STEP, NORM, WEIGHT) = letters(Kind.OPERATOR, "A"), letters(Kind.SCALAR, r"\Delta", r"\|A\|", r"\lambda")


def zoh(A: Series = a) -> Pair:
    """Run the code's zero-order hold on series."""
    return ssm.zoh(A, D, exp=series.exp, phi1=series.phi1)


def written_zoh() -> tuple[Written, Written]:
    """Run the code's zero-order hold on letters."""
    return ssm.zoh(MATRIX, STEP, exp=exp, phi1=phi1)


def at_zero(x: Series, *, one: str = "1") -> str:
    """Print a series at Delta = 0; ``one`` stands for 1."""
    text = x.at(D, 0).tex()
    return one if text == "1" else text


def powers(x: Series, order: int, *, one: str = "1", step: str = r"\Delta") -> str:
    """Print the expansion of a series in Delta up to an order; ``one`` stands for the constant 1."""
    terms = []
    for n, coefficient in x.expanded(D, order).items():
        if coefficient:
            sign, text = (-1, (-coefficient).tex()) if coefficient.tex().startswith("-") else (1, coefficient.tex())
            power = (rf" {step}^{n}" if n > 1 else f" {step}") if n else ""
            terms.append((sign, (power.strip() if n else one) if text == "1" else text + power))
    return f"{signed(terms)} + O({step}{f'^{order + 1}' if order else ''})"
