"""The kernels of the chunk form: what Triton compiles of them gives the recurrence.

PyTorch and Triton are imported by the steps and not by this module, so that the claims can be listed without them.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

from derivations.claim import Code
from derivations.models.computed import EXACTLY, recurrence
from derivations.models.kernel_passes import at_points, for_all_inputs
from derivations.models.kernel_sizes import (
    AMPERE,
    BLACKWELL,
    CHUNK,
    GATES,
    HOPPER,
    LENGTHS,
    MANY,
    NOT_COVERED,
    ON_HOPPER,
    PAIRS,
    REAL,
    SEGMENTS,
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
SPLIT = (
    (Size(260, 20, 40, CHUNK, H=2, HV=4, B=2), PAIRS),
    (Size(150, 20, 40, CHUNK, HV=2, lengths=(70, 0, 1, 76)), SEGMENTS),
    (Size(180, 20, 40, CHUNK, HV=2, lengths=(65, 0, 64, 16)), AMPERE),
    (MANY, AMPERE),
)
UNIT = replace(AMPERE, normalise=True)
PIPELINED = (
    (Size(150, 20, 40, CHUNK, H=2, HV=4), replace(AMPERE, level="ttgir")),
    (Size(150, 20, 40, CHUNK, HV=2, lengths=(70, 0, 1, 76)), replace(SEGMENTS, level="ttgir")),
    (Size(65, 20, 40, CHUNK, HV=2), replace(HOPPER, level="ttgir")),
)
OTHERS = (
    (Size(65, 20, 40, CHUNK, HV=2), HOPPER),
    (Size(65, 20, 40, CHUNK, HV=2), BLACKWELL),
    (Size(65, 20, 40, CHUNK, HV=2), replace(BLACKWELL, dtype="float32")),
    (Size(65, 20, 40, CHUNK, HV=2), replace(AMPERE, dtype="float16", state_v_first=True)),
    (Size(65, 20, 40, CHUNK, HV=2), UNIT),
)


@claim(
    statement=recurrence(r"\operatorname{chunk\_kernels}(q, k, v, g, \beta, S_0) = (o, S_T)"),
    assumptions=(*EXACTLY, NOT_COVERED),
    scope=scope(LENGTHS, primes=3),
    engine="ir",
    source=cite("2412.06464", "sec. 3.3"),
    code=(
        *(
            Code(f"{KERNELS}.{module}", f"chunk_{name}_kernel")
            for module, name in (
                ("prepare", "prepare"), ("scan", "scan"), ("compose", "compose"), ("limits", "limits"),
                ("states", "states"),
            )
        ),
        Code(f"{KERNELS}.hopper.prepare", "chunk_prepare_hopper_kernel"),
        Code(f"{KERNELS}.hopper.scan", "chunk_scan_hopper_kernel"),
        Code(f"{KERNELS}.blocks", "cut_kernel"),
        Code(f"{KERNELS}.padding", "clear_padding_kernel"),
        Code(f"{KERNELS}.l2norm", "l2norm_kernel"),
        reference.recurrent,
        reference.step,
    ),
    uses=("gated_chunk_equals_recurrence", "gate_moves_through_the_triangular_system"),
    needs=("torch", "triton"),
)  # fmt: skip
def chunk_kernels_equal_recurrence(rng: random.Random) -> Any:
    """The launches of the chunk form, as Triton compiled them, are the recurrence."""
    return at_points("forward", LENGTHS, rng, primes=3)


@chunk_kernels_equal_recurrence.step(engine="ir", scope=scope(REAL))
def real_widths_and_float32(rng: random.Random) -> Any:
    """At real widths the same holds, and in float32, which is multiplied in float64."""
    return at_points("forward", REAL, rng)


@chunk_kernels_equal_recurrence.step(engine="ir", scope=scope(SPLIT))
def segments_and_packed_sequences(rng: random.Random) -> Any:
    """Sequences that are split into segments, whose maps are composed; batches; packed sequences, empty ones too."""
    return at_points("forward", SPLIT, rng)


@chunk_kernels_equal_recurrence.step(engine="ir", scope=scope(GATES))
def absent_gates_in_the_kernels(rng: random.Random) -> Any:
    """Rules without a decay, without erasing, and without a memory before the first token."""
    return at_points("forward", GATES, rng)


@chunk_kernels_equal_recurrence.step(engine="ir", scope=scope(OTHERS))
def other_gpus_and_layouts(rng: random.Random) -> Any:
    """The portable kernels for Hopper and Blackwell, in another dtype, with V before K, and with unit vectors."""
    return at_points("forward", OTHERS, rng)


@chunk_kernels_equal_recurrence.step(engine="ir", scope=scope(PIPELINED))
def pipelined_code(rng: random.Random) -> Any:
    """TTGIR: layouts, shared memory, and asynchronous copies, which are no numbers before they were waited for."""
    return at_points("forward", PIPELINED, rng)


@chunk_kernels_equal_recurrence.step(engine="ir", scope=scope(ON_HOPPER))
def kernels_of_hopper(rng: random.Random) -> Any:
    """Hopper's own kernels, in TTGIR: partitions that take turns, barriers, and copies that no wait has covered yet."""
    return at_points("forward", ON_HOPPER, rng)


