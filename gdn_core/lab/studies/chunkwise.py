"""The chunk form of Gated DeltaNet: its matrices, its agreement with the recurrence, and what its exponentials need."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from gdn_core import RULES, Stream, reference, streams

T, K, V = 16, 8, 6
FLOATS = ("float16", "float32", "float64")


def stream_of(alpha: float, beta: float) -> Stream:
    """Return 16 tokens with random unit keys, and the same gates at every token."""
    rng = np.random.default_rng(0)
    q, k = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in rng.standard_normal((2, T, K)))
    v, one = rng.standard_normal((T, V)), np.ones(T)
    return Stream(q=q, k=k, v=v, g=np.log(alpha) * one, beta=beta * one, w=one, delta=one, A=-np.ones(K))


def matrices(size: int, alpha: float) -> dict[str, np.ndarray]:
    """Make the matrices of one chunk, and solve its triangular system row by row.

    Returns:
        Gamma, the decays from token j to token i; A, what is inverted less the identity; T [size, size, size], its
        inverse after each row of the substitution; W and U, the rows of the WY form; and errors [size, V], as the
        recurrence has them from an empty memory.
    """
    stream = stream_of(alpha, beta=1.0)
    k, v, G = stream.k[:size], stream.v[:size], np.cumsum(stream.g[:size])
    gap = np.tril(G[:, None] - G)
    Gamma = np.tril(np.exp(gap))
    A = np.tril((k @ k.T) * Gamma, -1)
    inverse, rows = np.zeros((size, size)), []
    for i in range(size):
        inverse[i] = np.eye(size)[i] - A[i] @ inverse
        rows.append(inverse.copy())
    S, errors, x = np.zeros((V, K)), [], streams.tokens(RULES["gated-deltanet"], stream)
    for t in range(size):
        moments = reference.moments(S, x[t])
        S = moments.written
        errors.append(moments.u)
    return {
        "Gamma": Gamma,
        "A": A,
        "T": np.array(rows),
        "W": inverse @ (np.exp(G)[:, None] * k),
        "U": inverse @ v,
        "errors": np.array(errors),
    }


def agreement(alpha: float) -> dict[str, np.ndarray]:
    """Compare the outputs of the chunk form, in chunks of every size, with those of the recurrence in float64.

    In fractions the keys, values and decays are rounded to eighths, and the comparison is exact.

    Returns:
        size [16]; exact [16], the largest difference in fractions; float16, float32 and float64 [16], the largest in
        these types, relative to the largest output; and recurrence [3], the same of the recurrence itself.
    """
    x = streams.tokens(RULES["gated-deltanet"], stream_of(alpha, beta=0.5))
    _, right = reference.recurrent(np.zeros((V, K)), x)
    found: dict[str, np.ndarray] = {"size": np.arange(1, T + 1), "exact": _exact(alpha)}
    own = []
    for name in FLOATS:
        cast = reference.Token(*(getattr(x, part).astype(name) for part in ("q", "k", "v", "g", "b", "w")))
        empty = np.zeros((V, K), name)
        outputs = [reference.chunkwise(empty, cast, chunk_size=int(size))[1] for size in found["size"]]
        found[name] = np.array([_difference(o, right) for o in outputs])
        own.append(_difference(reference.recurrent(empty, cast)[1], right))
    return found | {"recurrence": np.array(own)}


def _difference(o: np.ndarray, right: np.ndarray) -> float:
    """Return the largest difference of outputs, relative to the largest output."""
    return float(np.abs(o.astype(float) - right).max() / np.abs(right).max())


def _exact(alpha: float) -> np.ndarray:
    """Run six tokens in fractions, where a decay is a fraction of its own, and return the largest difference."""
    stream, n = stream_of(alpha, beta=0.5), 6
    eighths = np.vectorize(lambda number: Fraction(round(8 * number), 8), otypes=[object])
    power = Fraction(round(alpha * 100), 100)
    one = np.full((n, 1), Fraction(1, 2), dtype=object)
    x = reference.Token(
        q=eighths(stream.q[:n, :2]), k=eighths(stream.k[:n, :2]), v=eighths(stream.v[:n, :2]),
        g=np.ones((n, 1, 1), dtype=object), b=one, w=one,
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


def operations(width: str) -> dict[str, np.ndarray]:
    """Count the multiplications of the reference's chunk form a token, for K = V = d, the width.

    Returns:
        size [N], powers of two; inside [N], of tokens with tokens of their chunk; carried [N], with the memory; and
        waits [N], the chunks of 4096 tokens that have to follow one after the other.
    """
    d, size = int(width), 2 ** np.arange(0, 10)
    inside = 3.0 * d * size + 5 * d
    return {"size": size, "inside": inside, "carried": 3.0 * d**2 + d**2 / size, "waits": 4096 / size}
