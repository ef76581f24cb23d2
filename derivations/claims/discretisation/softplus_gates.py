"""A softplus step makes a gate."""

from __future__ import annotations

from typing import Any

import numpy as np

from derivations.engines import series
from derivations.engines.series import Series
from derivations.engines.signs import unproved
from derivations.engines.written import Kind, letters
from derivations.models.discretisation import VARIABLES, D, r, u, w
from derivations.papers import cite
from derivations.registry import claim
from derivations.scope import Every
from gdn_core import reference, ssm
from gdn_core.rules import Discretisation


def of_softplus(x: Series) -> Series:
    """Put log(1 + e^z) for Delta, with w standing for e^z: an exponential e^(n Delta) becomes (1 + w)^n."""
    out = VARIABLES.number(0)
    for exponent, factor in x.terms.items():
        n = exponent.coeff(VARIABLES.ring.gens[VARIABLES.names.index("D")])
        if exponent != n * VARIABLES.ring.gens[VARIABLES.names.index("D")] or n.denominator != 1:
            raise ArithmeticError(f"expected exponentials of multiples of Delta, got {x}")
        out = out + VARIABLES.term(factor, VARIABLES.ring.zero) * (1 + w) ** int(n)
    return out


def gated_step(method: Discretisation, A: int = -1) -> Series:
    """Run one token of a state space model of one channel and one state, by the code, from the state r."""
    one = VARIABLES.number(1)
    x = ssm.tokens(
        np.array([[u]], dtype=object),
        np.array([[D]], dtype=object),
        np.array([[A * one]], dtype=object),
        np.array([[one]], dtype=object),
        np.array([[one]], dtype=object),
        method=method,
        phi1=series.phi1,
    )
    S, _ = reference.recurrent(np.array([[r]], dtype=object), x, exp=series.exp)
    return of_softplus(S[0, 0])


SIGMA = w / (1 + w)


def gate(sigma: Any, h: Any, x: Any) -> Any:
    """Return the step of a gated recurrent network."""
    return (1 - sigma) * h + sigma * x


@claim(
    statement=lambda: (
        r"A = -1, \; B = 1, \; \Delta = \operatorname{softplus}(z): \quad "
        rf"h_t = {gated_step(Discretisation.ZOH).tex(w='e^z', r='h_{t-1}', u='x_t')} = "
        + str(gate(*letters(Kind.SCALAR, r"\sigma(z)", "h_{t-1}", "x_t")))
    ),
    assumptions=(r"$\operatorname{softplus}(z) = \log(1 + e^z)$ and $\sigma(z) = e^z / (1 + e^z)$, with $z$ real.",),
    scope=Every("real z, at N = 1"),
    engine="series",
    source=cite("2312.00752", "Theorem 1, eq. 5, sec. 3.5.1; proof in appendix C"),
    code=(ssm.tokens,),
)
def zoh_with_softplus_is_a_gate() -> Any:
    """One state with a softplus step, discretised by zero-order hold, is the gate of a gated recurrent network."""
    return gated_step(Discretisation.ZOH) - gate(SIGMA, r, u)


@zoh_with_softplus_is_a_gate.refute
def input_of_mambas_code() -> Any:
    """Bbar = Delta B, as in Mamba's code: the weight of the input is softplus(z), and the theorem is false."""
    return gated_step(Discretisation.MAMBA) - gate(SIGMA, r, u)


@zoh_with_softplus_is_a_gate.refute
def another_rate() -> Any:
    """A = -2."""
    return gated_step(Discretisation.ZOH, A=-2) - gate(SIGMA, r, u)


SOFTPLUS = {"r": r"e^{A_{\log}}", "D": r"\operatorname{softplus}(x)"}


@claim(
    statement=lambda: (
        rf"g = {(-r * D).tex(**SOFTPLUS)} \;\Rightarrow\; 0 < e^g < 1, \quad "
        rf"\frac{{d e^g}}{{d s}} = {series.exp(-r * D).diff(D).tex(r='r', D='s')} < 0"
    ),
    assumptions=(
        r"$x$ and $A_{\log}$ are real; $s = \operatorname{softplus}(x)$ is the number with $e^s = 1 + e^x$.",
        r"$r$ stands for $e^{A_{\log}} > 0$; in the residuals below $\Delta$ stands for $s$.",
    ),
    scope=Every("real x and A_log"),
    engine="series",
    source=cite(
        "2412.06464",
        "sec. 3.4, footnote 4, which refers to Mamba-2's parameterisation; formula as in flash-linear-attention",
    ),
)
def softplus_log_decay_stays_between_zero_and_one() -> Any:
    """The usual gate, g = -exp(A_log) softplus(x), makes a decay strictly between 0 and 1.

    e^s - 1 = e^x > 0, and e^s - 1 has the sign of s, so s > 0; and e^(-r s) falls from 1 as s grows from 0.
    """
    return decay_between_zero_and_one(-r * D)


def decay_between_zero_and_one(g: Series) -> dict[str, Any]:
    """Return the residuals of: softplus is positive, and exp(g) lies in (0, 1) for a multiple g of it."""
    decay = series.exp(g)
    return {
        "e^s - 1 is e^x": of_softplus(series.exp(D) - 1) - w,
        "e^s - 1 grows with s, from 0": [(series.exp(D) - 1).at(D, 0), unproved((series.exp(D) - 1).diff(D), D)],
        "0 < e^g": unproved(decay, D),
        "e^g < 1": unproved(1 - decay, D),
        "e^g is not constant": "" if decay.diff(D) else "it is",
    }


@softplus_log_decay_stays_between_zero_and_one.refute
def sign_left_out() -> Any:
    """g = exp(A_log) softplus(x): the memory grows."""
    return decay_between_zero_and_one(r * D)


@softplus_log_decay_stays_between_zero_and_one.refute
def no_softplus() -> Any:
    """g = -exp(A_log) x with x of either sign, here x = -s: the memory grows for negative x."""
    return unproved(1 - series.exp(-r * D).at(D, -D), D)
