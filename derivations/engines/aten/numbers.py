"""The arithmetic of exact entries: values mod p, log decays, zeros, decays of 0, and memory that was never written."""

from __future__ import annotations

import math
import random
from functools import lru_cache

import numpy as np
import torch

from derivations.engines.field import MOST_TERMS, Field, Residues

Entries = torch.Tensor  # int64

EMPTY = -1  # never written
_LOG = 1 << 60  # a log decay x is _LOG + x
_LOG_2 = 1 << 61  # and in base 2, times log2(e), it is _LOG_2 + x
LEAST_LOG, _LEAST_LOG_2 = 1 << 59, 3 << 59
FORGETS = 1 << 62  # the log decay -inf
NATS = 2.0**-40  # of one unit of a log decay: a stream of a million tokens stays far from underflow
UNDERFLOWS = -746.0  # nats; a lower constant is a mask, whose exponential is 0
_BASES = {False: "in nats", True: "in base 2"}
_HALF = 15  # bits; products of halves, summed over at most 2^23 entries, are exact in float64
_LOW = (1 << _HALF) - 1
_LARGEST_FACTOR = 1 << 20  # of a log decay


class Unsound(ArithmeticError):
    """The program did what fails or is undefined on real numbers: it overflowed, or read what was never written."""


class NotModelled(Exception):
    """The program did what this engine has no exact meaning for; the message names it."""


def _rounded(number: float) -> tuple[float, ...]:
    """Return a number as float64, float32, float16 and bfloat16 have it."""
    dtypes = torch.float64, torch.float32, torch.float16, torch.bfloat16
    return tuple(float(torch.tensor(number, dtype=dtype)) for dtype in dtypes)


