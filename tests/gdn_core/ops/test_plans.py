"""Plans: the same bits as the passes they replay, what they may not be used for, and what the driver is handed."""

from __future__ import annotations

import ctypes
import os
import random
import struct
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

CUDA = torch.cuda.is_available()
if not CUDA:  # read when a kernel is decorated, so before the import
    os.environ["TRITON_INTERPRET"] = "1"
WHY = "Triton has no wheel for this platform"
planned = pytest.importorskip("gdn_core.ops.kernels.planned", reason=WHY)
plans = pytest.importorskip("gdn_core.ops.kernels.plans", reason=WHY)
driver = pytest.importorskip("gdn_core.ops.kernels.driver", reason=WHY)
chip = pytest.importorskip("gdn_core.ops.kernels.chip", reason=WHY)
chunk = pytest.importorskip("gdn_core.ops.kernels.chunk", reason=WHY)
norm = pytest.importorskip("gdn_core.ops.kernels.l2norm", reason=WHY)
direct = pytest.importorskip("gdn_core.ops.operators.direct", reason=WHY)
DEVICE = torch.device("cuda", 0) if CUDA else torch.device("cpu")
DTYPE = torch.bfloat16 if CUDA else torch.float32
NEEDS_CUDA = pytest.mark.skipif(not CUDA, reason="it needs an NVIDIA GPU")
K, V = (128, 128) if CUDA else (16, 20)


