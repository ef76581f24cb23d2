"""The discretisations act entry by entry, on arrays of any shapes that go together, real and complex."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np

from derivations.engines.notation import number
from derivations.engines.ring import difference
from derivations.mutants.by_hand import planted
from derivations.papers import cite
from derivations.registry import claim
from derivations.scope import AtPoints
from gdn_core import ssm
from gdn_core.reference import Array

#: Of A and Delta: one number, one a state, one a channel and state, one a token; some alike, and wider than nine.
SHAPES: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...] = (
    ((), ()), ((3,), ()), ((), (4,)), ((3,), (1,)), ((5,), (5,)), ((4,), (6, 1)), ((2, 3), (4, 1, 1)),
    ((1, 3), (4, 2, 1)), ((2, 2), (2, 2)), ((3, 3), (3, 1)), ((1, 1), (1, 1)), ((12, 11), (1, 1)), ((1, 1), (3, 3)),
    ((2, 3), (7, 2, 1)), ((2, 1, 3), (2, 4, 1)), ((1, 2, 2), (2, 2, 2)), ((3,), (2, 3)), ((2, 2, 3), ()),
    ((2, 1, 2, 3), (2, 1, 1)),
)  # fmt: skip
REAL, COMPLEX = (0.0, -2.0, -6.0, -14.0), (-2j, 2j, -2.0 - 4j, -2.0 + 4j, -2.0 + 0j)  # at these without rounding
STEPS = ((1.0, 0.0), (0.0, 1.0))  # of which one is the first in turn
WEIGHTS = (Fraction(1, 4), Fraction(0), Fraction(1, 2), Fraction(1))  # of Mamba-3's rule; some alike at both ends


def any_exp(z: Any) -> Any:
    """Stand for the exponential: any function does."""
    return z * z * z + 2 * z + 5


def any_phi1(z: Any) -> Any:
    """Stand for phi_1."""
    return z * z + 3 * z + 1


Method = Callable[[Array, Array, Any], tuple[Array, ...]]
METHODS: dict[str, Method] = {
    "zoh": lambda A, d, weight: ssm.zoh(A, d, exp=any_exp, phi1=any_phi1),
    "mamba": lambda A, d, weight: ssm.mamba(A, d, exp=any_exp),
    "euler": lambda A, d, weight: ssm.euler(A, d),
    "bilinear": lambda A, d, weight: ssm.bilinear(A, d),
    "exponential_trapezoidal": lambda A, d, weight: ssm.exponential_trapezoidal(A, d, weight, exp=any_exp),
}


def of_an_entry(method: str, a: Any, d: Any, weight: Any) -> tuple[Any, ...]:
    """Return the decay and the factors of one entry, each times 2 - d a for the bilinear rule, which divides by it."""
    decay = any_exp(d * a)
    return {
        "zoh": (decay, d * any_phi1(d * a)),
        "mamba": (decay, d),
        "euler": (1 + d * a, d),
        "bilinear": (2 + d * a, 2 * d),
        "exponential_trapezoidal": (decay, (1 - weight) * d * decay, weight * d),
    }[method]


def against_entries(
    A: Array, delta: Array, weight: Any, methods: dict[str, Method] = METHODS
) -> Iterator[dict[str, Any]]:
    """Compare functions of the code with their formulas, entry by entry."""
    for name, method in methods.items():
        with np.errstate(all="ignore"):  # of a mutant
            got = method(A, delta, weight)
        formula = np.frompyfunc(lambda *entry, name=name: of_an_entry(name, *entry), 3, len(got))
        wanted = formula(A, delta, weight)
        times = 2 - delta * A if name == "bilinear" else 1
        for n, (part, want) in enumerate(zip(got, wanted, strict=True)):
            shapes = f"{name}, part {n + 1}, A {list(np.shape(A))}, Delta {list(np.shape(delta))}:"
            yield {shapes: _exactly(difference(times * part + 0 * (delta * A), want))}


def weights(n: int, shape: tuple[int, ...]) -> tuple[Any, Any]:
    """Return the weight of Mamba-3's rule as one number, the n-th in turn, and as an array with one for each step."""
    return WEIGHTS[n % len(WEIGHTS)], np.resize(np.array(WEIGHTS, dtype=object), shape)[()]


def _exactly(x: Any) -> Any:
    """Return the real and the imaginary parts of an array as fractions."""
    if isinstance(x, str):
        return x
    return [np.frompyfunc(lambda e, part=part: Fraction(getattr(e, part)), 1, 1)(x) for part in ("real", "imag")]


