"""Longhorn's objective with a minus before the error."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from derivations.models.delta_rule import Implicit
from derivations.models.errata import Erratum, against, erratum, scalars
from derivations.papers import cite
from derivations.scope import EverySize
from gdn_core import reference

ENTRY = Erratum(
    title="Longhorn's objective is printed with a minus before the error.",
    printed=r"\|S' - S\|_F^2 - \beta \|S' k - v\|^2",
    seen=(cite("2412.06464", "Table 1, sec. 3.1, in two transcriptions"),),
    numbers=scalars(s=(1,), b=(Fraction(1, 2),), k=(1,), v=(4,)),
    gives="-2",
    should_give="2",
    compared="where the objective is stationary",
    proved_by=("longhorn_step_is_the_delta_rule_with_a_smaller_gate",),
    note="The update that is stated beside it is the minimiser of the objective with the plus.",
)


def stationary() -> tuple[Any, Any]:
    """Compute where the objective with each sign is stationary, for one entry."""
    numbers = ENTRY.numbers
    s, b, k, v = (numbers[name][0] for name in "sbkv")
    wrong, right = ((s + sign * b * v * k) / (1 + sign * b * k**2) for sign in (-1, 1))
    return wrong, right


def implicit_objective() -> str:
    """Print the objective, for one row of the memory."""
    words = Implicit()
    return words.loss(words.algebra.matrix("S'", "1", "K")).tex()


@erratum(ENTRY, stationary, implicit_objective, code=(reference.step,))
def longhorn_objective_adds_the_error() -> Any:
    """The objective that Longhorn's step minimises adds the error to the distance from the old memory."""
    return against(ENTRY, stationary)


@longhorn_objective_adds_the_error.step(engine="words", scope=EverySize("dk", "dv"))
def stationary_with_the_plus() -> Any:
    """With the plus the objective is least at the code's step with the gate beta / (1 + beta kappa)."""
    return Implicit().residual()


@longhorn_objective_adds_the_error.refute
def stationary_with_the_minus() -> Any:
    """With the minus the objective is said to be stationary there."""
    return Implicit().residual(sign=-1)


@longhorn_objective_adds_the_error.refute
def explicit_gate() -> Any:
    """The gate is beta."""
    words = Implicit(gate=False)
    words.algebra.relation(words.theta, words.beta)
    return words.residual()
