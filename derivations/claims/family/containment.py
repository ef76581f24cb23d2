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

    def edges(self) -> dict[str, tuple[Expr, Expr]]:
        """Return for each edge the wider rule's step at the narrower rule's gates, and the narrower rule's step."""
        step, alpha, beta = self.step, self.alpha, self.beta
        A, I_K, I_V = self.A, self.I_K, self.I_V
        kda, gdn = step(A, beta, beta), step(alpha, beta, beta)
        gla, mamba_2, retnet = step(A, 0, 1), step(alpha, 0, 1), step(self.gamma, 0, 1)
        # Where the narrower rule's gate is a number it is written as published: the code would run the same twice.
        linear = self.S + self.v @ self.k.T
        delta = self.S + beta * ((self.v - self.S @ self.k) @ self.k.T)
        zero = 0 * beta
        return {
            r"Gated DeltaNet-2 to KDA: B = \beta I, W = \beta I": (step(A, beta * I_K, beta * I_V), kda),
            r"KDA to Gated DeltaNet: A = \alpha I": (step(alpha * I_K, beta, beta), gdn),
            r"Gated DeltaNet to DeltaNet: \alpha = 1": (step(self.algebra.number(1), beta, beta), delta),
            r"Gated DeltaNet-2 to GLA: B = 0, W = I": (step(A, zero * I_K, I_V), gla),
            r"GLA to Mamba-2: A = \alpha I": (step(alpha * I_K, 0, 1), mamba_2),
            r"Mamba-2 to RetNet: \alpha = \gamma": (step(self.gamma, zero, self.algebra.number(1)), retnet),
            r"RetNet to linear attention: \gamma = 1": (step(self.algebra.number(1), 0, 1), linear),
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
    """From Gated DeltaNet-2 down to linear attention, each rule is the one above it at special values of the gates."""
    return {name: (wide - narrow).normal() for name, (wide, narrow) in Nested().edges().items()}


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
def gates_that_are_not_tied() -> Any:
    """Gated DeltaNet is taken to contain Mamba-2 by its gates alone: erase nothing, write everything."""
    return edge(GATED_DELTANET, MAMBA2)
