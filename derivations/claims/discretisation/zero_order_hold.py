"""Zero-order hold solves the equation whose input is held over the step."""

from __future__ import annotations

from typing import Any

from derivations.engines import series
from derivations.engines.algebra import Algebra
from derivations.engines.series import Series
from derivations.engines.written import exp
from derivations.models.discretisation import ANY_MATRIX, MATRIX, STEP, D, a, powers, written_zoh, zoh
from derivations.mutants.by_hand import planted
from derivations.papers import cite
from derivations.registry import claim
from derivations.scope import Every, EverySize
from gdn_core import ssm
from gdn_core.reference import Exp


def held_equation(decay: Series, factor: Series) -> dict[str, Any]:
    """Return the residuals of ``decay h_0 + factor B u`` as the solution of h' = A h + B u from h_0 with u held."""
    return {
        "the decay, differentiated": decay.diff(D) - a * decay,
        "the decay at Delta = 0": decay.at(D, 0) - 1,
        "the input factor, differentiated": factor.diff(D) - (a * factor + 1),
        "the input factor at Delta = 0": factor.at(D, 0),
        "poles": [decay.pole(a), factor.pole(a)],
    }


@claim(
    statement=lambda: (
        rf"\bar A = {written_zoh()[0]}, \quad \bar B = {written_zoh()[1]} B \quad\text{{solve}}\quad "
        rf"h' = A h + B u, \; u \text{{ held}}, \quad \varphi_1(z) = {powers(series.phi1(D), 3, step='z')}"
    ),
    assumptions=("The input is constant over the step.",),
    scope=ANY_MATRIX,
    engine="series",
    source=cite("2312.00752", "eq. 4"),
    code=(ssm.zoh,),
)
def zoh_solves_the_held_equation() -> Any:
    """Zero-order hold is the exact solution of h' = A h + B u if the input is held over the step."""
    return held_equation(*zoh())


@zoh_solves_the_held_equation.step(engine="words", scope=EverySize("N", "P"))
def no_other_solution() -> Any:
    """The held equation has this solution and no other: the derivative of e^(-Delta A) (h_1 - h_2) vanishes."""
    words = Algebra()
    A, B, X, Y = (
        words.matrix(*letter) for letter in (("A", "N", "N"), ("B", "N", "P"), ("X", "N", "N"), ("Y", "N", "P"))
    )
    start, held, difference = words.vector("h_0", "N"), words.vector("u", "P"), words.vector("d", "N")
    backwards = words.matrix("E", "N", "N")  # exp(-Delta A)
    words.rule(backwards @ A, A @ backwards)
    slope_X, slope_Y = A @ X, A @ Y + B  # as shown by the first step
    return {
        "it solves": (slope_X @ start + slope_Y @ held - (A @ (X @ start + Y @ held) + B @ held)).normal(),
        "alone": (-A @ backwards @ difference + backwards @ A @ difference).normal(),
        "backwards and forwards": series.exp(-D * a) * series.exp(D * a) - 1,
    }


@zoh_solves_the_held_equation.refute
def input_of_euler() -> Any:
    """Bbar = Delta B, as Mamba's code has it."""
    return held_equation(*ssm.mamba(a, D, exp=series.exp))


@zoh_solves_the_held_equation.refute
def phi_of_the_matrix_without_the_step() -> Any:
    """Delta is left out in the argument of phi_1."""
    wrong = planted(ssm.zoh, "phi1(delta * A)", "phi1(A)")
    return held_equation(*wrong(a, D, exp=series.exp, phi1=series.phi1))


@zoh_solves_the_held_equation.refute
def cut_off_after_three_terms() -> Any:
    """The series for Bbar is cut off after its third term, so that the first three orders agree."""
    decay, _ = zoh()
    return held_equation(decay, D + D**2 * a / 2 + D**3 * a**2 / 6)


def published(A: Any, delta: Any, exp: Exp) -> tuple[Any, Any]:
    """Return the published formula for Bbar / B, with its Delta cancelled and as published."""
    return A**-1 * (exp(delta * A) - 1), (delta * A) ** -1 * (exp(delta * A) - 1) * delta


@claim(
    statement=lambda: rf"\bar B = {written_zoh()[1]} B = " + " = ".join(f"{x} B" for x in published(MATRIX, STEP, exp)),
    assumptions=("$A$ is invertible.",),
    scope=Every("invertible A"),
    engine="series",
    source=cite("2312.00752", "eq. 4"),
    code=(ssm.zoh,),
    uses=("zoh_solves_the_held_equation",),
)
def zoh_of_an_invertible_matrix() -> Any:
    """If A is invertible, the input of zero-order hold is the published formula."""
    return [zoh()[1] - formula for formula in published(a, D, series.exp)]


@zoh_of_an_invertible_matrix.step(engine="series", scope=ANY_MATRIX)
def without_the_inverse() -> Any:
    """A Bbar = (e^(Delta A) - I) B holds for every A; if A is singular it does not determine Bbar."""
    decay, factor = zoh()
    return a * factor - (decay - 1)


@zoh_of_an_invertible_matrix.refute
def identity_left_out() -> Any:
    """The identity is not subtracted."""
    decay, factor = zoh()
    return factor - decay / a


@zoh_of_an_invertible_matrix.refute
def step_left_out_behind_the_inverse() -> Any:
    """(Delta A)^-1 is multiplied by B, where Delta B is meant."""
    decay, factor = zoh()
    return factor - (decay - 1) / (D * a)
