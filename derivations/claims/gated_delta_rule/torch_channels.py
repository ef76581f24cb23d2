"""The PyTorch forms with gates by channel: their operations, on exact numbers, give recurrence and derivative.

PyTorch is imported by the steps and not by this module, so that the claims can be listed without it.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from derivations.models import channel_sizes as sizes
from derivations.models.computed import EXACTLY, OUTWEIGHED, gradient, recurrence
from derivations.models.torch_passes import (
    backward,
    chunk,
    code,
    differentiable,
    forward,
    gradients,
    misprinted,
    of_every_type,
    outweighed,
    steps,
    wide_chunk,
    wide_gradients,
    wide_recurrent,
)
from derivations.models.torch_sizes import scope
from derivations.papers import cite, ours
from derivations.registry import claim
from gdn_core import reference

WIDTHS = (
    "A decay and an erase gate are absent, one number, or one for each key channel; a write gate is absent, the erase "
    "gate, one number, or one for each value channel; together in every way that the functions take."
)
PASSED = (*sizes.GROUPED, *sizes.SEQUENCES)


# Forward.


@claim(
    statement=recurrence(r"\operatorname{torch\_channels}(q, k, v, g, b, w, S_0) = (o, S_T)", by_channel=True),
    assumptions=(*EXACTLY, WIDTHS),
    scope=scope((*sizes.SMALL, *sizes.SWEEP)),
    engine="aten",
    source=cite("2510.26692", "sec. 3.1, eqs. 2 to 9; blocks are halved down to single tokens here"),
    code=(*code("channels.forward", "channels.by_channel"), reference.recurrent, reference.step),
    uses=("gated_chunk_equals_recurrence",),
    needs=("torch",),
)
def torch_chunk_by_channel_equals_recurrence(rng: random.Random) -> Any:
    """The chunk form with gates by channel in PyTorch, operation by operation as it runs, is the recurrence."""
    return forward((*sizes.SMALL, *sizes.SWEEP), rng, wide_chunk)


@torch_chunk_by_channel_equals_recurrence.step(engine="aten", scope=scope((*sizes.SPANS, *sizes.REAL)))
def several_spans_and_real_widths_by_channel(rng: random.Random) -> Any:
    """The memory passes from span to span; at real widths the same holds."""
    return forward((*sizes.SPANS, *sizes.REAL), rng, wide_chunk)


@torch_chunk_by_channel_equals_recurrence.step(engine="aten", scope=scope((*PASSED, *sizes.RESETS)))
def heads_packed_sequences_and_decays_of_0_by_channel(rng: random.Random) -> Any:
    """Batches, grouped heads and packed sequences; tokens whose decay is 0 clear channels of the memory."""
    return forward((*PASSED, *sizes.RESETS), rng, chunk)


@torch_chunk_by_channel_equals_recurrence.step(engine="aten", scope=scope((*sizes.GROUPED, *sizes.RESETS)))
def form_that_is_differentiated_by_channel(rng: random.Random) -> Any:
    """The form that PyTorch differentiates is the recurrence with gates by channel, too."""
    return forward((*sizes.GROUPED, *sizes.RESETS), rng, differentiable)


@torch_chunk_by_channel_equals_recurrence.step(engine="aten", scope=scope((*sizes.MANY, *sizes.MANY_PACKED)))
def many_spans_heads_and_sequences_by_channel(rng: random.Random) -> Any:
    """Up to six spans, up to 128 channels, 1 to 16 heads and sequences, and more packed sequences."""
    return forward((*sizes.MANY, *sizes.MANY_PACKED), rng, chunk)


@torch_chunk_by_channel_equals_recurrence.step(engine="aten", scope=scope((*sizes.MANY[::2], *sizes.MANY_PACKED)))
def many_heads_and_sequences_of_the_form_that_is_differentiated_by_channel(rng: random.Random) -> Any:
    """The same of the form that PyTorch differentiates."""
    return forward((*sizes.MANY[::2], *sizes.MANY_PACKED), rng, differentiable)


@torch_chunk_by_channel_equals_recurrence.step(engine="aten", scope=scope(sizes.TYPES))
def types_of_inputs_and_results_by_channel(rng: random.Random) -> Any:
    """On inputs of 16 bits and of 64 the same holds, results have the types that are promised, and nothing in between
    is rounded to less than float32, or than the inputs.
    """
    return of_every_type(forward, sizes.TYPES, rng, chunk)


def _wrong_forward(rng: random.Random, name: str, right: str, wrong: str) -> Iterator[dict[str, Any]]:
    with misprinted(f"channels.{name}", right, wrong):
        yield from forward(sizes.SMALL, rng, wide_chunk)


@torch_chunk_by_channel_equals_recurrence.refute
def decays_from_the_middle_of_the_next_level(rng: random.Random) -> Any:
    """Decays to the middle of a block end one token too early."""
    return _wrong_forward(rng, "_prepare", "middle = halves(half, 0, last)", "middle = halves(half, 0, slice(0, 1))")


@torch_chunk_by_channel_equals_recurrence.refute
def products_not_decayed_to_the_middle(rng: random.Random) -> Any:
    """Keys of the first half are not decayed to the middle of their block."""
    return _wrong_forward(rng, "_products", "[..., 0, :, :] * until", "[..., 0, :, :]")


@torch_chunk_by_channel_equals_recurrence.refute
def level_left_out(rng: random.Random) -> Any:
    """Products of tokens of the two halves of a chunk are those of the first block alone."""
    return _wrong_forward(rng, "_products", "torch.cat((second @ first.mT, lower), -1)",
                          "torch.cat((0 * (second @ first.mT), lower), -1)")  # fmt: skip


@torch_chunk_by_channel_equals_recurrence.refute
def answer_to_the_key_of_the_token_itself(rng: random.Random) -> Any:
    """A token's own key takes the place of its query on the diagonal."""
    return _wrong_forward(rng, "_prepare", "(queries * keys).sum(-1)", "(keys * keys).sum(-1)")


