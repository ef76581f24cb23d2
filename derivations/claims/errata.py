"""Formulas that are printed wrong: the numbers of each entry of the registry, and the residual that they come from.

Each claim checks what its entry in :data:`derivations.errata.ERRATA` says: what the printed and the right formula give
at the entry's numbers, the residual between them in letters, and that the right formula is the code.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np

from derivations.claim import Claim, Counterexample, EverySize, Sizes, claim
from derivations.claims.delta_rule import Implicit, Length, ut_transform, written_transform
from derivations.claims.gated_delta_rule import (
    SCALARS,
    inverse_of_unit_lower,
    matrix_form,
    outputs,
    written_chunk,
    written_U_and_W,
)
from derivations.claims.objectives import Objective
from derivations.claims.scan import Segments, composition, composition_residual, then
from derivations.engines import printed
from derivations.engines.printed import Kind, factored
from derivations.engines.ring import Ring
from derivations.engines.tokens import Case, symbols
from derivations.engines.trees import ShapeError, shape
from derivations.engines.words import Algebra
from derivations.errata import ERRATA, Erratum
from derivations.mutants import planted
from gdn_core import reference
from gdn_core.reference import Array, Token
from gdn_core.rules import GATED_DELTANET, Source

OWN_FORMULA = Source("no single place", "the formula circulates; it is described here and pinned on nobody")


Numbers = Callable[[], tuple[Any, Any]]


def erratum(
    name: str, numbers: Numbers, right: Callable[[], str], difference: Callable[[], Any] | None = None
) -> Callable[[Callable[[], Any]], Claim]:
    """State the claim of an entry: that its numbers are what the two formulas give.

    Args:
        name: of the entry.
        numbers: computes what the printed and the right formula give at its numbers.
        right: prints the right formula from what is checked.
        difference: computes the right less the printed formula in letters, if both are polynomials.
    """
    entry = ERRATA[name]

    def statement() -> str:
        parts = [rf"\text{{printed: }} {entry.printed}", rf"\text{{right: }} {right()}"]
        if difference:
            parts.append(rf"\text{{right less printed:}} \quad {factored(difference(), SCALARS)}")
        else:
            parts.append(r"\text{{in numbers: {1} instead of {0}}}".format(*numbers()))
        return r", \qquad ".join(parts)

    return claim(
        statement=statement,
        assumptions=tuple(f"{text}." for text in (entry.title.rstrip("."), entry.note.rstrip(".")) if text),
        scope=Counterexample(_numbers(entry)),
        engine="exact",
        source=entry.seen[0] if entry.seen else OWN_FORMULA,
        code=(reference.step, reference.chunk),
        uses=entry.proved_by,
    )


def _numbers(entry: Erratum) -> str:
    letters = ", ".join(f"{name} = {' '.join(map(str, values))}" for name, values in entry.numbers.items())
    at = f" at {letters}" if letters else ""
    return f"{entry.compared} is {entry.gives} and should be {entry.should_give}{at}"


def against(name: str, numbers: Numbers) -> list[str]:
    """Compare what the printed and the right formula give with what the entry says they give."""
    entry = ERRATA[name]
    said = (entry.gives, entry.should_give)
    return [
        f"{what} formula gives {found}, the entry says {wanted}"
        for what, found, wanted in zip(("the printed", "the right"), numbers(), said, strict=True)
        if str(found) != wanted
    ]


def in_numbers(name: str) -> Case:
    """Return the scalar memory and the tokens of an entry, in fractions; decays must be powers of two."""
    numbers = ERRATA[name].numbers
    columns = {letter: np.array([[entry] for entry in numbers[letter]], dtype=object) for letter in "qkvb"}
    logs = [[[1 - decay.denominator.bit_length()]] for decay in numbers["a"]]
    x = Token(**columns, g=np.array(logs, dtype=object), w=columns["b"])
    power = np.frompyfunc(lambda log: Fraction(2) ** int(log), 1, 1)
    return Case(np.array([list(numbers["s"])], dtype=object), x, power, np.stack, lambda left, right: left - right)


def in_letters(T: int) -> Case:
    """Return a scalar memory and its tokens under the gated delta rule, as letters."""
    return symbols(GATED_DELTANET, T, 1, 1)


def letters(case: Case) -> dict[str, list[Any]]:
    """Return the letters of a scalar case by name, one a token; s is the memory."""
    x = case.x
    found = {"k": x.k[:, 0], "q": x.q[:, 0], "v": x.v[:, 0], "b": x.b[:, 0], "a": case.exp(x.g)[:, 0, 0]}
    return {"s": [case.S[0, 0]], **{name: list(entries) for name, entries in found.items()}}


# The output mask.


MASKED = ("exp(G[i] - G[:i + 1])", "exp(0 * G[:i + 1])")


def masks() -> tuple[Any, Any]:
    """Compute the output of token 2 under the causal mask, and by the code."""
    case = in_numbers("chunk_output_needs_the_decay_mask")
    _, wrong = case.run(planted(reference.chunk, *MASKED))
    _, o = case.run(reference.recurrent)
    return wrong[1, 0], o[1, 0]


def mask_difference() -> Any:
    """Return by how much the outputs of token 2 differ, in letters."""
    case = in_letters(2)
    _, o = case.run(reference.chunk)
    _, wrong = case.run(planted(reference.chunk, *MASKED))
    return case.residual(o, wrong)[1, 0]


def mask_residual(*, factor: int = 1) -> Any:
    """Compare the difference of the outputs of token 2 with the residual -b1 k1 q2 (a2 - 1)(a1 k1 s - v1)."""
    x = letters(in_letters(2))
    k1, b1, v1, a1, s = (x[name][0] for name in "kbvas")
    return mask_difference() + factor * b1 * k1 * x["q"][1] * (x["a"][1] - 1) * (a1 * k1 * s - v1)


def masked_outputs() -> str:
    """Print the outputs of a chunk."""
    x, made = written_chunk()
    S, N = printed.letters(Kind.MATRIX, "S", "N")
    return rf"O = {outputs(S, x.q, x.g, made['P'], N)}, \; N = \widetilde U - \overleftarrow{{W}} S^\top"


@erratum("chunk_output_needs_the_decay_mask", masks, masked_outputs, mask_difference)
def chunk_output_needs_the_decay_mask() -> Any:
    """In the output of a chunk the products of queries and keys are masked by the decays, not by the causal ones."""
    return against("chunk_output_needs_the_decay_mask", masks)


@chunk_output_needs_the_decay_mask.step(engine="ring", scope=Sizes(C=2, dk=1, dv=1))
def residual_of_the_mask() -> Any:
    """In letters the right output of token 2 less the printed one is -b1 k1 q2 (a2 - 1)(a1 k1 s - v1)."""
    return mask_residual()


@chunk_output_needs_the_decay_mask.refute
def no_difference_at_all() -> Any:
    """The two masks are said to give the same."""
    return mask_residual(factor=0)


@chunk_output_needs_the_decay_mask.refute
def causal_mask_is_the_recurrence() -> Any:
    """The printed form is said to be the recurrence."""
    case = in_letters(2)
    return case.compare(case.run(planted(reference.chunk, *MASKED)), case.run(reference.recurrent))


# The sign under the inverse.


def error_of_token_two(x: Token, sign: int) -> Any:
    """Return the error of token 2 by the UT transform from an empty memory, with a sign before the triangle."""
    below = np.tri(2, 2, -1, dtype=int)
    return ut_transform(x, below, lambda A: inverse_of_unit_lower(sign * A, np.stack))[1][1, 0]


def signs() -> tuple[Any, Any]:
    """Compute the error of token 2 by the printed form, and by the code."""
    case = in_numbers("ut_transform_inverts_i_plus_the_triangle")
    after, _ = case.run(reference.recurrent)
    first, _ = reference.step(case.S, case.x[0], exp=case.exp)
    by_the_code = (after[0, 0] - first[0, 0]) / case.x.k[1, 0]  # token 2 adds u k to the memory of one entry
    return error_of_token_two(case.x, -1), by_the_code


def sign_difference() -> Any:
    """Return by how much the errors of token 2 differ, in letters."""
    x = in_letters(2).x
    return error_of_token_two(x, 1) - error_of_token_two(x, -1)


def sign_residual(*, factor: int = 2) -> Any:
    """Compare the difference of the two errors with its value in letters, -2 b1 b2 k1 k2 v1."""
    y = letters(in_letters(2))
    return sign_difference() + factor * y["b"][0] * y["b"][1] * y["k"][0] * y["k"][1] * y["v"][0]


@erratum("ut_transform_inverts_i_plus_the_triangle", signs, written_transform, sign_difference)
def ut_transform_inverts_i_plus_the_triangle() -> Any:
    """What the UT transform inverts is I plus the triangle: what a key already answers is taken off."""
    right = error_of_token_two(in_numbers("ut_transform_inverts_i_plus_the_triangle").x, 1)
    return [*against("ut_transform_inverts_i_plus_the_triangle", signs), right - signs()[1]]


@ut_transform_inverts_i_plus_the_triangle.step(engine="ring", scope=Sizes(C=2, dk=1, dv=1))
def residual_of_the_sign() -> Any:
    """In letters the right error of token 2 less the printed one is -2 b1 b2 k1 k2 v1."""
    return sign_residual()


@ut_transform_inverts_i_plus_the_triangle.refute
def sign_does_not_matter() -> Any:
    """The sign is said not to matter."""
    return sign_residual(factor=0)


@ut_transform_inverts_i_plus_the_triangle.refute
def printed_form_solves_the_system() -> Any:
    """The printed inverse is said to give the errors of the code."""
    case = in_letters(2)
    y = letters(case)
    u1 = y["b"][0] * y["v"][0]
    right = y["b"][1] * (y["v"][1] - y["k"][1] * y["k"][0] * u1)
    return error_of_token_two(case.x, -1) - right


# The order of decay and error.


BEFORE = (
    "S = exp(x.g) * S\n    u = x.w * x.v - S @ (x.b * x.k)",
    "u = x.w * x.v - S @ (x.b * x.k)\n    S = exp(x.g) * S",
)


def orders(case: Case) -> tuple[Any, Any]:
    """Return the memory after a token by the printed form, and by the code."""
    wrong, _ = planted(reference.step, *BEFORE)(case.S, case.x[0], exp=case.exp)
    right, _ = reference.step(case.S, case.x[0], exp=case.exp)
    return wrong[0, 0], right[0, 0]


def orders_in_numbers() -> tuple[Any, Any]:
    """Compute the memory after a token in both forms."""
    return orders(in_numbers("error_is_read_after_the_decay"))


def order_difference() -> Any:
    """Return by how much the two memories differ, in letters."""
    wrong, right = orders(in_letters(1))
    return right - wrong


def order_residual(*, factor: int = 1) -> Any:
    """Compare the difference of the two memories with its value in letters, b k^2 s (1 - a)."""
    y = letters(in_letters(1))
    a, b, k, s = (y[name][0] for name in "abks")
    return order_difference() - factor * b * k**2 * s * (1 - a)


def written_step() -> str:
    """Print the code's step."""
    words = Objective()
    return rf"S_t = {words.step(words.alpha, words.beta, words.beta).normal().tex()}"


