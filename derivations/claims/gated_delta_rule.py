"""The gated delta rule: its chunk form is its recurrence, with one decay a token and with one a channel."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from derivations.claim import EverySize, EveryWidth, OverField, Sizes, claim, every_rule
from derivations.engines import arrays, printed
from derivations.engines.printed import Below, Kind, Written, inverse, letters
from derivations.engines.tokens import Case, every_width, free_symbols, points, symbols, vectors
from derivations.engines.trees import Block, Expr
from derivations.engines.words import Algebra, equation
from derivations.mutants import planted
from gdn_core import reference
from gdn_core.reference import Array, Exp, Stack, Token
from gdn_core.rules import GATED_DELTANET, Gate, Source, WriteRule

PAPER = Source("2412.06464", "sec. 3.3 and appendix A", "Gated Delta Networks: Improving Mamba2 with Delta Rule")
# A token brings at most its decay, its erase gate and its key twice, then its value, write gate and query: 5 a token
# bounds the degree. The last chunk is a short one.
STREAM = OverField(degree=5 * 260, C=64, dk=128, dv=144, T=260)
SHORTER_STREAM = OverField(degree=5 * 130, C=64, dk=128, dv=144, T=130)
ONE_CHUNK = OverField(degree=10 * 64, C=64, dk=128, dv=144)
SHORT_CHUNKS = OverField(degree=5 * 21, C=8, dk=12, dv=10, T=21)


def chunks_against_recurrence(rule: WriteRule, rng: random.Random, scope: OverField) -> Iterator[Any]:
    """Compare the chunks of a rule with its recurrence at the sizes of a scope, mod its primes."""
    sizes = dict(scope.sizes)
    for _ in range(scope.primes):
        case = points(rule, sizes["T"], sizes["dv"], sizes["dk"], rng)
        chunks = case.run(reference.chunkwise, chunk_size=sizes["C"])
        yield case.compare(chunks, case.run(reference.recurrent))


def chunk_against_recurrence(case: Case, chunk: Callable[..., Any] | None = None) -> dict[str, Any]:
    """Compare one chunk with the recurrence."""
    return case.compare(case.run(chunk or reference.chunk), case.run(reference.recurrent))


# One decay for the whole memory.


class Induction:
    """A chunk of n tokens and the token behind it, in words.

    Of the tokens so far, K are the keys and N the errors, row by row; L is the diagonal of the decays from each of them
    to now, and c the decay from the start of the chunk to now.
    """

    def __init__(self) -> None:
        a = self.algebra = Algebra("alpha beta c")
        self.alpha, self.beta, self.c = a.all_scalars()
        self.S0, self.N, self.K = a.matrix("S_0", "V", "K"), a.matrix("N", "n", "V"), a.matrix("K", "n", "K")
        self.L = a.diagonal("L", "n", tex=r"\Lambda")
        self.q, self.k, self.v = a.vector("q", "K"), a.vector("k", "K"), a.vector("v", "V")
        self.hypothesis = self.c * self.S0 + self.N.T @ self.L @ self.K

    def recurrence(self) -> tuple[Expr, Expr]:
        """Run the code's step behind the hypothesis."""
        x = arrays.token(q=self.q, k=self.k, v=self.v, decay=self.alpha, erase=self.beta, write=self.beta)
        S, o = reference.step(arrays.Array(self.hypothesis, 2), x, exp=arrays.exp)
        return S.word, o.word

    def error(self, *, from_start: Expr | None = None, gram: Expr | None = None) -> Expr:
        """Return the new row of the triangular system, solved: its error as a column."""
        from_start = self.alpha * self.c if from_start is None else from_start
        gram = self.alpha * self.L if gram is None else gram
        erase = self.beta * self.k
        return self.beta * self.v - from_start * (self.S0 @ erase) - self.N.T @ gram @ self.K @ erase

    def chunk(self, error: Expr, *, mask: Expr | None = None) -> tuple[Expr, Expr]:
        """Return the chunk form of n + 1 tokens: the memory, and the last output."""
        errors, keys = Block([[self.N], [error.T]]), Block([[self.K], [self.k.T]])
        n, one = self.algebra.zero("n", "1"), self.algebra.identity("1")
        decays = Block([[self.alpha * self.L, n], [n.T, one]])
        S = self.alpha * self.c * self.S0 + errors.T @ decays @ keys
        to_output = decays if mask is None else Block([[mask, n], [n.T, one]])
        return S, self.alpha * self.c * (self.S0 @ self.q) + errors.T @ to_output @ (keys @ self.q)

    def residual(self, error: Expr, *, mask: Expr | None = None) -> list[Any]:
        """Compare the two forms of n + 1 tokens."""
        forms = zip(self.chunk(error, mask=mask), self.recurrence(), strict=True)
        return [(chunk - recurrence).normal() for chunk, recurrence in forms]


