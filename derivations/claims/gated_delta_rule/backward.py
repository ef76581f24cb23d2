"""The gradients of a chunk: the hand-derived backward pass is the derivative of the recurrence."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import fields
from fractions import Fraction
from typing import Any

import numpy as np

from derivations.claim import every_rule
from derivations.engines.cases import BITS, Case, Shapes, every_width, floats, fractions, nearly, shapes, special, told
from derivations.engines.field import Dual, Field, dual_exp, is_counting, stack
from derivations.engines.polynomials import factored
from derivations.engines.ring import Ring
from derivations.models import stream_sizes
from derivations.mutants.by_hand import planted
from derivations.papers import cite
from derivations.registry import claim
from derivations.scope import AtPoints, OverField, Sizes
from gdn_core import reference, reference_backward
from gdn_core.reference import Array, Exp, Stack, Token
from gdn_core.rules import GATED_DELTANET, WriteRule

REAL = OverField(C=64, dk=128, dv=144)
SMALL = OverField(C=9, dk=12, dv=10)
CHUNKS = stream_sizes.chunks(every=3)


def gradients_on_symbols(
    sizes: Shapes, backward: Callable[..., Any] | None = None
) -> tuple[Ring, dict[str, Any], dict[str, Any]]:
    """Return letters, the derivatives by each of ``sum(do * o) + sum(dS * S_T)``, and the code's gradients."""
    ring = Ring(exponentials={"a": sizes["g"]}, **sizes, do=sizes["v"], dS=sizes["S"])
    ring.let_exp(ring["g"], "a")
    x = Token(**{name: ring[name] for name in ("q", "k", "v", "g", "b", "w")})
    options: dict[str, Any] = {"exp": ring.exp, "stack": np.stack}
    S, o = reference.recurrent(ring["S"], x, **options)
    loss = (ring["do"] * o).sum() + (ring["dS"] * S).sum()
    dS, dx = (backward or reference_backward.chunk_backward)(ring["S"], x, ring["do"], ring["dS"], **options)
    by_letter = np.frompyfunc(loss.diff, 1, 1)
    want = {name: by_letter(ring[name]) for name in ("S", "q", "k", "v", "b", "w")}
    want["g"] = ring["a"] * by_letter(ring["a"])  # the derivative of exp(g) by g is exp(g)
    got = {"S": dS, **{field.name: getattr(dx, field.name) for field in fields(dx)}}
    return ring, {name: want[name] for name in got}, got


def derivative_of_symbols(sizes: Shapes, backward: Callable[..., Any] | None = None) -> Any:
    """Compare the derivatives of the recurrence with the code's gradients."""
    ring, want, got = gradients_on_symbols(sizes, backward)
    return {f"d{name}": ring.residual(got[name], want[name]) for name in got}


def derivative_at_points(rule: WriteRule, scope: OverField, rng: random.Random) -> Iterator[Any]:
    """Compare the derivative of the recurrence along a random direction, by dual numbers, with the code's gradients."""
    sizes = dict(scope.sizes)
    for _ in range(scope.primes):
        yield derivative_of_shapes(shapes(rule, sizes["C"], sizes["dv"], sizes["dk"]), Field(rng))


def derivative_of_shapes(drawn: Shapes, numbers: Field) -> Any:
    """Compare them at one point of a field; a sentence where a gradient has not the shape of its field."""
    at, along = numbers.letters(drawn), {name: numbers.draw(*shape) for name, shape in drawn.items()}
    do, dS = numbers.draw(*drawn["v"]), numbers.draw(*drawn["S"])
    of_memory, of_stream = reference_backward.chunk_backward(
        at["S"], Token(**{name: at[name] for name in NAMES}), do, dS, exp=numbers.exp, stack=stack
    )
    gradients = {"S": of_memory, **{name: getattr(of_stream, name) for name in NAMES}}
    for name, gradient in gradients.items():
        if gradient.shape != drawn[name]:
            return f"d{name} has the shape {list(gradient.shape)}, and {name} {list(drawn[name])}"

    def off(along: dict[str, Any]) -> Any:
        want = derivative(at, along, do, dS, exp=numbers.exp, stack=stack)
        for name, gradient in gradients.items():
            want = want - (gradient * along[name]).sum()
        return want

    return off(along) if is_counting() else first_wrong(off, along)


NAMES = [field.name for field in fields(Token)]


def derivative(at: dict[str, Array], along: dict[str, Array], do: Array, dS: Array, *, exp: Exp, stack: Stack) -> Any:
    """Return the derivative of ``sum(do * o) + sum(dS * S_C)`` of the recurrence along a direction, by dual numbers."""
    dual = {name: Dual(at[name], along[name]) for name in at}
    S, o = reference.recurrent(
        dual["S"], Token(**{name: dual[name] for name in NAMES}), exp=dual_exp(exp), stack=stack
    )
    return (do * o.tangent).sum() + (dS * S.tangent).sum()


