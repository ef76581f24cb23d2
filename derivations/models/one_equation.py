"""The equation dS/ds = g S + beta (v - S k) k' of a gated delta rule over one step, and paths of the code's step."""

from __future__ import annotations

from typing import Any

from derivations.engines import arrays
from derivations.engines.trees import Expr
from derivations.models.delta_rule import Delta
from derivations.scope import Every
from gdn_core import reference

FREE = Every("beta, kappa and g, kappa = 0 included")
TEX = {"beta": r"\beta", "kappa": r"\kappa"}


class Flow(Delta):
    """The code's step as a path in s: decay e, erase gate theta and write gate w move at given rates.

    Args:
        gated: the equation has the decay g; without it e = 1 and w = theta.
        length: the rate of theta is beta (1 - kappa theta), and not beta (1 - theta).
    """

    def __init__(self, *, gated: bool = False, length: bool = True) -> None:
        super().__init__("eps e theta w beta kappa g")
        self.e: Expr
        self.w: Expr
        self.eps, self.e, self.theta, self.w, _, _, g = self.algebra.all_scalars()
        self.g = g if gated else 0 * g
        self.rate = {
            "decay": self.g * self.e,
            "erase": self.beta * (1 - (self.kappa if length else 1) * self.theta),
            "write": self.beta + (self.g - self.beta * self.kappa) * self.w,
        }
        if not gated:
            self.e, self.w, self.rate["write"] = self.algebra.number(1), self.theta, self.rate["erase"]

    def moved(self, **rates: Expr) -> Any:
        """Return the code's memory after the step a moment eps later, to first order in eps."""
        rate = {**self.rate, **rates}
        x = arrays.token(
            q=self.q,
            k=self.k,
            v=self.v,
            decay=self.e + self.eps * rate["decay"],
            erase=self.theta + self.eps * rate["erase"],
            write=self.w + self.eps * rate["write"],
        )
        return reference.step(arrays.Array(self.S, 2), x, exp=arrays.exp)[0].word

    def residual(self, **rates: Expr) -> Any:
        """Compare the rate of the code's memory with the right side of the equation at it."""
        x = arrays.token(q=self.q, k=self.k, v=self.v, decay=self.e, erase=self.theta, write=self.w)
        S = reference.step(arrays.Array(self.S, 2), x, exp=arrays.exp)[0].word
        slope = self.g * S + self.beta * ((self.v - S @ self.k) @ self.k.T)
        return self.moved(**rates).normal().part("eps", 1) - slope.normal()
