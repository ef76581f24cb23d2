"""Linear attention: three forms of one model, what they cost, and what the dropped normaliser was for."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from derivations.claim import Counterexample, Every, EverySize, EveryWidth, OverField, claim
from derivations.engines import counting, printed
from derivations.engines.printed import Below, Kind, letters, number
from derivations.engines.ring import Ring
from derivations.engines.tokens import Case, points, vectors
from derivations.engines.trees import Block, Expr
from derivations.engines.words import Algebra
from derivations.mutants import planted
from gdn_core import reference, rules, streams
from gdn_core.equation import tex, tex_output
from gdn_core.reference import Array
from gdn_core.rules import LINEAR_ATTENTION, LINEAR_ATTENTION_NORMALISED, SOFTMAX_ATTENTION, Source

PAPER = Source("2006.16236", "sec. 3.4", "Transformers are RNNs")
LONG = OverField(degree=4, T=130, C=64, dk=128, dv=144)  # S0 q, or v k q


# Three forms.


class TwoChunks:
    """A chunk of m tokens and one of n behind it, in words. P and R are (Q K^T) under the causal mask, within each."""

    def __init__(self) -> None:
        a = self.algebra = Algebra()
        self.S0 = a.matrix("S_0", "V", "K")
        self.Q, self.K, self.V = (
            a.matrix(f"{name}_1", "m", size) for name, size in (("Q", "K"), ("K", "K"), ("V", "V"))
        )
        self.Q2, self.K2, self.V2 = (
            a.matrix(f"{name}_2", "n", size) for name, size in (("Q", "K"), ("K", "K"), ("V", "V"))
        )
        self.P, self.R = (
            a.matrix(f"P_{i}", size, size, tex=rf"\operatorname{{tril}}(Q_{i} K_{i}^\top)")
            for i, size in ((1, "m"), (2, "n"))
        )

    def parallel(self) -> tuple[Expr, Expr]:
        """Return the last memory and the outputs of all m + n tokens at once."""
        keys, values, queries = (
            Block([[x], [y]]) for x, y in ((self.K, self.K2), (self.V, self.V2), (self.Q, self.Q2))
        )
        weights = Block([[self.P, self.algebra.zero("m", "n")], [self.Q2 @ self.K.T, self.R]])
        return self.S0 + values.T @ keys, queries @ self.S0.T + weights @ values

    def chunkwise(self, *, memory: bool = True) -> tuple[Expr, Expr]:
        """Return the last memory and the outputs, chunk by chunk."""
        S1 = self.S0 + self.V.T @ self.K
        carried = S1 if memory else self.S0
        outputs = Block([[self.Q @ self.S0.T + self.P @ self.V], [self.Q2 @ carried.T + self.R @ self.V2]])
        return S1 + self.V2.T @ self.K2, outputs

    def residual(self, **wrong: bool) -> list[Any]:
        """Compare the two forms."""
        forms = zip(self.parallel(), self.chunkwise(**wrong), strict=True)
        return [(one - other).normal() for one, other in forms]


def _forms() -> str:
    words = TwoChunks()
    memory, outputs = words.chunkwise()
    together = all_at_once(Below(), *letters(Kind.MATRIX, "S_0", "Q", "K", "V"))[1]
    return (
        rf"{tex(LINEAR_ATTENTION)},\; {tex_output(LINEAR_ATTENTION)} \quad\Longleftrightarrow\quad O = {together} "
        rf"\quad\Longleftrightarrow\quad O = {outputs.tex()}, \quad S = {memory.tex()}"
    )


@claim(
    statement=_forms,
    scope=EverySize("m", "n", "dk", "dv"),
    engine="words",
    source=PAPER,
    code=(reference.recurrent, reference.chunk, reference.chunkwise),
    uses=("additive_recurrence_is_masked_attention",),
)
def linear_attention_is_recurrent_parallel_and_chunkwise() -> Any:
    """Linear attention token by token, all at once, and chunk by chunk is one model.

    All at once is masked attention without decays. Cutting off a chunk changes nothing, wherever it is cut; and so,
    one cut after the other, any number of chunks of any lengths.
    """
    return TwoChunks().residual()


def all_at_once(causal: Any, S: Array, q: Array, k: Array, v: Array) -> tuple[Array, Array]:
    """Return the last memory and the outputs, all at once, under a mask."""
    return S + v.T @ k, q @ S.T + (causal * (q @ k.T)) @ v


def parallel(case: Case, *, diagonal: int = 0) -> tuple[Array, Array]:
    """Return the last memory and the outputs of a stream, all at once."""
    causal = np.tri(len(case.x), len(case.x), diagonal, dtype=int)
    return all_at_once(causal, case.S, case.x.q, case.x.k, case.x.v)


def forms(case: Case, chunk_size: int, **wrong: int) -> list[Any]:
    """Compare each form of the code with the parallel form."""
    want = parallel(case, **wrong)
    ends = (
        case.run(reference.recurrent),
        case.run(reference.chunk),
        case.run(reference.chunkwise, chunk_size=chunk_size),
    )
    return [case.compare(end, want) for end in ends]


@linear_attention_is_recurrent_parallel_and_chunkwise.step(engine="gram", scope=EveryWidth(C=8))
def the_code_on_vectors_of_any_width() -> Any:
    """The reference's recurrence, its one chunk, and its chunks of three tokens are the parallel form."""
    return forms(vectors(LINEAR_ATTENTION, 8), 3)