def first_wrong(off: Callable[[dict[str, Any]], Any], along: dict[str, Any]) -> Any:
    """Return by how much gradients are off along a direction; if they are, by how much the first wrong one is."""
    total = off(along)
    if not total:
        return total
    alone = ({of: x if of == name else 0 * x for of, x in along.items()} for name in along)
    by_name = ((f"d{name}, along a random direction", off(part)) for name, part in zip(along, alone, strict=True))
    return dict([next(wrong for wrong in by_name if wrong[1])])


LETTERS = {"a": r"\alpha", "S": "S_0", "do": r"\dot o", "dS": r"\dot S_C"}


def _one_token() -> str:
    ring, _, gradients = gradients_on_symbols(shapes(GATED_DELTANET, 1, 1, 1))
    shown = [
        rf"\dot {LETTERS.get(name, name)} = {factored(ring.reduce(gradient.flat[0]), LETTERS)}"
        for name, gradient in gradients.items()
    ]
    return (
        r"\operatorname{backward}(S_0, x, \dot o, \dot S_C) = "
        r"\nabla \bigl(\langle \dot o, o \rangle + \langle \dot S_C, S_C \rangle\bigr), \quad "
        r"\text{at } C = d = 1\text{:} \quad " + r", \quad ".join(shown)
    )


@claim(
    statement=_one_token,
    assumptions=(
        r"$\dot x$ is the gradient of the loss by $x$: given for the outputs and the last memory; $\alpha = e^g$.",
        "The gates are free of each other; where a rule ties them, their gradients are added up.",
    ),
    scope=Sizes(C=2, dk=3, dv=2),
    engine="ring",
    source=cite("2412.06464", "sec. 3.3, differentiated by hand here"),
    code=(reference_backward.chunk_backward, reference.recurrent),
    uses=("every_rule_has_a_chunk_form",),
    rules=every_rule,
)
def chunk_backward_is_the_derivative(rule: WriteRule) -> Any:
    """The hand-derived gradients of a chunk are the derivatives of the recurrence, at every gate width."""
    return derivative_of_symbols(shapes(rule, 2, 2, 3))


@chunk_backward_is_the_derivative.step(engine="ring", scope=Sizes(C=2, dk=3, dv=2))
def gradients_at_every_combination_of_widths() -> Any:
    """The gradients are the derivatives, whatever the widths of decay, erase gate, write gate and keys."""
    return (derivative_of_symbols(sizes) for sizes in every_width(2, 2, 3))


@chunk_backward_is_the_derivative.step(engine="ring", scope=Sizes(C=3, dk=3, dv=2))
def gradients_of_the_gated_delta_rule_on_symbols() -> Any:
    """The gradients of Gated DeltaNet are the derivatives of its recurrence."""
    return derivative_of_symbols(shapes(GATED_DELTANET, 3, 2, 3))


@chunk_backward_is_the_derivative.step(engine="field", scope=SMALL)
def gradients_at_points(rule: WriteRule, rng: random.Random) -> Any:
    """The gradients along a random direction are the derivative of the recurrence along it, by dual numbers."""
    return derivative_at_points(rule, SMALL, rng)


@chunk_backward_is_the_derivative.step(engine="field", scope=REAL)
def gradients_of_the_gated_delta_rule_at_real_sizes(rng: random.Random) -> Any:
    """The gradients along a random direction are the derivative of the recurrence along it, by dual numbers."""
    return derivative_at_points(GATED_DELTANET, REAL, rng)


@chunk_backward_is_the_derivative.step(engine="field", scope=stream_sizes.scope(CHUNKS, "C", "K", "V"))
def gradients_of_every_size(rng: random.Random) -> Any:
    """The gradients are the derivative at sizes that break code: around powers of two, K = V, K < V, K > V."""
    numbers = Field(rng)
    for sizes in stream_sizes.longest(CHUNKS) if is_counting() else CHUNKS:
        yield {f"{sizes}:": derivative_of_shapes(sizes.shapes, numbers)}


@chunk_backward_is_the_derivative.step(
    engine="exact", scope=AtPoints("chunks of four tokens of integers in float64, V = 2 and K = 3 and V = K = 2,")
)
def gradients_with_gates_of_0_1_and_2(rng: random.Random) -> Any:
    """The same at gates of 0, 1 and 2, decays of 0 and 1, keys of zeros, and from an empty memory."""
    for K, remembers in itertools.product((3, 2), (True, False)):
        for sizes in every_width(4, 2, K):
            yield {f"{told(sizes)}:": derivative_of_integers(special(sizes, rng, remembers=remembers), rng)}


