"""What holds of fla's functions holds of these: signatures, errors, and numbers at the sizes of fla's own tests.

The sizes and tolerances are those of tests/ops in flash-linear-attention at v0.6.0. The largest sizes need a GPU.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from gdn_core.ops import api, rearranged

Tensor = torch.Tensor
Case = dict[str, Any]

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
MOST_ON_CPU = 40_000  # entries of the values

ARRAYS, STATES = ["q", "k", "v"], ["scale", "initial_state", "output_final_state"]
UNIT, BETA = "use_qk_l2norm_in_kernel", ["use_beta_sigmoid_in_kernel", "allow_neg_eigval"]
SIGNATURES = {
    "chunk_gated_delta_rule": [*ARRAYS, "g", "beta", *STATES, UNIT, *BETA, "state_v_first", "cu_seqlens",
                               "cu_seqlens_cpu", "chunk_indices", "cp_context"],
    "fused_recurrent_gated_delta_rule": [*ARRAYS, "g", "gk", "gv", "beta", *STATES, UNIT, "use_gate_in_kernel", "A_log",
                                         "dt_bias", *BETA, "state_v_first", "cu_seqlens"],
    "chunk_delta_rule": [*ARRAYS, "beta", *STATES, UNIT, "cu_seqlens", "cu_seqlens_cpu"],
    "fused_recurrent_delta_rule": [*ARRAYS, "beta", *STATES, UNIT, "cu_seqlens"],
    "chunk_simple_gla": [*ARRAYS, "g", "g_gamma", *STATES, "state_v_first", "cu_seqlens", "cu_seqlens_cpu"],
    "fused_recurrent_simple_gla": [*ARRAYS, "g", "g_gamma", *STATES, "reverse", "state_v_first", "cu_seqlens"],
    "chunk_retention": [*ARRAYS, *STATES, "cu_seqlens"],
    "fused_recurrent_retention": [*ARRAYS, *STATES, "reverse", "state_v_first", "cu_seqlens"],
    "chunk_linear_attn": [*ARRAYS, *STATES, "normalize", "cu_seqlens"],
    "fused_recurrent_linear_attn": [*ARRAYS, *STATES, "reverse", "normalize", "cu_seqlens"],
}  # fmt: skip


@pytest.mark.parametrize("name", SIGNATURES)
def test_the_signatures_are_those_of_fla(name: str) -> None:
    parameters = inspect.signature(getattr(api, name)).parameters.values()
    assert [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD] == SIGNATURES[name]


# --- numbers ------------------------------------------------------------------------------------------------------


def recurrence(
    case: Case, scale: float, bounds: list[int] | None = None, reverse: bool = False
) -> tuple[Tensor, Tensor]:
    """Run any rule of the family token by token in float64, sequence by sequence."""
    x = {name: y.double() for name, y in case.items()}
    (B, _, HV, V), K = x["v"].shape, x["k"].shape[3]
    x |= {name: x[name].repeat_interleave(HV // x[name].shape[2], 2) for name in "qk"}
    if "beta" in x and x["beta"].ndim == 3:
        x["beta"] = x["beta"][..., None]
    start = x.pop("initial_state", torch.zeros(B if bounds is None else len(bounds) - 1, HV, K, V, device=DEVICE))
    if bounds is None:
        return scan(x, start.double(), scale, reverse)
    parts = [
        scan({name: y[:, first:last] for name, y in x.items()}, start[n : n + 1].double(), scale, reverse)
        for n, (first, last) in enumerate(pairwise(bounds))
    ]
    padding = torch.zeros_like(x["v"][:, bounds[-1] :])
    return torch.cat([*(o for o, _ in parts), padding], 1), torch.cat([S for _, S in parts])


def scan(x: Case, S: Tensor, scale: float, reverse: bool) -> tuple[Tensor, Tensor]:
    """Run one sequence of each row, [B, T, HV, ...], from a memory [B, HV, K, V]."""
    T = x["v"].shape[1]
    outputs: list[Tensor] = []
    for t in reversed(range(T)) if reverse else range(T):
        now = {name: y[:, t] for name, y in x.items()}
        for name, axes in (("g", (-1, -1)), ("gk", (-1,)), ("gv", (-2,))):
            if name in now:
                factor = now[name].exp()
                for axis in axes:
                    factor = factor.unsqueeze(axis)
                S = factor * S
        key, value = now["k"], now["v"]
        if "b" in now:
            value = now["w"] * value - ((now["b"] * key)[..., None] * S).sum(-2)
        elif "beta" in now:
            value = now["beta"] * (value - (key[..., None] * S).sum(-2))
        S = S + key[..., None] * value[..., None, :]
        outputs.append(scale * (now["q"][..., None] * S).sum(-2))
    if not outputs:
        return torch.zeros_like(x["v"]), S
    return torch.stack(outputs[::-1] if reverse else outputs, 1), S


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed + sum(shape)), dtype=torch.float64)


def compare(got: Callable[[Case], Any], want: Callable[[Case], Any], case: Case, ratios: dict[str, float]) -> None:
    """Compare outputs, memories and gradients as fla does: the root mean square of the error over that of the value."""
    found = []
    for run in (got, want):
        leaves = {name: x.detach().clone().requires_grad_() for name, x in case.items()}
        o, S = run(leaves)
        loss = (o.double() * normal(*o.shape).to(o.device)).sum() + (S.double() * normal(*S.shape).to(S.device)).sum()
        gradients = torch.autograd.grad(loss, list(leaves.values()))
        found.append({"o": o, "S": S} | {f"d{name}": x for name, x in zip(leaves, gradients, strict=True)})
    for name, x in found[1].items():
        got_x, x = found[0][name].double(), x.double()
        error = (got_x - x).square().mean().sqrt() / (x.square().mean().sqrt() + 1e-8)
        limit = ratios.get(name, ratios[""])
        assert error <= limit, f"{name}: off by {error:.1e} of its size, at most {limit:.0e}"


CHANNELS = {"kda": "beta", "gdn2": "bw", "gla": ""}
GATED = {"": 0.008, "o": 0.005, "S": 0.005, "dbeta": 0.02, "dg": 0.02, "db": 0.02, "dw": 0.02}
ADDED = {"": 0.005, "o": 0.004}


def drawn(
    name: str, B: int, T: int, H: int, HV: int, D: int, normalizer: float, mask: float, dtype: torch.dtype, N: int = 0
) -> Case:
    """Draw what fla's tests of a function draw: gates are log sigmoids over a divisor, some of them masked."""
    family = name.removeprefix("chunk_").removeprefix("fused_recurrent_")
    gate = (B, T, HV, D) if family in CHANNELS else (B, T, HV)
    g = F.logsigmoid(normal(*gate, seed=1)) / normalizer
    if mask:
        g = g * (torch.rand(gate, generator=torch.Generator().manual_seed(5), dtype=torch.float64) > mask)
    erases = "delta_rule" in family or family in ("kda", "gdn2")
    q, k = normal(B, T, H, D, seed=2), normal(B, T, H, D, seed=3)
    if erases:
        q, k = F.normalize(q, dim=-1), F.normalize(k, dim=-1)
    case = {"q": q.to(dtype), "k": k.to(dtype), "v": normal(B, T, HV, D, seed=4).to(dtype)}
    if family not in ("delta_rule", "linear_attn", "retention"):
        case["g"] = g.float()
    if "delta_rule" in family or family == "kda":
        case["beta"] = normal(B, T, HV, seed=6).sigmoid().to(dtype)
    if family == "gdn2":
        case |= {name: normal(B, T, HV, D, seed=seed).sigmoid().to(dtype) for seed, name in enumerate("bw", 7)}
    state = normal(N or B, HV, D, D, seed=9).float()
    case["initial_state"] = state if erases else state.sigmoid()  # fla draws it from 0 to 1 there
    return {key: x.to(DEVICE) for key, x in case.items()}


