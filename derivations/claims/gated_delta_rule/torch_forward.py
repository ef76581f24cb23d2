"""The PyTorch forms forward: their operations, on exact numbers, give the recurrence.

PyTorch is imported by the steps and not by this module, so that the claims can be listed without it.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from fractions import Fraction
from importlib import import_module
from typing import Any

from derivations.engines.algebra import Algebra, equation
from derivations.models import torch_sizes
from derivations.models.computed import EXACTLY, recurrence
from derivations.models.torch_passes import (
    chunk,
    code,
    differentiable,
    forward,
    misprinted,
    module,
    of_every_type,
    recurrent,
    steps,
)
from derivations.models.torch_sizes import (
    EVERY_CHUNK_SIZE,
    GATES,
    HEADS,
    LONGER,
    MANY,
    MANY_SEQUENCES,
    MANY_SPANS,
    NEAR,
    PACKED,
    REAL,
    RESETS,
    SHORT_AND_LONG,
    SPANS,
    TAILS,
    TOKEN_BY_TOKEN,
    TYPES,
)
from derivations.papers import cite
from derivations.registry import claim
from derivations.scope import AtPoints, EverySize
from gdn_core import reference

# The algebra by which the forms differ from the reference.


def _reassociated() -> tuple[Any, Any, Any, Any, Any]:
    a = Algebra("")
    M, B = a.matrix("M", "C", "C"), a.diagonal("B", "C", tex=r"\operatorname{diag}(\beta)")
    e, r, one = a.matrix("e", "C", "V"), a.matrix("r", "C", "V"), a.identity("C")
    return M, B, e, r, one


def _statement() -> str:
    M, B, e, r, one = _reassociated()
    u = e.algebra.matrix("u", "C", "V")
    return rf"{equation(r, (one + M @ B) @ e)}, \quad {equation(u, B @ e)} \;\Rightarrow\; (I + B M) u = B r"


@claim(
    statement=_statement,
    assumptions=("$M$ is the strict lower triangle of the products of keys under the decay mask.",),
    scope=EverySize("C", "dv"),
    engine="words",
    source=cite("2412.06464", "sec. 3.3, with the gate moved to the other side here"),
)
def gate_moves_through_the_triangular_system() -> Any:
    """Errors that are solved for before their gate, and gated afterwards, are the errors of the paper's system."""
    M, B, e, _, one = _reassociated()
    return ((one + B @ M) @ (B @ e) - B @ ((one + M @ B) @ e)).normal()


@gate_moves_through_the_triangular_system.refute
def gate_on_the_same_side() -> Any:
    """The gate stands on the left of the products in both systems."""
    M, B, e, _, one = _reassociated()
    return ((one + B @ M) @ (B @ e) - B @ ((one + B @ M) @ e)).normal()


@gate_moves_through_the_triangular_system.refute
def errors_gated_twice() -> Any:
    """The errors are gated before and after the solution."""
    M, B, e, _, one = _reassociated()
    return ((one + B @ M) @ (B @ B @ e) - B @ ((one + M @ B) @ e)).normal()


# The chunk form, forward.


@claim(
    statement=recurrence(r"\operatorname{torch\_chunk}(q, k, v, g, \beta, S_0) = (o, S_T)"),
    assumptions=EXACTLY,
    scope=torch_sizes.scope(EVERY_CHUNK_SIZE),
    engine="aten",
    source=cite("2412.06464", "sec. 3.3"),
    code=(*code("chunk.forward", "sequences.forward"), reference.recurrent, reference.step),
    uses=("gated_chunk_equals_recurrence", "gate_moves_through_the_triangular_system"),
    needs=("torch",),
)
def torch_chunk_equals_recurrence(rng: random.Random) -> Any:
    """The chunk form in PyTorch, operation by operation as it runs, is the recurrence."""
    return forward(EVERY_CHUNK_SIZE, rng)


@torch_chunk_equals_recurrence.step(engine="aten", scope=torch_sizes.scope((*SPANS, *REAL), primes=2))
def several_spans_and_real_widths(rng: random.Random) -> Any:
    """The memory passes from span to span; at real widths the same holds."""
    return forward((*SPANS, *REAL), rng, primes=2)


@torch_chunk_equals_recurrence.step(engine="aten", scope=torch_sizes.scope((*HEADS, *PACKED, *GATES)))
def batches_heads_packed_sequences_and_absent_gates(rng: random.Random) -> Any:
    """Batches, grouped heads, packed sequences, and rules without a decay, without erasing or without a memory."""
    return forward((*HEADS, *PACKED, *GATES), rng)


