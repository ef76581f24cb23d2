"""The operands of the trajectory kernel: a rule's tokens as float32 arrays, and their layout in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gdn_core.reference import Token

Floats32 = np.ndarray  # float32

DECAY, ERASE, KEY, QUERY = range(4)  # the slots of a token's key-sided vectors, as the kernel splits them


@dataclass(frozen=True)
class Operands:
    """One rule's tokens as the kernel takes them: float32, an axis along which all entries are equal having size 1.

    Args:
        decay: exp(g), [T|1, V|1, K|1].
        k: key, [T|1, V|1, K].
        erase: the erase key b*k, by which the memory is read before the write, [T|1, 1, K].
        wv: the gated value w*v, [T, V].
        q: query, [T, K].

    A normalised rule has one more value channel than its stream, whose value is 1.
    """

    decay: Floats32
    k: Floats32
    erase: Floats32
    wv: Floats32
    q: Floats32

    @classmethod
    def of(cls, x: Token) -> Operands:
        """Round a rule's tokens, of any floating type, to float32.

        Raises:
            ValueError: if tokens erase and have a key for each value channel, which no rule of the family does.
        """
        k = x.k if x.k.ndim == 3 else x.k[:, None, :]
        erase = _narrowed(x.b[:, None, :] * k, axes=(0, 1))
        if erase.shape[1] > 1:
            raise ValueError("b: expected 0 where there is a key for each value channel")
        return cls(
            decay=_narrowed(np.exp(x.g), axes=(0, 1, 2)),
            k=_narrowed(k, axes=(0, 1)),
            erase=erase,
            wv=np.ascontiguousarray(x.w * x.v, dtype=np.float32),
            q=np.ascontiguousarray(x.q, dtype=np.float32),
        )

    def at(self, t: int) -> tuple[Floats32, Floats32]:
        """Return the decay [V|1, K|1] and the key [V|1, K] of token t."""
        return self.decay[t if len(self.decay) > 1 else 0], self.k[t if len(self.k) > 1 else 0]

    def replay(self, S: Floats32, u: Floats32) -> Floats32:
        """Recompute the states from recorded errors, with the kernel's roundings.

        Args:
            S: memory before the first token, [V, K].
            u: errors, [T, V].

        Returns:
            The memory before the first token and after each, [T + 1, V, K], bit for bit as in the kernel.
        """
        states = np.empty((len(u) + 1, *S.shape), np.float32)
        states[0] = S
        np.multiply(u[:, :, None], self.k, out=states[1:])
        decayed = np.empty_like(S)
        for t in range(len(u)):
            np.multiply(self.at(t)[0], states[t], out=decayed)
            states[t + 1] += decayed
        return states


def _narrowed(x: np.ndarray, axes: tuple[int, ...]) -> Floats32:
    """Round to float32, and reduce those of these axes along which all entries are equal to size 1."""
    x = np.asarray(x, dtype=np.float32)
    for axis in axes:
        first = x.take([0], axis=axis)
        if x.shape[axis] > 1 and (x == first).all():
            x = first
    return np.ascontiguousarray(x)


@dataclass(frozen=True)
class Packed:
    """The operands of R rules for one launch; V is the number of rows of the tallest memory.

    Args:
        x: decay, erase, key and query of each token, interleaved, float32 [R, T, 4K].
        v: gated values w*v, float32 [R, T, V].
        wide: the decays and keys that differ from row to row, float32, flat; of size 1 where there are none.
        table: where each rule's decay and key are in ``wide``: base and strides of t, v and k, int64 [R, 2, 4]. A
            stride of 0 repeats: a constant decay is not copied T times.
        rows: the rows of each memory, int64 [R].
        wide_decay: whether the decays are in ``wide``, those of all rules, rather than in ``x``.
        wide_key: the same for the keys.
    """

    x: Floats32
    v: Floats32
    wide: Floats32
    table: np.ndarray
    rows: np.ndarray
    wide_decay: bool
    wide_key: bool

    @property
    def K(self) -> int:
        """The key channels."""
        return self.x.shape[2] // 4

    @classmethod
    def of(cls, rules: Sequence[Operands]) -> Packed:
        """Pack the operands of rules that run over the same number of tokens."""
        T, K = rules[0].q.shape
        rows = np.array([x.wv.shape[1] for x in rules], dtype=np.int64)
        x = np.empty((len(rules), T, K, 4), np.float32)
        v = np.zeros((len(rules), T, int(rows.max())), np.float32)
        wide_decay = any(rule.decay.shape[1] > 1 for rule in rules)
        wide_key = any(rule.k.shape[1] > 1 for rule in rules)
        wide: list[Floats32] = []
        table = np.zeros((len(rules), 2, 4), dtype=np.int64)
        base = 0
        for r, rule in enumerate(rules):
            x[r, :, :, ERASE] = rule.erase[:, 0]
            x[r, :, :, QUERY] = rule.q
            v[r, :, : rows[r]] = rule.wv
            for column, (is_wide, slot, values) in enumerate(
                ((wide_decay, DECAY, rule.decay), (wide_key, KEY, rule.k))
            ):
                if not is_wide:
                    x[r, :, :, slot] = values[:, 0]
                    continue
                x[r, :, :, slot] = 0
                strides = np.where(np.array(values.shape) == 1, 0, np.array(values.strides) // values.itemsize)
                table[r, column] = base, *strides
                wide.append(values.ravel())
                base += values.size
        flat = np.concatenate(wide) if wide else np.zeros(1, np.float32)
        return cls(x.reshape(len(rules), T, 4 * K), v, flat, table, rows, wide_decay, wide_key)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays by their names."""
        return {"x": self.x, "v": self.v, "wide": self.wide, "table": self.table, "rows": self.rows}

    def check(self) -> None:
        """Check that the kernel reads every array right and within its bounds.

        Raises:
            ValueError: if the dtype or size of an array does not fit the others, if it is not contiguous, or if the
                table points outside ``wide``.
        """
        R, T, V = self.v.shape
        expected = {
            "x": (self.x, np.float32, (R, T, 4 * self.K)),
            "v": (self.v, np.float32, (R, T, V)),
            "wide": (self.wide, np.float32, (self.wide.size,)),
            "table": (self.table, np.int64, (R, 2, 4)),
            "rows": (self.rows, np.int64, (R,)),
        }
        for name, (array, dtype, shape) in expected.items():
            if array.dtype != dtype or array.shape != shape or not array.flags.c_contiguous:
                raise ValueError(
                    f"{name}: expected contiguous {np.dtype(dtype)} {list(shape)}, got "
                    f"{'' if array.flags.c_contiguous else 'strided '}{array.dtype} {list(array.shape)}"
                )
        if min(R, T, V, self.K) < 1 or self.rows.min() < 1 or self.rows.max() > V:
            raise ValueError(
                f"rows: expected 1 to V = {V} rows of a memory that is not empty, got {self.rows.tolist()}"
            )
        for r, rows in enumerate(self.rows):
            last = self.table[r, :, 0] + self.table[r, :, 1:] @ np.array([T - 1, rows - 1, self.K - 1])
            if self.table[r].min() < 0 or last.max() >= self.wide.size:
                raise ValueError(
                    f"table: expected entries inside wide, of size {self.wide.size}, got {self.table[r].tolist()}"
                )
