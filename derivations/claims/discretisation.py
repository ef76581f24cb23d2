"""Discretisation: what a sampled state space model keeps of its differential equation.

The carrier is the series in one variable ``a`` that the engine ``series`` decides, run through the functions of
:mod:`gdn_core.ssm`; a square matrix may be put for ``a``. ``D`` is the step Delta, and ``r = -a`` where ``a`` is real
and negative. B stands to the right of everything and is left out: the input factor is ``Bbar / B``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, localcontext
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np

from derivations.claim import Counterexample, Every, EverySize, Scope, claim
from derivations.engines import printed, series
from derivations.engines.printed import Kind, Written, exp, letters, phi1
from derivations.engines.series import Series, Variables, phi, unproved
from derivations.engines.trees import signed
from derivations.engines.words import Algebra, Block
from derivations.mutants import planted
from gdn_core import reference, ssm
from gdn_core.reference import Exp
from gdn_core.rules import Discretisation, Source

MAMBA = Source("2312.00752", "eq. 4", "Mamba: Linear-Time Sequence Modeling with Selective State Spaces")
ANY_MATRIX = Every("square A, singular and defective ones included")
REAL_NEGATIVE = Every("real A < 0 and every step Delta > 0")

TEX = {"lam": r"\lambda", "D": r"\Delta", "a": "A", "f_0": "f(0)", "f_1": "f'(0)", "f_2": "f''(0)"}
VARIABLES = Variables("lam r D a c f_0 f_1 f_2 w u", TEX)
lam, r, D, a, c, f0, f1, f2, w, u = VARIABLES.all()
Pair = tuple[Series, Series]
(MATRIX,), (STEP, NORM, WEIGHT) = letters(Kind.OPERATOR, "A"), letters(Kind.SCALAR, r"\Delta", r"\|A\|", r"\lambda")


@dataclass(frozen=True)
class AtPoints(Scope):
    """At some points only, in float64: a check, and never a proof."""

    what: str

    @property
    def proof(self) -> bool:
        """Points prove nothing about other points."""
        return False

    def __str__(self) -> str:
        return f"at {self.what} only"


def zoh(A: Series = a) -> Pair:
    """Run the code's zero-order hold on series."""
    return ssm.zoh(A, D, exp=series.exp, phi1=series.phi1)


def written_zoh() -> tuple[Written, Written]:
    """Run the code's zero-order hold on letters."""
    return ssm.zoh(MATRIX, STEP, exp=exp, phi1=phi1)


def at_zero(x: Series, *, one: str = "1") -> str:
    """Print a series at Delta = 0; ``one`` stands for 1."""
    text = x.at(D, 0).tex()
    return one if text == "1" else text


def powers(x: Series, order: int, *, one: str = "1", step: str = r"\Delta") -> str:
    """Print the expansion of a series in Delta up to an order; ``one`` stands for the constant 1."""
    terms = []
    for n, coefficient in x.expanded(D, order).items():
        if coefficient:
            sign, text = (-1, (-coefficient).tex()) if coefficient.tex().startswith("-") else (1, coefficient.tex())
            power = (rf" {step}^{n}" if n > 1 else f" {step}") if n else ""
            terms.append((sign, (power.strip() if n else one) if text == "1" else text + power))
    return f"{signed(terms)} + O({step}{f'^{order + 1}' if order else ''})"


# 1. Zero-order hold solves the equation.


def held_equation(decay: Series, factor: Series) -> dict[str, Any]:
    """Say how far ``decay h_0 + factor B u`` is from solving h' = A h + B u from h_0 with u held, for every A."""
    return {
        "the decay, differentiated": decay.diff(D) - a * decay,
        "the decay at Delta = 0": decay.at(D, 0) - 1,
        "the input factor, differentiated": factor.diff(D) - (a * factor + 1),
        "the input factor at Delta = 0": factor.at(D, 0),
        "poles": decay.pole(a) + factor.pole(a),
    }


@claim(
    statement=lambda: (
        rf"\bar A = {written_zoh()[0]}, \quad \bar B = {written_zoh()[1]} B \quad\text{{solve}}\quad "
        rf"h' = A h + B u, \; u \text{{ held}}, \quad \varphi_1(z) = {powers(series.phi1(D), 3, step='z')}"
    ),
    assumptions=("The input is constant over the step.",),
    scope=ANY_MATRIX,
    engine="series",
    source=MAMBA,
    code=(ssm.zoh,),
)
def zoh_solves_the_held_equation() -> Any:
    """Zero-order hold is the exact solution of h' = A h + B u where the input is held over the step."""
    return held_equation(*zoh())


@zoh_solves_the_held_equation.step(engine="words", scope=EverySize("N", "P"))
def no_other_solution() -> Any:
    """The held equation has this solution and no other: the derivative of e^(-Delta A) (h_1 - h_2) vanishes."""
    words = Algebra()
    A, B, X, Y = (
        words.matrix(*letter) for letter in (("A", "N", "N"), ("B", "N", "P"), ("X", "N", "N"), ("Y", "N", "P"))
    )
    start, held, difference = words.vector("h_0", "N"), words.vector("u", "P"), words.vector("d", "N")
    backwards = words.matrix("E", "N", "N")  # exp(-Delta A)
    words.rule(backwards @ A, A @ backwards)
    slope_X, slope_Y = A @ X, A @ Y + B  # what the first step has shown
    return {
        "it solves": (slope_X @ start + slope_Y @ held - (A @ (X @ start + Y @ held) + B @ held)).normal(),
        "alone": (-A @ backwards @ difference + backwards @ A @ difference).normal(),
        "backwards and forwards": series.exp(-D * a) * series.exp(D * a) - 1,
    }


