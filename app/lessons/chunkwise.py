"""Lesson: the chunk form, by which Gated DeltaNet trains."""

from __future__ import annotations

from app.lessons import chunks
from app.lessons.frame import BREAK, Lesson, Lit, OneOf, Range, Step, on_table
from gdn_core.lab.studies import chunkwise as study

SIZE = Range(name="size", label="Tokens in the chunk, C", low=2, high=16, step=1, start=8)
ALPHA = Range(name="alpha", label="Decay α a token", low=0.5, high=1.0, step=0.05, start=0.9)
STRONG = Range(name="alpha", label="Decay α a token", low=0.3, high=0.95, step=0.05, start=0.5)
WIDTH = OneOf(
    name="width", label="Channels of keys and values, d", options={"64": "64", "128": "128", "256": "256"}, start="128"
)
RUN = Range(name="run", label="Measurement: other tokens, timed anew", low=1, high=5, step=1, start=1)
SAME = "gated_chunk_equals_recurrence"


LESSON = Lesson(
    slug="chunkwise", title="Chunkwise: how it trains", about="Many tokens at once, and still the recurrence.",
    steps=(
        Step(
            slug="solve", title="One triangular system", controls=(SIZE, ALPHA),
            question="A GPU is fast at products of matrices, and slow at one token after another. A chunk is some "
            "tokens in a row, and each error depends on those before it. How can all be found at once?",
            equation=(r"\alpha_i S_{i-1} = \sum_{j<i} \Gamma_{ij} \, u_j k_j^\top", BREAK,
                      r"u_i = \beta_i \bigl(v_i -", r"\sum_{j<i} \Gamma_{ij} \, (k_j^\top k_i) \, u_j\bigr)", BREAK,
                      r"(I + A) \, U = \operatorname{diag}(\beta) V,",
                      r"\quad A_{ij} = \beta_i \Gamma_{ij} \, k_j^\top k_i", BREAK,
                      r"U = T \operatorname{diag}(\beta) V, \quad", Lit(r"T = (I + A)^{-1}")),
            where="From an empty memory. First line: before token i the memory is the sum of the errors u written so "
            "far; Γᵢⱼ multiplies the decays after token j, up to i, and is 0 for j > i. Second: u = β (v − S k), with "
            "that sum for S. Third: all errors at the left, as rows of U; those of V are values, and A, a rate in "
            "lesson 6, is a triangle here, 0 on and above the diagonal. T is the inverse of I + A, found row after "
            "row: only these C rows wait for one another, and all else is products of matrices. diag(β) has β on its "
            "diagonal. β is 0.8. Touch an entry: the same one lights up in others.",
            claims=("ut_transform_is_the_gated_triangular_system", "ut_transform_makes_the_wy_form"),
            numbers=study.matrices, picture=chunks.draw_matrices,
            stream=lambda size, alpha: on_table(study.stream_of(alpha, study.BETA).window(0, size), "gated-deltanet"),
        ),
        Step(
            slug="carry", title="From one chunk to the next", controls=(SIZE, ALPHA),
            question="Now the chunk begins with a memory S that is not empty. What does S change in the errors, the "
            "outputs and the next memory S′?",
            equation=(r"(I + A) \, N = \operatorname{diag}(\beta) \bigl(V - \operatorname{diag}(\gamma) K S^\top\bigr)",
                      BREAK, Lit(r"N = U - W S^\top"), r", \quad W = T \operatorname{diag}(\beta \gamma) K", BREAK,
                      r"O = \operatorname{diag}(\gamma) Q S^\top +", r"(Q K^\top \odot \Gamma) N", BREAK,
                      r"S' = \gamma_C S + N^\top", r"\operatorname{diag}(\gamma_C / \gamma) K"),
            where="γᵢ multiplies the decays from the start of the chunk up to token i; γ with the index C is that of "
            "all. Key i also finds γᵢ S kᵢ in the old memory, so its error has vᵢ − γᵢ S kᵢ for vᵢ: first line. T "
            "times it: second line, N are the errors now. A query finds S, decayed, and the errors up to its own; "
            "⊙ multiplies entry by entry. S′ is S and all writes, each decayed to the end. K, Q, O: a row a token.",
            claims=(SAME, "ut_transform_makes_the_wy_form", "decays_count_once_in_w"), numbers=study.carried,
            picture=chunks.draw_carried,
            stream=lambda size, alpha: on_table(study.two_chunks(size, alpha), "gated-deltanet"),
        ),
        Step(
            slug="agreement", title="Exact, or an approximation?", controls=(ALPHA,),
            question="The chunk form multiplies in another order than the recurrence. How far are its outputs off: in "
            "fractions, in float32, and in the 16 bits of float16 and bfloat16?",
            equation=(Lit(r"\lvert O_{\text{chunks}} - O_{\text{token by token}} \rvert"), r"= 0 \text{ in fractions}"),
            where="A number keeps 24 binary digits in float32, 11 in float16, 8 in bfloat16, and every operation "
            "rounds to that many. GPU kernels take 16 bits for inputs only, and keep memory and sums in float32. In "
            "fractions: six tokens of two channels, whose numbers are rounded to eighths before both ways start.",
            claims=(SAME,), numbers=study.agreement, picture=chunks.draw_agreement,
            stream=lambda alpha: on_table(study.stream_of(alpha, 0.5), "gated-deltanet"),
        ),
        Step(
            slug="overflow", title="Which exponential to take", controls=(STRONG,),
            question="On paper exp(Gᵢ − Gⱼ) = exp(Gᵢ) exp(−Gⱼ). For which chunks does that fail?",
            equation=(r"\Gamma_{ij} =", Lit(r"e^{G_i - G_j}"), r"\ne e^{G_i} \cdot e^{-G_j}", r"\text{ in floats}"),
            where="G is the log decay added up from the start of the chunk: γ = exp(G). The difference is never "
            "positive, since j ≤ i.",
            claims=(SAME,), numbers=study.exponents, picture=chunks.draw_exponents,
            stream=lambda alpha: on_table(study.stream_of(alpha, 0.5), "gated-deltanet"),
        ),
        Step(
            slug="cost", title="What a chunk costs", controls=(WIDTH, RUN),
            question="Larger chunks wait less and multiply more. Where is the work within chunks as large as that "
            "with the memory, and which chunk is the fastest here?",
            equation=(Lit("3 C d"), "+", "3 d^2", r"\text{ multiplications a token}"),
            where="C is the chunk size, d the channels. A token looks back at C/2 others on average, and each costs d "
            "six times: its key decayed, times the token's key, and times its error, in the solve; the same three "
            "with the query, in the output. With the memory: S k, S q and the write, d² each. Smaller terms are in "
            "the numbers below. The time is that of the equations of the second step in NumPy, on this server.",
            claims=("training_all_at_once_is_quadratic_and_in_chunks_linear",), numbers=study.cost,
            picture=chunks.draw_cost, measured=("seconds",),
            stream=lambda width, run: on_table(study.first_timed(width, run), "gated-deltanet"),
            lab="The first tokens in the lab",
        ),
    ),
)  # fmt: skip
