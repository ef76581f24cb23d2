"""Errata: formulas that are printed wrong, each with a counterexample in numbers and a proof of the right one.

An entry is data; that its numbers are what the printed and the right formula give is checked by the claim of its name
in :mod:`derivations.claims.errata`. Where a place is named, it was read there; a formula that only circulates is
described and not pinned on anyone.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction as Q

from gdn_core.rules import Source

GATED = "Gated Delta Networks: Improving Mamba2 with Delta Rule"


@dataclass(frozen=True)
class Erratum:
    """A formula that is printed wrong.

    Args:
        name: of the claim that checks the entry.
        title: what is wrong, in a sentence.
        printed: the wrong formula, in TeX, as it stands there. The right one is printed from what proves it.
        seen: where the wrong formula was read.
        numbers: the counterexample: the letters of one scalar memory, one entry a token.
        gives: what the wrong formula gives there.
        should_give: what the right formula gives.
        compared: what the two numbers are.
        proved_by: the claims that prove the right formula.
        note: what else a reader should know.
    """

    name: str
    title: str
    printed: str
    seen: tuple[Source, ...]
    numbers: dict[str, tuple[Q, ...]]
    gives: str
    should_give: str
    compared: str
    proved_by: tuple[str, ...]
    note: str = ""


def _scalars(**letters: tuple[int | Q, ...]) -> dict[str, tuple[Q, ...]]:
    return {name: tuple(Q(value) for value in values) for name, values in letters.items()}


TWO_TOKENS = _scalars(s=(1,), a=(Q(1, 2), Q(1, 4)), b=(1, Q(1, 2)), k=(1, 2), v=(3, 5), q=(1, 1))
ONE_TOKEN = _scalars(s=(1,), a=(Q(1, 2),), b=(1,), k=(1,), v=(3,), q=(1,))

ERRATA: dict[str, Erratum] = {
    entry.name: entry
    for entry in (
        Erratum(
            name="chunk_output_needs_the_decay_mask",
            title="The causal mask M stands in the output of a chunk, where the decay mask Gamma is meant.",
            printed=r"O = \overleftarrow{Q} S^\top + (Q K^\top \odot M) "
            r"\bigl(\widetilde U - \overleftarrow{W} S^\top\bigr)",
            seen=(
                Source("2412.06464", "v3, sec. 3.3, the gated chunk form, unnumbered", GATED),
                Source("github.com/NVlabs/GatedDeltaNet", "issues 13 and 15, which report it"),
            ),
            numbers=TWO_TOKENS,
            gives="49/8",
            should_give="17/4",
            compared="the output of token 2",
            proved_by=("gated_chunk_equals_recurrence",),
            note="Version 1 of the paper has Gamma there, in its eq. 12; so has the paper's own eq. 1.",
        ),
        Erratum(
            name="ut_transform_inverts_i_plus_the_triangle",
            title="The UT transform inverts I minus the triangle, where I plus it is meant.",
            printed=r"T = \bigl(I - \operatorname{tril}(\operatorname{diag}(\beta) K K^\top, -1)\bigr)^{-1} "
            r"\operatorname{diag}(\beta)",
            seen=(
                Source("2412.06464", "v1, sec. 3.2; version 3 has the plus", GATED),
                Source(
                    "github.com/fla-org/flash-linear-attention",
                    "fla/ops/delta_rule/naive.py, a comment above right code",
                ),
            ),
            numbers=_scalars(s=(0,), a=(1, 1), b=(1, Q(1, 2)), k=(1, 2), v=(3, 5), q=(1, 1)),
            gives="11/2",
            should_give="-1/2",
            compared="the error of token 2",
            proved_by=("ut_transform_makes_the_wy_form", "ut_transform_is_the_gated_triangular_system"),
        ),
        Erratum(
            name="error_is_read_after_the_decay",
            title="The error is read from the memory before it has decayed.",
            printed=r"S_t = \alpha_t S_{t-1} + \beta_t (v_t - S_{t-1} k_t) k_t^\top",
            seen=(Source("hexdocs.pm/edifice", "Edifice.Recurrent.GatedDeltaNet, the module's documentation"),),
            numbers=ONE_TOKEN,
            gives="5/2",
            should_give="3",
            compared="the memory after the token",
            proved_by=("delta_rule_is_a_gradient_step", "gated_chunk_equals_recurrence"),
            note="With a unit key and beta = 1 the new value must be answered: the printed form answers a mixture.",
        ),
        Erratum(
            name="decays_count_once_in_w",
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
        ),
        Erratum(
            name="affine_maps_carry_the_translation_through_the_second_map",
            title="Two affine maps are composed as [M_i M_j, M_j X_i + X_j], where X_i M_j + X_j is meant.",
            printed=r"(M_i, X_i) \cdot (M_j, X_j) = (M_i M_j,\; M_j X_i + X_j)",
            seen=(),
            numbers={},
            gives="0",
            should_give="3",
            compared="the first entry of the memory, with M_j = (1 0; 3 1), X_i = (0 1; 0 0) and the rest zero",
            proved_by=("affine_maps_compose_associatively", "two_segments_merge_exactly"),
            note="With dk unlike dv the printed product does not even fit; for scalar decays alone both agree. A like "
            "slip, of maps that act from the left, is issue 5 of github.com/srush/annotated-mamba.",
        ),
        Erratum(
            name="decays_of_a_write_start_behind_it",
            title="The decay from a write to a later token counts the write's own decay.",
            printed=r"\gamma^{i \to r} = \prod_{t = i}^{r} \alpha_t",
            seen=(
                Source(
                    "2510.26692",
                    "eqs. 3 to 5, sec. 3.1, as one machine transcription has them; its eqs. 6 to 9 are right",
                    "Kimi Linear: An Expressive, Efficient Attention Architecture",
                ),
            ),
            numbers=TWO_TOKENS,
            gives="21/16",
            should_give="17/4",
            compared="the memory after token 2",
            proved_by=("write_weighs_the_decays_since", "chunk_by_channel_equals_recurrence"),
        ),
        Erratum(
            name="eigenvalue_has_the_squared_key_length",
            title="The eigenvalue of a transition is written with the length of the key, where its square is meant.",
            printed=r"\lambda = 1 - \beta \|k\|",
            seen=(),
            numbers=_scalars(b=(1,), k=(2,)),
            gives="-1",
            should_give="-3",
            compared="the eigenvalue along the key",
            proved_by=("delta_transition_has_one_eigenvalue_off_one",),
            note="For unit keys both agree.",
        ),
        Erratum(
            name="longhorn_objective_adds_the_error",
            title="Longhorn's objective is printed with a minus before the error.",
            printed=r"\|S' - S\|_F^2 - \beta \|S' k - v\|^2",
            seen=(Source("2412.06464", "Table 1, sec. 3.1, in two transcriptions", GATED),),
            numbers=_scalars(s=(1,), b=(Q(1, 2),), k=(1,), v=(4,)),
            gives="-2",
            should_give="2",
            compared="where the objective is stationary",
            proved_by=("longhorn_step_is_the_delta_rule_with_a_smaller_gate",),
            note="The update that is stated beside it is the minimiser of the objective with the plus.",
        ),
        Erratum(
            name="rows_are_tokens_so_the_values_are_transposed",
            title="A chunk's writes are printed as V K' with a token a row, which does not fit.",
            printed=r"S_{[t+1]} = S_{[t]} + V_{[t]} K_{[t]}^\top \in \mathbb{R}^{d_v \times d_k}",
            seen=(Source("2412.06464", "v3, sec. 2.1, in two transcriptions; its eq. 1 has the transpose", GATED),),
            numbers=_scalars(s=(0,), a=(1, 1), b=(0, 0), k=(1, 2), v=(3, 5), q=(1, 1)),
            gives="2 x 2",
            should_give="1 x 1",
            compared="the shape of the product for two tokens, with dk = dv = 1",
            proved_by=("memory_answers_the_value_and_the_overlaps",),
        ),
    )
}
