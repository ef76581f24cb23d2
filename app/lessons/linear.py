"""Lesson: linear attention, softmax with its exponential taken away."""

from __future__ import annotations

import numpy as np

from app.choice import Choice
from app.compute import Picture
from app.lessons.frame import Lesson, Lit, Numbers, OneOf, Range, Step, many, on_table, said
from app.reel.panels import Bars, Curves, Line, Map, Maps, Reel
from gdn_core.lab.scenarios import Settings
from gdn_core.lab.studies import linear as study
from gdn_core.rules import FAST_WEIGHTS, SOFTMAX_ATTENTION

CHUNK = Range(name="chunk_size", label="Chunk size, in tokens", low=1, high=6, step=1, start=2)
SHARPNESS = Range(name="sharpness", label="Length of the queries", low=0.5, high=6.0, step=0.5, start=3.0)
NAMES = {"same": "one key, again and again", "random": "a new key for each token"}
KEYS = OneOf(name="keys", label="Keys", options=NAMES, start="random")


def _written(x: np.ndarray) -> str:
    return f"({', '.join(said(n) for n in x)})"


def _draw_forms(numbers: Numbers, chunk_size: int) -> Reel:
    once, each, chunks = (numbers[name] for name in ("at_once", "token_by_token", "in_chunks"))
    rows = np.arange(study.SIX)
    so_far = (rows[:, None] >= rows)[:, :, None]  # [frame, row, 1]
    told = [
        f"At token {t} row {t} of the matrix, times the values, is {_written(once[t])}, the memory answers "
        f"{_written(each[t])}, and chunks of {chunk_size} give {_written(chunks[t])}. Largest difference: "
        f"{said(apart, least=0.0)}."
        for t, apart in enumerate(numbers["apart"])
    ]
    matrix = Maps(
        title="All at once: queries times keys, masked", maps=(Map(name="Q Kᵀ, up to the diagonal",
        values=so_far * numbers["scores"]),), rows="query of token", columns="key of token", small=150,
    )
    memory = Maps(
        title="Token by token: one running sum", maps=(Map(name="S", values=numbers["memory"]),),
        rows="value channel", columns="key channel", small=150,
    )
    outputs = Maps(
        title="The outputs", rows="token", columns="value channel", small=120,
        maps=tuple(Map(name=name, values=so_far * o) for name, o in
                   (("all at once", once), ("token by token", each), (f"chunks of {chunk_size}", chunks))),
    )
    ticks = tuple(map(str, rows))
    return Reel(panels=(matrix, memory, outputs), counts="token", ticks=ticks, said=tuple(told), start=3)


def _draw_weights(numbers: Numbers, sharpness: float) -> Reel:
    kinds = {"softmax": "softmax", "features": "elu(x) + 1, normalised", "products": "products alone"}
    told = [
        f"Token {t} weighs itself {said(numbers['softmax'][t, t])} under softmax, {said(numbers['features'][t, t])} "
        f"with positive features, {said(numbers['products'][t, t])} by the product alone. All its weights add up to 1, "
        f"{said(numbers['features'][t].sum())} and {said(numbers['products'][t].sum())}."
        for t in range(8)
    ]
    values = np.stack([numbers[name] for name in kinds], axis=-1)
    bars = Bars(
        title="Weight of each token so far in the answer", groups=tuple(map(str, range(8))),
        names=tuple(kinds.values()), values=values, y_title="weight", bottom=min(0.0, float(values.min())),
    )
    ticks = tuple(map(str, range(8)))
    return Reel(panels=(bars,), counts="token that asks", ticks=ticks, said=tuple(told), start=5)


def _draw_growth(numbers: Numbers, keys: str) -> Reel:
    n, with_, without = numbers["tokens"], numbers["with_normaliser"], numbers["without"]
    told = [
        f"{many(t, 'token')} wrote the same value, of length 1. With the normaliser the answer has length {said(a)}, "
        f"without it {said(b)}."
        for t, a, b in zip(n, with_, without, strict=True)
    ]
    lines = (Line(name="with normaliser", y=with_), Line(name="without", y=without, colour=1, dash="dash"))
    chart = Curves(title="Length of the answer", x=n, lines=lines, x_title="tokens", y_title="length", at=n)
    return Reel(panels=(chart,), counts="tokens", ticks=tuple(map(str, n)), said=tuple(told), start=3)