@torch_chunk_equals_recurrence.step(engine="aten", scope=torch_sizes.scope(RESETS))
def decays_of_0(rng: random.Random) -> Any:
    """Tokens whose decay is 0 clear the memory, with heads, batches and packed sequences."""
    return forward(RESETS, rng)


@torch_chunk_equals_recurrence.step(engine="aten", scope=torch_sizes.scope((*TAILS, *MANY)))
def every_tail_and_many_spans_heads_and_sequences(rng: random.Random) -> Any:
    """A last chunk of every length, up to six spans, up to 128 channels, 1 to 16 heads and sequences, and more packed.
    """
    return forward((*TAILS, *MANY), rng)


@torch_chunk_equals_recurrence.step(engine="aten", scope=torch_sizes.scope(TYPES))
def types_of_inputs_and_results(rng: random.Random) -> Any:
    """On inputs of 16 bits and of 64 the same holds, results have the types that are promised, and nothing in between
    is rounded to less than float32, or than the inputs.
    """
    return of_every_type(forward, TYPES, rng, chunk)


@torch_chunk_equals_recurrence.step(
    engine="exact", scope=AtPoints("the log decays that count as a decay of 0 in float32 and in float64, and one more,")
)
def logs_that_count_as_a_decay_of_0() -> Any:
    """The largest log decay that is counted as a decay of 0 has an exponential of 0, and one more than it has not."""
    torch = import_module("torch")
    for dtype, log in module("precision").FORGETS.items():
        at, above = torch.tensor([log, log + 1], dtype=dtype).exp().tolist()
        yield {f"{dtype}:": [Fraction(at), 0 if above > 0 else f"the exponential of {log + 1} is 0 too"]}


def _wrong_forward(rng: random.Random, name: str, right: str, wrong: str) -> Iterator[dict[str, Any]]:
    with misprinted(name, right, wrong):
        yield from forward(NEAR, rng)


@torch_chunk_equals_recurrence.refute
def outputs_under_the_causal_mask(rng: random.Random) -> Any:
    """The outputs are masked by ones in place of the decays."""
    return _wrong_forward(rng, "chunk.forward", "* gated.to(dtype)", "* gates.beta[..., None, :].to(dtype)")


@torch_chunk_equals_recurrence.refute
def exponential_above_the_diagonal(rng: random.Random) -> Any:
    """Decays are taken above the diagonal too, where the exponential of a positive number overflows."""
    return _wrong_forward(rng, "chunk._gates", ".tril_().exp_()", ".exp_()")


@torch_chunk_equals_recurrence.refute
def gate_of_the_later_token(rng: random.Random) -> Any:
    """The products of keys are gated by the later token, as for errors that are gated already."""
    return _wrong_forward(rng, "chunk.forward", "gates.beta[..., None, :]", "gates.beta[..., :, None]")


@torch_chunk_equals_recurrence.refute
def answer_of_the_memory_added(rng: random.Random) -> Any:
    """What the memory answers is added to the value in place of taken off."""
    return _wrong_forward(rng, "chunk.forward", "minus = -gates.so_far", "minus = gates.so_far")


@torch_chunk_equals_recurrence.refute
def memory_decayed_by_one_token(rng: random.Random) -> Any:
    """The memory is decayed by the first token of a chunk in place of all."""
    return _wrong_forward(rng, "chunk.forward", "so_far[i, :, -1:]", "so_far[i, :, :1]")


@torch_chunk_equals_recurrence.refute
def writes_decayed_from_the_start(rng: random.Random) -> Any:
    """What is written is decayed from the start of the chunk and not to its end."""
    return _wrong_forward(rng, "chunk._gates", "(G[..., -1:] - G).exp()", "G.exp()")


@torch_chunk_equals_recurrence.refute
def scale_a_thousandth_too_large(rng: random.Random) -> Any:
    """The scale is a thousandth too large."""
    return _wrong_forward(rng, "chunk.forward", "addcmul_(all_read[:n], so_far), o, scale)",
                          "addcmul_(all_read[:n], so_far), o, scale * 1.001)")  # fmt: skip


@torch_chunk_equals_recurrence.refute
def sum_on_a_buffer_that_was_never_written(rng: random.Random) -> Any:
    """The first part of a sum is added to a buffer that was allocated and never written."""
    return _wrong_forward(rng, "chunk._multiply", "if add:", "if True:")


