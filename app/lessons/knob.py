"""Lesson: the step of a state space model is a gate."""

from __future__ import annotations

import numpy as np

from app.choice import Choice, Origin, TableRow
from app.lessons.frame import Lesson, Lit, Numbers, OneOf, Range, Step, on_table, said
from app.reel.panels import TEXT, Bars, Curves, Line, Map, Maps, Reel
from gdn_core import Discretisation
from gdn_core.lab.glyphs import GLYPHS
from gdn_core.lab.scenarios import Settings
from gdn_core.lab.studies import knob as study

NAMES = {"zoh": "zero-order hold", "mamba": "Mamba's choice"}
METHOD = OneOf(name="method", label="Discretisation", options=NAMES, start="zoh")
RATE = Range(name="rate", label="Rate r: A = −r", low=0.5, high=3.0, step=0.25, start=1.0)
AT = Range(name="at", label="Token with a step of its own", low=1, high=study.TOKENS, step=1, start=4)
DELTA = Range(name="delta", label="Its step Δ; the others have 0.1", low=0.0, high=6.0, step=0.1, start=3.0)


def _two(delta: float, method: str = "zoh", rate: float = 1.0) -> Choice:
    """Return two pictures in the lab, the first stored whole. The lab's rate is 1; steps and keys make up for it."""
    whole = 1 - np.exp(-1) if method == "zoh" else 1.0
    pairs = ((1 / whole, 1.0, "the old one"), (1 / rate, rate * delta, "the new one"))
    rows = tuple(TableRow(f"[{key:.6g}]", GLYPHS[n].thing, "[1]", delta=float(step), label=label)
                 for n, (key, step, label) in enumerate(pairs))  # fmt: skip
    size = Settings(dk=1, dv=8, spread=0.0)
    return Choice(origin=Origin.TABLE, table=rows, rules=("mamba",), settings=size,
                  discretisation=Discretisation(method))  # fmt: skip


def _draw_pictures(numbers: Numbers, method: str, rate: float) -> Reel:
    steps, share = numbers["step"], numbers["share"]
    told = [
        f"Step Δ = {said(step)}. The memory now holds {said(old)} of the old picture and {said(new)} of the new one."
        for step, (old, new) in zip(steps, share, strict=True)
    ]
    maps = tuple(Map(name=name, values=numbers[key]) for name, key in
                 (("the memory after the token", "mixed"), ("held before", "old"), ("the token", "new")))  # fmt: skip
    pictures = Maps(title="What the memory holds", maps=maps, rows="pixels", columns="pixels", limit=1.0, small=120)
    lines = Line(name="of the old", y=share[:, 0]), Line(name="of the new", y=share[:, 1], colour=1, dash="dash")
    chart = Curves(title="Shares in the memory", x=steps, lines=lines, x_title="step Δ", y_title="share", at=steps,
                   bottom=0.0, top=2.0)  # fmt: skip
    ticks = tuple(map(said, steps))
    return Reel(panels=(pictures, chart), counts="step Δ", ticks=ticks, said=tuple(told), start=7)


def _draw_gate(numbers: Numbers) -> Reel:
    a, share, sigmoid = numbers["a"], numbers["share"], numbers["sigmoid"]
    told = [
        f"At a = {said(at)} the step is {said(step)}. The old state keeps {said(old)}, the input gets {said(new)}, and "
        f"σ(a) is {said(s)}."
        for at, step, (old, new), s in zip(a, numbers["step"], share, sigmoid, strict=True)
    ]
    lines = (
        Line(name="share of the old", y=share[:, 0]), Line(name="share of the new", y=share[:, 1], colour=1),
        Line(name="σ(a)", y=sigmoid, colour=TEXT, dash="dot"),
    )
    chart = Curves(title="Softplus makes the step, and the step makes a gate", x=a, lines=lines, at=a, bottom=0.0,
                   x_title="a, what the layer computes from the token", y_title="share", top=1.0)  # fmt: skip
    return Reel(panels=(chart,), counts="a", ticks=tuple(map(said, a)), said=tuple(told), start=12)


def _draw_weights(numbers: Numbers, at: int, delta: float) -> Reel:
    tokens, steps, weights = numbers["tokens"], numbers["step"], numbers["weights"]
    told = []
    for t, row in zip(tokens, weights, strict=True):
        its = f" Token {at} weighs {said(row[at - 1])}, all before it together {said(row[: at - 1].sum())}."
        told.append(
            f"Token {t} came with the step {said(steps[t - 1])}, and weighs {said(row[t - 1])}.{its * bool(t >= at)}"
        )
    bars = Bars(
        title="Weight of each token in the memory", groups=tuple(map(str, tokens)), names=("weight",),
        values=weights[..., None], y_title="weight", bottom=0.0, top=1.0,
    )
    return Reel(panels=(bars,), counts="tokens so far", ticks=tuple(map(str, tokens)), said=tuple(told), start=4)


LESSON = Lesson(
    slug="step", title="The step as a knob", about="From 'ignore this token' to 'forget all else'.",
    steps=(
        Step(
            slug="pictures", title="Ignore or replace", controls=(METHOD, RATE),
            question="The memory holds one picture, and a token brings another. Turn the step Δ from 0 up: where is "
            "the token **ignored**, and where does it **replace** what was there?",
            equation=("S_t =", Lit(r"e^{-r \Delta}"), "S_{t-1} +", Lit(r"\tfrac{1}{r} (1 - e^{-r \Delta})"), "v_t"),
            where="Zero-order hold, with the single number 1 as key. S is the memory, v the new picture, r the rate "
            "of the decay. Mamba's choice writes Δ v: it goes on growing.",
            claims=("small_step_ignores_the_token", "large_step_replaces_the_state",
                    "decay_falls_and_input_grows_with_the_step"),
            numbers=study.two_pictures, picture=_draw_pictures, lab="The step 0.7 in the lab",
            stream=lambda method, rate: _two(0.7, method, rate),
        ),
        Step(
            slug="gate", title="Softplus turns the step into a gate",
            question="A layer computes a number a from the token, of either sign, and a step must not be negative. So "
            "Δ is softplus(a) = ln(1 + exp(a)). What **share** of the old state is left then?",
            equation=(r"e^{-\ln(1 + e^a)} = \frac{1}{1 + e^a} =", Lit(r"1 - \sigma(a)")),
            where="The rate r is 1. σ(a) = 1 / (1 + exp(−a)) runs from 0 to 1. It is the gate of LSTM and GRU, older "
            "recurrent networks: the new has the share σ(a), the old 1 − σ(a).",
            claims=("zoh_with_softplus_is_a_gate",), numbers=study.softplus_gate, picture=_draw_gate,
            stream=lambda: _two(float(np.log(2))), lab="Two pictures at a = 0 in the lab",
        ),
        Step(
            slug="token", title="A step for each token", controls=(AT, DELTA),
            question="Eight tokens, and one has a step of its own. Make it 0, then large: what is left of the tokens "
            "**before** it?",
            equation=(r"S_T = \sum_{t}", Lit(r"e^{-(\Delta_{t+1} + \dots + \Delta_T)}"), r"(1 - e^{-\Delta_t}) \, v_t"),
            where="Rate r = 1. A step from the token makes the model selective: this is what Mamba adds to S4.",
            claims=("write_weighs_the_decays_since", "small_step_ignores_the_token", "large_step_replaces_the_state"),
            numbers=study.one_token_stands_out, picture=_draw_weights,
            stream=lambda at, delta: on_table(study.with_steps(at, delta), "mamba", how="zoh"),
        ),
    ),
)  # fmt: skip
