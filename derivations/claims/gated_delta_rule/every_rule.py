"""Every rule of the family has a chunk form."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace
from functools import partial
from typing import Any

from derivations.claim import every_rule
from derivations.engines import polynomials
from derivations.engines.cases import (
    BITS,
    every_width,
    floats,
    fractions,
    free_points,
    free_symbols,
    nearly,
    special,
    symbols,
    told,
)
from derivations.engines.field import Field, is_counting
from derivations.models import stream_sizes
from derivations.models.gated_chunk import (
    SCALARS,
    SHORT_CHUNKS,
    chunk_against_recurrence,
    chunks_against_recurrence,
    decays,
    erases,
)
from derivations.models.stream_sizes import longest
from derivations.mutants.by_hand import planted
from derivations.papers import cite
from derivations.registry import claim
from derivations.scope import AtPoints, Sizes
from gdn_core import reference
from gdn_core.rules import GATED_DELTANET, WriteRule


def _two_tokens() -> str:
    case = symbols(GATED_DELTANET, 2, 1, 1)
    ends = {name: case.run(code) for name, code in (("chunk", reference.chunk), ("recurrent", reference.recurrent))}
    shown = {name: polynomials.polynomial(end[0][0, 0], SCALARS) for name, end in ends.items()}
    return (
        r"\operatorname{chunk}(S, x_{1:C}) = \operatorname{recurrent}(S, x_{1:C}), \quad \text{such as } "
        r"\text{Gated DeltaNet at } C = 2, d = 1: \; S_2 = " + " = ".join(dict.fromkeys(shown.values()))
    )


@claim(
    statement=_two_tokens,
    scope=Sizes(C=3, dk=3, dv=2),
    engine="ring",
    source=cite("2412.06464", "sec. 3.3 and appendix A"),
    code=(reference.chunk, reference.chunkwise, reference.recurrent),
    uses=("gated_chunk_equals_recurrence", "chunk_by_channel_equals_recurrence"),
    rules=every_rule,
)
def every_rule_has_a_chunk_form(rule: WriteRule) -> Any:
    """The reference's chunk is the reference's recurrence, for every width that a gate of the family may have."""
    return chunk_against_recurrence(symbols(rule, 3, 2, 3))


@every_rule_has_a_chunk_form.step(engine="ring", scope=Sizes(C=3, dk=3, dv=2))
def chunk_at_every_combination_of_widths() -> Any:
    """The reference's chunk is its recurrence, whatever the widths of decay, erase gate, write gate and keys."""
    return (chunk_against_recurrence(free_symbols(sizes)) for sizes in every_width(3, 2, 3))


@every_rule_has_a_chunk_form.step(engine="field", scope=SHORT_CHUNKS)
def chunks_of_the_rule_one_behind_the_other(rule: WriteRule, rng: random.Random) -> Any:
    """The reference's chunks, the last one short, are the reference's recurrence."""
    return chunks_against_recurrence(rule, rng, SHORT_CHUNKS)


@every_rule_has_a_chunk_form.step(engine="field", scope=stream_sizes.scope(stream_sizes.chunks(), "C", "K", "V"))
def chunk_of_every_size(rng: random.Random) -> Any:
    """One chunk of the reference is its recurrence at sizes that break code: as near powers of two, and K = V."""
    numbers = Field(rng)
    for sizes in longest(stream_sizes.chunks()) if is_counting() else stream_sizes.chunks():
        yield {f"{sizes}:": chunk_against_recurrence(free_points(sizes.shapes, numbers))}


@every_rule_has_a_chunk_form.step(engine="field", scope=stream_sizes.scope(stream_sizes.streams(), "C", "T", "K", "V"))
def chunks_of_every_size(rng: random.Random) -> Any:
    """The reference's chunks, one after the other, are its recurrence: few or many, the last one short or whole."""
    numbers = Field(rng)
    for sizes in longest(stream_sizes.streams()) if is_counting() else stream_sizes.streams():
        case = free_points(sizes.shapes, numbers)
        chunks = case.run(reference.chunkwise, chunk_size=sizes.C)
        yield {f"{sizes}:": case.compare(chunks, case.run(reference.recurrent))}


