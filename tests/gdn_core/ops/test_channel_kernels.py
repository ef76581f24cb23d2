"""The kernels with gates by channel, in Triton's interpreter or on a GPU, against the reference in float64."""

from __future__ import annotations

import math
import os
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


def test_kernels_say_that_they_have_no_gradients() -> None:
    case = draw("kda", T=5)
    case["k"].requires_grad_()
    with pytest.raises(ValueError, match="does not take it: the kernels with a gate for each channel have no"):
        call("chunk", "kda", case)
