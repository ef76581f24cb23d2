"""The settings that all tokens of a scenario share: sizes, gates, noise and seed."""

from __future__ import annotations

import math
from dataclasses import dataclass

from gdn_core.lab.limits import LIMITS
from gdn_core.ops.checks import check_integer, check_number


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings that all tokens share; a token row may override alpha, beta, write and delta for its token.

    Args:
        dk: key channels K.
        dv: value channels V.
        T: tokens of a preset; a text, a table and arrays have their own number.
        alpha: decay a token, above 0 and at most 1; its logarithm is g.
        beta: erase gate, and write gate of the tied rules, 0 to 2.
        write: write gate of the untied rules, 0 to 2; by default beta, filled in.
        delta: step of the discretised rules, 0 or more; at 0 a token is ignored. 0.1 is the largest that Mamba
            starts from.
        spread: how far the gates of single channels differ from the scalar, 0 to 1: over the channels a gate runs
            linearly from (1 - spread) to (1 + spread) times its value; beta and write stay within 0 to 2. The mean over
            the channels is the scalar, which is what a rule with a scalar gate takes.
        noise: the length of the Gaussian noise on keys, values and queries, relative to the vector; keys and queries
            are then scaled back to their lengths.
        seed: of the unit vectors and the noise, 0 to 2**32 - 1.

    Raises:
        TypeError: if one is no number.
        ValueError: if one is out of its range; the limits are :data:`gdn_core.lab.limits.LIMITS`.
    """

    dk: int = 16
    dv: int = 16
    T: int = 32
    alpha: float = 0.95
    beta: float = 1.0
    write: float = None  # type: ignore[assignment]  # beta, as soon as it is known
    delta: float = 0.1
    spread: float = 0.5
    noise: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        checked = {
            "dk": check_integer("dk", self.dk, 1, LIMITS.channels),
            "dv": check_integer("dv", self.dv, 1, LIMITS.channels),
            "T": check_integer("T", self.T, 1, LIMITS.tokens),
            "alpha": check_number("alpha", self.alpha, 0, 1, above=True),
            "beta": check_number("beta", self.beta, 0, LIMITS.gate),
            "write": check_number("write", self.beta if self.write is None else self.write, 0, LIMITS.gate),
            "delta": check_number("delta", self.delta, 0, LIMITS.delta),
            "spread": check_number("spread", self.spread, 0, 1),
            "noise": check_number("noise", self.noise, 0, LIMITS.noise),
            "seed": check_integer("seed", self.seed, 0, LIMITS.seed),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)  # NumPy's numbers become Python's: equal settings print alike

    @property
    def half_life(self) -> float:
        """Tokens after which the decay has halved a memory; infinite at alpha = 1."""
        return math.inf if self.alpha == 1 else -1 / math.log2(self.alpha)
