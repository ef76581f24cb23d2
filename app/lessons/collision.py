"""Lesson: the first failure of an additive memory, more pairs than key channels."""

from __future__ import annotations

import numpy as np

from app.choice import Choice
from app.compute import Picture
from app.lessons.frame import Lesson, Lit, Numbers, OneOf, Range, Step, many, on_table, said
from app.reel.panels import TEXT, Arrow, Bars, Curves, Line, Map, Maps, Plane, Reel
from gdn_core import RULES, metrics
from gdn_core.lab.scenarios import Settings
from gdn_core.lab.studies import collision as study

CHANNELS = Range(name="channels", label="Key channels d: the columns of the memory", low=2, high=16, step=1, start=8)
FOUR = ("linear-attention", "mamba-2", "deltanet", "gated-deltanet")  # in the lab
BETA = Range(name="beta", label="Erase and write gate β of DeltaNet", low=0.0, high=1.0, step=0.1, start=1.0)
KEYS = OneOf(name="keys", label="Keys", options={"orthogonal": "orthogonal", "random": "random"}, start="random")
ALPHA = Range(name="alpha", label="Decay α of the rules that have one", low=0.9, high=1.0, step=0.01, start=0.98)
SHORT = {"linear-attention-normalised": "Linear attention, normalised", "s4": "S4"}
#: Colour and dash of the lines: a colour for rules that add, decay, erase, and do both.
STYLES = {
    "fast-weights": (0, "solid"), "linear-attention-normalised": (0, "dash"), "s4": (1, "solid"),
    "deltanet": (2, "solid"), "longhorn": (2, "dash"), "efla": (2, "dot"), "gated-deltanet": (3, "solid"),
    "exact-gated-delta": (3, "dash"),
}  # fmt: skip


def _stream(*rules: str, channels: int, T: int) -> Choice:
    return Choice(preset="collision", rules=rules, settings=Settings(dk=channels, dv=8, T=T, alpha=1.0))


def _watch(picture: Picture, channels: int) -> list[str]:
    added, replaced = metrics.recall_error(picture.trajectory)
    return [
        f"After {many(t + 1, 'pair')} in {channels} columns the answer to the first key has an error of {said(added[t, 0])} "
        f"under linear attention and {said(replaced[t, 0])} under DeltaNet. For the newest key it is {said(added[t, t])} "
        f"and {said(replaced[t, t])}."
        for t in range(len(added))
    ]


def _draw_recall(numbers: Numbers, keys: str, alpha: float) -> Reel:
    pairs, error, best, same = (numbers[name] for name in ("pairs", "error", "best", "same"))
    titles = [SHORT.get(slug) or RULES[slug].title for slug in numbers["rule"].tolist()]
    lines = [
        Line(name=", ".join(title for title, first in zip(titles, same, strict=True) if first == r), y=error[:, r],
             colour=STYLES[slug][0], dash=STYLES[slug][1])
        for r, slug in enumerate(numbers["rule"].tolist()) if same[r] == r
    ]  # fmt: skip
    if keys == "random":
        lines.append(Line(name="adding, in theory: (n − 1) / d", y=numbers["overlaps"], colour=TEXT, dash="dot"))
    lines.append(Line(name="the best matrix of this size", y=best, colour=TEXT, dash="dash"))
    adds, gated = (list(RULES).index(slug) for slug in ("linear-attention", "gated-deltanet"))
    told = [
        f"After {many(n, 'pair')} in 16 columns the mean squared error is {said(e[adds])} under linear attention, "
        f"{said(e[gated])} under Gated DeltaNet and {said(e.min())} under the rule with the least. The best matrix of this "
        f"size has {said(b)}."
        for n, e, b in zip(pairs, error, best, strict=True)
    ]
    chart = Curves(
        title="Squared error of the answers to all keys so far: 1 is an empty memory", x=pairs, lines=tuple(lines),
        x_title="pairs stored, n", y_title="mean squared error", at=pairs, top=2.0, places=((study.CHANNELS, "n = d"),),
    )
    return Reel(panels=(chart,), counts="pairs stored", ticks=tuple(map(str, pairs)), said=tuple(told), start=7)


def _draw_overlaps(numbers: Numbers, keys: str, channels: int) -> Reel:
    pairs, weights, place = numbers["pairs"], numbers["weights"], np.arange(len(numbers["pairs"]))
    stored = np.maximum.outer(place, place) < pairs[:, None, None]
    told = [
        f"{many(n, 'pair')}. The overlaps with the first key add up to an error of {said(p)}; the memory's "
        f"answer to it is off by {said(m)}."
        for n, p, m in zip(pairs, numbers["predicted"], numbers["measured"], strict=True)
    ]
    inner = Maps(
        title="Overlaps of the keys so far", maps=(Map(name="kᵢ · kⱼ", values=stored * numbers["overlaps"]),),
        rows="key i", columns="key j", limit=1.0,
    )
    bars = Bars(
        title="How much of each value is in the answer to the first key", names=("weight",), y_title="weight",
        groups=tuple(map(str, pairs)), values=weights[..., None], bottom=min(-0.2, float(weights.min())), top=1.0,
    )
    ticks = tuple(map(str, pairs))
    return Reel(panels=(inner, bars), counts="pairs stored", ticks=ticks, said=tuple(told), start=channels)


