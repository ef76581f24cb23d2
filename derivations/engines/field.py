"""The code at real sizes, on random integers mod a prime: exact, and fast enough for C = 64 and d = 128.

A difference of two polynomials that is not zero vanishes at a random point with probability at most degree / |set|
(Schwartz and Zippel); several primes multiply their bounds. Decays are powers of an element of order q, where
p = 2 q + 1 and both are prime. Log decays are integers mod q, all other numbers integers mod p, and ``exp`` is a
homomorphism from the first to the second, as on the reals. The two kinds are drawn independently.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, ClassVar

import numpy as np

from derivations.engines import degree
from derivations.engines.degree import Degree

SMALLEST = 1 << 28  # lower bound on q, the size of the smallest set that a letter is drawn from
_HALF = 15  # bits: products of halves, summed over at most 2^23 entries, are exact in float64
MOST_TERMS = 1 << 8  # of a sum of products of residues and halves that is exact in float64
FEW = 1 << 8  # products that are formed one by one: a call of BLAS costs more


class Residues:
    """An array of integers mod ``modulus`` < 2^30, with the operations that the reference uses, all exact."""

    __array_ufunc__ = None  # so that an ndarray or NumPy scalar on the left leaves the operation to this class
    __slots__ = ("modulus", "values")

    def __init__(self, values: Any, modulus: int) -> None:
        self.values = np.asarray(values, dtype=np.int64) % modulus
        self.modulus = modulus

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the array."""
        return self.values.shape

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self.values.ndim

    @property
    def T(self) -> Residues:
        """The array with its axes reversed."""
        return self._view(self.values.T)

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: Any) -> Residues:
        return self._view(self.values[index])

    def __str__(self) -> str:
        """Format the first entry that is not zero."""
        places = np.argwhere(self.values)
        if not len(places):
            return f"0 mod {self.modulus}"
        first = tuple(places[0])
        return (
            f"{self.values[first]} mod {self.modulus} at {[int(i) for i in first]}, "
            f"and {len(places)} of {self.values.size} entries are not zero"
        )

    def __bool__(self) -> bool:
        """Whether any entry is not zero, as for every residual."""
        return bool(self.values.any())

    def __add__(self, other: Any) -> Residues:
        return self._with(self.values + self._values(other))

    def __sub__(self, other: Any) -> Residues:
        return self._with(self.values - self._values(other))

    def __mul__(self, other: Any) -> Residues:
        return self._with(self.values * self._values(other))

    def __rsub__(self, other: Any) -> Residues:
        return self._with(self._values(other) - self.values)

    def __neg__(self) -> Residues:
        return self._with(-self.values)

    __radd__, __rmul__ = __add__, __mul__

    def __matmul__(self, other: Residues) -> Residues:
        return self._view(product(self.values, self._values(other), self.modulus))

    def sum(self, axis: int | None = None) -> Residues:
        """Add the entries along an axis."""
        return self._with(self.values.sum(axis))

    def _with(self, values: Any) -> Any:
        return self._view(values % self.modulus)

    def _view(self, values: Any) -> Any:
        """Return entries that are residues already."""
        made = object.__new__(type(self))
        made.values, made.modulus = np.asarray(values), self.modulus
        return made

    def _values(self, other: Any) -> Any:
        if isinstance(other, Residues):
            if other.modulus != self.modulus:
                raise ArithmeticError("a log decay met what it is the log of: their carriers do not mix")
            return other.values
        if isinstance(other, int | np.integer) or (isinstance(other, np.ndarray) and other.dtype.kind == "i"):
            return other % self.modulus
        if isinstance(other, float):  # a binary fraction
            over, under = other.as_integer_ratio()
            return over * pow(under, -1, self.modulus) % self.modulus
        return NotImplemented


