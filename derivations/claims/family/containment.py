"""A wider rule is the narrower one at special values of its gates."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from derivations.claim import every_rule
from derivations.engines import arrays
from derivations.engines.algebra import Algebra
from derivations.engines.trees import Expr
from derivations.models.containment import contains, edge
from derivations.papers import cite
from derivations.registry import claim
from derivations.scope import EverySize, Sizes
from gdn_core import reference
from gdn_core.rules import GATED_DELTANET, MAMBA2, RULES, WriteRule


class Nested:
    """The step of each rule at the gates of the rule below it, in words."""

    def __init__(self) -> None:
        a = self.algebra = Algebra("alpha beta gamma")
        self.alpha, self.beta, self.gamma = a.all_scalars()
        self.S, self.A, self.B, self.W = (
            a.matrix("S", "V", "K"),
            a.diagonal("A", "K"),
            a.diagonal("B", "K"),
            a.diagonal("W", "V"),
        )
        self.q, self.k, self.v = a.vector("q", "K"), a.vector("k", "K"), a.vector("v", "V")
        self.I_K, self.I_V = a.identity("K"), a.identity("V")

    def step(self, decay: Expr | int, erase: Expr | int, write: Expr | int) -> Expr:
        """Run the code's step, and return the memory."""
        x = arrays.token(q=self.q, k=self.k, v=self.v, decay=decay, erase=erase, write=write)
        return reference.step(arrays.Array(self.S, 2), x, exp=arrays.exp)[0].word

    def published(self, decay: Expr, erase: Expr | int, write: Expr | int) -> Expr:
        """Return the memory by the equation of the papers: the decayed one times the transition, plus the write."""
        kept = self.S @ decay if decay.cols == ("K",) else decay * self.S
        return kept - erase * (kept @ self.k @ self.k.T) + write * (self.v @ self.k.T)

    def rules(self) -> dict[str, tuple[Expr, Expr]]:
        """Return for each rule the code's step at its gates, and its memory as published."""
        one = self.algebra.number(1)
        gates: dict[str, tuple[Expr, Expr | int, Expr | int]] = {
            "KDA": (self.A, self.beta, self.beta),
            "Gated DeltaNet": (self.alpha, self.beta, self.beta),
            "DeltaNet": (one, self.beta, self.beta),
            "GLA": (self.A, 0, 1),
            "Mamba-2": (self.alpha, 0, 1),
            "RetNet": (self.gamma, 0, 1),
            "linear attention": (one, 0, 1),
        }
        return {name: (self.step(*of), self.published(*of)) for name, of in gates.items()}

    def edges(self) -> dict[str, tuple[Expr, Expr]]:
        """Return for each edge the code's step at the narrower rule's gates, and that rule's memory as published."""
        step, alpha, beta = self.step, self.alpha, self.beta
        A, I_K, I_V = self.A, self.I_K, self.I_V
        one, zero = self.algebra.number(1), 0 * beta
        narrow = {name: published for name, (_, published) in self.rules().items()}
        return {
            r"Gated DeltaNet-2 to KDA: B = \beta I, W = \beta I": (step(A, beta * I_K, beta * I_V), narrow["KDA"]),
            r"KDA to Gated DeltaNet: A = \alpha I": (step(alpha * I_K, beta, beta), narrow["Gated DeltaNet"]),
            r"Gated DeltaNet to DeltaNet: \alpha = 1": (step(one, beta, beta), narrow["DeltaNet"]),
            r"Gated DeltaNet-2 to GLA: B = 0, W = I": (step(A, zero * I_K, I_V), narrow["GLA"]),
            r"GLA to Mamba-2: A = \alpha I": (step(alpha * I_K, 0, 1), narrow["Mamba-2"]),
            r"Mamba-2 to RetNet: \alpha = \gamma": (step(self.gamma, zero, one), narrow["RetNet"]),
            r"RetNet to linear attention: \gamma = 1": (step(one, 0, 1), narrow["linear attention"]),
        }


def _statement() -> str:
    words = Nested()
    whole = words.step(words.A, words.B, words.W).normal().tex()
    lines = [rf"\text{{Gated DeltaNet-2}} &: S_t = {whole}"]
    for name, (wide, _) in words.edges().items():
        names, at = name.split(": ")
        lines.append(rf"\text{{{names}}} &: {at}: \quad {wide.normal().tex()}")
    return r"\begin{aligned} " + r" \\ ".join(lines) + r" \end{aligned}"


@claim(
    statement=_statement,
    assumptions=(
        "Memory and outputs are contained, from the same queries, keys, values. RetNet is Mamba-2 at a constant decay.",
    ),
    scope=EverySize("dk", "dv"),
    engine="words",
    source=cite("2605.22791", "abstract; the equation as in flash-linear-attention"),
    code=(reference.step,),
    rules=every_rule,
)
def wider_rules_contain_the_narrower_ones() -> Any:
    """From Gated DeltaNet-2 down to linear attention, each rule is the one above it at special values of the gates.

    The code's step at these values, and at the gates of the narrower rule, is the equation that is published for it.
    """
    words = Nested()
    pairs = {**words.edges(), **words.rules()}
    return {name: (by_the_code - published).normal() for name, (by_the_code, published) in pairs.items()}


@wider_rules_contain_the_narrower_ones.step(engine="ring", scope=Sizes(T=3, dk=3, dv=2))
def every_rule_that_the_widths_let_it_contain(rule: WriteRule) -> Iterator[Any]:
    """What the widths of the gates say is contained, runs as what contains it: in the rule, and the rule in others."""
    for other in RULES.values():
        for wide, narrow in ((rule, other), (other, rule)):
            if contains(wide, narrow):
                yield {f"{wide.slug} contains {narrow.slug}": edge(wide, narrow)}


@wider_rules_contain_the_narrower_ones.refute
def erase_gate_left_open() -> Any:
    """Gated DeltaNet-2 that writes everything is taken for GLA, with its erase gate not closed."""
    words = Nested()
    return (words.step(words.A, words.B, words.I_V) - words.step(words.A, 0, 1)).normal()


@wider_rules_contain_the_narrower_ones.refute
def decay_left_as_it_was() -> Any:
    """Gated DeltaNet is taken for DeltaNet, with its decay."""
    words = Nested()
    return (words.step(words.alpha, words.beta, words.beta) - words.step(1, words.beta, words.beta)).normal()


@wider_rules_contain_the_narrower_ones.refute
def retnet_at_a_decay_of_one() -> Any:
    """RetNet is said to be Mamba-2 without its decay."""
    words = Nested()
    return (words.step(words.algebra.number(1), 0, 1) - words.rules()["RetNet"][1]).normal()


@wider_rules_contain_the_narrower_ones.refute
def gates_that_are_not_tied() -> Any:
    """Gated DeltaNet is taken to contain Mamba-2 by its gates alone: erase nothing, write everything."""
    return edge(GATED_DELTANET, MAMBA2)
