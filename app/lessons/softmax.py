"""Lesson: softmax attention, and the cache that grows with the text."""

from __future__ import annotations

import numpy as np

from app.choice import Choice
from app.lessons.frame import Lesson, Lit, Numbers, OneOf, Range, Step, many, on_table, said
from app.reel.panels import TEXT, Bars, Curves, Line, Map, Maps, Reel
from gdn_core.lab.glyphs import GLYPHS
from gdn_core.lab.limits import size
from gdn_core.lab.scenarios import Settings
from gdn_core.lab.studies import softmax as study
from gdn_core.rules import SOFTMAX_ATTENTION

RULES = ("linear-attention-normalised", "linear-attention")
ASKED = Range(name="asked", label="Picture whose key is asked for", low=1, high=study.PICTURES, step=1, start=3)
ALIKE = Range(name="alike", label="How much the keys share", low=0.0, high=0.9, step=0.1, start=0.4)
LENGTH = Range(name="length", label="Length of the queries", low=1, high=20, step=1, start=12)
WORK = OneOf(name="work", label="Work", options={"text": "a whole text", "token": "one token more"}, start="text")
RUN = Range(name="run", label="Measurement: other tokens, timed anew", low=1, high=5, step=1, start=1)
NAMES = {"qwen3-next": "Qwen3-Next", "qwen3.5": "Qwen3.5", "kimi-linear": "Kimi", "olmo-hybrid": "OLMo"}
MODEL = OneOf(name="model", label="Model", options=NAMES, start="qwen3-next")
COUNTED = ("tokens", "cache", "state", "everywhere")
KEPT = OneOf(name="kept", label="A number of a memory takes", options={"4": "4 bytes", "2": "2 bytes"}, start="4")


def _draw_weights(numbers: Numbers, asked: int, alike: float) -> Reel:
    names, weight = tuple(glyph.thing for glyph in GLYPHS[: study.PICTURES]), numbers["weight"][..., 0]
    told = [
        f"With a query of length {said(length)} the {names[asked - 1]}, asked for, weighs {said(row[asked - 1])}; of "
        f"the others the {names[other]} most, {said(row[other])}. All weights add up to {said(row.sum())}."
        for length, row, other in zip(numbers["length"], weight, numbers["other"], strict=True)
    ]
    bars = Bars(title="Weight of each value", groups=names, names=("weight",), values=numbers["weight"],
                y_title="weight", bottom=0.0, top=1.0)  # fmt: skip
    maps = Map(name="the answer", values=numbers["answer"]), Map(name="asked for", values=numbers["picture"])
    answer = Maps(title="The answer", maps=maps, rows="pixels", columns="pixels", limit=1.0, small=120)
    ticks = tuple(map(said, numbers["length"]))
    return Reel(panels=(answer, bars), counts="length of the query", ticks=ticks, said=tuple(told), start=8)


def _draw_cache(numbers: Numbers, length: int) -> Reel:
    pairs, error = numbers["pairs"], numbers["error"]
    told = [
        f"After {many(n, 'pair')} in {study.CHANNELS} channels the cache holds {many(c, 'number')}, and the memory "
        f"{many(held, 'number')}. Mean error: {said(a)} from the cache, {said(b)} from the memory."
        for n, c, held, (a, b) in zip(pairs, numbers["cached"], numbers["held"], error, strict=True)
    ]
    cache = Map(name="keys", values=numbers["keys"]), Map(name="values", values=numbers["values"])
    kinds = (("softmax, from the cache", "solid"), ("linear attention, from the memory", "dash"))
    lines = tuple(Line(name=name, y=error[:, i], colour=i, dash=dash) for i, (name, dash) in enumerate(kinds))
    panels = (
        Maps(title="The cache", maps=cache, rows="tokens", columns="channels", small=144),
        Curves(title="Mean error of all answers so far: 1 is no answer", x=pairs, at=pairs, x_title="pairs stored",
               y_title="error", bottom=0.0, top=2.0, lines=lines),
        Maps(title="The memory", maps=(Map(name="S", values=numbers["memory"]),), rows="value channels",
             columns="key channels", small=48),
    )  # fmt: skip
    return Reel(panels=panels, counts="pairs stored", ticks=tuple(map(str, pairs)), said=tuple(told), start=15)


def _draw_live(numbers: Numbers, work: str, run: int) -> Reel:
    length, seconds, kept = numbers["length"], numbers["seconds"], numbers["bytes"]
    told = [
        f"For {many(n, 'token')} softmax took {said(a)} ms with {size(int(c))}; the memory {said(b)} ms with "
        f"{size(int(d))}." + f" That is {said(e)} and {said(f)} times as long as for half the tokens." * bool(e > 0)
        for n, (a, b), (c, d), (e, f) in zip(length, 1e3 * seconds, kept, numbers["grown"], strict=True)
    ]

    def curves(title: str, y: np.ndarray, y_title: str) -> Curves:
        lines = Line(name="softmax", y=y[:, 0]), Line(name="memory", y=y[:, 1], colour=1, dash="dash")
        return Curves(title=title, x=length, lines=lines, x_title="tokens L", y_title=y_title, at=length, log="xy")

    panels = curves("Time, on this machine", 1e3 * seconds, "ms"), curves("What it needs to keep", kept, "bytes")
    return Reel(panels=panels, counts="tokens", ticks=tuple(f"{n:,}" for n in length), said=tuple(told), start=4)


