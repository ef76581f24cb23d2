"""The chunk and decoding kernels against the token-by-token scan in float64, gradients through it included."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import pairwise
from types import SimpleNamespace
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

CUDA = torch.cuda.is_available()
if not CUDA:  # read when a kernel is decorated, so before the import
    os.environ["TRITON_INTERPRET"] = "1"

WHY = "Triton has no wheel for this platform"
chunk = pytest.importorskip("gdn_core.ops.kernels.chunk", reason=WHY)
decode = pytest.importorskip("gdn_core.ops.kernels.recurrent", reason=WHY)
norm = pytest.importorskip("gdn_core.ops.kernels.l2norm", reason=WHY)
blocks = pytest.importorskip("gdn_core.ops.kernels.blocks", reason=WHY)
chip = pytest.importorskip("gdn_core.ops.kernels.chip", reason=WHY)
compose = pytest.importorskip("gdn_core.ops.kernels.compose", reason=WHY)
prepare = pytest.importorskip("gdn_core.ops.kernels.prepare", reason=WHY)
scan_kernels = pytest.importorskip("gdn_core.ops.kernels.scan", reason=WHY)
DEVICE = torch.device("cuda" if CUDA else "cpu")
SCALE = 0.3
NEEDS_CUDA = pytest.mark.skipif(not CUDA, reason="the interpreter has no bfloat16, and Gluon no interpreter")


class Problem(NamedTuple):
    """Packed sequences; g or beta None where the rule has none."""

    q: Tensor
    k: Tensor
    v: Tensor
    g: Tensor | None
    beta: Tensor | None
    state: Tensor
    cu_seqlens: Tensor

    def in_double(self) -> Problem:
        given = (x if x is None else x.double().requires_grad_() for x in self[:6])
        return Problem(*given, self.cu_seqlens)


def problem(
    lengths: Sequence[int], *, H: int = 1, HV: int = 2, K: int = 20, V: int = 24, decay: bool = True, erase: bool = True
) -> Problem:
    """Draw a problem whose keys are correlated, whose beta reaches 2, and whose decays reach both ends."""
    torch.manual_seed(sum(lengths) + 7 * K + V)
    T, N = sum(lengths), len(lengths)
    k = torch.randn(1, T, H, K) + 0.7
    g = -torch.rand(1, T, HV).square() * 0.5
    g[:, ::50] = 0.0
    g[:, 7::61] = -200.0
    beta = 2 * torch.rand(1, T, HV).sqrt()
    starts = torch.tensor([0, *lengths]).cumsum(0).to(torch.int32)
    drawn = Problem(
        torch.randn(1, T, H, K),
        k / k.norm(dim=-1, keepdim=True),
        torch.randn(1, T, HV, V),
        g if decay else None,
        beta if erase else None,
        torch.randn(N, HV, K, V),
        starts,
    )
    return Problem(*(x if x is None else x.to(DEVICE) for x in drawn))


def scan(x: Problem) -> tuple[Tensor, Tensor]:
    """Decay, error, write, read: token by token, in the dtype of the problem."""
    group = x.v.shape[2] // x.q.shape[2]
    q, k = x.q[0].repeat_interleave(group, 1), x.k[0].repeat_interleave(group, 1)
    starts = x.cu_seqlens.tolist()
    outputs, states = [], []
    for n, S in enumerate(x.state):
        for t in range(starts[n], starts[n + 1]):
            if x.g is not None:
                S = x.g[0, t].exp()[:, None, None] * S
            u = x.v[0, t]
            if x.beta is not None:
                u = x.beta[0, t][:, None] * (u - torch.einsum("hkv,hk->hv", S, k[t]))
            S = S + k[t][:, :, None] * u[:, None, :]
            outputs.append(SCALE * torch.einsum("hkv,hk->hv", S, q[t]))
        states.append(S)
    return torch.stack(outputs)[None], torch.stack(states)


def run(x: Problem, **options: object) -> tuple[Tensor, Tensor, object]:
    options = {"initial_state": x.state, "cu_seqlens": x.cu_seqlens, "output_final_state": True, **options}
    return chunk.forward(*x[:5], scale=SCALE, save_for_backward=True, **options)


def assert_close(got: Tensor, want: Tensor, name: str) -> None:
    assert got.shape == want.shape, name
    error = (got.double() - want).abs().max().item()
    assert error <= 1e-5 * want.abs().max().item() + 1e-12, f"{name}: off by {error:.1e}"  # False for NaN too


CASES = {
    "ragged, with lengths 0 and 1": {"lengths": [70, 1, 0, 130]},
    "one short chunk, two heads a key": {"lengths": [5], "H": 2, "HV": 4, "K": 7, "V": 3},
    "whole chunks, no decay": {"lengths": [64, 128], "H": 2, "K": 16, "V": 40, "decay": False},
    "nothing erased": {"lengths": [70], "erase": False},
    "neither": {"lengths": [70], "HV": 1, "erase": False, "decay": False},
    "wider than one block": {"lengths": [66], "HV": 1, "K": 70, "V": 70},
}


@pytest.mark.parametrize("segments", [None, 1], ids=["whole", "in segments"])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_outputs_states_and_gradients_are_those_of_the_scan(case: dict, segments: int | None) -> None:
    assert_those_of_the_scan(problem(**case), segments)


@NEEDS_CUDA
@pytest.mark.parametrize("sizes", [(129, 16), (200, 17), (255, 33), (255, 100), (256, 16), (33, 255)], ids=str)
def test_wide_memories_of_float32_are_right_as_they_are_compiled(sizes: tuple[int, int]) -> None:
    """Of what ptxas made of these without all registers, some was wrong, and only a GPU shows it."""
    assert_those_of_the_scan(problem([70, 5], K=sizes[0], V=sizes[1]), None)


def assert_those_of_the_scan(x: Problem, segments: int | None) -> None:
    exact = x.in_double()
    want_o, want_state = scan(exact)
    do, dstate = torch.randn_like(x.v), torch.randn_like(x.state)
    ((want_o * do).sum() + (want_state * dstate).sum()).backward()

    o, state, saved = run(x, length=segments)
    assert_close(o, want_o, "o")
    assert_close(state, want_state, "final state")
    gradients = chunk.backward(saved, do, dstate)
    for name, gradient, given in zip(Problem._fields, gradients, exact, strict=False):
        if given is not None:
            assert_close(gradient, given.grad, f"d{name}")
        else:
            assert gradient is None, name


def test_packed_sequences_equal_separate_ones_bit_for_bit() -> None:
    lengths = [70, 1, 65]
    x = problem(lengths)
    o, state, saved = run(x, length=100)
    do = torch.randn_like(o)
    packed = chunk.backward(saved, do, None)
    for n, (start, stop) in enumerate(zip(x.cu_seqlens.tolist(), x.cu_seqlens.tolist()[1:], strict=False)):
        alone = Problem(*(t[:, start:stop].contiguous() for t in x[:5]), x.state[n : n + 1], None)
        alone_o, alone_state, alone_saved = run(alone, length=100)
        assert torch.equal(alone_o, o[:, start:stop]) and torch.equal(alone_state[0], state[n])
        separate = chunk.backward(alone_saved, do[:, start:stop].contiguous(), None)
        for whole, part in zip(packed[:5], separate[:5], strict=True):
            assert torch.equal(whole[:, start:stop], part)
        assert torch.equal(packed[5][n], separate[5][0])


def test_both_layouts_of_the_state_hold_the_same_memory() -> None:
    x = problem([40])
    o, state, saved = run(x)
    turned = x._replace(state=x.state.transpose(-1, -2).contiguous())
    turned_o, turned_state, turned_saved = run(turned, state_v_first=True)
    assert torch.equal(o, turned_o) and torch.equal(state, turned_state.transpose(-1, -2))
    do = torch.randn_like(o)
    dstate = chunk.backward(saved, do, state)[5]
    assert torch.equal(dstate, chunk.backward(turned_saved, do, turned_state)[5].transpose(-1, -2))


def test_the_past_does_not_see_the_future() -> None:
    x = problem([100])
    o = run(x)[0]
    changed = x._replace(**{name: getattr(x, name).clone() for name in ("q", "k", "v", "g", "beta")})
    for name in ("q", "k", "v", "g", "beta"):
        getattr(changed, name)[:, 40:] *= 0.5
    assert torch.equal(run(changed)[0][:, :40], o[:, :40])


def test_a_batch_is_its_sequences_packed() -> None:
    x = problem([70, 70])
    o, state, _ = run(x)
    B = Problem(*(t.view(2, 70, *t.shape[2:]) for t in x[:5]), x.state, None)
    batched_o, batched_state, _ = run(B)
    assert torch.equal(batched_o.view_as(o), o) and torch.equal(batched_state, state)


def test_nan_in_gives_nan_out() -> None:
    for name in ("q", "k", "v", "g", "beta"):
        x = problem([70])
        getattr(x, name)[0, 10, 0] = float("nan")
        o, state, _ = run(x)
        assert o[0, 10, 0].isnan().all(), name
        if name != "q":
            assert state[0, 0].isnan().any() and o[0, 69, 0].isnan().any(), name


def test_a_forgetful_token_among_others_costs_nothing_in_float32() -> None:
    """Sums of log decays grow with every such token; what matters is their small differences after it."""
    x = problem([64], HV=8, K=16, V=16)
    x.g[:] = -torch.rand(1, 64, 8, device=DEVICE) * 0.05
    x.g[:, ::8] = -90.0
    want, _ = scan(x.in_double())
    plain, _ = scan(x)
    budget = 2 * (plain - want).abs().max() + torch.finfo(torch.float32).eps * want.abs().max()
    assert (run(x)[0] - want).abs().max() <= budget


@pytest.mark.parametrize("dtype", [torch.float32, pytest.param(torch.bfloat16, marks=NEEDS_CUDA)])
def test_nothing_that_another_sequence_holds_is_seen(dtype: torch.dtype) -> None:
    """A tile that is copied whole reaches past the end of its sequence, and zero times NaN is NaN."""
    K, V = (20, 24) if dtype is torch.float32 else (128, 128)
    x = problem([33, 1, 66], K=K, V=V)
    x = Problem(*(t.to(dtype) for t in x[:3]), *x[3:])
    o, state, _ = run(x)
    starts = x.cu_seqlens.tolist()
    for n, (start, stop) in enumerate(pairwise(starts)):
        poisoned = Problem(*(t.clone() for t in x))
        for tensor in poisoned[:5]:
            tensor[:, start:stop] = float("nan")
        poisoned.state[n] = float("nan")
        other_o, other_state, _ = run(poisoned)
        assert other_o[:, start:stop].isnan().all() and other_state[n].isnan().all()
        o[:, start:stop], state[n] = other_o[:, start:stop], other_state[n]
        assert torch.equal(other_o.nan_to_num(), o.nan_to_num()) and torch.equal(
            other_state.nan_to_num(), state.nan_to_num()
        )
        o, state, _ = run(x)


@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
@pytest.mark.parametrize("K", [20, 200])
def test_maps_compose_segment_after_segment(K: int, reverse: bool) -> None:
    torch.manual_seed(K)
    bounds = torch.tensor([0, 3 * 64, 4 * 64], dtype=torch.int32, device=DEVICE)
    segments, _ = blocks.cut(bounds, total=256, size=64, size_2=64)
    count, HV, V = segments.count, 2, 5
    maps = torch.randn(count, HV, K, K, device=DEVICE) / K**0.5
    added, state = torch.randn(count, HV, V, K, device=DEVICE), torch.randn(2, HV, K, V, device=DEVICE)
    got = compose.chunk_compose(maps, added, state, V=V, segments=segments, x=maps, reverse=reverse)
    for n, of_sequence in enumerate([[0, 1, 2], [3]]):
        S = state[n].double().mT
        for i in reversed(of_sequence) if reverse else of_sequence:
            assert_close(got[i], S, f"segment {i}")
            M = maps[i].double().mT if reverse else maps[i].double()
            first = i == of_sequence[0] and not reverse  # it was run from the memory before it
            S = added[i].double() if first else S @ M + added[i].double()


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_decoding_gives_outputs_and_states_of_the_scan(case: dict) -> None:
    x = problem(**{**case, "lengths": [4, 1, 0, 3]})
    want_o, want_state = scan(x.in_double())
    options = {"scale": SCALE, "cu_seqlens": x.cu_seqlens, "output_final_state": True}
    o, state = decode.recurrent(*x[:5], initial_state=x.state, **options)
    assert_close(o, want_o, "o")
    assert_close(state, want_state, "final state")
    turned = x.state.transpose(-1, -2).contiguous()
    turned_o, turned_state = decode.recurrent(*x[:5], initial_state=turned, state_v_first=True, **options)
    assert_close(turned_o, want_o, "o")
    assert_close(turned_state.transpose(-1, -2), want_state, "final state")


def test_prefill_then_decode_is_one_prefill() -> None:
    x = problem([70])
    want_o, want_state, _ = run(x)
    before = Problem(*(t[:, :66].contiguous() for t in x[:5]), x.state, None)
    o, state, _ = run(before)
    outputs = [o]
    for t in range(66, 70):
        token = (tensor[:, t : t + 1].contiguous() for tensor in x[:5])
        o, state = decode.recurrent(*token, scale=SCALE, initial_state=state, output_final_state=True)
        outputs.append(o)
    assert_close(torch.cat(outputs, 1), want_o.double(), "o")
    assert_close(state, want_state.double(), "final state")


def test_the_norm_and_its_gradient_are_those_of_autograd() -> None:
    torch.manual_seed(0)
    x, dy = torch.randn(3, 5, 2, 20, device=DEVICE), torch.randn(3, 5, 2, 20, device=DEVICE)
    x[0, 0, 0] = 0.0
    exact = x.double().requires_grad_()
    want = exact / (exact.square().sum(-1, keepdim=True) + 1e-6).sqrt()
    (want * dy).sum().backward()
    assert_close(norm.l2norm(x), want, "y")
    assert_close(norm.l2norm_backward(x, dy), exact.grad, "dx")
    token = problem([3], H=2)
    o, _ = decode.recurrent(*token[:5], scale=SCALE, normalise=True)
    same, _ = decode.recurrent(norm.l2norm(token.q), norm.l2norm(token.k), *token[2:5], scale=SCALE)
    assert_close(o, same.double(), "o of normalised queries and keys")


@pytest.mark.skipif(not CUDA, reason="the interpreter has no bfloat16")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_narrow_inputs_stay_within_their_rounding(dtype: torch.dtype) -> None:
    x = problem([300, 500], H=2, HV=4, K=128, V=128)
    x = Problem(*(t.to(dtype) for t in x[:3]), *x[3:])
    exact = x.in_double()
    want, _ = scan(exact)
    do = torch.randn_like(x.v)
    (want * do.double()).sum().backward()
    o, _, saved = run(x)
    assert (o.double() - want).norm() <= 4 * torch.finfo(dtype).eps * want.norm()
    for name, gradient, given in zip(Problem._fields, chunk.backward(saved, do, None), exact, strict=False):
        error = (gradient.double() - given.grad).norm() / given.grad.norm()
        assert error <= 4 * torch.finfo(dtype).eps, f"d{name}: {error:.1e}"


@NEEDS_CUDA
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("sizes", [(128, 128), (128, 192), (128, 40), (64, 64)], ids=str)
@pytest.mark.parametrize("length", [100, 2], ids=["whole", "in segments"])
def test_the_kernels_for_one_chip_give_what_the_portable_ones_give(
    dtype: torch.dtype, sizes: tuple[int, int], length: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = problem([300, 1, 0, 500], H=2, HV=6, K=sizes[0], V=sizes[1])
    x = Problem(*(t.to(dtype) for t in x[:3]), *x[3:])
    o, state, _ = run(x, length=length)
    for module in (chip, prepare):
        monkeypatch.setattr(module, "fits_hopper", lambda *_: False)
    want_o, want_state, _ = run(x, length=length)
    eps = torch.finfo(dtype).eps
    assert (o.double() - want_o.double()).norm() <= eps * want_o.double().norm()
    assert (state - want_state).norm() <= eps * want_state.norm()


@NEEDS_CUDA
def test_keys_of_very_different_lengths_do_not_overflow_in_bfloat16() -> None:
    """Their products leave the range of float16, though the memory that they write stays small."""
    x = problem([128], K=128, V=128, decay=False)
    long = torch.arange(128, device=DEVICE) % 2 == 1
    x.k[:, long] *= 4e6
    x.beta[:, long] *= 1e-13
    x.k[:, ~long] *= 1e-2
    x = Problem(*(t.to(torch.bfloat16) for t in x[:3]), *x[3:])
    want, _ = scan(x.in_double())
    assert (run(x)[0].double() - want).norm() <= 4 * torch.finfo(torch.bfloat16).eps * want.norm()


def test_tables_are_made_once_and_outlive_the_graphs_that_read_them(monkeypatch: pytest.MonkeyPatch) -> None:
    made, waited, capturing = [], [], [False]
    tables = blocks.made_once(lambda n, device: made.append(n) or object())
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: capturing[0])
    stream = SimpleNamespace(synchronize=lambda: waited.append(1))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: stream)
    gpu = torch.device("cuda")
    kept = tables(0, gpu)
    assert tables(0, gpu) is kept and len(waited) == 1  # whoever has it may use it on any stream
    capturing[0] = True
    assert tables(0, gpu) is kept
    of_graph = tables(1, gpu)  # filled by the graph's replays alone
    capturing[0] = False
    assert tables(1, gpu) is not of_graph
    for n in range(2, 100):
        tables(n, gpu)
    assert tables(0, gpu) is kept and made.count(1) == 2
    assert tables(2, gpu) is not None and made.count(2) == 2  # no graph held it, and 64 others came after it


@NEEDS_CUDA
def test_a_graph_replays_both_passes_of_new_numbers() -> None:
    x = problem([200, 70], H=2, HV=4, K=128, V=128)
    x = Problem(*(t.to(torch.bfloat16) for t in x[:3]), *x[3:])
    do, dstate = torch.randn_like(x.v), torch.randn_like(x.state)

    def both() -> list[Tensor]:
        o, state, saved = run(x)
        return [o, state, *chunk.backward(saved, do, dstate)]

    both()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = both()
    for tensor in (x.q, x.k, x.v):
        tensor.copy_(tensor.flip(1))
    graph.replay()
    for got, want in zip([t.clone() for t in captured], both(), strict=True):
        assert torch.equal(got, want) and got.isfinite().all()


@NEEDS_CUDA
def test_no_sizes_but_channels_compile_again() -> None:
    def sizes(lengths: Sequence[int], H: int, HV: int) -> int:
        x = problem(lengths, H=H, HV=HV, K=128, V=128)
        run(Problem(*(t.to(torch.bfloat16) for t in x[:3]), *x[3:]))
        kernels = [prepare_hopper.chunk_prepare_hopper_kernel, scan_hopper.chunk_scan_hopper_kernel]
        kernels += [prepare.chunk_prepare_kernel, scan_kernels.chunk_scan_kernel]
        return sum(len(held[0]) for kernel in kernels for held in kernel.device_caches.values())

    prepare_hopper = pytest.importorskip("gdn_core.ops.kernels.hopper.prepare")
    scan_hopper = pytest.importorskip("gdn_core.ops.kernels.hopper.scan")
    first = sizes([300, 500], 2, 4)
    assert [sizes([70], 1, 1), sizes([1, 1000], 3, 9), sizes([64] * 5, 2, 6)] == [first] * 3