@torch_chunk_by_channel_equals_recurrence.refute
def key_erased_without_its_gate(rng: random.Random) -> Any:
    """What is erased is not gated."""
    return _wrong_forward(rng, "_prepare", "(b * keys, queries)", "(keys, queries)")


@torch_chunk_by_channel_equals_recurrence.refute
def value_written_without_its_gate(rng: random.Random) -> Any:
    """The write gate is left out."""
    return _wrong_forward(rng, "_errors", "x.w * x.values", "x.values")


@torch_chunk_by_channel_equals_recurrence.refute
def memory_read_without_its_decay(rng: random.Random) -> Any:
    """The memory is read without the decay since the start of the chunk."""
    return _wrong_forward(rng, "_errors", "x.so_far * x.rows[0]", "x.rows[0]")


@torch_chunk_by_channel_equals_recurrence.refute
def memory_carried_without_a_decay(rng: random.Random) -> Any:
    """The memory is carried to the next chunk without its decay."""
    return _wrong_forward(rng, "_errors", "whole[i] * S", "S")


@torch_chunk_by_channel_equals_recurrence.refute
def write_decayed_from_the_start_by_channel(rng: random.Random) -> Any:
    """What is written is decayed from the start of the chunk and not to its end."""
    return _wrong_forward(rng, "_errors", "x.left * x.keys", "x.so_far * x.keys")


@torch_chunk_by_channel_equals_recurrence.refute
def scale_by_channel_a_thousandth_too_large(rng: random.Random) -> Any:
    """The scale is a thousandth too large."""
    return _wrong_forward(rng, "_prepare", "queries * scale", "queries * (scale * 1.001)")


