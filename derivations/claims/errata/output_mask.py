"""The causal mask in the output of a chunk, where the decay mask is meant."""

from __future__ import annotations

from typing import Any

from derivations.engines import written
from derivations.engines.written import Kind
from derivations.models.chunk_matrices import outputs, written_chunk
from derivations.models.errata import TWO_TOKENS, Erratum, against, entries, erratum, in_letters, in_numbers
from derivations.mutants.by_hand import planted
from derivations.papers import cite
from derivations.scope import Sizes
from gdn_core import reference
from gdn_core.rules import Source

ENTRY = Erratum(
    title="The causal mask M stands in the output of a chunk, where the decay mask Gamma is meant.",
    printed=r"O = \overleftarrow{Q} S^\top + (Q K^\top \odot M) "
    r"\bigl(\widetilde U - \overleftarrow{W} S^\top\bigr)",
    seen=(
        cite("2412.06464", "v3, sec. 3.3, the gated chunk form, unnumbered"),
        Source("github.com/NVlabs/GatedDeltaNet", "issues 13 and 15, which report it"),
    ),
    numbers=TWO_TOKENS,
    gives="49/8",
    should_give="17/4",
    compared="the output of token 2",
    proved_by=("gated_chunk_equals_recurrence",),
    note="Version 1 of the paper has Gamma there, in its eq. 12; so has the paper's own eq. 1.",
)
MASKED = ("exp(G[i] - G[:i + 1])", "exp(0 * G[:i + 1])")


def masks() -> tuple[Any, Any]:
    """Compute the output of token 2 under the causal mask, and by the code."""
    case = in_numbers(ENTRY)
    _, wrong = case.run(planted(reference.chunk, *MASKED))
    _, o = case.run(reference.recurrent)
    return wrong[1, 0], o[1, 0]


def mask_difference() -> Any:
    """Return the difference of the outputs of token 2, in letters."""
    case = in_letters(2)
    _, o = case.run(reference.chunk)
    _, wrong = case.run(planted(reference.chunk, *MASKED))
    return case.residual(o, wrong)[1, 0]


def mask_residual(*, factor: int = 1) -> Any:
    """Compare the difference of the outputs of token 2 with the residual -b1 k1 q2 (a2 - 1)(a1 k1 s - v1)."""
    x = entries(in_letters(2))
    k1, b1, v1, a1, s = (x[name][0] for name in "kbvas")
    return mask_difference() + factor * b1 * k1 * x["q"][1] * (x["a"][1] - 1) * (a1 * k1 * s - v1)


def masked_outputs() -> str:
    """Print the outputs of a chunk."""
    x, made = written_chunk()
    S, N = written.letters(Kind.MATRIX, "S", "N")
    return rf"O = {outputs(S, x.q, x.g, made['P'], N)}, \; N = \widetilde U - \overleftarrow{{W}} S^\top"


@erratum(ENTRY, masks, masked_outputs, mask_difference, code=(reference.step, reference.chunk))
def chunk_output_needs_the_decay_mask() -> Any:
    """In the output of a chunk the products of queries and keys have the decay mask, not the causal mask of ones."""
    return against(ENTRY, masks)


@chunk_output_needs_the_decay_mask.step(engine="ring", scope=Sizes(C=2, dk=1, dv=1))
def residual_of_the_mask() -> Any:
    """In letters the right output of token 2 less the printed one is -b1 k1 q2 (a2 - 1)(a1 k1 s - v1)."""
    return mask_residual()


@chunk_output_needs_the_decay_mask.refute
def no_difference_at_all() -> Any:
    """The two masks are said to give the same output."""
    return mask_residual(factor=0)


@chunk_output_needs_the_decay_mask.refute
def causal_mask_is_the_recurrence() -> Any:
    """The printed form is said to be the recurrence."""
    case = in_letters(2)
    return case.compare(case.run(planted(reference.chunk, *MASKED)), case.run(reference.recurrent))
