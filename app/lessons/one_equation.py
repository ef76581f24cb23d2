"""Lesson: the delta rules are four ways to take one step along one equation."""

from __future__ import annotations

import numpy as np

from app.lessons.frame import Lesson, Lit, Numbers, Range, Step, many, on_table, said
from app.reel.panels import TEXT, Curves, Line, Map, Maps, Reel
from gdn_core import RULES
from gdn_core.lab.studies import one_equation as study

NAMES = (*(RULES[slug].title for slug in study.STEPS), "projection")
HOW = ("explicit Euler", "implicit Euler", "exact", "a large step")
DASHES = ("dash", "dashdot", "solid", "dot")
LENGTH = Range(name="length", label="Length of the key, |k|", low=0.5, high=2.0, step=0.25, start=1.0)
SIZE = Range(name="size", label="Size of the whole step, βκ", low=0.25, high=6.0, step=0.25, start=1.5)
BETA = Range(name="beta", label="Gate β", low=0.1, high=2.0, step=0.1, start=1.0)
ALPHA = Range(name="alpha", label="Decay α of a whole token", low=0.5, high=1.0, step=0.05, start=0.8)
AGAIN = "The token eight times, from an empty memory, in the lab"
CLAIM = "delta_rules_are_steps_along_one_equation"
MEMORIES = "S is the memory, k the key, v its value, β the gate. "


def _lines(y: np.ndarray) -> tuple[Line, ...]:
    names = [f"{name}: {how}" for name, how in zip(NAMES, HOW, strict=True)]
    return tuple(Line(name=names[m], y=y[..., m], colour=m, dash=DASHES[m]) for m in range(y.shape[-1]))


def _parts(shares: np.ndarray) -> str:
    return ", ".join(f"{name} {said(100 * x, 3)} %" for name, x in zip(NAMES, shares, strict=False))


def _draw_along(numbers: Numbers) -> Reel:
    sizes, s, exact, share = (numbers[name] for name in ("size", "s", "exact", "share"))
    told = [
        f"Step size βκ = {said(size)}: at the end the equation has removed {said(100 * curve[-1], 3)} % of the error. "
        f"The rules: {_parts(row)}."
        for size, curve, row in zip(sizes, exact, share, strict=True)
    ]
    lines = _lines(share[:, None, :] * s[:, None])[:2]
    solution = Line(name=f"{NAMES[2]}: the solution itself", y=exact, colour=2)
    chart = Curves(
        title="Share of the error that is gone: 0 is the old answer, 1 the new value", x=s, lines=(solution, *lines),
        x_title="s, the part of the token that has passed", y_title="share of the error", bottom=0.0, top=2.0,
    )
    return Reel(panels=(chart,), counts="step size βκ", ticks=tuple(map(said, sizes)), said=tuple(told), start=15)


def _draw_memories(numbers: Numbers, length: float) -> Reel:
    sizes, share, memory = (numbers[name] for name in ("size", "share", "memory"))
    told = [
        f"Step size βκ = {said(size)}, that is β = {said(beta)}: of the error they remove {_parts(row)}."
        + (" DeltaNet went past the value." if 1 < size <= 2 else " DeltaNet made the error larger." * bool(size > 2))
        for size, beta, row in zip(sizes, numbers["beta"], share, strict=True)
    ]
    chart = Curves(
        title="Share of the error that one token removes: above 1 it went past the value", x=sizes, lines=_lines(share),
        x_title="step size βκ", y_title="share of the error", at=sizes, bottom=0.0, top=2.0,
    )
    maps = tuple(Map(name=name, values=memory[:, m]) for m, name in enumerate(NAMES))
    panel = Maps(title="The four memories", maps=maps, rows="value channels", columns="key channels", small=120)
    return Reel(panels=(chart, panel), counts="step size βκ", ticks=tuple(map(said, sizes)), said=tuple(told), start=15)


def _draw_pieces(numbers: Numbers, size: float) -> Reel:
    pieces, share = numbers["pieces"], numbers["share"]
    told = [f"The token in {many(n, 'piece')}. Removed: {_parts(row)}." for n, row in zip(pieces, share, strict=True)]
    chart = Curves(
        title="Share of the error that all pieces together remove", x=pieces, lines=_lines(share), log="x", at=pieces,
        x_title="pieces of the token", y_title="share of the error", bottom=0.0, top=2.0,
    )
    return Reel(panels=(chart,), counts="pieces", ticks=tuple(map(str, pieces)), said=tuple(told), start=1)


