"""The exact step of the gated equation, and what Gated DeltaNet's decay, then edit, leaves out of it."""

from __future__ import annotations

from typing import Any

from derivations.engines import series
from derivations.engines.algebra import Algebra
from derivations.engines.arrays import Array, token
from derivations.engines.arrays import exp as words_exp
from derivations.engines.series import Series, Variables
from derivations.engines.signs import unproved
from derivations.engines.trees import Expr
from derivations.models.one_equation import FREE, TEX, Flow
from derivations.mutants.by_hand import planted
from derivations.papers import ours
from derivations.registry import claim
from derivations.scope import Every, EverySize
from gdn_core import integrators, reference

s, beta, kappa, g, y = Variables("s beta kappa g y", TEX).all()


def exact(code: Any = integrators.exact) -> tuple[Series, Series]:
    """Return erase and write gate of the code after a part s of the step."""
    return code(s * beta, kappa, s * g, phi1=series.phi1)


def _statement() -> str:
    b, w = (gate.at(s, 1).tex() for gate in exact())
    return (
        r"\frac{dS}{ds} = g S + \beta (v - S k) k^\top, \; s \in [0, 1]: \quad "
        rf"S' = e^{{g}} S (I - \theta k k^\top) + w v k^\top, \quad \theta = {b}, \quad w = {w}, \quad \kappa = \|k\|^2"
    )


@claim(
    statement=_statement,
    assumptions=(
        r"Key, value, $\beta$ and log decay $g$ are held over the step. The equation is linear: it has one solution.",
        r"At $\kappa = 0$ and at $g = \beta \kappa$ the gates are their limits, which $\varphi_1$ has there.",
    ),
    scope=EverySize("dk", "dv"),
    engine="words",
    source=ours("as EFLA, arXiv 2512.12602, has it without the decay"),
    code=(reference.step, integrators.exact),
    uses=("delta_rules_are_steps_along_one_equation",),
)
def exact_gated_step_solves_the_gated_equation() -> Any:
    """With a decay of the whole memory the solution is a gated delta rule too, whose write gate differs from its erase.

    The code's step follows the equation if its decay grows at the rate g, its erase gate at beta (1 - kappa theta) and
    its write gate at beta + (g - beta kappa) w.
    """
    return Flow(gated=True).residual()


def gates(theta: Series, w: Series) -> dict[str, Any]:
    """Return the residuals of the gates as functions of s, without decay, and at a key of zeros."""
    return {
        "erase, differentiated": theta.diff(s) - beta * (1 - kappa * theta),
        "write, differentiated": w.diff(s) - (beta + (g - beta * kappa) * w),
        "at s = 0": [theta.at(s, 0), w.at(s, 0)],
        "without decay": w.at(g, 0) - theta,
        "a key of zeros": w.expanded(kappa, 0)[0] - s * beta * series.phi1(s * g),
    }


@exact_gated_step_solves_the_gated_equation.step(engine="series", scope=FREE)
def the_gates_of_the_code() -> Any:
    """The code's gates grow at these rates from 0; without decay they are one; at k = 0 the write is Mamba's hold."""
    return gates(*exact())


@exact_gated_step_solves_the_gated_equation.refute
def one_gate_for_both() -> Any:
    """The memory is said to write with the gate with which it erases."""
    theta, _ = exact()
    return gates(theta, theta)


@exact_gated_step_solves_the_gated_equation.refute
def decay_added_to_the_rate_with_the_wrong_sign() -> Any:
    """The write gate is said to hold z + g, in the code."""
    return gates(*exact(planted(integrators.exact, "-(z - g)", "-(z + g)")))


@exact_gated_step_solves_the_gated_equation.refute
def write_that_does_not_decay() -> Any:
    """What is written is said not to decay within the step."""
    words = Flow(gated=True)
    return words.residual(write=words.rate["erase"])


@exact_gated_step_solves_the_gated_equation.refute
def erase_that_knows_the_decay() -> Any:
    """The erase gate is said to decay as well."""
    words = Flow(gated=True)
    return words.residual(erase=words.rate["erase"] + words.g * words.theta)


def split(erase: Series, write: Series, *, order: int) -> dict[str, Any]:
    """Return what gates differ by from the exact ones, up to an order in s."""
    theta, w = exact()
    return {
        f"{name}, order {n}": found
        for name, difference in (("erase", theta - erase), ("write", w - write))
        for n, found in difference.expanded(s, order).items()
    }