@torch_chunk_equals_recurrence.refute
def triangle_inverted_without_its_transpose(rng: random.Random) -> Any:
    """The upper triangle is solved in place of the lower one."""
    return _wrong_forward(rng, "chunk._ut_transform", "triangle, one, upper=False", "triangle.mT, one, upper=True")


@torch_chunk_equals_recurrence.refute
def memory_of_the_first_sequence(rng: random.Random) -> Any:
    """Every packed sequence starts from the memory of the first."""
    right = "initial_state=S[group.numbers]"
    return _wrong_forward(rng, "sequences.forward", right, right.replace("group", "0 * group"))


@torch_chunk_equals_recurrence.refute
def key_of_the_next_head(rng: random.Random) -> Any:
    """Heads of values are given out to the heads of keys in turn and not in blocks."""
    with misprinted("chunk._Span.rows", "x.expand(n, B, H, heads // H, C, D)",
                    "x.expand(n, B, H, heads // H, C, D).transpose(2, 3)"):  # fmt: skip
        yield from forward(HEADS, rng)


@torch_chunk_equals_recurrence.refute
def log_decays_summed_in_float32(rng: random.Random) -> Any:
    """Log decays are summed in float32, where those of the inputs are float64."""
    with misprinted("chunk._gates", "span.cut(g).to(wide)", "span.cut(g).to(torch.float32)"):
        yield from of_every_type(forward, TYPES, rng, chunk)


@torch_chunk_equals_recurrence.refute
def scale_left_out_behind_the_first_span(rng: random.Random) -> Any:
    """The scale is left out of whole spans behind the first."""
    with misprinted("chunk._Span.put", "torch.mul(values, scale,", "torch.mul(values, 1 if self.number else scale,"):
        yield from forward(MANY_SPANS, rng)


# Token by token, and the form that PyTorch differentiates.


@claim(
    statement=recurrence(r"\operatorname{torch\_recurrent}(q, k, v, g, \beta, S_0) = (o, S_T)"),
    assumptions=EXACTLY,
    scope=torch_sizes.scope(TOKEN_BY_TOKEN, primes=3),
    engine="aten",
    source=cite("2412.06464", "eq. 10"),
    code=(*code("recurrent.recurrent", "sequences.steps"), reference.recurrent, reference.step),
    needs=("torch",),
)
def torch_recurrent_equals_recurrence(rng: random.Random) -> Any:
    """The recurrence in PyTorch, operation by operation as it runs, is the reference's recurrence."""
    return forward(TOKEN_BY_TOKEN, rng, recurrent, primes=3)


@torch_recurrent_equals_recurrence.step(engine="aten", scope=torch_sizes.scope(PACKED, primes=3))
def short_packed_sequences_token_by_token(rng: random.Random) -> Any:
    """Packed sequences give the recurrence, the short ones token by token and the long ones in chunks."""
    return forward(PACKED, rng, steps, primes=3)


@torch_recurrent_equals_recurrence.step(engine="aten", scope=torch_sizes.scope(LONGER))
def every_length_and_many_widths_and_heads(rng: random.Random) -> Any:
    """Every length to 20 and some to 130, up to 128 channels, and 1 to 16 sequences and heads."""
    return forward(LONGER, rng, recurrent)


@torch_recurrent_equals_recurrence.step(
    engine="aten", scope=torch_sizes.scope((*SHORT_AND_LONG, *MANY_SEQUENCES))
)
def short_and_long_batches_and_many_sequences(rng: random.Random) -> Any:
    """Batches on both sides of the length up to which they are run token by token, and more packed sequences."""
    return forward((*SHORT_AND_LONG, *MANY_SEQUENCES), rng, steps)


@torch_recurrent_equals_recurrence.step(engine="aten", scope=torch_sizes.scope(TOKEN_BY_TOKEN[-3:]))
def types_of_the_recurrence(rng: random.Random) -> Any:
    """On inputs of 16 bits and of 64 the same holds, and nothing but the results is rounded to less than float32."""
    return of_every_type(forward, TOKEN_BY_TOKEN[-3:], rng, recurrent)


def _wrong_recurrent(rng: random.Random, right: str, wrong: str) -> Iterator[dict[str, Any]]:
    with misprinted("recurrent.recurrent", right, wrong):
        yield from forward(TOKEN_BY_TOKEN[:3], rng, recurrent)