def _statement() -> str:
    words = Induction()
    S_n = words.algebra.matrix("S_n", "V", "K")
    nu = words.algebra.vector("nu", "V", tex=r"\nu")
    return (
        rf"{equation(S_n, words.hypothesis)} \;\Rightarrow\; "
        rf"{equation(words.algebra.matrix('S_{n+1}', 'V', 'K', tex='S_{n+1}'), words.chunk(nu)[0])}, \quad "
        rf"{equation(nu, words.error())}"
    )


@claim(
    statement=_statement,
    assumptions=(
        r"$\Lambda = \operatorname{diag}(\gamma_n / \gamma_j)$ and $c = \gamma_n$, with $\gamma_j$ the product of the "
        r"decays of tokens 1 to j; $N$ and $K$ are the errors and keys of tokens 1 to n, row by row.",
        r"The induction starts at the empty chunk, where $c = 1$ and $N$ has no rows.",
    ),
    scope=EverySize("C", "dk", "dv"),
    engine="words",
    source=PAPER,
    code=(reference.step, reference.chunk, reference.chunkwise),
    uses=("ut_transform_is_the_gated_triangular_system",),
)
def gated_chunk_equals_recurrence() -> Any:
    """The chunk form of the gated delta rule is its recurrence, memory and outputs.

    The induction step: if n tokens of the chunk form stand where the recurrence stands, so do n + 1, and the last
    output is the same.
    """
    words = Induction()
    return words.residual(words.error())


@gated_chunk_equals_recurrence.step(engine="gram", scope=EveryWidth(C=8))
def code_on_vectors_of_any_width() -> Any:
    """The reference's chunk is the reference's recurrence."""
    return chunk_against_recurrence(vectors(GATED_DELTANET, 8))


@gated_chunk_equals_recurrence.step(engine="ring", scope=Sizes(C=6, dk=3, dv=2))
def code_on_symbols() -> Any:
    """The reference's chunk is the reference's recurrence."""
    return chunk_against_recurrence(symbols(GATED_DELTANET, 6, 2, 3))


@gated_chunk_equals_recurrence.step(engine="field", scope=STREAM)
def code_at_real_sizes(rng: random.Random) -> Any:
    """The reference's chunks, one behind the other, are the reference's recurrence."""
    return chunks_against_recurrence(GATED_DELTANET, rng, STREAM)


@gated_chunk_equals_recurrence.refute
def gram_matrix_without_decay() -> Any:
    """The decays are left out of the triangular system: keys overlap as if they had been written now."""
    words = Induction()
    return words.residual(words.error(gram=words.algebra.identity("n")))


@gated_chunk_equals_recurrence.refute
def error_read_before_the_decay() -> Any:
    """The error is read from the memory before the decay has acted on it."""
    words = Induction()
    return words.residual(words.error(from_start=words.c, gram=words.L))


@gated_chunk_equals_recurrence.refute
def causal_mask_for_decay_mask() -> Any:
    """The outputs are masked by the causal mask of ones, where the decays are meant."""
    words = Induction()
    return words.residual(words.error(), mask=words.algebra.identity("n"))


@gated_chunk_equals_recurrence.refute
def causal_mask_for_decay_mask_in_the_code() -> Any:
    """The same misprint, planted in the reference."""
    wrong = planted(reference.chunk, "exp(G[i] - G[:i + 1])", "exp(0 * G[:i + 1])")
    return chunk_against_recurrence(vectors(GATED_DELTANET, 3), wrong)


@gated_chunk_equals_recurrence.refute
def memory_before_the_chunk_not_decayed_in_the_code() -> Any:
    """The memory from before the chunk is carried to its end as it was."""
    wrong = planted(reference.chunk, "gamma[C - 1] * S", "S")
    return chunk_against_recurrence(vectors(GATED_DELTANET, 3), wrong)


# The matrices that a kernel computes.


def inverse_of_unit_lower(A: Array, stack: Stack) -> Array:
    """Return (I + A)^-1 for a strictly lower triangular A, row by row."""
    C = len(A)
    eye = np.eye(C, dtype=int)
    rows = [0 * A[0] + eye[0]]
    for i in range(1, C):
        rows.append(eye[i] - A[i, :i] @ stack(rows))
    return stack(rows)