@torch_chunk_by_channel_equals_recurrence.refute
def decay_of_0_that_clears_nothing(rng: random.Random) -> Any:
    """A decay of 0 is left out of the sums, and not counted."""
    with misprinted("channels._prepare", "G.exp().masked_fill(counts > 0, 0)", "G.exp()"):
        yield from forward(sizes.RESETS, rng, chunk)


# Token by token.


@claim(
    statement=recurrence(r"\operatorname{torch\_steps}(q, k, v, g, b, w, S_0) = (o, S_T)", by_channel=True),
    assumptions=(*EXACTLY, WIDTHS),
    scope=scope(sizes.TOKEN_BY_TOKEN, primes=3),
    engine="aten",
    source=cite("2510.26692", "eq. 1"),
    code=(*code("channels.recurrent"), reference.recurrent, reference.step),
    needs=("torch",),
)
def torch_recurrent_by_channel_equals_recurrence(rng: random.Random) -> Any:
    """The recurrence with gates by channel in PyTorch, operation by operation, is the reference's."""
    return forward(sizes.TOKEN_BY_TOKEN, rng, wide_recurrent, primes=3)


@torch_recurrent_by_channel_equals_recurrence.step(engine="aten", scope=scope(sizes.SEQUENCES))
def short_packed_sequences_by_channel(rng: random.Random) -> Any:
    """Packed sequences give the recurrence, the short ones token by token and the long ones in chunks."""
    return forward(sizes.SEQUENCES, rng, steps)


@torch_recurrent_by_channel_equals_recurrence.step(engine="aten", scope=scope(sizes.MANY[::2]))
def many_widths_and_heads_token_by_token(rng: random.Random) -> Any:
    """Up to 81 tokens, up to 128 channels, and 1 to 16 sequences and heads."""
    return forward(sizes.MANY[::2], rng, wide_recurrent)


@torch_recurrent_by_channel_equals_recurrence.step(engine="aten", scope=scope((*sizes.STEPS, *sizes.MANY_PACKED)))
def short_and_long_batches_by_channel(rng: random.Random) -> Any:
    """Batches on both sides of the length up to which they are run token by token, and more packed sequences."""
    return forward((*sizes.STEPS, *sizes.MANY_PACKED), rng, steps)


@torch_recurrent_by_channel_equals_recurrence.step(engine="aten", scope=scope(sizes.TYPES[::2]))
def types_of_the_recurrence_by_channel(rng: random.Random) -> Any:
    """On inputs of 16 bits and of 64 the same holds, and nothing but the results is rounded to less than float32."""
    return of_every_type(forward, sizes.TYPES[::2], rng, wide_recurrent)


def _wrong_recurrent(rng: random.Random, right: str, wrong: str) -> Iterator[dict[str, Any]]:
    with misprinted("channels.recurrent", right, wrong):
        yield from forward(sizes.TOKEN_BY_TOKEN, rng, wide_recurrent)


@torch_recurrent_by_channel_equals_recurrence.refute
def erase_gate_in_place_of_the_write_gate(rng: random.Random) -> Any:
    """What is written is gated by the erase gate, although there is a write gate."""
    return _wrong_recurrent(rng, "beta if w is None else w", "beta if beta is not None else w")


@torch_recurrent_by_channel_equals_recurrence.refute
def error_from_the_memory_before_its_decay(rng: random.Random) -> Any:
    """The error is read from the memory before its decay."""
    return _wrong_recurrent(rng, "k_t).mT @ S", "k_t).mT @ (S if g is None else S / column(g, t).exp())")


@torch_recurrent_by_channel_equals_recurrence.refute
def whole_key_erased(rng: random.Random) -> Any:
    """What is erased is not gated."""
    return _wrong_recurrent(rng, "(column(beta, t) * k_t).mT", "k_t.mT")


# Backward.