def _watch(picture: Picture) -> list[str]:
    apart = study.apart_after(picture.trajectory)
    return [
        f"{many(t, 'pair')} written. The largest difference between the two memories is {said(off, least=0.0)}."
        for t, off in enumerate(apart) if t
    ]  # fmt: skip


LESSON = Lesson(
    slug="linear", title="Linear attention", about="Softmax without its exponential: attention becomes a memory.",
    steps=(
        Step(
            slug="weights", title="Take the exponential away", controls=(SHARPNESS,),
            question="Softmax weighs each token so far by the exponential of query times key. Which weight does a "
            "token have when the exponential is left out?",
            equation=(r"o_t =", Lit(r"\sum_{i \le t} (q_t \cdot k_i) \, v_i"),
                      r"\text{ in place of } \sum_{i \le t} \frac{e^{q_t \cdot k_i}}{\sum_j e^{q_t \cdot k_j}} \, v_i"),
            where="q is the query, k the key and v the value of a token; o is the answer. Positive features put φ(q) "
            "and φ(k) for q and k, and divide by the sum of weights. φ(x) = elu(x) + 1: x + 1 above 0, exp(x) below.",
            claims=("dropping_the_normaliser_makes_another_model",), numbers=study.weights, picture=_draw_weights,
            stream=lambda sharpness: on_table(
                study.eight_tokens(sharpness), "linear-attention-normalised", "linear-attention"),
            sources=(SOFTMAX_ATTENTION.source,),
        ),
        Step(
            slug="forms", title="Three ways to one answer", controls=(CHUNK,),
            question="A matrix of all pairs of tokens, a running sum, or some of both: do they give the same outputs?",
            equation=(r"\sum_{i \le t} (q_t \cdot k_i) v_i =", Lit(r"\Bigl(\sum_{i \le t} v_i k_i^\top\Bigr)"), "q_t"),
            where="Lit: the memory S. The sum over the past no longer needs the query, so it can be kept. A chunk has "
            "some of both: O = Q Sᵀ + tril(Q Kᵀ) V. Q, K, V and O have a row for each of its tokens, S is the memory "
            "before it, and tril leaves out later tokens.",
            claims=("linear_attention_is_recurrent_parallel_and_chunkwise",
                    "training_all_at_once_is_quadratic_and_in_chunks_linear"),
            numbers=study.three_forms, picture=_draw_forms,
            stream=lambda chunk_size: on_table(study.six_tokens(), "linear-attention"),
        ),
        Step(
            slug="normaliser", title="What the normaliser did", controls=(KEYS,),
            question="One value of length 1 is written again and again. How long is the answer after 48 tokens?",
            equation=(
                r"o_t = S_t \phi(q_t) \,\big/\,", Lit(r"z_t \cdot \phi(q_t)"), r"\quad z_t = z_{t-1} + \phi(k_t)",
            ),
            where="φ makes every entry positive, as in the first step. Lit: the normaliser, the sum of all φ(k) so "
            "far, times φ(q). Most later models leave it out.",
            claims=("dropping_the_normaliser_makes_another_model",), numbers=study.growth, picture=_draw_growth,
            stream=lambda keys: on_table(study.growing(keys), "linear-attention-normalised", "linear-attention"),
        ),
        Step(
            slug="fast-weights", title="Thirty years earlier",
            question="In 1992 one network programmed the weights of another with outer products. How far is that from "
            "linear attention?",
            equation=("S_t = S_{t-1} +", Lit(r"v_t k_t^\top")), where="The same line: S was a matrix of fast weights.",
            claims=("fast_weights_are_linear_attention",), watch=_watch, sources=(FAST_WEIGHTS.source,),
            stream=lambda: Choice(preset="collision", rules=("fast-weights", "linear-attention"),
                                  settings=Settings(dk=4, dv=4, T=8, alpha=1.0)), token=3,
        ),
    ),
)  # fmt: skip