@erratum("error_is_read_after_the_decay", orders_in_numbers, written_step, order_difference)
def error_is_read_after_the_decay() -> Any:
    """The error is read from the decayed memory: otherwise a unit key with beta = 1 does not answer its new value."""
    case = in_numbers("error_is_read_after_the_decay")
    _, o = reference.step(case.S, case.x[0], exp=case.exp)
    return [*against("error_is_read_after_the_decay", orders_in_numbers), o[0] - case.x.v[0, 0]]


@error_is_read_after_the_decay.step(engine="ring", scope=Sizes(C=1, dk=1, dv=1))
def residual_of_the_order() -> Any:
    """In letters the right memory less the printed one is b k^2 s (1 - a): nothing without a decay."""
    return order_residual()


@error_is_read_after_the_decay.refute
def order_does_not_matter() -> Any:
    """The order is said not to matter."""
    return order_residual(factor=0)


@error_is_read_after_the_decay.refute
def difference_of_the_other_sign() -> Any:
    """The difference is said to have the other sign."""
    return order_residual(factor=-1)


# The decays in W.


def decayed_twice() -> tuple[Any, Any]:
    """Compute the memory after two tokens by the printed form, and by the code."""
    case = in_numbers("decays_count_once_in_w")
    wrong, _ = case.run(matrix_form, ungated="A_decayed")
    right, _ = case.run(reference.recurrent)
    return wrong[0, 0], right[0, 0]


