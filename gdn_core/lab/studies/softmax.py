"""Softmax attention: its weights, its cache that grows, what both cost on this machine, and in published models."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from gdn_core import RULES, Stream, reference
from gdn_core.lab.glyphs import glyph
from gdn_core.rules import SOFTMAX_ATTENTION, Source
from gdn_core.streams import tokens

PICTURES, CHANNELS, PAIRS = 8, 8, 24
LENGTHS = np.arange(0, 20.5, 0.5)  # of the query
WIDTH, CHUNK, REPEATS = 64, 64, 3
SIZES = {"text": 2 ** np.arange(6, 11), "token": 2 ** np.arange(7, 14)}  # tokens that are measured
TOKENS = 2 ** np.arange(6, 21)  # of a model's text
CACHED = 2  # bytes of a number in a cache, bfloat16


def stream_of(q: np.ndarray, k: np.ndarray, v: np.ndarray) -> Stream:
    """Make a stream without gates."""
    one = np.ones(len(k))
    return Stream(q=q, k=k, v=v, g=0 * one, beta=one, w=one, delta=one, A=-np.ones(k.shape[1]))


def attention(q: np.ndarray, k: np.ndarray) -> np.ndarray:
    """Return the weights of keys [L, K] for queries [T, K], [T, L]: the exponentials of products, over their sum."""
    products = q @ k.T
    exponentials = np.exp(products - products.max(axis=1, keepdims=True))  # the largest is 1, so that none overflows
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def eight_keys(alike: float) -> np.ndarray:
    """Return eight keys of length 1 that share so much of their direction."""
    rng = np.random.default_rng(11)
    own, shared = rng.standard_normal((PICTURES, CHANNELS)), rng.standard_normal(CHANNELS)
    own /= np.linalg.norm(own, axis=1, keepdims=True)
    k = (1 - alike) * own + alike * shared / np.linalg.norm(shared)
    return k / np.linalg.norm(k, axis=1, keepdims=True)


def asked_once(asked: int, alike: float) -> Stream:
    """Return eight pairs, each of which asks for the same key; values that are columns of the identity show weights."""
    k = eight_keys(alike)
    return stream_of(np.tile(k[asked - 1], (PICTURES, 1)), k, np.eye(PICTURES))


def weights(asked: int, alike: float) -> dict[str, np.ndarray]:
    """Ask for one of eight pictures with longer and longer queries.

    Returns:
        length [N], of the query; weight [N, 8, 1], of each picture; other [N], which of those not asked for weighs
        most; answer [N, 8, 8], the pictures in these weights; and picture [8, 8], the one asked for.
    """
    k = eight_keys(alike)
    weight = attention(LENGTHS[:, None] * k[asked - 1], k)
    pixels = np.array([glyph(n).pixels for n in range(PICTURES)])
    answer = np.tensordot(weight, pixels, axes=1)
    other = np.where(np.arange(PICTURES) == asked - 1, 0, weight).argmax(axis=1)
    found = {"length": LENGTHS, "weight": weight[..., None], "other": other}
    return found | {"answer": answer, "picture": pixels[asked - 1]}


def pairs() -> Stream:
    """Return 24 pairs of random keys and values of length 1, in eight channels."""
    rng = np.random.default_rng(6)
    k, v = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in rng.standard_normal((2, PAIRS, CHANNELS)))
    return stream_of(k, k, v)


def cache_and_memory(length: float) -> dict[str, np.ndarray]:
    """Store pair after pair in a cache and in a memory, and ask both for all of them; softmax takes longer queries.

    Returns:
        pairs [N]; keys and values [N, N, 8], the cache after each, NaN where there is nothing yet; memory [N, 8, 8];
        cached and held [N], the numbers in the two; and error [N, 2], the mean length of what is missing.
    """
    stream = pairs()
    k, v, n = stream.k, stream.v, np.arange(1, PAIRS + 1)
    there = np.tri(PAIRS)[:, :, None] > 0
    x, S, memory, error = tokens(RULES["linear-attention"], stream), np.zeros((CHANNELS, CHANNELS)), [], []
    for t in range(PAIRS):
        S, _ = reference.step(S, x[t])
        memory.append(S)
        so_far = k[: t + 1], v[: t + 1]
        answers = attention(length * so_far[0], so_far[0]) @ so_far[1], so_far[0] @ S.T
        error.append([np.linalg.norm(answer - so_far[1], axis=1).mean() for answer in answers])
    return {
        "pairs": n, "keys": np.where(there, k, np.nan), "values": np.where(there, v, np.nan),
        "memory": np.array(memory), "error": np.array(error), "held": 0 * n + S.size,
        "cached": np.array([SOFTMAX_ATTENTION.floats(int(T), CHANNELS, CHANNELS) for T in n]),
    }  # fmt: skip


def text_by_softmax(q: np.ndarray, k: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, int]:
    """Return the outputs of all tokens, and the bytes of the weights, a number for each pair of tokens."""
    products = np.where(np.tri(len(q), dtype=bool), q @ k.T, -np.inf)
    weight = np.exp(products - products.max(axis=1, keepdims=True))
    weight /= weight.sum(axis=1, keepdims=True)
    return weight @ v, weight.nbytes


def text_by_memory(q: np.ndarray, k: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, int]:
    """Return the outputs of linear attention in chunks, and the bytes of the memory and of one chunk's weights."""
    S, outputs = np.zeros((WIDTH, WIDTH), q.dtype), []
    for start in range(0, len(q), CHUNK):
        Q, K, V = (x[start : start + CHUNK] for x in (q, k, v))
        weight = np.tril(Q @ K.T)
        outputs.append(Q @ S.T + weight @ V)
        S = S + V.T @ K
    return np.concatenate(outputs), S.nbytes + weight.nbytes


