"""Degrees in place of numbers: a kernel that runs on them gives a bound on the degree of what it computes."""

from __future__ import annotations

import numpy as np

from derivations.engines.ir.carrier import Carrier, Entries


class OnDegrees(Carrier):
    """The arithmetic of degrees as NumPy arrays: every operation takes the long way, which asks ``Degrees``."""

    def plain(self, *operands: Entries) -> bool:
        """Return False: the short way is that of values."""
        return False

    def lifted(self, x: np.ndarray) -> Entries:
        """Return the degrees of integers, or of floats in float64."""
        return (x != 0).astype(np.int64) if x.dtype.kind == "i" else super().lifted(x)
