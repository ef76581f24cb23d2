"""Lesson: a differential equation as the first memory, and what a step makes of it."""

from __future__ import annotations

import numpy as np

from app.lessons.frame import Lesson, Lit, Numbers, OneOf, Range, Step, on_table, said
from app.reel.panels import TEXT, Arrow, Curves, Line, Map, Maps, Plane, Reel
from gdn_core.lab.studies import ode as study

NAMES = ("zero-order hold", "bilinear", "Euler", "Mamba's choice")
LEAST = 1e-9  # error that is drawn
ORDERS = ("euler_step_has_local_error_of_order_two", "bilinear_rule_has_local_error_of_order_three")
DASHES = ("solid", "dash", "dashdot", "dot")
RATE = Range(name="rate", label="Rate r of the decay: A = −r", low=0.2, high=4.0, step=0.2, start=1.0)
GAIN = Range(name="gain", label="Input map B", low=-2.0, high=2.0, step=0.25, start=1.0)
SLOW = Range(name="rate", label="Rate r: how fast it shrinks", low=0.1, high=2.0, step=0.1, start=0.3)
TURN = Range(name="turn", label="ω: radians turned in a time of 1", low=0.0, high=6.0, step=0.25, start=2.0)
MOVES = OneOf(name="moves", label="Input u", options={"held": "held for 1 each", "moving": "sin t"}, start="held")
METHOD = OneOf(name="method", label="Discretisation", options={"zoh": NAMES[0], "mamba": NAMES[3]}, start="zoh")
PAIR = ("s4", "mamba")  # under zero-order hold, and Mamba's choice
DELTA = Range(name="delta", label="Step Δ", low=0.05, high=2.0, step=0.05, start=0.5)


def _lines(y: np.ndarray) -> tuple[Line, ...]:
    return tuple(Line(name=NAMES[m], y=y[..., m], colour=m, dash=DASHES[m]) for m in range(y.shape[-1]))


def _draw_sampled(numbers: Numbers, rate: float, gain: float) -> Reel:
    steps, time, exact = numbers["step"], numbers["time"], numbers["exact"]
    told = [
        f"The step is {said(step)}, and the solution at time 3 is {said(exact[len(time) // 2], 3)}. Zero-order hold "
        f"says {said(h[0], 3)}, the bilinear rule {said(h[1], 3)},"
        f" Euler {said(h[2], 3)}, Mamba's choice {said(h[3], 3)}."
        for step, h in zip(steps, numbers["at_three"], strict=True)
    ]
    ends = np.sort(np.sign(gain or 1.0) * max(1.6 * np.abs(exact).max(), 0.1) * np.array([-0.4, 1.0]))
    chart = Curves(
        title="The state h over time; the input is 1 until time 3, and 0 from then on", x=time, x_title="time",
        y_title="state h", lines=(Line(name="the solution", y=exact, colour=TEXT), *_lines(numbers["states"])),
        bottom=ends[0].item(), top=ends[1].item(), places=((3.0, "input ends"),),
    )
    return Reel(panels=(chart,), counts="step Δ", ticks=tuple(map(said, steps)), said=tuple(told), start=5)


def _draw_turning(numbers: Numbers, rate: float, turn: float) -> Reel:
    steps, modulus, edge, paths = (numbers[name] for name in ("step", "modulus", "edge", "shown"))
    told = [
        f"A step of {said(step)} multiplies the length by {said(size[0])} in the solution, {said(size[1])} under the "
        f"bilinear rule, {said(size[2])} under Euler, whose state {'grows' if step > edge else 'shrinks'}. It turns by "
        f"{said(by[0], 3)}°, {said(by[1], 3)}° and {said(by[2], 3)}°."
        for step, size, by in zip(steps, modulus, numbers["angle"], strict=True)
    ]
    lines = [Line(name=NAMES[m], y=paths[:, :, m], colour=m, dash=DASHES[m]) for m in (1, 2)]
    start = Arrow(name="start", to=np.array([1.0, 0.0]))
    solution = Line(name="the solution", y=numbers["exact"], colour=TEXT)
    plane = Plane(title="The state until time 6", arrows=(start,), paths=(solution, *lines), limit=study.SEEN)
    chart = Curves(
        title="Factor of the length in one step: above 1 the state grows", x=steps, lines=_lines(modulus), at=steps,
        x_title="step Δ", y_title="|Ā|", top=2.0, bottom=0.0, places=((edge.item(), "Euler's limit"),) * bool(edge < 4),
    )
    return Reel(panels=(plane, chart), counts="step Δ", ticks=tuple(map(said, steps)), said=tuple(told), start=2)


def _draw_errors(numbers: Numbers, moves: str, rate: float) -> Reel:
    steps, error = numbers["step"], numbers["error"]
    slopes = [Line(name=f"slope {p}", y=0.02 * steps**p, colour=TEXT, dash=("solid", "dot")[p - 1]) for p in (1, 2)]
    lines = [*_lines(np.maximum(error, LEAST)), *slopes]
    methods = [(NAMES[m], error[:, m]) for m in (2, 1)]
    if moves == "moving":
        methods += [("Mamba-3", numbers["trapezoid"])]
        lines.append(Line(name="Mamba-3, both ends", y=numbers["trapezoid"], colour=TEXT, dash="dash"))
    told = [f"Step 1. Errors at time 4: {'; '.join(f'{n} {said(e)}' for n, e in zip(NAMES, error[0], strict=True))}."]
    for n in range(1, len(steps)):
        shares = ", ".join(f"{name} by {said(e[n - 1] / e[n])}" for name, e in methods)
        told.append(
            f"Step 1/{2**n}, half the one before, divides the errors: {shares}. That of zero-order hold is "
            f"{said(error[n, 0])}."
        )
    chart = Curves(
        title="Error at time 4, both axes in powers of ten; what is below 10⁻⁹ lies on the lower edge", x=steps,
        lines=tuple(lines), x_title="step Δ", y_title="error", at=steps, log="xy", bottom=LEAST, top=10.0,
    )
    ticks = tuple(f"1/{2**n}" for n in range(len(told)))
    return Reel(panels=(chart,), counts="step Δ", ticks=ticks, said=tuple(told), start=3)


