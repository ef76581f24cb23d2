"""From an empty memory the outputs are attention under an effective matrix."""

from __future__ import annotations

import random
from typing import Any

from derivations.engines.algebra import Algebra
from derivations.engines.cases import Case, points, vectors
from derivations.engines.written import inverse
from derivations.models.chunk_matrices import Inverse, inverse_of_unit_lower, matrices, written_chunk
from derivations.models.gated_chunk import ONE_CHUNK
from derivations.papers import cite
from derivations.registry import claim
from derivations.scope import WIDE, EverySize
from gdn_core import reference
from gdn_core.reference import Array, Exp, Stack, Token
from gdn_core.rules import GATED_DELTANET


def attend(made: dict[str, Array], system: str, values: Array, inverse: Inverse) -> Array:
    """Return the outputs of a chunk from an empty memory."""
    return made["P"] @ inverse(made[system]) @ values


def _attention() -> str:
    x, made = written_chunk()
    return rf"S_0 = 0 \;\Rightarrow\; O = {attend(made, 'A_decayed', x.b * x.v, inverse)}"


@claim(
    statement=_attention,
    assumptions=(
        r"$\Gamma_{ij} = \gamma_i / \gamma_j$ for $j \le i$. What stands before $V$ is the attention matrix $A$.",
    ),
    scope=EverySize("C", "dk", "dv"),
    engine="words",
    source=cite("2412.06464", "sec. 3.3 and appendix A"),
    code=(reference.recurrent,),
    uses=("gated_chunk_equals_recurrence", "ut_transform_is_the_gated_triangular_system"),
)
def outputs_are_effective_attention() -> Any:
    r"""From an empty memory the gated delta rule is attention: a matrix, made of keys and queries, times V.

    A query finds each earlier error, decayed: $o_i = \sum_{j \le i} \Gamma_{ij} (k_j^\top q_i) \nu_j$, or
    $O = \operatorname{tril}(Q K^\top \odot \Gamma) N$. And N is the solution of the triangular system with $S_0 = 0$.
    """
    a = Algebra()
    V, N, P = a.matrix("V", "n", "V"), a.matrix("N", "n", "V"), a.matrix("P", "n", "n")
    A, T, B = a.matrix("A", "n", "n"), a.matrix("T", "n", "n"), a.diagonal("B", "n")
    a.rule(T @ A, a.identity("n") - T)  # T is the inverse of I + A
    a.rule(A @ N, B @ V - N)  # the triangular system, from an empty memory
    # T (I + A) N equals N, and it equals T B V, so the outputs P N are (P T B) V.
    return [((T + T @ A) @ N - N).normal(), (P @ (T @ (N + A @ N)) - P @ T @ B @ V).normal()]


def effective_attention(x: Token, *, exp: Exp, stack: Stack, system: str = "A_decayed", beta: bool = True) -> Array:
    """Return the outputs as A V."""
    m = matrices(x, exp=exp, stack=stack)
    return attend(m, system, x.b * x.v if beta else x.v, lambda A: inverse_of_unit_lower(A, stack))


def attention_against_recurrence(case: Case, **wrong: Any) -> Any:
    """Compare A V with the outputs of the recurrence."""
    _, o = case.run(reference.recurrent)
    return case.residual(effective_attention(case.x, exp=case.exp, stack=case.stack, **wrong), o)


@outputs_are_effective_attention.step(engine="gram", scope=WIDE)
def code_is_effective_attention() -> Any:
    """The reference's outputs are A V."""
    return (attention_against_recurrence(vectors(GATED_DELTANET, C).from_zero()) for C in WIDE.lengths)


@outputs_are_effective_attention.step(engine="field", scope=ONE_CHUNK)
def code_is_effective_attention_at_real_sizes(rng: random.Random) -> Any:
    """The reference's outputs are A V."""
    cases = (points(GATED_DELTANET, 64, 144, 128, rng).from_zero() for _ in range(ONE_CHUNK.primes))
    return (attention_against_recurrence(case) for case in cases)


@outputs_are_effective_attention.refute
def attention_with_a_full_memory() -> Any:
    """The memory before the chunk is not empty, and is read by the queries too."""
    return attention_against_recurrence(vectors(GATED_DELTANET, 3))


@outputs_are_effective_attention.refute
def attention_without_beta() -> Any:
    """The last factor, the write gates, is left out."""
    return attention_against_recurrence(vectors(GATED_DELTANET, 3).from_zero(), beta=False)


@outputs_are_effective_attention.refute
def attention_through_the_ungated_system() -> Any:
    """The inverse without decays is taken."""
    return attention_against_recurrence(vectors(GATED_DELTANET, 3).from_zero(), system="A")
