"""The kernels with gates by channel, in Triton's interpreter or on a GPU, against the reference in float64."""

from __future__ import annotations

import importlib
import math
import os
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import pytest
import torch
import torch.nn.functional as F

CUDA = torch.cuda.is_available()
if not CUDA:  # read when a kernel is decorated, so before any is imported
    os.environ["TRITON_INTERPRET"] = "1"

pytest.importorskip("triton", reason="Triton has no wheel for this platform")

from gdn_core.ops import api  # noqa: E402
from gdn_core.ops.kernels import planned  # noqa: E402
from gdn_core.ops.kernels.channels import chunk as channels  # noqa: E402
from gdn_core.ops.torch import channels as torch_channels  # noqa: E402
from gdn_core.ops.torch import reference as torch_reference  # noqa: E402

Tensor = torch.Tensor
Case = dict[str, Any]

BACKEND = "triton" if CUDA else "interpreter"
DEVICE = "cuda" if CUDA else "cpu"
GATES = {"kda": ("g", "beta"), "gla": ("g",), "gdn2": ("g", "b", "w")}
FORMS = ("chunk", "fused_recurrent")
BOTH = [(form, rule) for form in FORMS for rule in GATES]


def draw(rule: str, T: int = 37, N: int = 1, H: int = 1, HV: int = 2, K: int = 20, V: int = 24) -> Case:
    """Draw unit keys of any sign, erase gates to 2, channels that forget, and memories to start from, in float32."""
    generator = torch.Generator().manual_seed(T + K)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    g = -normal(1, T, HV, K).square()
    g[:, 5::23, :, ::2] = -90.0
    g[:, 4::19, :, 1:2] = -math.inf
    case = {
        "q": normal(1, T, H, K),
        "k": F.normalize(normal(1, T, H, K) + 0.5, dim=-1),
        "v": normal(1, T, HV, V),
        "g": g,
        "beta": 2 * normal(1, T, HV).sigmoid(),
        "b": 2 * normal(1, T, HV, K).sigmoid(),
        "w": normal(1, T, HV, V).sigmoid(),
        "initial_state": normal(N, HV, K, V),
    }
    return {key: case[key].to(DEVICE) for key in ("q", "k", "v", *GATES[rule], "initial_state")}


def call(form: str, rule: str, case: Case, **options: Any) -> tuple[Tensor, Tensor]:
    if (form, rule) == ("fused_recurrent", "gla"):
        case = {"gk" if key == "g" else key: x for key, x in case.items()}
    function = getattr(api, f"{form}_{rule}")
    return function(**case, **{"scale": 0.3, "output_final_state": True, "backend": BACKEND} | options)