def called(name: str, case: Case, **options: Any) -> tuple[Tensor, Tensor]:
    if name == "fused_recurrent_gla":
        case = {"gk" if key == "g" else key: x for key, x in case.items()}
    return getattr(api, name)(**case, output_final_state=True, **options)


def expected(name: str, case: Case, **options: Any) -> tuple[Tensor, Tensor]:
    case = dict(case)
    if name.endswith(("kda", "_gla", "gdn2")) and "simple" not in name:
        case["gk"] = case.pop("g")
    if name.endswith("retention"):
        heads = torch.arange(case["v"].shape[2], dtype=torch.float64, device=case["v"].device)
        case["g"] = (1 - 2 ** (-5 - heads)).log().expand(case["v"].shape[:3])
    return recurrence(case, **options)


half, single, bf16 = torch.float16, torch.float32, torch.bfloat16
SIZES = [  # function; B, T, H, HV, D, scale, divisor of the gate, share of gates that are masked, dtype
    *(("chunk_gated_delta_rule", *x) for x in [
        (4, 1024, 4, 4, 128, 0.1, 1, 1.0, half), (2, 75, 4, 4, 64, 1, 0.01, 0, half), (2, 500, 3, 3, 60, 1, 1, 0, half),
        (2, 1000, 3, 3, 64, 0.1, 1, 0.5, half), (3, 1024, 4, 4, 100, 1, 0.1, 0, half),
        (2, 1500, 4, 4, 128, 0.1, 10, 0, half), (4, 2048, 8, 8, 64, 0.1, 1, 0, half), (2, 256, 2, 4, 64, 1, 1, 0, half),
        (2, 512, 2, 8, 64, 1, 0.1, 0, half), (1, 64, 2, 4, 32, 0.1, 1, 0, single)]),
    *(("fused_recurrent_gated_delta_rule", *x) for x in [
        (1, 63, 1, 1, 64, 1, 1, 0, single), (2, 500, 4, 4, 60, 1, 1, 0, single),
        (2, 1000, 2, 8, 128, 1, 0.1, 0, single), (2, 1024, 4, 8, 128, 1, 10, 0, half)]),
    *(("chunk_delta_rule", *x) for x in [
        (2, 56, 3, 3, 60, 60**-0.5, 1, 0, half), (2, 211, 3, 3, 110, 110**-0.5, 1, 0, half),
        (2, 400, 3, 3, 200, 200**-0.5, 1, 0, half)]),
    ("fused_recurrent_delta_rule", 2, 56, 3, 3, 60, 60**-0.5, 1, 0, half),
    *(("chunk_simple_gla", 2, T, 2, 2, D, scale, normalizer, 0, half)
      for T in (1, 15, 63, 300) for D in (64, 32, 100, 256) for scale, normalizer in ((1, 0.1), (0.1, 10))),
    *(("fused_recurrent_simple_gla", 2, T, 2, 2, D, 0.1, normalizer, 0, single)
      for T in (1, 15, 63, 300) for D, normalizer in ((64, 1), (32, 0.1), (100, 10), (256, 1))),
    *(("chunk_linear_attn", 2, T, 2, 2, D, D**-0.5, 1, 0, half) for T in (64, 128) for D in (64, 32, 128)),
    *(("fused_recurrent_linear_attn", 2, T, 2, 2, D, D**-0.5, 1, 0, single) for T in (64, 128) for D in (64, 32, 128)),
    ("chunk_retention", 2, 63, 4, 4, 64, 64**-0.5, 1, 0, half),
    ("fused_recurrent_retention", 2, 63, 4, 4, 64, 64**-0.5, 1, 0, single),
    *(("chunk_kda", *x) for x in [
        (1, 63, 1, 1, 64, 1, 1, 0, half), (2, 500, 3, 3, 60, 1, 1, 0, half), (2, 1000, 3, 3, 64, 0.1, 1, 0.5, half),
        (3, 1024, 4, 4, 100, 1, 0.1, 0, half), (4, 1024, 4, 4, 128, 0.1, 1, 0, half),
        (2, 1500, 4, 4, 128, 0.1, 10, 0, half), (4, 2048, 8, 8, 64, 0.1, 1, 0, half)]),
    *(("fused_recurrent_kda", *x) for x in [
        (1, 64, 1, 1, 64, 1, 1, 0, single), (2, 512, 3, 3, 60, 1, 1, 0, single),
        (3, 1000, 4, 4, 100, 0.1, 1, 0, single), (4, 1024, 4, 4, 128, 0.1, 1, 0, single)]),
    *(("chunk_gdn2", *x) for x in [
        (1, 63, 1, 1, 64, 1, 1, 0, half), (2, 500, 3, 3, 60, 1, 1, 0, half), (3, 1024, 4, 4, 100, 1, 0.1, 0, half),
        (2, 1500, 4, 4, 128, 0.1, 10, 0, half), (4, 2048, 8, 8, 64, 0.1, 1, 0, half)]),
    ("fused_recurrent_gdn2", 1, 64, 1, 1, 64, 1, 1, 0, single),
    *(("chunk_gla", *x) for x in [
        (1, 63, 1, 1, 64, 64**-0.5, 1, 0, half), (2, 1024, 4, 4, 60, 60**-0.5, 1, 0, half),
        (2, 1024, 8, 8, 128, 128**-0.5, 0.1, 0, half), (1, 128, 4, 4, 256, 256**-0.5, 1, 0, half),
        (1, 64, 2, 2, 320, 320**-0.5, 1, 0, half), (1, 128, 4, 4, 512, 512**-0.5, 1, 0, bf16)]),
    *(("fused_recurrent_gla", *x) for x in [
        (1, 63, 1, 1, 64, 64**-0.5, 1, 0, single), (2, 1024, 4, 4, 60, 60**-0.5, 1, 0, single)]),
]  # fmt: skip


