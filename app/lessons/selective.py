"""Lesson: Mamba, whose step is computed from the token."""

from __future__ import annotations

import numpy as np

from app.choice import Choice, Origin, TableRow
from app.compute import Picture
from app.lessons.frame import Lesson, Lit, Numbers, Range, Row, Step, Text, many, quoted, said
from app.reel.panels import TEXT, Curves, Line, Map, Maps, Reel, Words
from gdn_core import Discretisation
from gdn_core.lab.glyphs import GLYPHS
from gdn_core.lab.scenarios import Settings
from gdn_core.lab.studies import selective as study
from gdn_core.rules import RULES

STEPS = Row(name="steps", label="Steps Δ, one for each picture, 8 at most", low=0, high=10, most=8,
            start="3 0.1 0.1 0.1 0.7 0.1 0.1")  # fmt: skip
WORDS = Text(name="text", label="A text", start="the old mill by the river grinds the corn of the whole valley")
FILLER = Range(name="filler", label="Step Δ of fillers; other words have 0.5", low=0.0, high=1.0, step=0.02, start=0.02)
LOW = Range(name="filler", label="Mamba's step Δ of a filler", low=0.0, high=0.2, step=0.01, start=0.01)
COUNT = Range(name="count", label="Fillers after the fact", low=1, high=20, step=1, start=10)


def _stream(values: list[str], steps: np.ndarray, channels: int = 1) -> Choice:
    """Return the values under one key whose entries are 1, each with its step, as a table of the lab."""
    key = f"[{', '.join('1' * channels)}]"
    rows = tuple(TableRow(key, v, key, delta=float(step), label=v) for v, step in zip(values, steps, strict=False))
    size = Settings(dk=channels, dv=16, spread=0.0)
    return Choice(origin=Origin.TABLE, table=rows, rules=study.PAIR, settings=size, discretisation=Discretisation.ZOH)


def _held(share: np.ndarray) -> str:
    """Say the two pictures of which a memory holds most."""
    most = sorted(range(len(share)), key=lambda n: -share[n])[:2]
    return " and ".join(f"{said(share[n])} of the {GLYPHS[n].thing}" for n in most)


def _draw_hand(numbers: Numbers, steps: str) -> Reel:
    step, share, fixed = numbers["step"], numbers["share"], float(numbers["fixed"])
    told = [
        f"The {GLYPHS[t].thing} comes with the step {said(step[t])}. Mamba's memory now holds {_held(share[t, 0])}; "
        f"S4's, at {said(fixed)} for all, {_held(share[t, 1])}."
        for t in range(len(step))
    ]
    maps = tuple(Map(name=RULES[rule].title, values=numbers[rule]) for rule in study.PAIR)
    pictures = Maps(title="What the memories hold", maps=maps, rows="pixels", columns="pixels", limit=1.0, small=150)
    things, at = tuple(glyph.thing for glyph in GLYPHS[: len(step)]), np.arange(len(step))
    bars = Words(title="Weight of each picture", words=things, names=("Mamba", "S4"), values=share, at=at,
                 framed="Framed: the picture that comes.")  # fmt: skip
    return Reel(panels=(pictures, bars), counts="picture", ticks=things, said=tuple(told), start=len(step) - 1)


def _draw_text(numbers: Numbers, text: str, filler: float) -> Reel:
    words, step, kept, fixed = numbers["word"], numbers["step"], numbers["kept"], float(numbers["fixed"])
    told = [
        f"The word {quoted(word)} has the step {said(s)}: filler words so far weigh {said(k[0, 1])} in Mamba's memory, "
        f"all others {said(k[0, 0])}. In S4's, whose step is always {said(fixed)}: {said(k[1, 1])} and {said(k[1, 0])}."
        for word, s, k in zip(words, step, kept, strict=True)
    ]
    panel = Words(
        title="Weight of each word in the memory", words=tuple(words), names=("Mamba", "S4"), values=numbers["weight"],
        at=np.arange(len(words)), framed="Framed: the word that is read.",
    )
    ticks = tuple(f"{n} of {len(words)}" for n in range(1, len(words) + 1))
    return Reel(panels=(panel,), counts="word", ticks=ticks, said=tuple(told), start=len(words) - 1)


def _watch(picture: Picture, text: str, filler: float) -> list[str]:
    left = study.left_by_column(picture.trajectory)
    first = quoted(picture.scenario.labels[0])
    return [
        f"After the word {quoted(word)}, {said(mamba[0])} is left of what the first one, {first}, wrote to column 0 of "
        f"Mamba's memory, and {said(mamba[3], least=0.0)} of column 3. In S4's memory: {said(s4[0])} and "
        f"{said(s4[3], least=0.0)}."
        for word, mamba, s4 in zip(picture.scenario.labels, *left, strict=True)
    ]


