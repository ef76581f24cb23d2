"""For a user's own tests: assert that a function computes a rule.

    from derivations.testing import assert_computes
    from gdn_core.rules import GATED_DELTANET

    def test_my_chunk():
        assert_computes(my_chunk, GATED_DELTANET)
"""

from __future__ import annotations

from derivations.against import Function, difference
from gdn_core.rules import WriteRule


def assert_computes(function: Function, rule: WriteRule, *, seed: int = 0) -> None:
    """Assert that a step, a recurrence or a chunk form computes a rule, at sizes that break code.

    Args:
        function: a function on arrays; :mod:`derivations.against` says by which names it takes them.
        rule: the rule.
        seed: seed of the random points.

    Raises:
        AssertionError: if it differs; the message says where, with the sizes and the first wrong number.
        TypeError: if it takes an argument that no rule has.
    """
    __tracebackhide__ = True  # pytest shows the caller's line
    if sentence := difference(function, rule, seed=seed):
        raise AssertionError(sentence)
