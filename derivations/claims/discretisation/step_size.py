"""The step as a gate: a small one ignores the token, a large one replaces the state."""

from __future__ import annotations

from typing import Any

from derivations.engines import series
from derivations.engines.series import Series
from derivations.engines.signs import unproved
from derivations.engines.written import Written, exp, phi1
from derivations.models.discretisation import (
    ANY_MATRIX,
    MATRIX,
    REAL_NEGATIVE,
    STEP,
    D,
    a,
    at_zero,
    c,
    powers,
    r,
    written_zoh,
    zoh,
)
from derivations.mutants.by_hand import planted
from derivations.papers import cite
from derivations.registry import claim
from derivations.scope import Every
from gdn_core import ssm


@claim(
    statement=lambda: (
        rf"\Delta \to 0: \quad \bar A = {powers(zoh()[0], 1, one='I')} \to {at_zero(zoh()[0], one='I')}, "
        rf"\quad \bar B = ({powers(zoh()[1], 1)}) B \to {at_zero(zoh()[1])}"
    ),
    scope=ANY_MATRIX,
    engine="series",
    source=cite("2312.00752", "sec. 3.5.2, Interpretation of Delta"),
    code=(ssm.zoh,),
)
def small_step_ignores_the_token() -> Any:
    """As the step goes to zero the state stays as it was: the token is ignored.

    The first terms are Abar = I + Delta A + ... and Bbar = Delta B + ..., entire in Delta and A.
    """
    decay, factor = zoh()
    first = {"decay": decay.expanded(D, 1), "input": factor.expanded(D, 1)}
    return {
        "limits": [decay.at(D, 0) - 1, factor.at(D, 0)],
        "first order": [first["decay"][1] - a, first["input"][1] - 1],
        "poles": [decay.pole(D), factor.pole(D), decay.pole(a), factor.pole(a)],
    }


@small_step_ignores_the_token.refute
def input_without_the_step() -> Any:
    """Bbar = phi_1(Delta A) B: the factor Delta is left out, so the token is written in full."""
    wrong = planted(ssm.zoh, "delta * phi1(delta * A)", "phi1(delta * A)")
    return wrong(a, D, exp=series.exp, phi1=series.phi1)[1].expanded(D, 0)[0]


@small_step_ignores_the_token.refute
def decay_of_the_matrix_alone() -> Any:
    """Abar = exp(A): the decay does not depend on the step."""
    wrong = planted(ssm.zoh, "exp(delta * A)", "exp(A)")
    return wrong(a, D, exp=series.exp, phi1=series.phi1)[0].at(D, 0) - 1


def settled(A: Any) -> Any:
    """Return the limit of Bbar / B."""
    return -(A**-1)


def large_step(decay: Series, factor: Series) -> Any:
    """Compare Bbar / B with its limit plus A^-1 Abar, whose limit is 0 as that of Abar."""
    return factor - settled(a) - decay / a


def decay_modulus() -> Series:
    """Return the squared modulus of the decay, where Re a = -r."""
    return (zoh(a)[0] * zoh(c)[0]).at(c, -2 * r - a)  # c is the conjugate of a, and a + c = 2 Re a


def decay_bound(step: Any, rate: Any) -> Any:
    """Return the reciprocal of the bound of the squared modulus."""
    return 1 + 2 * rate * step


@claim(
    statement=lambda: (
        rf"\Delta \to \infty: \quad \bar A = {written_zoh()[0]} \to 0, \quad \bar B = {written_zoh()[1]} B = "
        rf"{settled(MATRIX)} B + {MATRIX**-1} \bar A B \to {settled(MATRIX)} B, \quad "
        rf"|{ssm.zoh(Written('a'), STEP, exp=exp, phi1=phi1)[0]}|^2 = {decay_modulus().tex()} \le "
        rf"\frac{{1}}{{{decay_bound(STEP, Written('r'))}}}"
    ),
    assumptions=(r"Every eigenvalue $a$ of the diagonalisable $A$ has $\operatorname{Re} a = -r < 0$.",),
    scope=Every("invertible A"),
    engine="series",
    source=cite("2312.00752", "sec. 3.5.2, Interpretation of Delta"),
    code=(ssm.zoh,),
    uses=("zoh_of_an_invertible_matrix",),
)
def large_step_replaces_the_state() -> Any:
    """As the step grows without bound the state is replaced by the steady state of the input."""
    return large_step(*zoh())


@large_step_replaces_the_state.step(engine="series", scope=Every("complex a with Re a = -r < 0, every Delta > 0"))
def decay_vanishes() -> Any:
    """The squared modulus of the decay is e^(-2 r Delta), and (1 + 2 r Delta) e^(-2 r Delta) <= 1."""
    return {
        "modulus": decay_modulus() - series.exp(-2 * r * D),
        "bound": unproved(1 / decay_modulus() - decay_bound(D, r), D),
    }


@large_step_replaces_the_state.refute
def input_of_euler_grows() -> Any:
    """Bbar = Delta B, as in Mamba's code, which has no limit."""
    return large_step(*ssm.mamba(a, D, exp=series.exp))


@large_step_replaces_the_state.refute
def limit_of_the_other_sign() -> Any:
    """The limit is said to be A^-1 B."""
    decay, factor = zoh()
    return factor - 1 / a - decay / a


@claim(
    statement=lambda: (
        rf"0 < \bar A = {zoh(-r)[0].tex()} < 1, \quad \frac{{d \bar A}}{{d \Delta}} = {zoh(-r)[0].diff(D).tex()} < 0, "
        rf"\quad 0 < \frac{{\bar B}}{{B}} = {zoh(-r)[1].tex()} < {(1 / r).tex()}, \quad "
        rf"\frac{{d}}{{d \Delta}} \frac{{\bar B}}{{B}} = {zoh(-r)[1].diff(D).tex()} > 0"
    ),
    assumptions=(r"$A = -r$ is real and negative, and $\Delta > 0$.",),
    scope=REAL_NEGATIVE,
    engine="series",
    source=cite("2312.00752", "sec. 3.5.2, Interpretation of Delta"),
    code=(ssm.zoh,),
)
def decay_falls_and_input_grows_with_the_step() -> Any:
    """With a larger step the decay falls and the input factor grows, both monotonically and within their intervals."""
    decay, factor = zoh(-r)
    return _monotone(decay, factor)


def _monotone(decay: Series, factor: Series) -> dict[str, Any]:
    return {
        "0 < decay": unproved(decay, D),
        "decay < 1": unproved(1 - decay, D),
        "decay falls": unproved(-decay.diff(D), D),
        "0 < input": unproved(factor, D),
        "input < 1 / r": unproved(1 / r - factor, D),
        "input grows": unproved(factor.diff(D), D),
        "none is zero": [
            "" if x else "constant" for x in (1 - decay, decay.diff(D), factor, 1 / r - factor, factor.diff(D))
        ],
    }


@decay_falls_and_input_grows_with_the_step.refute
def decay_of_euler() -> Any:
    """1 + Delta a in place of e^(Delta a): it leaves (0, 1)."""
    return unproved(ssm.euler(-r, D)[0], D)


@decay_falls_and_input_grows_with_the_step.refute
def input_of_euler_leaves_its_interval() -> Any:
    """Bbar = Delta B: it passes 1 / |a|."""
    return unproved(1 / r - ssm.mamba(-r, D, exp=series.exp)[1], D)
