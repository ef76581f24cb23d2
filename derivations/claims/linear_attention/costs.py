"""The costs of the forms of linear attention, in multiplications and in numbers kept."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from derivations.engines import counting
from derivations.engines.cases import shapes
from derivations.engines.written import Kind, letters
from derivations.mutants.by_hand import planted
from derivations.papers import cite
from derivations.registry import claim
from derivations.scope import AtPoints, Every
from gdn_core import reference, rules
from gdn_core.rules import LINEAR_ATTENTION, LINEAR_ATTENTION_NORMALISED, RULES, SOFTMAX_ATTENTION, WriteRule

Formula = Callable[[int, int, int], int]


def of_recurrence(T: int, V: int, K: int) -> int:
    """Count the multiplications of T tokens, one by one."""
    return T * (4 * V * K + V + K)


def of_chunk(T: int, V: int, K: int) -> int:
    """Count the multiplications of T tokens, all at once."""
    return T**2 * (2 * K + V) + T * (3 * V * K + V + 4 * K) + V * K


def counted(code: Callable[..., Any], T: int, V: int, K: int, **options: int) -> int:
    """Count the multiplications that the code makes on a stream."""
    S, x, count = counting.stream(T, V, K)
    code(S, x, exp=counting.exp, stack=counting.stack, **options)
    return count.multiplications


def memory_after(rule: WriteRule, T: int, V: int, K: int) -> int:
    """Count the numbers of the memory that the code returns after a stream of a rule."""
    rows, _ = shapes(rule, T, V, K)["S"]
    S, x, _ = counting.stream(T, rows, K)
    after, _ = reference.recurrent(S, x, exp=counting.exp, stack=counting.stack)
    return int(np.prod(after.shape))


def costs(*, recurrence: Formula = of_recurrence, chunk: Formula = of_chunk) -> Iterator[dict[str, int]]:
    """Compare the formulas with the counts, size by size."""
    sizes = [(T, V, K) for T in (1, 2, 3, 5) for V in (1, 2, 4) for K in (1, 3, 4)]
    for n, size in enumerate(sizes):
        T, V, K = size
        yield {f"token by token at T, V, K = {size}": counted(reference.recurrent, *size) - recurrence(*size)}
        yield {f"all at once at T, V, K = {size}": counted(reference.chunk, *size) - chunk(*size)}
        many = (4, 1, 7)[n % 3]
        chunks = counted(reference.chunkwise, many * T, V, K, chunk_size=T) - many * chunk(T, V, K)
        yield {f"{many} chunks at C, V, K = {size}": chunks}
        for rule in (LINEAR_ATTENTION, LINEAR_ATTENTION_NORMALISED):
            kept = rule.floats(T, V, K) - memory_after(rule, T, V, K)
            yield {f"kept at T, V, K = {size}, {rule.slug}": kept}
        _, x, _ = counting.stream(T, V, K)
        cache = int(np.prod(x.k.shape) + np.prod(x.v.shape))  # every key and every value
        yield {f"kept at T, V, K = {size}, cache": SOFTMAX_ATTENTION.floats(T, V, K) - cache}


LENGTHS, WIDTHS = (1, 2, 33, 100, 1 << 20), ((1, 1), (2, 2), (64, 64), (65, 128), (128, 65), (1, 256))


def _costs() -> str:
    sizes: list[Any] = list(letters(Kind.SCALAR, "L", "d_v", "d_k"))
    kept, cache = LINEAR_ATTENTION.floats(*sizes), SOFTMAX_ATTENTION.floats(*sizes)
    return (
        rf"\begin{{aligned}} \text{{token by token}} &: {of_recurrence(*sizes)} \\ "
        rf"\text{{all at once}} &: {of_chunk(*sizes)} \\ "
        r"\text{chunks of } C &: \tfrac{L}{C} \text{ times the second at } L = C \\ "
        rf"\text{{kept after }} L \text{{ tokens}} &: {kept} \text{{, a KV cache }} {cache} \end{{aligned}}"
    )


@claim(
    statement=_costs,
    assumptions=(
        "Multiplications, counted by running the forms of the code under scalar gates on arrays that know their shape.",
        "A count is a sum over the loops, so a polynomial of degree at most 2 in the length and 1 in each width: its "
        "values at four lengths, three dv and three dk decide it. Chunks are counted for streams of 1, 4 and 7, and "
        "what is kept on the memory that the code returns, and on the keys and values of the stream.",
    ),
    scope=Every("L, dk and dv, by 36 values of a polynomial of known degrees"),
    engine="exact",
    source=cite("2006.16236", "secs. 3.2 and 3.3"),
    code=(reference.step, reference.chunk, reference.chunkwise, rules.KVCache.floats, rules.WriteRule.floats),
)
def training_all_at_once_is_quadratic_and_in_chunks_linear() -> Any:
    """The cost is quadratic in the length for all tokens at once, and linear token by token or in fixed chunks."""
    return costs()


@training_all_at_once_is_quadratic_and_in_chunks_linear.step(
    engine="exact", scope=AtPoints(f"{len(LENGTHS) * len(WIDTHS)} combinations of L to 2^20, dv and dk to 256")
)
def kept_by_every_rule() -> Any:
    """What a rule keeps is its memory, whatever the length; a KV cache keeps a key and a value for each token."""
    for T, (V, K) in itertools.product(LENGTHS, WIDTHS):
        kept = {rule.slug: rule.floats(T, V, K) - math.prod(shapes(rule, T, V, K)["S"]) for rule in RULES.values()}
        of = shapes(LINEAR_ATTENTION, T, V, K)
        yield {f"T = {T}, V = {V}, K = {K}:": kept}
        cache = math.prod(of["k"]) + math.prod(of["v"])
        yield {f"T = {T}, V = {V}, K = {K}, a cache:": SOFTMAX_ATTENTION.floats(T, V, K) - cache}


@training_all_at_once_is_quadratic_and_in_chunks_linear.refute
def linear_in_the_length_all_at_once() -> Any:
    """All tokens at once are said to cost no more than one by one."""
    return costs(chunk=of_recurrence)


@training_all_at_once_is_quadratic_and_in_chunks_linear.refute
def reading_not_counted() -> Any:
    """The read of the error is not counted."""
    return costs(recurrence=lambda T, V, K: T * (3 * V * K + V + K))


@training_all_at_once_is_quadratic_and_in_chunks_linear.refute
def decays_of_the_whole_chunk_taken_at_each_token() -> Any:
    """Each token multiplies the keys of the whole chunk by decays, not only the keys up to its own."""
    wrong = planted(reference.chunk, "exp(G[i] - G[:i + 1]) * x.k[:i + 1]", "(exp(G[i] - G) * x.k)[:i + 1]")
    return counted(wrong, 5, 2, 3) - of_chunk(5, 2, 3)
