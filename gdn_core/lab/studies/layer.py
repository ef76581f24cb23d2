"""The whole layer around a Gated DeltaNet's memory: a text flows through, and every number on its way is returned."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gdn_core import RULES, Stream, reference
from gdn_core.lab.studies.softmax import MODELS
from gdn_core.lab.text import direction, gaussians, split_words
from gdn_core.rules import Source
from gdn_core.streams import tokens

D, H, HV, K, V, TAPS = 12, 1, 2, 6, 8, 4  # channels of a token; heads of keys, of values; channels of both; taps
EPS = 1e-6
QUERIES, KEYS = slice(0, H * K), slice(H * K, 2 * H * K)  # channels behind the convolution


@dataclass(frozen=True)
class Weights:
    """The weights of a layer, in the shapes of Transformers' ``Qwen3NextGatedDeltaNet``.

    Args:
        qkvz: [H (2 K + 2 (HV / H) V), D], for each head of keys its query, key, values, and gates of the output.
        ba: [2 HV, D], for each head of keys what gives beta, and what gives the decay.
        conv: [2 H K + HV V, TAPS], the last tap is the token's own.
        A_log, dt_bias: [HV].
        norm: [V].
        out: [D, HV V].
    """

    qkvz: np.ndarray
    ba: np.ndarray
    conv: np.ndarray
    A_log: np.ndarray
    dt_bias: np.ndarray
    norm: np.ndarray
    out: np.ndarray


def weights() -> Weights:
    """Draw the weights of the small layer that is shown; of its two heads the first forgets slowly."""

    def drawn(name: str, rows: int, columns: int) -> np.ndarray:
        return gaussians(0, "weights", name, rows * columns).reshape(rows, columns) / np.sqrt(columns)

    conv = drawn("conv", 2 * H * K + HV * V, TAPS) + np.array([0.0, 0.0, 0.2, 0.8])
    return Weights(
        qkvz=drawn("qkvz", H * (2 * K + 2 * (HV // H) * V), D), ba=drawn("ba", 2 * HV, D), conv=conv,
        A_log=np.log([0.1, 1.0]), dt_bias=np.zeros(HV), norm=np.ones(V), out=drawn("out", D, HV * V),
    )  # fmt: skip


def silu(x: np.ndarray) -> np.ndarray:
    """Return x sigmoid(x)."""
    return x / (1 + np.exp(-x))


def stream_of(made: dict[str, np.ndarray], head: int) -> Stream:
    """Return what the memory of a head of values is given, of all heads' arrays, as :func:`forward` returns them."""
    T, H, K = made["query"].shape
    of_keys = head * H // made["value"].shape[1]  # the head of keys that it shares
    v, g, beta = (made[name][:, head] for name in ("value", "g", "beta"))
    q, k = made["query"][:, of_keys] / np.sqrt(K), made["key"][:, of_keys]
    return Stream(q=q, k=k, v=v, g=g, beta=beta, w=beta, delta=np.ones(T), A=-np.ones(K))


def forward(x: np.ndarray, w: Weights, heads: tuple[int, int, int, int]) -> dict[str, np.ndarray]:
    """Run a layer on tokens x [T, D].

    Args:
        x: what enters, normalised already.
        w: its weights.
        heads: H, HV, K and V.

    Returns:
        By name, in order: q, k [T, H, K], v, z [T, HV, V], b, a [T, HV] of the projections; mixed and conv [T, C],
        before and behind the convolution; active [T, C], behind SiLU; query and key [T, H, K], of length 1; value
        [T, HV, V]; beta, g and alpha [T, HV]; memory [T, HV, V, K] and o [T, HV, V]; normed and gated [T, HV, V]; and
        y [T, D].
    """
    H, HV, K, V = heads
    T, shared = len(x), HV // H
    per_head = (x @ w.qkvz.T).reshape(T, H, -1)
    q, k, v, z = np.split(per_head, np.cumsum([K, K, shared * V]), axis=2)
    v, z = v.reshape(T, HV, V), z.reshape(T, HV, V)
    b, a = (part.reshape(T, HV) for part in np.split((x @ w.ba.T).reshape(T, H, -1), 2, axis=2))

    mixed = np.concatenate([part.reshape(T, -1) for part in (q, k, v)], axis=1)
    padded = np.concatenate([np.zeros((w.conv.shape[1] - 1, mixed.shape[1])), mixed])
    conv = np.stack([(padded[t : t + w.conv.shape[1]] * w.conv.T).sum(axis=0) for t in range(T)])
    active = silu(conv)

    query, key, value = (
        part.reshape(T, -1, n) for part, n in zip(np.split(active, [H * K, 2 * H * K], axis=1), (K, K, V), strict=True)
    )
    query, key = (part / np.sqrt((part**2).sum(axis=2, keepdims=True) + EPS) for part in (query, key))
    beta, g = 1 / (1 + np.exp(-b)), -np.exp(w.A_log) * np.log1p(np.exp(a + w.dt_bias))

    given = {"query": query, "key": key, "value": value, "g": g, "beta": beta}
    memory, o = np.zeros((T, HV, V, K)), np.zeros((T, HV, V))
    for head in range(HV):
        S, x_head = np.zeros((V, K)), tokens(RULES["gated-deltanet"], stream_of(given, head))
        for t in range(T):
            S, o[t, head] = reference.step(S, x_head[t])
            memory[t, head] = S

    normed = w.norm * o / np.sqrt((o**2).mean(axis=2, keepdims=True) + EPS)
    gated = normed * silu(z)
    return {
        "q": q, "k": k, "v": v, "z": z, "b": b, "a": a, "mixed": mixed, "conv": conv, "active": active, **given,
        "alpha": np.exp(g), "memory": memory, "o": o, "normed": normed, "gated": gated,
        "y": gated.reshape(T, -1) @ w.out.T,
    }  # fmt: skip