def w_difference() -> Any:
    """Return by how much the memories after two tokens differ, in letters."""
    case = in_letters(2)
    right, _ = case.run(matrix_form)
    wrong, _ = case.run(matrix_form, ungated="A_decayed")
    return case.residual(right, wrong)[0, 0]


def w_residual(*, factor: int = 1) -> Any:
    """Compare the difference of the memories of two tokens with its value, b1 b2 k1^2 k2^2 s a1 a2 (1 - a2)."""
    y = letters(in_letters(2))
    (k1, k2), (b1, b2), (a1, a2), s = y["k"], y["b"], y["a"], y["s"][0]
    return w_difference() - factor * b1 * b2 * k1**2 * k2**2 * s * a1 * a2 * (1 - a2)


def written_W() -> str:
    """Print W of a chunk."""
    return rf"\overleftarrow{{W}} = {written_U_and_W()[1]}"


@erratum("decays_count_once_in_w", decayed_twice, written_W, w_difference)
def decays_count_once_in_w() -> Any:
    """W is made with the inverse that has no decays, and decayed once."""
    return against("decays_count_once_in_w", decayed_twice)


@decays_count_once_in_w.step(engine="ring", scope=Sizes(C=2, dk=1, dv=1))
def residual_of_the_decays() -> Any:
    """In letters the right memory less the printed one is b1 b2 k1^2 k2^2 s a1 a2 (1 - a2)."""
    return w_residual()