def fractions(rng: random.Random, shape: tuple[int, ...]) -> Array:
    """Draw fractions from 1/8 to 9/2."""
    made = np.empty(shape, dtype=object)
    for i in np.ndindex(shape):
        made[i] = Fraction(rng.randrange(1, 10), rng.randrange(2, 9))
    return made[()]


def _statement() -> str:
    A, delta = np.array([0, -2]), np.array([1])
    shown = (
        rf"\text{{{name}: }} ({', '.join(number(Fraction(float(x))) for x in getattr(ssm, name)(A, delta)[0])})"
        for name in ("euler", "bilinear")
    )
    return (
        r"\bar A_{ij} = f(\Delta_{ij} A_{ij}), \quad \text{such as at } \Delta A = (0, -2) \text{ by } "
        + ", \\; ".join(shown)
    )


@claim(
    statement=_statement,
    assumptions=(
        "A and Delta are arrays whose shapes go together. The exponential and phi_1 are arguments, here any functions.",
    ),
    scope=AtPoints(f"{len(SHAPES)} pairs of shapes, in fractions,"),
    engine="exact",
    source=cite("2312.00752", "eq. 4, for a diagonal A"),
    code=(ssm.zoh, ssm.mamba, ssm.euler, ssm.bilinear, ssm.exponential_trapezoidal),
    uses=("zoh_solves_the_held_equation", "bilinear_rule_has_local_error_of_order_three"),
)
def discretisations_act_entry_by_entry(rng: random.Random) -> Any:
    """Every discretisation of arrays is that of each entry: of a state, a channel and a token."""
    for n, (of_A, of_delta) in enumerate(SHAPES):
        for weight in weights(n, of_delta):
            yield from against_entries(-fractions(rng, of_A), fractions(rng, of_delta), weight)


@discretisations_act_entry_by_entry.step(
    engine="exact", scope=AtPoints(f"{len(SHAPES)} pairs of shapes, in float64 and in complex128 without rounding,")
)
def in_floats_real_and_complex() -> Any:
    """The same in floats, and for a complex A, as S4 has one."""
    for values in (REAL, COMPLEX):
        for n, (of_A, of_delta) in enumerate(SHAPES):
            A, delta = np.resize(np.array(values), of_A), np.resize(STEPS[n % 2], of_delta)
            for weight in weights(n, of_delta):
                yield from against_entries(A[()], delta[()], np.asarray(weight, dtype=float)[()])


@discretisations_act_entry_by_entry.step(
    engine="exact", scope=AtPoints(f"{len(SHAPES)} pairs of shapes, in float64,")
)
def parameters_left_at_their_defaults() -> Any:
    """With exp and phi1 left out they are NumPy's exp and the code's phi1, to the last bit."""
    for of_A, of_delta in SHAPES:
        A, delta = np.resize((-0.5, -3.0, 0.0), of_A), np.resize((0.25, 1.5), of_delta)
        pairs = {
            "zoh": (ssm.zoh(A, delta), ssm.zoh(A, delta, exp=np.exp, phi1=ssm.phi1)),
            "mamba": (ssm.mamba(A, delta), ssm.mamba(A, delta, exp=np.exp)),
            "trapezoidal": tuple(ssm.exponential_trapezoidal(A, delta, 0.25, **exp) for exp in ({}, {"exp": np.exp})),
        }  # fmt: skip
        yield {
            name: [_exactly(difference(*both)) for both in zip(left_out, given, strict=True)]
            for name, (left_out, given) in pairs.items()
        }


def _of_wrong(code: Callable[..., Any], right: str, wrong: str, values: tuple[Any, ...], **options: Any) -> Any:
    name, changed = code.__name__, planted(code, right, wrong)
    methods: dict[str, Method] = {name: lambda A, d, weight: changed(A, d, **options)}
    return list(against_entries(np.array(values), np.ones(1), 0.25, methods))


@discretisations_act_entry_by_entry.refute
def decay_of_the_first_state_for_all() -> Any:
    """Every state decays as the first one does."""
    return _of_wrong(ssm.mamba, "exp(delta * A)", "exp(delta * A[:1])", REAL, exp=any_exp)


@discretisations_act_entry_by_entry.refute
def negative_decay_without_its_sign() -> Any:
    """A decay below 0, as the Euler step has it, loses its sign."""
    return _of_wrong(ssm.euler, "1 + delta * A", "abs(1 + delta * A)", REAL)


@discretisations_act_entry_by_entry.refute
def conjugate_of_the_rate() -> Any:
    """The numerator of the bilinear rule takes the conjugate of A."""
    return _of_wrong(ssm.bilinear, "1 + delta * A / 2", "1 + delta * A.conjugate() / 2", COMPLEX)