@chunk_kernels_equal_recurrence.step(engine="ir", scope=all_inputs(SMALL))
def outputs_for_all_inputs(rng: random.Random) -> Any:
    """On letters the kernels of the chunk form are the recurrence, for all inputs of these sizes."""
    return for_all_inputs("forward", SMALL, rng)


NEAR = ((Size(5, 20, 40, CHUNK, H=2, HV=4), AMPERE),)
FULL = ((Size(65, 20, 40, CHUNK, H=2, HV=4), AMPERE),)
MAPS = ((Size(130, 20, 40, CHUNK, HV=2), SEGMENTS),)
SEVERAL = ((Size(150, 20, 40, CHUNK, HV=2, lengths=(70, 0, 1, 76)), SEGMENTS),)
PACKED = SPLIT[2:3]
PREPARE, SCAN = "prepare.chunk_prepare_kernel", "scan.chunk_scan_kernel"
FAULTS: tuple[tuple[tuple[Case, ...], Fault], ...] = (
    (NEAR, Fault("token_past_the_end", "The mask of a chunk takes one token too many.",
                 PREPARE, "m_t = o_t < stop", "m_t = o_t <= stop")),
    (FULL, Fault("decay_of_the_row_before", "Decays to the end of a chunk end one row too early.",
                 PREPARE, "o_c == C - 1, b_G64", "o_c == C - 2, b_G64")),
    (NEAR, Fault("products_without_the_scale", "The products of queries and keys miss the scale.",
                 PREPARE, "b_qk * b_Gamma * scale", "b_qk * b_Gamma")),
    (NEAR, Fault("products_a_thousandth_too_large", "The scale of the products is a thousandth too large.",
                 PREPARE, "b_qk * b_Gamma * scale", "b_qk * b_Gamma * (scale * 1.001)")),
    (NEAR, Fault("log_decay_in_place_of_beta", "The log decay is read in place of beta.",
                 PREPARE, "b_beta = tl.load(beta +", "b_beta = tl.load(g +")),
    (NEAR, Fault("keys_with_the_stride_of_values", "Rows of keys are taken to be as far apart as those of values.",
                 PREPARE, "(o_t[:, None] * H + i_h)", "(o_t[:, None] * HV + i_h)")),
    (NEAR, Fault("heads_of_keys_in_turn", "Heads of values are given out to the heads of keys in turn.",
                 PREPARE, "i_h = i_hv // (HV // H)", "i_h = i_hv % H")),
    (NEAR, Fault("gate_of_the_later_token_in_the_kernel", "The products of keys are gated by the later token.",
                 PREPARE, "b_Gamma * b_beta[None, :]", "b_Gamma * b_beta[:, None]")),
    (NEAR, Fault("diagonal_in_the_triangle", "The triangle that is inverted has its diagonal.",
                 PREPARE, "o_c[:, None] > o_c[None, :]", "o_c[:, None] >= o_c[None, :]")),
    (NEAR, Fault("outputs_without_their_own_token", "The products of queries and keys miss their diagonal.",
                 PREPARE, "m_lower = o_c[:, None] >= o_c[None, :]", "m_lower = o_c[:, None] > o_c[None, :]")),
    (FULL, Fault("blocks_multiplied_in_reverse", "The blocks of an inverse are multiplied in the other order.",
                 "prepare.unit_lower_inverse", "b_below = tl.dot(b_second, b_below,",
                 "b_below = tl.dot(b_below, b_second,")),
    (FULL, Fault("other_blocks_merged", "Inverses are merged by the blocks on the diagonal.",
                 "prepare.merge", "(o_r // SIZE != o_c // SIZE)", "(o_r // SIZE == o_c // SIZE)")),
    (FULL, Fault("merge_left_out", "Blocks of 4 are not merged to blocks of 8.",
                 "prepare.invert_blocks", "b_X = merge(b_X, b_N, 4, DTYPE)", "b_X = b_X")),
    (FULL, Fault("block_on_the_diagonal", "The second block on the diagonal is taken for the one below.",
                 "prepare.below", "o_n[None, None, None, :, None] == 0", "o_n[None, None, None, :, None] == 1")),
    (((Size(65, 20, 40, CHUNK, HV=2), WIDE),),
     Fault("loop_of_merges_ends_early", "The last merge of a wide inverse is left out.",
           "prepare.wide_inverse", "while size < C:", "while size < C // 2:")),
    (NEAR, Fault("decay_from_the_other_end", "What the memory answers is decayed to the end of the chunk.",
                 SCAN, "b_gamma = tl.load(p_gates + C)", "b_gamma = tl.load(p_gates + 2 * C)")),
    (PACKED, Fault("memory_of_the_first_sequence_for_all", "Every sequence starts from the memory of the first.",
                   SCAN, "state + i_s * stride_n", "state + 0 * i_s * stride_n")),
    (PACKED, Fault("into_the_next_sequence", "A segment does not stop at the end of its sequence.",
                   SCAN, "stop = tl.minimum(start + LENGTH * C, tl.load(cu_seqlens + i_n + 1).to(tl.int64))",
                   "stop = start + LENGTH * C")),
    (NEAR, Fault("answer_added", "What the memory answers is added to the value.",
                 SCAN, "b_v.to(SUM) - b_read", "b_v.to(SUM) + b_read")),
    (NEAR, Fault("inverse_not_transposed", "The inverse is multiplied without its transposition.",
                 SCAN, "tl.trans(b_T)", "b_T")),
    (NEAR, Fault("errors_not_gated", "The errors are written without their gate.",
                 SCAN, "b_v_new = b_e * b_beta[None, :]", "b_v_new = b_e")),
    (NEAR, Fault("answers_without_the_scale", "What queries read of the memory misses the scale.",
                 SCAN, "(b_gamma * scale)[None, :]", "b_gamma[None, :]")),
    (FULL, Fault("memory_decayed_by_its_first_token", "The memory is decayed by the first token of a chunk.",
                 SCAN, "(4 * C) + 2 * C - 1", "(4 * C) + C")),
    (FULL, Fault("writes_not_decayed", "What is written is not decayed to the end of the chunk.",
                 SCAN, "(b_v_new * b_rest[None, :])", "b_v_new")),
    (FULL, Fault("memory_not_decayed", "The memory is not decayed.", SCAN, "b_S * b_gamma_C", "b_S")),
    (NEAR, Fault("outputs_of_another_head", "Outputs go to the place of another head, where two programs write.",
                 SCAN, "(o_t[None, :] * HV + i_hv)", "(o_t[None, :] * HV + i_h)")),
    (NEAR, Fault("outputs_without_a_mask", "Outputs are stored behind the last token, too.",
                 SCAN, "tl.store(o + o_vo, b_o.to(o.dtype.element_ty), mask=m_vo)",
                 "tl.store(o + o_vo, b_o.to(o.dtype.element_ty))")),
    (SEVERAL, Fault("chunks_of_the_first_segment", "Every segment reads what was prepared for the first one.",
                    SCAN, "tl.load(chunk_offsets + i_n) + first", "tl.load(chunk_offsets + i_n)")),
    (MAPS, Fault("map_from_a_shifted_identity", "The map of a segment starts from a shifted identity.",
                    SCAN, "(o_v - NV * BV)[:, None]", "(o_v - NV * BV + 1)[:, None]")),
    (SEVERAL, Fault("first_segment_composed", "The first segment is composed like the others, and has no map.",
                    "compose.chunk_compose_kernel", "b_S = tl.where(i > 0, b_S, b_B)", "b_S = b_S")),
    (SEVERAL, Fault("memory_of_the_last_but_one", "The memory of the segment behind the last one is handed out.",
                    "states.chunk_states_kernel", ".to(tl.int64) - LAST", ".to(tl.int64) - 2 * LAST")),
    (PACKED, Fault("blocks_rounded_down", "The tokens behind the last whole chunk of a sequence get no chunk.",
                   "blocks.cut_into", "(b_length + size - 1) // size", "b_length // size")),
    (PACKED, Fault("owner_off_by_one", "The first chunk of a sequence is taken for one of the sequence before.",
                   "blocks.cut_into", "b_ends[None, :] <= o_b[:, None]", "b_ends[None, :] < o_b[:, None]")),
    (((Size(5, 20, 40, CHUNK, HV=2), UNIT),),
     Fault("rows_multiplied_by_their_length", "Queries and keys are multiplied by their length.",
           "l2norm.l2norm_kernel", "b_n = 1.0 / tl.sqrt(", "b_n = 1.0 * tl.sqrt(")),
    (PACKED, Fault("last_padding_not_cleared", "The last number behind the sequences is not cleared.",
                   "padding.clear_padding_kernel", "mask=o_x < stop", "mask=o_x < stop - 1")),
)  # fmt: skip


