"""The parts of a rule that is put together: their controls, its name and equation, and pictures of what it does."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from app.lessons.frame import Equation, Lit, Numbers, OneOf, Range, many, said
from app.reel.panels import TEXT, Bars, Curves, Line, Map, Maps, Reel
from gdn_core.lab.studies import compose as study
from gdn_core.lab.studies import tasks

PARTS = (
    OneOf(name="decay", label="Decay", start="scalar", options={
        "none": "none", "scalar": "one", "key": "a key channel", "entry": "an entry"}),
    OneOf(name="erase", label="Erase", start="tied", options={
        "none": "none", "tied": "tied to the write", "gate": "own gate", "key": "own key"}),
    OneOf(name="write", label="Write gate", start="none", options={
        "none": "none", "scalar": "one", "value": "a value channel"}),
    Range(name="steps", label="Steps a token", low=1, high=study.MOST_STEPS, step=1, start=1),
)  # fmt: skip
DECAYED = {"none": "", "scalar": "α is the decay, one number. ", "key": "α has a decay for each key channel. ",
           "entry": "Ā has a decay for each entry, and ⊙ multiplies entry by entry. "}  # fmt: skip
ERASED = {"none": "", "tied": "β erases what the key is answered, and is the write gate too. ",
          "gate": "b, a number for each key channel, says what is erased. ",
          "key": "e is a key of its own at which β erases. "}  # fmt: skip
STEPS = "A token makes several edits, counted by i, and decays once. "
#: The tasks in a word or two, and in a sentence.
TASKS = {
    "keep": ("keep", "Twelve facts are to be kept"),
    "forget": ("forget", "Three of twelve are to be forgotten on command"),
    "subject": ("new subject", "Eight facts are to go at once, at a change of subject"),
    "half": ("half keys", "The facts in one half of the key channels are to go"),
    "part": ("part value", "Of those facts one half of each value is to go"),
    "mask": ("half value", "Of each value one half is to be written"),
    "at-once": ("together", "A token is to write one fact and forget another"),
}
YOURS, COLUMNS = "yours", ("claim", "holds", "steps", "mutants", "refuted")


def _name(parts: Mapping[str, Any]) -> str:
    """Name the architecture that the parts are."""
    return " or ".join(study.names(**parts)) or "A rule without a name"


def equation(**parts: Any) -> Equation:
    """Return the equation of the parts, what the erase does lit."""
    before, *rest = re.split(r"(\\left\(I .*?\\right\))", study.tex(**parts), maxsplit=1)
    return (before, Lit(rest[0]), rest[1]) if rest else (Lit(before),)


def where(decay: str, erase: str, write: str, steps: int) -> str:
    """Name the architecture, with its source, and explain the letters."""
    names = study.names(decay, erase, write, steps).items()
    found = [f"{title} ({source.title or source.paper}, {source.place})" for title, source in names]
    named = f"This is {' or '.join(found)}." if found else "Nobody has published this rule, as far as we know."
    gate = "" if write == "none" else "w is the write gate. "
    letters = f"S is the memory, k the key, v the value. {DECAYED[decay]}{ERASED[erase]}{gate}{STEPS * (steps > 1)}"
    return f"{named}\n\n{letters}A gate for which the stream has no number is 1."


def draw_stages(numbers: Numbers, **parts: Any) -> Reel:
    """Draw the memory before and after each stage."""
    name, stages = _name(parts), ("before", "decayed", "erased", "written")
    told = []
    for n, row in zip(numbers["pair"], numbers["lengths"], strict=True):
        lengths = [said(x) for x in row]
        told.append(
            f"{name}. Pair {n}: of a memory of length {lengths[0]} the decay leaves {lengths[1]}, the erase takes away "
            f"{lengths[2]}, and the write adds {lengths[3]}."
        )
    maps = Maps(title="The memory through the stages", rows="value channel", columns="key channel", small=170,
                maps=tuple(Map(name=stage, values=numbers[stage]) for stage in stages))
    ticks = tuple(map(str, numbers["pair"]))
    return Reel(panels=(maps,), counts="pair", ticks=ticks, said=tuple(told), start=4)


def draw_collision(numbers: Numbers, **parts: Any) -> Reel:
    """Draw the error against the pairs."""
    n, error, best = (numbers[name] for name in ("pairs", "error", "best"))
    name = _name(parts)
    told = [f"{name}. {many(int(p), 'pair')} in 16 channels: the mean squared error of the answers is {said(e)}; the "
            f"best matrix has {said(b)}." for p, e, b in zip(n, error, best, strict=True)]
    lines = (Line(name=YOURS, y=error, colour=1), Line(name="best matrix", y=best, colour=TEXT, dash="dot"))
    chart = Curves(title="Error of all pairs so far; 1 is an empty memory", x=n, lines=lines, x_title="pairs", at=n,
                   y_title="squared error", top=3.0, places=((16.0, "16 channels"),))
    return Reel(panels=(chart,), counts="pairs", ticks=tuple(map(str, n)), said=tuple(told), start=19)


def draw_recency(numbers: Numbers, **parts: Any) -> Reel:
    """Draw the weights of values under one key."""
    n, weights, name = numbers["writes"], numbers["weights"], _name(parts)
    told = [f"{name}. After {many(int(t), 'write')} under one key its answer has {said(weights[t - 1, t - 1])} of the "
            f"newest value and {said(weights[t - 1, 0])} of the oldest." for t in n]
    bars = Bars(title="Weight of each value in the answer", groups=tuple(map(str, n)), names=(YOURS,),
                values=weights[:, :, None], y_title="weight", bottom=min(0.0, float(weights.min())))
    return Reel(panels=(bars,), counts="writes", ticks=tuple(map(str, n)), said=tuple(told), start=11)


def draw_facts(numbers: Numbers, **parts: Any) -> Reel:
    """Draw the errors of an old, a changed and a recent fact."""
    error, facts, name = numbers["error"], ("old", "changed", "recent"), _name(parts)
    told = []
    for t, row in zip(numbers["token"], error, strict=True):
        known = [f"the {fact} one {said(e)}" for fact, e in zip(facts, row, strict=True) if np.isfinite(e)]
        told.append(f"{name}, pair {t}. Error of the facts: {', '.join(known) or 'none of the three is stored yet'}.")
    bars = Bars(title="Error of the answer: 1 is an empty memory. Mean of 8 draws", groups=facts, names=(YOURS,),
                values=error[:, :, None], y_title="error", bottom=0.0, top=2.0)
    ticks = tuple(map(str, numbers["token"]))
    return Reel(panels=(bars,), counts="pair", ticks=ticks, said=tuple(told), start=len(ticks) - 1)


def draw_claims(numbers: Numbers, **parts: Any) -> Reel:
    """Draw what was run, claim by claim."""
    from app import proofs  # brings SymPy, which the lab's page need not wait for

    claims, holds, steps, _, refuted = columns = [numbers[name] for name in COLUMNS]
    told = []
    for n, (claim, held, ran, planted, found) in enumerate(zip(*columns, strict=True), start=1):
        known = proofs.claims().get(str(claim))
        text = known.conclusion if known else "In chunks the edits give the recurrence, on random integers mod a prime."
        wrong = f"{found} of {many(int(planted), 'wrong variant')}" if planted else "there is no wrong variant to be"
        told.append(f"Claim {n}: {text} For this rule it {'holds' if held else 'fails'}: {many(int(ran), 'step')} run, "
                    f"and {wrong} refuted.")
    so_far, groups = np.tri(len(claims))[:, :, None], tuple(str(n + 1) for n in range(len(claims)))
    bars = Bars(title="What was run, claim by claim", groups=groups, y_title="number", bottom=0.0, names=(
        "steps that hold", "wrong variants refuted"), values=so_far * np.stack([steps * holds, refuted], axis=1))
    ticks = tuple(f"{n + 1}, {str(claim).replace('_', ' ')}" for n, claim in enumerate(claims))
    return Reel(panels=(bars,), counts="claim", ticks=ticks, said=tuple(told), start=len(ticks) - 1)


def draw_tasks(numbers: Numbers, **parts: Any) -> Reel:
    """Draw the score of each task, and the answers."""
    score, name = numbers["score"], _name(parts)
    won, cost = score[:, 0] >= tasks.BEATEN, many(int(numbers["gates"]), "number")
    states = (f"to beat: {tasks.BEATEN}", "beaten")
    told = [f"{TASKS[task][1]}: the score is {said(own)}, {states[int(own >= tasks.BEATEN)]}; linear attention has "
            f"{said(additive)}, Gated DeltaNet {said(delta)}. {name} beats {won.sum()} of {len(won)} tasks, with gates "
            f"of {cost} an edit."
            for task, (own, additive, delta, _) in zip(map(str, numbers["task"]), score, strict=True)]
    labels = tuple(x for x, _ in TASKS.values())
    bars = Bars(title="Score of each task", groups=labels, y_title="score", values=score, bottom=0.0, top=1.0,
                names=(YOURS, "linear attention", "Gated DeltaNet", "Gated DeltaNet-2"))
    maps = tuple(Map(name=which, values=numbers[which]) for which in ("answered", "wanted"))
    answers = Maps(title="The answers to the twelve keys", rows="fact", columns="value channel", small=180, maps=maps)
    return Reel(panels=(bars, answers), counts="task", ticks=labels, said=tuple(told), start=1)
