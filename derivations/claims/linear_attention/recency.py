"""An additive memory does not depend on the order of writes; under a decay later writes weigh more."""

from __future__ import annotations

from typing import Any

import numpy as np

from derivations.engines.algebra import equation
from derivations.engines.ring import Ring
from derivations.engines.trees import Block, Expr
from derivations.models.additive_memory import Additive, step
from derivations.papers import cite
from derivations.registry import claim
from derivations.scope import EverySize, Sizes
from gdn_core import reference
from gdn_core.reference import Token


def both_orders(**gates: Any) -> tuple[Expr, Expr]:
    """Write two tokens in both orders, by the code; return the memories."""
    words = Additive()
    other_k, other_v = words.algebra.vector("k'", "K"), words.algebra.vector("v'", "V")
    made = {name: words.algebra.scalar(gate) if isinstance(gate, str) else gate for name, gate in gates.items()}
    first, second = {"k": words.k, "v": words.v}, {"k": other_k, "v": other_v}
    one = step(step(words.S0, **first, **made)[0], **second, **made)[0]
    return one, step(step(words.S0, **second, **made)[0], **first, **made)[0]


def exchanged(**gates: Any) -> Any:
    """Return the difference of the memories of two tokens in both orders."""
    one, other = both_orders(**gates)
    return (one - other).normal()


def permuted() -> tuple[Expr, Expr]:
    """Return the rows of K and N in another order, as a memory, and as they were."""
    words = Additive()
    P = words.algebra.matrix("P", "n", "n")
    words.algebra.rule(P.T @ P, words.algebra.identity("n"))
    return (P @ words.N).T @ (P @ words.K), words.memory


@claim(
    statement=lambda: (
        rf"S_2 = {both_orders()[0].normal().tex()} \text{{ in either order}}, \quad "
        rf"{equation(*permuted())} \text{{ for every permutation }} P"
    ),
    scope=EverySize("T", "dk", "dv"),
    engine="words",
    source=cite("2102.11174", "eqs. 17 to 19, sec. 3.2"),
    code=(reference.step,),
)
def additive_memory_forgets_the_order() -> Any:
    """The additive memory does not depend on the order of the writes, so it cannot favour recent ones.

    Two neighbouring writes can be exchanged, and exchanges of neighbours generate every order.
    """
    return exchanged()


@additive_memory_forgets_the_order.step(engine="words", scope=EverySize("n", "dk", "dv"))
def every_permutation_at_once() -> Any:
    """A permutation of the rows of K and N leaves N'K as it is."""
    moved, memory = permuted()
    return (moved - memory).normal()


@additive_memory_forgets_the_order.refute
def under_a_decay() -> Any:
    """The same under a decay, where the order matters."""
    return exchanged(decay="alpha")


@additive_memory_forgets_the_order.refute
def under_the_delta_rule() -> Any:
    """The same under the delta rule, where the later write wins."""
    return exchanged(erase="beta", write="beta")


class Weighed:
    """An additive memory under decays, by hypothesis with the weights of the n writes so far on the diagonal of L."""

    def __init__(self) -> None:
        self.words = Additive()
        self.alpha, _, self.c, _ = self.words.algebra.all_scalars()
        self.L = self.words.algebra.diagonal("L", "n", tex=r"\Lambda")
        self.memory = self.c * self.words.S0 + self.words.N.T @ self.L @ self.words.K

    def longer(self, *, own: Expr | int = 1, before: Expr | None = None) -> Expr:
        """Return the memory with one more write, of weight ``own``; ``before`` are the weights of the others."""
        words = self.words
        empty = words.algebra.zero("n", "1")
        own = words.algebra.number(own) if isinstance(own, int) else own
        weights = Block([[self.alpha * self.L if before is None else before, empty], [empty.T, own]])
        rows = Block([[words.K], [words.k.T]])
        return self.alpha * self.c * words.S0 + Block([[words.N], [words.v.T]]).T @ weights @ rows

    def residual(self, longer: Expr) -> Any:
        """Compare a longer memory with one more step of the code."""
        written, _ = step(self.memory, k=self.words.k, v=self.words.v, decay=self.alpha)
        return (written - longer).normal()


def _weighed() -> str:
    weighed = Weighed()
    S = weighed.words.algebra.matrix("S_n", "V", "K")
    return (
        rf"{equation(S, weighed.memory)}, \quad c = \prod_{{t \le n}} \alpha_t, \quad "
        r"\Lambda = \operatorname{diag}_i \Bigl(\prod_{t = i + 1}^{n} \alpha_t\Bigr)"
    )


@claim(
    statement=_weighed,
    scope=EverySize("T", "dk", "dv"),
    engine="words",
    source=cite("2412.06464", "sec. 2.1"),
    code=(reference.step,),
)
def write_weighs_the_decays_since() -> Any:
    """Under a decay the weight of a write is the product of the decays after it, whatever its content.

    The induction step: one more token multiplies every weight by its decay, and has weight 1 itself. With no token
    the memory is S_0 and c = 1.
    """
    weighed = Weighed()
    return weighed.residual(weighed.longer())


@write_weighs_the_decays_since.step(engine="ring", scope=Sizes(T=4, dk=2, dv=3))
def the_code_over_four_tokens() -> Any:
    """The code's memory after four tokens is the sum of the writes, each times the decays of the tokens after it."""
    return four_tokens(since=1)


def four_tokens(*, since: int) -> Any:
    """Compare the code's memory with weighed writes, the decays counted from ``since`` tokens after each write."""
    T, V, K = 4, 3, 2
    ring = Ring(exponentials={"a": (T, 1, 1)}, g=(T, 1, 1), S=(V, K), k=(T, K), v=(T, V))
    ring.let_exp(ring["g"], "a")
    none = 0 * ring["v"][:, :1]
    x = Token(q=ring["k"], k=ring["k"], v=ring["v"], g=ring["g"], b=none, w=none + 1)
    S, _ = reference.recurrent(ring["S"], x, exp=ring.exp)
    a = ring["a"][:, 0, 0]
    writes = [x.v[i][:, None] * x.k[i][None, :] * np.prod(a[i + since :]) for i in range(T)]
    return ring.residual(S, ring["S"] * np.prod(a) + sum(writes[1:], writes[0]))


@write_weighs_the_decays_since.refute
def own_decay_counted() -> Any:
    """A write is said to be decayed by its own token too."""
    weighed = Weighed()
    return weighed.residual(weighed.longer(own=weighed.alpha))


@write_weighs_the_decays_since.refute
def own_decay_counted_in_the_code() -> Any:
    """The same, against the code over four tokens."""
    return four_tokens(since=0)


@write_weighs_the_decays_since.refute
def weights_that_do_not_fade() -> Any:
    """The weights of the earlier writes stay as they were."""
    weighed = Weighed()
    return weighed.residual(weighed.longer(before=weighed.L))
