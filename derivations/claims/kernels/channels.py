"""The kernels with gates by channel: what Triton compiles of them gives the recurrence.

PyTorch and Triton are imported by the steps and not by this module, so that the claims can be listed without them.
"""

from __future__ import annotations

import random
from typing import Any

from derivations.claim import Code
from derivations.models import channel_kernel_sizes as sizes
from derivations.models.channel_sizes import GDN2, KDA
from derivations.models.computed import EXACTLY, recurrence
from derivations.models.kernel_passes import addresses, at_points, for_all_inputs
from derivations.models.kernel_sizes import ADDRESSES, AMPERE, WIDE, Case, all_inputs, scope
from derivations.models.torch_sizes import Size
from derivations.mutants.of_kernels import Fault, refuting
from derivations.papers import cite
from derivations.registry import claim
from gdn_core import reference

KERNELS = "gdn_core.ops.kernels"
FORWARD, STEPS = "by_channel", "token_by_token_by_channel"


# The chunk form.


@claim(
    statement=recurrence(r"\operatorname{channel\_kernels}(q, k, v, g, b, w, S_0) = (o, S_T)", by_channel=True),
    assumptions=EXACTLY,
    scope=scope(sizes.LENGTHS),
    engine="ir",
    source=cite("2510.26692", "sec. 3.1, eqs. 2 to 9"),
    code=(
        *(Code(f"{KERNELS}.channels.prepare", f"channel_{name}_kernel") for name in ("rows", "prepare")),
        Code(f"{KERNELS}.channels.scan", "channel_scan_kernel"),
        reference.recurrent,
        reference.step,
    ),
    uses=("torch_chunk_by_channel_equals_recurrence",),
    needs=("torch", "triton"),
)
def channel_kernels_equal_recurrence(rng: random.Random) -> Any:
    """The launches of the chunk form with gates by channel, as Triton compiled them, are the recurrence."""
    return at_points(FORWARD, sizes.LENGTHS, rng)


@channel_kernels_equal_recurrence.step(engine="ir", scope=scope(sizes.EVERY_WIDTH))
def every_width_of_each_gate(rng: random.Random) -> Any:
    """Each gate absent, one number, or one for each channel, together in every way that is no form of scalar gates."""
    return at_points(FORWARD, sizes.EVERY_WIDTH, rng)


@channel_kernels_equal_recurrence.step(engine="ir", scope=scope(sizes.REAL))
def real_widths_by_channel_and_float32(rng: random.Random) -> Any:
    """At real widths the same holds, and in float32, which is multiplied in float64."""
    return at_points(FORWARD, sizes.REAL, rng)


@channel_kernels_equal_recurrence.step(engine="ir", scope=scope(sizes.SEQUENCES))
def batches_and_packed_sequences_by_channel(rng: random.Random) -> Any:
    """Batches, packed sequences, empty ones too, and no memory before the first token."""
    return at_points(FORWARD, sizes.SEQUENCES, rng)


@channel_kernels_equal_recurrence.step(engine="ir", scope=scope(sizes.OTHERS))
def other_gpus_and_layouts_by_channel(rng: random.Random) -> Any:
    """The kernels for Hopper and Blackwell, in other dtypes, and with V before K."""
    return at_points(FORWARD, sizes.OTHERS, rng)


@channel_kernels_equal_recurrence.step(engine="ir", scope=scope(sizes.TTGIR))
def pipelined_code_by_channel(rng: random.Random) -> Any:
    """TTGIR: layouts, shared memory, and asynchronous copies, which are no numbers before they were waited for."""
    return at_points(FORWARD, sizes.TTGIR, rng)


@channel_kernels_equal_recurrence.step(engine="ir", scope=all_inputs(sizes.SMALL))
def outputs_by_channel_for_all_inputs(rng: random.Random) -> Any:
    """On letters the kernels with gates by channel are the recurrence, for all inputs of these sizes."""
    return for_all_inputs(FORWARD, sizes.SMALL, rng)


@channel_kernels_equal_recurrence.step(engine="ir", scope=ADDRESSES)
def addresses_by_channel(rng: random.Random) -> Any:
    """Where tensors have 2^32 entries, no offset of 32 bits overflows, and no access is outside of its buffer."""
    return addresses(sizes.LARGE, rng)


