"""The error read from the memory before it has decayed."""

from __future__ import annotations

from typing import Any

from derivations.engines.cases import Case
from derivations.models.errata import ONE_TOKEN, Erratum, against, entries, erratum, in_letters, in_numbers
from derivations.models.objectives import Objective
from derivations.mutants.by_hand import planted
from derivations.scope import Sizes
from gdn_core import reference
from gdn_core.rules import Source

ENTRY = Erratum(
    title="The error is read from the memory before it has decayed.",
    printed=r"S_t = \alpha_t S_{t-1} + \beta_t (v_t - S_{t-1} k_t) k_t^\top",
    seen=(Source("hexdocs.pm/edifice", "Edifice.Recurrent.GatedDeltaNet, the module's documentation"),),
    numbers=ONE_TOKEN,
    gives="5/2",
    should_give="3",
    compared="the memory after the token",
    proved_by=("delta_rule_is_a_gradient_step", "gated_chunk_equals_recurrence"),
    note="With a unit key and beta = 1 the new value must be answered: the printed form answers a mixture.",
)
BEFORE = (
    "S = exp(x.g) * S\n    u = x.w * x.v - S @ (x.b * x.k)",
    "u = x.w * x.v - S @ (x.b * x.k)\n    S = exp(x.g) * S",
)


def orders(case: Case) -> tuple[Any, Any]:
    """Return the memory after a token by the printed form, and by the code."""
    wrong, _ = planted(reference.step, *BEFORE)(case.S, case.x[0], exp=case.exp)
    right, _ = reference.step(case.S, case.x[0], exp=case.exp)
    return wrong[0, 0], right[0, 0]


def orders_in_numbers() -> tuple[Any, Any]:
    """Compute the memory after a token in both forms."""
    return orders(in_numbers(ENTRY))


def order_difference() -> Any:
    """Return the difference of the two memories, in letters."""
    wrong, right = orders(in_letters(1))
    return right - wrong


def order_residual(*, factor: int = 1) -> Any:
    """Compare the difference of the two memories with its value in letters, b k^2 s (1 - a)."""
    y = entries(in_letters(1))
    a, b, k, s = (y[name][0] for name in "abks")
    return order_difference() - factor * b * k**2 * s * (1 - a)


def written_step() -> str:
    """Print the code's step."""
    words = Objective()
    return rf"S_t = {words.step(words.alpha, words.beta, words.beta).normal().tex()}"


@erratum(ENTRY, orders_in_numbers, written_step, order_difference, code=(reference.step,))
def error_is_read_after_the_decay() -> Any:
    """The error is read from the decayed memory: otherwise a unit key with beta = 1 does not answer its new value."""
    case = in_numbers(ENTRY)
    _, o = reference.step(case.S, case.x[0], exp=case.exp)
    return [*against(ENTRY, orders_in_numbers), o[0] - case.x.v[0, 0]]


@error_is_read_after_the_decay.step(engine="ring", scope=Sizes(C=1, dk=1, dv=1))
def residual_of_the_order() -> Any:
    """In letters the right memory less the printed one is b k^2 s (1 - a), which is 0 without a decay."""
    return order_residual()


@error_is_read_after_the_decay.refute
def order_does_not_matter() -> Any:
    """The order is said not to matter."""
    return order_residual(factor=0)


@error_is_read_after_the_decay.refute
def difference_of_the_other_sign() -> Any:
    """The difference is said to have the other sign."""
    return order_residual(factor=-1)