@zoh_solves_the_held_equation.refute
def input_of_euler() -> Any:
    """Bbar = Delta B, as Mamba's code has it."""
    return held_equation(*ssm.mamba(a, D, exp=series.exp))


@zoh_solves_the_held_equation.refute
def phi_of_the_matrix_without_the_step() -> Any:
    """Delta is left out under phi_1."""
    wrong = planted(ssm.zoh, "phi1(delta * A)", "phi1(A)")
    return held_equation(*wrong(a, D, exp=series.exp, phi1=series.phi1))


@zoh_solves_the_held_equation.refute
def cut_off_after_three_terms() -> Any:
    """The series for Bbar is cut off after its third term, which agrees at every order that a short check looks at."""
    decay, _ = zoh()
    return held_equation(decay, D + D**2 * a / 2 + D**3 * a**2 / 6)


def published(A: Any, delta: Any, exp: Exp) -> tuple[Any, Any]:
    """Return the published formula for Bbar / B, with its Delta cancelled and as it stands."""
    return A**-1 * (exp(delta * A) - 1), (delta * A) ** -1 * (exp(delta * A) - 1) * delta


@claim(
    statement=lambda: rf"\bar B = {written_zoh()[1]} B = " + " = ".join(f"{x} B" for x in published(MATRIX, STEP, exp)),
    assumptions=("$A$ is invertible.",),
    scope=Every("invertible A"),
    engine="series",
    source=MAMBA,
    code=(ssm.zoh,),
    uses=("zoh_solves_the_held_equation",),
)
def zoh_of_an_invertible_matrix() -> Any:
    """Where A has an inverse, the input of zero-order hold is the published formula."""
    return [zoh()[1] - formula for formula in published(a, D, series.exp)]


@zoh_of_an_invertible_matrix.step(engine="series", scope=ANY_MATRIX)
def without_the_inverse() -> Any:
    """A Bbar = (e^(Delta A) - I) B holds for every A; where A is singular it does not say what Bbar is."""
    decay, factor = zoh()
    return a * factor - (decay - 1)


@zoh_of_an_invertible_matrix.refute
def identity_left_out() -> Any:
    """The identity is not subtracted."""
    decay, factor = zoh()
    return factor - decay / a


@zoh_of_an_invertible_matrix.refute
def step_left_out_behind_the_inverse() -> Any:
    """(Delta A)^-1 stands before B, where Delta B is meant."""
    decay, factor = zoh()
    return factor - (decay - 1) / (D * a)


class VanLoan:
    """The block matrix whose exponential holds both results of zero-order hold."""

    def __init__(self) -> None:
        words = self.algebra = Algebra("Delta")
        self.A, self.B = words.matrix("A", "N", "N"), words.matrix("B", "N", "P")
        self.X, self.Y = words.matrix("X", "N", "N", tex=r"\bar A"), words.matrix("Y", "N", "P", tex=r"\bar B")
        self.generator = Block([[self.A, self.B], [words.zero("P", "N"), words.zero("P", "P")]])

    def exponential(self, *, corner: Any = None) -> Block:
        """Return the exponential, block by block."""
        words = self.algebra
        return Block([[self.X, self.Y], [words.zero("P", "N"), words.identity("P") if corner is None else corner]])

    def residual(self, exponential: Block) -> Any:
        """Compare the derivative of the blocks, known for Abar and Bbar, with the generator times the blocks."""
        words = self.algebra
        slope = Block([[self.A @ self.X, self.A @ self.Y + self.B], [words.zero("P", "N"), words.zero("P", "P")]])
        return (self.generator @ exponential - slope).normal()

    def power(self, *, top: Any = None) -> Any:
        """Multiply the generator by its power j, whose top row is A^j and A^(j-1) B."""
        words = self.algebra
        below = words.matrix("Q", "N", "N", tex="A^{j-1}")  # its power j - 1, and P its power j
        P = words.matrix("P", "N", "N", tex="A^j")
        words.rule(self.A @ below, P)
        zeros = [words.zero("P", "N"), words.zero("P", "P")]
        right = below @ self.B if top is None else top(self, P)
        wanted = Block([[self.A @ P, P @ self.B], zeros])
        return (self.generator @ Block([[P, right], zeros]) - wanted).normal()


def _van_loan() -> str:
    v = VanLoan()
    return rf"\exp\Bigl(\Delta {v.generator.tex()}\Bigr) = {v.exponential().tex()}"


