"""The letters of a rule's stream, at the widths that the rule gives its gates, for every carrier.

What a rule fixes is fixed here, and everything else stays free: a check for these tokens holds for whatever values,
feature maps and discretisations make them.
"""

from __future__ import annotations

from gdn_core.reference import Array, Token
from gdn_core.rules import Clock, Gate, WriteRule


def shapes(rule: WriteRule, T: int, V: int, K: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the letters of a memory ``S`` and of a stream of T tokens.

    Of a gate that the rule does not have, the letter is there at scalar width, and :func:`tokens` fixes it.
    """
    V += rule.normalised  # the normaliser is one more value channel; its value 1 is a special case of a letter
    return {
        "S": (V, K),
        "q": (T, K),
        "k": (T, V, K) if rule.write is Gate.MATRIX else (T, K),
        "v": (T, V),
        "g": (T, *rule.decay.shape(V, K)),
        "b": (T, rule.erase.shape(V, K)[1]),
        "w": (T, 1 if rule.write is Gate.MATRIX else rule.write.shape(V, K)[0]),
    }


def tokens(rule: WriteRule, letters: dict[str, Array]) -> Token:
    """Make the stream of a rule from free letters: absent gates at their values, tied gates equal, fixed gates constant.

    Args:
        rule: a member of the family.
        letters: an array for each name of :func:`shapes`, ``g`` as log decays.
    """
    g, b, w = letters["g"], letters["b"], letters["w"]
    if rule.decay is Gate.NONE:
        g = 0 * g
    if rule.clock is Clock.FIXED:
        g = g[[0] * len(g)]
    if rule.erase is Gate.NONE:
        b = 0 * b
    if rule.tied:
        w = b
    elif rule.write in (Gate.NONE, Gate.MATRIX):
        w = 0 * w + 1
    return Token(q=letters["q"], k=letters["k"], v=letters["v"], g=g, b=b, w=w)