def _draw_third(numbers: Numbers, beta: float) -> Reel:
    angle, values, after = numbers["angle"], numbers["values"], numbers["after"]
    off = np.linalg.norm(after - values, axis=-1)
    told = [
        f"At {degrees}° k₃ is {said(a)} k₁ + {said(b)} k₂, and every matrix mixes its two answers so. "
        f"Once v₃ is written, the answers to k₁, k₂ and k₃ are off by {said(x)}, {said(y)} and {said(z)}."
        for degrees, (a, b), (x, y, z) in zip(angle, numbers["parts"], off, strict=True)
    ]
    third = np.stack([np.cos(np.radians(angle)), np.sin(np.radians(angle))], axis=1)
    keys = [np.array([1.0, 0.0]), np.array([0.0, 1.0]), third]
    arrows = [Arrow(name=f"k{'₁₂₃'[i]}", to=key, colour=i) for i, key in enumerate(keys)]
    answers = [Arrow(name=f"v{'₁₂₃'[i]}", to=values[i], colour=i, dash="dot") for i in range(3)]
    answers += [Arrow(name=f"S k{'₁₂₃'[i]}", to=after[:, i], colour=i) for i in range(3)]
    panels = (
        Plane(title="Three keys in two channels", arrows=tuple(arrows), limit=1.4),
        Plane(title="Their values, dotted, and what S answers", arrows=tuple(answers), limit=1.9),
    )
    ticks = tuple(f"{degrees}°" for degrees in angle)
    return Reel(panels=panels, counts="angle of the third key", ticks=ticks, said=tuple(told), start=12)


LESSON = Lesson(
    slug="collision", title="Failure one: collision", about="A memory of d columns, and more than d pairs.",
    steps=(
        Step(
            slug="first", title="One pair too many", controls=(CHANNELS,),
            question="Each token stores a pair, and asks for the **first** key again. One memory only adds, the "
            "other corrects itself. What do they answer to the first key once there are more pairs than columns?",
            equation=("S_t = S_{t-1} +", Lit(r"v_t k_t^\top,"), r"\quad o_t = S_t q_t"),
            where="S is the memory, v the value stored under the key k, q the key that is asked for, o the answer. "
            "The line is that of linear attention, which only adds. DeltaNet first takes away what the key answers. "
            "The error is how far an answer is from the value, over the value's length: 1 for no answer.",
            claims=("memory_answers_the_value_and_the_overlaps",), watch=_watch,
            stream=lambda channels: _stream("linear-attention", "deltanet", channels=channels, T=2 * channels),
        ),
        Step(
            slug="overlaps", title="Where the error comes from", controls=(KEYS, CHANNELS),
            question="The first key was stored alone, and was answered exactly. How much of the values stored "
            "**later** is in its answer now?",
            equation=("S_t k_1 = v_1 +", Lit(r"\sum_{j=2}^{t} (k_j \cdot k_1) \, v_j")),
            where="Keys have length 1. The overlap of two keys is their inner product: 0 at right angles, 1 if equal.",
            claims=("memory_answers_the_value_and_the_overlaps",),
            numbers=study.answer_to_the_first, picture=_draw_overlaps,
            stream=lambda keys, channels: on_table(
                study.stream_of(study.keys_of(keys, channels), 1.0), "linear-attention", "deltanet"),
        ),
        Step(
            slug="rules", title="Every rule, and the best that is possible", controls=(KEYS, ALPHA),
            question="Can a better rule keep more pairs than the memory has columns? Guess where each curve leaves "
            "zero, then move on.",
            equation=(r"\min_S \tfrac{1}{n} \sum_i \lVert S k_i - v_i \rVert^2 \;\approx\;", Lit(r"1 - \tfrac{d}{n}")),
            where="The least that any matrix S of d columns, 16 here, can reach for n random values; up to n = d it "
            "is 0. In theory adding has (n − 1) / d: the squared overlap of two random keys is 1/d on average, and "
            "each key has n − 1 others. The rules are those of the map in lesson 1. Some only add; some let the "
            "memory fade by α a token; some erase what the key answers before they write; some do both. Rules of one "
            "line are the same here, where every decay is α and every gate 1.",
            claims=("more_pairs_than_channels_cannot_all_be_recalled",), numbers=study.recall_of_all,
            picture=_draw_recall,
            stream=lambda keys, alpha: on_table(
                study.stream_of(study.keys_of(keys, study.CHANNELS), alpha), *FOUR),
        ),
        Step(
            slug="proof", title="Why no memory of that size can do it", controls=(BETA,),
            question="Two columns, three keys. Whatever S is, what is its answer to the **third** key made of?",
            equation=(r"k_3 = a k_1 + b k_2 \;\Rightarrow\;", Lit(r"S k_3 = a \, S k_1 + b \, S k_2")),
            where="a and b are two numbers. Any d + 1 keys in d columns depend on each other like this: one write "
            "moves other answers.",
            claims=("more_pairs_than_channels_cannot_all_be_recalled",), numbers=study.third_key, picture=_draw_third,
            stream=lambda beta: on_table(study.three_tokens(60.0, beta), "deltanet"),
        ),
    ),
)  # fmt: skip