@pytest.mark.parametrize("size", SIZES, ids=lambda size: "-".join(map(str, size)))
def test_numbers_at_the_sizes_of_fla(size: tuple[Any, ...]) -> None:
    name, B, T, H, HV, D, scale, normalizer, mask, dtype = size
    if DEVICE == "cpu" and B * T * HV * D > MOST_ON_CPU:
        pytest.skip("a size for a GPU")
    case = drawn(name, B, T, H, HV, D, normalizer, mask, dtype)
    options: Case = {"scale": scale}
    if "linear_attn" in name:
        options["normalize"] = False
    limits = ADDED if name.endswith(("gla", "linear_attn", "retention")) else GATED
    if dtype is bf16:
        limits = {"": 0.01}
    compare(lambda x: called(name, x, **options), lambda x: expected(name, x, scale=scale), case, limits)


PACKED = [  # function; H, HV, D, share of gates that are masked, bounds
    *(("chunk_gated_delta_rule", *x) for x in [
        (4, 4, 60, 0, [0, 15]), (2, 4, 64, 0, [0, 256, 500, 1000]), (4, 4, 64, 0.5, [0, 256, 500, 1000]),
        (4, 4, 100, 0, [0, 15, 100, 300, 1200, 2000])]),
    ("chunk_delta_rule", 2, 2, 64, 0, [0, 15, 100, 300, 1203, 2000]),
    ("fused_recurrent_delta_rule", 2, 2, 64, 0, [0, 15, 100]),
    ("chunk_simple_gla", 2, 2, 100, 0, [0, 31, 286]),
    ("fused_recurrent_simple_gla", 2, 2, 64, 0, [0, 31, 63]),
    *((name, 4, 4, D, mask, bounds) for name in ("chunk_kda", "chunk_gdn2", "chunk_gla")
      for D, mask, bounds in ((60, 0, [0, 15]), (64, 0, [0, 0, 16]), (64, 0.5, [0, 256, 500, 1000]),
                              (100, 0, [0, 15, 100, 300, 1200, 2000]))),
    ("chunk_kda", 4, 4, 256, 0, [0, 100, 300, 1200, 3000, 4096]),
    ("fused_recurrent_gla", 4, 4, 64, 0, [0, 15]),
]  # fmt: skip


