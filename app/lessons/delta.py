"""Lesson: the delta rule, which reads before it writes."""

from __future__ import annotations

import itertools

from app.choice import Choice
from app.compute import Picture
from app.lessons import arrows
from app.lessons.frame import Lesson, Lit, Range, Step, on_table, said
from gdn_core.lab.scenarios import Settings
from gdn_core.lab.studies import delta as study

BETA = Range(name="beta", label="Gate β", low=0.0, high=2.0, step=0.1, start=1.0)
WIDE = Range(name="beta", label="Gate β, past its limits too", low=0.0, high=2.4, step=0.1, start=1.5)
SHORT = Range(name="beta", label="Gate β", low=0.1, high=1.9, step=0.1, start=1.0)
TURN = Range(name="turn", label="Turn the view, in degrees", low=0, high=180, step=10, start=60)
VALUE = Range(name="value", label="Value v to write; 0 only erases", low=-1.0, high=1.0, step=0.1, start=0.0)
SHOWN = Range(name="value", label="Value v to write", low=-1.0, high=1.0, step=0.1, start=0.5)


def _stream(preset: str = "overwrite", T: int = 8, beta: float = 1.0) -> Choice:
    size = Settings(dk=8, dv=8, T=T, alpha=1.0, beta=beta)
    return Choice(preset=preset, rules=("linear-attention", "deltanet"), settings=size)


def _row(beta: float, value: float, times: int = 1) -> Choice:
    return on_table(study.from_before(beta, value, times), "deltanet", labels={0: "the memory before"})


def _watch(picture: Picture, beta: float) -> list[str]:
    lengths = study.read_and_written(picture.trajectory, 1)
    return [
        f"DeltaNet's memory answers to the key, times β, with length {said(read)}. The error, the new value times β "
        f"less that answer, is written: its length is {said(u)}." for read, u in zip(*lengths, strict=True)
    ]


def _watch_parity(picture: Picture, beta: float) -> list[str]:
    signs = study.signs(picture.trajectory, 1)
    ones = itertools.accumulate(int(label == "1") for label in picture.scenario.labels)
    return [
        f"The ones so far: {n}, an {'odd' if n % 2 else 'even'} number. DeltaNet answers {said(sign)} times the value."
        for n, sign in zip(ones, signs, strict=True)
    ]


LESSON = Lesson(
    slug="delta", title="The delta rule", about="Read, compare, erase, write: one step of gradient descent a token.",
    steps=(
        Step(
            slug="stages", title="Read before you write", controls=(BETA,), token=4,
            question="In mid-stream a key comes again. What does DeltaNet write there that linear attention does not?",
            equation=(r"u_t = \beta_t \bigl(v_t -", Lit("S_{t-1} k_t"), r"\bigr), \quad S_t = S_{t-1} + u_t k_t^\top"),
            where="Lit: what the memory answers to the key. The error u, no input as in the lessons on S4, is the new "
            "value less the old one, times β.",
            claims=("new_value_replaces_the_old_only_under_the_delta_rule", "stages_add_up_to_the_step"),
            watch=_watch, stream=lambda beta: _stream(beta=beta),
        ),
        Step(
            slug="plane", title="Erasing, as geometry", controls=(VALUE,),
            question="A memory with one row is an arrow. Which part of it does k change, and for which β is it gone?",
            equation=("S_t = S_{t-1}", Lit(r"\left(I - \beta_t k_t k_t^\top\right)"), r"+ \beta_t v_t k_t^\top"),
            where="Lit: the transition. It multiplies what lies along k by 1 − β, its eigenvalue there, and leaves "
            "the rest alone. Its norm, the most by which it multiplies a length, is 1 up to β = 2, and more past it.",
            claims=("delta_transition_is_a_projection_at_one_and_a_reflection_at_two",),
            numbers=study.in_the_plane, picture=arrows.draw_plane, stream=lambda value: _row(0.5, value),
        ),
        Step(
            slug="space", title="Three keys in space", controls=(SHORT, TURN),
            question="Three keys take turns, and none is at right angles to another. Each write spoils the other "
            "answers a little. Does one memory come to answer **all three**?",
            equation=("S_t = S_{t-1} +", Lit(r"\beta_t \, (v_t - S_{t-1} k_t) \, k_t^\top")),
            where="The memories that answer v to a key are a plane at right angles to it, here a square of it. With β "
            "= 1 each token moves S straight onto the plane of its key. Three planes meet in one point.",
            claims=("delta_transition_is_a_projection_at_one_and_a_reflection_at_two", "delta_rule_is_a_gradient_step"),
            numbers=study.in_space, picture=arrows.draw_space,
            stream=lambda beta, turn: on_table(study.three_keys(beta), "deltanet", labels={0: "the memory before"}),
        ),
        Step(
            slug="gradient", title="One step of gradient descent", controls=(SHOWN,),
            question="The loss of a memory is ½ (S k − v)². How large a step against its gradient makes it zero?",
            equation=("S_t = S_{t-1} - \\beta_t", Lit(r"\nabla_S \tfrac12 \lVert S k_t - v_t \rVert^2")),
            where="S has two entries here, S₁ and S₂: a point of the ground. ∇, the gradient, points where the loss "
            "grows fastest: it is (S k − v) kᵀ, along the key and as long as the error. β is the rate.",
            claims=("delta_rule_is_a_gradient_step",),
            numbers=study.in_the_plane, picture=arrows.draw_gradient, stream=lambda value: _row(0.5, value),
        ),
        Step(
            slug="stable", title="How large may β be?", controls=(WIDE,),
            question="The same key is erased twenty times. For which β does the memory stay bounded?",
            equation=(r"\lvert 1 - \beta \kappa \rvert \le 1 \iff", Lit(r"0 \le \beta \kappa \le 2")),
            where="κ is the squared length of the key, here 1; no value is written. Past 2 each erase overshoots.",
            claims=("delta_transition_is_stable_exactly_for_beta_kappa_in_zero_to_two",),
            numbers=study.again_and_again, picture=arrows.draw_again,
            stream=lambda beta: _row(min(beta, 2.0), 0.0, times=20),
        ),
        Step(
            slug="parity", title="Counting by sign", token=3,
            controls=(Range(name="beta", label="Gate β at a 1", low=0.0, high=2.0, step=0.1, start=2.0),),
            question="A bit of 1 erases the key with β, a bit of 0 does nothing. How can a memory tell whether the "
            "ones so far are even or odd?",
            equation=(Lit(r"\beta_t = 2: \; 1 - \beta_t = -1"), r"\;\Rightarrow\; S_t k = \pm v"),
            where="Each 1 reflects the memory along the key. No rule whose gates stay within 0 to 1 can do it.",
            claims=("delta_transition_is_a_projection_at_one_and_a_reflection_at_two",), watch=_watch_parity,
            stream=lambda beta: _stream("parity", T=16, beta=beta),
        ),
    ),
)  # fmt: skip