def second_order() -> dict[str, Series]:
    """Return the coefficients of s^2 by which the exact gates exceed those of the splits, by name."""
    theta, w = exact()
    return {
        "decay, then EFLA": (w - theta).expanded(s, 2)[2],
        "Gated DeltaNet, erase": (theta - s * beta).expanded(s, 2)[2],
        "Gated DeltaNet, write": (w - s * beta).expanded(s, 2)[2],
    }


def _split() -> str:
    found = second_order()
    return (
        r"\theta_{\text{exact}} = \theta_{\text{EFLA}}, \quad "
        rf"w_{{\text{{exact}}}} - \theta_{{\text{{EFLA}}}} = {found['decay, then EFLA'].tex()} + O(3), \quad "
        rf"\theta_{{\text{{exact}}}} - \beta = {found['Gated DeltaNet, erase'].tex()} + O(3), \quad "
        rf"w_{{\text{{exact}}}} - \beta = {found['Gated DeltaNet, write'].tex()} + O(3)"
    )


@claim(
    statement=_split,
    assumptions=(r"$O(3)$ is of third order in a step that scales $\beta$ and $g$; the error is that of one step.",),
    scope=FREE,
    engine="series",
    source=ours("splitting by Lie and Trotter"),
    code=(integrators.exact, integrators.explicit),
    uses=("exact_gated_step_solves_the_gated_equation",),
)
def decay_then_edit_erases_exactly_and_writes_to_first_order() -> Any:
    """To decay first and then to edit exactly, as Gated DeltaNet's order has it, splits the erase without an error.

    The erase gate does not know the decay. The write is right to first order only, since what is written does not decay
    within its own step: of second order it misses beta g / 2. Gated DeltaNet's own gates, beta, miss more.
    """
    theta, _ = exact()
    found = second_order()
    return {
        "the erase splits": theta.diff(g),
        "the write to first order": list(split(theta, theta, order=1).values()),
        "Gated DeltaNet to first order": list(split(*2 * (s * integrators.explicit(beta, kappa),), order=1).values()),
        "coefficients": [
            found["decay, then EFLA"] - beta * g / 2,
            found["Gated DeltaNet, erase"] + beta**2 * kappa / 2,
            found["Gated DeltaNet, write"] - beta * (g - beta * kappa) / 2,
        ],
    }


@decay_then_edit_erases_exactly_and_writes_to_first_order.step(engine="series", scope=Every("z >= 0 and g < 0"))
def the_exact_write_is_smaller() -> Any:
    """A decay makes the exact write gate smaller: (1 - e^-y) / y falls, since e^y > 1 + y, and y = z - g grows."""
    return falls(series.phi1(-y))


def falls(gate: Series) -> Any:
    """Return what is not proved of a function of y falling where y > 0."""
    return unproved(-gate.diff(y) * y**2 * series.exp(y), y)


@decay_then_edit_erases_exactly_and_writes_to_first_order.refute
def write_split_exactly_too() -> Any:
    """The write is said to split exactly, to second order."""
    theta, _ = exact()
    return list(split(theta, theta, order=2).values())


@decay_then_edit_erases_exactly_and_writes_to_first_order.refute
def half_left_out() -> Any:
    """The write is said to miss beta g."""
    return second_order()["decay, then EFLA"] - beta * g


@decay_then_edit_erases_exactly_and_writes_to_first_order.refute
def the_exact_write_is_larger() -> Any:
    """(1 - e^-y) / y is said to grow."""
    return falls(-series.phi1(-y))