@claim(
    statement=_van_loan,
    scope=EverySize("N", "P"),
    engine="words",
    source=Source("2505.18187", "abstract and sec. 1", "Discretization of Linear Systems using the Matrix Exponential"),
    uses=("zoh_solves_the_held_equation",),
)
def block_exponential_holds_both_matrices_of_zoh() -> Any:
    """One exponential of a block matrix gives both matrices of zero-order hold, for every number of states and inputs.

    Both sides solve E' = M E from the identity, and there is one solution.
    """
    v = VanLoan()
    decay, factor = zoh()
    start = [decay.at(D, 0) - 1, factor.at(D, 0)]
    return [v.residual(v.exponential()), start]


@block_exponential_holds_both_matrices_of_zoh.step(engine="words", scope=EverySize("N", "P", "j"))
def its_powers() -> Any:
    """Power by power: the generator's power j has A^j and A^(j-1) B on top, so its series are e^X and phi_1."""
    return VanLoan().power()


@block_exponential_holds_both_matrices_of_zoh.refute
def zero_in_the_corner() -> Any:
    """The corner is zero, where the input must stay what it is."""
    v = VanLoan()
    return v.residual(v.exponential(corner=v.algebra.zero("P", "P")))


@block_exponential_holds_both_matrices_of_zoh.refute
def power_with_a_factor_too_many() -> Any:
    """The power j has A^j B on top, one factor too many."""
    return VanLoan().power(top=lambda v, P: P @ v.B)


@cache
def exact_phi1(z: float) -> Fraction:
    """Compute (e^z - 1) / z to 60 digits by a correctly rounded exponential."""
    if z == 0:
        return Fraction(1)
    with localcontext() as context:
        context.prec = 400  # enough for the difference from 1 of the smallest z below
        return Fraction(quotient(Decimal(z), Decimal.exp))


def quotient(z: Any, exp: Callable[[Any], Any]) -> Any:
    """Return phi_1 by its definition."""
    return (exp(z) - 1) / z


BITS = 50  # that must be right: 4 units in the last place
POINTS = tuple(
    sign * z for z in (0.0, 1e-300, 1e-20, 1e-9, 3e-5, 0.01, 0.3, 1.0, 2.5, 20.0, 300.0, 700.0) for sign in (1, -1)
)


def phi1_far_off(function: Any) -> list[str]:
    """Return the points where a float64 phi_1 is off by more than that."""
    with np.errstate(divide="raise", over="raise", invalid="raise"):
        found = function(np.array(POINTS))
    return [
        f"phi_1({z}) = {float(y)!r}"
        for z, y in zip(POINTS, found, strict=True)
        if not np.isfinite(y) or abs(Fraction(float(y)) - exact_phi1(z)) > abs(exact_phi1(z)) / 2**BITS
    ]


@claim(
    statement=lambda: (
        rf"|\operatorname{{fl}}(\varphi_1(z)) - \varphi_1(z)| \le 2^{{-{BITS}}}\, \varphi_1(z), \quad "
        rf"\varphi_1(z) = {quotient(Written('z'), exp)}"
    ),
    assumptions=("The processor's expm1 is the one that runs.",),
    scope=AtPoints(f"{len(POINTS)} numbers from -700 to 700, 0 and 1e-300 among them,"),
    engine="exact",
    source=MAMBA,
    code=(ssm.phi1,),
)
def float_phi1_is_accurate_to_rounding() -> Any:
    """The code's phi_1 is right to the last few bits, near zero and at zero too."""
    return phi1_far_off(ssm.phi1)


@float_phi1_is_accurate_to_rounding.refute
def difference_of_near_numbers() -> Any:
    """exp(z) - 1 is taken as it stands: near zero nothing is left of it."""
    return phi1_far_off(lambda z: np.where(z == 0, 1.0, (np.exp(z) - 1) / np.where(z == 0, 1.0, z)))


@float_phi1_is_accurate_to_rounding.refute
def no_limit_at_zero() -> Any:
    """The limit at zero is taken to be 0."""
    return phi1_far_off(planted(ssm.phi1, "np.where(z == 0, 1.0, np.expm1", "np.where(z == 0, 0.0, np.expm1"))


# 2. The step is a knob.


@claim(
    statement=lambda: (
        rf"\Delta \to 0: \quad \bar A = {powers(zoh()[0], 1, one='I')} \to {at_zero(zoh()[0], one='I')}, "
        rf"\quad \bar B = ({powers(zoh()[1], 1)}) B \to {at_zero(zoh()[1])}"
    ),
    scope=ANY_MATRIX,
    engine="series",
    source=Source(MAMBA.paper, "sec. 3.5.2, Interpretation of Delta", MAMBA.title),
    code=(ssm.zoh,),
)
def small_step_ignores_the_token() -> Any:
    """A step that goes to zero leaves the state as it was: the token is ignored.

    The first terms are Abar = I + Delta A + ... and Bbar = Delta B + ..., entire in Delta and A.
    """
    decay, factor = zoh()
    first = {"decay": decay.expanded(D, 1), "input": factor.expanded(D, 1)}
    return {
        "limits": [decay.at(D, 0) - 1, factor.at(D, 0)],
        "first order": [first["decay"][1] - a, first["input"][1] - 1],
        "poles": decay.pole(D) + factor.pole(D) + decay.pole(a) + factor.pole(a),
    }