@pytest.mark.parametrize("size", PACKED, ids=lambda size: "-".join(map(str, size)))
def test_packed_sequences_at_the_sizes_of_fla(size: tuple[Any, ...]) -> None:
    name, H, HV, D, mask, bounds = size
    if DEVICE == "cpu" and bounds[-1] * HV * D > MOST_ON_CPU:
        pytest.skip("a size for a GPU")
    dtype = single if name.startswith("fused") else half
    case = drawn(name, 1, bounds[-1], H, HV, D, 1, mask, dtype, N=len(bounds) - 1)
    cu_seqlens = torch.tensor(bounds, device=DEVICE)
    limits = ADDED if name.endswith("gla") else GATED
    compare(
        lambda x: called(name, x, scale=0.3, cu_seqlens=cu_seqlens),
        lambda x: expected(name, x, scale=0.3, bounds=bounds), case, limits,
    )  # fmt: skip


# --- gates by value channel, and tokens in reverse --------------------------------------------------------------

EXACT = {"": 1e-10}


def gates(B: int, T: int, HV: int, K: int, V: int) -> Case:
    return {
        "g": -normal(B, T, HV, seed=11).square(), "gk": -normal(B, T, HV, K, seed=12).square(),
        "gv": -normal(B, T, HV, V, seed=13).square(), "beta": 2 * normal(B, T, HV, V, seed=14).sigmoid(),
    }  # fmt: skip


