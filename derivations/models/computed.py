"""What the programs that run compute, in words, and what their claims assume."""

from __future__ import annotations

from collections.abc import Callable

from derivations.engines import arrays
from derivations.engines.algebra import Algebra, equation
from derivations.engines.trees import Expr
from gdn_core import reference

EXACTLY = (
    r"Sums, products and casts do not round: entries are integers mod p, and $e^g$ is a power, so that "
    r"$e^{g + h} = e^g e^h$; $\alpha_t = e^{g_t}$.",
)

OUTWEIGHED = (
    r"$g \le 0$. In sequence n of a batch the log decays of token n outweigh those of all other tokens together, so a "
    "sum of log decays in which one has a minus sign is positive in one of the sequences."
)


def recurrence(form: str, *, by_channel: bool = False) -> Callable[[], str]:
    """Return a function that prints what a form computes: the reference's step, in words.

    Args:
        form: TeX of the form.
        by_channel: decay, erase gate and write gate have a number for each channel; else one number, both gates beta.
    """

    def statement() -> str:
        a = Algebra("" if by_channel else "alpha_t beta_t")
        decay: Expr
        erase: Expr
        write: Expr
        if by_channel:
            decay, erase = (a.diagonal(name, "K", tex=rf"\operatorname{{diag}}({tex})")
                            for name, tex in (("A_t", r"\alpha_t"), ("B_t", "b_t")))  # fmt: skip
            write = a.diagonal("W_t", "V", tex=r"\operatorname{diag}(w_t)")
        else:
            decay, erase = a.all_scalars()
            write = erase
        S, q, k, v = a.matrix("S_{t-1}", "V", "K"), a.vector("q_t", "K"), a.vector("k_t", "K"), a.vector("v_t", "V")
        x = arrays.token(q=q, k=k, v=v, decay=decay, erase=erase, write=write)
        memory, output = reference.step(arrays.Array(S, 2), x, exp=arrays.exp)
        left = a.matrix("S_t", "V", "K"), a.vector("o_t", "V")
        return rf"{form}, \quad {equation(left[0], memory.word)}, \quad {equation(left[1], output.word)}"

    return statement


def gradient(form: str, *, by_channel: bool = False) -> Callable[[], str]:
    """Return a function that prints what a backward pass computes: the gradient of outputs and last memories.

    Args:
        form: the name of the pass, in TeX.
        by_channel: as of :func:`recurrence`.
    """
    gates = "b, w" if by_channel else r"\beta"
    return recurrence(
        rf"\operatorname{{{form}}}(q, k, v, g, {gates}, S_0, \dot o, \dot S_T) = "
        r"\nabla \bigl(\langle \dot o, o \rangle + \langle \dot S_T, S_T \rangle\bigr)",
        by_channel=by_channel,
    )