@linear_attention_is_recurrent_parallel_and_chunkwise.step(engine="field", scope=LONG)
def the_code_at_real_sizes(rng: random.Random) -> Iterator[Any]:
    """The reference's recurrence, its one chunk, and its chunks are the parallel form."""
    sizes = dict(LONG.sizes)
    cases = (points(LINEAR_ATTENTION, sizes["T"], sizes["dv"], sizes["dk"], rng) for _ in range(LONG.primes))
    return (forms(case, sizes["C"]) for case in cases)


@linear_attention_is_recurrent_parallel_and_chunkwise.refute
def chunks_without_the_memory_between() -> Any:
    """The second chunk starts from the first memory."""
    return TwoChunks().residual(memory=False)


@linear_attention_is_recurrent_parallel_and_chunkwise.refute
def strict_causal_mask() -> Any:
    """A token does not read what it has written itself."""
    return forms(vectors(LINEAR_ATTENTION, 3), 2, diagonal=-1)


# The normaliser.


def answers(keys: tuple[int, ...], values: tuple[int, ...]) -> dict[str, list[Fraction]]:
    """Return what two rules answer to the query 1 at each token, with one key and one value channel, exactly."""
    T = len(keys)
    column = np.array(keys, dtype=float)[:, None]
    none, one = np.zeros(T), np.ones((T, 1))
    stream = streams.Stream(
        q=one, k=column, v=np.array(values, dtype=float)[:, None], g=none, beta=none, w=none, delta=none, A=-one[:1]
    )
    found = {}
    for rule in (LINEAR_ATTENTION, LINEAR_ATTENTION_NORMALISED):
        x = streams.tokens(rule, stream)
        _, reads = reference.recurrent(np.zeros((x.v.shape[1], 1)), x)
        found[rule.slug] = [Fraction(answer) for answer in streams.answer(rule, reads)[:, 0].tolist()]
    return found


def mean(weights: Sequence[Any], values: Sequence[Any]) -> tuple[Any, Any]:
    """Return the sum of weighed values and the sum of the weights that softmax attention divides it by."""
    return sum(w * v for w, v in zip(weights, values, strict=True)), sum(weights)


def _means() -> str:
    found = answers((1, 1, 1, 1), (1, 1, 1, 1))
    scores = [printed.exp(x) for x in letters(Kind.SCALAR, r"q \cdot k_1", r"q \cdot k_2")]
    above, below = mean(scores, list(letters(Kind.SCALAR, "v_1", "v_2")))
    return (
        rf"\text{{attention: }} o_2 = {above / below}; \quad k_i = q = v_i = 1 \;\Rightarrow\; "
        rf"o_1, \ldots, o_4 = {', '.join(map(number, found[LINEAR_ATTENTION_NORMALISED.slug]))} \quad\text{{but}}\quad "
        rf"{', '.join(map(number, found[LINEAR_ATTENTION.slug]))} \text{{ without the normaliser}}"
    )