def matrices(x: Token, *, exp: Exp, stack: Stack) -> dict[str, Array]:
    """Return what the matrix form is made of: the decays, the masks Gamma, and the masked products of the chunk."""
    C = len(x)
    below, causal = np.tri(C, C, -1, dtype=int), np.tri(C, C, 0, dtype=int)
    G = [x.g[0, 0]]
    for t in range(1, C):
        G.append(G[-1] + x.g[t, 0])
    G = stack(G)  # [C, 1]
    Gamma = exp(causal * (G - G.T))  # [C, C], gamma_i / gamma_j for j <= i
    return {"gamma": exp(G), "to_end": exp(G[C - 1] - G), **products(x, Gamma, below, causal)}


def products(x: Token, Gamma: Array, below: Any, causal: Any) -> dict[str, Array]:
    """Return the masked products of keys and queries: of the triangular systems A, and P of the outputs."""
    KK = x.k @ x.k.T
    return {
        "A": below * (x.b * KK),
        "A_decayed": below * (x.b * (KK * Gamma)),
        "P": causal * ((x.q @ x.k.T) * Gamma),
    }


Inverse = Callable[[Array], Array]


def U_and_W(x: Token, gamma: Array, gated: Array, ungated: Array, inverse: Inverse) -> tuple[Array, Array]:
    """Return U and W of a chunk from the matrices of two triangular systems; ``inverse`` takes A to that of I + A."""
    return inverse(gated) @ (x.b * x.v), gamma * (inverse(ungated) @ (x.b * x.k))


def matrix_form(S: Array, x: Token, *, exp: Exp, stack: Stack, gated: str = "A_decayed", ungated: str = "A") -> Any:
    """Run a chunk as the paper's matrices, with its U, W and Gamma."""
    m = matrices(x, exp=exp, stack=stack)
    U, W = U_and_W(x, m["gamma"], m[gated], m[ungated], lambda A: inverse_of_unit_lower(A, stack))
    N = U - W @ S.T
    return m["gamma"][len(x) - 1] * S + N.T @ (m["to_end"] * x.k), outputs(S, x.q, m["gamma"], m["P"], N)


def outputs(S: Array, q: Array, gamma: Array, P: Array, errors: Array) -> Array:
    """Return the outputs of a chunk from the memory before it and its errors."""
    return gamma * (q @ S.T) + P @ errors


BETA, GAMMA = r"\beta", r"\gamma"


def written_chunk() -> tuple[Token, dict[str, Written]]:
    """Return the letters of a chunk, whose ``g`` is the decay from its start, and its masked products."""
    (Q, K, V), (beta, gamma) = letters(Kind.MATRIX, "Q", "K", "V"), letters(Kind.COLUMN, BETA, GAMMA)
    x = Token(q=Q, k=K, v=V, g=gamma, b=beta, w=beta)
    return x, products(x, Written(r"\Gamma", Kind.MATRIX), Below(-1), Below())


def written_U_and_W() -> tuple[Written, Written]:
    """Run U and W on letters."""
    x, made = written_chunk()
    return U_and_W(x, x.g, made["A_decayed"], made["A"], inverse)


def _triangular() -> str:
    U, W = written_U_and_W()
    system, right = written_chunk()[1]["A_decayed"], Triangular().right()
    return (
        rf"\bigl(I + {system}\bigr) N = {right.tex()} \;\Rightarrow\; N = U - W S_0^\top, \quad U = {U}, \quad W = {W}"
    )


class Triangular:
    """The triangular system of n tokens, and the row that the token behind them adds to it, in words.

    B, D and M are the write gates, the decays from the start of the chunk and the system's matrix of the tokens so far.
    """

    def __init__(self) -> None:
        words = self.words = Induction()
        a = self.algebra = words.algebra
        self.V = a.matrix("V", "n", "V")
        self.B, self.D = (
            a.diagonal(name, "n", tex=rf"\operatorname{{diag}}({tex})") for name, tex in (("B", BETA), ("D", GAMMA))
        )
        self.M = a.matrix("M", "n", "n")

    def right(self) -> Expr:
        """Return the right-hand side of n tokens."""
        return self.B @ (self.V - self.D @ self.words.K @ self.words.S0.T)

    def residual(self, row: Expr) -> Any:
        """Apply the system of n + 1 tokens, whose last row is given, to their errors, and take off the right side."""
        words, a = self.words, self.algebra
        a.rule(self.M @ words.N, self.right())
        n, one = a.zero("n", "1"), a.identity("1")
        system = Block([[self.M, n], [row, one]])
        errors = Block([[words.N], [words.error().T]])
        last = words.beta * (words.v.T - words.alpha * words.c * (words.k.T @ words.S0.T))
        return (system @ errors - Block([[self.right()], [last]])).normal()


