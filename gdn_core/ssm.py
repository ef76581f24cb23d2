"""Diagonal state space models as tokens of the matrix memory.

``h' = A h + B u`` sampled every Delta becomes ``h_t = Abar h_{t-1} + Bbar u_t``. With one state vector a channel, the
states of V channels are the rows of a [V, K] memory, ``u_t`` its value, ``B_t`` its key and ``C_t`` its query, and
``Abar`` is the decay. A is real here: the complex diagonals of S4D rotate pairs of states, which a real decay cannot.

Each function takes ``exp`` and ``phi1``, so that the same lines run on every carrier. Bilinear and Euler steps may
give a decay that is zero or negative, which has no logarithm, so :func:`tokens` offers only the other two.
"""

from __future__ import annotations

import numpy as np

from gdn_core.reference import Array, Exp, Token
from gdn_core.rules import Discretisation


def phi1(z: Array) -> Array:
    """Return (exp(z) - 1) / z elementwise, and its limit 1 at z = 0, to float64 accuracy near 0."""
    z = np.asarray(z, dtype=float)
    safe = np.where(z == 0, 1.0, z)
    return np.where(z == 0, 1.0, np.expm1(safe) / safe)


def zoh(A: Array, delta: Array, *, exp: Exp = np.exp, phi1: Exp = phi1) -> tuple[Array, Array]:
    """Discretise by zero-order hold: exact where the input is held over the step.

    Args:
        A: diagonal of the state matrix.
        delta: step, >= 0.
        exp: the carrier's exponential.
        phi1: the carrier's (exp(z) - 1) / z.

    Returns:
        Abar = exp(delta A) and the factor Bbar / B = delta phi1(delta A).

    Source: Mamba, arXiv 2312.00752, eq. 4, which writes (delta A)^-1 (exp(delta A) - I) delta B and needs A invertible.
    """
    return exp(delta * A), delta * phi1(delta * A)


def mamba(A: Array, delta: Array, *, exp: Exp = np.exp) -> tuple[Array, Array]:
    """Discretise as Mamba's code does: the decay of ZOH, and the input of Euler.

    Returns:
        Abar = exp(delta A) and the factor Bbar / B = delta.

    Source: ``selective_scan_ref`` in mamba_ssm; the paper, arXiv 2312.00752, prints ZOH. Mamba-3, arXiv 2603.15569,
    calls this rule exponential-Euler in its eq. 4.
    """
    return exp(delta * A), delta


def euler(A: Array, delta: Array) -> tuple[Array, Array]:
    """Discretise by the explicit Euler step.

    Returns:
        Abar = 1 + delta A and the factor Bbar / B = delta.
    """
    return 1 + delta * A, delta


def bilinear(A: Array, delta: Array) -> tuple[Array, Array]:
    """Discretise by the bilinear (Tustin) rule, stable for every Re A < 0.

    Returns:
        Abar = (1 + delta A / 2) / (1 - delta A / 2) and the factor Bbar / B = delta / (1 - delta A / 2).

    Source: S4, arXiv 2111.00396, eq. 3.
    """
    inverse = 1 / (1 - delta * A / 2)
    return inverse * (1 + delta * A / 2), inverse * delta


def exponential_trapezoidal(A: Array, delta: Array, lam: Array, *, exp: Exp = np.exp) -> tuple[Array, Array, Array]:
    """Discretise by Mamba-3's rule: the input is a mean of the inputs at both ends of the step, weighted by ``lam``.

    Returns:
        Abar = exp(delta A), the factor (1 - lam) delta Abar of B_{t-1} u_{t-1}, and the factor lam delta of B_t u_t.

    Source: Mamba-3, arXiv 2603.15569, Proposition 1.
    """
    decay = exp(delta * A)
    return decay, (1 - lam) * delta * decay, lam * delta


def tokens(u: Array, delta: Array, A: Array, B: Array, C: Array, *, method: Discretisation, phi1: Exp = phi1) -> Token:
    """Write V channels of a diagonal state space model as tokens of one [V, K] memory.

    Args:
        u: input, [T, V].
        delta: step, [T, 1] or [T, V], >= 0; S4 has the same one at every token.
        A: diagonal, [1, K] or [V, K], <= 0.
        B: input map, [T, K].
        C: output map, [T, K].
        method: ZOH, which gives each channel a key of its own, or MAMBA, whose key is B and whose write gate is delta.
        phi1: the carrier's (exp(z) - 1) / z.

    Returns:
        A stream of T tokens with log decay delta A, [T, V or 1, K].
    """
    g = delta[:, :, None] * A[None]
    none = 0 * delta[:, :1]  # [T, 1]
    if method is Discretisation.MAMBA:
        return Token(q=C, k=B, v=u, g=g, b=none, w=delta)
    factor = delta[:, :, None] * phi1(g)  # [T, V or 1, K]
    if factor.shape[1] < u.shape[1]:
        factor = factor + 0 * u[:, :, None]  # a key for each value channel, also where they are alike
    return Token(q=C, k=factor * B[:, None, :], v=u, g=g, b=none, w=none + 1)