NEAR = ((Size(5, 20, 40, sizes.CHUNK, H=2, HV=4, rule=GDN2), AMPERE),)
TIED = ((Size(5, 20, 40, sizes.CHUNK, HV=2, rule=KDA), AMPERE),)
FULL = ((Size(65, 20, 40, sizes.CHUNK, H=2, HV=4, rule=GDN2), AMPERE),)
BLOCKS = ((Size(5, 72, 40, sizes.CHUNK, HV=2, rule=KDA), WIDE),)
SEVERAL = sizes.SEQUENCES[:1]
ROWS, PREPARE = (f"channels.prepare.channel_{name}_kernel" for name in ("rows", "prepare"))
SCAN, ERRORS = "channels.scan.channel_scan_kernel", "channels.scan.load_errors"
FAULTS = (
    (SEVERAL, Fault("row_of_the_next_sequence", "The last chunk of a sequence takes a token of the next.",
                    ROWS, "m_t = o_t < stop", "m_t = o_t <= stop")),
    (NEAR, Fault("channel_past_the_last", "The mask of the channels takes one too many.",
                 ROWS, "m_k = o_k < K", "m_k = o_k <= K")),
    (NEAR, Fault("queries_a_thousandth_too_large", "The scale of the queries that read the memory is too large.",
                 ROWS, ".to(DTYPE) * scale", ".to(DTYPE) * (scale * 1.001)")),
    (NEAR, Fault("erase_keys_not_gated", "Erase keys miss their gate.",
                 ROWS, "b_e = b_k * load_gate(", "b_e = b_k + 0.0 * load_gate(")),
    (FULL, Fault("erase_keys_not_decayed", "Erase keys are not decayed from the start of the chunk.",
                 ROWS, "b_e *= b_gamma", "b_e *= 1.0")),
    (FULL, Fault("keys_decayed_from_the_start", "Keys are decayed from the start of the chunk and not to its end.",
                 ROWS, "tl.exp(b_rest.to(DTYPE))", "tl.exp(b_G.to(DTYPE))")),
    (NEAR, Fault("heads_in_turn", "Heads of values are given out to the heads of keys in turn.",
                 ROWS, "i_h = i_hv // (HV // H)", "i_h = i_hv % H")),
    (NEAR, Fault("gates_of_the_first_channels", "Gates of a token are taken to be one number apart.",
                 "channels.widths.load_gate", "o_row * WIDTH + o_d[None, :]", "o_row + o_d[None, :]")),
    (NEAR, Fault("middle_at_the_end", "The last token of a block is taken for its middle.",
                 PREPARE, "+ half - 1", "+ 2 * half - 1")),
    (NEAR, Fault("halves_swapped", "The halves of a block are swapped.",
                 PREPARE, "second = o_c // half % 2 == 1", "second = o_c // half % 2 == 0")),
    (NEAR, Fault("keys_not_decayed_to_the_middle", "Keys are not decayed to the middle of their block.",
                 PREPARE, "b_k *= b_D", "b_k *= 1.0")),
    (NEAR, Fault("own_key_in_place_of_the_query", "A token's key is multiplied by itself on the diagonal.",
                 PREPARE, "tl.sum(b_q * b_k, 1)", "tl.sum(b_k * b_k, 1)")),
    (NEAR, Fault("triangle_of_the_other_sign", "The triangle that is inverted has the other sign.",
                 PREPARE, "tl.where(m_pair, -b_kk, b_N)", "tl.where(m_pair, b_kk, b_N)")),
    (NEAR, Fault("pairs_of_other_blocks", "Products of tokens of different blocks are taken, too.",
                 PREPARE, "m_pair = (o_c[:, None] // (2 * half) == o_c[None, :] // (2 * half)) & second",
                 "m_pair = second")),
    (NEAR, Fault("smallest_blocks_left_out", "Products of neighbours are left out.",
                 PREPARE, "    half = 1\n", "    half = 2\n")),
    (BLOCKS, Fault("channels_of_the_first_block", "Every block of channels reads the sums of the first one.",
                   PREPARE, "load_sums(G, i_chunk, o_c, i_k + o_k, m_k, DECAY, C)",
                   "load_sums(G, i_chunk, o_c, o_k, m_k, DECAY, C)")),
    (BLOCKS, Fault("last_block_of_channels_left_out", "Channels behind the last whole block are left out.",
                   PREPARE, "range(0, K, BK)", "range(0, K // BK * BK, BK)")),
    (NEAR, Fault("sums_of_the_chunk_before", "The sums of log decays are those of another head.",
                 "channels.prepare.load_sums", "(i_chunk * C + o_c[:, None]) * D", "((i_chunk - i_chunk % 2) * C + "
                 "o_c[:, None]) * D")),
    (FULL, Fault("blocks_in_reverse", "The blocks of an inverse are multiplied in the other order.",
                 "channels.prepare.channel_inverse", "tl.dot(b_L, b_X,", "tl.dot(b_X, b_L,")),
    (FULL, Fault("last_merge_left_out", "The last merge of the inverse is left out.",
                 "channels.prepare.channel_inverse", "while size < C:", "while size < C // 2:")),
    (NEAR, Fault("answer_of_the_memory_added_by_channel", "What the memory answers is added to the value.",
                 ERRORS, "b_u -= dot(b_S,", "b_u += dot(b_S,")),
    (NEAR, Fault("transform_not_transposed", "The UT transform is multiplied without its transposition.",
                 ERRORS, "tl.trans(b_T)", "b_T")),
    (NEAR, Fault("values_not_gated_by_channel", "The write gate is left out.",
                 ERRORS, "b_u *= tl.load(w + p_tv", "b_u += 0.0 * tl.load(w + p_tv")),
    (TIED, Fault("values_not_gated_by_beta", "The erase gate does not gate the values.",
                 ERRORS, "b_u *= tl.load(beta +", "b_u += 0.0 * tl.load(beta +")),
    (FULL, Fault("memory_of_a_chunk_not_decayed", "The memory is not decayed over a chunk.",
                 "channels.scan.decayed", "tl.exp(load_whole(G, i_chunk, o_k, m_k, DECAY, C))[None, :]", "1.0")),
    (FULL, Fault("decay_up_to_the_last_token_but_one", "The memory is decayed by all tokens of a chunk but the last.",
                 "channels.scan.load_whole", "(i_chunk * C + C - 1) * D", "(i_chunk * C + C - 2) * D")),
    (FULL, Fault("first_chunk_for_all", "Every chunk reads what was prepared for the first one.",
                 SCAN, "i_chunk = (i_c + i) * HV + i_hv", "i_chunk = i_c * HV + i_hv")),
    (SEVERAL, Fault("memory_of_the_first_sequence_by_channel", "Every sequence starts from the memory of the first.",
                    SCAN, "state + i_n * stride_n", "state + 0 * i_n * stride_n")),
    (SEVERAL, Fault("outputs_of_the_next_sequence", "The last chunk writes an output of the next sequence.",
                    SCAN, "m_t = o_t < stop", "m_t = o_t <= stop")),
)  # fmt: skip


