"""The kernels of the chunk form's backward pass: what Triton compiles of them gives the recurrence's derivative.

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
    AT_ONCE,
    BLACKWELL,
    CHUNK,
    GATES,
    HOPPER,
    IN_WINDOWS,
    LENGTHS,
    LONG,
    LONG_ON_HOPPER,
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
    (Size(150, 20, 40, CHUNK, H=2, HV=4, B=2), IN_WINDOWS),
    (Size(150, 20, 40, CHUNK, H=2, HV=4, B=2), replace(IN_WINDOWS, memory=AT_ONCE.memory)),
    (Size(150, 20, 40, CHUNK, HV=2, lengths=(70, 0, 1, 76)), SEGMENTS),
    (Size(180, 20, 40, CHUNK, HV=2, lengths=(65, 0, 64, 16)), AMPERE),
)
PIPELINED = (
    (Size(150, 20, 40, CHUNK, H=2, HV=4), replace(AMPERE, level="ttgir")),
    (Size(150, 20, 40, CHUNK, HV=2, lengths=(70, 0, 1, 76)), replace(SEGMENTS, level="ttgir")),
    (Size(65, 20, 40, CHUNK, HV=2), replace(HOPPER, level="ttgir")),
)
OTHERS = (
    (Size(65, 20, 40, CHUNK, HV=2), HOPPER),
    (Size(150, 32, 64, CHUNK, HV=2), replace(HOPPER, dtype="bfloat16")),
    (Size(65, 20, 40, CHUNK, HV=2), BLACKWELL),
    (Size(65, 20, 40, CHUNK, HV=2), replace(AMPERE, dtype="float16", state_v_first=True)),
)


ROWS = ((Size(65, 20, 1, CHUNK), AMPERE), (Size(7, 128, 1, CHUNK), WIDE))


@claim(
    statement=recurrence(
        r"\operatorname{triton\_backward}(q, k, v, g, \beta, S_0, \dot o, \dot S_T) = "
        r"\nabla \bigl(\langle \dot o, o \rangle + \langle \dot S_T, S_T \rangle\bigr)"
    ),
    assumptions=(*EXACTLY, NOT_COVERED, "The gradients are compared along a random direction, with dual numbers."),
    scope=scope(LENGTHS, primes=3),
    engine="ir",
    source=cite("2412.06464", "sec. 3.3, differentiated here"),
    code=(
        *(
            Code(f"{KERNELS}.{module}", f"chunk_{name}_kernel")
            for module, name in (
                ("prepare", "prepare"), ("scan", "scan"), ("scan_backward", "scans"), ("compose", "compose"),
                ("gradients", "query_gradients"), ("gradients", "key_gradients"), ("limits", "limits"),
                ("limits", "poison"), ("states", "states"),
            )
        ),
        Code(f"{KERNELS}.hopper.prepare", "chunk_prepare_hopper_kernel"),
        Code(f"{KERNELS}.hopper.scan", "chunk_scan_hopper_kernel"),
        Code(f"{KERNELS}.hopper.scan_backward", "chunk_scans_hopper_kernel"),
        Code(f"{KERNELS}.hopper.gradients", "chunk_gradients_hopper_kernel"),
        Code(f"{KERNELS}.blocks", "cut_kernel"),
        Code(f"{KERNELS}.padding", "clear_padding_kernel"),
        Code(f"{KERNELS}.l2norm", "l2norm_backward_kernel"),
        reference.recurrent,
        reference.step,
    ),
    uses=("chunk_backward_is_the_derivative",),
    needs=("torch", "triton"),
)  # fmt: skip
def chunk_kernels_differentiate_the_recurrence(rng: random.Random) -> Any:
    """The launches of the backward pass, as Triton compiled them, are the derivative of the recurrence."""
    return at_points("backward", LENGTHS, rng, primes=3)


@chunk_kernels_differentiate_the_recurrence.step(engine="ir", scope=scope(REAL))
def gradients_at_real_widths_and_in_float32(rng: random.Random) -> Any:
    """At real widths the same holds, and in float32, which is multiplied in float64."""
    return at_points("backward", REAL, rng)


@chunk_kernels_differentiate_the_recurrence.step(engine="ir", scope=scope(SPLIT))
def gradients_of_segments_and_packed_sequences(rng: random.Random) -> Any:
    """Segments at once, in windows, and one after the other; batches; packed sequences, empty ones too."""
    return at_points("backward", SPLIT, rng)


@chunk_kernels_differentiate_the_recurrence.step(engine="ir", scope=scope(GATES))
def gradients_without_some_gates(rng: random.Random) -> Any:
    """Rules without a decay, without erasing, and without a memory before the first token."""
    return at_points("backward", GATES, rng)


@chunk_kernels_differentiate_the_recurrence.step(engine="ir", scope=scope(OTHERS))
def gradients_on_other_gpus_and_layouts(rng: random.Random) -> Any:
    """The portable kernels compiled for Hopper, with tensor maps, and for Blackwell; and with V before K."""
    return at_points("backward", OTHERS, rng)


@chunk_kernels_differentiate_the_recurrence.step(engine="ir", scope=scope(ROWS, primes=3, degree=6))
def gradients_through_unit_lengths(rng: random.Random) -> Any:
    """The gradient of queries and keys that are divided by their length, along a random direction."""
    return at_points("unit_length", ROWS, rng, primes=3)


@chunk_kernels_differentiate_the_recurrence.step(engine="ir", scope=scope(PIPELINED))
def gradients_of_the_pipelined_code(rng: random.Random) -> Any:
    """TTGIR: layouts, shared memory, and asynchronous copies, which are no numbers before they were waited for."""
    return at_points("backward", PIPELINED, rng)


@chunk_kernels_differentiate_the_recurrence.step(engine="ir", scope=scope(ON_HOPPER))
def gradients_of_hopper_kernels(rng: random.Random) -> Any:
    """Hopper's own kernels, in TTGIR: partitions that take turns, barriers, and copies that no wait has covered yet."""
    return at_points("backward", ON_HOPPER, rng)


