"""What the programs that run compute, in words, and what their claims assume."""

from __future__ import annotations

from collections.abc import Callable

from derivations.engines import arrays
from derivations.engines.algebra import Algebra, equation
from gdn_core import reference

EXACTLY = (
    r"Sums, products and casts do not round: entries are integers mod p, and $e^g$ is a power, so that "
    r"$e^{g + h} = e^g e^h$; $\alpha_t = e^{g_t}$.",
)


def recurrence(form: str) -> Callable[[], str]:
    """Return a function that prints what a form computes: the reference's step, in words."""

    def statement() -> str:
        a = Algebra("alpha_t beta_t")
        alpha, beta = a.all_scalars()
        S, q, k, v = a.matrix("S_{t-1}", "V", "K"), a.vector("q_t", "K"), a.vector("k_t", "K"), a.vector("v_t", "V")
        x = arrays.token(q=q, k=k, v=v, decay=alpha, erase=beta, write=beta)
        memory, output = reference.step(arrays.Array(S, 2), x, exp=arrays.exp)
        left = a.matrix("S_t", "V", "K"), a.vector("o_t", "V")
        return rf"{form}, \quad {equation(left[0], memory.word)}, \quad {equation(left[1], output.word)}"

    return statement
