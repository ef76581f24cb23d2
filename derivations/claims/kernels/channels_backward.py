"""The kernels of the backward pass with gates by channel: what Triton compiles gives the recurrence's derivative.

PyTorch and Triton are imported by the steps and not by this module, so that the claims can be listed without them.
"""

from __future__ import annotations

import random
from typing import Any

from derivations.claim import Code
from derivations.models import channel_kernel_sizes as sizes
from derivations.models.channel_kernel_sizes import CHUNK
from derivations.models.channel_sizes import GDN2, KDA
from derivations.models.computed import EXACTLY, gradient
from derivations.models.kernel_passes import addresses, at_points, for_all_inputs
from derivations.models.kernel_sizes import ADDRESSES, AMPERE, Case, all_inputs, scope
from derivations.models.torch_sizes import Size
from derivations.mutants.of_kernels import Fault, refuting
from derivations.papers import cite
from derivations.registry import claim
from gdn_core import reference

KERNELS = "gdn_core.ops.kernels.channels"
NAME = "backward_by_channel"


@claim(
    statement=gradient("backward", by_channel=True),
    assumptions=(*EXACTLY, "The gradients are compared along a random direction, with dual numbers."),
    scope=scope(sizes.BACKWARD),
    engine="ir",
    source=cite("2510.26692", "sec. 3.1, eqs. 2 to 9, differentiated here"),
    code=(
        *(Code(f"{KERNELS}.prepare", f"channel_{name}_kernel") for name in ("rows", "prepare")),
        Code(f"{KERNELS}.scans", "channel_scans_kernel"),
        *(Code(f"{KERNELS}.gradients", f"channel_{name}_kernel") for name in ("value_gradients", "gradients")),
        reference.recurrent,
        reference.step,
    ),
    uses=("torch_chunk_by_channel_backward_is_the_derivative",),
    needs=("torch", "triton"),
)
def channel_kernels_differentiate_the_recurrence(rng: random.Random) -> Any:
    """The launches of the backward pass with gates by channel, as Triton compiled them, are the derivative.

    In batches and packed sequences, empty ones too, with no memory before the first token, and with gates absent, of
    one number, or of one for each channel.
    """
    return at_points(NAME, sizes.BACKWARD, rng)


@channel_kernels_differentiate_the_recurrence.step(engine="ir", scope=scope(sizes.BACKWARD_REAL))
def gradients_at_real_widths_and_on_other_gpus_by_channel(rng: random.Random) -> Any:
    """At real widths the same holds, in float32, which is multiplied in float64, in float16, and with V before K."""
    return at_points(NAME, sizes.BACKWARD_REAL, rng)


@channel_kernels_differentiate_the_recurrence.step(engine="ir", scope=scope(sizes.BACKWARD_TTGIR))
def gradients_of_pipelined_code_by_channel(rng: random.Random) -> Any:
    """TTGIR: layouts, shared memory, and asynchronous copies, which are no numbers before they were waited for."""
    return at_points(NAME, sizes.BACKWARD_TTGIR, rng)


@channel_kernels_differentiate_the_recurrence.step(engine="ir", scope=all_inputs(sizes.BACKWARD_SMALL))
def gradients_by_channel_for_all_inputs(rng: random.Random) -> Any:
    """On letters each gradient of the kernels is the derivative, for all inputs of these sizes."""
    return for_all_inputs(NAME, sizes.BACKWARD_SMALL, rng)


@channel_kernels_differentiate_the_recurrence.step(engine="ir", scope=ADDRESSES)
def addresses_of_the_backward_pass_by_channel(rng: random.Random) -> Any:
    """Where tensors have 2^32 entries, no offset of 32 bits overflows, and no access is outside of its buffer."""
    return addresses(sizes.LARGE_BACKWARD, rng)


NEAR = ((Size(5, 3, 2, CHUNK, HV=2, rule=GDN2), AMPERE),)
TIED = ((Size(5, 3, 2, CHUNK, rule=KDA), AMPERE),)
FULL = ((Size(33, 3, 2, CHUNK, rule=GDN2), AMPERE),)
GROUPS = ((Size(3, 3, 2, CHUNK, H=2, HV=4, rule=GDN2), AMPERE),)
SEVERAL = ((Size(5, 3, 2, CHUNK, lengths=(3, 2), rule=KDA), AMPERE),)
SCANS = "channels.scans.channel_scans_kernel"
VALUES, KEYS = (f"channels.gradients.channel_{name}_kernel" for name in ("value_gradients", "gradients"))
FAULTS = (
    (NEAR, Fault("gradient_of_the_triangle_negated_by_channel", "The gradient of the triangle has the other sign.",
                 VALUES, "-b_ek, 0.0", "b_ek, 0.0")),
    (TIED, Fault("gate_of_the_writes_forgotten", "The gradient of beta as the write gate is left out.",
                 VALUES, "+ o_c, b_sum)", "+ o_c, 0.0 * b_sum)")),
    (NEAR, Fault("erased_gradient_added", "What the error takes off the gradient of the memory is added.",
                 SCANS, "dot(-b_r, b_e,", "dot(b_r, b_e,")),
    (FULL, Fault("chunks_by_channel_in_their_order", "The gradient of the memory meets the chunks first to last.",
                 SCANS, "i = count - 1 - j", "i = j")),
    (SEVERAL, Fault("output_of_the_next_sequence", "The last chunk reads a gradient of the next sequence.",
                    SCANS, "mask=m_v[:, None] & (o_t < stop)", "mask=m_v[:, None] & (o_t <= stop)")),
    (FULL, Fault("memory_kept_in_full_by_channel", "The gradient of the decay of the memory misses that decay.",
                 KEYS, "tl.exp(b_whole) * b_hdh", "b_hdh")),
    (NEAR, Fault("share_of_the_keys_added", "The share of the keys in the gradient of a decay is added.",
                 KEYS, "b_q * b_dq - tl.where(", "b_q * b_dq + tl.where(")),
    (NEAR, Fault("gradients_of_neighbours_left_out", "Products of neighbours have no gradient.",
                 KEYS, "        half = 1\n", "        half = 2\n")),
    (NEAR, Fault("gradient_of_queries_without_the_scale", "The gradient of the queries misses the scale.",
                 KEYS, "(b_dq_all * scale)", "b_dq_all")),
    (GROUPS, Fault("gradients_of_heads_in_turn", "Heads of values are given out to the heads of keys in turn.",
                   KEYS, "i_hv = i_h * GROUP + j", "i_hv = i_h + j * H")),
)  # fmt: skip


def _refuted(cases: tuple[Case, ...]) -> Any:
    return lambda rng: at_points(NAME, cases, rng)


for _cases, _fault in FAULTS:
    refuting(channel_kernels_differentiate_the_recurrence, _fault, _refuted(_cases))

refuting(
    channel_kernels_differentiate_the_recurrence,
    Fault("gradients_by_32_bits", "The number of a chunk has 32 bits where its gradients are computed.",
          KEYS, "(tl.program_id(0) // NK // H).to(tl.int64)", "tl.program_id(0) // NK // H"),
    lambda rng: addresses(sizes.LARGE_BACKWARD, rng),
)  # fmt: skip