def _draw_fixed(numbers: Numbers, count: int, filler: float) -> Reel:
    step, fact, rest = numbers["step"], numbers["fact"], numbers["rest"]
    mamba, (at, most) = numbers["mamba"], numbers["best"]
    told = [
        f"S4 with the step {said(s)} at every token keeps {said(a)} of the fact, and {said(b)} is filler; the "
        f"most it can keep is {said(most)}, at {said(at)}. Mamba keeps {said(mamba[0])}, with {said(mamba[1])} filler."
        for s, a, b in zip(step, fact, rest, strict=True)
    ]
    level = np.full(len(step), mamba[0])
    lines = (
        Line(name="the fact, S4", y=fact), Line(name="fillers, S4", y=rest, colour=1, dash="dash"),
        Line(name="the fact, Mamba", y=level, colour=TEXT, dash="dot"),
    )
    chart = Curves(
        title=f"Weights after {many(count, 'filler')}", x=step, lines=lines, x_title="S4's step Δ, the same for all",
        y_title="weight", at=step, log="x", bottom=0.0, top=1.0,
    )
    return Reel(panels=(chart,), counts="S4's step", ticks=tuple(map(said, step)), said=tuple(told), start=9)


LESSON = Lesson(
    slug="mamba", title="Mamba: selective", about="A step for each token: what is kept, and what goes.",
    steps=(
        Step(
            slug="hand", title="A step for each token, set by hand", controls=(STEPS,),
            question="Pictures come one after the other, and each has a step of its own. Type steps so that only the "
            "**first** and the **fifth** picture are left. Can S4, with one step for all, do that?",
            equation=("S_t =", Lit(r"e^{-\Delta_t}"), r"S_{t-1} +", Lit(r"(1 - e^{-\Delta_t})"), "v_t"),
            where="S is the memory, v the picture of a token, Δ its step: at 0 the token is ignored, at a large one it "
            "replaces all. Zero-order hold, one rate of 1. S4 takes the median of your steps.",
            claims=("s4_is_mamba_with_a_fixed_step", "small_step_ignores_the_token", "large_step_replaces_the_state"),
            numbers=study.by_hand, picture=_draw_hand,
            stream=lambda steps: _stream([glyph.thing for glyph in GLYPHS], study.steps_of(steps)),
        ),
        Step(
            slug="text", title="A text with filler words", controls=(WORDS, FILLER),
            question="Words such as “the” and “of” say little. Give them a small step: how much room do they leave?",
            equation=(Lit(r"\Delta_t = \operatorname{softplus}(a_t)"),
                      r", \quad S_t = e^{-\Delta_t} S_{t-1} + \dots"),
            where="softplus(a) = ln(1 + exp(a)), as in the lesson before. A trained layer computes a from the word, by "
            "weights that it learns; here a list of English filler words decides. S4 has the median of the steps at "
            "every word.",
            claims=("small_step_ignores_the_token", "write_weighs_the_decays_since"),
            numbers=study.of_a_text, picture=_draw_text, stream=lambda **given: _stream(*study.words_of(**given)),
        ),
        Step(
            slug="memory", title="A decay for each entry", controls=(WORDS, FILLER), token=5,
            question="One number Δ comes with a word, and every column of the memory has a rate of its own. Which "
            "**columns** still hold the beginning of the text at its end?",
            equation=("S_t =", Lit(r"e^{\Delta_t A}"), r"\odot S_{t-1} + \bar B_t \odot v_t k_t^\top"),
            where="⊙, in the picture ∘, multiplies entry by entry. A has the rates −1, −2, −3, −4, one a column; B̄ = "
            "(exp(ΔA) − 1) / A; v stands for the word, and its key k has four entries of 1, so that columns differ in "
            "their decay alone.",
            claims=("state_space_model_is_a_write_rule", "s4_is_mamba_with_a_fixed_step"), watch=_watch,
            stream=lambda **given: _stream(*study.words_of(**given), channels=4),
        ),
        Step(
            slug="fixed", title="No fixed step does it", controls=(COUNT, LOW),
            question="A fact comes first, then fillers. S4 may choose any step, but the same for all tokens. How much "
            "of the fact can be left?",
            equation=(r"\underbrace{(1 - e^{-\Delta})}_{\text{written}}", Lit(r"e^{-n \Delta}"),
                      r"\le \frac{1}{n+1} \Bigl(\frac{n}{n+1}\Bigr)^{n}"),
            where=f"n is the number of fillers. A step that writes much also forgets much, n times. Mamba takes Δ = "
            f"{study.FACT:g} at the fact and a small one at the fillers.",
            claims=("selective_recurrence_is_no_convolution", "decay_falls_and_input_grows_with_the_step"),
            numbers=study.every_fixed_step, picture=_draw_fixed, stream=lambda **given: _stream(*study.facts(**given)),
        ),
    ),
)  # fmt: skip