def _draw_memory(numbers: Numbers, method: str, delta: float) -> Reel:
    solution = numbers["solution"]
    told = [
        f"After token {t} memory and solutions differ by {said(off)}, and their largest entry is {said(abs(h).max())}."
        for t, off, h in zip(numbers["tokens"], numbers["difference"], solution, strict=True)
    ]
    maps = Map(name="memory of the rule", values=numbers["memory"]), Map(name="twelve solutions", values=solution)
    panel = Maps(title="Three inputs, four rates each", maps=maps, rows="inputs", columns="rates 1, 2, 3, 4", small=220)
    return Reel(panels=(panel,), counts="token", ticks=tuple(map(str, numbers["tokens"])), said=tuple(told), start=3)


LESSON = Lesson(
    slug="ode", title="From the ODE", about="A memory that follows a differential equation, read at steps.",
    steps=(
        Step(
            slug="sampled", title="One state, read at steps", controls=(RATE, GAIN),
            question="An ordinary differential equation, an ODE, says how a state h changes: it forgets at the rate r "
            "and takes in an input u. A computer sees it only every Δ. Which way to jump from one sample to the next "
            "stays on the solution when the step is **large**?",
            equation=(r"h' = A h + B u \;\to\;", Lit(r"h_t = \bar A \, h_{t-1} + \bar B \, u_t")),
            where="h′ is the slope of h over time.\n- Zero-order hold, exact if u is held for Δ: Ā = exp(ΔA), B̄ = (Ā "
            "− 1) B / A\n- Euler: Ā = 1 + ΔA, B̄ = ΔB\n- Bilinear: Ā = (1 + ΔA/2) / (1 − ΔA/2), B̄ = ΔB / (1 − "
            "ΔA/2)\n- Mamba: Ā = exp(ΔA), B̄ = ΔB",
            claims=("zoh_solves_the_held_equation", "mamba_input_is_zoh_to_first_order"),
            numbers=study.sampled, picture=_draw_sampled,
            stream=lambda rate, gain: on_table(study.held_then_none(rate, gain), *PAIR), lab="The step 1/2 in the lab",
        ),
        Step(
            slug="errors", title="Half the step: how much smaller is the error?", controls=(MOVES, RATE),
            question="The step is halved again and again. By how much is each error **divided** each time: by 2, by 4?",
            equation=(r"\text{error} \approx c \,", Lit(r"\Delta^p"), r", \quad p = 1 \text{ or } 2"),
            where="c is a number that does not depend on Δ. On axes in powers of ten the error is a straight line of "
            "slope p, the order of the method.",
            claims=(*ORDERS, "exponential_trapezoidal_rule_has_local_order_three_exactly_at_one_half"),
            numbers=study.errors, picture=_draw_errors, lab="The step 1/8 in the lab",
            stream=lambda moves, rate: on_table(study.of_errors(moves, rate), *PAIR),
        ),
        Step(
            slug="turning", title="A complex rate, and where a step blows up", controls=(SLOW, TURN),
            question="If A is complex, the state is a point of the plane that **turns** while it shrinks. For which "
            "steps does it grow instead, though the solution never does?",
            equation=(r"h_t = \bar A^t h_0, \quad \bar A \approx e^{\Delta (-r + i \omega)}:", Lit(r"|\bar A| < 1?")),
            where="h₀ is where the state starts, i the imaginary unit: the real part of h is the first axis, the "
            "imaginary part the second. No input. Euler shrinks while Δ < 2r / (r² + ω²), bilinear always. Mamba's Ā "
            "is that of zero-order hold.",
            claims=("bilinear_rule_is_stable_exactly_where_the_equation_is", "euler_step_has_local_error_of_order_two"),
            numbers=study.turning, picture=_draw_turning,
            stream=lambda rate, turn: on_table(study.without_turning(rate), "s4"),
            lab="The length of the state in the lab",
        ),
        Step(
            slug="memory", title="Many equations are one matrix memory", controls=(METHOD, DELTA),
            question="Three inputs drive four equations each. Put the twelve states into a matrix: is it a memory that "
            "**decays and writes** like those before?",
            equation=(r"S_t =", Lit(r"e^{\Delta A}"), r"\odot S_{t-1} +", Lit(r"\bar B_t \odot"), r"u_t B_t^\top"),
            where="⊙ multiplies entry by entry. The rates A are a row, the same for each input; u is the value v, B "
            "the key k. B̄ is Δ under Mamba's choice, under zero-order hold (exp(ΔA) − 1) / A, one for each rate.",
            claims=("state_space_model_is_a_write_rule", "zoh_solves_the_held_equation"),
            numbers=study.as_memory, picture=_draw_memory,
            stream=lambda method, delta: on_table(study.twelve(delta), *PAIR, how=method),
        ),
    ),
)  # fmt: skip
