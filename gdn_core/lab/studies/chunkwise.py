"""The chunk form of Gated DeltaNet: its matrices, its agreement with the recurrence, its exponentials and its cost."""

from __future__ import annotations

import time
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np

from gdn_core import RULES, Stream, reference, streams

T, K, V = 16, 8, 6
BETA = 0.8
LENGTH = 256  # tokens that are timed
PER_TOKEN = ("q", "k", "v", "g", "beta", "w", "delta")
FLOATS = ("bfloat16", "float16", "float32", "float64")


class Bfloat16(np.ndarray):
    """An array of float32 in which the result of every operation is rounded to bfloat16, to the nearest, ties to even.

    A matrix product is added up in float32 and rounded once, as GPUs do.
    """

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        plain = [np.asarray(x) for x in inputs]
        return in_bfloat16(getattr(ufunc, method)(*plain, **options))


def in_bfloat16(x: np.ndarray) -> Bfloat16:
    """Return the nearest numbers of bfloat16, whose significand has 8 bits, the upper half of a float32."""
    bits = np.asarray(x, dtype=np.float32).view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)
    return rounded.view(np.float32).view(Bfloat16)


def _stack(parts: list[np.ndarray]) -> np.ndarray:
    """Stack arrays of a carrier, which NumPy would make plain ones."""
    return np.stack(parts).view(type(parts[0]))


def stream_of(alpha: float, beta: float, seed: int = 0) -> Stream:
    """Return 16 tokens with random unit keys, and the same gates at every token."""
    rng = np.random.default_rng(seed)
    q, k = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in rng.standard_normal((2, T, K)))
    v, one = rng.standard_normal((T, V)), np.ones(T)
    return Stream(q=q, k=k, v=v, g=np.log(alpha) * one, beta=beta * one, w=one, delta=one, A=-np.ones(K))


def matrices(size: int, alpha: float) -> dict[str, np.ndarray]:
    """Make the matrices of one chunk from an empty memory, and solve its triangular system row by row.

    Returns:
        Gamma, the decays from token j to token i; A, what is inverted less the identity; T [size, size, size], its
        inverse after each row of the substitution; U, the errors; errors [size, V], as the recurrence has them; and
        apart [size], the largest difference of the two at each token.
    """
    stream = stream_of(alpha, BETA)
    k, v, G = stream.k[:size], stream.v[:size], np.cumsum(stream.g[:size])
    Gamma = np.tril(np.exp(np.tril(G[:, None] - G)))
    A = np.tril(BETA * (k @ k.T) * Gamma, -1)
    inverse, rows = np.zeros((size, size)), []
    for i in range(size):
        inverse[i] = np.eye(size)[i] - A[i] @ inverse
        rows.append(inverse.copy())
    errors, *_ = _by_recurrence(np.zeros((V, K)), stream, size)
    U = inverse @ (BETA * v)
    apart = np.abs(U - errors).max(axis=1)
    return {"Gamma": Gamma, "A": A, "T": np.array(rows), "U": U, "errors": errors, "apart": apart}