def scan(case: Case, bounds: list[int] | None = None, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """Run the rule token by token, by the one definition."""
    case = {key: x.to(dtype) for key, x in case.items()}
    b = case.get("b", case.get("beta"))
    given = [case["q"], case["k"], case["v"], case["g"], b, case.get("w", b)]
    state = case["initial_state"].mT
    outputs, ends = [], []
    for n, (start, stop) in enumerate(pairwise(bounds or [0, case["q"].shape[1]])):
        S = state[n : n + 1]
        if stop > start:
            part = [x if x is None else x[:, start:stop] for x in given]
            o, S = torch_reference.recurrent(*part, scale=0.3, initial_state=S)
            outputs.append(o)
        ends.append(S.mT)
    return torch.cat(outputs, 1), torch.cat(ends)


@pytest.mark.parametrize(("form", "rule"), BOTH)
def test_outputs_and_memories_are_within_the_error_budget(form: str, rule: str) -> None:
    """Twice the error of the plain scan in float32, with grouped heads and sizes that are no multiple of a block."""
    case = draw(rule)
    for got, plain, want in zip(call(form, rule, case), scan(case, dtype=torch.float32), scan(case), strict=True):
        budget = 2 * (plain.double() - want).abs().amax() + torch.finfo(torch.float32).eps * want.abs().amax()
        assert got.dtype is torch.float32 and (got.double() - want).abs().amax() <= budget


@pytest.mark.parametrize(("T", "H", "HV", "K", "V"), [(1, 1, 1, 1, 1), (33, 1, 1, 3, 70), (32, 2, 4, 40, 1)])
def test_sizes_that_break_blocks_give_the_rule(T: int, H: int, HV: int, K: int, V: int) -> None:
    for rule in ("kda", "gdn2"):
        case = draw(rule, T=T, H=H, HV=HV, K=K, V=V)
        for got, want in zip(call("chunk", rule, case), scan(case), strict=True):
            torch.testing.assert_close(got.double(), want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("form", "rule"), BOTH)
def test_packed_sequences_are_run_apart_in_either_layout_and_padding_is_zero(form: str, rule: str) -> None:
    bounds = [0, 3, 3, 37, 38]
    case = draw(rule, T=45, N=4)
    want, ends = scan({key: x if key == "initial_state" else x[:, :38] for key, x in case.items()}, bounds)
    turned = case | {"initial_state": case["initial_state"].mT.contiguous()}
    cu_seqlens = torch.tensor(bounds, dtype=torch.int32, device=DEVICE)
    o, S = call(form, rule, turned, cu_seqlens=cu_seqlens, state_v_first=True)
    torch.testing.assert_close(o[:, :38].double(), want, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(S.mT.double(), ends, rtol=1e-5, atol=1e-6)
    assert not o[:, 38:].any()


@pytest.mark.parametrize(("form", "rule"), BOTH)
def test_what_a_token_holds_reaches_no_earlier_token(form: str, rule: str) -> None:
    case = draw(rule)
    clean, _ = call(form, rule, case)
    for key in (key for key in case if key != "initial_state"):
        spoilt = case | {key: case[key].clone()}
        spoilt[key][:, 20] = -math.inf if key == "g" else math.nan
        o, S = call(form, rule, spoilt)
        assert torch.equal(o[:, :20], clean[:, :20]), key
        if key not in ("q", "g"):
            assert o[:, 21:].isnan().any() and S.isnan().any(), key


@pytest.mark.parametrize("rule", ["kda", "gdn2"])
def test_decoding_continues_a_prefill(rule: str) -> None:
    case = draw(rule, H=2, HV=4)
    want, _ = scan(case)
    state = case.pop("initial_state")
    start = {key: x[:, :35] for key, x in case.items()}
    o, state = call("chunk", rule, start | {"initial_state": state}, use_qk_l2norm_in_kernel=False)
    torch.testing.assert_close(o.double(), want[:, :35], rtol=1e-5, atol=1e-6)
    for t in (35, 36):
        step = {key: x[:, t : t + 1] for key, x in case.items()}
        o, state = call("fused_recurrent", rule, step | {"initial_state": state})
        torch.testing.assert_close(o.double(), want[:, t : t + 1], rtol=1e-5, atol=1e-6)


def test_normalised_queries_and_keys_are_those_of_plain_pytorch() -> None:
    case = draw("kda", T=5)
    case["q"], case["k"] = 1e-3 * case["q"], 1e-3 * case["k"]  # so short that the epsilon counts
    for form in FORMS:
        got = call(form, "kda", case, use_qk_l2norm_in_kernel=True)
        want = call(form, "kda", case, use_qk_l2norm_in_kernel=True, backend="torch")
        torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5)


# --- gradients --------------------------------------------------------------------------------------------------


def apart(case: Case, bounds: list[int] | None = None) -> tuple[Tensor, Tensor]:
    """Run the rule on packed sequences, with outputs of zero behind them."""
    bounds = bounds or [0, case["q"].shape[1]]
    o, S = scan({key: x if key == "initial_state" else x[:, : bounds[-1]] for key, x in case.items()}, bounds)
    return torch.cat([o, 0 * case["v"][:, bounds[-1] :]], 1), S


def with_gradients(run: Callable[[Case], tuple[Tensor, Tensor]], case: Case) -> Case:
    """Return outputs, memories, and the gradients of a loss over both."""
    leaves = {key: x.detach().clone().requires_grad_() for key, x in case.items()}
    o, S = run(leaves)
    generator = torch.Generator().manual_seed(1)
    of_o, of_S = (torch.randn(x.shape, generator=generator).to(x) for x in (o, S))
    loss = (o * of_o).sum() + (S * of_S).sum().to(o.dtype)
    gradients = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True, materialize_grads=True)
    return {"o": o.detach(), "S": S.detach()} | {f"d{key}": x for key, x in zip(leaves, gradients, strict=True)}


def assert_near(got: Case, want: Case, eps: float) -> None:
    for key, x in want.items():
        assert got[key].shape == x.shape
        error = (got[key].double() - x).norm() / (x.norm() + 1e-30)
        assert error <= eps, f"{key}: off by {error:.1e}"  # False for NaN, too