@small_step_ignores_the_token.refute
def input_without_the_step() -> Any:
    """Bbar = phi_1(Delta A) B: the step before it is left out, and the token is read in full."""
    wrong = planted(ssm.zoh, "delta * phi1(delta * A)", "phi1(delta * A)")
    return wrong(a, D, exp=series.exp, phi1=series.phi1)[1].expanded(D, 0)[0]


@small_step_ignores_the_token.refute
def decay_of_the_matrix_alone() -> Any:
    """Abar = exp(A): the decay does not depend on the step."""
    wrong = planted(ssm.zoh, "exp(delta * A)", "exp(A)")
    return wrong(a, D, exp=series.exp, phi1=series.phi1)[0].at(D, 0) - 1


def settled(A: Any) -> Any:
    """Return what Bbar / B goes to."""
    return -(A**-1)


def large_step(decay: Series, factor: Series) -> Any:
    """Say how far Bbar / B is from where it goes and from A^-1 Abar, which goes where Abar goes."""
    return factor - settled(a) - decay / a


def decay_modulus() -> Series:
    """Return the squared modulus of the decay, where Re a = -r."""
    return (zoh(a)[0] * zoh(c)[0]).at(c, -2 * r - a)  # c is the conjugate of a, and a + c = 2 Re a


def decay_bound(step: Any, rate: Any) -> Any:
    """Return the reciprocal of the bound of the squared modulus."""
    return 1 + 2 * rate * step


@claim(
    statement=lambda: (
        rf"\Delta \to \infty: \quad \bar A = {written_zoh()[0]} \to 0, \quad \bar B = {written_zoh()[1]} B = "
        rf"{settled(MATRIX)} B + {MATRIX**-1} \bar A B \to {settled(MATRIX)} B, \quad "
        rf"|{ssm.zoh(Written('a'), STEP, exp=exp, phi1=phi1)[0]}|^2 = {decay_modulus().tex()} \le "
        rf"\frac{{1}}{{{decay_bound(STEP, Written('r'))}}}"
    ),
    assumptions=(r"Every eigenvalue $a$ of the diagonalisable $A$ has $\operatorname{Re} a = -r < 0$.",),
    scope=Every("invertible A"),
    engine="series",
    source=Source(MAMBA.paper, "sec. 3.5.2, Interpretation of Delta", MAMBA.title),
    code=(ssm.zoh,),
    uses=("zoh_of_an_invertible_matrix",),
)
def large_step_replaces_the_state() -> Any:
    """A step that grows without bound replaces the state by what the input would settle to."""
    return large_step(*zoh())


@large_step_replaces_the_state.step(engine="series", scope=Every("complex a with Re a = -r < 0, every Delta > 0"))
def decay_vanishes() -> Any:
    """The squared modulus of the decay is e^(-2 r Delta), and (1 + 2 r Delta) e^(-2 r Delta) <= 1."""
    return {
        "modulus": decay_modulus() - series.exp(-2 * r * D),
        "bound": unproved(1 / decay_modulus() - decay_bound(D, r), D),
    }


@large_step_replaces_the_state.refute
def input_of_euler_grows() -> Any:
    """Bbar = Delta B has no limit: Mamba's code relies on the decay alone to forget."""
    return large_step(*ssm.mamba(a, D, exp=series.exp))


@large_step_replaces_the_state.refute
def limit_of_the_other_sign() -> Any:
    """The limit is said to be A^-1 B."""
    decay, factor = zoh()
    return factor - 1 / a - decay / a


@claim(
    statement=lambda: (
        rf"0 < \bar A = {zoh(-r)[0].tex()} < 1, \quad \frac{{d \bar A}}{{d \Delta}} = {zoh(-r)[0].diff(D).tex()} < 0, "
        rf"\quad 0 < \frac{{\bar B}}{{B}} = {zoh(-r)[1].tex()} < {(1 / r).tex()}, \quad "
        rf"\frac{{d}}{{d \Delta}} \frac{{\bar B}}{{B}} = {zoh(-r)[1].diff(D).tex()} > 0"
    ),
    assumptions=(r"$A = -r$ is real and negative, and $\Delta > 0$.",),
    scope=REAL_NEGATIVE,
    engine="series",
    source=Source(MAMBA.paper, "sec. 3.5.2, Interpretation of Delta", MAMBA.title),
    code=(ssm.zoh,),
)
def decay_falls_and_input_grows_with_the_step() -> Any:
    """A larger step forgets more and writes more, without a turning point, and neither leaves its interval."""
    decay, factor = zoh(-r)
    return _monotone(decay, factor)


def _monotone(decay: Series, factor: Series) -> dict[str, Any]:
    return {
        "0 < decay": unproved(decay, D),
        "decay < 1": unproved(1 - decay, D),
        "decay falls": unproved(-decay.diff(D), D),
        "0 < input": unproved(factor, D),
        "input < 1 / r": unproved(1 / r - factor, D),
        "input grows": unproved(factor.diff(D), D),
        "none is zero": [
            "constant" for x in (1 - decay, decay.diff(D), factor, 1 / r - factor, factor.diff(D)) if not x
        ],
    }


