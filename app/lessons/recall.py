"""Pictures of more pairs than key channels."""

from __future__ import annotations

import numpy as np

from app.lessons.frame import Numbers, many, said
from app.reel.panels import TEXT, Arrow, Bars, Curves, Line, Map, Maps, Plane, Reel
from gdn_core import RULES
from gdn_core.lab.studies import collision as study

SHORT = {"linear-attention-normalised": "Linear attention, normalised", "s4": "S4"}
#: Colour and dash of the lines: a colour for rules that add, decay, erase, and do both.
STYLES = {
    "fast-weights": (0, "solid"), "linear-attention-normalised": (0, "dash"), "s4": (1, "solid"),
    "deltanet": (2, "solid"), "longhorn": (2, "dash"), "efla": (2, "dot"), "gated-deltanet": (3, "solid"),
    "exact-gated-delta": (3, "dash"),
}  # fmt: skip}  # fmt: skip


def draw_recall(numbers: Numbers, keys: str, alpha: float) -> Reel:
    """Draw the error of every rule against the pairs."""
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
        f"{said(e[gated])} under Gated DeltaNet and, the least, {said(e.min())} under {titles[e.argmin()]}. The best "
        f"matrix of this size has {said(b)}."
        for n, e, b in zip(pairs, error, best, strict=True)
    ]
    chart = Curves(
        title="Squared error of the answers to all keys so far: 1 is an empty memory", x=pairs, lines=tuple(lines),
        x_title="pairs stored, n", y_title="mean squared error", at=pairs, top=2.0, places=((study.CHANNELS, "n = d"),),
    )
    return Reel(panels=(chart,), counts="pairs stored", ticks=tuple(map(str, pairs)), said=tuple(told), start=7)


def draw_overlaps(numbers: Numbers, keys: str, channels: int) -> Reel:
    """Draw the overlaps of keys, and what they add to an answer."""
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


def draw_third(numbers: Numbers, beta: float) -> Reel:
    """Draw a third key in two channels, and the answers to all three."""
    angle, values, after = numbers["angle"], numbers["values"], numbers["after"]
    off = numbers["off"]
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
