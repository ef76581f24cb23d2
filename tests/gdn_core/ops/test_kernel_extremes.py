"""The kernels on extreme but legal inputs: a decay of 0, numbers that are not finite, a buffer with padding."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from gdn_core import reference
from gdn_core.ops.kernels.operands import Operands, Packed

CUDA = torch.cuda.is_available()
if not CUDA:  # read when a kernel is decorated, so before the import
    os.environ["TRITON_INTERPRET"] = "1"
WHY = "Triton has no wheel for this platform"
chunk = pytest.importorskip("gdn_core.ops.kernels.chunk", reason=WHY)
decode = pytest.importorskip("gdn_core.ops.kernels.recurrent", reason=WHY)
trajectory = pytest.importorskip("gdn_core.ops.kernels.trajectory", reason=WHY)

DEVICE = torch.device("cuda" if CUDA else "cpu")
BF16, FP16, FP32 = torch.bfloat16, torch.float16, torch.float32
KINDS = [(128, 128, BF16), (64, 128, FP16), (96, 40, BF16), (20, 24, FP32)] if CUDA else [(8, 12, FP32)]
GRADIENTS = ("q", "k", "v", "g", "beta", "state")
Kind = tuple[int, int, torch.dtype]  # K, V, dtype of queries, keys and values
NAN, INF = float("nan"), float("inf")
PLACES = (0, 37, 64)  # of the tokens that are not finite
WITHOUT = {"all gates": (), "no decay": ("g",), "nothing erased": ("beta",), "neither": ("g", "beta")}
RESETS = (-INF, -1e30, torch.finfo(torch.float32).min, -1e15)


@pytest.fixture(params=KINDS, ids=str)
def kind(request: pytest.FixtureRequest) -> Kind:
    return request.param


def drawn(N: int, T: int, kind: Kind, rule: str = "all gates") -> dict[str, Tensor]:
    """Draw N sequences of T tokens."""
    (K, V, dtype), H, HV = kind, 1, 2
    torch.manual_seed(T + K + V)
    k = torch.randn(N, T, H, K) + 0.5
    x = {
        "q": torch.randn(N, T, H, K) * K**-0.5,
        "k": 0.7 * k / k.norm(dim=-1, keepdim=True),
        "v": torch.randn(N, T, HV, V),
        "g": -torch.rand(N, T, HV) * 0.3,
        "beta": 1.5 * torch.rand(N, T, HV),
        "state": torch.randn(N, HV, K, V),
        "do": torch.randn(N, T, HV, V),
        "dS": torch.randn(N, HV, K, V),
    }
    x = {name: t for name, t in x.items() if name not in WITHOUT[rule]}
    return {name: t.to(DEVICE, dtype if name in ("q", "k", "v", "do") else FP32) for name, t in x.items()}


def packed(x: dict[str, Tensor]) -> tuple[dict[str, Tensor], Tensor]:
    """Pack the sequences, and say where they start."""
    N, T = x["q"].shape[:2]
    starts = torch.arange(0, N * T + 1, T, dtype=torch.int32, device=DEVICE)
    return {name: t if name in ("state", "dS") else t.flatten(0, 1)[None] for name, t in x.items()}, starts


def outputs(x: dict[str, Tensor], **options: Any) -> tuple[Tensor, Tensor, Any]:
    """Run the chunk form: outputs, memories, and what the backward pass needs."""
    return chunk.forward(
        x["q"], x["k"], x["v"], x.get("g"), x.get("beta"), scale=1.0, initial_state=x["state"],
        output_final_state=True, save_for_backward=True, **options,
    )  # fmt: skip


def run(x: dict[str, Tensor], **options: Any) -> dict[str, Tensor]:
    """Run both passes of the chunk form; a gradient is called after what it is of."""
    o, S, saved = outputs(x, **options)
    gradients = dict(zip(GRADIENTS, chunk.backward(saved, x["do"], x["dS"]), strict=True))
    return {"o": o, "S": S, **{f"d{name}": t for name, t in gradients.items() if t is not None}}


def decoded(x: dict[str, Tensor], **options: Any) -> tuple[Tensor, Tensor]:
    return decode.recurrent(
        *(x[name] for name in ("q", "k", "v", "g", "beta")), scale=1.0, initial_state=x["state"],
        output_final_state=True, **options,
    )  # fmt: skip


def scanned(x: dict[str, Tensor]) -> dict[str, Tensor]:
    """Differentiate the token-by-token recurrence in float64."""
    leaf = {name: x[name].double().requires_grad_() for name in GRADIENTS if name in x}
    group = x["v"].shape[2] // x["q"].shape[2]
    q, k = (leaf[name].repeat_interleave(group, 2) for name in "qk")
    S, read = leaf["state"], []
    for t in range(q.shape[1]):
        S = leaf["g"][:, t].exp()[..., None, None] * S
        u = leaf["beta"][:, t][..., None] * (leaf["v"][:, t] - torch.einsum("bhkv,bhk->bhv", S, k[:, t]))
        S = S + k[:, t][..., None] * u[..., None, :]
        read.append(torch.einsum("bhkv,bhk->bhv", S, q[:, t]))
    o = torch.stack(read, 1)
    ((o * x["do"].double()).sum() + (S * x["dS"].double()).sum()).backward()
    return {"o": o.detach(), "S": S.detach(), **{f"d{name}": t.grad for name, t in leaf.items()}}


def assert_near(got: Tensor, want: Tensor, dtype: torch.dtype, name: str) -> None:
    error, size = (got.double() - want).norm().item(), want.norm().item()
    allowed = 1e-5 if dtype is FP32 else 4 * torch.finfo(dtype).eps
    assert error <= allowed * size, f"{name}: off by {error:.1e} of {size:.1e}"  # False for NaN too


def with_resets(kind: Kind) -> dict[str, Tensor]:
    """Draw a sequence for each way to say that a memory is reset, among them one whose every token is."""
    x = drawn(len(RESETS) + 1, 100, kind)
    for n, reset in enumerate(RESETS):
        x["g"][n, 20, 0] = x["g"][n, 64, 1] = reset
        x["g"][n, 90:93] = reset
    x["g"][-1, :40] = -INF
    return x


@pytest.mark.parametrize("length", [None, 1], ids=["whole", "in segments"])
def test_a_decay_of_zero_resets_the_memory_and_spoils_no_later_token(length: int | None, kind: Kind) -> None:
    x = with_resets(kind)
    want = scanned(x)
    for name, got in run(x, length=length).items():
        for n in range(len(RESETS) + 1):
            assert_near(got[n], want[name][n], kind[2], f"{name} of {n}")


def test_a_decay_of_zero_resets_packed_sequences_and_decoding(kind: Kind) -> None:
    x = {name: t[:: len(RESETS)] for name, t in with_resets(kind).items()}
    want = scanned(x)
    together, starts = packed(x)
    for name, got in run(together, cu_seqlens=starts).items():
        assert_near(got.view_as(want[name]), want[name], kind[2], name)
    o, S = decoded(together, cu_seqlens=starts)
    assert_near(o.view_as(want["o"]), want["o"], kind[2], "o of decoding")
    assert_near(S, want["S"], kind[2], "S of decoding")


def test_a_decay_of_zero_resets_the_memory_of_the_lab() -> None:
    rng = np.random.default_rng(0)
    T, K, V = 7, 5, 3
    x = reference.Token(
        q=rng.normal(size=(T, K)), k=rng.normal(size=(T, K)), v=rng.normal(size=(T, V)),
        g=np.array([-0.1, -INF, -0.2, -1e30, -0.1, -1e15, -0.3])[:, None, None], b=np.full((T, 1), 0.5),
        w=np.full((T, 1), 0.5),
    )  # fmt: skip
    S = rng.normal(size=(V, K)).astype(np.float32)
    out, end = trajectory.launch(Packed.of([Operands.of(x)]), S[None], device=DEVICE.type)
    want = S.astype(np.float64)
    for t in range(T):
        want, o = reference.step(want, x[t])
        np.testing.assert_allclose(out[0, t, :, 1], o, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(end[0], want, rtol=1e-5, atol=1e-6)


BAD = [
    ("all gates", "v", NAN, None),
    ("all gates", "v", INF, 1),
    ("all gates", "q", NAN, None),
    ("all gates", "k", NAN, 1),
    ("all gates", "g", NAN, None),
    ("all gates", "beta", INF, None),
    ("no decay", "k", -INF, None),
    ("nothing erased", "v", NAN, None),
    ("neither", "k", NAN, None),
]
if CUDA:  # where they cost nothing
    BAD += [
        *(("all gates", name, INF, None) for name in ("k", "v")),
        *(("all gates", name, NAN, 1) for name in ("v", "g", "beta")),
        *(("no decay", name, NAN, None) for name in ("v", "beta")),
        *(("nothing erased", name, NAN, None) for name in ("k", "g")),
        *(("neither", name, -INF, None) for name in ("k", "v")),
    ]


@pytest.mark.parametrize(("rule", "name", "value", "length"), BAD)
def test_no_number_of_a_token_touches_an_earlier_output(
    rule: str, name: str, value: float, length: int | None, kind: Kind
) -> None:
    x = drawn(len(PLACES), 67, kind, rule)
    clean, _, _ = outputs(x, length=length)
    for n, t in enumerate(PLACES):
        x[name][n, t, -1] = value  # of a whole head
    o, S, _ = outputs(x, length=length)
    for n, t in enumerate(PLACES):
        if name in ("k", "g", "beta") and kind[2] is not FP32:  # T is worked out in another way
            assert_near(o[n, :t], clean[n, :t].double(), kind[2], f"{t}: earlier outputs")
        else:
            assert torch.equal(o[n, :t], clean[n, :t]), f"{t}: an earlier output"
        heads = slice(None) if name in "qk" else slice(1, 2)
        assert name in "qk" or torch.equal(o[n, :, 0], clean[n, :, 0]), f"{t}: another head"
        assert not o[n, t, heads].isfinite().any(), f"{t}: its own output"
        if name != "q":
            assert not o[n, t:, heads].isfinite().any(), f"{t}: a later output"
            assert not S[n, heads].isfinite().any(), f"{t}: the memory after it"


def test_one_channel_that_is_not_finite_touches_no_other_sequence_and_no_earlier_output(kind: Kind) -> None:
    x = drawn(3, 100, kind)
    clean, _, _ = outputs(x)
    x["v"][1, 31, 0, -1] = NAN
    x["v"][1, 80, 1, 3] = INF
    x["k"][1, 90, 0, 5] = NAN
    together, starts = packed(x)
    o = outputs(together, cu_seqlens=starts)[0].view_as(clean)
    assert torch.equal(o[::2], clean[::2]) and torch.equal(o[1, :31], clean[1, :31])
    assert_near(o[1, :80, 1], clean[1, :80, 1].double(), kind[2], "outputs before two such tokens of a chunk")
    assert not o[1, 31:, 0, -1].isfinite().any() and not o[1, 90:].isfinite().any()


@pytest.mark.parametrize(
    ("rule", "length"), [("all gates", None), ("all gates", 1), *((rule, None) for rule in list(WITHOUT)[1:])]
)
def test_values_that_are_not_finite_touch_no_gradient_of_an_earlier_token(
    rule: str, length: int | None, kind: Kind
) -> None:
    """As in the recurrence: the gradient of a value depends on no value, and every other one on earlier ones alone."""
    x = drawn(len(PLACES), 100, kind, rule)
    clean = run(x, length=length)
    for n, t in enumerate(PLACES):
        x["v"][n, t:] = NAN if n % 2 else INF  # padding that was never written
    got = run(x, length=length)
    assert torch.equal(got["dv"], clean["dv"]) and torch.equal(got["dstate"], clean["dstate"])
    for name in {"dq", "dk", "dbeta", "dg"} & set(got):
        for n, t in enumerate(PLACES):
            if name == "dg":  # its sums leave out what cancels
                assert_near(got[name][n, :t], clean[name][n, :t].double(), kind[2], f"{t}: {name}")
            else:
                assert torch.equal(got[name][n, :t], clean[name][n, :t]), f"{t}: {name}"
            assert not got[name][n, t + 1 :].isfinite().any(), f"{t}: {name} of a later token"


@pytest.mark.parametrize("length", [None, 1] if CUDA else [None], ids=str)
def test_what_lies_behind_packed_sequences_is_zero(length: int | None, kind: Kind) -> None:
    x = drawn(1, 120, kind)
    x["state"], x["dS"] = x["state"].repeat(2, 1, 1, 1), x["dS"].repeat(2, 1, 1, 1)
    starts = torch.tensor([0, 30, 101], dtype=torch.int32, device=DEVICE)
    short = {name: t if name in ("state", "dS") else t[:, :101].contiguous() for name, t in x.items()}
    want = run(short, cu_seqlens=starts, length=length)
    for name in ("q", "k", "v", "g", "beta", "do"):
        x[name][:, 101:] = NAN  # as in a buffer that was never written so far
    for name, got in run(x, cu_seqlens=starts, length=length).items():
        if name in ("S", "dstate"):
            assert torch.equal(got, want[name]), name
        else:
            assert torch.equal(got[:, :101], want[name]) and not got[:, 101:].any(), name
    o, _ = decoded(x, cu_seqlens=starts)
    assert not o[:, 101:].any() and o[:, :101].isfinite().all()
