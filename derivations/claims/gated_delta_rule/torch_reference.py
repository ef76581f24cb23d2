"""The reference on torch tensors: its operations, on exact numbers, give the reference on each head.

PyTorch is imported by the steps and not by this module, so that the claim can be listed without it.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from derivations.models import channel_sizes as sizes
from derivations.models.computed import EXACTLY, recurrence
from derivations.models.torch_passes import code, forward, misprinted, vmapped, vmapped_by_default
from derivations.models.torch_sizes import MANY_HEADS, WIDE, scope
from derivations.papers import cite
from derivations.registry import claim


@claim(
    statement=recurrence(r"\operatorname{torch\_reference}(q, k, v, g, b, w, S_0) = (o, S_T)", by_channel=True),
    assumptions=(*EXACTLY, "A gate is absent, one number or one for each channel; heads of keys are shared in blocks."),
    scope=scope(sizes.TOKEN_BY_TOKEN, primes=3),
    engine="aten",
    source=cite("2412.06464", "eq. 10"),
    code=code("reference.recurrent"),
    needs=("torch",),
)
def torch_reference_is_the_reference_on_every_head(rng: random.Random) -> Any:
    """The reference that is batched over sequences and heads in PyTorch is the reference on each head of each sequence.

    PyTorch's operations run as they do under its ``vmap``, one by one.
    """
    return forward(sizes.TOKEN_BY_TOKEN, rng, vmapped, primes=3)


@torch_reference_is_the_reference_on_every_head.step(engine="aten", scope=scope((*MANY_HEADS, *WIDE)))
def many_heads_and_channels_under_vmap(rng: random.Random) -> Any:
    """1 to 16 heads and sequences, and up to 128 channels."""
    return forward((*MANY_HEADS, *WIDE), rng, vmapped)


@torch_reference_is_the_reference_on_every_head.step(engine="aten", scope=scope(sizes.WRITES_ALL))
def parameters_left_at_their_defaults_under_vmap(rng: random.Random) -> Any:
    """With scale and write gate left out queries are as they are, and everything is written, whatever is erased."""
    return forward(sizes.WRITES_ALL, rng, vmapped_by_default)


def _wrong(rng: random.Random, right: str, wrong: str) -> Iterator[dict[str, Any]]:
    with misprinted("reference.recurrent", right, wrong):
        yield from forward(sizes.TOKEN_BY_TOKEN, rng, vmapped)


@torch_reference_is_the_reference_on_every_head.refute
def heads_of_keys_in_turn(rng: random.Random) -> Any:
    """Heads of values are given out to the heads of keys in turn and not in blocks."""
    return _wrong(rng, "x.repeat_interleave(groups, dim=2)", "x.repeat(1, 1, groups, 1)")


@torch_reference_is_the_reference_on_every_head.refute
def nothing_written_without_a_write_gate(rng: random.Random) -> Any:
    """Where there is no write gate nothing is written."""
    return _wrong(rng, "none + 1", "none")


@torch_reference_is_the_reference_on_every_head.refute
def erase_gate_for_the_write_gate_that_is_absent(rng: random.Random) -> Any:
    """Where there is no write gate the erase gate is taken for it."""
    with misprinted("reference.recurrent", "(w, none + 1)", "(w, none + 1 if b is None else b[..., None])"):
        yield from forward(sizes.WRITES_ALL[:1], rng, vmapped_by_default)


@torch_reference_is_the_reference_on_every_head.refute
def scale_left_out(rng: random.Random) -> Any:
    """The queries are not scaled."""
    return _wrong(rng, "q * scale", "q")