@decays_count_once_in_w.refute
def decays_may_count_twice() -> Any:
    """The two are said to be equal."""
    return w_residual(factor=0)


@decays_count_once_in_w.refute
def printed_form_is_the_code() -> Any:
    """The printed form is said to be the code's chunk."""
    case = in_letters(2)
    return case.compare(case.run(matrix_form, ungated="A_decayed"), case.run(reference.chunk))


# The composition of affine maps.


def translations() -> tuple[Any, Any]:
    """Compute the first entry of the translation of two composed maps in both orders."""
    M, X = (np.array(entries, dtype=object) for entries in ([[1, 0], [3, 1]], [[0, 1], [0, 0]]))
    return (M @ X)[0, 0], (X @ M)[0, 0]


@erratum("affine_maps_carry_the_translation_through_the_second_map", translations, composition)
def affine_maps_carry_the_translation_through_the_second_map() -> Any:
    """What the first map adds is carried through the second from the right: X_i M_j + X_j."""
    return against("affine_maps_carry_the_translation_through_the_second_map", translations)


@affine_maps_carry_the_translation_through_the_second_map.step(engine="words", scope=EverySize("dk", "dv"))
def right_composition() -> Any:
    """X_i M_j + X_j composes and associates for every size; M_j X_i does not fit unless dk = dv."""
    return [composition_residual(then), [] if _raises(_printed_composition) else ["M_j X_i fits"]]


def _printed_composition() -> Any:
    words = Algebra()
    return words.matrix("M_j", "K", "K") @ words.matrix("X_i", "V", "K")


def _raises(build: Callable[[], Any]) -> bool:
    try:
        build()
    except ShapeError:
        return True
    return False


@affine_maps_carry_the_translation_through_the_second_map.refute
def printed_composition_of_square_memories() -> Any:
    """The printed composition on the code's segments, where dk = dv lets it fit."""
    return Segments(T=4, V=2, K=2).residual(lambda a, b: (a[0] @ b[0], b[0] @ a[1] + b[1]))


@affine_maps_carry_the_translation_through_the_second_map.refute
def translation_not_carried() -> Any:
    """The translations are added as they are."""
    return composition_residual(lambda first, second: (first[0] @ second[0], first[1] + second[1]))


# Where the decays of a write start.


def writes_decayed_from(case: Case, start: int) -> Any:
    """Return the memory of two tokens from their errors, each decayed from ``start`` tokens behind its write."""
    S, errors = case.S, []
    for t in range(2):
        u = case.x.w[t] * case.x.v[t] - (case.exp(case.x.g[t]) * S) @ (case.x.b[t] * case.x.k[t])
        S, _ = reference.step(S, case.x[t], exp=case.exp)
        errors.append(u[0] * case.x.k[t, 0])
    a1, a2 = (case.exp(case.x.g[t])[0, 0] for t in range(2))
    return decayed_from(start, case.S[0, 0], a1, a2, *errors), S[0, 0]


