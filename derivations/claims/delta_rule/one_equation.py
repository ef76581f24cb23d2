"""One equation, all delta rules: DeltaNet, Longhorn, EFLA and Kaczmarz's projection are steps along it."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np

from derivations.engines import series, written
from derivations.engines.cases import exactly
from derivations.engines.series import Series, Variables
from derivations.engines.signs import unproved
from derivations.engines.trees import Expr
from derivations.engines.written import Kind, letters
from derivations.models.delta_rule import Delta, code_acts_as
from derivations.models.one_equation import FREE, TEX, Flow
from derivations.mutants.by_hand import planted
from derivations.papers import cite
from derivations.registry import claim
from derivations.scope import AtPoints, Every, EverySize
from gdn_core import integrators, reference, ssm
from gdn_core.rules import Integrator

s, z, beta, kappa, _ = Variables("s z beta kappa g", TEX).all()


def exact(code: Any = integrators.exact) -> tuple[Series, Series]:
    """Return the exact gates of the code after a part s of the step."""
    return code(s * beta, kappa, phi1=series.phi1)


def _statement() -> str:
    words = Delta()
    step, _ = words.step(words.algebra.scalar("theta"))
    b, c = letters(Kind.SCALAR, r"\beta", r"\kappa")
    gates = {
        "DeltaNet, explicit Euler": (integrators.explicit(b, c), integrators.explicit(z, 1)),
        "Longhorn, implicit Euler": (integrators.implicit(b, c), integrators.implicit(z, 1)),
        "EFLA, exact": (integrators.exact(b, c, phi1=written.phi1)[0], exact_share()),
    }
    lines = [
        rf"\text{{{name}}} &: \theta = {gate}, & \theta \kappa &= {share.tex()}"
        for name, (gate, share) in gates.items()
    ]
    return (
        r"\begin{aligned} \frac{dS}{ds} &= \beta (v - S k) k^\top, \; s \in [0, 1]: & "
        rf"S' &= {step.normal().tex()} \\ "
        + r" \\ ".join(lines)
        + r" \\ \text{Kaczmarz, a large step} &: \theta \kappa \to 1, & z &= \beta \kappa, \; \kappa = \|k\|^2"
        r" \end{aligned}"
    )


def exact_share() -> Series:
    """Return the share of the error that the exact step of the code removes, as a function of z."""
    return integrators.exact(z, 1, phi1=series.phi1)[0]


@claim(
    statement=_statement,
    assumptions=("Key, value and $\\beta$ are held over the step. The equation is linear, so it has one solution.",),
    scope=EverySize("dk", "dv"),
    engine="words",
    source=cite("2512.12602", "abstract (v4), on DeltaNet as Euler's step; Longhorn beside it is ours"),
    code=(
        reference.step,
        integrators.explicit,
        integrators.implicit,
        integrators.exact,
        integrators.projection,
        integrators.gates,
    ),
    uses=("longhorn_step_is_the_delta_rule_with_a_smaller_gate",),
)
def delta_rules_are_steps_along_one_equation() -> Any:
    """DeltaNet is the explicit Euler step of dS/ds = beta (v - S k) k', Longhorn the implicit one, EFLA the solution.

    Each is the code's step with one gate theta. The explicit step takes the error before it, the implicit one the error
    behind it; and with theta' = beta (1 - kappa theta) the step follows the equation at every moment.
    """
    return {"explicit": explicit_step(), "implicit": implicit_step(), "exact": Flow().residual()}


def error(words: Delta, S: Expr) -> Expr:
    """Return the right side of the equation at a memory."""
    return words.beta * (words.v - S @ words.k) @ words.k.T


def explicit_step() -> Any:
    """Compare the code's step with S plus the slope at S."""
    words = Delta()
    return (words.step(integrators.explicit(words.beta, words.kappa))[0] - words.S - error(words, words.S)).normal()


def implicit_step(*, at_the_end: bool = True) -> Any:
    """Compare the code's step at theta (1 + beta kappa) = beta with S plus the slope at the new memory."""
    words = Delta()
    theta = words.algebra.scalar("theta")
    words.algebra.relation(theta * (1 + words.beta * words.kappa), words.beta)
    S = words.step(theta)[0]
    return (S - words.S - error(words, S if at_the_end else words.S)).normal()


def gates(theta: Series, write: Series) -> dict[str, Any]:
    """Return the residuals of the gates of the code, the exact one given as a function of s, and at a key of zeros."""
    implicit = integrators.implicit(beta, kappa)
    by_name = [integrators.gates(made, s * beta, kappa, phi1=series.phi1) for made in Integrator]
    wanted = [(integrators.implicit(s * beta, kappa),) * 2, exact()]
    return {
        "tied": write - theta,
        "by name": [x - y for got, want in zip(by_name, wanted, strict=True) for x, y in zip(got, want, strict=True)],
        "explicit": integrators.explicit(beta, kappa) - beta,
        "implicit": implicit * (1 + beta * kappa) - beta,
        "exact, differentiated": theta.diff(s) - beta * (1 - kappa * theta),
        "exact, at s = 0": theta.at(s, 0),
        "poles": theta.pole(kappa),
        "a key of zeros": [theta.expanded(kappa, 0)[0] - s * beta, implicit.at(kappa, 0) - beta],
    }