@claim(
    statement=gradient("backward", by_channel=True),
    assumptions=(*EXACTLY, WIDTHS, "The gradients are compared along a random direction, with dual numbers."),
    scope=scope((*sizes.SMALL, *sizes.SWEEP[::2])),
    engine="aten",
    source=cite("2510.26692", "sec. 3.1, differentiated by hand here"),
    code=(*code("channels.backward"), reference.recurrent, reference.step),
    uses=("torch_chunk_by_channel_equals_recurrence",),
    needs=("torch",),
)
def torch_chunk_by_channel_backward_is_the_derivative(rng: random.Random) -> Any:
    """The backward pass with gates by channel in PyTorch, operation by operation, is the recurrence's derivative."""
    return backward((*sizes.SMALL, *sizes.SWEEP[::2]), rng, wide_gradients)


@torch_chunk_by_channel_backward_is_the_derivative.step(engine="aten", scope=scope((*sizes.SPANS, *sizes.REAL)))
def gradients_of_several_spans_by_channel(rng: random.Random) -> Any:
    """The gradient of the memory passes from span to span; at real widths the same holds."""
    return backward((*sizes.SPANS, *sizes.REAL), rng, wide_gradients)


@torch_chunk_by_channel_backward_is_the_derivative.step(engine="aten", scope=scope((*PASSED, *sizes.RESETS)))
def gradients_of_heads_sequences_and_decays_of_0_by_channel(rng: random.Random) -> Any:
    """Batches, grouped heads and packed sequences; the gradient of a log decay of 0 is 0."""
    return backward((*PASSED, *sizes.RESETS), rng, gradients)


@torch_chunk_by_channel_backward_is_the_derivative.step(
    engine="aten", scope=scope((*sizes.MANY[::2], *sizes.MANY_PACKED))
)
def gradients_of_many_spans_heads_and_sequences_by_channel(rng: random.Random) -> Any:
    """Up to six spans, up to 128 channels, 1 to 16 heads and sequences, and more packed sequences."""
    return backward((*sizes.MANY[::2], *sizes.MANY_PACKED), rng)


@torch_chunk_by_channel_backward_is_the_derivative.step(engine="aten", scope=scope(sizes.TYPES))
def types_of_gradients_by_channel(rng: random.Random) -> Any:
    """On inputs of 16 bits and of 64 the same holds, gradients have the types of what they are the gradients of, and
    nothing in between is rounded to less than float32, or than the inputs.
    """
    return of_every_type(backward, sizes.TYPES, rng, gradients)


def _wrong_backward(rng: random.Random, right: str, wrong: str, name: str = "backward") -> Iterator[dict[str, Any]]:
    with misprinted(f"channels.{name}", right, wrong):
        yield from backward(sizes.SMALL, rng, wide_gradients)


@torch_chunk_by_channel_backward_is_the_derivative.refute
def share_of_the_keys_added(rng: random.Random) -> Any:
    """The share of the keys in the gradient of a log decay is added."""
    return _wrong_backward(rng, "(x.rows * d_rows).sum(0) - x.keys * d_keys",
                           "(x.rows * d_rows).sum(0) + x.keys * d_keys")  # fmt: skip


@torch_chunk_by_channel_backward_is_the_derivative.refute
def log_decays_summed_from_the_start(rng: random.Random) -> Any:
    """The gradient of summed log decays is summed from the start of the chunk."""
    return _wrong_backward(rng, "dG.flip(-2).cumsum(-2).flip(-2)", "dG.cumsum(-2)")


@torch_chunk_by_channel_backward_is_the_derivative.refute
def memory_that_was_lost_left_out(rng: random.Random) -> Any:
    """The gradient of the decays leaves out what the memory before the chunk lost."""
    return _wrong_backward(rng, "dG[:, :, -1] += so_far[:, :, -1] * d_whole", "dG[:, :, -1] += 0 * d_whole")


@torch_chunk_by_channel_backward_is_the_derivative.refute
def gradient_of_an_erase_key_not_gated(rng: random.Random) -> Any:
    """The gradient of an erase key reaches its key without the gate."""
    return _wrong_backward(rng, "x.b * d_rows[0]", "d_rows[0]")