@claim(
    statement=_triangular,
    assumptions=(r"$\Gamma_{ij} = \gamma_i / \gamma_j$ for $j \le i$; no decay is exactly 0, as $e^{g}$ never is.",),
    scope=EverySize("C", "dk", "dv"),
    engine="words",
    source=PAPER,
    code=(reference.chunk,),
)
def ut_transform_is_the_gated_triangular_system() -> Any:
    """The errors of a chunk solve one triangular system, whose matrix has the decays in U and only a factor in W.

    The induction step: the row that the token behind n others adds to the system is its error, solved.
    """
    t = Triangular()
    return t.residual(t.words.beta * (t.words.k.T @ t.words.K.T @ (t.words.alpha * t.words.L)))


@ut_transform_is_the_gated_triangular_system.step(engine="words", scope=EverySize("C", "dk"))
def W_is_the_ungated_W_decayed() -> Any:
    """With Gamma = D 1 D^-1 below the diagonal, the gated inverse is D (ungated inverse) D^-1, and D^-1 D cancels."""
    a = Algebra()
    A, T, K = a.matrix("A", "n", "n"), a.matrix("T", "n", "n"), a.matrix("K", "n", "K")
    B, D = a.diagonal("B", "n"), a.diagonal("D", "n")
    inverse = a.inverse(D)
    a.rule(A @ T, a.identity("n") - T)  # T is the inverse of I + A
    gated_system = a.identity("n") + D @ A @ inverse
    return (gated_system @ (D @ T @ B @ K) - B @ D @ K).normal()


@ut_transform_is_the_gated_triangular_system.step(engine="gram", scope=EveryWidth(C=8))
def matrix_form_is_the_code() -> Any:
    """The reference's chunk is the matrix form with this U and W."""
    case = vectors(GATED_DELTANET, 8)
    return case.compare(case.run(reference.chunk), case.run(matrix_form))


@ut_transform_is_the_gated_triangular_system.step(engine="field", scope=ONE_CHUNK)
def matrix_form_is_the_code_at_real_sizes(rng: random.Random) -> Any:
    """The reference's chunk is the matrix form with this U and W."""
    cases = (points(GATED_DELTANET, 64, 144, 128, rng) for _ in range(ONE_CHUNK.primes))
    return (case.compare(case.run(reference.chunk), case.run(matrix_form)) for case in cases)


@ut_transform_is_the_gated_triangular_system.refute
def row_without_the_new_decay() -> Any:
    """The new row has the decays up to the token before, and not the token's own."""
    t = Triangular()
    return t.residual(t.words.beta * (t.words.k.T @ t.words.K.T @ t.words.L))


@ut_transform_is_the_gated_triangular_system.refute
def W_from_the_gated_inverse() -> Any:
    """W is made with the decayed inverse of U, so that its decays count twice."""
    case = vectors(GATED_DELTANET, 3)
    return case.compare(case.run(reference.chunk), case.run(matrix_form, ungated="A_decayed"))


@ut_transform_is_the_gated_triangular_system.refute
def U_from_the_ungated_inverse() -> Any:
    """U is made with the inverse that has no decays."""
    case = vectors(GATED_DELTANET, 3)
    return case.compare(case.run(reference.chunk), case.run(matrix_form, gated="A"))


# One decay a channel.


