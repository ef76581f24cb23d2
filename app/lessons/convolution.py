"""Lesson: S4, a recurrence that is a convolution, and what a step for each token takes from it."""

from __future__ import annotations

import numpy as np

from app.choice import Choice
from app.lessons.frame import Lesson, Lit, Numbers, OneOf, Range, Step, many, on_table, said
from app.reel.panels import TEXT, Curves, Line, Map, Maps, Reel
from gdn_core.lab.studies import convolution as study
from gdn_core.rules import S4

DELTA = Range(name="delta", label="Step Δ, the same for all tokens", low=0.05, high=0.8, step=0.05, start=0.2)
MEAN = Range(name="delta", label="Mean step Δ", low=0.05, high=0.8, step=0.05, start=0.3)
KINDS = {"steps": "up and down", "wave": "wave", "noise": "noise"}
INPUTS = OneOf(name="name", label="Input", options=KINDS, start="steps")
LOOKED = ("token", "lag", "later", "entry", "difference")
DASHES = ("solid", "dash", "dot")


def _stream(u: np.ndarray, steps: np.ndarray, *rules: str) -> Choice:
    return on_table(study.stream_of(u, steps), *rules, how="zoh")


def _fixed(delta: float, name: str = "one") -> Choice:
    return _stream(study.signal(name), np.full(study.T, delta), "s4")


def _draw_impulse(numbers: Numbers, delta: float) -> Reel:
    told = [
        f"The 1 comes at token {t}, the output {many(lag, 'token')} later is {said(y)}, and entry {lag} of the kernel "
        f"is {said(K)}. All outputs are the kernel, moved by {t}: they differ by {said(off, least=0.0)} at most."
        for t, lag, y, K, off in zip(*(numbers[n] for n in LOOKED), strict=True)
    ]
    token = numbers["token"]
    lines = (
        Line(name="output", y=numbers["output"]),
        Line(name="the kernel, moved", y=numbers["moved"], colour=1, dash="dash"),
    )
    chart = Curves(title="What comes out", x=token, lines=lines, x_title="token", y_title="output", at=token)
    return Reel(panels=(chart,), counts="token of the 1", ticks=tuple(map(str, token)), said=tuple(told), start=4)


def _draw_ways(numbers: Numbers, delta: float, name: str) -> Reel:
    ways = {"recurrence": "recurrence", "convolution": "convolution", "fft": "FFT"}
    told = [
        f"At token {t} the recurrence changes 4 numbers, and reads {said(a, 4)} from them; the convolution adds "
        f"{many(t + 1, 'product')} up to {said(b, 4)}; the FFT, which makes all outputs at once, has {said(c, 4)}. "
        f"Largest difference so far: {said(off, least=0.0)}."
        for t, a, b, c, off in zip(*(numbers[n] for n in ("token", *ways, "difference")), strict=True)
    ]
    memory = Map(name="memory: 4 states", values=numbers["states"])
    rows = Map(name="the kernel as a matrix", values=numbers["rows"])
    maps = Maps(title="Token by token, and all at once", rows="output at token", columns="input at token",
                maps=(rows, memory), small=150)  # fmt: skip
    token = numbers["token"]
    lines = [Line(name=n, y=numbers[key], colour=i, dash=DASHES[i]) for i, (key, n) in enumerate(ways.items())]
    chart = Curves(title="The outputs, three times", x=token, x_title="token", y_title="output", at=token,
                   lines=(Line(name="input", y=numbers["input"], colour=TEXT, dash="dashdot"), *lines))  # fmt: skip
    ticks = tuple(map(str, token))
    return Reel(panels=(chart, maps), counts="token", ticks=ticks, said=tuple(told), start=6)


def _draw_padded(numbers: Numbers, delta: float, name: str) -> Reel:
    zeros, right, off = numbers["zeros"], numbers["right"], numbers["difference"]
    told = [
        f"With {many(n, 'zero')} after the input {many(wrong, 'output')} of 16 {'is' if wrong == 1 else 'are'} wrong, "
        f"by {said(most, least=0.0)} at most. The first is {said(first[0], 3)}, where {said(right[0], 3)} is right."
        for n, wrong, most, first in zip(zeros, numbers["wrapped"], off, numbers["output"], strict=True)
    ]
    lines = (
        Line(name="recurrence", y=right, colour=TEXT),
        Line(name="FFT", y=numbers["output"], colour=1, dash="dash"),
    )
    charts = (
        Curves(title="The outputs", x=np.arange(study.T), lines=lines, x_title="token", y_title="output"),
        Curves(title="Largest difference", x=zeros, lines=(Line(name="difference", y=off),), at=zeros, log="y",
               top=10.0, bottom=1e-17, x_title="zeros after the input", y_title="difference"),
    )  # fmt: skip
    return Reel(panels=charts, counts="zeros", ticks=tuple(map(str, zeros)), said=tuple(told), start=4)