@chunk_kernels_differentiate_the_recurrence.step(engine="ir", scope=all_inputs(SMALL))
def gradients_for_all_inputs(rng: random.Random) -> Any:
    """On letters each gradient of the kernels is the derivative, for all inputs of these sizes."""
    return for_all_inputs("backward", SMALL, rng)


LARGE = ((LONG, "chunk"),)
LARGE_ON_HOPPER = ((LONG_ON_HOPPER[0], "chunk"),)


@chunk_kernels_differentiate_the_recurrence.step(engine="ir", scope=ADDRESSES)
def addresses_of_both_passes(rng: random.Random) -> Any:
    """Where tensors have 2^32 entries, no offset of 32 bits overflows, and no access is outside of its buffer."""
    return addresses(LARGE, rng)


@chunk_kernels_differentiate_the_recurrence.step(engine="ir", scope=ADDRESSES)
def addresses_of_hopper_kernels(rng: random.Random) -> Any:
    """The same of Hopper's own kernels, and of what their tensor maps copy."""
    return addresses(LARGE_ON_HOPPER, rng, LONG_ON_HOPPER[1])


NEAR = ((Size(5, 20, 40, CHUNK, H=2, HV=4), AMPERE),)
FULL = ((Size(65, 20, 40, CHUNK, H=2, HV=4), AMPERE),)
SEVERAL = SPLIT[3:4]
WINDOWS = SPLIT[1:2]
QUERY, KEY = "gradients.chunk_query_gradients_kernel", "gradients.chunk_key_gradients_kernel"
SCANS = "scan_backward"
FAULTS: tuple[tuple[tuple[Case, ...], Fault], ...] = (
    (NEAR, Fault("decays_above_the_diagonal", "Decays are taken from the later to the earlier token.",
                 "gradients.decay_mask", "b_G[:, None] - b_G[None, :]", "b_G[None, :] - b_G[:, None]")),
    (NEAR, Fault("reads_decayed_to_the_end", "The gradient of a read is decayed to the end of the chunk.",
                 QUERY, "(tl.load(p_gates + C) * scale)", "(tl.load(p_gates + 2 * C) * scale)")),
    (NEAR, Fault("later_share_added", "The later token's share of a decay's gradient is added.",
                 QUERY, "b_dG += tl.sum(b_D, 1) - tl.sum(b_D, 0)", "b_dG += tl.sum(b_D, 1) + tl.sum(b_D, 0)")),
    (NEAR, Fault("gradient_gated_by_the_later_token", "The gradient of the products is gated by the later token.",
                 QUERY, "b_dAqk *= b_beta[None, :]", "b_dAqk *= b_beta[:, None]")),
    (NEAR, Fault("products_transposed", "The gradient of the products meets the keys transposed.",
                 QUERY, "b_dq = dot(b_dqk, b_k", "b_dq = dot(tl.trans(b_dqk), b_k")),
    (NEAR, Fault("gradient_without_the_scale", "The gradient of the products misses the scale.",
                 QUERY, "tl.where(m_lower, b_dAqk * scale, 0.0)", "tl.where(m_lower, b_dAqk, 0.0)")),
    (NEAR, Fault("gradient_of_the_triangle_negated", "The gradient of the triangle has the other sign.",
                 KEY, "tl.where(m_strict, -b_dAkk, 0.0)", "tl.where(m_strict, b_dAkk, 0.0)")),
    (NEAR, Fault("sums_from_the_start", "The gradients of log decays are summed from the start of the chunk.",
                 KEY, "o_c[None, :] >= o_c[:, None], b_dG", "o_c[None, :] <= o_c[:, None], b_dG")),
    (FULL, Fault("memory_kept_in_full", "The gradient of the decay of the memory misses that decay.",
                 KEY, "b_gamma_C * tl.sum(b_hdh, 0)", "tl.sum(b_hdh, 0)")),
    (NEAR, Fault("one_side_of_a_square", "Of the product of keys with themselves one side is differentiated twice.",
                 KEY, "b_dkk + tl.trans(b_dkk)", "b_dkk + b_dkk")),
    (NEAR, Fault("gate_from_the_rows", "The gradient of beta sums the rows of the products and not the columns.",
                 KEY, "tl.sum(b_D, 0) + b_row", "tl.sum(b_D, 1) + b_row")),
    (NEAR, Fault("row_not_gated", "The gradient of the decay to the end of the chunk misses the gate.",
                 KEY, "b_row *= b_beta", "b_row *= 1.0")),
    (NEAR, Fault("gate_of_the_reads_forgotten", "The gradient of beta from the reads is not added.",
                 KEY, "tl.load(p_dbeta, mask=m_t) + tl.sum(b_D, 0)", "tl.sum(b_D, 0)")),
    (NEAR, Fault("values_of_the_next_block", "The last block of values is masked by a channel too many.",
                 KEY, "m_v = o_v < V", "m_v = o_v <= V")),
    (FULL, Fault("erased_memory_added", "What the error takes off the gradient of the memory is added.",
                 f"{SCANS}.gradient_step", "(-b_gamma)[None, :]", "b_gamma[None, :]")),
    (NEAR, Fault("write_decayed_from_the_start", "The gradient of a write is decayed from the start of the chunk.",
                 f"{SCANS}.gradient_step", "b_rest[None, :]  # write", "b_gamma[None, :]")),
    (NEAR, Fault("read_without_the_scale", "The gradient of a read misses the scale.",
                 f"{SCANS}.gradient_step", "(b_gamma * scale)[None, :]", "b_gamma[None, :]")),
    (NEAR, Fault("gradient_of_errors_not_gated", "The gradient of the errors misses their gate.",
                 f"{SCANS}.gradient_step", "(b_du * b_beta[None, :])", "b_du")),
    (FULL, Fault("recomputed_without_the_gate", "The memory is recomputed without the gate of what is written.",
                 f"{SCANS}.state_step", "(b_beta * b_rest)", "b_rest")),
    (FULL, Fault("chunks_in_their_order", "The gradient of the memory meets the chunks first to last.",
                 f"{SCANS}.chunk_scans_kernel", "i = whole - 1 - j", "i = j")),
    (NEAR, Fault("gradient_of_the_memory_not_passed_in", "The gradient of the last memory is left out.",
                 f"{SCANS}.chunk_scans_kernel", "        if DSTATE:\n", "        if DSTATE and not STATE:\n")),
    (SEVERAL, Fault("tokens_of_the_next_sequence", "The last chunk of a sequence takes a token of the next.",
                    f"{SCANS}.load_tokens", "m_x &= (o_t < stop)[:, None]", "m_x &= (o_t <= stop)[:, None]")),
    (WINDOWS, Fault("places_of_the_first_segment", "Every segment of a window has the places of the first one.",
                    f"{SCANS}.chunk_scans_kernel", "i_c = i_l.to(tl.int32) * LENGTH", "i_c = 0 * LENGTH")),
    (SEVERAL, Fault("maps_not_transposed", "Gradients are composed by the maps of the memory.",
                    "compose.chunk_compose_kernel", "o_M = o_k[None, :] * K + o_m[:, None]",
                    "o_M = o_m[:, None] * K + o_k[None, :]")),
)  # fmt: skip