def product(left: np.ndarray, right: np.ndarray, modulus: int) -> np.ndarray:
    """Return products of matrices of residues: few one by one, others on float64, factors in halves of 15 bits."""
    fits = left.ndim and right.ndim and left.shape[-1] == right.shape[-2 if right.ndim > 1 else 0]
    if fits and left.size * (right.shape[-1] if right.ndim > 1 else 1) <= FEW:
        return _sum_of_products(left, right, modulus) % modulus
    low = (1 << _HALF) - 1
    if left.shape[-1] <= MOST_TERMS:
        left = left.astype(np.float64)
        ends = (left @ (right >> _HALF).astype(np.float64), left @ (right & low).astype(np.float64))
        high, rest = (np.asarray(end, dtype=np.int64) for end in ends)
        return ((high % modulus << _HALF) + rest) % modulus
    l1, l0, r1, r0 = (part.astype(np.float64) for x in (left, right) for part in (x >> _HALF, x & low))
    high = np.asarray(l1 @ r1, dtype=np.int64) % modulus
    middle = np.asarray(l1 @ r0 + l0 @ r1, dtype=np.int64) % modulus
    return ((((high << _HALF) % modulus + middle) << _HALF) % modulus + np.asarray(l0 @ r0, dtype=np.int64)) % modulus


class Batch(Residues):
    """Arrays of residues of one shape for several memories, on which code for one memory runs; all have equal axes."""

    __slots__ = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the array of one memory."""
        return self.values.shape[1:]

    @property
    def ndim(self) -> int:
        """The number of axes of the array of one memory."""
        return self.values.ndim - 1

    @property
    def T(self) -> Batch:
        """The arrays with their axes reversed."""
        return self._view(self.values.transpose(0, *range(self.ndim, 0, -1)))

    def __len__(self) -> int:
        return self.values.shape[1]

    def __getitem__(self, index: Any) -> Batch:
        return self._view(self.values[(slice(None), *(index if isinstance(index, tuple) else (index,)))])

    def __matmul__(self, other: Residues) -> Batch:
        if other.ndim == 1:
            return self._view((self @ other[:, None]).values[..., 0])
        return self._view(super().__matmul__(other).values)

    def _values(self, other: Any) -> Any:
        if isinstance(other, Batch) and other.ndim != self.ndim:
            raise ValueError(f"expected arrays of one number of axes, got {self.ndim} and {other.ndim}")
        return super()._values(other)


_COUNTING = ContextVar("_COUNTING", default=False)


@contextmanager
def counting() -> Iterator[None]:
    """Draw degrees in place of numbers inside a ``with`` block."""
    token = _COUNTING.set(True)
    try:
        yield
    finally:
        _COUNTING.reset(token)


def is_counting() -> bool:
    """Tell whether degrees are drawn in place of numbers."""
    return _COUNTING.get()


class Field:
    """A prime field, its log decays, and random points of both.

    Args:
        rng: draws the prime, the base of the exponential and the points.
    """

    made: ClassVar[int] = 0  # fields so far, in this process

    def __init__(self, rng: random.Random) -> None:
        Field.made += 1
        self._counts = _COUNTING.get()
        if self._counts:
            return
        while True:
            self.q = rng.randrange(SMALLEST + 1, 2 * SMALLEST, 2)
            self.p = 2 * self.q + 1
            if _is_prime(self.q) and _is_prime(self.p):
                break
        base = pow(rng.randrange(2, self.p - 1), 2, self.p)  # a square other than 1 has order q
        self._small = _powers(base, self.p)
        self._large = _powers(pow(base, 1 << _HALF, self.p), self.p)
        self._numbers = np.random.default_rng(rng.getrandbits(64))

    @property
    def powers(self) -> tuple[np.ndarray, np.ndarray]:
        """The powers 0 to 2^15 - 1 of the base of the exponential, and those of its power 2^15."""
        return self._small, self._large

    def draw(self, *shape: int) -> Any:
        """Draw values mod p."""
        if self._counts:
            return degree.letters(*shape)
        return Residues(self._numbers.integers(0, self.p, shape), self.p)

    def draw_logs(self, *shape: int) -> Any:
        """Draw log decays, mod q."""
        if self._counts:
            return degree.logs(*shape)
        return Residues(self._numbers.integers(0, self.q, shape), self.q)

    def exp(self, x: Residues) -> Residues:
        """Return the exponential of log decays, elementwise.

        Raises:
            ArithmeticError: if x is not a log decay.
        """
        if isinstance(x, Degree):
            return degree.exp(x)
        if x.modulus != self.q:
            raise ArithmeticError("the exponential of what is not a log decay")
        low = (1 << _HALF) - 1
        return type(x)(self._small[x.values & low] * self._large[x.values >> _HALF], self.p)

    def letters(self, shapes: dict[str, tuple[int, ...]]) -> dict[str, Any]:
        """Draw an array for each name, log decays for the name ``g``."""
        return {name: self.draw_logs(*shape) if name == "g" else self.draw(*shape) for name, shape in shapes.items()}

    def residual(self, left: Any, right: Any) -> Any:
        """Return the difference of two arrays, or a sentence where their shapes differ."""
        if left.shape != right.shape:
            return f"one has the shape {list(left.shape)}, the other {list(right.shape)}"
        return left - right


class Dual:
    """An array x + y eps with eps^2 = 0 over any carrier: y is the derivative of x along a direction."""

    __array_ufunc__ = None
    __slots__ = ("tangent", "value")

    def __init__(self, value: Any, tangent: Any) -> None:
        self.value, self.tangent = value, tangent

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the array."""
        return self.value.shape

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self.value.ndim

    @property
    def T(self) -> Dual:
        """The array with its axes reversed."""
        return Dual(self.value.T, self.tangent.T)

    def __len__(self) -> int:
        return len(self.value)

    def __getitem__(self, index: Any) -> Dual:
        return Dual(self.value[index], self.tangent[index])

    def __add__(self, other: Dual) -> Dual:
        return Dual(self.value + other.value, self.tangent + other.tangent)

    def __sub__(self, other: Dual) -> Dual:
        return Dual(self.value - other.value, self.tangent - other.tangent)

    def __mul__(self, other: Dual) -> Dual:
        return Dual(self.value * other.value, self.value * other.tangent + self.tangent * other.value)

    def __matmul__(self, other: Dual) -> Dual:
        return Dual(self.value @ other.value, self.value @ other.tangent + self.tangent @ other.value)


