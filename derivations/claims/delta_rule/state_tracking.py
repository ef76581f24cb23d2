"""What a transition can do to a state that is tracked: reflections that permute, and no sign below beta kappa = 1."""

from __future__ import annotations

from typing import Any

from derivations.engines.algebra import Algebra, equation
from derivations.engines.series import Series, Variables
from derivations.engines.signs import unproved
from derivations.engines.trees import Expr
from derivations.models.delta_rule import Delta, code_acts_as
from derivations.papers import cite
from derivations.registry import claim
from derivations.scope import Every, EverySize
from gdn_core import reference


class Places:
    """Three orthonormal vectors e_1, e_2, e_3, a vector x orthogonal to them, and the transitions of their differences.

    Args:
        gate: the gate beta of both transitions; the keys have squared length 2.
    """

    def __init__(self, gate: int = 1) -> None:
        a = self.algebra = Algebra("")
        self.places = [a.vector(f"e_{i}", "K") for i in (1, 2, 3)]
        self.x = a.vector("x", "K")
        for i, e in enumerate(self.places):
            a.rule(e.T @ self.x, a.number(0))
            for j, f in enumerate(self.places[: i + 1]):
                a.rule(e.T @ f, a.number(int(i == j)))
        self.gate = a.number(gate)

    def swap(self, i: int, j: int) -> Expr:
        """Return the code's transition of the key e_i - e_j."""
        return code_acts_as(self.places[i] - self.places[j], self.gate)

    def moves(self, map_: Expr, to: tuple[int, int, int]) -> list[Any]:
        """Return the residuals of a map that takes e_i to e_to[i] and leaves x where it is."""
        moved = [(map_ @ e - self.places[i]).normal() for e, i in zip(self.places, to, strict=True)]
        return [*moved, (map_ @ self.x - self.x).normal()]

    def rotation(self) -> Expr:
        """Return the product of two swaps, the first of places 2 and 3."""
        return self.swap(0, 1) @ self.swap(1, 2)


def squared(*, product: int = 2) -> Any:
    """Return P P - I for the code's transition at this value of beta kappa."""
    words = Delta("beta kappa")
    words.algebra.relation(words.beta * words.kappa, product)
    P = words.transition
    return (P @ P - words.algebra.identity("K")).normal()


def _statement() -> str:
    words = Places()
    P_12, P_23 = (words.algebra.matrix(f"P_{name}", "K", "K", tex=f"P_{{{name}}}") for name in ("12", "23"))
    e_1, e_2, e_3 = words.places
    turn = P_12 @ P_23
    I = words.algebra.identity("K")  # noqa: E741 - its name
    return (
        rf"\beta \|k\|^2 = 2 \Rightarrow P^2 = {I.tex()}; \quad P_{{12}} = {words.swap(0, 1).normal().tex()}: \; "
        rf"{equation(P_12 @ e_1, e_2)}, \; {equation(P_12 @ e_3, e_3)}, \quad "
        rf"{equation(turn @ e_1, e_2)}, \; {equation(turn @ e_2, e_3)}, \; {equation(turn @ e_3, e_1)}"
    )


@claim(
    statement=_statement,
    assumptions=(
        r"$e_1, e_2, e_3$ are orthonormal; the keys are their differences, with $\beta = 1$.",
        "What a network of such layers can track follows in the source, and is not claimed here.",
    ),
    scope=EverySize("dk"),
    engine="words",
    source=cite("2411.12537", "abstract; the vectors here are ours"),
    code=(reference.step,),
    uses=("delta_transition_is_a_projection_at_one_and_a_reflection_at_two",),
)
def reflections_undo_themselves_and_two_of_them_permute() -> Any:
    """At beta kappa = 2 a transition undoes itself: it swaps two vectors, and two such swaps turn three in a circle.

    So the memory counts modulo 2 with one key, and modulo 3 with two transitions a token.
    """
    words = Places()
    turn = words.rotation()
    return {
        "squared": squared(),
        "swap": words.moves(words.swap(0, 1), (1, 0, 2)),
        "two swaps": words.moves(turn, (1, 2, 0)),
        "three times": (turn @ turn @ turn - words.algebra.identity("K")).normal(),
    }


