"""Lesson: the chunk form, by which Gated DeltaNet trains."""

from __future__ import annotations

import numpy as np

from app.lessons.frame import BREAK, Lesson, Lit, Numbers, OneOf, Range, Step, many, on_table, said
from app.reel.panels import TEXT, Curves, Line, Map, Maps, Reel
from gdn_core.lab.studies import chunkwise as study

SIZE = Range(name="size", label="Tokens in the chunk, C", low=2, high=16, step=1, start=8)
ALPHA = Range(name="alpha", label="Decay α a token", low=0.5, high=1.0, step=0.05, start=0.9)
STRONG = Range(name="alpha", label="Decay α a token", low=0.3, high=0.95, step=0.05, start=0.5)
WIDTH = OneOf(
    name="width", label="Channels of keys and values, d", options={"64": "64", "128": "128", "256": "256"}, start="128"
)
COMPARED = ("size", "exact", "float16", "float32")
LARGEST = float(np.finfo(np.float32).max)


def _draw_matrices(numbers: Numbers, size: int, alpha: float) -> Reel:
    T, U, errors = numbers["T"], numbers["U"], numbers["errors"]
    told = [
        f"Row {i} of T is row {i} of the identity, less row {i} of A times the rows above: {many(i, 'product')}. Row "
        f"{i} of U is the error that the recurrence writes at token {i}, up to {said(apart, least=0.0)}."
        for i, apart in enumerate(np.abs(U - errors).max(axis=1))
    ]
    so_far = (np.arange(size)[:, None] >= np.arange(size))[:, :, None]
    squares = Maps(
        title="C by C, within the chunk", rows="later token i", columns="earlier token j", small=105, limit=1.0,
        maps=(Map(name="Γ", values=numbers["Gamma"]), Map(name="A", values=numbers["A"]), Map(name="T", values=T)),
    )
    rows = Maps(
        title="A row for each token", rows="token", columns="channel", small=150,
        maps=(Map(name="U, of V channels", values=so_far * U), Map(name="W, of K", values=so_far * numbers["W"])),
    )
    ticks = tuple(map(str, range(size)))
    return Reel(panels=(squares, rows), counts="row solved", ticks=ticks, said=tuple(told), start=size // 2)


def _draw_agreement(numbers: Numbers, alpha: float) -> Reel:
    size, own = numbers["size"], dict(zip(study.FLOATS, numbers["recurrence"], strict=True))
    told = [
        f"Chunks of {many(n, 'token')}. In fractions the largest difference from the recurrence is exactly "
        f"{said(exact, least=0.0)}; in float32 it is {said(single, least=0.0)} of the largest output, in float16 "
        f"{said(half, least=0.0)}, where the recurrence itself has {said(own['float16'], least=0.0)}."
        for n, exact, half, single in zip(*(numbers[name] for name in COMPARED), strict=True)
    ]
    dashes = ("solid", "dash", "dot")
    lines = tuple(Line(name=n, y=numbers[n], colour=i, dash=dashes[i]) for i, n in enumerate(study.FLOATS))
    chart = Curves(
        title="Chunk form less recurrence in float64; in fractions it is 0", x=size, lines=lines, at=size, log="y",
        x_title="tokens in a chunk", y_title="difference, relative",
    )
    return Reel(panels=(chart,), counts="tokens in a chunk", ticks=tuple(map(str, size)), said=tuple(told), start=7)


def _product(x: float) -> str:
    return said(x, least=0.0) if np.isfinite(x) else "no number any more"


def _draw_exponents(numbers: Numbers, alpha: float) -> Reel:
    size, growing, together = numbers["size"], numbers["growing"], numbers["together"]
    told = [
        f"{many(n, 'token')}: the log decay is {said(G)}. "
        + (f"exp(−G) is {said(g, least=0.0)}." if np.isfinite(g) else "exp(−G) is too large for float32.")
        + f" The two factors multiply to {_product(p)}, where 1 is right."
        for n, G, g, p in zip(size, numbers["G"], growing, numbers["product"], strict=True)
    ]
    lines = (
        Line(name="exp(Gᵢ − Gⱼ), formed together", y=together),
        Line(name="exp(−Gⱼ), formed alone", y=growing, colour=1, dash="dash"),
        Line(name="largest float32", y=np.full(len(size), LARGEST), colour=TEXT, dash="dot"),
    )
    chart = Curves(
        title="The decay over a chunk, in float32", x=size, lines=lines, x_title="tokens in a chunk", y_title="factor",
        at=size, log="xy", top=1e40, bottom=1e-40,
    )
    return Reel(panels=(chart,), counts="tokens in a chunk", ticks=tuple(map(str, size)), said=tuple(told), start=20)


def _draw_cost(numbers: Numbers, width: str) -> Reel:
    size, inside, carried, waits = (numbers[name] for name in ("size", "inside", "carried", "waits"))
    told = [
        f"Chunks of {many(n, 'token')}: {said(a, 3)} multiplications a token within chunks, {said(b, 3)} with the "
        f"memory. Of 4,096 tokens, {many(int(w), 'chunk')} follow one after the other."
        for n, a, b, w in zip(size, inside, carried, waits, strict=True)
    ]
    work = (
        Line(name="within chunks", y=inside), Line(name="with the memory", y=carried, colour=1, dash="dash"),
        Line(name="together", y=inside + carried, colour=2, dash="dot"),
    )
    panels = (
        Curves(title="Multiplications a token", x=size, lines=work, at=size, log="xy", x_title="tokens in a chunk",
               y_title="multiplications"),
        Curves(title="Chunks of 4,096 tokens, one after the other", x=size, at=size, log="xy",
               lines=(Line(name="chunks", y=waits, colour=3),), x_title="tokens in a chunk", y_title="chunks"),
    )
    return Reel(panels=panels, counts="tokens in a chunk", ticks=tuple(map(str, size)), said=tuple(told), start=6)


LESSON = Lesson(
    slug="chunkwise", title="Chunkwise: how it trains", about="Many tokens at once, and still the recurrence.",
    steps=(
        Step(
            slug="solve", title="One triangular system", controls=(SIZE, ALPHA),
            question="Each error depends on those before it in the chunk. How can all be found without the memory "
            "after each token?",
            equation=(r"u_i = \beta_i \bigl(v_i -", r"\sum_{j<i} \Gamma_{ij} \, (k_i^\top k_j) \, u_j\bigr)", BREAK,
                      r"U = T \operatorname{diag}(\beta) V, \quad", Lit(r"T = (I + A)^{-1}"),
                      r", \quad A_{ij} = \beta_i \Gamma_{ij} \, k_i^\top k_j", r"\text{ for } j < i"),
            where="Row i of K, V and U is the key, the value and the error of token i; Γᵢⱼ multiplies the decays after "
            "token j, up to i. From an empty memory, token i finds the decayed sum of the errors before it: the first "
            "line. As a matrix: (I + A) U = diag(β) V. Touch an entry: the same one lights up in the others.",
            claims=("ut_transform_is_the_gated_triangular_system", "ut_transform_makes_the_wy_form"),
            numbers=study.matrices, picture=_draw_matrices,
            stream=lambda size, alpha: on_table(study.stream_of(alpha, 1.0), "gated-deltanet"),
        ),
        Step(
            slug="agreement", title="The same outputs", controls=(ALPHA,),
            question="Is the chunk form an approximation? Guess the difference in fractions, and in float32.",
            equation=("O =", Lit(r"\operatorname{diag}(\gamma) Q S^\top"), r"+ (Q K^\top \odot \Gamma)",
                      r"N, \quad N = U - W S^\top", BREAK,
                      r"S' = \gamma_C S + N^\top", r"\operatorname{diag}(\gamma_C / \gamma) K"),
            where="S is the memory before the chunk, S′ after it, γ the decay from its start up to each token, γ_C of "
            "all. Key i finds γᵢ S kᵢ in S: βᵢ vᵢ becomes βᵢ (vᵢ − γᵢ S kᵢ). So the errors are N, with W = T diag(βγ) "
            "K. A query finds S and the errors so far, decayed. ⊙: entry by entry. In fractions: six tokens, d = 2.",
            claims=("gated_chunk_equals_recurrence", "decays_count_once_in_w"), numbers=study.agreement,
            picture=_draw_agreement, stream=lambda alpha: on_table(study.stream_of(alpha, 0.5), "gated-deltanet"),
        ),
        Step(
            slug="overflow", title="Which exponential to take", controls=(STRONG,),
            question="On paper exp(Gᵢ − Gⱼ) = exp(Gᵢ) exp(−Gⱼ). For which chunks does that fail?",
            equation=(r"\Gamma_{ij} =", Lit(r"e^{G_i - G_j}"), r"\ne e^{G_i} \cdot e^{-G_j}", r"\text{ in floats}"),
            where="G is the log decay added up from the start of the chunk. The difference is never positive: j ≤ i.",
            claims=("gated_chunk_equals_recurrence",), numbers=study.exponents, picture=_draw_exponents,
            stream=lambda alpha: on_table(study.stream_of(alpha, 0.5), "gated-deltanet"),
        ),
        Step(
            slug="cost", title="What a chunk costs", controls=(WIDTH,),
            question="Larger chunks wait less and multiply more. Where is the work within chunks as large as that "
            "with the memory?",
            equation=(Lit("3 C d"), "+", "3 d^2", r"\text{ multiplications a token}"),
            where="C is the chunk size, d the channels. S k, S q and the write to S take d² each. Smaller terms are in "
            "the numbers below.",
            claims=("training_all_at_once_is_quadratic_and_in_chunks_linear",), numbers=study.operations,
            picture=_draw_cost, stream=lambda width: on_table(study.stream_of(0.9, 0.5), "gated-deltanet"),
        ),
    ),
)  # fmt: skip
