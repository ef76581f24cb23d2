"""Lesson: what a Gated DeltaNet attends to, as a matrix of weights on the words."""

from __future__ import annotations

import numpy as np

from app.choice import Choice, Origin
from app.lessons.frame import Lesson, Lit, Numbers, Range, Step, Text, on_table, quoted, said
from app.reel.panels import TEXT, Arrow, Curves, Line, Map, Maps, Plane, Reel, Words
from gdn_core.lab.scenarios import Settings
from gdn_core.lab.studies import attention as study
from gdn_core.rules import SOFTMAX_ATTENTION

OWN = Text(name="text", label="Your text", start="the cat sat on the mat and the dog sat on the rug")
ALPHA = Range(name="alpha", label="Decay α a token", low=0.5, high=1.0, step=0.05, start=0.95)
BETA = Range(name="beta", label="Gate β", low=0.0, high=1.0, step=0.1, start=1.0)
SECOND = Range(name="beta", label="Gate β of the second write", low=0.0, high=2.0, step=0.1, start=1.0)
ASKED = Range(name="asked", label="Query, in degrees from the first key", low=0, high=180, step=5, start=90)
NAMES = ("softmax", "linear attention", "Gated DeltaNet")


def _lab(text: str, alpha: float = study.DECAY, beta: float = 1.0) -> Choice:
    settings = Settings(dk=study.CHANNELS, dv=study.CHANNELS, alpha=alpha, beta=beta)
    return Choice(origin=Origin.TEXT, text=text, rules=study.COMPARED, settings=settings)


def _draw_words(numbers: Numbers, text: str, alpha: float) -> Reel:
    words, T = numbers["word"], len(numbers["word"])
    told = []
    for t, asked in enumerate(numbers["asks"]):
        row, softmax = numbers["gated"][t, : t + 1], numbers["softmax"][t, : t + 1]
        top, lowest = quoted(words[row.argmax()]), quoted(words[row.argmin()])
        below = f"The lowest weight is {said(row.min())}, of {lowest}: its value is subtracted."
        told.append(
            f"Token {t} asks what has followed {quoted(asked)}: Gated DeltaNet weighs {top} {said(row.max())}, softmax "
            f"{quoted(words[softmax.argmax()])} {said(softmax.max())}. "
            + (below if row.min() < -0.005 else "No weight is below 0 here.")
        )
    so_far, kinds = np.where(np.tri(T) > 0, 1.0, np.nan), [numbers[name] for name in ("softmax", "linear", "gated")]
    lit = Words(title="The weight of each word in the answer", words=tuple(words), names=NAMES, at=np.arange(T),
                values=np.stack([so_far * A for A in kinds], axis=1), framed="Framed: the token that asks.")
    maps = tuple(Map(name=name, values=np.tri(T)[:, :, None] * A) for name, A in zip(NAMES, kinds, strict=True))
    squares = Maps(title="All rows so far", rows="token that asks", columns="token that wrote", small=150, limit=1.0,
                   maps=maps)
    ticks, start = tuple(f"{t}, {word}" for t, word in enumerate(words)), int(numbers["gated"].max(axis=1).argmax())
    return Reel(panels=(lit, squares), counts="token", ticks=ticks, said=tuple(told), start=start)


def _draw_life(numbers: Numbers, text: str, beta: float) -> Reel:
    token, words, keys, left = (numbers[name] for name in ("token", "word", "key", "left"))
    told = []
    for j in token:
        of_decay, of_gated = left[j, :, 1], left[j, :, 2]
        falls = of_gated[j:-1] - of_gated[j + 1 :]
        most = f" Most of it, {said(falls.max())}, goes at token {j + 1 + falls.argmax()}." if len(falls) else ""
        told.append(
            f"Token {j} stores {quoted(words[j])} under {quoted(keys[j])}, and after the last token that key finds "
            f"{said(of_gated[-1])} of it under Gated DeltaNet, {said(of_decay[-1])} under the decay alone.{most}"
            if keys[j] else f"Token {j} only asks, and writes nothing."
        )
    dashes = {"linear attention": "dot", "decay alone, Mamba-2": "dash", "Gated DeltaNet": "solid"}
    lines = tuple(Line(name=name, y=left[:, :, n], colour=n, dash=dashes[name]) for n, name in enumerate(dashes))
    chart = Curves(title="What a key still finds of its write", x=token, lines=lines, x_title="token",
                   y_title="weight", at=token, bottom=min(0.0, float(np.nanmin(left))), top=1.1)
    ticks, start = tuple(f"{t}, {word}" for t, word in enumerate(words)), min(3, len(token) - 1)
    return Reel(panels=(chart,), counts="write", ticks=ticks, said=tuple(told), start=start)