def _draw_broken(numbers: Numbers, delta: float) -> Reel:
    spread, missed, (low, high) = numbers["spread"], numbers["missed"], numbers["tokens"]
    told = [
        f"With steps from {said(steps.min())} to {said(steps.max())} a 1 at token {low} gives {said(a, 3)} at once, "
        f"and one at token {high} gives {said(b, 3)}. What the nearest convolution misses is {said(off)} of the whole."
        for steps, (a, b), off in zip(numbers["steps"], numbers["answers"], missed, strict=True)
    ]
    kinds = {"matrix": "what comes out", "nearest": "nearest convolution", "rest": "the rest"}
    maps = Maps(title="From input to output", rows="output at token", columns="input at token", small=105,
                maps=tuple(Map(name=name, values=numbers[key]) for key, name in kinds.items()))  # fmt: skip
    chart = Curves(title="Size of the rest, the whole being 1", x=spread, lines=(Line(name="missed", y=missed),),
                   x_title="how far the steps differ", y_title="share", at=spread, bottom=0.0, top=1.0)  # fmt: skip
    return Reel(panels=(maps, chart), counts="difference", ticks=tuple(map(said, spread)), said=tuple(told), start=12)


LESSON = Lesson(
    slug="s4", title="S4: a recurrence that is a convolution", about="One step for all tokens, and what that allows.",
    steps=(
        Step(
            slug="kernel", title="Answer to a single 1", controls=(DELTA,),
            question="The input is 1 at one token, and 0 at all others. What comes out, and what if it is **later**?",
            equation=(r"h_t = \bar A h_{t-1} + \bar B u_t, \; y_t = C h_t \;\Rightarrow\;",
                      Lit(r"K_j = C \bar A^j \bar B")),
            where="u is the input, which the lessons before call a value; y is the output, h four states. Ā "
            "multiplies them by exp(−Δ), exp(−2Δ), exp(−3Δ) and exp(−4Δ), B̄ writes to each, C weighs and adds. K is "
            "the kernel here, and no key: what comes out j tokens after a 1. S4 as published has complex rates, which "
            "turn as in the lesson on the ODE.",
            claims=("fixed_recurrence_is_a_convolution", "held_sample_decides_when_the_first_output_comes"),
            numbers=study.impulses, picture=_draw_impulse, stream=_fixed, sources=(S4.source,),
        ),
        Step(
            slug="ways", title="Three ways to one output", controls=(DELTA, INPUTS),
            question="Any input is a sum of single ones. Then is the output a sum of moved kernels?",
            equation=("y_t =", Lit(r"\sum_{j=0}^{t} K_j \, u_{t-j}")),
            where="This sum is a convolution. Row t of the matrix has the kernel backwards: one product for each input "
            "so far. The recurrence needs four numbers in place of all the past. The next step explains the FFT.",
            claims=("fixed_recurrence_is_a_convolution", "state_space_model_is_a_write_rule"),
            numbers=study.three_ways, picture=_draw_ways, stream=_fixed,
        ),
        Step(
            slug="fft", title="By FFT, and why with zeros", controls=(DELTA, INPUTS),
            question="The Fourier transform turns a convolution into products, one for each frequency. But it takes "
            "its input to go round in a **circle**. How many zeros after it keep the end from the beginning?",
            equation=(r"y = F^{-1} \bigl(", Lit(r"F K \cdot F u"), r"\bigr)"),
            where="F, the Fourier transform, says how much of each frequency there is. The FFT, the fast way to it, "
            "takes about L log L products for L inputs; the sum of the last step takes L (L + 1) / 2.",
            claims=("fixed_recurrence_is_a_convolution",), numbers=study.padded, picture=_draw_padded, stream=_fixed,
        ),
        Step(
            slug="broken", title="A step for each token breaks it", controls=(MEAN,),
            question="Now the step depends on the token, as in Mamba. Is there still **any** kernel that gives the "
            "same outputs?",
            equation=(r"\frac{\partial y_t}{\partial u_j} = C \,", Lit(r"\bar A_t \cdots \bar A_{j+1}"),
                      r"\bar B_j \ne K_{t-j}"),
            where="Left: the output at t for a 1 at token j, which is entry (t, j) of the matrix. In a convolution "
            "each diagonal has one number. The nearest one takes the mean of each diagonal: nothing nearer exists.",
            claims=("selective_recurrence_is_no_convolution",), numbers=study.with_steps_of_tokens,
            picture=_draw_broken,
            stream=lambda delta: _stream(study.signal("noise"), study.steps_of_tokens(delta)[12], "s4", "mamba"),
        ),
    ),
)  # fmt: skip