@pytest.fixture(autouse=True)
def nothing_planned(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Start without plans, and fill whatever is allocated with NaN: what was not written is seen."""
    for name in ("_forward", "_backward", "_recurrent", "_l2norm", "_l2norm_backward"):
        monkeypatch.setattr(planned, name, plans.Plans())
    torch.use_deterministic_algorithms(True, warn_only=True)
    yield
    torch.use_deterministic_algorithms(False)


def drawn(B: int, T: int, N: int, H: int = 1, HV: int = 1) -> list[Tensor]:
    torch.manual_seed(B + T)
    k = torch.randn(B, T, H, K)
    x = [torch.randn(B, T, H, K), k / k.norm(dim=-1, keepdim=True), torch.randn(B, T, HV, V)]
    x += [-torch.rand(B, T, HV) * 0.3, torch.rand(B, T, HV), torch.randn(N, HV, K, V)]
    return [t.to(DEVICE, DTYPE if i < 3 else torch.float32) for i, t in enumerate(x)]


def both(x: list[Tensor], cu_seqlens: Tensor | None) -> list[Tensor]:
    """Return outputs, final memories and all gradients."""
    leaves = [t.detach().requires_grad_() for t in x]
    outputs = direct.chunk((*leaves, cu_seqlens), 0.3, False, True, True)
    torch.manual_seed(1)
    cotangents = [torch.randn(o.shape).to(o) for o in outputs]
    return [*(o.detach() for o in outputs), *torch.autograd.grad(outputs, leaves, cotangents)]


def same(x: list[Tensor], y: list[Tensor]) -> bool:
    return all(torch.equal(a, b) and a.isfinite().all() for a, b in zip(x, y, strict=True))


def count(which: Any) -> int:
    return sum(plan is not None for plan in which._plans.values())


@pytest.mark.parametrize("kind", ["batch", "packed", "one after the other"])
def test_a_plan_gives_the_bits_of_the_pass(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bounds = None
    if kind == "packed":
        bounds = torch.tensor([0, 50, 50, 70], dtype=torch.int32, device=DEVICE)
    if kind == "one after the other":  # in steps over windows, or all windows at once
        monkeypatch.setattr(planned, "segment_length", lambda v, cu_seqlens: 1)
        monkeypatch.setattr(chunk, "keeps_maps", lambda *sizes, **facts: False)
        real = chunk.chip_of(DEVICE)
        monkeypatch.setattr(chunk, "chip_of", lambda device: real._replace(memory=2**50))
    x = drawn(1, 80, 1 if bounds is None else 3)
    want = both(x, bounds)
    assert count(planned._forward) == 0
    for _ in range(2):  # launched by Triton, and on a GPU then by the driver
        assert same(both(x, bounds), want)
    assert count(planned._forward) == count(planned._backward) == 1
    if bounds is not None:  # lengths are read on the device, each time
        bounds.copy_(torch.tensor([0, 10, 64, 80]))
        got = both(x, bounds)
        assert count(planned._forward) == 1 and not torch.equal(got[0], want[0])
        planned._forward, planned._backward = plans.Plans(), plans.Plans()
        assert same(got, both(x, bounds))


def test_inputs_at_other_addresses_of_another_size_or_dtype_have_no_plan_of_these() -> None:
    x = torch.randn(9 * K, device=DEVICE).to(DTYPE)
    for _ in range(3):
        planned.unit(x[: 8 * K].view(8, K))
    assert count(planned._l2norm) == 1
    others = [x[1 : 8 * K + 1].view(8, K), x[:K].view(1, K), x[: 8 * K].view(8, K).to(torch.float16)]
    for other in others:
        for _ in range(3):
            assert torch.equal(planned.unit(other), norm.l2norm(other))
    assert planned._l2norm.run(None, None, (others[0],), 1.0) is None  # its address is no multiple of 16
    assert count(planned._l2norm) == 3


def test_what_is_neither_an_allocation_nor_a_launch_is_never_planned() -> None:
    kept = plans.Plans()
    x = torch.ones(4, device=DEVICE)
    for _ in range(3):
        assert kept.run(None, lambda x, scale: (x.sum(),), (x,), 1.0) is None
    assert list(kept._plans.values()) == [None]
    with pytest.raises(plans.NotPlanned, match="shares its memory"):
        plans.Plan(lambda x, scale: (x.view(2, 2),), (x,), DEVICE)


def test_plans_and_shapes_that_came_once_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans, "MOST_PLANS", 2)
    monkeypatch.setattr(plans, "MOST_SEEN", 3)
    for rows in (1, 2, 3, 4, 5):
        x = torch.randn(rows, K, device=DEVICE)
        for _ in range(2):
            planned.unit(x)
    assert len(planned._l2norm._plans) == 2 and len(planned._l2norm._seen) == 3


def test_intermediates_share_a_place_only_if_no_launch_needs_both() -> None:
    draw = random.Random(0)
    for _ in range(50):
        sizes = {i: draw.randint(1, 5000) for i in range(12)}
        used = {i: tuple(sorted((draw.randint(0, 9), draw.randint(0, 9)))) for i in sizes}
        at, total = plans._arranged(sizes, used)
        for i in sizes:
            assert at[i] % plans.ALIGNMENT == 0 and at[i] + sizes[i] <= total
            for j in range(i):
                together = used[i][0] <= used[j][1] and used[j][0] <= used[i][1]
                apart = at[i] + sizes[i] <= at[j] or at[j] + sizes[j] <= at[i]
                assert apart or not together
    assert plans._arranged({0: 512, 1: 512}, {0: (0, 1), 1: (2, 3)})[1] == 512


# --- the driver -----------------------------------------------------------------------------------------------


class Driver:
    """The driver's functions, on memory of this process."""

    def __init__(self, sizes: list[int]) -> None:
        self.sizes, self.encoded, self.launched = sizes, [], []  # type: ignore[var-annotated]

    def parameter(self, function: int, i: int, offset: Any, size: Any) -> int:
        if i >= len(self.sizes):
            return 1
        size._obj.value = self.sizes[i]
        return 0

    def encode(self, at: int, kind: int, rank: int, address: int, *facts: Any) -> int:
        shape, strides, box = facts[:3]
        self.encoded.append((address, [*shape], [*strides], [*box], kind))
        ctypes.memmove(at, struct.pack("Q", address), 8)
        return 0

    def launch(self, config: int, function: int, parameters: int, extra: None) -> int:
        facts = driver.CONFIG.unpack(ctypes.string_at(config, driver.CONFIG.size))
        at = struct.unpack(f"{len(self.sizes)}Q", ctypes.string_at(parameters, 8 * len(self.sizes)))
        self.launched.append((facts, [ctypes.string_at(a, n) for a, n in zip(at, self.sizes, strict=True)]))
        return 0


def kernel(**changes: Any) -> SimpleNamespace:
    facts = {"num_ctas": 1, "launch_cooperative_grid": False, "global_scratch_size": 0, "profile_scratch_size": 0}
    facts |= {"num_warps": 4, "shared": 1000, "launch_pdl": True}
    tiles = {"fp4_padded": False, "elem_size": 2, "elem_type": 10, "block_size": [8, 64], "swizzle": 3}
    signature = {"x": "tensordesc<bf16[8, 64]>", "y": ("*fp32", "constexpr", "i32"), "scale": "fp32", "K": "constexpr"}
    return SimpleNamespace(
        name="k", function=77, src=SimpleNamespace(signature=signature),
        metadata=SimpleNamespace(**facts | {"tensordesc_meta": [tiles]} | changes),
    )  # fmt: skip


SIZES = [128, 4, 4, 8, 8, 8, 4, 4, 8, 8]  # the map, its shape and strides, y, the scale, two scratch buffers


def laid_out(monkeypatch: pytest.MonkeyPatch, sizes: list[int] = SIZES, **changes: Any) -> tuple[Driver, Any]:
    pytest.importorskip("triton.backends.nvidia.driver")
    fake = Driver(sizes)
    monkeypatch.setattr(driver, "_functions", lambda: fake)
    x = driver.TensorMap(driver.Place(0, 32), (100, 64), (64, 1), "zero")
    arguments = (x, (driver.Place(1, 0), 5, 9), driver.Scale(1.0), 128)
    return fake, driver.Block([driver.Compiled(kernel(**changes), (3, 2), arguments)])


def test_the_driver_is_handed_what_a_kernel_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    fake, block = laid_out(monkeypatch)
    for _ in range(2):
        assert block.run([1024, 2048], 0.5, stream=7)
    assert fake.encoded == [(1056, [64, 100], [128, 12800], [64, 8], 9)]  # once, while the address stays
    assert block.run([4096, 2048], 0.25, stream=8)
    assert block.run([1024, 2048], 0.25, stream=8)
    assert [x[0] for x in fake.encoded] == [1056, 4128]
    for (facts, given), base, scale, stream in zip(
        fake.launched, (1056, 1056, 4128, 1056), (0.5, 0.5, 0.25, 0.25), (7, 7, 8, 8), strict=True
    ):
        assert facts[:8] == (3, 2, 1, 128, 1, 1, 1000, stream) and facts[9] == 1
        assert ctypes.string_at(facts[8], 12) == struct.pack("I4xi", 6, 1)
        assert given[0][:8] == struct.pack("Q", base)
        assert given[1:] == [
            struct.pack(kind, n) for kind, n in zip("iiqqQifQQ", (100, 64, 64, 1, 2048, 9, scale, 0, 0), strict=True)
        ]


def test_a_kernel_that_takes_other_arguments_is_left_to_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    for sizes in ([*SIZES, 8], SIZES[:-1], [128, 8, *SIZES[2:]]):
        with pytest.raises(driver.Unsupported):
            laid_out(monkeypatch, sizes)
    for changes in ({"num_ctas": 2}, {"global_scratch_size": 8}, {"tensordesc_meta": None}):
        with pytest.raises(driver.Unsupported):
            laid_out(monkeypatch, **changes)


@NEEDS_CUDA
def test_launches_by_the_driver_are_seen_by_hooks_and_give_the_same_bits() -> None:
    knobs = pytest.importorskip("triton").knobs
    x = drawn(1, 300, 1, 2, 4)
    want = both(x, None)
    for _ in range(2):
        both(x, None)
    blocks = [plan._block for which in (planned._forward, planned._backward) for plan in which._plans.values()]
    assert all(blocks) and len(blocks) == 2
    seen: list[Any] = []
    knobs.runtime.launch_enter_hook.add(seen.append)
    try:
        assert same(both(x, None), want)
    finally:
        knobs.runtime.launch_enter_hook.remove(seen.append)
    assert len(seen) >= 8
    assert same(both(x, None), want) and len(seen) < 16


@NEEDS_CUDA
def test_threads_and_streams_that_share_a_plan_do_not_share_its_numbers() -> None:
    problems = [drawn(1, 300, 1, 2, 4) for _ in range(4)]
    for i, x in enumerate(problems):
        x[2].mul_(i + 1)
    want = [both(x, None) for x in problems]
    wrong: list[int] = []

    def work(i: int) -> None:
        with torch.cuda.stream(torch.cuda.Stream()):
            for _ in range(20):
                leaves = tuple(problems[i])
                with torch.no_grad():
                    o = direct.chunk((*leaves, None), 0.3, False, True, False)[0]
                torch.cuda.current_stream().synchronize()
                if not torch.equal(o, want[i][0]):
                    wrong.append(i)

    torch.cuda.synchronize()
    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@NEEDS_CUDA
@pytest.mark.parametrize("heads", [(1, 1), (1, 2), (16, 16)], ids=str)
def test_sizes_that_kernels_are_specialised_for_have_plans_of_their_own(heads: tuple[int, int]) -> None:
    for T in (1, 16, 2100):
        x = drawn(1, T, 1, *heads)
        want = both(x, None)
        for _ in range(3):
            assert same(both(x, None), want)