@pytest.fixture
def poisoned_memory() -> Iterator[None]:
    """Fill whatever is allocated with NaN: what was not written is seen."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = True
    yield
    torch.use_deterministic_algorithms(False)


def assert_within_budget(rule: str, case: Case) -> Case:
    """Expect every number to err at most twice as much as the worst of the plain scan in float32."""
    got = with_gradients(lambda x: call("chunk", rule, x), case)
    plain = with_gradients(lambda x: scan(x, dtype=torch.float32), case)
    for key, want in with_gradients(scan, {key: x.double() for key, x in case.items()}).items():
        budget = 2 * (plain[key].double() - want).abs().amax() + torch.finfo(torch.float32).eps * want.abs().amax()
        error = (got[key].double() - want).abs().amax()
        assert error <= budget, f"{key}: off by {error:.1e} of {budget:.1e}"
    return got


@pytest.mark.parametrize("rule", GATES)
def test_gradients_are_within_the_error_budget(rule: str, poisoned_memory: None) -> None:
    assert_within_budget(rule, draw(rule, H=2 if rule == "gla" else 1))


def test_the_budget_of_gradients_holds_where_every_token_undoes_the_one_before() -> None:
    case = draw("kda", T=70, HV=1)
    along = F.normalize(torch.ones(20, device=DEVICE), dim=0)
    case |= {"k": F.normalize(case["k"] + 3 * along, dim=-1), "beta": 2 - 0.05 * case["beta"]}
    case["g"] = 0.05 * case["g"].clamp(min=-1)
    assert_within_budget("kda", case)


@pytest.mark.parametrize("rule", GATES)
def test_the_budget_of_gradients_holds_where_every_channel_forgets_at_every_token(rule: str) -> None:
    """The gradient of g is smaller than a rounding of the products that do not decay."""
    case = draw(rule, T=70)
    case["g"] = case["g"].clamp(min=-1) - 40
    assert_within_budget(rule, case)


@pytest.mark.parametrize(
    ("rule", "T", "H", "HV", "K", "V"),
    [
        ("kda", 1, 1, 1, 1, 1), ("gdn2", 31, 1, 1, 3, 70), ("gla", 32, 2, 4, 40, 1), ("kda", 65, 1, 2, 36, 3),
        ("gdn2", 33, 1, 2, 40, 5),
    ],
)  # fmt: skip
def test_sizes_that_break_blocks_give_the_gradients_of_the_rule(
    rule: str, T: int, H: int, HV: int, K: int, V: int, poisoned_memory: None
) -> None:
    case = draw(rule, T=T, H=H, HV=HV, K=K, V=V)
    want = with_gradients(scan, {key: x.double() for key, x in case.items()})
    assert_near(with_gradients(lambda x: call("chunk", rule, x), case), want, 1e-6)


@pytest.mark.parametrize("rule", GATES)
def test_gradients_of_packed_sequences_are_apart_in_either_layout_and_zero_behind(
    rule: str, poisoned_memory: None
) -> None:
    bounds = [0, 3, 3, 37, 38]
    case = draw(rule, T=45, N=4)
    cu_seqlens = torch.tensor(bounds, dtype=torch.int32, device=DEVICE)
    want = with_gradients(lambda x: apart(x, bounds), {key: x.double() for key, x in case.items()})

    def in_layout(x: Case) -> tuple[Tensor, Tensor]:
        if rule == "kda":
            return call("chunk", rule, x, cu_seqlens=cu_seqlens)
        x = x | {"initial_state": x["initial_state"].mT}
        o, S = call("chunk", rule, x, cu_seqlens=cu_seqlens, state_v_first=True)
        return o, S.mT

    got = with_gradients(in_layout, case)
    assert_near(got, want, 1e-6)
    assert not any(got[f"d{key}"][:, 38:].any() for key in case if key != "initial_state")


def test_numbers_of_one_sequence_reach_no_gradient_of_another() -> None:
    case = draw("kda", T=12, N=3, K=5, V=4)
    cu_seqlens = torch.tensor([0, 4, 9, 12], dtype=torch.int32, device=DEVICE)
    clean = with_gradients(lambda x: call("chunk", "kda", x, cu_seqlens=cu_seqlens), case)
    for key in ("q", "k", "v", "g", "beta") if CUDA else ("k", "v"):
        spoilt = case | {key: case[key].clone()}
        spoilt[key][:, 4:9] = math.nan
        got = with_gradients(lambda x: call("chunk", "kda", x, cu_seqlens=cu_seqlens), spoilt)
        assert any(x.isnan().any() for x in got.values())
        for name, x in clean.items():
            others = [slice(0, 1), slice(2, 3)] if name in ("S", "dinitial_state") else [slice(0, 4), slice(9, 12)]
            for at in others:
                part = (at,) if name in ("S", "dinitial_state") else (slice(None), at)
                assert torch.equal(got[name][part], x[part]), (key, name)


@pytest.mark.parametrize("rule", GATES)
def test_values_that_are_not_finite_touch_no_gradient_of_an_earlier_token(rule: str) -> None:
    case = draw(rule, K=5, V=4)
    clean = with_gradients(lambda x: call("chunk", rule, x), case)
    case["v"][:, 20:, 1, 2:] = math.inf
    got = with_gradients(lambda x: call("chunk", rule, x), case)
    assert torch.equal(got["dinitial_state"], clean["dinitial_state"]) and torch.equal(got["dv"], clean["dv"])
    for key in (f"d{key}" for key in case if key not in ("v", "initial_state")):
        torch.testing.assert_close(got[key][:, :20], clean[key][:, :20], rtol=1e-5, atol=1e-6)
        spoilt = got[key][:, 21:] if key in ("dq", "dk") else got[key][:, 21:, 1]
        assert key == "dw" or spoilt.isnan().all(), key
        assert key in ("dq", "dk") or torch.equal(got[key][:, :, 0], clean[key][:, :, 0]), key


@pytest.mark.parametrize("rule", ["kda", "gdn2"])
def test_gradients_take_decays_of_any_strength_and_gates_at_both_ends(rule: str) -> None:
    case = draw(rule, T=40, HV=1, K=6, V=3)
    case["g"][:, 3:11] = torch.tensor([-1e3, -1e15, -math.inf, -800.0, -105.0, -60.0], device=DEVICE)
    case["g"][:, 11:30] = -40.0  # sums that overflow, were they positive
    case["g"][:, 30:] = 0.0
    for key in ("beta", "b", "w"):
        if key in case:
            case[key][:, ::3] = 0.0
            case[key][:, 1::3] = 1.0
    got = assert_within_budget(rule, case)
    assert all(x.isfinite().all() for x in got.values())
    assert not got["dg"][:, 3:11, :, :4].any()


@pytest.mark.parametrize("widths", ["g", "g b", "beta w", "w"])
def test_gates_of_other_widths_have_gradients(widths: str) -> None:
    """The kernels take every width; no function has these."""
    case = draw("gdn2", T=33, HV=1, K=40, V=3)
    q, k, v, g, b, w, S = case.values()
    given = {
        "g": (g[..., 1], None, None), "g b": (g[..., 0], b, w), "beta w": (g, b[..., 0], w[..., 0]),
        "w": (None, None, w),
    }[widths]  # fmt: skip
    gates = [None if x is None else x.contiguous() for x in given]
    do, dS = torch.randn_like(v), torch.randn_like(S)
    got = channels.backward(do, dS, q, k, v, *gates, scale=0.3, initial_state=S)
    leaves = [None if x is None else x.double().requires_grad_() for x in (q, k, v, *gates, S)]
    o, end = torch_channels.forward(*leaves[:6], scale=0.3, initial_state=leaves[6], guarded=True)
    total = (o * do).sum() + (end * dS).sum()
    want = torch.autograd.grad(total, [x for x in leaves if x is not None])
    for x, exact in zip((x for x in got if x is not None), want, strict=True):
        torch.testing.assert_close(x.double(), exact, rtol=1e-5, atol=1e-5)


def test_gradients_in_slices_are_those_of_whole_products(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU for which Triton has no matrix instruction for float64."""
    for name in ("prepare", "scan", "scans", "gradients"):
        monkeypatch.setattr(importlib.import_module(f"gdn_core.ops.kernels.channels.{name}"), "sliced", lambda x: True)
    case = draw("kda", T=33, HV=1, K=5, V=3)
    want = with_gradients(scan, {key: x.double() for key, x in case.items()})
    assert_near(with_gradients(lambda x: call("chunk", "kda", x), case), want, 1e-6)


