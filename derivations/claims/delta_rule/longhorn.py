"""Longhorn's implicit step is the delta rule with a smaller gate."""

from __future__ import annotations

from typing import Any

from derivations.engines.algebra import equation
from derivations.engines.series import Variables
from derivations.engines.signs import unproved
from derivations.models.delta_rule import Implicit
from derivations.papers import cite
from derivations.registry import claim
from derivations.scope import Every, EverySize
from gdn_core import reference


def _implicit() -> str:
    words = Implicit()
    row = words.algebra.matrix("S'", "1", "K")
    return (
        rf"\operatorname*{{arg\,min}}_{{S'}} \; {words.loss(row).tex()} = {words.step(words.theta)[0].tex()}, \quad "
        rf"{equation(*words.gate)}, \quad \kappa = \|k\|^2"
    )


@claim(
    statement=_implicit,
    assumptions=(r"$\beta \ge 0$. The rows of $S'$ do not meet, so the statement and its proof are for one.",),
    scope=EverySize("dk", "dv"),
    engine="words",
    source=cite("2412.06464", "Table 1 and footnote 3, sec. 3.1, on Longhorn (arXiv 2407.14207)"),
    code=(reference.step,),
)
def longhorn_step_is_the_delta_rule_with_a_smaller_gate() -> Any:
    """Longhorn's implicit step is the delta rule with the gate beta / (1 + beta kappa).

    The gradient is zero there, and the loss of any other row s' + h is larger by ||h||^2 + beta (h k)^2.
    """
    return Implicit().residual()


@longhorn_step_is_the_delta_rule_with_a_smaller_gate.step(engine="series", scope=Every("beta > 0 and kappa > 0"))
def it_never_overshoots() -> Any:
    """theta kappa lies between 0 and 1 for every beta > 0, so the step is stable and does not pass the projection."""
    beta, kappa = Variables("beta kappa").all()
    product = beta / (1 + beta * kappa) * kappa
    return [unproved(product, beta), unproved(1 - product, beta)]


@longhorn_step_is_the_delta_rule_with_a_smaller_gate.refute
def explicit_step() -> Any:
    """The gate is beta itself, as in the explicit step."""
    words = Implicit(gate=False)
    words.algebra.relation(words.theta, words.beta)
    return words.residual()


@longhorn_step_is_the_delta_rule_with_a_smaller_gate.refute
def objective_with_a_minus() -> Any:
    """The objective is ||S' - S||^2 - beta ||S' k - v||^2."""
    return Implicit().residual(sign=-1)
