"""The gradients of segments compose: what sequence parallelism sends backward is one gradient of a memory."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import fields
from itertools import pairwise
from typing import Any

import numpy as np

from derivations.engines.algebra import Algebra, equation
from derivations.engines.cases import Shapes, every_width, shapes
from derivations.engines.field import Field, stack
from derivations.engines.trees import Expr, Letter
from derivations.mutants.by_hand import planted
from derivations.papers import ours
from derivations.registry import claim
from derivations.scope import EverySize, OverField, OverFields
from gdn_core import reference, reference_backward
from gdn_core.reference import Token
from gdn_core.rules import GATED_DELTANET

REAL = OverField(T=25, dk=33, dv=20, primes=2)
CUTS = (1, 8, 24)
WIDTHS = OverFields(cases=24, sizes=(("T", (3,)), ("dk", (3,)), ("dv", (2,))))
Adjoint = tuple[Expr, Expr]


def letters() -> tuple[Letter, list[Adjoint], Letter]:
    """Declare the gradient of the last memory, and three segments: each a transition M and what its outputs add, E.

    The last is the gradient of the first memory.
    """
    a = Algebra()
    segments: list[Adjoint] = [(a.matrix(f"M_{i}", "K", "K"), a.matrix(f"E_{i}", "V", "K")) for i in (1, 2, 3)]
    first = a.matrix("dS_0", "V", "K", tex=r"\dot S_0")
    return a.matrix("dS", "V", "K", tex=r"\dot S"), segments, first


def back(dS: Expr, through: Adjoint) -> Expr:
    """Return the gradient of the memory before a segment from that behind it."""
    return dS @ through[0].T + through[1]


def then(first: Adjoint, second: Adjoint) -> Adjoint:
    """Merge a segment with the one that follows it."""
    return first[0] @ second[0], second[1] @ first[0].T + first[1]


def composition(merge: Callable[[Adjoint, Adjoint], Adjoint]) -> dict[str, Any]:
    """Compare merged segments with one after the other, from the last to the first, in both bracketings."""
    dS, (one, two, three), _ = letters()
    left, right = merge(merge(one, two), three), merge(one, merge(two, three))
    return {
        "acts": (back(dS, merge(one, two)) - back(back(dS, two), one)).normal(),
        "associates": [(x - y).normal() for x, y in zip(left, right, strict=True)],
    }


def _statement() -> str:
    dS, (one, two, _), before = letters()
    M, E = then(one, two)
    return (
        rf"{equation(before, back(dS, one))}, \quad (M_1, E_1) \cdot (M_2, E_2) = ({M.tex()}, \; {E.tex()}), \quad "
        r"\dot x_{1:T} = (\dot x_{1:n}, \dot x_{n+1:T})"
    )


@claim(
    statement=_statement,
    assumptions=(
        "$M$ is the transition of a segment, and $E$ the gradient of the memory before it by its own outputs.",
        r"$\dot S$ is the gradient of the memory behind a segment by everything later.",
    ),
    scope=EverySize("dk", "dv"),
    engine="words",
    source=ours("the adjoint of the affine maps of segments"),
    code=(reference_backward.chunk_backward, reference.recurrent),
    uses=("affine_maps_compose_associatively", "chunk_backward_is_the_derivative"),
)
def gradients_of_segments_compose() -> Any:
    """A segment needs one gradient from behind, [dv, dk], and passes one on: the maps compose and are associative.

    Going back, a segment takes dS to dS M' + E; two segments merge to one, in any bracketing.
    """
    return composition(then)


def segmented(
    S: Any, x: Token, do: Any, dS: Any, *, cuts: tuple[int, ...], exp: Any, sent: int = 1
) -> tuple[Any, Token]:
    """Run the code's gradients segment by segment, from the last; ``sent`` is the factor of what is passed on."""
    spans = list(pairwise([0, *cuts, len(x)]))
    memories = [S]
    for start, stop in spans[:-1]:
        memories.append(reference.recurrent(memories[-1], x[start:stop], exp=exp, stack=stack)[0])
    parts = []
    for memory, (start, stop) in zip(memories[::-1], spans[::-1], strict=True):
        dS, dx = reference_backward.chunk_backward(memory, x[start:stop], do[start:stop], dS, exp=exp, stack=stack)
        dS = sent * dS
        parts.append(dx)
    whole = {f.name: stack([row for dx in parts[::-1] for row in getattr(dx, f.name)]) for f in fields(Token)}
    return dS, Token(**whole)