@decay_falls_and_input_grows_with_the_step.refute
def decay_of_euler() -> Any:
    """1 + Delta a in place of e^(Delta a): it leaves (0, 1)."""
    return unproved(ssm.euler(-r, D)[0], D)


@decay_falls_and_input_grows_with_the_step.refute
def input_of_euler_leaves_its_interval() -> Any:
    """Bbar = Delta B: it passes 1 / |a|."""
    return unproved(1 / r - ssm.mamba(-r, D, exp=series.exp)[1], D)


# 3. What is used in place of ZOH, and how far it is off.


BOUND = {2: Fraction(1, 2), 3: Fraction(1, 6)}  # phi_k(x) <= BOUND[k] e^x for x > 0


def left_out(order: int, A: Any, delta: Any, phi: Callable[[int, Any], Any]) -> Any:
    """Return what Bbar / B leaves out that ends before this order in Delta."""
    return delta**order * phi(order, delta * A) * A ** (order - 1)


def bounded(k: int, x: Written) -> Written:
    """Print the bound of phi_k."""
    return BOUND[k] * printed.exp(x)


def leading() -> Series:
    """Return the coefficient of Delta^2 in the difference between the inputs of zero-order hold and of Mamba's code."""
    return (zoh()[1] - ssm.mamba(a, D, exp=series.exp)[1]).expanded(D, 2)[2]


@claim(
    statement=lambda: (
        r"\bar B_{\text{ZOH}} - \bar B_{\text{Mamba}} = "
        rf"({written_zoh()[1] - ssm.mamba(MATRIX, STEP, exp=exp)[1]}) B "
        rf"= {left_out(2, MATRIX, STEP, printed.phi)} B = {leading().tex()} \Delta^2 B + R, \quad "
        rf"\|R\| = \|{left_out(3, MATRIX, STEP, printed.phi)} B\| \le {left_out(3, NORM, STEP, bounded)} \|B\|"
    ),
    assumptions=("The norm is submultiplicative.",),
    scope=ANY_MATRIX,
    engine="series",
    source=Source(MAMBA.paper, "eq. 4; selective_scan_ref in github.com/state-spaces/mamba", MAMBA.title),
    code=(ssm.zoh, ssm.mamba),
)
def mamba_input_is_zoh_to_first_order() -> Any:
    """Mamba's code uses Bbar = Delta B: zero-order hold without what is left from the second order on."""
    decay, factor = zoh()
    euler_decay, euler_factor = ssm.mamba(a, D, exp=series.exp)
    difference = factor - euler_factor
    return {
        "decay": decay - euler_decay,
        "difference": difference - left_out(2, a, D, phi),
        "leading": leading() - a / 2,
        "remainder": difference - leading() * D**2 - left_out(3, a, D, phi),
        "poles": phi(2, D * a).pole(a) + phi(3, D * a).pole(a),
    }


def remainder_bound(k: int, factor: Fraction) -> Any:
    """Show phi_k(x) <= factor e^x for x > 0; so ||phi_k(X)|| <= phi_k(||X||) <= factor e^||X||."""
    return unproved(D**k * (factor * series.exp(D) - phi(k, D)), D)


@mamba_input_is_zoh_to_first_order.step(engine="series", scope=ANY_MATRIX)
def bound_of_the_remainder() -> Any:
    """||phi_k(X)|| <= phi_k(||X||) <= e^||X|| / k! for k = 2 and 3: the coefficients 1 / (j + k)! are positive."""
    return [remainder_bound(k, factor) for k, factor in BOUND.items()]


@mamba_input_is_zoh_to_first_order.step(engine="series", scope=REAL_NEGATIVE)
def sharper_where_a_is_negative() -> Any:
    """For a = -r the code writes too much, by less than r Delta^2 / 2: no exponential is needed in the bound."""
    excess = ssm.mamba(-r, D, exp=series.exp)[1] - zoh(-r)[1]
    return [unproved(excess, D), unproved(r * D**2 / 2 - excess, D)]


@mamba_input_is_zoh_to_first_order.refute
def half_left_out() -> Any:
    """The leading term is said to be A B Delta^2."""
    return zoh()[1] - ssm.mamba(a, D, exp=series.exp)[1] - D**2 * a - D**3 * phi(3, D * a) * a**2


@mamba_input_is_zoh_to_first_order.refute
def no_difference() -> Any:
    """The code is said to be zero-order hold."""
    return zoh()[1] - ssm.mamba(a, D, exp=series.exp)[1]


@mamba_input_is_zoh_to_first_order.refute
def bound_too_small() -> Any:
    """phi_2(x) <= e^x / 4 is claimed."""
    return remainder_bound(2, Fraction(1, 4))


def order_of_error(method: Pair, order: int) -> dict[str, Any]:
    """Return the coefficients of an error in the step, up to an order, of the decay and of the input."""
    exact = zoh()
    return {
        name: [(mine - true).expanded(D, order)[n] for n in range(order + 1)]
        for name, mine, true in zip(("decay", "input"), method, exact, strict=True)
    }