class ByChannel:
    """A chunk of n tokens and the token behind it, in words, with gates a channel.

    C is the diagonal of the decays from the start of the chunk to now, K the keys as they have decayed to now, N the
    errors; A, E and W are the new token's decay, erase and write gates, diagonal.
    """

    def __init__(self) -> None:
        a = self.algebra = Algebra()
        self.S0, self.N, self.K = (
            a.matrix("S_0", "V", "K"),
            a.matrix("N", "n", "V"),
            a.matrix("K", "n", "K", tex=r"\bar K"),
        )
        self.C, self.A, self.E = a.diagonal("C", "K"), a.diagonal("A", "K"), a.diagonal("E", "K")
        self.W = a.diagonal("W", "V")
        self.q, self.k, self.v = a.vector("q", "K"), a.vector("k", "K"), a.vector("v", "V")
        self.hypothesis = self.S0 @ self.C + self.N.T @ self.K

    def error(self, keys: Expr | None = None, read_by: Expr | None = None) -> Expr:
        """Return the error of the new token, from the keys as they have decayed to it."""
        keys = self.K @ self.A if keys is None else keys
        read_by = self.E @ self.k if read_by is None else read_by
        return self.W @ self.v - (self.S0 @ self.C @ self.A + self.N.T @ keys) @ read_by

    def residual(self, *, decay_of_keys: Expr | None = None, read_by: Expr | None = None) -> list[Any]:
        """Compare the chunk form of n + 1 tokens with the code's step behind the hypothesis."""
        keys = self.K @ (self.A if decay_of_keys is None else decay_of_keys)
        error = self.error(keys, read_by)
        S = self.S0 @ self.C @ self.A + Block([[self.N], [error.T]]).T @ Block([[keys], [self.k.T]])
        x = arrays.token(q=self.q, k=self.k, v=self.v, decay=self.A, erase=self.E, write=self.W)
        want, o = reference.step(arrays.Array(self.hypothesis, 2), x, exp=arrays.exp)
        return [(S - want.word).normal(), (S @ self.q - o.word).normal()]


def decays_by_key_channel(rule: WriteRule) -> bool:
    """Hold for the rules with a decay for each key channel."""
    return rule.decay is Gate.KEY


def _statement_by_channel() -> str:
    words = ByChannel()
    S_n, nu = words.algebra.matrix("S_n", "V", "K"), words.algebra.vector("nu", "V", tex=r"\nu")
    return rf"{equation(S_n, words.hypothesis)}, \quad {equation(nu, words.error())}"


@claim(
    statement=_statement_by_channel,
    assumptions=(
        r"$C = \operatorname{diag}(\gamma_n)$, the decays of each key channel from the start; row $j$ of $\bar K$ is "
        r"$k_j \odot \gamma_n / \gamma_j$, and row $j$ of $N$ the error $\nu_j$; $A$, $E$ and $W$ hold the decays, the "
        r"erase gates and the write gates of token $n + 1$, and $\nu$ is its error.",
        r"The induction starts at the empty chunk, where $C = I$ and $N$ has no rows.",
    ),
    scope=EverySize("C", "dk", "dv"),
    engine="words",
    source=Source("2510.26692", "eqs. 2 to 9, sec. 3.1, for one erase gate", "Kimi Linear"),
    code=(reference.step, reference.chunk),
    uses=("gated_chunk_equals_recurrence",),
    rules=decays_by_key_channel,
)
def chunk_by_channel_equals_recurrence() -> Any:
    """The chunk form with a decay, an erase and a write gate for each channel is the recurrence.

    The induction step, with diagonal gates of any size: a scalar gate is a diagonal of equal entries.
    """
    return ByChannel().residual()


@chunk_by_channel_equals_recurrence.step(engine="ring", scope=Sizes(C=4, dk=3, dv=2))
def code_by_channel_on_symbols(rule: WriteRule) -> Any:
    """The reference's chunk is the reference's recurrence."""
    return chunk_against_recurrence(symbols(rule, 4, 2, 3))


@chunk_by_channel_equals_recurrence.step(engine="field", scope=SHORTER_STREAM)
def code_by_channel_at_real_sizes(rule: WriteRule, rng: random.Random) -> Any:
    """The reference's chunks, one behind the other, are the reference's recurrence."""
    return chunks_against_recurrence(rule, rng, SHORTER_STREAM)


@chunk_by_channel_equals_recurrence.refute
def keys_not_decayed_to_now() -> Any:
    """The keys so far are not decayed by the new token."""
    words = ByChannel()
    return words.residual(decay_of_keys=words.algebra.identity("K"))


@chunk_by_channel_equals_recurrence.refute
def erase_gate_left_out() -> Any:
    """The memory is read by the key itself."""
    words = ByChannel()
    return words.residual(read_by=words.k)


@chunk_by_channel_equals_recurrence.refute
def decays_between_tokens_taken_from_the_start(rule: WriteRule) -> Any:
    """A key that the output reads is decayed from the start of the chunk, not from when it was written."""
    wrong = planted(reference.chunk, "exp(G[i] - G[:i + 1])", "exp(G[i] + 0 * G[:i + 1])")
    return chunk_against_recurrence(symbols(rule, 2, 2, 3), wrong)


