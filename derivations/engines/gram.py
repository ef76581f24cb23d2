"""The code on vectors of any width: keys and queries are known by their inner products, values by name.

The code runs on arrays whose key axis holds coefficients over the letters ``S0`` (the first memory), the keys and the
queries. Contracting that axis replaces two letters by their inner product, ``k_i . k_j`` or ``k_i . q_j``, and a letter
with ``S0`` by ``S0 k_j`` or ``S0 q_j``. No other operation is defined, so a result holds for every dk and dv. An
operation on single channels, such as the product of two keys channel by channel, raises.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from derivations.engines.ring import Ring
from gdn_core.reference import Token

_TOKEN, _KEY, _VALUE = "", "K", "V"  # what an axis is: of known entries, of coefficients, or of one symbolic entry


class Width:
    """How many channels a symbolic axis has: any number, so code that asks cannot be checked for all of them."""

    def _counted(self, *other: Any) -> Any:
        raise ArithmeticError("the code counts the channels of a vector")

    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __bool__ = __index__ = __int__ = __float__ = _counted
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __pow__ = __rpow__ = __neg__ = _counted
    __truediv__ = __rtruediv__ = __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = __hash__ = __format__ = _counted


class Axes:
    """An array whose axes have kinds, over polynomials in the inner products, gates and values."""

    __array_ufunc__ = None

    def __init__(self, entries: np.ndarray, kinds: tuple[str, ...], gram: np.ndarray) -> None:
        self.entries, self.kinds, self._gram = entries, kinds, gram

    @property
    def shape(self) -> tuple[int | Width, ...]:
        """The size of each axis; that of a symbolic axis raises whatever is asked of it."""
        return tuple(n if kind == _TOKEN else Width() for n, kind in zip(self.entries.shape, self.kinds, strict=True))

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self.entries.ndim

    @property
    def T(self) -> Axes:
        """The array with its axes reversed."""
        return self._with(self.entries.T, self.kinds[::-1])

    def __len__(self) -> int:
        if self.kinds[0] != _TOKEN:
            raise ArithmeticError("the code counts the channels of a vector")
        return len(self.entries)

    def __getitem__(self, index: Any) -> Axes:
        kinds: list[str] = []
        left = list(self.kinds)
        for entry in index if isinstance(index, tuple) else (index,):
            if entry is None:
                kinds.append(_TOKEN)
                continue
            kind = left.pop(0)
            if kind != _TOKEN and entry != slice(None):
                raise ArithmeticError("the code looks at single channels of a vector")
            if isinstance(entry, slice | list):
                kinds.append(kind)
        return self._with(self.entries[index], (*kinds, *left))

    def __add__(self, other: Any) -> Axes:
        return self._elementwise(other, np.add, product=False)

    def __sub__(self, other: Any) -> Axes:
        return self._elementwise(other, np.subtract, product=False)

    def __mul__(self, other: Any) -> Axes:
        return self._elementwise(other, np.multiply, product=True)

    def __rsub__(self, other: Any) -> Axes:
        return self._elementwise(other, lambda mine, theirs: theirs - mine, product=False)

    def __rmul__(self, other: Any) -> Axes:
        return self * other

    def __matmul__(self, other: Axes) -> Axes:
        last, first = self.kinds[-1], other.kinds[0 if other.ndim == 1 else -2]
        if last != first or last == _VALUE:
            raise ArithmeticError(
                f"the code contracts an axis of kind {last or 'token'} with one of kind {first or 'token'}"
            )
        right = other.entries
        if last == _KEY:
            right = np.tensordot(self._gram, right, axes=(1, 0 if other.ndim == 1 else other.ndim - 2))
        entries = np.asarray(self.entries @ right, dtype=object)
        kept = () if other.ndim == 1 else (other.kinds[-1],)
        return self._with(entries, (*self.kinds[:-1], *kept))

    def _elementwise(self, other: Any, operation: Callable[[Any, Any], Any], *, product: bool) -> Axes:
        if not isinstance(other, Axes):
            if {*self.kinds} != {_TOKEN} and (not product or np.ndim(other)):
                raise ArithmeticError("the code takes an array of known entries, or a number, for a vector")
            return self._with(operation(self.entries, other), self.kinds)
        n = max(self.ndim, other.ndim)
        kinds = []
        for mine, theirs in zip(_padded(self, n), _padded(other, n), strict=True):
            if product and _TOKEN not in (mine[0], theirs[0]):
                raise ArithmeticError("the code multiplies two vectors channel by channel")
            for vector, scalar in ((mine, theirs), (theirs, mine)):
                if vector[0] != _TOKEN and scalar[0] != vector[0] and (not product or scalar != (_TOKEN, 1)):
                    raise ArithmeticError("the code takes tokens for channels, or adds a number to a vector")
            kinds.append(mine[0] or theirs[0])
        return self._with(operation(self.entries, other.entries), tuple(kinds))

    def _with(self, entries: np.ndarray, kinds: tuple[str, ...]) -> Axes:
        return Axes(np.asarray(entries, dtype=object), kinds, self._gram)


class Gram:
    """A stream of C tokens under scalar gates, its memory of any size, and the carrier's operations.

    Args:
        C: the number of tokens.
        tied: the erase and write gates are one letter.
    """

    def __init__(self, C: int, *, tied: bool) -> None:
        ring = Ring(
            exponentials={"a": (C,)}, g=(C,), b=(C,), w=(C,), v=(C,), Sk=(C,), Sq=(C,), kk=(C, C), kq=(C, C), never=()
        )
        ring.let_exp(ring["g"], "a")
        self._ring = ring
        # Over S0, k_1 .. k_C, q_1 .. q_C. The product of two queries, or of S0 with itself, is the letter "never".
        gram = np.full((2 * C + 1, 2 * C + 1), ring["never"][()], dtype=object)
        keys, queries = slice(1, C + 1), slice(C + 1, 2 * C + 1)
        gram[0, keys] = gram[keys, 0] = ring["Sk"]
        gram[0, queries] = gram[queries, 0] = ring["Sq"]
        upper = np.triu(ring["kk"])
        gram[keys, keys] = upper + np.triu(ring["kk"], 1).T
        gram[keys, queries] = ring["kq"]
        gram[queries, keys] = ring["kq"].T

        def axes(entries: np.ndarray, *kinds: str) -> Axes:
            return Axes(entries, kinds, gram)

        letters = np.where(np.eye(2 * C + 1, dtype=bool), ring.one, 0 * ring.one)
        self.S = axes(letters[:1], _VALUE, _KEY)
        gates = {name: axes(ring[name][:, None], _TOKEN, _TOKEN) for name in ("b", "w")}
        self.x = Token(
            q=axes(letters[queries], _TOKEN, _KEY),
            k=axes(letters[keys], _TOKEN, _KEY),
            v=axes(ring["v"][:, None], _TOKEN, _VALUE),
            g=axes(ring["g"][:, None, None], _TOKEN, _TOKEN, _TOKEN),
            b=gates["b"],
            w=gates["b"] if tied else gates["w"],
        )

    def exp(self, x: Axes) -> Axes:
        """Return the exponential of log decays, elementwise."""
        return x._with(self._ring.exp(x.entries), x.kinds)

    def residual(self, left: Axes, right: Axes) -> Any:
        """Return the difference of two arrays, or a sentence where their axes differ."""
        if left.kinds != right.kinds or left.entries.shape != right.entries.shape:
            one, other = (f"{x.kinds} of {list(x.entries.shape)}" for x in (left, right))
            return f"one has the axes {one}, the other {other}"
        return self._ring.residual(left.entries, right.entries)


def stack(arrays: Sequence[Axes]) -> Axes:
    """Stack arrays along a new first axis, of tokens."""
    first = arrays[0]
    if any(a.kinds != first.kinds for a in arrays):
        raise ValueError(f"expected arrays of the same axes, got {[a.kinds for a in arrays]}")
    return first._with(np.stack([a.entries for a in arrays]), (_TOKEN, *first.kinds))


def _padded(x: Axes, n: int) -> list[tuple[str, int]]:
    """Return the kind and the size of each axis, with axes of one entry in front up to n."""
    return [(_TOKEN, 1)] * (n - x.ndim) + list(zip(x.kinds, x.entries.shape, strict=True))