def errors(method: Callable[..., Any], order: int) -> str:
    """Print a method, and its errors against zero-order hold up to an order in Delta."""
    made, exact = method(a, D), zoh()
    return ", \\quad ".join(
        rf"\bar {name} = {of_code}{times}, \quad \bar {name} - \bar {name}_{{\text{{ZOH}}}} = {wrapped}{times}"
        for name, of_code, times, wrapped in (
            ("A", method(MATRIX, STEP)[0], "", powers(made[0] - exact[0], order)),
            ("B", method(MATRIX, STEP)[1], " B", f"({powers(made[1] - exact[1], order)})"),
        )
    )


@claim(
    statement=lambda: errors(ssm.bilinear, 3),
    assumptions=(r"$\Delta \|A\| < 2$, where both series converge.",),
    scope=ANY_MATRIX,
    engine="series",
    source=Source("2111.00396", "eq. 3", "Efficiently Modeling Long Sequences with Structured State Spaces"),
    code=(ssm.bilinear, ssm.zoh),
)
def bilinear_rule_has_order_two() -> Any:
    """The bilinear rule errs at the third order of a step, so at the second over a fixed time."""
    errors = order_of_error(ssm.bilinear(a, D), 3)
    return {
        "below": [errors["decay"][:3], errors["input"][:3]],
        "leading": [errors["decay"][3] - a**3 / 12, errors["input"][3] - a**2 / 12],
    }


@bilinear_rule_has_order_two.refute
def euler_in_its_place() -> Any:
    """The Euler step has an error at the second order."""
    return order_of_error(ssm.euler(a, D), 2)


@bilinear_rule_has_order_two.refute
def input_at_full_weight() -> Any:
    """Bbar = Delta B beside the bilinear decay."""
    return order_of_error((ssm.bilinear(a, D)[0], D), 2)["input"]


def disk(decay: Any) -> Series:
    """Return 1 - |Abar|^2 for a decay given as a function of a; c is the conjugate of a."""
    return 1 - decay(a, D)[0] * decay(c, D)[0]


COMPLEX = {"a": "a", "c": r"\bar a"}


def room() -> Series:
    """Return what 1 - |Abar|^2 is of the bilinear rule: a positive multiple of -Re a, for a + c is twice that."""
    return -D * (a + c) / ((1 - D * a / 2) * (1 - D * c / 2))


@claim(
    statement=lambda: (
        rf"\bar A = {ssm.bilinear(a, D)[0].tex(**COMPLEX)}, \quad 1 - |\bar A|^2 = {room().tex(**COMPLEX)} = "
        r"\frac{-8 \Delta \operatorname{Re} a}{|2 - \Delta a|^2}, \quad "
        r"\text{so } |\bar A| < 1 \iff \operatorname{Re} a < 0"
    ),
    assumptions=(r"$\Delta > 0$ and $\Delta a \ne 2$.",),
    scope=Every("complex a, every Delta > 0"),
    engine="series",
    source=Source("2111.00396", "eq. 3", "Efficiently Modeling Long Sequences with Structured State Spaces"),
    code=(ssm.bilinear,),
)
def bilinear_rule_is_stable_exactly_where_the_equation_is() -> Any:
    """The bilinear decay lies inside the unit circle exactly where Re a < 0, whatever the step."""
    return disk(ssm.bilinear) - room()


@bilinear_rule_is_stable_exactly_where_the_equation_is.refute
def euler_is_not() -> Any:
    """The Euler step in its place."""
    return disk(ssm.euler) - room()


@bilinear_rule_is_stable_exactly_where_the_equation_is.refute
def half_step_on_one_side() -> Any:
    """The half is left out of the denominator: the decay of the implicit Euler step, times 1 + Delta a / 2."""
    wrong = planted(ssm.bilinear, "1 / (1 - delta * A / 2)", "1 / (1 - delta * A)")
    return disk(wrong) - room()


@claim(
    statement=lambda: errors(ssm.euler, 2),
    scope=ANY_MATRIX,
    engine="series",
    source=Source("the definition", "the explicit Euler step of h' = A h + B u"),
    code=(ssm.euler, ssm.zoh),
)
def euler_step_has_order_one() -> Any:
    """The Euler step errs at the second order of a step, so at the first over a fixed time."""
    errors = order_of_error(ssm.euler(a, D), 2)
    return {
        "below": [errors["decay"][:2], errors["input"][:2]],
        "leading": [errors["decay"][2] + a**2 / 2, errors["input"][2] + a / 2],
    }


@euler_step_has_order_one.step(engine="exact", scope=Counterexample("a = -1, Delta = 3"))
def it_can_leave_the_unit_circle() -> Any:
    """At a = -1 and Delta = 3 the Euler decay is -2, so a state that should vanish doubles at every step."""
    return ssm.euler(Fraction(-1), Fraction(3))[0] + 2


@euler_step_has_order_one.refute
def order_two_claimed() -> Any:
    """An error of third order is claimed."""
    return order_of_error(ssm.euler(a, D), 2)


@euler_step_has_order_one.refute
def decay_of_the_implicit_step() -> Any:
    """1 / (1 - Delta A), whose error has the other sign, with the explicit step's leading term."""
    errors = order_of_error((1 / (1 - D * a), D), 2)
    return errors["decay"][2] + a**2 / 2


# Mamba-3.