@delta_rules_are_steps_along_one_equation.step(engine="series", scope=FREE)
def the_gates_of_the_code() -> Any:
    """The code's gates solve theirs: theta (1 + z) = beta, and theta' = beta (1 - kappa theta) from 0, at k = 0 too."""
    return gates(*exact())


@delta_rules_are_steps_along_one_equation.step(engine="series", scope=Every("z > 0"))
def in_order_below_the_projection() -> Any:
    """z / (1 + z) < 1 - e^-z < z and 1 - e^-z < 1: all tend to the projection but the explicit step, which passes it.

    1 / (1 + z) - e^-z has the sign of e^z - 1 - z.
    """
    return order(integrators.implicit(z, 1), exact_share(), integrators.explicit(z, 1))


def order(implicit: Series, share: Series, explicit: Series) -> dict[str, Any]:
    """Return what is not proved of the order of three shares, and of the errors that they leave."""
    projection = integrators.projection(z, kappa) * kappa
    return {
        "implicit below exact": unproved((share - implicit) * (1 + z) * series.exp(z), z),
        "exact below explicit": unproved(explicit - share, z),
        "below the projection": [unproved(projection - share, z), unproved(projection - implicit, z)],
        "error left": [projection - 1, 1 - implicit - 1 / (1 + z), 1 - share - series.exp(-z)],
    }


#: Of beta, kappa and g: one number, one a token, one a head and token.
SHAPES: tuple[tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]], ...] = (
    ((), (), ()), ((5, 1), (5, 1), (5, 1)), ((1, 1), (1, 1), (1, 1)), ((3,), (3,), (3,)), ((2, 3, 1), (2, 3, 1), ()),
    ((4, 1), (), (4, 1)), ((), (12, 1), (1,)), ((3, 3), (3, 3), (3, 3)), ((12, 1), (12, 1), (12, 1)),
)  # fmt: skip


@delta_rules_are_steps_along_one_equation.step(
    engine="exact", scope=AtPoints(f"{len(SHAPES)} combinations of shapes of beta, kappa and g, in fractions,")
)
def gates_of_arrays(rng: random.Random) -> Any:
    """The gates of arrays are those of each entry, of a token and of a head. Left out, phi_1 is the code's."""
    for shapes in SHAPES:
        yield from entry_by_entry(*(_fractions(rng, shape) for shape in shapes))
        b, c, g = (np.asarray(_fractions(rng, shape), dtype=float) for shape in shapes)
        for function in (integrators.exact, partial(integrators.gates, Integrator.EXACT)):
            pairs = zip(function(b, c, -g), function(b, c, -g, phi1=ssm.phi1), strict=True)
            yield {"phi1 left out:": [exactly(left_out, given) for left_out, given in pairs]}


def entry_by_entry(b: Any, c: Any, g: Any) -> Iterator[Any]:
    """Compare the code's gates of arrays with their formulas, entry by entry."""

    def any_phi1(x: Any) -> Any:
        return x * x + 3 * x + 1

    def of(name: str, b: Any, c: Any, g: Any) -> tuple[Any, Any]:
        z = b * c
        return {
            "explicit": (b, b), "implicit": (b / (1 + z), b / (1 + z)), "projection": (1 / c, 1 / c),
            "exact": (b * any_phi1(-z), b * any_phi1(g - z)), "exact, no decay": (b * any_phi1(-z), b * any_phi1(-z)),
        }[name]  # fmt: skip

    found = {
        "explicit": [(integrators.explicit(b, c),) * 2],
        "projection": [(integrators.projection(b, c),) * 2],
        "implicit": [(integrators.implicit(b, c),) * 2, integrators.gates(Integrator.IMPLICIT, b, c, g)],
        "exact": [integrators.exact(b, c, g, phi1=any_phi1),
                  integrators.gates(Integrator.EXACT, b, c, g, phi1=any_phi1)],
        "exact, no decay": [integrators.exact(b, c, phi1=any_phi1),
                            integrators.gates(Integrator.EXACT, b, c, phi1=any_phi1)],
    }  # fmt: skip
    shapes = ", ".join(f"{name} {list(np.shape(x))}" for name, x in (("beta", b), ("kappa", c), ("g", g)))
    for name, pairs in found.items():
        wanted = np.frompyfunc(partial(of, name), 3, 2)(b, c, g)
        for pair in pairs:
            for got, want in zip(pair, wanted, strict=True):
                yield {f"{name}, {shapes}:": exactly(got + 0 * (b + c + g), want)}


def _fractions(rng: random.Random, shape: tuple[int, ...]) -> Any:
    made = [Fraction(rng.randrange(1, 10), rng.randrange(2, 9)) for _ in range(math.prod(shape))]
    return np.array(made, dtype=object).reshape(shape)[()]