def of_text(text: str) -> dict[str, np.ndarray]:
    """Run the small layer on a text: each word is a vector of its own, of mean square 1.

    Returns:
        word [T]; x [T, 12]; conv_weights [28, 4]; and all that :func:`forward` and :func:`lengths` return.
    """
    found, w = split_words(text), weights()
    x = np.stack([direction(0, "value", word, D) for word in found]) * np.sqrt(D)
    made = forward(x, w, (H, HV, K, V))
    return {"word": np.array(found), "x": x, "conv_weights": w.conv} | made | lengths(made)


def lengths(made: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Measure what :func:`forward` returns.

    Returns:
        raw and normed_key [T], the length of the first key before and after its norm; rms [T, HV], by which the norm
        divides an answer; opened [T], the mean size of what the gate lets pass, relative to that before it; and leaves
        [T], the length of the output.
    """
    return {
        "raw": np.linalg.norm(made["active"][:, KEYS], axis=1),
        "normed_key": np.linalg.norm(made["key"][:, 0], axis=1),
        "rms": np.sqrt((made["o"] ** 2).mean(axis=2)),
        "opened": np.abs(made["gated"]).mean(axis=(1, 2)) / np.abs(made["normed"]).mean(axis=(1, 2)),
        "leaves": np.linalg.norm(made["y"], axis=1),
    }


def of_head(text: str, head: str) -> dict[str, np.ndarray]:
    """Follow the memory of one head.

    Returns:
        word [T]; memory [T, V, K]; o [T, V]; alpha and beta [T]; and held and answered [T], lengths of memory and o.
    """
    made, n = of_text(text), int(head)
    own = {name: made[name][:, n] for name in ("memory", "o", "alpha", "beta")}
    sizes = {"held": np.linalg.norm(own["memory"], axis=(1, 2)), "answered": np.linalg.norm(own["o"], axis=1)}
    return {"word": made["word"]} | own | sizes


def convolved(text: str, channel: int) -> dict[str, np.ndarray]:
    """Follow one channel through the short convolution and SiLU.

    Returns:
        word and token [T]; taps [4]; terms [T, 4], each tap times what it meets; before, conv and active [T]; and all
        [3, T, 28], of every channel.
    """
    made = of_text(text)
    taps, before = made["conv_weights"][channel], made["mixed"][:, channel]
    padded = np.concatenate([np.zeros(TAPS - 1), before])
    terms = np.stack([padded[t : t + TAPS] * taps for t in range(len(before))])
    return {
        "word": made["word"], "token": np.arange(len(before)), "taps": taps, "terms": terms, "before": before,
        "conv": made["conv"][:, channel], "active": made["active"][:, channel],
        "all": np.stack([made[name] for name in ("mixed", "conv", "active")]),
    }  # fmt: skip


def head_of(text: str, head: int) -> Stream:
    """Return what the memory of a head is given, as a stream."""
    return stream_of(of_text(text), head)


#: Channels of a token and key heads of published models with such layers, and the class that has the weights. The other
#: sizes are those of the lesson on softmax attention.
PROJECTED = {
    "qwen3-next": (2048, 16, Source("Transformers 5.23, Qwen3NextGatedDeltaNet", "__init__")),
    "qwen3.5": (4096, 16, Source("Transformers 5.23, Qwen3_5GatedDeltaNet", "__init__")),
    "olmo-hybrid": (3840, 30, Source("Transformers 5.23, OlmoHybridGatedDeltaNet", "__init__")),
}
PARTS = ("queries, keys, values", "output gate z", "β and α", "convolution", "A and δ", "norm", "output")


def parameters(model: str) -> dict[str, np.ndarray]:
    """Count the parameters of one layer of a published model.

    Returns:
        part [7]; rows and columns [7], the shapes of the weights; count [7]; and total, memory and layers, numbers: of
        a layer's parameters, of its memories' entries, and of such layers.
    """
    m, (D, H, _) = MODELS[model], PROJECTED[model]
    values = m.heads * m.V
    mixed = 2 * H * m.K + values
    rows = np.array([mixed, values, 2 * m.heads, mixed, 2 * m.heads, m.V, D])
    columns = np.array([D, D, D, TAPS, 1, 1, values])
    return {
        "part": np.array(PARTS), "rows": rows, "columns": columns, "count": rows * columns,
        "total": (rows * columns).sum(), "memory": np.array(values * m.K), "layers": np.array(m.linear),
    }  # fmt: skip