@pytest.mark.parametrize("names", ["gv", "g gv", "gk", "g gk", "gk gv beta", "g gk gv beta", "beta", "g beta"])
@pytest.mark.parametrize("state_v_first", [False, True])
def test_each_channel_may_have_a_gate_of_its_own(names: str, state_v_first: bool) -> None:
    B, T, H, HV, K, V = 2, 19, 2, 4, 5, 3
    case = {
        "q": normal(B, T, H, K, seed=1), "k": F.normalize(normal(B, T, H, K, seed=2), dim=-1),
        "v": normal(B, T, HV, V, seed=3), "initial_state": normal(B, HV, K, V, seed=4),
        **{name: x for name, x in gates(B, T, HV, K, V).items() if name in names.split()},
    }  # fmt: skip

    def run(x: Case) -> Any:
        state = x["initial_state"].mT if state_v_first else x["initial_state"]
        o, S = api.fused_recurrent_gated_delta_rule(
            **(x | {"initial_state": state}), scale=0.3, output_final_state=True, state_v_first=state_v_first
        )
        return o, S.mT if state_v_first else S

    def want(x: Case) -> Any:
        return recurrence({"beta": torch.ones(B, T, HV, dtype=torch.float64)} | x, 0.3)

    compare(run, want, case, EXACT)
    with torch.no_grad():  # the decoding form
        torch.testing.assert_close(run(case), want(case), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("bounds", [None, [0, 4, 4, 15, 17]])  # 2 tokens of padding
@pytest.mark.parametrize("rule", ["simple_gla", "gla", "retention", "linear_attn"])
def test_tokens_in_reverse(rule: str, bounds: list[int] | None) -> None:
    name = f"fused_recurrent_{rule}"
    B, T, H, HV, K, V = (2 if bounds is None else 1), 19, 2, 2, 5, 3
    N = B if bounds is None else len(bounds) - 1
    case = {
        "q": normal(B, T, H, K, seed=1), "k": normal(B, T, H, K, seed=2), "v": normal(B, T, HV, V, seed=3),
        "initial_state": normal(N, HV, K, V, seed=4),
    }  # fmt: skip
    drawn = gates(B, T, HV, K, V)
    if "gla" in name:
        case |= {"g": drawn["g"]} if "simple" in name else {"g": drawn["gk"], "gv": drawn["gv"]}
    cu_seqlens = None if bounds is None else torch.tensor(bounds)
    options: Case = {"normalize": False} if "linear" in name else {}
    compare(
        lambda x: called(name, x, scale=0.3, reverse=True, cu_seqlens=cu_seqlens, **options),
        lambda x: expected(name, x, scale=0.3, bounds=bounds, reverse=True), case,
        {"": 1e-7} if rule == "retention" else EXACT,  # its decays are float32 numbers
    )  # fmt: skip


def test_linear_attention_token_by_token_divides_by_the_same_sums() -> None:
    q, k, v = (normal(1, 11, 2, 4, seed=i).square() for i in range(3))
    for reverse in (False, True):
        options = {"normalize": True, "reverse": reverse, "output_final_state": True}
        o, (S, keys) = api.fused_recurrent_linear_attn(q, k, v, **options)
        x = [y.flip(1) if reverse else y for y in (q, k, v)]
        want, (S_want, keys_want) = api.chunk_linear_attn(*x, output_final_state=True)
        torch.testing.assert_close(o, want.flip(1) if reverse else want)
        torch.testing.assert_close((S, keys), (S_want, keys_want))
    with pytest.raises(ValueError, match=r"^initial_state: expected a memory without normalize, got a pair"):
        api.fused_recurrent_linear_attn(q, k, v, initial_state=(S, keys))


def test_reversing_twice_changes_nothing() -> None:
    for bounds in (None, [0, 3, 3, 9], [2, 5, 7]):
        order = rearranged.backwards(12, torch.device("cpu"), None if bounds is None else torch.tensor(bounds))
        assert torch.equal(order[order], torch.arange(12))


# --- errors -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "size", "sentence"), [
    ("chunk_gated_delta_rule", 48, "expected 16, 32 or 64, got 48"),
    ("chunk_delta_rule", 128, "expected 16, 32 or 64, got 128"),
    ("chunk_kda", 16, "expected 32 or 64, got 16"), ("chunk_gdn2", 32, "expected 64, got 32"),
    ("chunk_simple_gla", 48, "expected a power of 2, got 48"), ("chunk_retention", 0, "expected a power of 2, got 0"),
])  # fmt: skip
def test_a_chunk_size_that_fla_refuses_is_refused(name: str, size: int, sentence: str) -> None:
    case = {key: x.cpu() for key, x in drawn(name, 1, 8, 2, 2, 4, 1, 0, single).items()}
    with pytest.raises(ValueError, match=f"^chunk_size: {sentence}"):
        called(name, case, chunk_size=size)
    with pytest.raises(TypeError, match=r"^chunk_size: expected an integer, got 64\.5"):
        called(name, case, chunk_size=64.5)
    assert torch.equal(called(name, case, chunk_size=64)[0], called(name, case)[0])