CHUNKS = ON_HOPPER[5:6]
HOPPER_SCAN, HOPPER_GRADIENTS = "hopper.scan_backward.scan", "hopper.gradients.chunk_gradients_hopper_kernel"
FAULTS += (
    (CHUNKS, Fault("scan_does_not_wait", "The scans do not wait for the copies of a chunk.",
                   HOPPER_SCAN, "mbarrier.wait(bars.index(stage), phase)", "pass")),
    (CHUNKS, Fault("phase_that_stays", "The phase stays the same when all buffers were used.",
                   HOPPER_SCAN, "gl.where(stage == STAGES, phase ^ 1, phase)", "phase")),
    (CHUNKS, Fault("overwritten_while_copied", "Memories are overwritten before their copy out was waited for.",
                   HOPPER_SCAN, "tma.store_wait(0)\n        mbarrier", "mbarrier")),
    (CHUNKS, Fault("hopper_read_without_the_scale", "On Hopper, the gradient of a read misses the scale.",
                   HOPPER_SCAN, "(s_g.slice(C, C).load(A_COLUMN) * scale)", "s_g.slice(C, C).load(A_COLUMN)")),
    (CHUNKS, Fault("gradient_used_too_early", "The gradient of the values is used before it was waited for.",
                   HOPPER_SCAN, "warpgroup_mma_wait(1, deps=[du])", "warpgroup_mma_wait(2, deps=[du])")),
    (CHUNKS, Fault("gradient_of_memory_not_waited_for", "The gradient of the memory is not waited for.",
                   HOPPER_GRADIENTS, "mbarrier.wait(bar_dh, n & 1)", "pass")),
    (CHUNKS, Fault("memory_of_one_phase", "The memory is always waited for by the first phase.",
                   HOPPER_GRADIENTS, "mbarrier.wait(bar_h, n & 1)", "mbarrier.wait(bar_h, 0)")),
    (CHUNKS, Fault("scan_without_a_fence", "The memory is copied out without a fence.",
                   HOPPER_SCAN, "fence_async_shared()\n        tma.store_wait(0)", "tma.store_wait(0)")),
    (CHUNKS, Fault("products_without_a_fence", "Products read what was written to shared memory without a fence.",
                   HOPPER_GRADIENTS, "fence_async_shared()\n        barrier()\n        b_dq",
                   "barrier()\n        b_dq")),
    (CHUNKS, Fault("products_copied_without_a_fence", "The products of queries and keys are copied without a fence.",
                   "hopper.prepare.chunk_prepare_hopper_kernel", "s_Aqk.store(b_Aqk)\n            fence_async_shared()",
                   "s_Aqk.store(b_Aqk)")),
    (CHUNKS, Fault("hopper_queries_without_the_scale", "The gradient of what queries read misses the scale.",
                   HOPPER_GRADIENTS, "(s_g.slice(C, C).load(ROW) * scale)", "(s_g.slice(C, C).load(ROW) * 1.0)")),
)  # fmt: skip