class Channels:
    """Decay by channel and erase over a step of length 2 h, in words to second order in h.

    G is the diagonal of the log decays of the key channels, and P = -beta k k' the rate of the erase; h is half the
    step, so that no coefficient is a fraction.
    """

    def __init__(self, *, scalar: bool = False) -> None:
        a = self.algebra = Algebra("h beta kappa g")
        self.h, self.beta, self.kappa, g = a.all_scalars()
        self.one, self.k = a.identity("K"), a.vector("k", "K")
        a.rule(self.k.T @ self.k, self.kappa)
        self.G = g * self.one if scalar else a.diagonal("G", "K")
        self.P = -(self.beta * (self.k @ self.k.T))

    def exponential(self, rate: Expr) -> Expr:
        """Return e^(2 h rate) to second order."""
        return self.one + 2 * self.h * rate + 2 * self.h**2 * (rate @ rate)

    def step(self, S: Expr, v: Expr) -> Expr:
        """Return the code's memory after the decay, and then the edit with the exact gate, both to second order."""
        theta = 2 * self.h * self.beta - 2 * self.h**2 * (self.beta**2 * self.kappa)
        x = token(q=self.k, k=self.k, v=v, decay=self.exponential(self.G), erase=theta, write=theta)
        return reference.step(Array(S, 2), x, exp=words_exp)[0].word

    def split(self) -> Expr:
        """Return the code's transition."""
        return self.step(self.one, self.algebra.zero("K", "1"))

    def write(self, *, missed: int = 1) -> list[Any]:
        """Compare what the code writes with what the equation does: beta v k' times the integral of e^(s (G + P)).

        The difference has none of orders 0 and 1, and of second order -2 h^2 beta v k' G, so many times.
        """
        v = self.algebra.vector("v", "V")
        edit = self.beta * (v @ self.k.T)
        exact = 2 * self.h * edit + 2 * self.h**2 * (edit @ (self.G + self.P))
        error = (self.step(self.algebra.zero("V", "K"), v) - exact).normal()
        claimed = -missed * 2 * self.h**2 * (edit @ self.G)
        return [error.part("h", 0), error.part("h", 1), error.part("h", 2) - claimed.normal().part("h", 2)]

    @property
    def commutator(self) -> Expr:
        """The commutator of decay and erase."""
        return self.G @ self.P - self.P @ self.G

    def error(self, n: int) -> Any:
        """Return the part of the code's transition less the exact one that has this order in h."""
        return (self.split() - self.exponential(self.G + self.P)).normal().part("h", n)

    def residual(self, *, second: Expr | None = None) -> list[Any]:
        """Compare the error with none of orders 0 and 1, and 2 h^2 times the commutator."""
        claimed = 2 * self.h**2 * (self.commutator if second is None else second)
        return [self.error(0), self.error(1), self.error(2) - claimed.normal().part("h", 2)]


@claim(
    statement=lambda: (
        r"e^{\Delta G} e^{\Delta P} - e^{\Delta (G + P)} = \frac{\Delta^2}{2} (G P - P G) + O(\Delta^3), \quad "
        rf"P = {Channels().P.tex()}, \quad G P - P G = {Channels().commutator.normal().tex()}"
    ),
    assumptions=(
        r"The equation is $S' = S (G + P) + \beta v k^\top$ over a step $\Delta$. "
        r"$G$ is the diagonal of the log decays. Both exponentials are power series in $\Delta$, cut off after second "
        r"order; $e^{\Delta P} = I - \theta k k^\top$ with EFLA's gate.",
    ),
    scope=EverySize("dk"),
    engine="words",
    source=ours("splitting by Lie and Trotter"),
    code=(reference.step,),
    uses=("exact_delta_rule_is_zero_order_hold", "decay_then_edit_erases_exactly_and_writes_to_first_order"),
)
def decay_by_channel_splits_to_second_order_locally() -> Any:
    """With a decay for each key channel the decay and the erase no longer commute, and one step errs at second order.

    So Kimi Delta Attention's transition, with exact gates, is not the solution of one equation, unless G k is along k.
    """
    return Channels().residual()


@decay_by_channel_splits_to_second_order_locally.step(engine="words", scope=EverySize("dk"))
def no_error_with_one_decay() -> Any:
    """With one decay for all channels the commutator is zero, and so is the error up to second order."""
    words = Channels(scalar=True)
    return [words.commutator.normal(), *(words.error(n) for n in range(3))]


@decay_by_channel_splits_to_second_order_locally.step(engine="words", scope=EverySize("dk", "dv"))
def the_write_misses_its_own_decay() -> Any:
    """What is written is not decayed within its own step: at second order it misses half of beta v k' G.

    It errs at second order with one decay for all channels too.
    """
    return [*Channels().write(), *Channels(scalar=True).write()]


@decay_by_channel_splits_to_second_order_locally.refute
def write_without_an_error() -> Any:
    """The write is said to be exact to second order."""
    return Channels().write(missed=0)


@decay_by_channel_splits_to_second_order_locally.refute
def split_without_an_error() -> Any:
    """The split is said to be exact to second order."""
    words = Channels()
    return words.error(2)


@decay_by_channel_splits_to_second_order_locally.refute
def the_other_order() -> Any:
    """The error is said to be that of the erase first."""
    words = Channels()
    return words.residual(second=-words.commutator)