@every_rule_has_a_chunk_form.step(
    engine="exact", scope=AtPoints("streams of five tokens in float64 and in fractions, V = 2 and K = 3,")
)
def parameters_left_at_their_defaults(rng: random.Random) -> Any:
    """With exp and stack left out the functions compute the same as with NumPy's exp and stack given to them."""
    for sizes, carrier in itertools.product(every_width(5, 2, 3), (floats, fractions)):
        case = carrier(sizes, rng)
        chunks = partial(reference.chunkwise, chunk_size=2)
        for function in (reference.recurrent, reference.chunk, chunks):
            yield case.compare(function(case.S, case.x), case.run(function))
        if carrier is fractions:
            yield chunk_against_recurrence(case)


@every_rule_has_a_chunk_form.step(
    engine="exact", scope=AtPoints("T = 5, C = 5 and 2, of integers in float64, V = 2 and K = 3 and V = K = 2,")
)
def chunk_with_gates_of_0_1_and_2(rng: random.Random) -> Any:
    """The same at gates of 0, 1 and 2, decays of 0 and 1, keys of zeros, and from an empty memory."""
    for K, remembers in itertools.product((3, 2), (True, False)):
        for sizes in every_width(5, 2, K):
            case = special(sizes, rng, remembers=remembers)
            want = case.run(reference.recurrent)
            chunks = case.run(reference.chunkwise, chunk_size=2)
            yield {f"{told(sizes)}:": [chunk_against_recurrence(case), case.compare(chunks, want)]}


@every_rule_has_a_chunk_form.step(
    engine="exact", scope=AtPoints(f"streams of five tokens in float64, V = 2 and K = 3, to 2^-{BITS},")
)
def chunk_in_float64(rng: random.Random) -> Any:
    """The same in float64 but for its rounding: nothing is rounded to fewer bits on the way."""
    for sizes in every_width(5, 2, 3):
        case = replace(floats(sizes, rng), residual=nearly)
        yield {f"{told(sizes)}:": chunk_against_recurrence(case)}


@every_rule_has_a_chunk_form.refute
def chunk_that_is_wrong_at_one_size(rng: random.Random) -> Any:
    """The chunk is right but where it has 33 tokens."""

    def wrong(S: Any, x: Any, **options: Any) -> Any:
        after, o = reference.chunk(S, x, **options)
        return (after + S if len(x) == 33 else after), o

    case = free_points(stream_sizes.Stream(33, 33, 2, 3).shapes, Field(rng))
    return chunk_against_recurrence(case, wrong)


@every_rule_has_a_chunk_form.refute(rules=erases)
def errors_solved_with_the_wrong_sign(rule: WriteRule) -> Any:
    """A later error adds what the earlier tokens have written at its key, where it must subtract it."""
    wrong = planted(reference.chunk, "u[i] - a @ stack(errors)", "u[i] + a @ stack(errors)")
    return chunk_against_recurrence(symbols(rule, 2, 2, 3), wrong)


@every_rule_has_a_chunk_form.refute(rules=decays)
def writes_not_decayed_to_the_end(rule: WriteRule) -> Any:
    """The writes of the chunk are summed without their decays to its end."""
    wrong = planted(reference.chunk, "exp(G[C - 1] - G) * x.k", "x.k")
    return chunk_against_recurrence(symbols(rule, 2, 2, 3), wrong)


@every_rule_has_a_chunk_form.refute
def outputs_without_the_memory_before(rule: WriteRule) -> Any:
    """The outputs leave out the memory from before the chunk."""
    wrong = planted(reference.chunk, "o = gamma * x.q @ S.T", "o = 0 * x.q @ S.T")
    return chunk_against_recurrence(symbols(rule, 2, 2, 3), wrong)
