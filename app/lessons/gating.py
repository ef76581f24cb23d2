"""Lesson: gating, decays that are fixed, computed from the token, or one for each channel."""

from __future__ import annotations

import numpy as np

from app.choice import Choice
from app.compute import Picture
from app.lessons.frame import Lesson, Lit, Numbers, Range, Step, many, named, on_table, said
from app.reel.panels import Curves, Line, Reel
from gdn_core import RULES, metrics
from gdn_core.lab.scenarios import Settings
from gdn_core.lab.studies import gating as study

ALPHA = Range(name="alpha", label="Mean decay α a token", low=0.8, high=1.0, step=0.01, start=0.93)
SPREAD = Range(name="spread", label="How far the channels of GLA differ", low=0.0, high=1.0, step=0.1, start=0.8)
OTHERS = Range(name="alpha", label="Decay α at all other tokens", low=0.8, high=1.0, step=0.01, start=0.98)
RESET = ("retnet", "mamba-2", "gla")


def _half_life(alpha: float) -> str:
    return "no half-life" if alpha == 1 else f"a half-life of {said(float(-np.log(2) / np.log(alpha)))} tokens"


def _draw_left(numbers: Numbers, alpha: float, spread: float) -> Reel:
    names = {"constant": "RetNet: one number for all time", "by_token": "Mamba-2: one a token",
             "slowest": "GLA: slowest channel", "fastest": "GLA: fastest channel"}  # fmt: skip
    told = [
        f"{many(t, 'token')} after the write. RetNet, at its constant, has {said(a)} of it left, Mamba-2 "
        f"{said(b)}, and GLA from {said(d)} to {said(c)}, by channel."
        for t, a, b, c, d in zip(*(numbers[name] for name in ("token", *names)), strict=True)
    ]
    dashes = ("solid", "dash", "dot", "dashdot")
    lines = tuple(Line(name=n, y=numbers[key], colour=i, dash=dashes[i]) for i, (key, n) in enumerate(names.items()))
    token = numbers["token"]
    chart = Curves(title="What is left of one write", x=token, lines=lines, x_title="tokens after it", y_title="left",
                   at=token, top=1.0, bottom=0.0)  # fmt: skip
    ticks = tuple(map(str, token))
    return Reel(panels=(chart,), counts="tokens after the write", ticks=ticks, said=tuple(told), start=3)


def _watch(picture: Picture, alpha: float) -> list[str]:
    norm, middle = metrics.norm(picture.trajectory), len(picture.scenario.labels) // 2
    sizes = [", ".join(f"{said(n)} under {named(slug)}" for n, slug in zip(at, RESET, strict=True)) for at in norm.T]
    return [f"{'The reset. ' if t == middle else ''}Size of the memory: {size}." for t, size in enumerate(sizes)]


def _draw_old(numbers: Numbers, alpha: float) -> Reel:
    n, left, newest = (numbers[name] for name in ("tokens", "left", "newest"))
    told = [
        f"{many(t, 'pair')} in 16 columns, with {_half_life(alpha)}: the newest four have an error of {said(b[1])} "
        f"with the decay, {said(b[0])} without. Of the first value {said(a[1])} is left with it, {said(a[0])} without."
        for t, a, b in zip(n, left, newest, strict=True)
    ]

    def curves(title: str, y: np.ndarray, y_title: str, top: float) -> Curves:
        rules = ("linear-attention", "mamba-2")
        lines = tuple(Line(name=RULES[slug].title, y=y[:, r], colour=r, dash=("solid", "dash")[r])
                      for r, slug in enumerate(rules))  # fmt: skip
        return Curves(title=title, x=n, lines=lines, x_title="pairs stored", y_title=y_title, at=n, top=top, bottom=0.0)

    panels = (
        curves("Error of the newest four pairs", newest, "error", 2.0),
        curves("Weight of the first value in the answer to its key", left, "weight", 1.1),
    )
    return Reel(panels=panels, counts="pairs stored", ticks=tuple(map(str, n)), said=tuple(told), start=15)


LESSON = Lesson(
    slug="gating", title="Gating", about="A decay for all time, for a token, for a channel.",
    steps=(
        Step(
            slug="left", title="What is left of a write", controls=(ALPHA, SPREAD),
            question="Something is written once. Which gates can keep it through some tokens and drop it at others?",
            equation=("S_t =", Lit(r"\alpha_t"), r"S_{t-1} + v_t k_t^\top"),
            where="S is the memory, v kᵀ the write, α the decay. RetNet: α is a constant, here the median, and its own "
            "letter for it is γ. Mamba-2: α of the token. GLA, gated linear attention: one for each key channel.",
            claims=("write_weighs_the_decays_since",), numbers=study.what_is_left, picture=_draw_left,
            stream=lambda alpha, spread: on_table(study.one_write(alpha, spread), *study.DECAYS, spread=spread),
            sources=(RULES["retnet"].source, RULES["mamba-2"].source, RULES["gla"].source),
        ),
        Step(
            slug="reset", title="A token that clears the memory", token=12,
            controls=(OTHERS,),
            question="The token in the middle says: forget. Which memories can obey?",
            equation=(Lit(r"\alpha_t \to 0"), r"\;\Rightarrow\; S_t = v_t k_t^\top"),
            where="A decay that is computed from the token can be almost 0 at one token, and almost 1 at all others.",
            claims=("softplus_log_decay_stays_between_zero_and_one", "write_weighs_the_decays_since"), watch=_watch,
            stream=lambda alpha: Choice(preset="reset", rules=RESET, settings=Settings(dk=8, dv=8, T=24, alpha=alpha)),
        ),
        Step(
            slug="old", title="What a decay forgets that it should not", controls=(ALPHA,),
            question="With more pairs than columns a decay makes room for new ones. What does the first pair pay?",
            equation=(r"S_T k_1 = ", Lit(r"\Bigl(\prod_{t=2}^{T} \alpha_t\Bigr)"), r"v_1 + \dots"),
            where="Lit: the weight of the first value; the dots are the overlaps with later keys. It falls at every "
            "token, whatever the pair is worth, and no token asked for that.",
            claims=("write_weighs_the_decays_since",), numbers=study.old_and_new, picture=_draw_old,
            stream=lambda alpha: on_table(study.pairs(alpha), "linear-attention", "mamba-2"),
        ),
    ),
)  # fmt: skip