def draw(sizes: Shapes, rng: random.Random) -> tuple[Field, Any, Token, Any, Any]:
    """Draw a memory, a stream, and gradients of the outputs and of the last memory."""
    numbers = Field(rng)
    letters = numbers.letters(sizes)
    S = letters.pop("S")
    return numbers, S, Token(**letters), numbers.draw(*sizes["v"]), numbers.draw(*sizes["S"])


def against_the_whole(sizes: Shapes, cuts: tuple[int, ...], rng: random.Random, **wrong: int) -> dict[str, Any]:
    """Compare the gradients segment by segment with those of the whole stream as one chunk."""
    numbers, S, x, do, dS = draw(sizes, rng)
    of_memory, of_stream = reference_backward.chunk_backward(S, x, do, dS, exp=numbers.exp, stack=stack)
    first, parts = segmented(S, x, do, dS, cuts=cuts, exp=numbers.exp, **wrong)
    found = {f"d{f.name}": numbers.residual(getattr(parts, f.name), getattr(of_stream, f.name)) for f in fields(Token)}
    return {"dS": numbers.residual(first, of_memory), **found}


@gradients_of_segments_compose.step(engine="field", scope=REAL)
def segments_of_the_code(rng: random.Random) -> Iterator[Any]:
    """The code's gradients of four segments are those of the stream, each from one gradient that was passed on."""
    sizes = shapes(GATED_DELTANET, 25, 20, 33)
    return (against_the_whole(sizes, CUTS, rng) for _ in range(REAL.primes))


@gradients_of_segments_compose.step(engine="field", scope=WIDTHS)
def at_every_combination_of_widths(rng: random.Random) -> Iterator[Any]:
    """The same at every width of each gate."""
    return (against_the_whole(sizes, (2,), rng) for sizes in every_width(3, 2, 3))


def passed_on(rng: random.Random, backward: Callable[..., Any] | None = None) -> Any:
    """Compare the gradient that a segment passes on with dS M' + E, by its transition and without dS."""
    sizes = shapes(GATED_DELTANET, 9, 5, 7)
    numbers, S, x, do, dS = draw(sizes, rng)
    run = backward or reference_backward.chunk_backward
    options: dict[str, Any] = {"exp": numbers.exp, "stack": stack}
    E, _ = run(0 * S, x, do, 0 * dS, **options)
    nothing = Token(q=x.q, k=x.k, v=0 * x.k, g=x.g, b=x.b, w=x.w)
    M, _ = reference.recurrent(0 * x.k[:7] + np.eye(7, dtype=int), nothing, **options)
    return numbers.residual(run(S, x, do, dS, **options)[0], dS @ M.T + E)


@gradients_of_segments_compose.step(engine="field", scope=OverField(T=9, dk=7, dv=5, primes=2))
def what_a_segment_passes_on(rng: random.Random) -> Iterator[Any]:
    """What the code passes on is dS M' + E: M by the recurrence from the identity, and E does not need the memory."""
    return (passed_on(rng) for _ in range(2))


@gradients_of_segments_compose.refute
def transition_not_transposed() -> Any:
    """The gradients are merged with M_1 for its transpose."""
    return composition(lambda first, second: (first[0] @ second[0], second[1] @ first[0] + first[1]))


@gradients_of_segments_compose.refute
def merged_in_the_order_of_the_forward_pass() -> Any:
    """What the first segment's outputs add is taken through the second."""
    return composition(lambda first, second: (first[0] @ second[0], first[1] @ second[0].T + second[1]))


@gradients_of_segments_compose.refute
def nothing_sent_backward(rng: random.Random) -> Any:
    """Each segment takes the gradient of its own outputs alone."""
    return against_the_whole(shapes(GATED_DELTANET, 4, 2, 3), (2,), rng, sent=0)


@gradients_of_segments_compose.refute
def passed_on_without_the_errors(rng: random.Random) -> Any:
    """What is passed on leaves out the path through the errors."""
    return passed_on(rng, planted(reference_backward.chunk_backward, " - du.T @ (gamma * erase)", ""))
