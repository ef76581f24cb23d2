"""A diagonal state space model on symbols, and the tokens that the code makes of it."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from derivations.engines.field import Field
from derivations.engines.ring import Ring
from gdn_core import reference, ssm
from gdn_core.reference import Array, Token
from gdn_core.rules import Discretisation


class Widths(NamedTuple):
    """The sizes of a state space model: tokens, channels, states, and the channels that Delta and A tell apart."""

    T: int
    V: int
    K: int
    delta: int
    A: int

    def __str__(self) -> str:
        return ", ".join(f"{name} = {size}" for name, size in zip(("T", "V", "K"), self[:3], strict=True)) + (
            f", Delta [{self.T}, {self.delta}], A [{self.A}, {self.K}]"
        )


PAIRS = ((1, 1), (1, 3), (2, 2), (3, 2), (2, 3), (5, 1), (11, 12), (12, 10), (3, 3), (4, 4), (5, 5), (2, 4))
WIDTHS = tuple(
    Widths(T, V, K, delta, A)
    for T in (1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 16, 17, 33, 50)
    for V, K in PAIRS
    for delta, A in sorted(set(product((1, V), (1, V))))
)


def named(widths: tuple[Widths, ...]) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """Return the values of each size that occur."""
    return tuple((name, tuple(sorted({getattr(each, name) for each in widths}))) for name in ("T", "V", "K"))


def tokens_against_definition(sizes: Widths, numbers: Field, make: Callable[..., Token] = ssm.tokens) -> Any:
    """Compare the code's tokens at a point of a field with Delta A and Bbar; phi_1 is any polynomial here."""
    T, V, K, of_delta, of_A = sizes
    u, delta, A = numbers.draw(T, V), numbers.draw(T, of_delta), numbers.draw(of_A, K)
    B, C, every = numbers.draw(T, K), numbers.draw(T, K), 0 * numbers.draw(T, V, K)
    rate = delta[:, :, None] * A[None]

    def phi1(z: Array) -> Array:
        return z * z * z + 3 * z + 1

    found = []
    for method in Discretisation:
        x = make(u, delta, A, B, C, method=method, phi1=phi1)
        key = x.k if x.k.ndim == 3 else x.k[:, None, :]
        factor = delta[:, :, None] * phi1(rate) if method is Discretisation.ZOH else delta[:, :, None] + 0 * rate
        keys, steps = ((T, V, K), (T, 1)) if method is Discretisation.ZOH else ((T, K), (T, of_delta))
        wide = {"q": (T, K), "k": keys, "v": (T, V), "g": rate.shape, "b": (T, 1), "w": steps}
        got = {name: getattr(x, name).shape for name in wide}
        if wrong := [name for name, shape in wide.items() if got[name] != shape]:
            return f"{wrong[0]} by {method.value} has the shape {list(got[wrong[0]])}, not {list(wide[wrong[0]])}"
        found += [
            numbers.residual(x.g + every, rate + every),
            numbers.residual(x.w[:, :, None] * key + every, factor * B[:, None, :] + every),
            *(numbers.residual(*pair) for pair in ((x.q, C), (x.v, u), (x.b, 0 * delta[:, :1]))),
        ]
    return found


class Model:
    """The letters of a diagonal state space model, and of its discretisation.

    The exponential and phi_1 of each Delta A are letters too, so nothing is assumed about them.

    Args:
        T, V, K: tokens, channels and states.
        shared: Delta is one number a token, and A one a state, for all channels.
        fixed: Delta, B and C are the same at every token.
    """

    def __init__(self, T: int, V: int, K: int, *, shared: bool = False, fixed: bool = False) -> None:
        steps, rates = (1 if fixed else T, 1 if shared else V), (1 if shared else V, K)
        maps = (1 if fixed else T, K)
        logs = (*steps[:1], rates[0], K)
        ring = Ring(exponentials={"e": logs}, u=(T, V), d=steps, A=rates, B=maps, C=maps, S=(V, K), phi=logs, never=())
        self.ring, self.S, self.u, self.A = ring, ring["S"], ring["u"], ring["A"]
        self.delta, self.B, self.C = (np.concatenate([ring[name]] * (T if fixed else 1)) for name in "dBC")
        products = ring["d"][:, :, None] * ring["A"][None]
        ring.let_exp(products, "e")
        self.decay = np.broadcast_to(ring["e"], (T, V, K))
        self.phi = np.broadcast_to(ring["phi"], (T, V, K))
        self._phi = {
            next(iter(log.itermonoms())): letter for log, letter in zip(products.flat, ring["phi"].flat, strict=True)
        }

    def phi1(self, x: Array) -> Array:
        """Return the letters that stand for phi_1 of each Delta A."""
        return np.frompyfunc(lambda entry: self._phi[next(iter(entry.itermonoms()))], 1, 1)(x)

    def tokens(self, method: Discretisation, make: Callable[..., Token] = ssm.tokens) -> Token:
        """Write the model as tokens, by the code."""
        return make(self.u, self.delta, self.A, self.B, self.C, method=method, phi1=self.phi1)

    def run(self, x: Token, S: Array | None = None) -> tuple[Array, Array]:
        """Run tokens through the code's recurrence."""
        return reference.recurrent(self.S if S is None else S, x, exp=self.ring.exp)

    def factor(self, method: Discretisation) -> Array:
        """Return Bbar / B by definition, [T, V, K]."""
        delta = np.broadcast_to(self.delta[:, :, None], self.phi.shape)
        return delta * self.phi if method is Discretisation.ZOH else delta

    def residual(self, method: Discretisation, make: Callable[..., Token] = ssm.tokens) -> list[Any]:
        """Compare the code's recurrence with h = Abar h + Bbar u and y = C h, entry by entry."""
        states, outputs = self.S, []
        for t in range(len(self.u)):
            read_in = self.factor(method)[t] * self.B[t]  # [V, K]
            states = self.decay[t] * states + read_in * self.u[t][:, None]
            outputs.append(states @ self.C[t])
        S, o = self.run(self.tokens(method, make))
        return [self.ring.residual(S, states), self.ring.residual(o, np.stack(outputs))]