# Every rule of the family.

SCALARS = {
    f"{letter}{t}": rf"\{name}" + (f"_{t}" if t else "")
    for letter, name in (("a", "alpha"), ("b", "beta"))
    for t in ("", 1, 2)
}


def _two_tokens() -> str:
    case = symbols(GATED_DELTANET, 2, 1, 1)
    ends = {name: case.run(code) for name, code in (("chunk", reference.chunk), ("recurrent", reference.recurrent))}
    shown = {name: printed.polynomial(end[0][0, 0], SCALARS) for name, end in ends.items()}
    return (
        r"\operatorname{chunk}(S, x_{1:C}) = \operatorname{recurrent}(S, x_{1:C}), \quad \text{such as } "
        r"\text{Gated DeltaNet at } C = 2, d = 1: \; S_2 = " + " = ".join(dict.fromkeys(shown.values()))
    )


@claim(
    statement=_two_tokens,
    scope=Sizes(C=3, dk=3, dv=2),
    engine="ring",
    source=PAPER,
    code=(reference.chunk, reference.chunkwise, reference.recurrent),
    uses=("gated_chunk_equals_recurrence", "chunk_by_channel_equals_recurrence"),
    rules=every_rule,
)
def every_rule_has_a_chunk_form(rule: WriteRule) -> Any:
    """The reference's chunk is the reference's recurrence, for every width that a gate of the family may have."""
    return chunk_against_recurrence(symbols(rule, 3, 2, 3))


@every_rule_has_a_chunk_form.step(engine="ring", scope=Sizes(C=3, dk=3, dv=2))
def chunk_at_every_combination_of_widths() -> Any:
    """The reference's chunk is its recurrence, whatever the widths of decay, erase gate, write gate and keys."""
    return (chunk_against_recurrence(free_symbols(sizes)) for sizes in every_width(3, 2, 3))


@every_rule_has_a_chunk_form.step(engine="field", scope=SHORT_CHUNKS)
def chunks_of_the_rule_one_behind_the_other(rule: WriteRule, rng: random.Random) -> Any:
    """The reference's chunks, the last one short, are the reference's recurrence."""
    return chunks_against_recurrence(rule, rng, SHORT_CHUNKS)


def erases(rule: WriteRule) -> bool:
    """Hold for the rules that erase."""
    return rule.erase is not Gate.NONE


def decays(rule: WriteRule) -> bool:
    """Hold for the rules that decay."""
    return rule.decay is not Gate.NONE


@every_rule_has_a_chunk_form.refute(rules=erases)
def errors_solved_with_the_wrong_sign(rule: WriteRule) -> Any:
    """A later token adds what the earlier ones have written at its key, instead of taking it off."""
    wrong = planted(reference.chunk, "u[i] - a @ stack(errors)", "u[i] + a @ stack(errors)")
    return chunk_against_recurrence(symbols(rule, 2, 2, 3), wrong)


@every_rule_has_a_chunk_form.refute(rules=decays)
def writes_not_decayed_to_the_end(rule: WriteRule) -> Any:
    """What the tokens have written is added up as if it had been written at the end of the chunk."""
    wrong = planted(reference.chunk, "exp(G[C - 1] - G) * x.k", "x.k")
    return chunk_against_recurrence(symbols(rule, 2, 2, 3), wrong)


@every_rule_has_a_chunk_form.refute
def outputs_without_the_memory_before(rule: WriteRule) -> Any:
    """The outputs leave out the memory from before the chunk."""
    wrong = planted(reference.chunk, "o = gamma * x.q @ S.T", "o = 0 * x.q @ S.T")
    return chunk_against_recurrence(symbols(rule, 2, 2, 3), wrong)


def _stages() -> str:
    letter = {name: printed.entry(name) for name in "qkvgbw"}
    x = Token(**{name: value if name == "g" else value[0] for name, value in letter.items()})
    m = reference.moments(printed.entry("S"), x, exp=printed.exp)
    stages = zip(("decay", "erase", "write"), (m.decayed, m.erased, m.written), strict=True)
    return (
        rf"{m.before[0, 0]} "
        + " ".join(rf"\xrightarrow{{\text{{{name}}}}} {stage[0, 0]}" for name, stage in stages)
        + r" = S_t, \quad \text{for one row and one key channel}"
    )


