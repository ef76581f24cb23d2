"""The PyTorch form backward: its operations, on exact numbers, give the derivative of the recurrence.

PyTorch is imported by the steps and not by this module, so that the claims can be listed without it.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from derivations.models import torch_sizes
from derivations.models.computed import EXACTLY, gradient
from derivations.models.torch_passes import backward, code, gradients, misprinted, of_every_type
from derivations.models.torch_sizes import (
    EVERY_CHUNK_SIZE,
    GATES,
    HEADS,
    MANY,
    NEAR,
    PACKED,
    REAL,
    RESETS,
    SPANS,
    TAILS,
    TYPES,
)
from derivations.papers import cite
from derivations.registry import claim
from gdn_core import reference


@claim(
    statement=gradient(r"torch\_backward"),
    assumptions=(*EXACTLY, "The gradients are compared along a random direction, with dual numbers."),
    scope=torch_sizes.scope(EVERY_CHUNK_SIZE[::2]),
    engine="aten",
    source=cite("2412.06464", "sec. 3.3, differentiated by hand here"),
    code=(*code("chunk.backward", "sequences.backward"), reference.recurrent, reference.step),
    uses=("torch_chunk_equals_recurrence",),
    needs=("torch",),
)
def torch_chunk_backward_is_the_derivative(rng: random.Random) -> Any:
    """The backward pass in PyTorch, operation by operation as it runs, is the derivative of the recurrence."""
    return backward(EVERY_CHUNK_SIZE[::2], rng)


@torch_chunk_backward_is_the_derivative.step(engine="aten", scope=torch_sizes.scope((*SPANS, *REAL)))
def gradients_of_several_spans_and_real_widths(rng: random.Random) -> Any:
    """The gradient of the memory passes from span to span; at real widths the same holds."""
    return backward((*SPANS, *REAL), rng)


@torch_chunk_backward_is_the_derivative.step(engine="aten", scope=torch_sizes.scope((*HEADS, *PACKED, *GATES)))
def gradients_of_heads_packed_sequences_and_absent_gates(rng: random.Random) -> Any:
    """Batches, grouped heads, packed sequences, and rules without a decay, without erasing or without a memory."""
    return backward((*HEADS, *PACKED, *GATES), rng)


@torch_chunk_backward_is_the_derivative.step(engine="aten", scope=torch_sizes.scope(RESETS))
def gradients_behind_decays_of_0(rng: random.Random) -> Any:
    """Tokens whose decay is 0 clear the memory; the gradient of their log decay is 0."""
    return backward(RESETS, rng)


@torch_chunk_backward_is_the_derivative.step(engine="aten", scope=torch_sizes.scope((*TAILS[::4], *MANY)))
def gradients_of_many_tails_spans_heads_and_sequences(rng: random.Random) -> Any:
    """Last chunks of many lengths, up to six spans, up to 128 channels, 1 to 16 heads and sequences, more packed."""
    return backward((*TAILS[::4], *MANY), rng)


@torch_chunk_backward_is_the_derivative.step(engine="aten", scope=torch_sizes.scope(TYPES))
def types_of_gradients(rng: random.Random) -> Any:
    """On inputs of 16 bits and of 64 the same holds, gradients have the types of what they are the gradients of, and
    nothing in between is rounded to less than float32, or than the inputs.
    """
    return of_every_type(backward, TYPES, rng, gradients)


def _wrong_backward(rng: random.Random, right: str, wrong: str, name: str = "chunk.backward") -> Iterator[Any]:
    with misprinted(name, right, wrong):
        yield from backward(NEAR, rng)


@torch_chunk_backward_is_the_derivative.refute
def system_not_transposed(rng: random.Random) -> Any:
    """The triangular system of the gradients is not transposed."""
    return _wrong_backward(rng, "gates.beta[..., :, None]).transpose(2, 3)", "gates.beta[..., :, None])")


@torch_chunk_backward_is_the_derivative.refute
def decay_gradient_summed_from_the_start(rng: random.Random) -> Any:
    """The gradient of the cumulated log decay is summed from the start of the chunk."""
    return _wrong_backward(rng, "dG.flip(-1).cumsum(-1).flip(-1)", "dG.cumsum(-1)")


@torch_chunk_backward_is_the_derivative.refute
def memory_forgotten_in_the_decay_gradient(rng: random.Random) -> Any:
    """The gradient of the decays leaves out what the memory before the chunk lost."""
    return _wrong_backward(rng, "dG[..., -1] += last", "dG[..., -1] += 0 * last")


@torch_chunk_backward_is_the_derivative.refute
def products_of_keys_on_one_side(rng: random.Random) -> Any:
    """The gradient of the products of keys reaches the later key alone."""
    return _wrong_backward(rng, "(of_head + of_head.transpose(1, 2)).to(dtype)", "of_head.to(dtype)")


@torch_chunk_backward_is_the_derivative.refute
def sign_of_the_products_of_keys(rng: random.Random) -> Any:
    """The gradient of the products of keys has the wrong sign."""
    return _wrong_backward(rng, "gates.beta[..., :, None] * -gates.between", "gates.beta[..., :, None] * gates.between")


@torch_chunk_backward_is_the_derivative.refute
def scale_left_out_of_the_reads(rng: random.Random) -> Any:
    """The scale is left out of the rows that read a memory."""
    return _wrong_backward(rng, "torch.cat((so_far, so_far * scale), 4)", "torch.cat((so_far, so_far), 4)")


@torch_chunk_backward_is_the_derivative.refute
def gate_left_out_of_the_value_gradient(rng: random.Random) -> Any:
    """The gradient of the values is not gated."""
    return _wrong_backward(rng, "torch.mul(r[i], b[i], out=du[i])", "du[i].copy_(r[i])")


@torch_chunk_backward_is_the_derivative.refute
def gradients_of_errors_rounded_to_16_bits(rng: random.Random) -> Any:
    """The gradients of the errors are rounded to 16 bits before the triangular system."""
    with misprinted("chunk.backward", "right.copy_(du[i])", "right.copy_(du[i].to(torch.float16))"):
        yield from of_every_type(backward, TYPES[:1], rng, gradients)


@torch_chunk_backward_is_the_derivative.refute
def gradients_of_packed_memories_mixed_up(rng: random.Random) -> Any:
    """Every packed sequence starts from the gradient of the first one's last memory."""
    return _wrong_backward(
        rng, "do_of_group, dstate[group.numbers]", "do_of_group, dstate[0 * group.numbers]", "sequences.backward"
    )
