"""The kernel of the recurrence: what Triton compiles of it gives the recurrence.

PyTorch and Triton are imported by the steps and not by this module, so that the claims can be listed without them.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

from derivations.claim import Code
from derivations.models.computed import EXACTLY, recurrence
from derivations.models.kernel_passes import addresses, at_points, for_all_inputs
from derivations.models.kernel_sizes import (
    ADDRESSES,
    AMPERE,
    CHUNK,
    HOPPER,
    LENGTHS,
    LONG,
    MANY_STEPS,
    SMALL,
    WIDE,
    Case,
    all_inputs,
    scope,
)
from derivations.models.torch_sizes import Size
from derivations.mutants.of_kernels import Fault, refuting
from derivations.papers import cite
from derivations.registry import claim
from gdn_core import reference

KERNELS = "gdn_core.ops.kernels"
UNIT = replace(AMPERE, normalise=True)
MODES = (
    (Size(16, 128, 128, CHUNK, HV=2), replace(WIDE, state_v_first=True)),
    (Size(16, 20, 40, CHUNK, HV=2, B=2), replace(HOPPER, dtype="bfloat16", normalise=True, state_v_first=True)),
    (Size(16, 20, 40, CHUNK, HV=2, lengths=(3, 0, 10)), UNIT),
    (Size(16, 20, 40, CHUNK, HV=2), replace(UNIT, level="ttgir")),
    *(
        (Size(5, 20, 40, CHUNK, HV=2, decays=decays, erases=erases, remembers=remembers), AMPERE)
        for decays, erases, remembers in ((False, True, True), (True, False, True), (False, False, False))
    ),
)


@claim(
    statement=recurrence(r"\operatorname{recurrent\_kernel}(q, k, v, g, \beta, S_0) = (o, S_T)"),
    assumptions=EXACTLY,
    scope=scope(LENGTHS, primes=3),
    engine="ir",
    source=cite("2412.06464", "eq. 10"),
    code=(Code(f"{KERNELS}.recurrent", "recurrent_kernel"), reference.recurrent, reference.step),
    needs=("torch", "triton"),
)
def recurrent_kernel_equals_recurrence(rng: random.Random) -> Any:
    """The kernel for decoding, as Triton compiled it, is the recurrence."""
    return at_points("token_by_token", LENGTHS, rng, primes=3)


@recurrent_kernel_equals_recurrence.step(engine="ir", scope=scope(MODES))
def normalised_packed_and_without_gates(rng: random.Random) -> Any:
    """Keys and queries of unit length, packed sequences, absent gates, other dtypes and layouts."""
    return at_points("token_by_token", MODES, rng)


@recurrent_kernel_equals_recurrence.step(engine="ir", scope=all_inputs(SMALL[:2]))
def decoding_for_all_inputs(rng: random.Random) -> Any:
    """On letters the kernel is the recurrence, for all inputs of these sizes."""
    return for_all_inputs("token_by_token", SMALL[:2], rng)


LARGE = ((LONG, "recurrent"), (MANY_STEPS, "recurrent"))


@recurrent_kernel_equals_recurrence.step(engine="ir", scope=ADDRESSES)
def addresses_of_decoding(rng: random.Random) -> Any:
    """Where tensors have 2^32 entries, no offset of 32 bits overflows, and no access is outside of its buffer."""
    return addresses(LARGE, rng)


NEAR = ((Size(5, 20, 40, CHUNK, H=2, HV=4, B=2), AMPERE),)
NORMALISED = MODES[2:3]
KERNEL = "recurrent.recurrent_kernel"
FAULTS = (
    (NEAR, Fault("decay_of_another_head", "The decay is that of the head of keys.",
                 KERNEL, "tl.load(g + i_t * HV + i_hv)", "tl.load(g + i_t * HV + i_h)")),
    (NEAR, Fault("last_token_left_out", "The last token of a sequence is left out.",
                 KERNEL, "i_n * T, i_n * T + T", "i_n * T, i_n * T + T - 1")),
    (NEAR, Fault("write_taken_off", "What is written is taken off the memory.",
                 KERNEL, "b_S += b_u[:, None]", "b_S -= b_u[:, None]")),
    (NEAR, Fault("read_a_thousandth_too_large", "The scale is a thousandth too large.",
                 KERNEL, "* scale  # read", "* (scale * 1.001)  # read")),
    (NEAR, Fault("strides_of_the_last_memory_swapped", "The last memory is stored with K and V swapped.",
                 KERNEL, "o_v[:, None] * end_v + o_k[None, :] * end_k", "o_v[:, None] * end_k + o_k[None, :] * end_v")),
    (NEAR, Fault("gate_in_place_of_the_decay", "g and beta are swapped.",
                 KERNEL, "b_beta = tl.load(beta +", "b_beta = tl.load(g +")),
    (NORMALISED, Fault("keys_not_normalised", "Keys are left as they are.",
                       KERNEL, "b_k *= tl.rsqrt(tl.sum(b_k * b_k, 0) + EPSILON)", "b_k *= 1.0")),
    (NORMALISED, Fault("length_in_place_of_its_inverse", "Queries are multiplied by their length.",
                       KERNEL, "b_q *= tl.rsqrt(tl.sum(b_q", "b_q *= tl.sqrt(tl.sum(b_q")),
)  # fmt: skip


def _refuted(cases: tuple[Case, ...]) -> Any:
    return lambda rng: at_points("token_by_token", cases, rng)


for _cases, _fault in FAULTS:
    refuting(recurrent_kernel_equals_recurrence, _fault, _refuted(_cases))

refuting(
    recurrent_kernel_equals_recurrence,
    Fault("sequence_by_32_bits", "The number of a sequence has 32 bits.",
          KERNEL, "(tl.program_id(0) // NV // HV).to(tl.int64)", "tl.program_id(0) // NV // HV"),
    lambda rng: addresses(LARGE, rng),
)  # fmt: skip
