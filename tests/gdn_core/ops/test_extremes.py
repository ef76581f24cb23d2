"""Extreme but legal inputs of the public functions: decays of 0, NaN in padding, 16-bit sums.

Every test compares with the recurrence in float64, or with the same call without what is extreme, bit for bit.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F

if not torch.cuda.is_available():  # read when a kernel is decorated, so before any is imported
    os.environ["TRITON_INTERPRET"] = "1"

from gdn_core.ops import api
from gdn_core.ops.torch import reference as torch_reference

Tensor = torch.Tensor
Case = dict[str, Any]

ORDER = ("q", "k", "v", "g", "beta", "initial_state")
FUNCTIONS: dict[str, tuple[Callable[..., Any], tuple[str, ...]]] = {
    "chunk_gated_delta_rule": (api.chunk_gated_delta_rule, ORDER),
    "fused_recurrent_gated_delta_rule": (api.fused_recurrent_gated_delta_rule, ORDER),
    "chunk_delta_rule": (api.chunk_delta_rule, ("q", "k", "v", "beta", "initial_state")),
    "chunk_simple_gla": (api.chunk_simple_gla, ("q", "k", "v", "g", "initial_state")),
    "chunk_linear_attn": (api.chunk_linear_attn, ("q", "k", "v", "initial_state")),
}
NORMALISED = "chunk_linear_attn, normalised"
DECAYING = [name for name, (_, names) in FUNCTIONS.items() if "g" in names]


def draw(
    name: str = "chunk_gated_delta_rule",
    B: int = 2,
    T: int = 40,
    H: int = 1,
    HV: int = 2,
    K: int = 8,
    V: int = 6,
    dtype: torch.dtype = torch.float32,
) -> Case:
    """Draw what a function takes: unit keys of any sign, beta to 2, a memory to start from."""
    generator = torch.Generator().manual_seed(T + K)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    case = {
        "q": normal(B, T, H, K),
        "k": F.normalize(normal(B, T, H, K), dim=-1),
        "v": normal(B, T, HV, V),
        "g": -normal(B, T, HV).abs(),
        "beta": 2 * normal(B, T, HV).sigmoid(),
        "initial_state": normal(B, HV, K, V),
    }
    return {key: case[key].to(dtype) for key in FUNCTIONS[name][1]}


def call(name: str, case: Case, **options: Any) -> tuple[Tensor, Tensor]:
    if name == "chunk_linear_attn":
        options = {"normalize": False, **options}
    if name == NORMALISED:
        case = case | {"initial_state": (case["initial_state"], None)}
        o, (S, _) = api.chunk_linear_attn(**case, output_final_state=True, scale=0.5, **options)
        return o, S
    return FUNCTIONS[name][0](**case, output_final_state=True, scale=0.5, **options)


def scan(case: Case) -> tuple[Tensor, Tensor]:
    """Run the rule token by token, by the one definition."""
    state, beta = case.get("initial_state"), case.get("beta")
    o, S = torch_reference.recurrent(
        case["q"], case["k"], case["v"], case.get("g"), beta, beta, scale=0.5,
        initial_state=None if state is None else state.mT,
    )  # fmt: skip
    return o, S.mT


def with_gradients(run: Callable[[Case], tuple[Tensor, Tensor]], case: Case, tokens: slice = slice(None)) -> Case:
    """Return outputs, memories and the gradients of a loss over some of the outputs, and the memories if over all."""
    leaves = {key: x.detach().clone().requires_grad_() if x.is_floating_point() else x for key, x in case.items()}
    o, S = run(leaves)
    weights = torch.randn(o.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(o.dtype)
    loss = (o * weights)[:, tokens].sum()
    if tokens == slice(None):
        loss = loss + S.square().sum().to(loss.dtype)
    wanted = {key: x for key, x in leaves.items() if x.requires_grad}
    gradients = torch.autograd.grad(loss, list(wanted.values()), allow_unused=True, materialize_grads=True)
    return {"o": o.detach(), "S": S.detach()} | {f"d{key}": x for key, x in zip(wanted, gradients, strict=True)}


def within_budget(name: str, case: Case, **options: Any) -> Case:
    """Expect outputs, memories and gradients to err at most twice as much as the scan in float32, and 4 roundings."""
    exact = {key: x.double() for key, x in case.items()}
    got = with_gradients(lambda x: call(name, x, **options), case)
    plain, want = with_gradients(scan, case), with_gradients(scan, exact)
    for key, x in want.items():
        budget = 2 * (plain[key].double() - x).abs().amax() + 4 * torch.finfo(torch.float32).eps * x.abs().amax()
        error = (got[key].double() - x).abs().amax()
        assert error <= budget, f"{name} {key}: off by {error:.1e} of {budget:.1e}"
    return got


# --- decays of 0 ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("log", [-math.inf, torch.finfo(torch.float32).min, -1e30, -1e15, -800.0])
@pytest.mark.parametrize("name", DECAYING)
def test_a_decay_of_0_forgets_and_changes_nothing_else(name: str, log: float) -> None:
    for T, places in ((40, [20]), (300, [0, 31, 32, 33, 40, 41, 255, 256, 299])):
        case = draw(name, T=T)
        case["g"][0, places, 0] = log
        got = within_budget(name, case)
        assert (got["dg"][0, places, 0] == 0).all()


@pytest.mark.parametrize("log", [-12.0, -30.0, -80.0])
@pytest.mark.parametrize("name", DECAYING)
def test_the_gradient_of_decays_that_are_all_strong_has_its_digits(name: str, log: float) -> None:
    """It is smaller than a rounding of the products that do not decay."""
    case = draw(name, T=70)
    case["g"] = log + case["g"].clamp(min=-1)
    within_budget(name, case)


@pytest.mark.parametrize("name", DECAYING)
def test_what_follows_a_decay_of_0_is_a_sequence_of_its_own(name: str) -> None:
    case = draw(name, B=1, dtype=torch.float64)
    case["g"][:, 20] = -math.inf
    o, S = call(name, case)
    rest = {key: torch.zeros_like(x) if key == "initial_state" else x[:, 20:] for key, x in case.items()}
    after, end = call(name, rest)
    torch.testing.assert_close(o[:, 20:], after, rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(S, end, rtol=1e-13, atol=1e-13)


def test_packed_sequences_and_16_bits_forget_too() -> None:
    for dtype in (torch.bfloat16, torch.float16):
        case = draw(B=1, dtype=dtype)
        case["initial_state"] = torch.zeros(3, 2, 8, 6)
        case["g"][0, [5, 20]] = -math.inf
        bounds = torch.tensor([0, 3, 17, 40])
        o, S = call("chunk_gated_delta_rule", case, cu_seqlens=bounds)
        for n, (start, stop) in enumerate(((0, 3), (3, 17), (17, 40))):
            own = {key: x[n : n + 1] if key == "initial_state" else x[:, start:stop] for key, x in case.items()}
            want, end = scan({key: x.double() for key, x in own.items()})
            eps = 4 * torch.finfo(dtype).eps
            torch.testing.assert_close(o[:, start:stop].double(), want, rtol=eps, atol=eps)
            torch.testing.assert_close(S[n : n + 1].double(), end, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("A_log", [-200.0, 0.5, 80.0, 100.0, 1000.0, math.inf])
@pytest.mark.parametrize("name", ["chunk_gated_delta_rule", "fused_recurrent_gated_delta_rule"])
def test_a_gate_before_its_activation_may_be_anything(name: str, A_log: float) -> None:
    case = draw(name, T=24)
    case["g"][:, 3::2] = torch.tensor([-1000.0, -200.0, -50.0, 0.3, 30.0, 200.0]).repeat(2)[:11, None]
    parameters = {"A_log": torch.tensor([A_log, 0.1]), "dt_bias": torch.tensor([0.1, -0.2])}

    def ours(given: Case) -> Any:
        return call(name, given, use_gate_in_kernel=True)

    def opened(given: Case) -> Any:
        given = dict(given)
        x = given["g"] + given.pop("dt_bias")
        softplus = torch.logaddexp(x.clamp(min=-500), torch.zeros_like(x)).log()
        logs = torch.where(x < -500, x, softplus) + given.pop("A_log").clamp(max=2000)
        return scan(given | {"g": -logs.clamp(max=600).exp()})

    got = with_gradients(ours, case | parameters)
    want = with_gradients(opened, {key: x.double() for key, x in (case | parameters).items()})
    for key, x in want.items():
        if key == "dA_log" and math.isinf(A_log):
            continue
        torch.testing.assert_close(got[key].double(), x, rtol=1e-4, atol=1e-5 * (1 + x.abs().max().item()), msg=key)


# --- garbage behind the tokens that count ---------------------------------------------------------------------

GARBAGE = [math.nan, math.inf, -math.inf, 3e38]


@pytest.mark.parametrize("T", [40, 300])
@pytest.mark.parametrize("name", [*FUNCTIONS, NORMALISED])
def test_no_number_reaches_the_outputs_and_gradients_of_earlier_tokens(name: str, T: int) -> None:
    t = T - 19
    clean = draw(name.partition(",")[0], T=T)
    if name == NORMALISED:
        clean["q"], clean["k"] = clean["q"].exp(), clean["k"].exp()
    want = with_gradients(lambda x: call(name, x), clean, slice(0, t))
    for key in clean:
        for number in GARBAGE:
            if key == "initial_state" or (key == "g" and number > 0):
                continue
            case = {each: x.clone() for each, x in clean.items()}
            case[key][0, t:] = number
            got = with_gradients(lambda x: call(name, x), case, slice(0, t))
            assert torch.equal(got["o"][:, :t], want["o"][:, :t]), (key, number)
            assert torch.equal(got["o"][1], want["o"][1])  # the other sequence
            for each in ("q", "k", "v", "g", "beta"):
                if each in case:
                    assert torch.equal(got[f"d{each}"], want[f"d{each}"]), (key, number, each)
            if key != "g" or math.isnan(number):
                assert not got["o"][0, t:].isfinite().all() or number == 3e38


@pytest.mark.parametrize("name", ["chunk_gated_delta_rule", "fused_recurrent_gated_delta_rule"])
def test_garbage_in_one_packed_sequence_or_head_stays_there(name: str) -> None:
    clean = draw(name, B=1)
    clean["initial_state"] = torch.cat([clean["initial_state"]] * 3)
    bounds = torch.tensor([0, 13, 26, 39])
    want, S = call(name, clean, cu_seqlens=bounds)
    case = {each: x.clone() for each, x in clean.items()}
    case["v"][0, 20, 1], case["k"][0, 39] = math.nan, math.inf
    got, end = call(name, case, cu_seqlens=bounds)
    touched = torch.zeros(40, 2, dtype=torch.bool)
    touched[20:26, 1] = True
    assert torch.equal(got[0, ~touched], want[0, ~touched]) and got[0, touched].isnan().any(-1).all()
    kept = torch.ones(3, 2, dtype=torch.bool)
    kept[1, 1] = False
    assert torch.equal(end[kept], S[kept]) and end[1, 1].isnan().any()


def test_a_guarded_run_has_the_bits_of_an_unguarded_one() -> None:
    from gdn_core.ops.torch import chunk

    case = draw(T=300)
    *inputs, state = (case[key] for key in ORDER)
    results = []
    for guarded in (False, True):
        kept = chunk.room(case["v"], 8, spans=2, chunks=10)
        o, S = chunk.forward(*inputs, scale=0.5, initial_state=state, kept=kept, guarded=guarded)
        gradients = chunk.backward(o, S, *inputs, scale=0.5, kept=kept, guarded=guarded)
        results.append((o, S, *gradients))
    for first, second in zip(*results, strict=True):
        assert torch.equal(first, second)


def test_a_packed_buffer_may_be_longer_than_its_sequences_with_zeros_behind_them() -> None:
    bounds = torch.tensor([0, 3, 3, 36])
    for name in FUNCTIONS:
        case = draw(name, B=1, T=40)
        case["initial_state"] = torch.cat([case["initial_state"]] * 3)
        case["v"][:, 36:] = math.nan

        def packed(given: Case, name: str = name) -> Any:
            return call(name, given, cu_seqlens=bounds)

        got = with_gradients(packed, case)
        want = with_gradients(packed, {key: x if key == "initial_state" else x[:, :36] for key, x in case.items()})
        for key, x in got.items():
            if key in ("S", "dinitial_state"):
                assert torch.equal(x, want[key])
                continue
            assert (x[:, 36:] == 0).all(), (name, key)
        assert torch.equal(got["o"][:, :36], want["o"])
        with torch.no_grad():
            o, S = packed(case)
        torch.testing.assert_close(o, got["o"], rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(S, got["S"], rtol=1e-5, atol=1e-5)


# --- dtypes ---------------------------------------------------------------------------------------------------


def test_a_sum_of_thousands_in_float16_is_divided_before_it_is_rounded() -> None:
    generator = torch.Generator().manual_seed(0)
    q, k = (F.elu(torch.randn(1, 8192, 1, 64, generator=generator)).add(1).half() for _ in range(2))
    v = torch.randn(1, 8192, 2, 16, generator=generator).half()
    o, (memory, keys) = api.chunk_linear_attn(q, k, v, output_final_state=True)
    keys_so_far = k.double().cumsum(1)
    sums = (q.double() * keys_so_far).sum(-1)
    outer = torch.einsum("btk,bthv->bthkv", k[:, :, 0].double(), v.double()).cumsum(1)
    want = torch.einsum("btk,bthkv->bthv", q[:, :, 0].double(), outer) / sums[..., None]
    eps = torch.finfo(torch.float16).eps
    torch.testing.assert_close(o.double(), want, rtol=eps, atol=1e-6)
    assert o.dtype is torch.float16 and memory.dtype is keys.dtype is torch.float32
    torch.testing.assert_close(keys[:, 0].double(), keys_so_far[:, -1], rtol=1e-5, atol=1e-3)
    leaves = [x.clone().requires_grad_() for x in (q, k, v)]
    api.chunk_linear_attn(*leaves)[0].float().square().sum().backward()
    wide = [x.float().requires_grad_() for x in (q, k, v)]
    api.chunk_linear_attn(*wide)[0].half().float().square().sum().backward()
    for x, y in zip(leaves, wide, strict=True):
        torch.testing.assert_close(x.grad.float(), y.grad, rtol=2 * eps, atol=1e-6)


@pytest.mark.parametrize("T", [9, 40])
@pytest.mark.parametrize("name", [*FUNCTIONS, NORMALISED])
def test_autocast_changes_no_bit(name: str, T: int) -> None:
    case = draw(name.partition(",")[0], T=T)

    def under(given: Case) -> Any:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return call(name, given)

    want = with_gradients(lambda x: call(name, x), case)
    with torch.autocast("cpu", dtype=torch.bfloat16):  # the backward pass too
        got = with_gradients(under, case)
    for key, x in want.items():
        assert torch.equal(got[key], x), key
    with torch.no_grad():
        for got_x, x in zip(under(case), call(name, case), strict=True):
            assert torch.equal(got_x, x)


@pytest.mark.parametrize("dtypes", ["float32 bfloat16", "float32 float16", "bfloat16 float32", "bfloat16 float16"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_mixed_dtypes_are_computed_in_the_wider_and_returned_in_that_of_v(name: str, dtypes: str) -> None:
    of_keys, of_values = (getattr(torch, dtype) for dtype in dtypes.split())
    case = draw(name)
    case |= {key: case[key].to(of_keys) for key in "qk"} | {"v": case["v"].to(of_values)}
    got = with_gradients(lambda x: call(name, x), case)
    want = with_gradients(lambda x: call(name, x), {key: x.float() for key, x in case.items()})
    eps = torch.finfo(of_values).eps
    assert got["o"].dtype is of_values and got["S"].dtype is torch.float32
    torch.testing.assert_close(got["o"].float(), want["o"], rtol=eps, atol=eps)
    for key, x in case.items():
        assert got[f"d{key}"].dtype is x.dtype


class Float64Made(AssertionError):
    """An operation made numbers that the device does not have."""


class NoFloat64(torch.utils._python_dispatch.TorchDispatchMode):
    """A device without float64, as far as one can tell on another."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = function(*args, **(kwargs or {}))
        for x in torch.utils._pytree.tree_leaves(made):
            if isinstance(x, Tensor) and x.dtype is torch.float64 and "gdn_core" not in str(function):
                raise Float64Made(str(function))
        return made


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_device_without_float64_takes_float32_within_its_own_budget(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gdn_core.ops.torch import chunk, precision

    monkeypatch.setattr(precision, "has_float64", lambda device: False)
    case = draw(name, T=300)
    if "g" in case:
        case["g"][0, 5::23], case["g"][0, 200] = -90, -math.inf

    def on_device(given: Case) -> Any:
        with NoFloat64():
            return call(name, given)

    leaves = {key: x.clone().requires_grad_() for key, x in case.items()}
    o, S = on_device(leaves)
    loss = o.square().sum() + S.square().sum()
    with NoFloat64():
        gradients = torch.autograd.grad(loss, list(leaves.values()))
        with torch.no_grad():
            short, _ = call(name, {key: x if key == "initial_state" else x[:, :9] for key, x in case.items()})
    got = {"o": o, "S": S} | dict(zip(leaves, gradients, strict=True))
    results = []
    for given in (case, {key: x.double() for key, x in case.items()}):
        given = {key: x.clone().requires_grad_() for key, x in given.items()}
        o, S = scan(given)
        gradients = torch.autograd.grad(o.square().sum() + S.square().sum(), list(given.values()))
        results.append({"o": o, "S": S} | dict(zip(given, gradients, strict=True)))
    torch.testing.assert_close(short, o[:, :9].float(), rtol=1e-4, atol=1e-4)
    for key, want in results[1].items():
        plain = (results[0][key].double() - want).abs().amax()
        budget = chunk.BUDGET_WITHOUT * plain + torch.finfo(torch.float32).eps * want.abs().amax()
        assert (got[key].double() - want).abs().amax() <= budget, key


# --- no tokens, and many short sequences ----------------------------------------------------------------------


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_no_tokens_give_no_outputs_and_the_state(name: str, packed: bool) -> None:
    for dtype in (torch.float32, torch.bfloat16):
        case = {key: x if key == "initial_state" else x[:, :0].to(dtype) for key, x in draw(name).items()}
        options = {}
        if packed:
            case = {key: x if key == "initial_state" else x[:1] for key, x in case.items()}
            options = {"cu_seqlens": torch.tensor([0, 0, 0])}
        got = with_gradients(lambda x, options=options: call(name, x, **options), case)
        assert got["o"].shape == case["v"].shape and got["o"].dtype is dtype
        assert torch.equal(got["S"], case["initial_state"])
        assert torch.equal(got["dinitial_state"], 2 * case["initial_state"])
        assert got["dk"].shape == case["k"].shape
        case["initial_state"] = None
        with torch.no_grad():
            o, S = call(name, case, **options)
        assert o.shape == case["v"].shape and S.shape == (2, 2, 8, 6) and not S.any()
    if name == "chunk_linear_attn":
        o, (memory, keys) = api.chunk_linear_attn(case["q"], case["k"], case["v"], output_final_state=True, **options)
        assert o.shape == case["v"].shape and not memory.any() and keys.shape == (2, 1, 1, 8) and not keys.any()


@pytest.mark.parametrize("name", ["chunk_gated_delta_rule", "fused_recurrent_gated_delta_rule"])
def test_sequences_of_one_length_are_run_as_a_batch(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes the time of short sequences is the number of runs."""
    from gdn_core.ops.torch import chunk, recurrent

    runs: list[int] = []
    for module, function in ((chunk, "forward"), (chunk, "backward"), (recurrent, "recurrent")):
        run = getattr(module, function)
        monkeypatch.setattr(
            module, function, lambda *args, run=run, **options: runs.append(args[0].shape[0]) or run(*args, **options)
        )
    lengths = torch.randint(1, 8, (512,), generator=torch.Generator().manual_seed(0))
    bounds = F.pad(lengths.cumsum(0), (1, 0))
    case = draw(name, B=1, T=int(bounds[-1]), HV=1)
    case["initial_state"] = case["initial_state"].expand(512, -1, -1, -1)
    with_gradients(lambda x: call(name, x, cu_seqlens=bounds), case)
    with torch.no_grad():
        call(name, case, cu_seqlens=bounds)
    assert sum(runs) == 3 * 512 and len(runs) <= 3 * (7 + 2)