@claim(
    statement=_stages,
    scope=Sizes(dk=3, dv=2),
    engine="ring",
    source=Source("2412.06464", "eq. 10", "Gated Delta Networks: Improving Mamba2 with Delta Rule"),
    code=(reference.moments, reference.step),
    rules=every_rule,
)
def stages_add_up_to_the_step(rule: WriteRule) -> Any:
    """The memory after decay, erase and write, taken one by one, is the memory after the step; so is the output."""
    case = symbols(rule, 1, 2, 3)
    m = reference.moments(case.S, case.x[0], exp=case.exp)
    S, o = case.run(reference.recurrent)
    return {
        "written": case.residual(m.written, S),
        "o": case.residual(m.o, o[0]),
        "before": case.residual(m.before, case.S),
        "u": case.residual(m.u, case.x[0].w * case.x[0].v - m.read),
        "erased": case.residual(m.erased, m.decayed - m.read[:, None] * case.x[0].k),
        "decayed": case.residual(m.decayed, case.exp(case.x[0].g) * case.S),
    }


@stages_add_up_to_the_step.refute(rules=lambda rule: erases(rule) and decays(rule))
def stages_read_before_the_decay(rule: WriteRule) -> Any:
    """The erase stage reads the memory from before the decay."""
    case = symbols(rule, 1, 2, 3)
    wrong = planted(reference.moments, "(decayed * (x.b * k))", "(S * (x.b * k))")
    return case.residual(wrong(case.S, case.x[0], exp=case.exp).written, case.run(reference.recurrent)[0])


@stages_add_up_to_the_step.refute
def output_read_before_the_write(rule: WriteRule) -> Any:
    """The output is read from the memory from before the token was written."""
    case = symbols(rule, 1, 2, 3)
    wrong = planted(reference.moments, "written @ x.q", "erased @ x.q")
    return case.residual(wrong(case.S, case.x[0], exp=case.exp).o, case.run(reference.recurrent)[1][0])


@claim(
    statement=lambda: (
        r"k = 0,\; v = 0,\; b = 0,\; g = 0 \;\Rightarrow\; \operatorname{step}(S, x) = "
        rf"({', '.join(end.normal().tex() for end in padded()[1:])})"
    ),
    assumptions=(
        "The write gate may be anything: a rule without one writes everything, and there is nothing to write.",
    ),
    scope=EverySize("dk", "dv"),
    engine="words",
    source=Source("2412.06464", "sec. 3.3", "Gated Delta Networks: Improving Mamba2 with Delta Rule"),
    code=(reference.step, reference.chunk),
    rules=every_rule,
)
def padding_leaves_the_memory() -> Any:
    """A token whose key, value, erase gate and log decay are zero leaves the memory exactly as it was."""
    return _padding_in_words()


def padded(*, decay: str | int = 1, value: bool = False, key: bool = False) -> tuple[Expr, Expr, Expr]:
    """Return a memory, and the memory and the output behind a token that fills up; what is named is not zero in it."""
    a = Algebra("omega alpha")
    S = a.matrix("S", "V", "K")
    x = arrays.token(
        q=a.vector("q", "K"),
        k=a.vector("k", "K") if key else a.zero("K", "1"),
        v=a.vector("v", "V") if value else a.zero("V", "1"),
        decay=a.scalar(decay) if isinstance(decay, str) else decay,
        write=a.scalar("omega"),
    )
    after, o = reference.step(arrays.Array(S, 2), x, exp=arrays.exp)
    return S, after.word, o.word


def _padding_in_words(**wrong: Any) -> Any:
    before, after, _ = padded(**wrong)
    return (after - before).normal()


@padding_leaves_the_memory.step(engine="ring", scope=Sizes(C=4, dk=3, dv=2))
def a_padded_chunk_is_the_chunk(rule: WriteRule) -> Any:
    """A chunk filled up with such tokens, two of them, ends with the memory and the outputs of its own tokens."""
    return padded_against_chunk(rule, ("k", "v", "g", "b"))


def padded_against_chunk(rule: WriteRule, zeroed: tuple[str, ...]) -> Any:
    """Zero the named fields of the last two of four tokens, and compare with the chunk of the first two."""
    case = symbols(rule, 4, 2, 3)
    fields = {name: getattr(case.x, name) for name in ("q", "k", "v", "g", "b", "w")}
    kept = np.array([1, 1, 0, 0])
    for name in zeroed:
        fields[name] = kept.reshape(4, *[1] * (fields[name].ndim - 1)) * fields[name]
    S, o = reference.chunk(case.S, Token(**fields), exp=case.exp, stack=case.stack)
    return case.compare((S, o[:2]), reference.chunk(case.S, case.x[:2], exp=case.exp, stack=case.stack))