@pytest.mark.parametrize("name", [
    "chunk_gated_delta_rule", "chunk_delta_rule", "chunk_simple_gla", "chunk_retention", "chunk_kda", "chunk_gdn2",
])  # fmt: skip
def test_head_first_is_refused_as_fla_does(name: str) -> None:
    case = {key: x.cpu() for key, x in drawn(name, 1, 8, 2, 2, 4, 1, 0, single).items()}
    with pytest.raises(DeprecationWarning, match=rf"^{name} does not take head_first: arrays are \[B, T, H, \.\.\.\]"):
        called(name, case, head_first=False)


def test_a_gate_of_another_shape_is_refused_by_its_name() -> None:
    case = drawn("fused_recurrent_gated_delta_rule", 1, 8, 2, 2, 4, 1, 0, single)
    case = {key: x.cpu() for key, x in case.items()}
    for name, spoiled, sentence in (
        ("gv", torch.zeros(1, 8, 2, 3), r"^gv: expected \[B, T, HV, V\] = \[1, 8, 2, 4\], got \[1, 8, 2, 3\]"),
        ("gk", torch.zeros(1, 8, 2, 3), r"^gk: expected \[B, T, HV, K\] = \[1, 8, 2, 4\], got \[1, 8, 2, 3\]"),
        ("beta", torch.zeros(1, 8, 2, 3), r"^beta: expected \[B, T, HV, V\] = \[1, 8, 2, 4\], got \[1, 8, 2, 3\]"),
        ("initial_state", torch.zeros(1, 2, 4, 3), r"^initial_state: expected \[N, HV, K, V\] = \[1, 2, 4, 4\], got"),
    ):
        given = {"gv": torch.zeros(1, 8, 2, 4)} | case | {name: spoiled}
        with pytest.raises(ValueError, match=sentence):
            api.fused_recurrent_gated_delta_rule(**given)
    with pytest.raises(ValueError, match=r"^g: expected \[B, T, HV\] = \[1, 8, 2\], got \[1, 8, 1\]"):
        api.fused_recurrent_gated_delta_rule(**(case | {"g": torch.zeros(1, 8, 1)}), gk=torch.zeros(1, 8, 2, 4))
    with pytest.raises(TypeError, match=r"^gv: expected a torch.Tensor, got float"):
        api.fused_recurrent_gated_delta_rule(**case, gv=0.5)
    with pytest.raises(ValueError, match=r"^v: expected as many heads as k has, 1, got 2"):
        api.chunk_retention(torch.ones(1, 8, 1, 4), torch.ones(1, 8, 1, 4), torch.ones(1, 8, 2, 4))