def _refuted(cases: tuple[Case, ...], name: str) -> Any:
    return lambda rng: at_points(name, cases, rng)


for _cases, _fault in FAULTS:
    refuting(channel_kernels_equal_recurrence, _fault, _refuted(_cases, FORWARD))

for _name, _summary, _where, _right in (
    ("rows_by_32_bits", "The number of a chunk has 32 bits where its rows are decayed.", ROWS,
     "(tl.program_id(0) // NK // HV).to(tl.int64)"),
    ("chunk_by_32_bits", "The number of a chunk has 32 bits in the scan.", SCAN,
     "tl.load(chunk_offsets + i_n).to(tl.int64)"),
):  # fmt: skip
    refuting(channel_kernels_equal_recurrence,
             Fault(_name, _summary, _where, _right, _right.removesuffix(".to(tl.int64)")),
             lambda rng: addresses(sizes.LARGE, rng))  # fmt: skip


# Token by token.


@claim(
    statement=recurrence(r"\operatorname{channel\_steps}(q, k, v, g, b, w, S_0) = (o, S_T)", by_channel=True),
    assumptions=EXACTLY,
    scope=scope(sizes.LENGTHS[:3]),
    engine="ir",
    source=cite("2510.26692", "eq. 1"),
    code=(Code(f"{KERNELS}.channels.steps", "channel_steps_kernel"), reference.recurrent, reference.step),
    needs=("torch", "triton"),
)
def channel_steps_kernel_equals_recurrence(rng: random.Random) -> Any:
    """The kernel for decoding with gates by channel, as Triton compiled it, is the recurrence."""
    return at_points(STEPS, sizes.LENGTHS[:3], rng)