@padding_leaves_the_memory.refute
def padding_that_decays() -> Any:
    """The log decay is left as it was."""
    return _padding_in_words(decay="alpha")


@padding_leaves_the_memory.refute
def padding_that_writes() -> Any:
    """Only the erase gate and the log decay are zero: a rule without a write gate still writes."""
    return _padding_in_words(key=True, value=True)


@padding_leaves_the_memory.refute(rules=decays)
def padding_that_decays_in_a_chunk(rule: WriteRule) -> Any:
    """The log decays of the tokens that fill up the chunk are left as they were."""
    return padded_against_chunk(rule, ("k", "v", "b"))


def attend(made: dict[str, Array], system: str, values: Array, inverse: Inverse) -> Array:
    """Return the outputs of a chunk from an empty memory."""
    return made["P"] @ inverse(made[system]) @ values


def _attention() -> str:
    x, made = written_chunk()
    return rf"S_0 = 0 \;\Rightarrow\; O = {attend(made, 'A_decayed', x.b * x.v, inverse)}"


@claim(
    statement=_attention,
    assumptions=(
        r"$\Gamma_{ij} = \gamma_i / \gamma_j$ for $j \le i$. What stands before $V$ is the attention matrix $A$.",
    ),
    scope=EverySize("C", "dk", "dv"),
    engine="words",
    source=PAPER,
    code=(reference.recurrent,),
    uses=("gated_chunk_equals_recurrence", "ut_transform_is_the_gated_triangular_system"),
)
def outputs_are_effective_attention() -> Any:
    """From an empty memory the gated delta rule is attention: a matrix, made of keys and queries, times V."""
    a = Algebra()
    V, N, P = a.matrix("V", "n", "V"), a.matrix("N", "n", "V"), a.matrix("P", "n", "n")
    A, T, B = a.matrix("A", "n", "n"), a.matrix("T", "n", "n"), a.diagonal("B", "n")
    a.rule(T @ A, a.identity("n") - T)  # T is the inverse of I + A
    a.rule(A @ N, B @ V - N)  # the triangular system, from an empty memory
    # T (I + A) N is N on the one hand, and T B V on the other: so the outputs P N are (P T B) V.
    return [((T + T @ A) @ N - N).normal(), (P @ (T @ (N + A @ N)) - P @ T @ B @ V).normal()]


def effective_attention(x: Token, *, exp: Exp, stack: Stack, system: str = "A_decayed", beta: bool = True) -> Array:
    """Return the outputs as A V."""
    m = matrices(x, exp=exp, stack=stack)
    return attend(m, system, x.b * x.v if beta else x.v, lambda A: inverse_of_unit_lower(A, stack))


def attention_against_recurrence(case: Case, **wrong: Any) -> Any:
    """Compare A V with the outputs of the recurrence."""
    _, o = case.run(reference.recurrent)
    return case.residual(effective_attention(case.x, exp=case.exp, stack=case.stack, **wrong), o)


@outputs_are_effective_attention.step(engine="gram", scope=EveryWidth(C=8))
def code_is_effective_attention() -> Any:
    """The reference's outputs are A V."""
    return attention_against_recurrence(vectors(GATED_DELTANET, 8).from_zero())


@outputs_are_effective_attention.step(engine="field", scope=ONE_CHUNK)
def code_is_effective_attention_at_real_sizes(rng: random.Random) -> Any:
    """The reference's outputs are A V."""
    cases = (points(GATED_DELTANET, 64, 144, 128, rng).from_zero() for _ in range(ONE_CHUNK.primes))
    return (attention_against_recurrence(case) for case in cases)


@outputs_are_effective_attention.refute
def attention_with_a_full_memory() -> Any:
    """The memory was not empty: it answers the queries too."""
    return attention_against_recurrence(vectors(GATED_DELTANET, 3))


@outputs_are_effective_attention.refute
def attention_without_beta() -> Any:
    """The last factor, the write gates, is left out."""
    return attention_against_recurrence(vectors(GATED_DELTANET, 3).from_zero(), beta=False)


@outputs_are_effective_attention.refute
def attention_through_the_ungated_system() -> Any:
    """The inverse has no decays."""
    return attention_against_recurrence(vectors(GATED_DELTANET, 3).from_zero(), system="A")
