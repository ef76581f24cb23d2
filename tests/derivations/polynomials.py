"""Polynomials at numbers, for tests that compare them with plain arithmetic."""

import math


def evaluated(entry, values):
    """Evaluate a polynomial at numbers for its letters, by its terms."""
    gens = [str(gen) for gen in entry.ring.gens]
    return sum(
        int(c) * math.prod(values[gen] ** e for gen, e in zip(gens, m, strict=True) if e) for m, c in entry.terms()
    )