@reflections_undo_themselves_and_two_of_them_permute.refute
def projection_undone_by_itself() -> Any:
    """The square is said to be the identity at beta kappa = 1, where it is the projection again."""
    return squared(product=1)


@reflections_undo_themselves_and_two_of_them_permute.refute
def swaps_in_the_other_order() -> Any:
    """The two swaps are said to commute."""
    words = Places()
    return words.moves(words.swap(1, 2) @ words.swap(0, 1), (1, 2, 0))


@reflections_undo_themselves_and_two_of_them_permute.refute
def gate_of_two() -> Any:
    """The keys of squared length 2 are said to swap with beta = 2."""
    words = Places(gate=2)
    return words.moves(words.swap(0, 1), (1, 0, 2))


def form(words: Delta) -> tuple[Expr, Expr, Expr]:
    """Return kappa q'P q by the code's transition, and the two parts of it that have a sign."""
    q, k = words.q, words.k
    along = (k.T @ q) ** 2
    return words.kappa * (q.T @ words.transition @ q), words.kappa * (q.T @ q) - along, along


def sign_residual(*, share: int = 1) -> Any:
    """Compare kappa q'P q with what Cauchy and Schwarz give and (1 - beta kappa) (k'q)^2."""
    words = Delta("beta kappa")
    whole, across, along = form(words)
    return (whole - across - (share - words.beta * words.kappa) * along).normal()


def _signs() -> str:
    words = Delta("beta kappa")
    whole, across, along = form(words)
    return (
        rf"P = {words.transition.normal().tex()}: \; {whole.normal().tex()} = ({across.tex()}) + "
        rf"({eigenvalue(VALUE).tex()}) {along.tex()} \ge 0 \text{{ for every }} q \iff \beta \kappa \le 1"
    )


VALUE, s = Variables("c s", {"c": r"\beta \kappa"}).all()


def eigenvalue(c: Series) -> Series:
    """Return the eigenvalue along the key at beta kappa = c."""
    return 1 - c


@claim(
    statement=_signs,
    assumptions=(
        r"$\kappa = \|k\|^2 > 0$ and $\beta \ge 0$. $(k^\top q)^2 \le \kappa\, q^\top q$ by Cauchy and Schwarz.",
        "That no layer of such transitions tells even from odd follows in the source, and is not claimed here.",
    ),
    scope=EverySize("dk"),
    engine="words",
    source=cite("2411.12537", "abstract"),
    code=(reference.step,),
    uses=("delta_transition_has_one_eigenvalue_off_one",),
)
def transitions_have_no_negative_eigenvalue_up_to_one() -> Any:
    """Up to beta kappa = 1 a transition is symmetric with a spectrum within [0, 1]; past it the key changes its sign.

    A decay between 0 and 1 changes no sign.
    """
    words = Delta("beta kappa")
    P = words.transition
    return [sign_residual(), (P - P.T).normal(), (P @ words.k - (1 - words.beta * words.kappa) * words.k).normal()]


@transitions_have_no_negative_eigenvalue_up_to_one.step(engine="series", scope=Every("beta kappa >= 0"))
def the_sign_along_the_key() -> Any:
    """1 - c is not negative for c = s / (1 + s), which is below 1, nor at 1, and negative for c = 1 + s, with s > 0."""
    return signs(1)


def signs(end: int) -> dict[str, Any]:
    """Return what is not proved of the eigenvalue's sign on both sides of an end."""
    return {
        "below": unproved(eigenvalue(end * s / (1 + s)), s),
        "at the end": eigenvalue(VALUE).at(VALUE, end),
        "above": unproved(-eigenvalue(end + s), s),
    }


@transitions_have_no_negative_eigenvalue_up_to_one.refute
def up_to_two() -> Any:
    """There is said to be no negative eigenvalue up to beta kappa = 2."""
    return signs(2)


@transitions_have_no_negative_eigenvalue_up_to_one.refute
def twice_the_part_along_the_key() -> Any:
    """The part along the key is said to be 2 - beta kappa."""
    return sign_residual(share=2)
