"""The decays that count twice in W."""

from __future__ import annotations

from typing import Any

from derivations.models.chunk_matrices import matrix_form, written_U_and_W
from derivations.models.errata import TWO_TOKENS, Erratum, against, entries, erratum, in_letters, in_numbers
from derivations.scope import Sizes
from gdn_core import reference
from gdn_core.rules import Source

ENTRY = Erratum(
    title="W is made with the decayed inverse of U, and decayed again.",
    printed=r"\overleftarrow{W} = \operatorname{diag}(\gamma) \bigl(I + "
    r"\operatorname{tril}(\operatorname{diag}(\beta) (K K^\top \odot \Gamma), -1)\bigr)^{-1} "
    r"\operatorname{diag}(\beta) K",
    seen=(Source("github.com/NeuraLegion/shainet", "pull request 170, which mends it"),),
    numbers=TWO_TOKENS,
    gives="65/16",
    should_give="17/4",
    compared="the memory after token 2",
    proved_by=("ut_transform_is_the_gated_triangular_system",),
    note="The decayed inverse applied to diag(gamma) diag(beta) K is right too: only the mixture is wrong.",
)


def decayed_twice() -> tuple[Any, Any]:
    """Compute the memory after two tokens by the printed form, and by the code."""
    case = in_numbers(ENTRY)
    wrong, _ = case.run(matrix_form, ungated="A_decayed")
    right, _ = case.run(reference.recurrent)
    return wrong[0, 0], right[0, 0]


def w_difference() -> Any:
    """Return the difference of the memories after two tokens, in letters."""
    case = in_letters(2)
    right, _ = case.run(matrix_form)
    wrong, _ = case.run(matrix_form, ungated="A_decayed")
    return case.residual(right, wrong)[0, 0]


def w_residual(*, factor: int = 1) -> Any:
    """Compare the difference of the memories of two tokens with its value, b1 b2 k1^2 k2^2 s a1 a2 (1 - a2)."""
    y = entries(in_letters(2))
    (k1, k2), (b1, b2), (a1, a2), s = y["k"], y["b"], y["a"], y["s"][0]
    return w_difference() - factor * b1 * b2 * k1**2 * k2**2 * s * a1 * a2 * (1 - a2)


def written_W() -> str:
    """Print W of a chunk."""
    return rf"\overleftarrow{{W}} = {written_U_and_W()[1]}"


@erratum(ENTRY, decayed_twice, written_W, w_difference, code=(reference.step, reference.recurrent))
def decays_count_once_in_w() -> Any:
    """W is made with the inverse without decays, and multiplied by the decays once."""
    return against(ENTRY, decayed_twice)


@decays_count_once_in_w.step(engine="ring", scope=Sizes(C=2, dk=1, dv=1))
def residual_of_the_decays() -> Any:
    """In letters the right memory less the printed one is b1 b2 k1^2 k2^2 s a1 a2 (1 - a2)."""
    return w_residual()


@decays_count_once_in_w.refute
def decays_may_count_twice() -> Any:
    """The difference is said to be zero."""
    return w_residual(factor=0)


@decays_count_once_in_w.refute
def printed_form_is_the_code() -> Any:
    """The printed form is said to be the code's chunk."""
    case = in_letters(2)
    return case.compare(case.run(matrix_form, ungated="A_decayed"), case.run(reference.chunk))