def _by_recurrence(S: np.ndarray, stream: Stream, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the errors, the outputs and the last memory of the first tokens, token by token."""
    errors, outputs, x = [], [], streams.tokens(RULES["gated-deltanet"], stream)
    for t in range(size):
        moments = reference.moments(S, x[t])
        S = moments.written
        errors.append(moments.u)
        outputs.append(moments.o)
    return np.array(errors), np.array(outputs), S


MEASURED = ("U", "WS", "of_memory", "of_chunk", "S", "after")  # whose lengths the lesson says


def two_chunks(size: int, alpha: float) -> Stream:
    """Return the 16 tokens that leave a memory, and those of the chunk behind them."""
    before, chunk = stream_of(alpha, BETA, 1), stream_of(alpha, BETA).window(0, size)
    joined = {name: np.concatenate([getattr(before, name), getattr(chunk, name)]) for name in PER_TOKEN}
    return Stream(**joined, A=before.A)


def carried(size: int, alpha: float) -> dict[str, np.ndarray]:
    """Run one chunk by matrices, from a memory that 16 tokens before it have left.

    Returns:
        S [V, K], the memory before; U and N [size, V], the errors from an empty memory and from S; W [size, K], and
        WS [size, V], what S takes from the errors; of_memory and of_chunk [size, V], the two parts of the outputs; O,
        their sum; after [V, K]; lengths [6], of ``MEASURED``; and apart [3], the largest differences of N, O and after
        from the recurrence.
    """
    S, _ = reference.recurrent(np.zeros((V, K)), streams.tokens(RULES["gated-deltanet"], stream_of(alpha, BETA, 1)))
    stream, empty = stream_of(alpha, BETA), matrices(size, alpha)
    q, k, gamma = stream.q[:size], stream.k[:size], np.exp(np.cumsum(stream.g[:size]))
    W = empty["T"][-1] @ (BETA * gamma[:, None] * k)
    N = empty["U"] - W @ S.T
    of_memory, of_chunk = gamma[:, None] * (q @ S.T), (q @ k.T * empty["Gamma"]) @ N
    after = gamma[-1] * S + N.T @ (empty["Gamma"][-1][:, None] * k)
    pairs = zip((N, of_memory + of_chunk, after), _by_recurrence(S, stream, size), strict=True)
    made = {
        "S": S, "U": empty["U"], "W": W, "WS": W @ S.T, "N": N, "of_memory": of_memory, "of_chunk": of_chunk,
        "O": of_memory + of_chunk, "after": after, "apart": np.array([np.abs(a - b).max() for a, b in pairs]),
    }  # fmt: skip
    return made | {"lengths": np.array([np.linalg.norm(made[name]) for name in MEASURED])}


def agreement(alpha: float) -> dict[str, np.ndarray]:
    """Compare the outputs of the chunk form, in chunks of every size, with those of the recurrence in float64.

    In fractions the keys, values and decays are rounded to eighths, and the comparison is exact.

    Returns:
        size [16]; exact [16], the largest difference in fractions; bfloat16, float16, float32 and float64 [16], the
        largest in these types, relative to the largest output; and recurrence [4], the same of the recurrence itself.
    """
    x = streams.tokens(RULES["gated-deltanet"], stream_of(alpha, beta=0.5))
    _, right = reference.recurrent(np.zeros((V, K)), x)
    found: dict[str, np.ndarray] = {"size": np.arange(1, T + 1), "exact": _exact(alpha)}
    own = []
    for name in FLOATS:
        cast = in_bfloat16 if name == "bfloat16" else np.dtype(name).type
        given = reference.Token(*(cast(getattr(x, part)) for part in ("q", "k", "v", "g", "b", "w")))
        empty = cast(np.zeros((V, K)))
        outputs = [reference.chunkwise(empty, given, chunk_size=int(n), stack=_stack)[1] for n in found["size"]]
        found[name] = np.array([_difference(o, right) for o in outputs])
        own.append(_difference(reference.recurrent(empty, given, stack=_stack)[1], right))
    return found | {"recurrence": np.array(own)}


def _difference(o: np.ndarray, right: np.ndarray) -> float:
    """Return the largest difference of outputs, relative to the largest output."""
    return float(np.abs(np.asarray(o, dtype=float) - right).max() / np.abs(right).max())


def _exact(alpha: float) -> np.ndarray:
    """Run six tokens in fractions, where a decay is a fraction of its own, and return the largest difference."""
    stream, n = stream_of(alpha, beta=0.5), 6
    eighths = np.vectorize(lambda number: Fraction(round(8 * number), 8), otypes=[object])
    power = Fraction(round(alpha * 100), 100)
    one = np.full((n, 1), Fraction(1, 2), dtype=object)
    x = reference.Token(
        q=eighths(stream.q[:n, :2]),
        k=eighths(stream.k[:n, :2]),
        v=eighths(stream.v[:n, :2]),
        g=np.ones((n, 1, 1), dtype=object),
        b=one,
        w=one,
    )

    def exp(g: np.ndarray) -> np.ndarray:
        """Return the decay of so many tokens."""
        return np.vectorize(lambda count: power ** int(count), otypes=[object])(g)

    empty = np.zeros((2, 2), dtype=object)
    _, right = reference.recurrent(empty, x, exp=exp)
    differences = []
    for size in range(1, T + 1):
        _, o = reference.chunkwise(empty, x, chunk_size=min(size, n), exp=exp)
        differences.append(float(max(abs(number) for number in (o - right).ravel())))
    return np.array(differences)


def exponents(alpha: float) -> dict[str, np.ndarray]:
    """Form the decay over a chunk in two ways in float32, for longer and longer chunks.

    Returns:
        size [N]; G [N], the log decay of the whole chunk; together [N], the exponential of a difference of log decays;
        growing [N], exp(-G), which the product exp(G_i) exp(-G_j) needs; and product [N], of the two factors.
    """
    size = np.unique(np.geomspace(1, 1024, 51).astype(int))
    G = (np.log(alpha) * size).astype(np.float32)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        growing = np.exp(-G)
        product = np.exp(G) * growing
    return {"size": size, "G": G, "together": np.exp(G - G[0]), "growing": growing, "product": product}


def in_chunks(
    q: np.ndarray, k: np.ndarray, v: np.ndarray, G: np.ndarray, beta: np.ndarray, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Run a stream from an empty memory by matrices, a chunk at a time.

    Args:
        q, k: [L, K]; v: [L, V]; beta: [L].
        G: log decays added up from the first token on, [L].
        size: tokens in a chunk, a divisor of L.

    Returns:
        The memory [V, K] and the outputs [L, V].
    """
    S, outputs = np.zeros((v.shape[1], k.shape[1]), v.dtype), []
    for n in range(0, len(k), size):
        Q, K, V, b = (x[n : n + size] for x in (q, k, v, beta[:, None]))
        g = G[n : n + size] - (G[n - 1] if n else 0)
        gamma, Gamma = np.exp(g)[:, None], np.tril(np.exp(np.tril(g[:, None] - g)))
        A = np.tril(b * (K @ K.T) * Gamma, -1)
        N = np.linalg.solve(np.eye(size, dtype=v.dtype) + A, b * (V - gamma * (K @ S.T)))
        outputs.append(gamma * (Q @ S.T) + (Q @ K.T * Gamma) @ N)
        S = gamma[-1] * S + N.T @ (Gamma[-1][:, None] * K)
    return S, np.concatenate(outputs)


def timed(d: int, run: int) -> np.ndarray:
    """Draw the queries, keys and values that are timed, [3, LENGTH, d] in float32."""
    return np.random.default_rng(run).standard_normal((3, LENGTH, d), dtype=np.float32) / np.float32(d**0.5)


def first_timed(width: str, run: int) -> Stream:
    """Return the first of the tokens that are timed, as many as there is room for in a link."""
    d = int(width)
    n = 512 // d
    (q, k, v), one = timed(d, run)[:, :n].astype(float), np.ones(n)
    return Stream(q=q, k=k, v=v, g=np.log(0.9) * one, beta=0.5 * one, w=one, delta=one, A=-np.ones(d))


def cost(width: str, run: int, *, clock: Callable[[], float] = time.perf_counter) -> dict[str, np.ndarray]:
    """Count the multiplications of the reference's chunk form, and time the one by matrices, for chunks of each size.

    Args:
        width: the channels of keys and of values, K = V = d.
        run: draws other tokens, and measures again.
        clock: says the time in seconds.

    Returns:
        size [N], powers of two; inside [N], multiplications a token of tokens with tokens of their chunk; carried [N],
        with the memory; waits [N], the chunks of ``LENGTH`` tokens that follow one after the other; and seconds [N],
        for these tokens in float32, the shorter of two times.
    """
    d, size = int(width), 2 ** np.arange(0, 9)
    q, k, v = timed(d, run)
    G = np.log(np.float32(0.9)) * np.arange(1, LENGTH + 1, dtype=np.float32)
    beta, seconds = np.full(LENGTH, np.float32(0.5)), []
    for C in size:
        times = []
        for _ in range(2):
            start = clock()
            in_chunks(q, k, v, G, beta, int(C))
            times.append(clock() - start)
        seconds.append(min(times))
    inside, carried = 3.0 * d * size + 5 * d, 3.0 * d**2 + d**2 / size
    return {"size": size, "inside": inside, "carried": carried, "waits": LENGTH / size, "seconds": np.array(seconds)}