@channel_steps_kernel_equals_recurrence.step(engine="ir", scope=scope(sizes.EVERY_WIDTH_OF_STEPS))
def every_width_of_each_gate_in_decoding(rng: random.Random) -> Any:
    """Each gate absent, one number, or one for each channel, together in every way that is no form of scalar gates."""
    return at_points(STEPS, sizes.EVERY_WIDTH_OF_STEPS, rng)


@channel_steps_kernel_equals_recurrence.step(engine="ir", scope=scope(sizes.MODES))
def modes_of_decoding_by_channel(rng: random.Random) -> Any:
    """Keys and queries of unit length, packed sequences, no first memory, other GPUs, dtypes, layouts, and TTGIR."""
    return at_points(STEPS, sizes.MODES, rng)


@channel_steps_kernel_equals_recurrence.step(engine="ir", scope=all_inputs(sizes.SMALL_STEPS))
def decoding_by_channel_for_all_inputs(rng: random.Random) -> Any:
    """On letters the kernel is the recurrence, for all inputs of these sizes."""
    return for_all_inputs(STEPS, sizes.SMALL_STEPS, rng)


@channel_steps_kernel_equals_recurrence.step(engine="ir", scope=ADDRESSES)
def addresses_of_decoding_by_channel(rng: random.Random) -> Any:
    """Where tensors have 2^32 entries, no offset of 32 bits overflows, and no access is outside of its buffer."""
    return addresses(sizes.LARGE_STEPS, rng)


KERNEL = "channels.steps.channel_steps_kernel"
FAULTS_OF_STEPS = (
    (NEAR, Fault("decays_of_the_first_channels", "Log decays of a token are taken to be one number apart.",
                 KERNEL, "g + i_g * K + o_k", "g + i_g + o_k")),
    (NEAR, Fault("memory_not_decayed_by_channel", "The memory is not decayed.",
                 KERNEL, "b_S *= tl.exp(b_g)[None, :]", "b_S *= 1.0")),
    (NEAR, Fault("write_gate_of_another_channel", "The write gates are read one channel too early.",
                 KERNEL, "w + i_g * V + o_v", "w + i_g * V + o_v - (o_v > 0).to(tl.int32)")),
    (TIED, Fault("value_not_gated_by_beta", "The erase gate does not gate the value.",
                 KERNEL, "b_u *= b_b", "b_u *= 1.0")),
    (NEAR, Fault("answer_added_by_channel", "What the memory answers is added to the value.",
                 KERNEL, "b_u -= tl.sum(b_S", "b_u += tl.sum(b_S")),
    (NEAR, Fault("erase_key_written_by_channel", "What is written goes to the erase key.",
                 KERNEL, "b_S += b_u[:, None] * b_k[None, :]", "b_S += b_u[:, None] * b_e[None, :]")),
    (NEAR, Fault("read_by_channel_a_thousandth_too_large", "The scale is a thousandth too large.",
                 KERNEL, "* scale  # read", "* (scale * 1.001)  # read")),
    (NEAR, Fault("last_token_of_a_sequence_left_out", "The last token of a sequence is left out.",
                 KERNEL, "i_n * T, i_n * T + T", "i_n * T, i_n * T + T - 1")),
    (NEAR, Fault("last_memory_with_its_strides_swapped", "The last memory is stored with K and V swapped.",
                 KERNEL, "o_v[:, None] * end_v + o_k[None, :] * end_k", "o_v[:, None] * end_k + o_k[None, :] * end_v")),
    (sizes.MODES[2:3], Fault("keys_by_channel_not_normalised", "Keys are left as they are.",
                             KERNEL, "b_k *= tl.rsqrt(tl.sum(b_k * b_k, 0) + EPSILON)", "b_k *= 1.0")),
)  # fmt: skip

for _cases, _fault in FAULTS_OF_STEPS:
    refuting(channel_steps_kernel_equals_recurrence, _fault, _refuted(_cases, STEPS))

refuting(
    channel_steps_kernel_equals_recurrence,
    Fault("sequence_by_channel_by_32_bits", "The number of a sequence has 32 bits.",
          KERNEL, "(tl.program_id(0) // NV // HV).to(tl.int64)", "tl.program_id(0) // NV // HV"),
    lambda rng: addresses(sizes.LARGE_STEPS, rng),
)  # fmt: skip