def test_gradients_are_the_same_bits_each_time_also_by_a_plan() -> None:
    case = draw("gdn2", T=5, K=5, V=4)
    want = with_gradients(lambda x: call("chunk", "gdn2", x), case)
    for _ in range(2):  # planned the second time
        got = with_gradients(lambda x: call("chunk", "gdn2", x), case)
        assert all(torch.equal(got[key], x) for key, x in want.items())
    assert any(plan is not None for plan in planned._by_channel_backward._plans.values())


def test_second_derivatives_and_transforms_are_those_of_plain_pytorch() -> None:
    case = draw("kda", T=5, K=3, V=2)

    def penalty(x: Case, backend: str) -> Tensor:
        leaves = {key: y.detach().clone().requires_grad_() for key, y in x.items()}
        o, S = call("chunk", "kda", leaves, backend=backend)
        first = torch.autograd.grad(o.square().sum() + S.sum(), list(leaves.values()), create_graph=True)
        return torch.autograd.grad(sum(y.square().sum() for y in first), leaves["k"])[0]

    torch.testing.assert_close(penalty(case, BACKEND), penalty(case, "torch"), rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="does not take it: kernels have no forward-mode derivatives"):
        torch.func.grad(lambda v: call("chunk", "kda", case | {"v": v})[0].sum())(case["v"])


