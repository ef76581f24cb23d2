"""The stages of a token (decay, erase, write), one after the other, are the step."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace
from typing import Any

from derivations.claim import every_rule
from derivations.engines import written
from derivations.engines.cases import Case, every_width, floats, fractions, free_points, special, symbols, told
from derivations.engines.field import Field, is_counting
from derivations.models import stream_sizes
from derivations.models.gated_chunk import decays, erases
from derivations.mutants.by_hand import planted
from derivations.papers import cite
from derivations.registry import claim
from derivations.scope import AtPoints, Sizes
from gdn_core import reference
from gdn_core.reference import Token
from gdn_core.rules import WriteRule

TOKENS = stream_sizes.tokens()


def _stages() -> str:
    letter = {name: written.entry(name) for name in "qkvgbw"}
    x = Token(**{name: value if name == "g" else value[0] for name, value in letter.items()})
    m = reference.moments(written.entry("S"), x, exp=written.exp)
    stages = zip(("decay", "erase", "write"), (m.decayed, m.erased, m.written), strict=True)
    return (
        rf"{m.before[0, 0]} "
        + " ".join(rf"\xrightarrow{{\text{{{name}}}}} {stage[0, 0]}" for name, stage in stages)
        + r" = S_t, \quad \text{for one row and one key channel}"
    )


@claim(
    statement=_stages,
    scope=Sizes(dk=3, dv=2),
    engine="ring",
    source=cite("2412.06464", "eq. 10"),
    code=(reference.moments, reference.step),
    rules=every_rule,
)
def stages_add_up_to_the_step(rule: WriteRule) -> Any:
    """The stages decay, erase and write, taken one by one, give the memory and the output of the step."""
    return stages_against_step(symbols(rule, 1, 2, 3))


def stages_against_step(case: Case) -> dict[str, Any]:
    """Compare the stages of the first token of a stream with each other, and with the memory and output of the step."""
    m = reference.moments(case.S, case.x[0], exp=case.exp)
    S, o = case.run(reference.recurrent)
    return {
        "written": case.residual(m.written, S),
        "o": case.residual(m.o, o[0]),
        "before": case.residual(m.before, case.S),
        "u": case.residual(m.u, case.x[0].w * case.x[0].v - m.read),
        "erased": case.residual(m.erased, m.decayed - m.read[:, None] * case.x[0].k),
        "decayed": case.residual(m.decayed, case.exp(case.x[0].g) * case.S),
    }


@stages_add_up_to_the_step.step(engine="field", scope=stream_sizes.scope(TOKENS, "K", "V"))
def stages_of_every_width(rng: random.Random) -> Any:
    """The stages are the step's for every combination of gates, at K = V, K < V, K > V, and wider than nine."""
    numbers = Field(rng)
    every = stream_sizes.longest(TOKENS) if is_counting() else TOKENS
    return ({f"{sizes}:": stages_against_step(free_points(sizes.shapes, numbers))} for sizes in every)


@stages_add_up_to_the_step.step(
    engine="exact", scope=AtPoints("tokens of integers in float64, V = 2 and K = 3 and V = K = 2,")
)
def stages_with_gates_of_0_1_and_2(rng: random.Random) -> Any:
    """The same at gates of 0, 1 and 2, decays of 0 and 1, keys of zeros, and from an empty memory."""
    for K, remembers in itertools.product((3, 2), (True, False)):
        for sizes in every_width(2, 2, K):
            case = special(sizes, rng, remembers=remembers)
            yield {f"{told(sizes)}:": [stages_against_step(replace(case, x=case.x[t:][:1])) for t in range(2)]}


@stages_add_up_to_the_step.step(
    engine="exact", scope=AtPoints("tokens in float64 and in fractions, V = 2 and K = 3,")
)
def parameters_left_at_their_defaults(rng: random.Random) -> Any:
    """With exp left out the stages and the step are the same as with NumPy's exp given."""
    for sizes, carrier in itertools.product(every_width(1, 2, 3), (floats, fractions)):
        case = carrier(sizes, rng)
        m, want = reference.moments(case.S, case.x[0]), reference.moments(case.S, case.x[0], exp=case.exp)
        yield [case.residual(*pair) for pair in zip(m, want, strict=True)]
        if len(sizes["k"]) == 2:
            yield case.compare(reference.step(case.S, case.x[0]), reference.step(case.S, case.x[0], exp=case.exp))


@stages_add_up_to_the_step.refute(rules=lambda rule: erases(rule) and decays(rule))
def stages_read_before_the_decay(rule: WriteRule) -> Any:
    """The erase stage reads the memory from before the decay."""
    case = symbols(rule, 1, 2, 3)
    wrong = planted(reference.moments, "(decayed * (x.b * k))", "(S * (x.b * k))")
    return case.residual(wrong(case.S, case.x[0], exp=case.exp).written, case.run(reference.recurrent)[0])


@stages_add_up_to_the_step.refute
def output_read_before_the_write(rule: WriteRule) -> Any:
    """The output is read from the memory from before the token was written."""
    case = symbols(rule, 1, 2, 3)
    wrong = planted(reference.moments, "written @ x.q", "erased @ x.q")
    return case.residual(wrong(case.S, case.x[0], exp=case.exp).o, case.run(reference.recurrent)[1][0])