def decayed_from(start: int, s: Any, a1: Any, a2: Any, first: Any, second: Any) -> Any:
    """Return the memory of two tokens from the one before and two writes."""
    return a1 * a2 * s + (a2 * first + second if start else a1 * a2 * first + a2 * second)


def starts() -> tuple[Any, Any]:
    """Compute the memory of two tokens with each write decayed by its own token too, and behind it."""
    case = in_numbers("decays_of_a_write_start_behind_it")
    return writes_decayed_from(case, 0)[0], writes_decayed_from(case, 1)[0]


def start_residual(start: int) -> Any:
    """Compare the memory of two tokens with the code's, in letters."""
    made, code = writes_decayed_from(in_letters(2), start)
    return made - code


def written_writes() -> str:
    """Print the memory of two tokens."""
    scalars = printed.letters(Kind.SCALAR, "S_0", r"\alpha_1", r"\alpha_2", r"u_1 k_1^\top", r"u_2 k_2^\top")
    return f"S_2 = {decayed_from(1, *scalars)}"


@erratum("decays_of_a_write_start_behind_it", starts, written_writes)
def decays_of_a_write_start_behind_it() -> Any:
    """A write is decayed by the tokens behind it, and not by its own: the decay acts before the write."""
    right, code = writes_decayed_from(in_numbers("decays_of_a_write_start_behind_it"), 1)
    return [*against("decays_of_a_write_start_behind_it", starts), right - code]


@decays_of_a_write_start_behind_it.step(engine="ring", scope=Sizes(C=2, dk=1, dv=1))
def decays_behind_the_write() -> Any:
    """In letters the errors, decayed from behind their writes, make the code's memory."""
    return start_residual(1)


@decays_of_a_write_start_behind_it.refute
def own_decay_counted() -> Any:
    """The write's own decay is counted."""
    return start_residual(0)


@decays_of_a_write_start_behind_it.refute
def own_decay_counted_without_a_memory() -> Any:
    """The same from an empty memory, where only the writes are left to differ."""
    made, code = writes_decayed_from(in_letters(2).from_zero(), 0)
    return made - code


# The eigenvalue along a key.


def eigenvalue(key: Array, gate: Any) -> Any:
    """Return the first entry of P k over that of k, for what the code multiplies the memory by."""
    K = len(key)
    gates = np.array([gate], dtype=object)
    x = Token(q=key, k=key, v=0 * key, g=np.array([[0]], dtype=object), b=gates, w=gates)
    identity = np.array(np.eye(K, dtype=int), dtype=object)
    P, _ = reference.step(identity, x, exp=lambda g: g + 1)
    return P @ key


def eigenvalues() -> tuple[Any, Any]:
    """Compute the eigenvalue along a key of one channel by the printed form, and by the code."""
    numbers = ERRATA["eigenvalue_has_the_squared_key_length"].numbers
    key = np.array(numbers["k"], dtype=object)
    return 1 - numbers["b"][0] * key[0], eigenvalue(key, numbers["b"][0])[0] / key[0]


@erratum(
    "eigenvalue_has_the_squared_key_length",
    eigenvalues,
    lambda: rf"\lambda = {Length().eigenvalue.tex()}, \; \kappa = \|k\|^2",
)
def eigenvalue_has_the_squared_key_length() -> Any:
    """Along its key a transition multiplies by 1 - beta ||k||^2."""
    return against("eigenvalue_has_the_squared_key_length", eigenvalues)