def token_by_softmax(q: np.ndarray, k: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, int]:
    """Return the output of the last token, and the bytes of the cache that it reads."""
    return attention(q[-1:], k) @ v, k.nbytes + v.nbytes


def token_by_memory(q: np.ndarray, k: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, int]:
    """Return the output of one token more of linear attention, and the bytes of the memory."""
    S = np.zeros((WIDTH, WIDTH), q.dtype) + np.outer(v[-1], k[-1])
    return (S @ q[-1])[None], S.nbytes


WORK = {"text": (text_by_softmax, text_by_memory), "token": (token_by_softmax, token_by_memory)}


def tokens_of(length: int, run: int) -> np.ndarray:
    """Draw the queries, keys and values of a text that is measured, [3, L, WIDTH] in float32."""
    return np.random.default_rng(run).standard_normal((3, length, WIDTH), dtype=np.float32) / np.float32(WIDTH**0.5)


def first_tokens(work: str, run: int) -> Stream:
    """Return the first eight tokens of the shortest text that is measured."""
    return stream_of(*tokens_of(int(SIZES[work][0]), run)[:, :8])


def live(work: str, run: int, *, clock: Callable[[], float] = time.perf_counter) -> dict[str, np.ndarray]:
    """Measure softmax attention and a memory on this machine, in float32, for longer and longer texts.

    Args:
        work: "text" for all tokens of a text at once, "token" for one more behind it.
        run: draws other tokens, and measures again.
        clock: says the time in seconds.

    Returns:
        length [N]; seconds [N, 2], the best of three, of softmax and of the memory; bytes [N, 2], of what each keeps to
        do it; and grown [N, 2], how many times longer it took than for half the tokens, NaN for the first.
    """
    seconds, kept = [], []
    for length in SIZES[work]:
        q, k, v = tokens_of(int(length), run)
        found = [_best(partial(way, q, k, v), clock) for way in WORK[work]]
        seconds.append([best for best, _ in found])
        kept.append([size for _, (_, size) in found])
    took = np.array(seconds)
    grown = np.concatenate([np.full((1, 2), np.nan), took[1:] / took[:-1]])
    return {"length": SIZES[work], "seconds": took, "bytes": np.array(kept), "grown": grown}


def _best(call: Callable[[], Any], clock: Callable[[], float]) -> tuple[float, Any]:
    """Call a few times, and return the shortest time with the result."""
    times = []
    for _ in range(REPEATS):
        start = clock()
        result = call()
        times.append(clock() - start)
    return min(times), result


@dataclass(frozen=True)
class Model:
    """The layers and sizes of a published model whose layers are softmax attention or a memory.

    Args:
        title: its name.
        softmax, linear: how many layers of each there are.
        cached: numbers that one softmax layer caches for a token.
        heads, V, K: memories of a linear layer, and the size of each.
        rule: how these memories are written.
        source: where this is published.
    """

    title: str
    softmax: int
    linear: int
    cached: int
    heads: int
    V: int
    K: int
    rule: str
    source: Source


#: Cached are a key and a value for each head of keys; in Kimi Linear one latent vector and one key for all heads.
MODELS = {
    "qwen3-next": Model(
        "Qwen3-Next-80B-A3B", 12, 36, 2 * 2 * 256, 32, 128, 128, "gated-deltanet",
        Source("Transformers 5.23, Qwen3NextConfig", "its defaults, as on the card of Qwen3-Next-80B-A3B"),
    ),
    "qwen3.5": Model(
        "Qwen3.5-9B", 8, 24, 2 * 4 * 256, 32, 128, 128, "gated-deltanet",
        Source("Transformers 5.23, Qwen3_5TextConfig", "its defaults, as on the card of Qwen3.5-9B"),
    ),
    "kimi-linear": Model(
        "Kimi-Linear-48B-A3B", 7, 20, 512 + 64, 32, 128, 128, "kimi-delta-attention",
        Source(
            "Transformers 5.23, KimiLinearConfig", "its defaults: a latent vector of 512 and one key of 64 for all "
            "heads are cached; layers as full_attn_layers in config.json of Kimi-Linear-48B-A3B says",
        ),
    ),
    "olmo-hybrid": Model(
        "Olmo-Hybrid-7B", 8, 24, 2 * 30 * 128, 30, 192, 96, "gated-deltanet",
        Source("Transformers 5.23, OlmoHybridConfig", "its defaults, made after Olmo-Hybrid-7B"),
    ),
}  # fmt: skip


def lab_size(model: str) -> tuple[str, int, int, int]:
    """Return the rule of a model's memories, tokens to show it on, and the size of a memory."""
    m = MODELS[model]
    return m.rule, 64, m.V, m.K


def in_a_model(model: str, kept: str) -> dict[str, np.ndarray]:
    """Count what a model keeps of longer and longer texts, with 2 bytes a number in caches and ``kept`` in memories.

    Returns:
        tokens [N]; cache, state and everywhere [N], bytes of its caches, of its memories, and of caches if all layers
        were softmax attention; crossing [2], the tokens at which cache and state are equal, in all layers and in one
        layer of each kind.
    """
    m = MODELS[model]
    state = m.heads * m.V * m.K * int(kept)  # bytes of one layer
    cache = m.cached * CACHED  # bytes of a token in one layer
    return {
        "tokens": TOKENS,
        "cache": m.softmax * cache * TOKENS,
        "state": m.linear * state + 0 * TOKENS,
        "everywhere": (m.softmax + m.linear) * cache * TOKENS,
        "crossing": np.array([m.linear * state / (m.softmax * cache), state / cache]),
    }