def derivative_of_integers(case: Case, rng: random.Random) -> Any:
    """Compare the code's gradients with the recurrence's derivative along a random direction, in Python's integers."""
    at = {"S": case.S, **{name: getattr(case.x, name) for name in NAMES}}

    def drawn(like: Array, most: int = 99) -> Array:
        return np.array([rng.randrange(-most, most + 1) for _ in like.flat], dtype=object).reshape(like.shape)

    whole, exact = np.frompyfunc(int, 1, 1), np.frompyfunc(Fraction, 1, 1)
    do, dS = drawn(case.x.v, 9), drawn(case.S, 9)
    found, dx = reference_backward.chunk_backward(case.S, case.x, do.astype(float), dS.astype(float))
    gradients = {"S": found, **{name: getattr(dx, name) for name in NAMES}}
    if wrong := [f"d{name} is not finite" for name, gradient in gradients.items() if not np.isfinite(gradient).all()]:
        return wrong[0]
    integers = {name: whole(x) for name, x in at.items()}
    decay: Any = np.frompyfunc(lambda g: int(g == 0), 1, 1)

    def off(along: dict[str, Any]) -> Any:
        got = sum((exact(gradient) * along[name]).sum() for name, gradient in gradients.items())
        return got - derivative(integers, along, do, dS, exp=decay, stack=_stacked)

    return first_wrong(off, {name: drawn(x) for name, x in at.items()})


@chunk_backward_is_the_derivative.step(
    engine="exact", scope=AtPoints(f"chunks of four tokens in float64, V = 2 and K = 3, to 2^-{BITS},")
)
def gradients_in_float64(rng: random.Random) -> Any:
    """The same in float64 but for its rounding: nothing is rounded to fewer bits on the way."""
    for sizes in every_width(4, 2, 3):
        case, along, cotangents = (floats(sizes, rng) for _ in range(3))
        at, do, dS = {"S": case.S, **vars(case.x)}, cotangents.x.v, cotangents.S
        found, dx = reference_backward.chunk_backward(case.S, case.x, do, dS)
        for name, gradient in {"S": found, **vars(dx)}.items():
            alone = {of: x * (of == name) for of, x in {"S": along.S, **vars(along.x)}.items()}
            off = (gradient * alone[name]).sum() - derivative(at, alone, do, dS, exp=np.exp, stack=_stacked)
            yield {f"{told(sizes)}: d{name}, along a random direction:": nearly(off, np.zeros(()))}


def _stacked(arrays: list[Dual]) -> Dual:
    return Dual(np.stack([a.value for a in arrays]), np.stack([a.tangent for a in arrays]))


@chunk_backward_is_the_derivative.step(
    engine="exact", scope=AtPoints("chunks of three tokens in float64 and in fractions, V = 2 and K = 3,")
)
def parameters_left_at_their_defaults(rng: random.Random) -> Any:
    """With exp and stack left out the gradients are the same as with NumPy's exp and stack given."""
    for sizes, carrier in itertools.product(every_width(3, 2, 3), (floats, fractions)):
        case = carrier(sizes, rng)
        cotangents = case.x.v, case.S
        dS, dx = reference_backward.chunk_backward(case.S, case.x, *cotangents)
        want, wanted = reference_backward.chunk_backward(case.S, case.x, *cotangents, exp=case.exp, stack=case.stack)
        yield case.residual(dS, want)
        yield [case.residual(getattr(dx, field.name), getattr(wanted, field.name)) for field in fields(dx)]


def misprinted(right: str, wrong: str) -> Any:
    """Plant a misprint in the backward pass."""
    backward = planted(reference_backward.chunk_backward, right, wrong)
    return derivative_of_symbols(shapes(GATED_DELTANET, 2, 2, 3), backward)


@chunk_backward_is_the_derivative.refute
def key_gradient_without_the_erase_path() -> Any:
    """The gradient of the key leaves out the erase path."""
    return misprinted("dk + x.b * de", "dk")


@chunk_backward_is_the_derivative.refute
def decay_gradient_without_the_memory_behind() -> Any:
    """The gradient of the decays leaves out the memory after the chunk."""
    return misprinted("passed[C - 1] + (dS * end).sum(0)", "passed[C - 1]")


@chunk_backward_is_the_derivative.refute
def decay_gradient_not_summed_from_the_end() -> Any:
    """The gradient of the cumulated log decay is taken for that of the log decay."""
    return misprinted("dG[-1] + passed[i]", "passed[i]")


@chunk_backward_is_the_derivative.refute
def transposed_system_with_the_wrong_sign() -> Any:
    """The gradients of later errors are added to those of earlier ones with the wrong sign."""
    return misprinted("du[j] - exp(G[j + 1:] - G[j])", "du[j] + exp(G[j + 1:] - G[j])")
