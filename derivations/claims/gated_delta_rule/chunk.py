"""The chunk form of the gated delta rule is its recurrence, with one decay for the whole memory."""

from __future__ import annotations

import random
from typing import Any

from derivations.engines.algebra import equation
from derivations.engines.cases import symbols, vectors
from derivations.models.gated_chunk import STREAM, Induction, chunk_against_recurrence, chunks_against_recurrence
from derivations.mutants.by_hand import planted
from derivations.papers import cite
from derivations.registry import claim
from derivations.scope import WIDE, EverySize, Sizes
from gdn_core import reference
from gdn_core.rules import GATED_DELTANET


def _statement() -> str:
    words = Induction()
    S_n = words.algebra.matrix("S_n", "V", "K")
    nu = words.algebra.vector("nu", "V", tex=r"\nu")
    return (
        rf"{equation(S_n, words.hypothesis)} \;\Rightarrow\; "
        rf"{equation(words.algebra.matrix('S_{n+1}', 'V', 'K', tex='S_{n+1}'), words.chunk(nu)[0])}, \quad "
        rf"{equation(nu, words.error())}"
    )


@claim(
    statement=_statement,
    assumptions=(
        r"$\Lambda = \operatorname{diag}(\gamma_n / \gamma_j)$ and $c = \gamma_n$, with $\gamma_j$ the product of the "
        r"decays of tokens 1 to j; $N$ and $K$ are the errors and keys of tokens 1 to n, row by row.",
        r"The induction starts at the empty chunk, where $c = 1$ and $N$ has no rows.",
    ),
    scope=EverySize("C", "dk", "dv"),
    engine="words",
    source=cite("2412.06464", "sec. 3.3 and appendix A"),
    code=(reference.step, reference.chunk, reference.chunkwise),
    uses=("ut_transform_is_the_gated_triangular_system",),
)
def gated_chunk_equals_recurrence() -> Any:
    r"""The chunk form of the gated delta rule is its recurrence, memory and outputs.

    The induction step: if both forms agree after n tokens, they agree after n + 1, in the memory and in the last
    output. Suppose $S_n = c S_0 + N^\top \Lambda K$. The next token decays that to $\alpha S_n$ and reads its key:
    its error is $\nu = \beta (v - \alpha c S_0 k - \alpha N^\top \Lambda K k)$. It writes $\nu k^\top$, and
    $S_{n+1} = \alpha c S_0 + \alpha N^\top \Lambda K + \nu k^\top$ is the chunk form with $\nu$ as the next row of $N$
    and $k$ as that of $K$: old writes are decayed by $\alpha$ once more, the new one not yet.
    """
    words = Induction()
    return words.residual(words.error())


@gated_chunk_equals_recurrence.step(engine="gram", scope=WIDE)
def code_on_vectors_of_any_width() -> Any:
    """The reference's chunk is the reference's recurrence."""
    return (chunk_against_recurrence(vectors(GATED_DELTANET, C)) for C in WIDE.lengths)


@gated_chunk_equals_recurrence.step(engine="ring", scope=Sizes(C=4, dk=3, dv=2))
def code_on_symbols() -> Any:
    """The reference's chunk is the reference's recurrence."""
    return chunk_against_recurrence(symbols(GATED_DELTANET, 4, 2, 3))


@gated_chunk_equals_recurrence.step(engine="field", scope=STREAM)
def code_at_real_sizes(rng: random.Random) -> Any:
    """The reference's chunks, one after the other, are the reference's recurrence."""
    return chunks_against_recurrence(GATED_DELTANET, rng, STREAM)


@gated_chunk_equals_recurrence.refute
def gram_matrix_without_decay() -> Any:
    """The decays are left out of the triangular system."""
    words = Induction()
    return words.residual(words.error(gram=words.algebra.identity("n")))


@gated_chunk_equals_recurrence.refute
def error_read_before_the_decay() -> Any:
    """The error is read from the memory before the decay has acted on it."""
    words = Induction()
    return words.residual(words.error(from_start=words.c, gram=words.L))


@gated_chunk_equals_recurrence.refute
def causal_mask_for_decay_mask() -> Any:
    """The outputs are masked by the causal mask of ones in place of the decay mask."""
    words = Induction()
    return words.residual(words.error(), mask=words.algebra.identity("n"))


@gated_chunk_equals_recurrence.refute
def causal_mask_for_decay_mask_in_the_code() -> Any:
    """The same misprint, planted in the reference."""
    wrong = planted(reference.chunk, "exp(G[i] - G[:i + 1])", "exp(0 * G[:i + 1])")
    return chunk_against_recurrence(vectors(GATED_DELTANET, 3), wrong)


@gated_chunk_equals_recurrence.refute
def memory_before_the_chunk_not_decayed_in_the_code() -> Any:
    """The memory before the chunk is not decayed over the chunk."""
    wrong = planted(reference.chunk, "gamma[C - 1] * S", "S")
    return chunk_against_recurrence(vectors(GATED_DELTANET, 3), wrong)
