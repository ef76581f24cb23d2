"""The exponentials of the PyTorch forms: none is of a positive number.

PyTorch is imported by the steps and not by this module, so that the claims can be listed without it.
"""

from __future__ import annotations

import random
from typing import Any

from derivations.models import torch_sizes as sizes
from derivations.models.computed import EXACTLY, OUTWEIGHED, recurrence
from derivations.models.torch_passes import chunk, code, differentiable, gradients, misprinted, outweighed
from derivations.papers import ours
from derivations.registry import claim
from gdn_core import reference


@claim(
    statement=recurrence(
        r"\operatorname{torch\_chunk}(q, k, v, g, \beta, S_0) = (o, S_T), \quad "
        r"\text{every exponential in it is } \exp(G_i - G_j) \le 1, \; j \le i"
    ),
    assumptions=(*EXACTLY, OUTWEIGHED),
    scope=sizes.scope(sizes.OUTWEIGHED),
    engine="aten",
    source=ours("differences of log decays are formed before the exponential"),
    code=(*code("chunk.forward"), reference.step),
    uses=("no_exponential_of_a_positive_number", "torch_chunk_equals_recurrence"),
    needs=("torch",),
)
def torch_forms_take_no_exponential_of_a_positive_number(rng: random.Random) -> Any:
    """Neither the PyTorch chunk forms nor their gradients take the exponential of a positive number."""
    return outweighed(sizes.OUTWEIGHED, rng, chunk)


@torch_forms_take_no_exponential_of_a_positive_number.step(engine="aten", scope=sizes.scope(sizes.OUTWEIGHED))
def exponentials_of_the_gradients(rng: random.Random) -> Any:
    """The same of the backward pass."""
    return outweighed(sizes.OUTWEIGHED, rng, gradients, backward=True)


@torch_forms_take_no_exponential_of_a_positive_number.step(engine="aten", scope=sizes.scope(sizes.OUTWEIGHED))
def exponentials_of_the_differentiable_form(rng: random.Random) -> Any:
    """The same of the form that PyTorch differentiates."""
    return outweighed(sizes.OUTWEIGHED, rng, differentiable)


@torch_forms_take_no_exponential_of_a_positive_number.refute
def exponentials_above_the_diagonal(rng: random.Random) -> Any:
    """Decays are taken above the diagonal too, and masked afterwards."""
    with misprinted("chunk._gates", ".tril_().exp_()", ".exp_()"):
        yield from outweighed(sizes.OUTWEIGHED, rng, chunk)


@torch_forms_take_no_exponential_of_a_positive_number.refute
def decay_to_the_end_as_a_quotient(rng: random.Random) -> Any:
    """The decay to the end of the chunk is a quotient of two decays from its start: equal, and it overflows."""
    with misprinted("chunk._gates", "(G[..., -1:] - G).exp()", "G[..., -1:].exp() * (-G).exp()"):
        yield from outweighed(sizes.OUTWEIGHED, rng, gradients, backward=True)