def test_the_operators_on_kernels_pass_the_checks_of_pytorch() -> None:
    case = draw("gdn2", T=5, K=3, V=2)
    q, k, v, g, b, w, S = (x.requires_grad_() for x in case.values())
    arguments = (q, k, v, g, b, S, None, 0.3, False, True, True, BACKEND, w)
    torch.library.opcheck(torch.ops.gdn_core.chunk, arguments, test_utils=("test_schema", "test_faketensor"))
    dS = torch.zeros_like(S)
    arguments = (torch.zeros_like(v), dS, q, k, v, g, b, S, None, [], 0.3, False, BACKEND, w)
    torch.library.opcheck(torch.ops.gdn_core.chunk_backward, arguments, test_utils=("test_schema", "test_faketensor"))


@pytest.mark.skipif(not CUDA, reason="the interpreter has no bfloat16")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    ("T", "H", "HV", "K", "V"), [(150, 2, 4, 128, 128), (65, 1, 1, 256, 256), (97, 1, 3, 100, 40), (300, 1, 2, 64, 17)]
)
@pytest.mark.parametrize("rule", GATES)
def test_gradients_of_narrow_inputs(rule: str, T: int, H: int, HV: int, K: int, V: int, dtype: torch.dtype) -> None:
    case = draw(rule, T=T, H=H, HV=HV, K=K, V=V)
    case = {key: x.to(dtype if key in "qkv" else torch.float32) for key, x in case.items()}
    want = with_gradients(scan, {key: x.double() for key, x in case.items()})
    got = with_gradients(lambda x: call("chunk", rule, x), case)
    assert got["dg"].dtype is torch.float32 and got["dk"].dtype is dtype
    assert_near(got, want, 4 * torch.finfo(torch.bfloat16).eps)


@pytest.mark.skipif(not CUDA, reason="it needs an NVIDIA GPU")
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("rule", GATES)
def test_both_passes_are_captured_in_a_graph(rule: str, packed: bool) -> None:
    case = draw(rule, T=100, N=3 if packed else 1, K=64, V=64)
    cu_seqlens = torch.tensor([0, 40, 40, 100], dtype=torch.int32, device=DEVICE) if packed else None
    case = {key: x.to(torch.bfloat16 if key in "qkv" else torch.float32) for key, x in case.items()}
    leaves = {key: x.requires_grad_() for key, x in case.items()}

    def step() -> list[Tensor]:
        o, S = call("chunk", rule, leaves, cu_seqlens=cu_seqlens)
        return list(torch.autograd.grad(o.float().sum() + S.square().sum(), list(leaves.values())))

    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            want = [x.clone() for x in step()]
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        got = step()
    for x in got:
        x.zero_()
    graph.replay()
    assert all(torch.equal(x, y) for x, y in zip(got, want, strict=True))


@pytest.mark.skipif(not CUDA, reason="it needs an NVIDIA GPU")
@pytest.mark.parametrize("rule", GATES)
def test_a_compiler_takes_both_passes_whole(rule: str) -> None:
    case = draw(rule, T=70, K=64, V=64)
    case = {key: x.to(torch.bfloat16 if key in "qkv" else torch.float32) for key, x in case.items()}
    compiled = torch.compile(lambda x: call("chunk", rule, x), fullgraph=True)
    got, want = with_gradients(compiled, case), with_gradients(lambda x: call("chunk", rule, x), case)
    assert all(torch.equal(got[key], x) for key, x in want.items())
