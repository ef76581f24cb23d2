"""The backward kernels on hard inputs: windows, a neighbouring sequence of NaN, strong decays."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

CUDA = torch.cuda.is_available()
if not CUDA:  # read when a kernel is decorated, so before the import
    os.environ["TRITON_INTERPRET"] = "1"
WHY = "Triton has no wheel for this platform"
chunk = pytest.importorskip("gdn_core.ops.kernels.chunk", reason=WHY)
chip = pytest.importorskip("gdn_core.ops.kernels.chip", reason=WHY)
chunk_windows = pytest.importorskip("gdn_core.ops.kernels.windows", reason=WHY)

DEVICE = torch.device("cuda" if CUDA else "cpu")
DTYPES = [torch.float32, *([torch.bfloat16, torch.float16] if CUDA else [])]
NAMES = ("dq", "dk", "dv", "dg", "dbeta", "dinitial_state")


@pytest.fixture(autouse=True)
def poisoned_memory() -> Iterator[None]:
    """Fill whatever is allocated with NaN: what was not written is seen."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = True
    yield
    torch.use_deterministic_algorithms(False)


def drawn(B: int, T: int, H: int, HV: int, K: int, V: int, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    torch.manual_seed(B + T + K)
    k = torch.randn(B, T, H, K) + 0.5
    x = {
        "q": torch.randn(B, T, H, K) * K**-0.5,
        "k": k / k.norm(dim=-1, keepdim=True),
        "v": torch.randn(B, T, HV, V),
        "g": -torch.rand(B, T, HV) * 0.3,
        "beta": 1.5 * torch.rand(B, T, HV),
        "state": torch.randn(B, HV, K, V),
    }
    narrow = {name: t.to(DEVICE, dtype if name in "qkv" else torch.float32) for name, t in x.items()}
    return {**narrow, "do": torch.randn(B, T, HV, V).to(DEVICE, dtype), "dS": torch.randn(B, HV, K, V).to(DEVICE)}


def scanned(x: dict[str, Tensor]) -> list[Tensor]:
    """Differentiate the token-by-token scan in the dtype that x has."""
    return scanned_both_ways(x)[2:]


def scanned_both_ways(x: dict[str, Tensor]) -> list[Tensor]:
    """Return outputs, final state and gradients of the token-by-token scan in the dtype that x has."""
    names = [name for name in ("q", "k", "v", "g", "beta", "state") if name in x]
    leaf = {name: x[name].detach().requires_grad_() for name in names}
    group = x["v"].shape[2] // x["q"].shape[2]
    q, k = (leaf[name].repeat_interleave(group, 2) for name in "qk")
    S, outputs = leaf["state"], []
    for t in range(q.shape[1]):
        if "g" in x:
            S = leaf["g"][:, t].exp()[..., None, None] * S
        u = leaf["v"][:, t]
        if "beta" in x:
            u = leaf["beta"][:, t][..., None] * (u - torch.einsum("bhkv,bhk->bhv", S, k[:, t]))
        S = S + k[:, t][..., None] * u[..., None, :]
        outputs.append(torch.einsum("bhkv,bhk->bhv", S, q[:, t]))
    o = torch.stack(outputs, 1)
    total = (o * x["do"]).sum() + (S * x["dS"]).sum()
    return [o.detach(), S.detach(), *torch.autograd.grad(total, list(leaf.values()))]


def run(x: dict[str, Tensor], **options: Any) -> list[Tensor]:
    return run_both_ways(x, **options)[2:]


def run_both_ways(x: dict[str, Tensor], **options: Any) -> list[Tensor]:
    o, S, saved = chunk.forward(
        x["q"], x["k"], x["v"], x.get("g"), x.get("beta"), scale=1.0, initial_state=x["state"],
        output_final_state=True, save_for_backward=True, **options,
    )  # fmt: skip
    assert saved is not None
    return [o, S, *(gradient for gradient in chunk.backward(saved, x["do"], x["dS"]) if gradient is not None)]


def assert_near(got: list[Tensor], want: list[Tensor], eps: float) -> None:
    assert len(got) == len(want)
    for i, (a, b) in enumerate(zip(got, want, strict=True)):
        error = (a.double() - b).norm() / b.norm()
        assert error <= eps, f"gradient {i}: off by {error:.1e}"  # False for NaN too


def tolerance(dtype: torch.dtype) -> float:
    return 1e-5 if dtype is torch.float32 else 4 * torch.finfo(dtype).eps


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("side_by_side", [False, True], ids=["one after the other", "side by side"])
@pytest.mark.parametrize(("B", "T", "K", "V"), [(1, 330, 16, 24), (2, 200, 20, 16)])
def test_windows_of_segments_give_the_gradients_of_the_whole(
    monkeypatch: pytest.MonkeyPatch, B: int, T: int, K: int, V: int, side_by_side: bool, dtype: torch.dtype
) -> None:
    if CUDA:
        K, V = (64, 128) if V > K else (128, 64)
    x = drawn(B, T, 1, 2, K, V, dtype)
    processors = 10_000 if side_by_side else 1
    monkeypatch.setattr(chunk, "chip_of", lambda device: chip.Chip(processors, 90 if CUDA else 0))
    asked = []
    monkeypatch.setattr(chunk, "batch_windows", lambda *a: asked.append(chunk_windows.batch_windows(*a)) or asked[-1])
    want = scanned({name: t.double() for name, t in x.items()})
    for length in (1, 2):
        assert_near(run(x, length=length), want, tolerance(dtype))
    if not side_by_side:
        assert [len(windows) for windows in asked] == [-(-T // 64), -(-T // 128)]


def test_a_window_has_a_place_for_every_chunk_and_none_twice() -> None:
    for B, count in ((3, None), (1, 2), (3, 2), (3, 1)):
        windows = chunk_windows.batch_windows(B, 330, 2, count, DEVICE)
        starts = torch.cat([window.spans[window.spans[:, 0] < window.spans[:, 1], 0] for window in windows])
        assert starts.sort().values.tolist() == [330 * n + 64 * i for n in range(B) for i in range(6)]
        table = torch.arange(3 * B)
        assert sorted(torch.cat([window.of(table) for window in windows]).tolist()) == list(range(3 * B))
    assert [window.first for window in chunk_windows.batch_windows(1, 330, 2, None, DEVICE)] == [2, 1, 0]


def test_a_batch_too_large_for_one_window_gives_the_gradients_of_its_sequences() -> None:
    x = drawn(3, 100, 1, 2, *((128, 128) if CUDA else (16, 16)), torch.bfloat16 if CUDA else torch.float32)
    whole = run(x)
    for n in range(3):
        alone = run({name: t[n : n + 1] for name, t in x.items()})
        assert all(torch.equal(a[n], b[0]) for a, b in zip(whole, alone, strict=True))


@pytest.mark.parametrize("length", [100, 1], ids=["whole", "in segments"])
def test_nan_in_one_sequence_does_not_reach_another(length: int) -> None:
    lengths = [70, 65, 30]
    x = drawn(1, sum(lengths), 1, 2, *((128, 128) if CUDA else (16, 16)), torch.bfloat16 if CUDA else torch.float32)
    x["state"], x["dS"] = x["state"].repeat(3, 1, 1, 1), x["dS"].repeat(3, 1, 1, 1)
    starts = torch.tensor([0, 70, 135, 165], dtype=torch.int32, device=DEVICE)
    clean = run(x, cu_seqlens=starts, length=length)
    for name in ("q", "k", "v", "do"):
        x[name][:, 70:135] = float("nan")
    poisoned = run(x, cu_seqlens=starts, length=length)
    for a, b in zip(clean[:5], poisoned[:5], strict=True):
        assert torch.equal(a[:, :70], b[:, :70]) and torch.equal(a[:, 135:], b[:, 135:])
        assert a.isfinite().all()
    assert torch.equal(clean[5][::2], poisoned[5][::2])
    assert poisoned[2][:, 70:135].isnan().any()


@pytest.mark.parametrize("missing", ["g", "beta", "g beta"])
def test_rules_without_a_gate_have_no_gradient_for_it(missing: str) -> None:
    x = drawn(2, 100, 1, 2, *((128, 64) if CUDA else (16, 24)), torch.bfloat16 if CUDA else torch.float32)
    x["k"] *= 0.5  # bounded, where nothing is forgotten
    for name in missing.split():
        del x[name]
    want = scanned({name: t.double() for name, t in x.items()})
    assert_near(run(x), want, tolerance(x["q"].dtype))


def of_kind(kind: str, *, T: int = 130, K: int = 24, V: int = 16) -> dict[str, Tensor]:
    """Draw float32 inputs that cost digits: memories that last, tokens that forget, keys that point the same way."""
    x = drawn(1, T, 1, 2, K, V)
    if "aligned" in kind:  # every token undoes the one before: an error is a small difference of large numbers
        long = torch.nn.functional.normalize(torch.randn(K), dim=0).to(DEVICE)
        x["k"] = torch.nn.functional.normalize(torch.randn(1, T, 1, K).to(DEVICE) / K**0.5 + 3 * long, dim=-1)
        x["beta"] = 2 - 0.05 * x["beta"]
        x["g"] *= 0.1
    if "forgetful" in kind:
        x["g"][:, 5::32] = -90.0
    if "all forget" in kind:  # the gradient of g is smaller than a rounding of the products that do not decay
        x["g"] -= 40.0
    for name in ("g", "beta"):
        if f"no {name}" in kind:
            del x[name]
    if kind == "no beta, no g":
        x["k"] *= 0.5  # bounded, where nothing is forgotten
    return x


def assert_within_budget(x: dict[str, Tensor], **options: Any) -> None:
    """Expect every number to err at most twice as much as the worst of the plain scan in float32."""
    exact = scanned_both_ways({name: t.double() for name, t in x.items()})
    plain = scanned_both_ways(x)
    names = ["o", "final state", *(name for name in NAMES if name[1:] not in ("g", "beta") or name[1:] in x)]
    for name, got, near, want in zip(names, run_both_ways(x, **options), plain, exact, strict=True):
        allowed = 2 * (near - want).abs().max() + torch.finfo(torch.float32).eps * want.abs().max()
        error = (got - want).abs().max()
        assert error <= allowed, f"{name}: {error:.2e}, and the budget is {allowed:.2e}"  # False for NaN too


KINDS = ["ordinary", "ordinary, no g", "forgetful", "aligned", "aligned, no g", "no beta", "no beta, no g",
         "all forget", "all forget, no beta"]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_outputs_and_gradients_in_float32_err_at_most_twice_as_much_as_the_plain_scan(kind: str) -> None:
    assert_within_budget(of_kind(kind))


def test_the_budget_holds_for_keys_of_two_blocks_and_where_sequences_are_split() -> None:
    assert_within_budget(of_kind("aligned, no g", K=40, V=8), length=1)


def test_the_budget_holds_where_products_are_taken_in_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU for which Triton has no matrix instruction for float64."""
    for name in ("prepare", "scan", "compose", "scan_backward", "gradients"):
        monkeypatch.setattr(importlib.import_module(f"gdn_core.ops.kernels.{name}"), "sliced", lambda x: True)
    assert_within_budget(of_kind("aligned", T=70, V=8), length=1)


def test_two_runs_give_the_same_bits() -> None:
    x = drawn(2, 200, 1, 2, *((128, 128) if CUDA else (16, 16)), torch.bfloat16 if CUDA else torch.float32)
    assert all(torch.equal(a, b) for a, b in zip(run(x, length=1), run(x, length=1), strict=True))

