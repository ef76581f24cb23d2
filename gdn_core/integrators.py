"""One equation, all delta rules: the gates of a token from a step along dS/ds = g S + beta (v - S k) k^T.

Key, value, beta and log decay g of the token are held while s runs from 0 to 1. Along the key the error v - S k then
shrinks at the rate ``z = beta kappa``, where ``kappa = |k|^2``. A rule without decay is one way to take the step: it
writes ``S (I - theta k k^T) + theta v k^T``, and ``theta kappa`` is the share of the error that it removes. As
functions of z these shares are ``explicit(z, 1)`` and so on.

Each function runs on every carrier, with its ``phi1``. But for :func:`projection` none divides by ``kappa``, so a
key of zeros and a small z need no case of their own.
"""

from __future__ import annotations

from gdn_core.reference import Array, Exp
from gdn_core.rules import Integrator
from gdn_core.ssm import phi1


def explicit(beta: Array, kappa: Array) -> Array:
    """Return the gate of the explicit Euler step, DeltaNet's: beta, which removes the share z of the error.

    Args:
        beta: step size times rate, >= 0; DeltaNet's beta.
        kappa: squared length of the key.
    """
    return beta


def implicit(beta: Array, kappa: Array) -> Array:
    """Return the gate of the implicit Euler step, Longhorn's: beta / (1 + z), which removes the share z / (1 + z).

    Source: Longhorn, arXiv 2407.14207, in its code, ``Longhorn.step`` of models/longhorn.py.
    """
    return beta / (1 + beta * kappa)


def exact(beta: Array, kappa: Array, g: Array = 0, *, phi1: Exp = phi1) -> tuple[Array, Array]:
    """Return the erase gate and the write gate of the exact solution, whose decay is exp(g).

    The erase gate is (1 - e^-z) / kappa, whatever the decay, and the write gate beta (1 - e^(g - z)) / (z - g). Without
    decay they are equal, and remove the share 1 - e^-z.

    Args:
        beta: step size times rate, >= 0.
        kappa: squared length of the key.
        g: log decay in nats, <= 0.
        phi1: the carrier's (exp(z) - 1) / z.

    Source: without decay EFLA, arXiv 2512.12602, in its code, ``alpha_t`` of mnist.py. With decay: derived here, claim
    ``exact_gated_step_solves_the_gated_equation``.
    """
    z = beta * kappa
    return beta * phi1(-z), beta * phi1(-(z - g))


def projection(beta: Array, kappa: Array) -> Array:
    """Return the gate of a large step, Kaczmarz's projection: 1 / kappa, which removes the whole error.

    Args:
        beta: does not act.
        kappa: squared length of the key, > 0: a key of zeros has nothing to project on.
    """
    return 1 / kappa


def gates(integrator: Integrator, beta: Array, kappa: Array, g: Array = 0, *, phi1: Exp = phi1) -> tuple[Array, Array]:
    """Return the erase gate and the write gate of a rule's integrator."""
    if integrator is Integrator.EXACT:
        return exact(beta, kappa, g, phi1=phi1)
    gate = implicit(beta, kappa)
    return gate, gate
