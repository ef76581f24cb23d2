"""The eigenvalue of a transition with the length of the key, where its square is meant."""

from __future__ import annotations

from typing import Any

import numpy as np

from derivations.engines.ring import Ring
from derivations.models.delta_rule import Length
from derivations.models.errata import Erratum, against, erratum, scalars
from derivations.scope import Sizes
from gdn_core import reference
from gdn_core.reference import Array, Token

ENTRY = Erratum(
    title="The eigenvalue of a transition is written with the length of the key, where its square is meant.",
    printed=r"\lambda = 1 - \beta \|k\|",
    seen=(),
    numbers=scalars(b=(1,), k=(2,)),
    gives="-1",
    should_give="-3",
    compared="the eigenvalue along the key",
    proved_by=("delta_transition_has_one_eigenvalue_off_one",),
    note="For unit keys both agree.",
)


def eigenvalue(key: Array, gate: Any) -> Any:
    """Return the first entry of P k over that of k, with P the code's transition."""
    K = len(key)
    gates = np.array([gate], dtype=object)
    x = Token(q=key, k=key, v=0 * key, g=np.array([[0]], dtype=object), b=gates, w=gates)
    identity = np.array(np.eye(K, dtype=int), dtype=object)
    P, _ = reference.step(identity, x, exp=lambda g: g + 1)
    return P @ key


def eigenvalues() -> tuple[Any, Any]:
    """Compute the eigenvalue along a key of one channel by the printed form, and by the code."""
    numbers = ENTRY.numbers
    key = np.array(numbers["k"], dtype=object)
    return 1 - numbers["b"][0] * key[0], eigenvalue(key, numbers["b"][0])[0] / key[0]


@erratum(
    ENTRY,
    eigenvalues,
    lambda: rf"\lambda = {Length().eigenvalue.tex()}, \; \kappa = \|k\|^2",
    code=(reference.step,),
)
def eigenvalue_has_the_squared_key_length() -> Any:
    """Along its key a transition multiplies by 1 - beta ||k||^2."""
    return against(ENTRY, eigenvalues)


def along_the_key(power: int) -> Any:
    """Compare the code's transition of a key of three letters with (1 - beta ||k||^power) k; ``power`` must be even."""
    ring = Ring(k=(3,), b=())
    key, gate = ring["k"], ring["b"][()]
    squared = key @ key
    return ring.residual(eigenvalue(key, gate), key * (1 - gate * squared ** (power // 2)))


@eigenvalue_has_the_squared_key_length.step(engine="ring", scope=Sizes(dk=3))
def squared_length() -> Any:
    """In letters the code multiplies the key by 1 - beta ||k||^2."""
    return along_the_key(2)


@eigenvalue_has_the_squared_key_length.refute
def length_to_no_power() -> Any:
    """The eigenvalue is said to be 1 - beta."""
    return along_the_key(0)


@eigenvalue_has_the_squared_key_length.refute
def length_to_the_fourth() -> Any:
    """The eigenvalue is said to be 1 - beta ||k||^4."""
    return along_the_key(4)