def along_the_key(power: int) -> Any:
    """Compare what the code makes of a key of three letters with (1 - beta ||k||^power) k; the length must be even."""
    ring = Ring(k=(3,), b=())
    key, gate = ring["k"], ring["b"][()]
    squared = key @ key
    return ring.residual(eigenvalue(key, gate), key * (1 - gate * squared ** (power // 2)))


@eigenvalue_has_the_squared_key_length.step(engine="ring", scope=Sizes(dk=3))
def squared_length() -> Any:
    """In letters the code multiplies the key by 1 - beta ||k||^2."""
    return along_the_key(2)


@eigenvalue_has_the_squared_key_length.refute
def length_to_no_power() -> Any:
    """The eigenvalue is said to be 1 - beta."""
    return along_the_key(0)


@eigenvalue_has_the_squared_key_length.refute
def length_to_the_fourth() -> Any:
    """The eigenvalue is said to be 1 - beta ||k||^4."""
    return along_the_key(4)


# Longhorn's objective.


def stationary() -> tuple[Any, Any]:
    """Compute where the objective with each sign is stationary, for one entry."""
    numbers = ERRATA["longhorn_objective_adds_the_error"].numbers
    s, b, k, v = (numbers[name][0] for name in "sbkv")
    wrong, right = ((s + sign * b * v * k) / (1 + sign * b * k**2) for sign in (-1, 1))
    return wrong, right


def implicit_objective() -> str:
    """Print the objective, for one row of the memory."""
    words = Implicit()
    return words.loss(words.algebra.matrix("S'", "1", "K")).tex()


@erratum("longhorn_objective_adds_the_error", stationary, implicit_objective)
def longhorn_objective_adds_the_error() -> Any:
    """The objective that Longhorn's step minimises adds the error to the distance from the old memory."""
    return against("longhorn_objective_adds_the_error", stationary)


@longhorn_objective_adds_the_error.step(engine="words", scope=EverySize("dk", "dv"))
def stationary_with_the_plus() -> Any:
    """With the plus the objective is least at the code's step with the gate beta / (1 + beta kappa)."""
    return Implicit().residual()


@longhorn_objective_adds_the_error.refute
def stationary_with_the_minus() -> Any:
    """With the minus the objective is said to be stationary there."""
    return Implicit().residual(sign=-1)


@longhorn_objective_adds_the_error.refute
def explicit_gate() -> Any:
    """The gate is beta."""
    words = Implicit(gate=False)
    words.algebra.relation(words.theta, words.beta)
    return words.residual()


# Rows are tokens.


def product_shape(*, transposed: bool) -> str:
    """Return the shape of V'K, or of V K' where that fits, for two tokens with dk = dv = 1."""
    V, K = np.array([[3], [5]], dtype=object), np.array([[1], [2]], dtype=object)
    made = V.T @ K if transposed else V @ K.T
    return f"{made.shape[0]} x {made.shape[1]}"


def products_in_numbers() -> tuple[str, str]:
    """Return the shapes of the printed and of the right product."""
    return product_shape(transposed=False), product_shape(transposed=True)


def written_product() -> str:
    """Print the memory of a chunk of writes."""
    words = Algebra()
    V, K, S = words.matrix("V", "C", "V"), words.matrix("K", "C", "K"), words.matrix("S", "V", "K")
    return rf"S_{{[t+1]}} = {(S + V.T @ K).tex()}"


@erratum("rows_are_tokens_so_the_values_are_transposed", products_in_numbers, written_product)
def rows_are_tokens_so_the_values_are_transposed() -> Any:
    """With a token a row the writes of a chunk are V'K."""
    return against("rows_are_tokens_so_the_values_are_transposed", products_in_numbers)


def fits(*, transposed: bool) -> list[str]:
    """Say whether a product of values and keys, a token a row, has the shape of the memory for every size."""
    words = Algebra()
    V, K, S = words.matrix("V", "C", "V"), words.matrix("K", "C", "K"), words.matrix("S", "V", "K")
    made = V.T @ K if transposed else V @ words.matrix("K'", "V", "C")
    return [] if (made.rows, made.cols) == (S.rows, S.cols) else [f"{made} is {shape(made)}, the memory {shape(S)}"]


@rows_are_tokens_so_the_values_are_transposed.step(engine="words", scope=EverySize("C", "dk", "dv"))
def shapes_of_the_right_form() -> Any:
    """V'K has the shape of the memory for every size, and V K' fits for none in general."""
    words = Algebra()
    V, K = words.matrix("V", "C", "V"), words.matrix("K", "C", "K")
    return [fits(transposed=True), [] if _raises(lambda: V @ K.T) else ["V K' fits"]]


@rows_are_tokens_so_the_values_are_transposed.refute
def product_of_columns() -> Any:
    """V K' with as many key channels as value channels, which fits, and is a matrix of tokens by tokens."""
    return fits(transposed=False)


@rows_are_tokens_so_the_values_are_transposed.refute
def shape_in_numbers() -> Any:
    """The printed product of two tokens is said to be one number, as a memory with dk = dv = 1 is."""
    return [] if product_shape(transposed=False) == "1 x 1" else [product_shape(transposed=False)]