LONG = ON_HOPPER[5:6]
CARRY, WITHIN, COPY = (f"hopper.scan.{name}" for name in ("carry_rows", "read_within", "copy_chunks"))
HOPPER_PREPARE = "hopper.prepare.chunk_prepare_hopper_kernel"
FULL_BARRIER = "mbarrier.wait(full.index(stage), (i // STAGES) & 1)"
FAULTS += (
    (LONG, Fault("copy_not_waited_for", "The warpgroups do not wait for the copies of a chunk.",
                 CARRY, FULL_BARRIER, "pass")),
    (LONG, Fault("products_not_waited_for", "The warpgroups do not wait for the products of queries and keys.",
                 CARRY, "mbarrier.wait(ready.index(i & 1), (i >> 1) & 1)", "pass")),
    (LONG, Fault("phase_of_the_round_before", "The warpgroups wait for the other phase of the copies.",
                 CARRY, FULL_BARRIER, "mbarrier.wait(full.index(stage), ((i // STAGES) & 1) ^ 1)")),
    (LONG, Fault("buffers_that_nobody_frees", "Copies wait for a release of buffers that were never used.",
                 COPY, "((i // STAGES) & 1) ^ 1", "(i // STAGES) & 1")),
    (LONG, Fault("keys_of_the_next_stage", "The keys are taken from the next buffer.",
                 CARRY, "t_k = s_k.index(stage)", "t_k = s_k.index((i + 1) % STAGES)")),
    (LONG, Fault("buffer_not_released", "The warpgroup of the products does not release its buffer.",
                 WITHIN, "mbarrier.arrive(empty.index(stage), count=1)", "pass")),
    (LONG, Fault("too_few_bytes", "The barrier of a chunk expects half of the gates.",
                 COPY, "common: gl.constexpr = bytes_qk + 4 * C * 4", "common: gl.constexpr = bytes_qk + 4 * C * 2")),
    (LONG, Fault("error_used_too_early", "One of two products of the errors is not waited for.",
                 CARRY, "warpgroup_mma_wait(0, deps=[b_e0, b_e1])", "warpgroup_mma_wait(1, deps=[b_e0, b_e1])")),
    (LONG, Fault("copy_into_a_buffer_in_use", "Copies do not wait until the buffer has been released.",
                 COPY, "mbarrier.wait(empty.index(stage), ((i // STAGES) & 1) ^ 1)", "pass")),
    (LONG, Fault("products_overwritten", "The products of a chunk are written over those that are still read.",
                 WITHIN, "mbarrier.wait(free.index(i & 1), ((i >> 1) & 1) ^ 1)", "pass")),
    (LONG, Fault("released_too_early", "A buffer is released before the products that read it were waited for.",
                 CARRY, "b_S, b_o = warpgroup_mma_wait(0, deps=[b_S, b_o])\n            "
                 "mbarrier.arrive(empty.index(stage), count=1)",
                 "mbarrier.arrive(empty.index(stage), count=1)\n            "
                 "b_S, b_o = warpgroup_mma_wait(0, deps=[b_S, b_o])")),
    (LONG, Fault("no_fence_before_the_barrier", "The other partitions read the products without a fence.",
                 WITHIN, "fence_async_shared()\n        mbarrier.arrive(ready", "mbarrier.arrive(ready")),
    (LONG, Fault("no_fence_before_the_copy", "Outputs are copied without a fence.",
                 CARRY, "fence_async_shared()\n                tma", "tma")),
    (LONG, Fault("outputs_overwritten", "Outputs are written over those that are still copied.",
                 CARRY, "tma.store_wait(0)\n            t_o", "t_o")),
    (LONG, Fault("hopper_without_the_scale", "On Hopper, q k^T misses the scale.",
                 WITHIN, "exp2(b_later - b_earlier) * scale", "exp2(b_later - b_earlier)")),
    (LONG, Fault("hopper_memory_not_decayed", "On Hopper, the memory is not decayed.",
                 CARRY, "b_S * b_gamma_C", "b_S")),
    (LONG, Fault("gates_of_the_next_head", "The gates of a later chunk are those of the next head.",
                 COPY, "i_block += HV", "i_block += 1")),
    (LONG, Fault("keys_of_the_other_phase", "The next keys are waited for by the other phase.",
                 HOPPER_PREPARE, "mbarrier.wait(bars.index(stage), phase)",
                 "mbarrier.wait(bars.index(stage), phase ^ 1)")),
    (LONG, Fault("triangle_negated", "The triangle that is inverted has the other sign.",
                 HOPPER_PREPARE, "gl.convert_layout(-b_beta,", "gl.convert_layout(b_beta,")),
    (ON_HOPPER[8:9], Fault("map_not_from_the_memory_before", "On Hopper, every sequence starts from the first memory.",
                 CARRY, "state + i_state * stride_n", "state + 0 * i_state * stride_n")),
)  # fmt: skip


def _refuted(cases: tuple[Case, ...]) -> Any:
    return lambda rng: at_points("forward", cases, rng)


for _cases, _fault in FAULTS:
    refuting(chunk_kernels_equal_recurrence, _fault, _refuted(_cases))