def _draw_turned(numbers: Numbers, beta: float, asked: float) -> Reel:
    angle, weights = numbers["angle"], numbers["weights"]
    told = [
        f"The second key stands at {degrees}°. The first value weighs {said(own)} − {said(beta)} · ({said(between)}) · "
        f"({said(second)}) = {said(first)}" + (": it is subtracted." if first < -5e-7 else ".")
        for degrees, first, (own, between, second) in zip(angle, weights[:, 0], numbers["overlaps"], strict=True)
    ]
    first, second = Arrow(name="k₁", to=np.array([1.0, 0.0]), colour=0), Arrow(name="k₂", to=numbers["key"], colour=1)
    arrows = (first, second, Arrow(name="q", to=numbers["query"], colour=TEXT, dash="dash"))
    lines = (Line(name="first", y=weights[:, 0]), Line(name="second", y=weights[:, 1], colour=1, dash="dash"))
    panels = (
        Plane(title="Two keys and the query", arrows=arrows, limit=1.3),
        Curves(title="The weights of both values", x=angle, lines=lines, at=angle,
               x_title="angle between the keys, in degrees", y_title="weight", bottom=-1.0, top=1.0),
    )
    return Reel(panels=panels, counts="second key", ticks=tuple(f"{d}°" for d in angle), said=tuple(told), start=9)


def _draw_forms(numbers: Numbers, text: str, alpha: float) -> Reel:
    off, T = numbers["differs"], len(numbers["weights"])
    told = [
        f"Row {t}: by matrices and by walking back through the transitions the weights differ by "
        f"{said(one, least=0.0)}. The row times the values is what the memory answers, up to {said(two, least=0.0)}."
        for t, (one, two) in enumerate(zip(off, numbers["apart"], strict=True))
    ]
    names = {"products": "Q Kᵀ ⊙ Γ", "inverse": "(I + A)⁻¹", "weights": "P, the weights"}
    maps = tuple(Map(name=name, values=np.tri(T)[:, :, None] * numbers[array]) for array, name in names.items())
    squares = Maps(title="Two triangles, and their product", rows="later token", columns="earlier token", small=200,
                   limit=1.0, maps=maps)
    return Reel(panels=(squares,), counts="row", ticks=tuple(map(str, range(T))), said=tuple(told), start=T - 1)


LESSON = Lesson(
    slug="attention", title="What it attends to", about="A memory has no list of words, and still weighs every one.",
    steps=(
        Step(
            slug="words", title="Light up the words", controls=(OWN, ALPHA),
            question="Softmax keeps every word and weighs it. A Gated DeltaNet keeps one matrix. Which words are in "
            "its answer, and how much of each?",
            equation=(r"o_t = \sum_{j \le t} P_{tj} v_j, \quad P_{tj} = \beta_j k_j^\top",
                      Lit(r"\Bigl[\prod_{i=j+1}^{t} \alpha_i \left(I - \beta_i k_i k_i^\top\right)\Bigr]"), "q_t"),
            where="q, k, v are query, key and value of a token, α its decay, β its gate (1 here), o its answer. P are "
            "the weights. Lit: what later tokens did to the write of token j. A word is stored under the one before "
            "it. Softmax takes queries of length 8.",
            claims=("outputs_are_effective_attention", "write_weighs_the_decays_since"), numbers=study.of_words,
            picture=_draw_words, stream=_lab, sources=(SOFTMAX_ATTENTION.source,),
        ),
        Step(
            slug="life", title="The life of one write", controls=(OWN, BETA),
            question="A word is stored under a key. How much of it does that key still find, token after token, and "
            "which token takes it away?",
            equation=("k_j^\\top", Lit(r"\Bigl[\prod_{i=j+1}^{t} \alpha_i \left(I - \beta_i k_i k_i^\top\right)\Bigr]"),
                      r"k_j \, \beta_j"),
            where="The weight of token j in an answer to its own key k. Where a later key is the same, 1 − β is left; "
            "where it is at right angles, all; the decay α, 0.95 here, acts on every write.",
            claims=("outputs_are_effective_attention", "new_value_replaces_the_old_only_under_the_delta_rule"),
            numbers=study.life_of_writes, picture=_draw_life, stream=_lab,
        ),
        Step(
            slug="negative", title="Less than nothing", controls=(SECOND, ASKED),
            question="Softmax weights are never negative. The query is at right angles to the first key here. How can "
            "the first value be in the answer, and with which sign?",
            equation=(r"P_{21} = k_1^\top q \; -", Lit(r"\beta_2 \, (k_1^\top k_2)(k_2^\top q)")),
            where="k₁ and k₂ are the keys of two writes, q the query. Lit: the second write erased what its key was "
            "answered, a part of the first value. Who asks for the second finds that part missing.",
            claims=("outputs_are_effective_attention",), numbers=study.turned_key, picture=_draw_turned,
            stream=lambda beta, asked: on_table(study.two_writes(45.0, beta, asked), "linear-attention", "deltanet"),
        ),
        Step(
            slug="matrix", title="All rows at once", controls=(OWN, ALPHA),
            question="Each weight so far took a product of transitions. Is there one formula for all of them?",
            equation=("P =", Lit(r"(Q K^\top \odot \Gamma)"), r"(I + A)^{-1}",
                      r"\operatorname{diag}(\beta)"),
            where="P has the weights, a row for each token that asks. Q, K, Γ and A are those of the lesson before: "
            "queries, keys, the decays between two tokens, and the triangle of products of keys times β and Γ. The "
            "errors are (I + A)⁻¹ diag(β) V from an empty memory, and a query finds them decayed: so O = P V.",
            claims=("outputs_are_effective_attention", "ut_transform_is_the_gated_triangular_system"),
            numbers=study.closed_form, picture=_draw_forms, stream=_lab,
        ),
    ),
)  # fmt: skip
