"""Lesson: Gated DeltaNet is gating and the delta rule."""

from __future__ import annotations

import numpy as np

from app.compute import Picture
from app.lessons.frame import Lesson, Lit, Numbers, OneOf, Range, Step, named, on_table, said
from app.reel.panels import Bars, Curves, Line, Reel
from gdn_core import RULES
from gdn_core.lab.studies import gated as study

ALPHA = Range(name="alpha", label="Decay α at the change of subject", low=0.05, high=1.0, step=0.05, start=0.1)
NAMES = {"grid": "the square of four", "wider": "wider gates"}
SET = OneOf(name="rules", label="Rules", options=NAMES, start="grid")
EVENTS = {
    study.OLD: "The old fact is stored.",
    study.SWITCH: "The subject changes: the decay clears.",
    study.CHANGED: "The fact that will change is stored.",
    study.AGAIN: "That fact gets a new value.",
    study.RECENT: "The recent fact is stored.",
}
CALLED = {study.OLD: "the old fact", study.SWITCH: "new subject", study.CHANGED: "a fact that will change",
          study.AGAIN: "its new value", study.RECENT: "the recent fact"}  # fmt: skip
GROUPS = ("old", "changed", "recent")


def _event(t: int) -> str:
    return EVENTS.get(t, "A fact is stored that is not asked for.")


def _watch(picture: Picture, alpha: float) -> list[str]:
    slugs, told = study.SETS["grid"], []
    for t, off in enumerate(study.off_now(picture.trajectory).T):
        errors = ", ".join(f"{said(e)} under {named(slug)}" for e, slug in zip(off, slugs, strict=True))
        told.append(f"{_event(t)} Error of the fact just stored: {errors}.")
    return told


def _draw_recall(numbers: Numbers, alpha: float, rules: str) -> Reel:
    slugs, error = study.SETS[rules], numbers["error"]
    told = []
    for t in numbers["token"].tolist():
        facts = [
            f"the {fact} fact {said(e[-1])}" for fact, e in zip(GROUPS, error[t], strict=True) if not np.isnan(e).any()
        ]
        last = named(slugs[-1])
        event = _event(t)
        errors = f" Error under {last}: {', '.join(facts)}." if facts else ""
        told.append(f"Token {t}: {event[0].lower()}{event[1:]}{errors}")
    bars = Bars(
        title="Error of the answer: 1 is an empty memory. Mean of 8 draws", groups=GROUPS, y_title="error",
        names=tuple(RULES[slug].title for slug in slugs), values=error, bottom=0.0, top=2.0,
    )
    ticks = tuple(map(str, numbers["token"]))
    return Reel(panels=(bars,), counts="token", ticks=ticks, said=tuple(told), start=study.T - 1)


def _draw_limit(numbers: Numbers, alpha: float) -> Reel:
    eps, difference = numbers["eps"], numbers["difference"]
    told = [
        f"With ε = {said(e, least=0.0)} the memories differ by {said(d, least=0.0)} of the largest entry: "
        f"{said(d / e**2)} ε². It never becomes zero."
        for e, d in zip(eps, difference, strict=True)
    ]
    lines = (Line(name="difference", y=difference),
             Line(name="the slope of ε²", y=difference[-1] * (eps / eps[-1]) ** 2, colour=1, dash="dash"))
    chart = Curves(title="Gated DeltaNet on ε k and v / ε, less Mamba-2", x=eps, lines=lines, x_title="ε",
                   y_title="difference", at=eps, log="xy", top=10.0)  # fmt: skip
    return Reel(panels=(chart,), counts="ε", ticks=tuple(said(e, least=0.0) for e in eps), said=tuple(told), start=4)


LESSON = Lesson(
    slug="gated", title="Gated DeltaNet = gating + delta", about="The decay clears, the delta rule edits.",
    steps=(
        Step(
            slug="square", title="Decay on or off, erase on or off", controls=(ALPHA, SET),
            question="The subject changes once, and one fact gets a new value. Which rule still answers which fact?",
            equation=("S_t =", Lit(r"\alpha_t"), r"S_{t-1}", Lit(r"\left(I - \beta_t k_t k_t^\top\right)"),
                      r"+ \beta_t v_t k_t^\top"),
            where="Without α it is DeltaNet, without the bracket Mamba-2, without both linear attention. At other "
            "tokens α is 0.99. The old fact is from before the change of subject; the changed one got a new value "
            "after it; the recent one is new. Wider gates: KDA, Kimi Delta Attention, has a decay for each key "
            "channel, and Gated DeltaNet-2 an erase gate and a write gate too.",
            claims=("wider_rules_contain_the_narrower_ones", "stages_add_up_to_the_step"), numbers=study.recall,
            picture=_draw_recall,
            stream=lambda alpha, rules: on_table(study.facts(alpha), *study.SETS[rules], labels=CALLED),
            sources=(RULES["gated-deltanet"].source, RULES["kimi-delta-attention"].source),
        ),
        Step(
            slug="tokens", title="Token by token", controls=(ALPHA,), token=study.SWITCH,
            question="Watch the change of subject, and six tokens later the new value. Which memory does what?",
            equation=(
                "S_t =", Lit(r"\alpha_t S_{t-1}"),
                r"- \beta_t (\alpha_t S_{t-1} k_t) k_t^\top", r"+ \beta_t v_t k_t^\top",
            ),
            where="The decay acts first: what the key answers is read from the memory that is left.",
            claims=("error_is_read_after_the_decay", "stages_add_up_to_the_step"), watch=_watch,
            stream=lambda alpha: on_table(study.facts(alpha), *study.SETS["grid"], labels=CALLED),
        ),
        Step(
            slug="limit", title="What Gated DeltaNet contains", controls=(ALPHA,),
            question="α = 1 gives DeltaNet exactly, but no β gives Mamba-2, as the first lesson showed. Give Gated "
            "DeltaNet **short** keys εk and long values v/ε: how close does it come?",
            equation=(r"S_t = \alpha_t S_{t-1}", Lit(r"(I - \beta_t \varepsilon^2 k_t k_t^\top)"),
                      r"+ \beta_t v_t k_t^\top"),
            where="ε is a number below 1. A write is the value times the key, and ε cancels. An erase has the key "
            "twice, so that ε² is left: half as long a key erases a quarter. Without the lit bracket this is "
            "Mamba-2. β is 1.",
            claims=("gated_deltanet_contains_mamba2_only_in_the_limit", "narrower_rules_keep_what_wider_ones_break"),
            numbers=study.limit, picture=_draw_limit,
            stream=lambda alpha: on_table(study.short(alpha, 0.1), "mamba-2", "gated-deltanet", labels=CALLED),
            lab="ε = 0.1 in the lab",
        ),
    ),
)  # fmt: skip