@claim(
    statement=_means,
    scope=Counterexample("four tokens of one key and one value"),
    engine="exact",
    source=Source("2006.16236", "eqs. 2 to 5", "Transformers are RNNs"),
    code=(reference.recurrent, streams.tokens, streams.answer),
)
def dropping_the_normaliser_makes_another_model() -> Any:
    """Attention answers a mean of values; without the normaliser the answer grows with the number of tokens.

    So no scale on queries or values turns one into the other: they differ by another factor at every token.
    """
    found = answers((1, 1, 1, 1), (1, 1, 1, 1))
    ring = Ring(E=())  # the exponential of the one score
    sums = [mean([ring["E"][()]] * t, [1] * t) for t in range(1, 5)]
    softmax = [above - 1 * below for above, below in sums]  # less the value times what it is divided by
    return {
        "softmax": softmax,
        "normalised": [answer - 1 for answer in found["linear-attention-normalised"]],
        "not normalised": [answer - t for t, answer in enumerate(found["linear-attention"], start=1)],
    }


@dropping_the_normaliser_makes_another_model.refute
def the_same_without_it() -> Any:
    """Linear attention answers the mean all the same."""
    return [answer - 1 for answer in answers((1, 1, 1), (1, 1, 1))["linear-attention"]]


@dropping_the_normaliser_makes_another_model.refute
def repaired_by_the_number_of_tokens() -> Any:
    """Dividing by the number of tokens is as good as dividing by the weights."""
    found = answers((1, 3), (1, 0))
    pairs = zip(found["linear-attention"], found["linear-attention-normalised"], strict=True)
    return [answer / t - mean for t, (answer, mean) in enumerate(pairs, start=1)]


# What they cost.

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


def costs(*, recurrence: Formula = of_recurrence, chunk: Formula = of_chunk) -> dict[str, int]:
    """Compare the formulas with the counts."""
    sizes = [(T, V, K) for T in (1, 2, 3, 5) for V in (1, 2, 4) for K in (1, 3, 4)]
    found = {}
    for size in sizes:
        found[f"token by token at T, V, K = {size}"] = counted(reference.recurrent, *size) - recurrence(*size)
        found[f"all at once at T, V, K = {size}"] = counted(reference.chunk, *size) - chunk(*size)
        T, V, K = size
        chunks = counted(reference.chunkwise, 4 * T, V, K, chunk_size=T) - 4 * chunk(T, V, K)
        found[f"four chunks at C, V, K = {size}"] = chunks
        found[f"kept at T, V, K = {size}, cache"] = SOFTMAX_ATTENTION.floats(T, V, K) - T * (V + K)
        found[f"kept at T, V, K = {size}, memory"] = LINEAR_ATTENTION.floats(T, V, K) - V * K
    return found


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
        "values at four lengths, three dv and three dk decide it. The formulas of what is kept are those of the rules.",
    ),
    scope=Every("L, dk and dv, by 36 values of a polynomial of known degrees"),
    engine="exact",
    source=Source("2006.16236", "secs. 3.2 and 3.3", "Transformers are RNNs"),
    code=(reference.recurrent, reference.chunk, reference.chunkwise, rules.KVCache.floats, rules.WriteRule.floats),
)
def training_all_at_once_is_quadratic_and_in_chunks_linear() -> Any:
    """All at once costs the square of the length, token by token or in chunks of a fixed length the length itself."""
    return costs()


@training_all_at_once_is_quadratic_and_in_chunks_linear.refute
def linear_in_the_length_all_at_once() -> Any:
    """The form that runs all tokens at once costs no more than one by one."""
    return costs(chunk=of_recurrence)


@training_all_at_once_is_quadratic_and_in_chunks_linear.refute
def reading_not_counted() -> Any:
    """The read of the error is not counted."""
    return costs(recurrence=lambda T, V, K: T * (3 * V * K + V + K))


@training_all_at_once_is_quadratic_and_in_chunks_linear.refute
def decays_of_the_whole_chunk_taken_at_each_token() -> Any:
    """Each token multiplies the keys of the whole chunk by their decays, and not only those before it."""
    wrong = planted(reference.chunk, "exp(G[i] - G[:i + 1]) * x.k[:i + 1]", "(exp(G[i] - G) * x.k)[:i + 1]")
    return counted(wrong, 5, 2, 3) - of_chunk(5, 2, 3)