@torch_recurrent_equals_recurrence.refute
def error_before_the_decay(rng: random.Random) -> Any:
    """The error is read from the memory before its decay."""
    return _wrong_recurrent(rng, "u - torch.bmm(k_t, S)", "u - torch.bmm(k_t, S if t == 0 else S / g[:, t].exp()"
                            ".reshape(-1, 1, 1))")  # fmt: skip


@torch_recurrent_equals_recurrence.refute
def value_not_gated(rng: random.Random) -> Any:
    """The gate is left out of the value."""
    return _wrong_recurrent(rng, "* (u - torch.bmm(k_t, S))", "* -torch.bmm(k_t, S) + u")


@torch_recurrent_equals_recurrence.refute
def computed_in_the_type_of_the_values(rng: random.Random) -> Any:
    """Sums and products are computed in the type of the values, which may have 16 bits."""
    with misprinted("recurrent.recurrent", "torch.promote_types(v.dtype, torch.float32)", "v.dtype"):
        yield from of_every_type(forward, TOKEN_BY_TOKEN[-3:], rng, recurrent)


@torch_recurrent_equals_recurrence.refute
def batch_without_its_memory(rng: random.Random) -> Any:
    """A batch that is run token by token starts from an empty memory."""
    with misprinted("sequences.steps", "scale=scale, initial_state=state)", "scale=scale, initial_state=None)"):
        yield from forward(SHORT_AND_LONG, rng, steps)


@torch_recurrent_equals_recurrence.refute
def query_of_the_token_before(rng: random.Random) -> Any:
    """The query is that of the token before."""
    return _wrong_recurrent(rng, "rows(q, t)", "rows(q, t - 1)")


@claim(
    statement=recurrence(r"\operatorname{differentiable\_chunk}(q, k, v, g, \beta, S_0) = (o, S_T)"),
    assumptions=EXACTLY,
    scope=torch_sizes.scope(EVERY_CHUNK_SIZE[::4]),
    engine="aten",
    source=cite("2412.06464", "sec. 3.3"),
    code=(*code("differentiable.chunk"), reference.recurrent, reference.step),
    uses=("gated_chunk_equals_recurrence",),
    needs=("torch",),
)
def differentiable_chunk_equals_recurrence(rng: random.Random) -> Any:
    """The chunk form that PyTorch differentiates is the recurrence; so its derivatives are the recurrence's."""
    return forward(EVERY_CHUNK_SIZE[::4], rng, differentiable)


@differentiable_chunk_equals_recurrence.step(engine="aten", scope=torch_sizes.scope((*HEADS, *PACKED, *GATES)))
def heads_sequences_and_gates_of_the_differentiable_form(rng: random.Random) -> Any:
    """Batches, grouped heads, packed sequences, and rules without a decay, without erasing or without a memory."""
    return forward((*HEADS, *PACKED, *GATES), rng, differentiable)


@differentiable_chunk_equals_recurrence.step(engine="aten", scope=torch_sizes.scope(MANY))
def many_spans_heads_and_sequences_of_the_differentiable_form(rng: random.Random) -> Any:
    """Many chunks, up to 128 channels, 1 to 16 heads and sequences, and more packed."""
    return forward(MANY, rng, differentiable)


@differentiable_chunk_equals_recurrence.step(engine="aten", scope=torch_sizes.scope(TYPES))
def types_of_the_differentiable_form(rng: random.Random) -> Any:
    """On inputs of 16 bits and of 64 the same holds, and nothing but the results is rounded to less than float32."""
    return of_every_type(forward, TYPES, rng, differentiable)


def _wrong_differentiable(rng: random.Random, right: str, wrong: str) -> Iterator[dict[str, Any]]:
    with misprinted("differentiable._batch", right, wrong):
        yield from forward(NEAR, rng, differentiable)


@differentiable_chunk_equals_recurrence.step(engine="aten", scope=torch_sizes.scope(RESETS))
def decays_of_0_in_the_differentiable_form(rng: random.Random) -> Any:
    """Tokens whose decay is 0 clear the memory, with heads, batches and packed sequences."""
    return forward(RESETS, rng, differentiable)


@differentiable_chunk_equals_recurrence.refute
def gates_left_out_of_the_system(rng: random.Random) -> Any:
    """The gates are left out of the triangular system."""
    return _wrong_differentiable(rng, ".mT * between * b.mT", ".mT * between")


@differentiable_chunk_equals_recurrence.refute
def read_before_the_decay(rng: random.Random) -> Any:
    """The memory is read without the decay since the start of the chunk."""
    return _wrong_differentiable(rng, "rows * (queries[:, :, i] @ S)", "(queries[:, :, i] @ S)")