class Numbers:
    """A prime field with log decays, and the arithmetic of entries.

    Args:
        rng: draws the prime, the base of the exponential and the points.
    """

    _log2_e = _log_2 = torch.empty(0, dtype=torch.int64)  # the factors of a change of base, in each float

    def __init__(self, rng: random.Random) -> None:
        self.field = Field(rng)
        self.p, self.q = self.field.p, self.field.q
        self._small, self._large = (torch.from_numpy(table) for table in self.field.powers)
        self._draws = np.random.default_rng(rng.getrandbits(64))
        more, less = ([self.constant(of) for of in _rounded(factor)] for factor in (math.log2(math.e), math.log(2)))
        self._log2_e, self._log_2 = (
            torch.tensor([*factors, *(pow(of, -1, self.p) for of in divisors)])
            for factors, divisors in ((more, less), (less, more))
        )

    # Entries and back.

    def draw(self, *shape: int) -> Entries:
        """Draw values."""
        return torch.from_numpy(self._draws.integers(0, self.p, shape))

    def draw_logs(self, *shape: int) -> Entries:
        """Draw log decays, all of decays below 1."""
        return torch.from_numpy(_LOG - self._draws.integers(1, 1 << 28, shape))

    def in_base_2(self, x: Entries) -> Entries:
        """Return log decays in base 2: times log2(e)."""
        return self.multiply(x, self._log2_e[:1])

    def draw_lengths(self, *shape: int, plus: float) -> Entries:
        """Draw vectors along the last axis whose squared length, with a constant added, has a root mod p."""
        x = self.draw(*shape)
        while bool((lost := ~self._square(self._squared_length(x, plus))).any()):
            x = torch.where(lost, self.draw(*shape), x)
        return x

    def residues(self, x: Entries) -> Residues:
        """Return values as the field's residues.

        Raises:
            Unsound: if an entry was never written, or is a log decay.
        """
        if self._logs(x):
            raise Unsound("a log decay stands where a value is expected")
        return Residues(x.numpy(), self.p)

    def logs(self, x: Entries, *, base_2: bool = False) -> Residues:
        """Return log decays as the field's, mod q.

        Raises:
            Unsound: if an entry is -inf, was never written, is a value, or a log to another base.
        """
        self._logs(x)
        self._check_base(x, base_2)
        if bool((x == FORGETS).any()):
            raise Unsound("a decay of 0 has no logarithm mod q")
        return Residues(self._decoded(x).numpy(), self.q)

    def constant(self, number: float) -> int:
        """Return a number of the program as a value; a float is a binary fraction, so this is exact.

        Raises:
            NotModelled: if it is not finite.
        """
        return _fraction(number, self.p)

    def mask(self, number: float) -> int:
        """Return a number that a program fills a tensor with: a value, or a log whose exponential is 0."""
        return FORGETS if number <= UNDERFLOWS else self.constant(number)

    def lifted(self, x: torch.Tensor) -> Entries:
        """Return the entries of an ordinary tensor."""
        if not x.dtype.is_floating_point:
            return x.long() % self.p
        numbers, where = np.unique(x.double().numpy(), return_inverse=True)
        entries = np.array([self.mask(number) for number in numbers.tolist()], dtype=np.int64)
        return torch.from_numpy(np.asarray(entries[where]).reshape(x.shape))

    # Kinds.

    def _logs(self, *operands: Entries) -> bool:
        """Tell whether there is a log decay among entries that are about to be used.

        Raises:
            Unsound: if one was never written.
        """
        found = False
        for x in operands:
            if x.numel() and x.numpy().view(np.uint64).max() >= LEAST_LOG:  # EMPTY is the largest without a sign
                if bool((x < 0).any()):
                    raise Unsound(f"reads what was never written, at {_first(x < 0)} of a tensor {list(x.shape)}")
                found = True
        return found

    def _zero(self, *operands: Entries) -> int:
        """Return what stands for a log of 0 in the base of these log decays.

        Raises:
            Unsound: if they are to different bases.
        """
        natural, binary = (
            any(bool(((x >= low) & (x < high)).any()) for x in operands)
            for low, high in ((LEAST_LOG, _LEAST_LOG_2), (_LEAST_LOG_2, FORGETS))
        )
        if natural and binary:
            raise Unsound("a log decay in nats meets one in base 2")
        return _LOG_2 if binary else _LOG

    def _check_base(self, x: Entries, base_2: bool) -> None:
        other = (x >= LEAST_LOG) & (x < _LEAST_LOG_2) if base_2 else (x >= _LEAST_LOG_2) & (x < FORGETS)
        if bool(other.any()):
            raise Unsound(f"a log decay {_BASES[not base_2]} stands where one {_BASES[base_2]} is expected")

    def _decoded(self, x: Entries) -> Entries:
        """Return log decays as integers, -inf as it is.

        Raises:
            Unsound: if there is a value among them.
        """
        if bool(((x > 0) & (x < LEAST_LOG)).any()):
            raise Unsound("a log decay meets what is no log decay")
        return torch.where((x == 0) | (x == FORGETS), x, x - self._zero(x))

    @staticmethod
    def _encoded(x: Entries, zero: int = _LOG) -> Entries:
        return torch.where(x == 0, x, x + zero)

    def _rebased(self, zero: int, factor: Entries, logs: torch.Tensor) -> tuple[int, Entries]:
        """Return the zero of log decays behind a multiplication, and the factors without that of a change of base."""
        for start, end, constants in ((_LOG, _LOG_2, self._log2_e), (_LOG_2, _LOG, self._log_2)):
            for sign in (1, -1):
                if zero == start and bool(torch.isin(factor[logs], sign * constants % self.p).all()):
                    return end, torch.where(logs, sign, factor)
        return zero, factor

    def _factor(self, x: Entries) -> Entries:
        """Return values that multiply log decays as small integers."""
        signed = torch.where(x > self.p // 2, x - self.p, x)
        if bool((signed.abs() > _LARGEST_FACTOR).any()):
            raise Unsound("a log decay is multiplied by what is no small integer")
        return signed

    # Arithmetic.

    def add(self, a: Entries, b: Entries, alpha: int = 1) -> Entries:
        """Return a + alpha b."""
        if not self._logs(a, b):
            return (a + alpha * b) % self.p
        a, b = torch.broadcast_tensors(a, b)
        values = ((a > 0) & (a < LEAST_LOG)) | ((b > 0) & (b < LEAST_LOG))
        if bool((values & ((a >= LEAST_LOG) | (b >= LEAST_LOG))).any()):
            raise Unsound("a log decay is added to what is no log decay")
        lost = (a == FORGETS) | (b == FORGETS)
        if alpha < 0 and bool((b == FORGETS).any()):
            raise Unsound("a log decay of -inf is subtracted, which makes inf or NaN")
        zero = self._zero(a, b)
        logs = self._decoded(torch.where(values, 0, a)) + alpha * self._decoded(torch.where(values, 0, b))
        sums = torch.where(values, (torch.where(values, a, 0) + alpha * torch.where(values, b, 0)) % self.p,
                           self._encoded(logs, zero))  # fmt: skip
        return torch.where(lost, FORGETS, sums)

    def multiply(self, a: Entries, b: Entries) -> Entries:
        """Return the products; a log decay may be multiplied by a small integer, and into another base."""
        if not self._logs(a, b):
            return a * b % self.p
        if self._logs(b):
            a, b = b, a
        if self._logs(b):
            raise Unsound("two log decays are multiplied")
        a, b = torch.broadcast_tensors(a, b)
        values = a < LEAST_LOG
        zero, factor = self._rebased(self._zero(a), b, ~values)
        factor = self._factor(torch.where(values, 1, factor))
        lost = a == FORGETS
        if bool((lost & (factor <= 0)).any()):
            raise Unsound("a log decay of -inf is multiplied by 0 or a negative number")
        logs = self._encoded(self._decoded(torch.where(values | lost, 0, a)) * factor, zero)
        return torch.where(lost, FORGETS, torch.where(values, torch.where(values, a, 0) * b % self.p, logs))

    def negate(self, x: Entries) -> Entries:
        """Return -x."""
        return self.add(torch.zeros_like(x), x, -1)

    def invert(self, x: Entries) -> Entries:
        """Return 1 / x, by Fermat's little theorem.

        Raises:
            Unsound: if an entry is 0.
        """
        if self._logs(x):
            raise Unsound("divides by a log decay")
        if bool((x == 0).any()):
            raise Unsound(f"divides by 0, at {_first(x == 0)} of a tensor {list(x.shape)}")
        return self._power(x, self.p - 2)

    def root(self, x: Entries) -> Entries:
        """Return square roots: of both the one that is a square itself, so that roots of products are products.

        Raises:
            NotModelled: if an entry is no square.
        """
        if self._logs(x):
            raise Unsound("takes the root of a log decay")
        if not bool(self._square(x).all()):
            raise NotModelled("the root of a number that is no square mod p (where a length is divided by, say l2norm)")
        return self._power(x, (self.p + 1) // 4)  # p = 3 mod 4, since (p - 1) / 2 is an odd prime

    def unit(self, x: Entries, *, plus: float) -> Entries:
        """Divide vectors along the last axis by the root of their squared length, to which a constant is added."""
        return self.multiply(x, self.invert(self.root(self._squared_length(x, plus))))

    def _squared_length(self, x: Entries, plus: float) -> Entries:
        return self.add(self.total(self.multiply(x, x), [-1], keepdim=True), torch.tensor(self.constant(plus)))

    def _square(self, x: Entries) -> torch.Tensor:
        return self._power(x, self.q) <= 1

    def _power(self, x: Entries, exponent: int) -> Entries:
        result, square = torch.ones_like(x), x
        while exponent:
            if exponent & 1:
                result = result * square % self.p
            square, exponent = square * square % self.p, exponent >> 1
        return result

    def exponential(self, x: Entries, *, base_2: bool = False) -> Entries:
        """Return the exponential of log decays, e or 2 to their power.

        Raises:
            Unsound: if an entry is no log decay, or one to another base, or positive, so that the exponential may
                overflow.
        """
        self._logs(x)
        self._check_base(x, base_2)
        if bool(((x > 0) & (x < LEAST_LOG)).any()):
            raise Unsound("takes the exponential of what is no log decay")
        lost = x == FORGETS
        logs = self._decoded(torch.where(lost, 0, x))
        if bool((logs > 0).any()):
            raise Unsound(
                f"takes the exponential of a positive combination of log decays, which overflows, "
                f"at {_first(logs > 0)} of a tensor {list(x.shape)}"
            )
        power = logs % self.q
        return torch.where(lost, 0, self._small[power & _LOW] * self._large[power >> _HALF] % self.p)

    def total(self, x: Entries, dims: list[int], *, keepdim: bool) -> Entries:
        """Return sums over axes."""
        dims = dims or list(range(x.ndim))
        if not x.ndim:
            return x.clone()
        if not self._logs(x):
            return x.sum(dims, keepdim=keepdim) % self.p
        if bool((x == FORGETS).any()):
            raise Unsound("a log decay of -inf is summed")
        return self._encoded(self._decoded(x).sum(dims, keepdim=keepdim), self._zero(x))

    def cumulated(self, x: Entries, dim: int) -> Entries:
        """Return cumulated sums over an axis."""
        if not self._logs(x):
            return x.cumsum(dim) % self.p
        lost = x == FORGETS
        sums = self._encoded(self._decoded(torch.where(lost, 0, x)).cumsum(dim), self._zero(x))
        return torch.where(lost.cumsum(dim) > 0, FORGETS, sums)

    def product(self, a: Entries, b: Entries) -> Entries:
        """Return matrix products on float64, with one or both factors in halves of 15 bits."""
        if not self._logs(a, b):
            if a.shape[-1] <= MOST_TERMS:
                a = a.double()
                high, low = (torch.matmul(a, part.double()).long() for part in (b >> _HALF, b & _LOW))
                return ((high % self.p << _HALF) + low) % self.p
            a1, a0, b1, b0 = (part.double() for x in (a, b) for part in (x >> _HALF, x & _LOW))
            high = torch.matmul(a1, b1).long() % self.p
            middle = (torch.matmul(a1, b0) + torch.matmul(a0, b1)).long() % self.p
            return (((high << _HALF) + middle) % self.p * (1 << _HALF) + torch.matmul(a0, b0).long()) % self.p
        if self._logs(a) and self._logs(b):
            raise Unsound("two log decays are multiplied")
        zero = self._zero(a, b)
        a, b = (self._decoded(x) if self._logs(x) else self._factor(x) for x in (a, b))
        return self._encoded(torch.matmul(a, b), zero)

    def solve(self, A: Entries, B: Entries, *, upper: bool, unit: bool) -> Entries:
        """Solve A X = B for triangular A by substitution; the other triangle, and a unit diagonal, are not read."""
        n = A.shape[-1]
        batch = torch.broadcast_shapes(A.shape[:-2], B.shape[:-2])
        A, B = A.expand(*batch, n, n), B.expand(*batch, *B.shape[-2:])
        X = torch.empty(B.shape, dtype=torch.int64)
        for i in reversed(range(n)) if upper else range(n):
            known = slice(i + 1, n) if upper else slice(0, i)
            row = B[..., i, :]
            if known.stop > known.start:
                row = self.add(row, self.product(A[..., i : i + 1, known], X[..., known, :])[..., 0, :], -1)
            X[..., i, :] = row if unit else self.multiply(row, self.invert(A[..., i, i, None]))
        return X

    # Comparisons.

    def nats(self, x: Entries) -> torch.Tensor:
        """Return log decays as float64, in the unit that they have.

        Raises:
            NotModelled: if an entry is a value: values mod p have no order.
        """
        if self._logs(x) or not bool((x > 0).any()):
            logs = self._decoded(x)
            unit = NATS * (math.log2(math.e) if self._zero(x) == _LOG_2 else 1.0)
            return torch.where(x == FORGETS, -torch.inf, logs.double() * unit)
        raise NotModelled("an order of values: the program compares numbers that are no decays")

    def magnitude(self, x: Entries) -> Entries:
        """Return the absolute values of log decays, whose order is known.

        Raises:
            NotModelled: if an entry is a value, since values mod p have no order, or -inf.
        """
        if bool(self.nats(x).isinf().any()):
            raise NotModelled("the absolute value of a log decay of -inf")
        return self._encoded(self._decoded(x).abs(), self._zero(x))

    def finite(self, x: Entries) -> torch.Tensor:
        """Tell which entries are finite: all but -inf."""
        self._logs(x)
        return x != FORGETS

    def same(self, a: Entries, b: Entries) -> torch.Tensor:
        """Tell which entries are equal; each number is written in one way."""
        self._logs(a, b)
        return a == b


@lru_cache(4096)
def _fraction(number: float, p: int) -> int:
    if isinstance(number, float) and not np.isfinite(number):
        raise NotModelled(f"the number {number}")
    if isinstance(number, complex):
        raise NotModelled("a complex number")
    over, under = number.as_integer_ratio()
    return over * pow(under, -1, p) % p


def _first(where: torch.Tensor) -> list[int]:
    return where.nonzero()[0].tolist()