def mamba3_error(weight: Series, order: int) -> Series:
    """Return the error of one step at an order in Delta, for the input f_0 + f_1 s + f_2 s^2 / 2 from h_0 = 0."""
    _, before, now = ssm.exponential_trapezoidal(a, D, weight, exp=series.exp)
    made = before * f0 + now * (f0 + f1 * D + f2 * D**2 / 2)
    exact = D * phi(1, D * a) * f0 + D**2 * phi(2, D * a) * f1 + D**3 * phi(3, D * a) * f2
    return (made - exact).expanded(D, order)[order]


MAMBA3 = Source(
    "2603.15569",
    "Proposition 1 and Remarks 2 and 3, sec. 3.1",
    "Mamba-3: Improved Sequence Modeling using State Space Principles",
)


@claim(
    statement=lambda: (
        "h_t = {} h_{{t-1}} + {} f(0) + {} f(\\Delta): \\quad ".format(
            *ssm.exponential_trapezoidal(MATRIX, STEP, WEIGHT, exp=exp)
        )
        + rf"\text{{error}} = {mamba3_error(lam, 2).tex()}\, \Delta^2 + O(\Delta^3)"
    ),
    assumptions=(
        "$f = B u$ is three times continuously differentiable over the step.",
        r"$\lambda$ is a smooth function of $\Delta$; so the error is of third order for every $A$ and $f$ exactly "
        r"when $\lambda = \tfrac{1}{2} + O(\Delta)$.",
    ),
    scope=ANY_MATRIX,
    engine="series",
    source=MAMBA3,
    code=(ssm.exponential_trapezoidal, ssm.mamba),
)
def exponential_trapezoidal_rule_has_local_order_three_exactly_at_one_half() -> Any:
    """Mamba-3's rule errs at the third order of a step exactly when lambda = 1/2 + O(Delta), else at the second."""
    return {
        "orders 0 and 1": [mamba3_error(lam, 0), mamba3_error(lam, 1)],
        "order 2": mamba3_error(lam, 2) - (lam - Fraction(1, 2)) * (f1 - a * f0),
        "lambda = 1/2 + lam Delta": [mamba3_error(Fraction(1, 2) + lam * D, n) for n in range(3)],
    }


@exponential_trapezoidal_rule_has_local_order_three_exactly_at_one_half.step(engine="series", scope=ANY_MATRIX)
def exact_response_to_a_polynomial() -> Any:
    """The exact response to the input s^m / m! is Delta^(m+1) phi_(m+1)(Delta A): it solves y' = A y + s^m / m!."""
    out = []
    for m, factorial in enumerate((1, 1, 2)):
        y = D ** (m + 1) * phi(m + 1, D * a)
        out += [y.diff(D) - a * y - D**m / factorial, y.at(D, 0), y.pole(a)]
    return out


@exponential_trapezoidal_rule_has_local_order_three_exactly_at_one_half.step(engine="series", scope=ANY_MATRIX)
def third_order_is_reached() -> Any:
    """At lambda = 1/2 + lam Delta the coefficient of Delta^3 is this one, and not zero for every A and f."""
    wanted = lam * (f1 - a * f0) + (a**2 * f0 - 2 * a * f1 + f2) / 12
    return mamba3_error(Fraction(1, 2) + lam * D, 3) - wanted


@exponential_trapezoidal_rule_has_local_order_three_exactly_at_one_half.step(engine="series", scope=ANY_MATRIX)
def euler_at_lambda_one() -> Any:
    """At lambda = 1 it is the rule of Mamba's code: the decay of zero-order hold and the input of Euler."""
    decay, before, now = ssm.exponential_trapezoidal(a, D, VARIABLES.number(1), exp=series.exp)
    mamba_decay, mamba_factor = ssm.mamba(a, D, exp=series.exp)
    return [decay - mamba_decay, before, now - mamba_factor]


@exponential_trapezoidal_rule_has_local_order_three_exactly_at_one_half.refute
def third_order_at_every_lambda() -> Any:
    """The weight is said not to matter."""
    return mamba3_error(lam, 2)


@exponential_trapezoidal_rule_has_local_order_three_exactly_at_one_half.refute
def earlier_end_not_decayed() -> Any:
    """The input at the start of the step is not decayed over it: the trapezoidal rule without the exponential."""
    wrong = planted(ssm.exponential_trapezoidal, "(1 - lam) * delta * decay", "(1 - lam) * delta")
    _, before, now = wrong(a, D, VARIABLES.number(Fraction(1, 2)), exp=series.exp)
    exact = D * phi(1, D * a) * f0 + D**2 * phi(2, D * a) * f1
    return (before * f0 + now * (f0 + f1 * D) - exact).expanded(D, 2)[2]


# 4. Gates.


def of_softplus(x: Series) -> Series:
    """Put log(1 + e^z) for Delta, with w standing for e^z: an exponential e^(n Delta) becomes (1 + w)^n."""
    out = VARIABLES.number(0)
    for exponent, factor in x.terms.items():
        n = exponent.coeff(VARIABLES.ring.gens[VARIABLES.names.index("D")])
        if exponent != n * VARIABLES.ring.gens[VARIABLES.names.index("D")] or n.denominator != 1:
            raise ArithmeticError(f"expected exponentials of multiples of Delta, got {x}")
        out = out + VARIABLES.term(factor, VARIABLES.ring.zero) * (1 + w) ** int(n)
    return out