def dual_exp(exp: Callable[[Any], Any]) -> Callable[[Dual], Dual]:
    """Return the exponential of dual numbers: exp(x + y eps) = exp(x) (1 + y eps).

    Over a field x is a log decay, mod q, and y a value, mod p: a derivative of a log decay is no log decay.
    """

    def run(x: Dual) -> Dual:
        value = exp(x.value)
        return Dual(value, value * x.tangent)

    return run


def stack(arrays: Sequence[Any]) -> Any:
    """Stack arrays of residues, one or many, or of dual numbers along a new first axis."""
    first = arrays[0]
    if isinstance(first, Degree):
        return degree.stack(arrays)
    if isinstance(first, Dual):
        return Dual(stack([a.value for a in arrays]), stack([a.tangent for a in arrays]))
    return type(first)(np.stack([a.values for a in arrays], 1 if isinstance(first, Batch) else 0), first.modulus)


def _powers(base: int, modulus: int) -> np.ndarray:
    """Return the powers 0 to 2^15 - 1 of a residue."""
    powers = np.ones(1, dtype=np.int64)
    for n in range(_HALF):
        powers = np.concatenate([powers, powers * pow(base, 1 << n, modulus) % modulus])
    return powers


def _sum_of_products(left: Any, right: Any, modulus: int) -> Any:
    """Return the product of two arrays of few residues; a product of two is below 2^60, and a sum of few below 2^38."""
    if right.ndim == 1:
        return (left * right % modulus).sum(-1)
    if left.ndim == 1:
        return (left[:, None] * right % modulus).sum(-2)
    return (left[..., :, None] * right[..., None, :, :] % modulus).sum(-2)


def _is_prime(n: int) -> bool:
    """Decide primality for n < 2^32, by Miller-Rabin with witnesses 2, 7, 61, which is exact there."""
    for small in (2, 3, 5, 7, 11, 13, 17, 19, 23):
        if n % small == 0:
            return n == small
    odd, twos = n - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    for witness in (2, 7, 61):
        if witness % n == 0:
            continue
        power = pow(witness, odd, n)
        if power in (1, n - 1):
            continue
        for _ in range(twos - 1):
            power = power * power % n
            if power == n - 1:
                break
        else:
            return False
    return True