def _draw_model(numbers: Numbers, model: str, kept: str) -> Reel:
    m, (crossing, layer) = study.MODELS[model], numbers["crossing"]
    told = [
        f"At {many(n, 'token')} the {m.softmax} softmax layers of {NAMES[model]} keep {size(int(cache))}, its "
        f"{m.linear} others {size(int(state))} at any length; with softmax in all it is {size(int(everywhere))}. Cache "
        f"and state are equal at {said(crossing, 4)} tokens; of one layer each, at {said(layer, 4)}."
        for n, cache, state, everywhere in zip(*(numbers[name] for name in COUNTED), strict=True)
    ]
    lines = (
        Line(name=f"cache of {m.softmax} softmax layers", y=numbers["cache"]),
        Line(name=f"state of {m.linear} others", y=numbers["state"], colour=1, dash="dash"),
        Line(name=f"softmax in all {m.softmax + m.linear}", y=numbers["everywhere"], colour=TEXT, dash="dot"),
    )
    tokens, title = numbers["tokens"], f"{m.title}: c = {m.cached:,}, H = {m.heads}, dᵥ = {m.V}, dₖ = {m.K}"
    chart = Curves(title=title, x=tokens, lines=lines, log="xy", x_title="tokens L", y_title="bytes", at=tokens,
                   places=((float(crossing), "equal"),))  # fmt: skip
    return Reel(panels=(chart,), counts="tokens", ticks=tuple(f"{n:,}" for n in tokens), said=tuple(told), start=11)


def _long(rule: str, T: int, V: int, K: int) -> Choice:
    return Choice(preset="long", rules=(rule,), settings=Settings(dk=K, dv=V, T=T, alpha=0.97))


LESSON = Lesson(
    slug="softmax", title="Softmax attention and its cache", about="Exact recall, at the price of keeping everything.",
    steps=(
        Step(
            slug="weights", title="Weigh all of the past", controls=(ASKED, ALIKE),
            question="Eight pictures are kept, each under a key. A query has the direction of one key. How **long** "
            "must it be until the picture of that key alone comes back?",
            equation=("o =", Lit(r"\sum_i \frac{e^{q \cdot k_i}}{\sum_j e^{q \cdot k_j}}"), "v_i"),
            where="q is the query, a column like a key, by which a token asks; k is a key, v its value, o the answer. "
            "Lit: the weight, softmax of the products q·k. It is positive, and all weights add up to 1.",
            claims=("dropping_the_normaliser_makes_another_model",), numbers=study.weights, picture=_draw_weights,
            stream=lambda asked, alike: on_table(study.asked_once(asked, alike), *RULES),
            sources=(SOFTMAX_ATTENTION.source,),
        ),
        Step(
            slug="cache", title="The cache that grows", controls=(LENGTH,),
            question="To weigh all of the past, all of it must be kept. A memory S of fixed size keeps a sum instead. "
            "Who remembers 24 pairs in 8 channels?",
            equation=(Lit(r"L (d_k + d_v)"), r"\quad\text{numbers, or}\quad", r"d_v \, d_k"),
            where="A pair is a key with its value. L is the number of tokens, dₖ and dᵥ the channels of keys and "
            "values, here 8. Hatched: not there yet. S is the sum of all v kᵀ, and answers S q.",
            claims=("more_pairs_than_channels_cannot_all_be_recalled", "memory_answers_the_value_and_the_overlaps"),
            numbers=study.cache_and_memory, picture=_draw_cache,
            stream=lambda length: on_table(study.pairs(), "linear-attention"),
        ),
        Step(
            slug="live", title="Measured now, on this machine", controls=(WORK, RUN),
            question="Twice as many tokens: how much longer do softmax and a memory take, for a whole text and for one "
            "token more after it?",
            equation=(Lit("L^2"), r"\;\text{or}\; L", r"\qquad\text{one token more:}\quad L \;\text{or}\; 1"),
            where="L tokens of 64 channels, in NumPy. Softmax makes a weight for each pair of tokens; the memory takes "
            "64 tokens at once. Each time is the best of three, measured on the server that shows you this page.",
            claims=("training_all_at_once_is_quadratic_and_in_chunks_linear",), numbers=study.live, picture=_draw_live,
            measured=("seconds", "grown"), lab="The first eight tokens in the lab",
            stream=lambda work, run: on_table(study.first_tokens(work, run), "linear-attention"),
        ),
        Step(
            slug="models", title="Cache and state of real models", controls=(MODEL, KEPT),
            question="Four published models have softmax in some layers and a memory in the others. From which length "
            "on does the **cache** take more room than the **state**, the memories of the others?",
            equation=(Lit(r"N_s \, c \cdot 2 \cdot L"), r"\;\text{bytes, or}\;", r"N_m \, H \, d_v \, d_k \cdot b"),
            where="Nₛ softmax layers cache c numbers a token, 2 bytes each. Nₘ layers have H memories of dᵥ × dₖ "
            "numbers of b bytes. Left out: the last inputs of short convolutions, a few per cent of the state.",
            claims=("training_all_at_once_is_quadratic_and_in_chunks_linear",),
            numbers=study.in_a_model, picture=_draw_model, sources=tuple(m.source for m in study.MODELS.values()),
            stream=lambda model, kept: _long(*study.lab_size(model)), lab="A memory of this size in the lab",
        ),
    ),
)  # fmt: skip