def gated_step(method: Discretisation, A: int = -1) -> Series:
    """Run one token of a state space model of one channel and one state, by the code, from the state r."""
    one = VARIABLES.number(1)
    x = ssm.tokens(
        np.array([[u]], dtype=object),
        np.array([[D]], dtype=object),
        np.array([[A * one]], dtype=object),
        np.array([[one]], dtype=object),
        np.array([[one]], dtype=object),
        method=method,
        phi1=series.phi1,
    )
    S, _ = reference.recurrent(np.array([[r]], dtype=object), x, exp=series.exp)
    return of_softplus(S[0, 0])


SIGMA = w / (1 + w)


def gate(sigma: Any, h: Any, x: Any) -> Any:
    """Return the step of a gated recurrent network."""
    return (1 - sigma) * h + sigma * x


@claim(
    statement=lambda: (
        r"A = -1, \; B = 1, \; \Delta = \operatorname{softplus}(z): \quad "
        rf"h_t = {gated_step(Discretisation.ZOH).tex(w='e^z', r='h_{t-1}', u='x_t')} = "
        + str(gate(*letters(Kind.SCALAR, r"\sigma(z)", "h_{t-1}", "x_t")))
    ),
    assumptions=(r"$\operatorname{softplus}(z) = \log(1 + e^z)$ and $\sigma(z) = e^z / (1 + e^z)$, with $z$ real.",),
    scope=Every("real z, at N = 1"),
    engine="series",
    source=Source(MAMBA.paper, "Theorem 1, eq. 5, sec. 3.5.1; proof in appendix C", MAMBA.title),
    code=(ssm.zoh, ssm.tokens, reference.recurrent),
)
def zoh_with_softplus_is_a_gate() -> Any:
    """One state with a softplus step, discretised by zero-order hold, is the gate of a gated recurrent network."""
    return gated_step(Discretisation.ZOH) - gate(SIGMA, r, u)


@zoh_with_softplus_is_a_gate.refute
def input_of_mambas_code() -> Any:
    """With Bbar = Delta B, as Mamba's code has it, the theorem is false: the input comes in with weight softplus(z)."""
    return gated_step(Discretisation.MAMBA) - gate(SIGMA, r, u)


@zoh_with_softplus_is_a_gate.refute
def another_rate() -> Any:
    """A = -2."""
    return gated_step(Discretisation.ZOH, A=-2) - gate(SIGMA, r, u)


SOFTPLUS = {"r": r"e^{A_{\log}}", "D": r"\operatorname{softplus}(x)"}


@claim(
    statement=lambda: (
        rf"g = {(-r * D).tex(**SOFTPLUS)} \;\Rightarrow\; 0 < e^g < 1, \quad "
        rf"\frac{{d e^g}}{{d s}} = {series.exp(-r * D).diff(D).tex(r='r', D='s')} < 0"
    ),
    assumptions=(
        r"$x$ and $A_{\log}$ are real; $s = \operatorname{softplus}(x)$ is the number with $e^s = 1 + e^x$.",
        r"$r$ stands for $e^{A_{\log}} > 0$; in the residuals below $\Delta$ stands for $s$.",
    ),
    scope=Every("real x and A_log"),
    engine="series",
    source=Source(
        "2412.06464",
        "sec. 3.4, footnote 4, which refers to Mamba-2's parameterisation; formula as in flash-linear-attention",
        "Gated Delta Networks: Improving Mamba2 with Delta Rule",
    ),
)
def softplus_log_decay_stays_between_zero_and_one() -> Any:
    """The usual gate, g = -exp(A_log) softplus(x), makes a decay strictly between 0 and 1.

    e^s - 1 = e^x > 0, and e^s - 1 has the sign of s, so s > 0; and e^(-r s) falls from 1 as s grows from 0.
    """
    return decay_between_zero_and_one(-r * D)


def decay_between_zero_and_one(g: Series) -> dict[str, Any]:
    """Show that softplus is positive, and that the decay of a log decay g that is a multiple of it lies in (0, 1)."""
    decay = series.exp(g)
    return {
        "e^s - 1 is e^x": of_softplus(series.exp(D) - 1) - w,
        "e^s - 1 grows with s, from 0": [(series.exp(D) - 1).at(D, 0), unproved((series.exp(D) - 1).diff(D), D)],
        "0 < e^g": unproved(decay, D),
        "e^g < 1": unproved(1 - decay, D),
        "e^g is not constant": [] if decay.diff(D) else ["constant"],
    }


@softplus_log_decay_stays_between_zero_and_one.refute
def sign_left_out() -> Any:
    """g = exp(A_log) softplus(x): the memory grows."""
    return decay_between_zero_and_one(r * D)


@softplus_log_decay_stays_between_zero_and_one.refute
def no_softplus() -> Any:
    """g = -exp(A_log) x with x of either sign, here x = -s: the memory grows for negative x."""
    return unproved(1 - series.exp(-r * D).at(D, -D), D)