def _draw_decay(numbers: Numbers, alpha: float, beta: float) -> Reel:
    steps, off = numbers["step"], numbers["difference"]
    told = [f"The whole token: Gated DeltaNet is off by {said(off[0, 0])}, EFLA after a decay by {said(off[0, 1])}."]
    for n in range(1, len(steps)):
        by = f" Halving the part divided Gated DeltaNet's difference by {said(off[n - 1, 0] / off[n, 0])}."
        told.append(
            f"After a part of 1/{2**n} of the token Gated DeltaNet is off by {said(off[n, 0])}, EFLA after a decay by "
            f"{said(off[n, 1])}.{by}"
        )
    lines = (
        Line(name="Gated DeltaNet", y=off[:, 0], colour=0), Line(name="decay, then EFLA", y=off[:, 1], colour=2),
        Line(name="slope 2", y=0.01 * steps**2, colour=TEXT, dash="dot"),
    )
    chart = Curves(
        title="Largest entry by which a memory differs from the solution", x=steps, lines=lines, at=steps, log="xy",
        x_title="part of the token that is taken in one step", y_title="difference", bottom=1e-9, top=10.0,
    )
    ticks = ("1", *(f"1/{2**n}" for n in range(1, len(steps))))
    return Reel(panels=(chart,), counts="part of the token", ticks=ticks, said=tuple(told), start=2)


LESSON = Lesson(
    slug="one-equation", title="One equation, all delta rules", about="Four rules are four steps along one ODE.",
    steps=(
        Step(
            slug="along", title="A token as a journey in time",
            question="Let the error v − S k pull on the memory **without a pause** while a token passes, s from 0 to "
            "1. Where does the answer arrive, and where do rules that jump in one go?",
            equation=(r"\frac{dS}{ds} =", Lit(r"\beta (v - S k) k^\top")),
            where=MEMORIES + "dS/ds is its slope, and κ = |k|² the squared length of the key. The error falls as "
            "exp(−βκ s): lesson 6 with A = −βκ. DeltaNet jumps along the slope at the start, Longhorn along the slope "
            "at the end.",
            claims=("exact_delta_rule_is_zero_order_hold", CLAIM), numbers=study.along_the_step, picture=_draw_along,
            stream=lambda: on_table(study.repeated(1.0, 1.5, 8), *study.STEPS), lab=AGAIN,
        ),
        Step(
            slug="four", title="One slider, four rules", controls=(LENGTH,),
            question="Make the step larger: from which βκ on does DeltaNet go **past** the new value, and which rules "
            "never do?",
            equation=(r"S' = S +", Lit(r"\theta"), r"(v - S k) k^\top"),
            where="S′ is the memory after the token. θκ, the share of the error: βκ for DeltaNet, βκ / (1 + βκ) for "
            "Longhorn, 1 − exp(−βκ) for EFLA, 1 for Kaczmarz's projection, the limit of a large step. κ = |k|². Past "
            "βκ = 2 DeltaNet's error grows at every token.",
            claims=(CLAIM, "delta_transition_is_stable_exactly_for_beta_kappa_in_zero_to_two"),
            numbers=study.four_memories, picture=_draw_memories, lab=AGAIN,
            stream=lambda length: on_table(study.repeated(length, min(1.5 / length**2, 2.0), 8), *study.STEPS),
        ),
        Step(
            slug="pieces", title="Many small steps", controls=(SIZE,),
            question="Cut the token into n equal pieces and let each rule take n small steps. Where do **all** of "
            "them end up?",
            equation=(r"(1 - \tfrac{\beta \kappa}{n})^n \;\to", Lit(r"e^{-\beta \kappa}"),
                      r"\leftarrow\; (1 + \tfrac{\beta \kappa}{n})^{-n}"),
            where="κ = |k|². What is left of the error: DeltaNet at the left, Longhorn at the right. EFLA is there "
            "at once.",
            claims=(CLAIM,), numbers=study.in_pieces, picture=_draw_pieces,
            stream=lambda size: on_table(study.repeated(1.0, size / 8, 8), *study.STEPS), lab="Eight pieces in the lab",
        ),
        Step(
            slug="decay", title="With a decay: Gated DeltaNet and the solution", controls=(ALPHA, BETA),
            question="Now the memory also decays **while** the token passes. Gated DeltaNet decays first and edits "
            "then. How fast does its error shrink when one step takes only a part of the token?",
            equation=(r"\frac{dS}{ds} =", Lit("g S"), r"+ \beta (v - S k) k^\top, \quad g = \ln \alpha"),
            where="The solution is the exact gated delta rule. It writes a little less than EFLA after a decay, since "
            "what is written decays within the token too.",
            claims=("exact_gated_step_solves_the_gated_equation",
                    "decay_then_edit_erases_exactly_and_writes_to_first_order"),
            numbers=study.with_decay, picture=_draw_decay,
            stream=lambda alpha, beta: on_table(study.repeated(1.0, beta / 4, 4, alpha**0.25), *study.GATED),
            lab="In four parts, from an empty memory, in the lab",
        ),
    ),
)  # fmt: skip