@torch_chunk_by_channel_backward_is_the_derivative.refute
def earlier_keys_not_decayed(rng: random.Random) -> Any:
    """The gradient of earlier keys is not decayed to the middle of their block."""
    return _wrong_backward(rng, "(blocks.mT @ second).sum(0) * until", "(blocks.mT @ second).sum(0)",
                           "_products_backward")  # fmt: skip


@torch_chunk_by_channel_backward_is_the_derivative.refute
def own_token_left_out(rng: random.Random) -> Any:
    """The products of a token's query and its own key have no gradient by the key."""
    return _wrong_backward(rng, "d_keys += same * x.rows[-1]", "d_keys += 0 * same * x.rows[-1]")


@torch_chunk_by_channel_backward_is_the_derivative.refute
def gradient_of_the_writes_not_decayed(rng: random.Random) -> Any:
    """The gradient of a write is not decayed to the end of the chunk."""
    return _wrong_backward(rng, "x.left * d_writing", "d_writing")


@torch_chunk_by_channel_backward_is_the_derivative.refute
def gradient_of_queries_without_the_scale(rng: random.Random) -> Any:
    """The gradient of the queries misses the scale."""
    return _wrong_backward(rng, "d_rows[-1] * scale", "d_rows[-1]")


@torch_chunk_by_channel_backward_is_the_derivative.refute
def system_of_the_gradients_not_transposed(rng: random.Random) -> Any:
    """The gradients of the errors meet the UT transform without its transposition."""
    return _wrong_backward(rng, "x.UT[i].mT @ du", "x.UT[i] @ du")


# No exponential of a positive number.


@claim(
    statement=recurrence(
        r"\operatorname{torch\_channels}(q, k, v, g, b, w, S_0) = (o, S_T), \quad "
        r"\text{every exponential in it is } \exp(G_i - G_j) \le 1, \; j \le i",
        by_channel=True,
    ),
    assumptions=(*EXACTLY, OUTWEIGHED),
    scope=scope(sizes.OUTWEIGHED),
    engine="aten",
    source=ours("each product of two tokens crosses the middle of one block"),
    code=(*code("channels.forward"), reference.step),
    uses=("torch_chunk_by_channel_equals_recurrence",),
    needs=("torch",),
)
def torch_forms_by_channel_take_no_exponential_of_a_positive_number(rng: random.Random) -> Any:
    """Neither the PyTorch form with gates by channel nor its gradients take the exponential of a positive number."""
    return outweighed(sizes.OUTWEIGHED, rng, wide_chunk)


@torch_forms_by_channel_take_no_exponential_of_a_positive_number.step(engine="aten", scope=scope(sizes.OUTWEIGHED))
def exponentials_of_the_gradients_by_channel(rng: random.Random) -> Any:
    """The same of the backward pass."""
    return outweighed(sizes.OUTWEIGHED, rng, wide_gradients, backward=True)


def _overflowing(rng: random.Random, right: str, wrong: str) -> Iterator[dict[str, Any]]:
    with misprinted("channels._prepare", right, wrong):
        yield from outweighed(sizes.OUTWEIGHED, rng, wide_chunk)


@torch_forms_by_channel_take_no_exponential_of_a_positive_number.refute
def decays_between_tokens_as_a_quotient(rng: random.Random) -> Any:
    """A decay is a quotient of two decays from the start of the chunk: equal, and it overflows."""
    return _overflowing(rng, "d = (later[0] - earlier[0]).exp()", "d = later[0].exp() * (-earlier[0]).exp()")


@torch_forms_by_channel_take_no_exponential_of_a_positive_number.refute
def decays_to_the_middle_from_behind_it(rng: random.Random) -> Any:
    """Tokens of the second half are decayed to the middle of their block, which lies before them."""
    return _overflowing(rng, "decay(halves(half, 1, every), middle)", "decay(middle, halves(half, 1, every))")
