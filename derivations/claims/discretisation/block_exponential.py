"""One exponential of a block matrix gives both matrices of zero-order hold."""

from __future__ import annotations

from typing import Any

from derivations.engines.algebra import Algebra
from derivations.engines.trees import Block
from derivations.models.discretisation import D, zoh
from derivations.papers import cite
from derivations.registry import claim
from derivations.scope import EverySize


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
    source=cite("2505.18187", "abstract and sec. 1"),
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
    """The lower right block is 0 in place of I, so the input is not held."""
    v = VanLoan()
    return v.residual(v.exponential(corner=v.algebra.zero("P", "P")))


@block_exponential_holds_both_matrices_of_zoh.refute
def power_with_a_factor_too_many() -> Any:
    """The power j has A^j B on top, one factor too many."""
    return VanLoan().power(top=lambda v, P: P @ v.B)
