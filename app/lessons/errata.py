"""Lesson: what is printed wrong, and where, with the numbers that refute it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from app.lessons.frame import BREAK, Equation, Lesson, Lit, Numbers, OneOf, Range, Step, on_table, said
from app.reel.panels import TEXT, Curves, Line, Reel
from gdn_core.lab.studies import errata as study


@dataclass(frozen=True)
class Printed:
    """A line that is printed wrong."""
    name: str  # of the control
    claim: str  # that checks the entry
    axis: str  # what varies
    result: str  # what is computed
    start: float  # where the numbers are the entry's
    letters: str  # what the letters of its equations are


IN_A_CHUNK = "Q, K, V have the queries, keys and values of a chunk, a row a token from 1 on; S is the memory before, "
LINES = {
    "mask": Printed(
        "the outputs", "chunk_output_needs_the_decay_mask", "decay of token 2", "the output of token 2", 0.25,
        IN_A_CHUNK + "O has its outputs. M is the mask of ones, Γ the mask of decays, γ the decays since the start of "
        "the chunk, and N, or Ũ less W times S, the errors that are written. Q and W under an arrow are decayed by γ."),
    "twice": Printed(
        "W", "decays_count_once_in_w", "decay of token 2", "the memory after token 2", 0.25,
        IN_A_CHUNK + "W is what the chunk erases from it. γ and Γ are decays since the start, and from token to token; "
        "tril keeps what is below the diagonal."),
    "sign": Printed(
        "the inverse", "ut_transform_inverts_i_plus_the_triangle", "gate β of token 2", "the error of token 2", 0.5,
        IN_A_CHUNK + "T the inverse that solves for its errors. tril keeps what is below the diagonal."),
    "order": Printed(
        "the error", "error_is_read_after_the_decay", "decay α", "the memory after the token", 0.5,
        "S is the memory, k and v key and value, α the decay, β the gate. The error is what stands in brackets."),
    "own": Printed(
        "the decays", "decays_of_a_write_start_behind_it", "decay of token 2", "the memory after token 2", 0.25,
        "γ is what is left at token r of a write at token i, α the decay of a token, u its error, k its key."),
    "square": Printed(
        "an eigenvalue", "eigenvalue_has_the_squared_key_length", "length of the key", "the eigenvalue", 2.0,
        "λ is the factor by which a token multiplies what its memory holds along the key k; β is its gate, 1 here."),
    "minus": Printed(
        "an objective", "longhorn_objective_adds_the_error", "β", "where the objective is stationary", 0.5,
        "S is the memory before, S' the one that is looked for, k and v key and value. Here s = 1, k = 1, v = 4."),
    "rows": Printed(
        "the writes", "rows_are_tokens_so_the_values_are_transposed", "tokens", "the number of rows", 2,
        "V and K have a token a row. The memory here has one row and one column, as values and keys have one channel."),
    "side": Printed(
        "two maps", "affine_maps_carry_the_translation_through_the_second_map", "m", "the first entry", 3.0,
        "A segment of tokens takes the memory S to S M + X. Here the second M is (1 0; m 1), the first X (0 1; 0 0)."),
}  # fmt: skip
ALPHA = Range(name="alpha", label="Decay α a token", low=0.5, high=1.0, step=0.05, start=0.9)
FAULTS = {"mask": "mask of ones", "sign": "sign", "twice": "W decayed twice", "own": "own decay",
          "order": "error before decay"}  # fmt: skip


def _equation(line: str) -> Equation:
    """Return the printed formula, the right one and their difference, as the claim prints them from what it checks."""
    from app import proofs  # brings SymPy, which the lab's page need not wait for

    printed, right, difference = proofs.claims()[LINES[line].claim].tex.split(r", \qquad ")
    return Lit(printed), BREAK, right, BREAK, difference


def _where(line: str) -> str:
    from app import proofs

    entry = proofs.erratum(LINES[line].claim)
    assert entry
    seen = "; ".join(f"{source.title or source.paper}, {source.place}" for source in entry.seen)
    seen = f"Read in {seen}." if seen else "It circulates; no single place is named."
    return f"{entry.title} {seen}\n\n{LINES[line].letters}"


def _draw(numbers: Numbers, line: str) -> Reel:
    at, printed, right = (numbers[name] for name in ("at", "printed", "right"))
    one, same = LINES[line], np.abs(printed - right) < 1e-9
    agree = f"The two agree only at {' and '.join(map(said, at[same]))}." if same.any() else "They agree nowhere here."
    told = [
        f"{one.axis[0].upper()}{one.axis[1:]} {said(x)}: as printed, {one.result} is "
        f"{said(p, 4) if np.isfinite(p) else 'nowhere'}; it should be {said(r, 4)}. {agree}"
        for x, p, r in zip(at, printed, right, strict=True)
    ]
    lines = (Line(name="as printed", y=printed, colour=1, dash="dash"), Line(name="right", y=right))
    chart = Curves(
        title=f"{one.result[0].upper()}{one.result[1:]}", x=at, lines=lines, x_title=one.axis, y_title="number", at=at,
        top=max(right.max(), min(np.nanmax(printed), 10)), bottom=min(right.min(), 0, max(np.nanmin(printed), -10)),
    )
    start = int(np.abs(at - one.start).argmin())
    return Reel(panels=(chart,), counts=one.axis, ticks=tuple(map(said, at)), said=tuple(told), start=start)


def _draw_along(numbers: Numbers, alpha: float) -> Reel:
    token, off = numbers["token"], numbers["off"]
    told = [
        f"Token {t}, number {t % study.CHUNK + 1} of its chunk. The outputs are off by "
        + ", ".join(f"{said(e)} ({FAULTS[fault]})" for fault, e in zip(study.FAULTS, row, strict=True))
        + ", relative to their length."
        for t, row in zip(token, off, strict=True)
    ]
    colours, dashes = (0, 1, 2, 3, TEXT), ("solid", "dash", "dot", "dashdot", "solid")
    lines = tuple(
        Line(name=FAULTS[fault], y=y, colour=colours[n], dash=dashes[n])
        for n, (fault, y) in enumerate(zip(study.FAULTS, np.where(off > 1e-9, off, 0).T, strict=True))
    )
    chart = Curves(title="How far the outputs are off; a gap where they are right", x=token, lines=lines, log="y",
                   x_title="token", y_title="distance, relative", at=token, bottom=1e-4, top=10.0)
    return Reel(panels=(chart,), counts="token", ticks=tuple(map(str, token)), said=tuple(told), start=20)


def _step(slug: str, title: str, question: str, numbers: Callable[..., Numbers], lines: str, rules: str,
          lab: str = "Its tokens in the lab") -> Step:
    rule = dict(zip(lines.split(), rules.split() * 3, strict=False))
    which = OneOf(name="line", label="Line", options={line: LINES[line].name for line in rule}, start=next(iter(rule)))
    return Step(
        slug=slug, title=title, question=question, controls=(which,), equation=_equation, where=_where,
        claims=tuple(LINES[line].claim for line in rule), numbers=numbers, picture=_draw,
        stream=lambda line: on_table(study.in_the_lab(line), rule[line]), lab=lab,
    )  # fmt: skip


LESSON = Lesson(
    slug="errata", title="Errata", about="What is printed wrong, where, and the numbers that refute it.",
    steps=(
        _step("chunk", "In the chunk form", "Three lines of the chunk form have been printed wrong. For which numbers "
              "would a test not notice?", study.chunk_line, "mask twice sign", "gated-deltanet"),
        _step("token", "In one token", "Does the decay act before the error is read, and does a token decay its own "
              "write?", study.token_line, "order own", "gated-deltanet"),
        _step("formula", "A square, and a sign", "Both formulas are right for some keys and gates. Which?",
              study.formula, "square minus", "deltanet longhorn"),
        _step("shape", "Shapes and sides", "A product the wrong way round may still fit. When does it?",
              study.shape, "rows side", "linear-attention", lab="Two tokens in the lab"),
        Step(
            slug="along", title="What it does to a layer", controls=(ALPHA,),
            question="Someone writes a layer after a formula that is printed wrong. How far off are its outputs, and "
            "would a test without decays see it?",
            equation=(r"\lVert o_t^{\text{printed}} - o_t \rVert \,\big/\,", Lit(r"\overline{\lVert o \rVert}")),
            where="o is the output of a token by the recurrence, and below the bar its mean length. 64 tokens, chunks "
            "of 16, memories of 16 by 16, β = 1/2.",
            claims=tuple(LINES[fault].claim for fault in study.FAULTS), numbers=study.all_along, picture=_draw_along,
            stream=lambda alpha: on_table(study.stream_of(alpha, 32), "gated-deltanet"), lab="Half of it in the lab",
        ),
    ),
)  # fmt: skip
