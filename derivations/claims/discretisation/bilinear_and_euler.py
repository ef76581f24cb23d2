"""The bilinear rule and the Euler step: their order, and where they are stable."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

from derivations.engines.series import Series
from derivations.models.discretisation import ANY_MATRIX, MATRIX, STEP, D, Pair, a, c, powers, zoh
from derivations.mutants.by_hand import planted
from derivations.papers import cite
from derivations.registry import claim
from derivations.scope import Counterexample, Every
from gdn_core import ssm
from gdn_core.rules import Source


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
    source=cite("2111.00396", "eq. 3"),
    code=(ssm.bilinear, ssm.zoh),
)
def bilinear_rule_has_local_error_of_order_three() -> Any:
    """One bilinear step from the exact state errs by the third power of the step: its local error has order three."""
    errors = order_of_error(ssm.bilinear(a, D), 3)
    return {
        "below": [errors["decay"][:3], errors["input"][:3]],
        "leading": [errors["decay"][3] - a**3 / 12, errors["input"][3] - a**2 / 12],
    }


@bilinear_rule_has_local_error_of_order_three.refute
def euler_in_its_place() -> Any:
    """The Euler step has an error at the second order."""
    return order_of_error(ssm.euler(a, D), 2)


@bilinear_rule_has_local_error_of_order_three.refute
def input_at_full_weight() -> Any:
    """Bbar = Delta B beside the bilinear decay."""
    return order_of_error((ssm.bilinear(a, D)[0], D), 2)["input"]


def disk(decay: Any) -> Series:
    """Return 1 - |Abar|^2 for a decay given as a function of a; c is the conjugate of a."""
    return 1 - decay(a, D)[0] * decay(c, D)[0]


COMPLEX = {"a": "a", "c": r"\bar a"}


def room() -> Series:
    """Return 1 - |Abar|^2 of the bilinear rule: a positive multiple of -Re a, since a + c = 2 Re a."""
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
    source=cite("2111.00396", "eq. 3"),
    code=(ssm.bilinear,),
)
def bilinear_rule_is_stable_exactly_where_the_equation_is() -> Any:
    """The bilinear decay lies inside the unit circle if and only if Re a < 0, for every step."""
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
def euler_step_has_local_error_of_order_two() -> Any:
    """One Euler step from the exact state errs by the second power of the step: its local error has order two."""
    errors = order_of_error(ssm.euler(a, D), 2)
    return {
        "below": [errors["decay"][:2], errors["input"][:2]],
        "leading": [errors["decay"][2] + a**2 / 2, errors["input"][2] + a / 2],
    }


@euler_step_has_local_error_of_order_two.step(engine="exact", scope=Counterexample("a = -1, Delta = 3"))
def it_can_leave_the_unit_circle() -> Any:
    """At a = -1 and Delta = 3 the Euler decay is -2, so a state that should decay doubles at every step."""
    return ssm.euler(Fraction(-1), Fraction(3))[0] + 2


@euler_step_has_local_error_of_order_two.refute
def order_two_claimed() -> Any:
    """An error of third order is claimed."""
    return order_of_error(ssm.euler(a, D), 2)


@euler_step_has_local_error_of_order_two.refute
def decay_of_the_implicit_step() -> Any:
    """1 / (1 - Delta A), whose error has the other sign, with the explicit step's leading term."""
    errors = order_of_error((1 / (1 - D * a), D), 2)
    return errors["decay"][2] + a**2 / 2