@delta_rules_are_steps_along_one_equation.refute
def gate_of_the_first_token_for_all(rng: random.Random) -> Any:
    """Every token has the gate of the first one."""
    wrong = planted(integrators.implicit, "1 + beta * kappa", "1 + beta * kappa[:1]")
    b, c = (_fractions(rng, (3, 1)) for _ in range(2))
    return exactly(wrong(b, c), b / (1 + b * c))


@delta_rules_are_steps_along_one_equation.refute
def slope_after_the_step_for_the_slope_before() -> Any:
    """Longhorn's gate is said to be the explicit step."""
    return implicit_step(at_the_end=False)


@delta_rules_are_steps_along_one_equation.refute
def explicit_gate_for_the_solution() -> Any:
    """DeltaNet's gate is said to be the solution."""
    return gates(s * integrators.explicit(beta, kappa), s * integrators.explicit(beta, kappa))


@delta_rules_are_steps_along_one_equation.refute
def error_grows_along_the_key() -> Any:
    """The exponent of the exact gate has the other sign, in the code."""
    return gates(*exact(planted(integrators.exact, "beta * phi1(-z)", "beta * phi1(z)")))


@delta_rules_are_steps_along_one_equation.refute
def rate_without_the_length_of_the_key() -> Any:
    """The gate is said to grow by beta (1 - theta)."""
    return Flow(length=False).residual()


@delta_rules_are_steps_along_one_equation.refute
def exact_below_implicit() -> Any:
    """The exact share is said to be the smallest."""
    return order(exact_share(), integrators.implicit(z, 1), integrators.explicit(z, 1))


class Rank:
    """The rate of the equation, A = -beta k k', a square matrix of rank one that acts on the rows of the memory."""

    def __init__(self) -> None:
        self.words = Delta()
        self.A = -(self.words.beta * (self.words.k @ self.words.k.T))

    def residual(self, *, sign: int = 1) -> list[Any]:
        """Return the residuals of A A = -beta kappa A and A k = -beta kappa k, and of the code's transition I + A."""
        words, A = self.words, self.A
        rate = -sign * words.beta * words.kappa
        return [
            (A @ A - rate * A).normal(),
            (A @ words.k - rate * words.k).normal(),
            (code_acts_as(words.k, words.beta) - words.algebra.identity("K") - A).normal(),
        ]


def held(theta: Series, rate: Series) -> dict[str, Any]:
    """Compare a gate with zero-order hold by the code of the discretisation, whose state matrix is a number."""
    decay, factor = ssm.zoh(rate, s, exp=series.exp, phi1=series.phi1)
    return {"transition": 1 - kappa * theta - decay, "input": theta - beta * factor}


def _zoh() -> str:
    rank, share = Rank(), exact_share().tex(z=r"\beta \kappa")
    return (
        rf"A = {rank.A.tex()}: \; A^2 = -\beta \kappa A \;\Rightarrow\; f(A) = f(0) I + "
        r"\frac{f(0) - f(-\beta \kappa)}{\beta \kappa} A, \quad e^{A} = I - \theta k k^\top, \quad "
        r"\varphi_1(A)\, \beta k = \theta k, \quad "
        rf"\theta \kappa = {share}"
    )


@claim(
    statement=_zoh,
    assumptions=(
        r"The rows of $S$ are states $h$ with $h' = A h + B u$: $A = -\beta k k^\top$, $B = \beta k$, $u$ in $v$.",
        r"$f$ is a power series that converges at $A$; for $k = 0$, $f(A) = f(0) I$.",
    ),
    scope=EverySize("dk"),
    engine="words",
    source=cite("2512.12602", "abstract (v4), on the rank-one matrix; that it is the zero-order hold of ssm is ours"),
    code=(reference.step, ssm.zoh, integrators.exact),
    uses=("zoh_solves_the_held_equation", "delta_rules_are_steps_along_one_equation"),
)
def exact_delta_rule_is_zero_order_hold() -> Any:
    """The exact delta rule is the zero-order hold of state space models, of the matrix -beta k k' and input map beta k.

    A A = -beta kappa A, so every power series of A is a combination of I and A, known from its values at 0 and -z.
    """
    return Rank().residual()


@exact_delta_rule_is_zero_order_hold.step(engine="series", scope=FREE)
def the_discretisation_of_the_code() -> Any:
    """e^A and phi_1(A) B along the key, by the code that discretises S4, give the code's exact gate."""
    return held(exact()[0], -beta * kappa)


@exact_delta_rule_is_zero_order_hold.refute
def memory_grows() -> Any:
    """A A is said to be beta kappa A."""
    return Rank().residual(sign=-1)


@exact_delta_rule_is_zero_order_hold.refute
def input_of_mamba_for_that_of_the_hold() -> Any:
    """The input is said to be that of Euler, as in Mamba's code: the gate would be beta."""
    return held(s * beta, -beta * kappa)


@exact_delta_rule_is_zero_order_hold.refute
def rate_without_kappa() -> Any:
    """The rate along the key is said to be beta."""
    return held(exact()[0], -beta)