def _refuted(cases: tuple[Case, ...]) -> Any:
    return lambda rng: at_points("backward", cases, rng)


for _cases, _fault in FAULTS:
    refuting(chunk_kernels_differentiate_the_recurrence, _fault, _refuted(_cases))

refuting(
    chunk_kernels_differentiate_the_recurrence,
    Fault("length_not_differentiated", "The gradient takes the length for a constant.",
          "l2norm.l2norm_backward_kernel", "(b_dy - b_y * tl.sum(b_y * b_dy, 1)[:, None])", "b_dy"),
    lambda rng: at_points("unit_length", ROWS, rng),
)  # fmt: skip

for _name, _summary, _where, _right in (
    ("place_by_32_bits", "The offset of a chunk's gradients has 32 bits.", KEY,
     "(tl.program_id(0) // H).to(tl.int64)"),
    ("memory_by_32_bits", "The offset of the memory before a chunk has 32 bits.", f"{SCANS}.store_memory",
     "i_block.to(tl.int64) * (V * K)"),
):  # fmt: skip
    refuting(chunk_kernels_differentiate_the_recurrence,
             Fault(_name, _summary, _where, _right, _right.replace(".to(tl.int64)", "")),
             lambda rng: addresses(LARGE, rng))  # fmt: skip

for _name, _summary, _where, _right in (
    ("outputs_by_32_bits", "On Hopper, the offset of an output has 32 bits.", "hopper.scan.carry_rows",
     "(i_t + o_t).to(gl.int64)"),
    ("gradients_by_32_bits", "On Hopper, the offset of a value's gradient has 32 bits.", HOPPER_SCAN,
     "o_t.to(gl.int64)"),
):  # fmt: skip
    refuting(chunk_kernels_differentiate_the_recurrence,
             Fault(_name, _summary, _where, _right, _right.replace(".to(gl.int64)", "")),
             lambda rng: addresses(LARGE_ON_HOPPER, rng, LONG_ON_HOPPER[1]))  # fmt: skip
