"""Multiplications that are counted, against multiplications that are made."""


import numpy as np

from derivations.engines import counting
from gdn_core import reference
from gdn_core.reference import Token


def test_multiplications_are_counted_as_they_are_made():
    made = 0

    class Number(int):
        def __mul__(self, other):
            nonlocal made
            made += 1
            return Number(int(self) * int(other))

        __rmul__ = __mul__

        def __add__(self, other):
            return Number(int(self) + int(other))

        __radd__ = __add__

        def __sub__(self, other):
            return Number(int(self) - int(other))

    for code in (reference.recurrent, reference.chunk):
        T, V, K = 3, 2, 4
        numbers = np.frompyfunc(lambda _: Number(1), 1, 1)
        sizes = {"q": (T, K), "k": (T, K), "v": (T, V), "g": (T, 1, 1), "b": (T, 1), "w": (T, 1)}
        x = Token(**{name: numbers(np.zeros(size)) for name, size in sizes.items()})
        made = 0
        code(numbers(np.zeros((V, K))), x, exp=lambda g: g)
        S, stream, count = counting.stream(T, V, K)
        code(S, stream, exp=counting.exp, stack=counting.stack)
        assert count.multiplications == made
