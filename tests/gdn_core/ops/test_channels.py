"""The functions with a decay for each channel: against the reference in float64, and what they refuse."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from gdn_core.ops import api
from gdn_core.ops.torch import channels
from gdn_core.ops.torch import chunk as torch_chunk
from gdn_core.ops.torch import reference as torch_reference

Tensor = torch.Tensor
Case = dict[str, Any]

GATES = {"kda": ("g", "beta"), "gla": ("g",), "gdn2": ("g", "b", "w")}
FUNCTIONS: dict[str, tuple[Callable[..., Any], str]] = {
    "chunk_kda": (api.chunk_kda, "kda"),
    "fused_recurrent_kda": (api.fused_recurrent_kda, "kda"),
    "chunk_gla": (api.chunk_gla, "gla"),
    "fused_recurrent_gla": (api.fused_recurrent_gla, "gla"),
    "chunk_gdn2": (api.chunk_gdn2, "gdn2"),
    "fused_recurrent_gdn2": (api.fused_recurrent_gdn2, "gdn2"),
}
CHUNKS = [name for name in FUNCTIONS if name.startswith("chunk")]
NORMALISING = [name for name, (_, rule) in FUNCTIONS.items() if rule != "gla"]
EPS = torch.finfo(torch.float32).eps


def draw(
    name: str, B: int = 2, T: int = 70, H: int = 1, HV: int = 2, K: int = 12, V: int = 7, *, N: int | None = None
) -> Case:
    """Draw keys of any sign and length 1, erase gates to 2, channels that nearly forget, a memory to start from."""
    generator = torch.Generator().manual_seed(T + K)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    g = -normal(B, T, HV, K).square()
    g[:, 5::23, :, ::2] = -90.0
    g[:, 3::7, :, 1::3] = 0.0
    case = {
        "q": normal(B, T, H, K),
        "k": F.normalize(normal(B, T, H, K) + 0.5, dim=-1),
        "v": normal(B, T, HV, V),
        "g": g,
        "beta": 2 * normal(B, T, HV).sigmoid(),
        "b": 2 * normal(B, T, HV, K).sigmoid(),
        "w": normal(B, T, HV, V).sigmoid(),
        "initial_state": normal(B if N is None else N, HV, K, V),
    }
    return {key: case[key] for key in ("q", "k", "v", *GATES[FUNCTIONS[name][1]], "initial_state")}


def to(dtype: torch.dtype, case: Case) -> Case:
    return {key: x.to(dtype) if x.is_floating_point() else x for key, x in case.items()}


def call(name: str, case: Case, **options: Any) -> tuple[Tensor, Tensor]:
    """Call a function with a scale, for outputs and final memories."""
    if name == "fused_recurrent_gla":
        case = {"gk" if key == "g" else key: x for key, x in case.items()}
    return FUNCTIONS[name][0](**case, **{"scale": 0.3, "output_final_state": True} | options)


def rule(case: Case, scale: float = 0.3) -> tuple[Tensor, Tensor]:
    """Run the rule token by token, by the one definition."""
    b = case.get("b", case.get("beta"))
    state = case.get("initial_state")
    o, S = torch_reference.recurrent(
        case["q"], case["k"], case["v"], case.get("g"), b, case.get("w", b), scale=scale,
        initial_state=None if state is None else state.mT,
    )  # fmt: skip
    return o, S.mT


def with_gradients(run: Callable[[Case], tuple[Tensor, Tensor]], case: Case, tokens: slice = slice(None)) -> Case:
    """Return outputs, memories and the gradients of a loss over some of the outputs, and the memories if over all."""
    leaves = {key: x.detach().clone().requires_grad_() for key, x in case.items()}
    o, S = run(leaves)
    generator = torch.Generator().manual_seed(1)
    of_o, of_S = (torch.randn(x.shape, generator=generator, dtype=torch.float64).to(x) for x in (o, S))
    loss = (o * of_o)[:, tokens].sum()
    if tokens == slice(None):
        loss = loss + (S * of_S).sum().to(loss.dtype)
    gradients = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True, materialize_grads=True)
    return {"o": o.detach(), "S": S.detach()} | {f"d{key}": x for key, x in zip(leaves, gradients, strict=True)}


def assert_within_budget(name: str, single: Case) -> Case:
    """Expect outputs, memories and gradients to err at most twice as much as the scan in float32."""
    got = with_gradients(lambda x: call(name, x), single)
    plain, want = with_gradients(rule, single), with_gradients(rule, to(torch.float64, single))
    for key, x in want.items():
        budget = 2 * (plain[key].double() - x).abs().amax() + EPS * x.abs().amax()
        error = (got[key].double() - x).abs().amax()
        assert error <= budget, f"{name} {key}: off by {error:.1e} of {budget:.1e}"
    return got


# --- the rule -------------------------------------------------------------------------------------------------

SIZES = [  # B, T, H, HV, K, V: one token, T under a chunk, ragged tails, several spans, grouped heads, one channel
    (1, 1, 1, 1, 1, 1),
    (2, 31, 2, 4, 5, 3),
    (1, 33, 1, 1, 1, 4),
    (1, 300, 1, 2, 7, 9),
    (2, 65, 1, 3, 33, 1),
]


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_outputs_memories_and_gradients_are_those_of_the_recurrence(name: str, sizes: tuple[int, ...]) -> None:
    case = draw(name, *sizes)
    got, want = with_gradients(lambda x: call(name, x), case), with_gradients(rule, case)
    for key, x in want.items():
        torch.testing.assert_close(got[key], x, rtol=0, atol=1e-11 * (1 + x.abs().max().item()))


@pytest.mark.parametrize("name", CHUNKS)
def test_the_error_in_float32_is_within_twice_that_of_the_plain_scan(name: str) -> None:
    assert_within_budget(name, to(torch.float32, draw(name, 1, 300, 2, 4, 24, 16)))


@pytest.mark.parametrize("log", [-12.0, -30.0, -80.0])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_error_budget_holds_where_every_channel_forgets_at_every_token(name: str, log: float) -> None:
    """The gradient of g is smaller than a rounding of the products that do not decay."""
    case = draw(name, 1, 70, 1, 2, 8, 6)
    gate = "gk" if "gk" in case else "g"
    case[gate] = log + case[gate].clamp(min=-1)
    assert_within_budget(name, to(torch.float32, case))


@pytest.mark.parametrize("name", ["chunk_kda", "chunk_gdn2"])
def test_the_error_budget_holds_where_every_token_undoes_the_one_before(name: str) -> None:
    """Keys that point the same way under an erase gate near 2: an error is a small difference of large numbers."""
    case = draw(name, 1, 300, 2, 2, 24, 16)
    case["k"] = F.normalize(case["k"] + 3 * F.normalize(torch.ones(24, dtype=torch.float64), dim=0), dim=-1)
    erase = "beta" if "beta" in case else "b"
    case[erase] = 2 - 0.05 * case[erase]
    case["g"] = 0.05 * case["g"].clamp(min=-1)
    assert_within_budget(name, to(torch.float32, case))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_few_tokens_without_gradients_are_those_of_the_rule(name: str) -> None:
    for T in (1, 9, 16, 17):
        case = draw(name, T=T)
        want = rule(case)
        for got, exact in zip(call(name, case), want, strict=True):
            torch.testing.assert_close(got, exact)
        for got, exact in zip(call(name, to(torch.float32, case)), want, strict=True):
            torch.testing.assert_close(got, exact.float(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", CHUNKS)
def test_the_gradient_agrees_with_finite_differences(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_chunk, "CHUNK_SIZE", 4)
    monkeypatch.setattr(torch_chunk, "SPAN", 4 * torch_chunk.CHUNKS_AT_ONCE)
    case = draw(name, 1, 7, 1, 2, 3, 2)
    case["g"] = case["g"].clamp(min=-2, max=-0.1)
    leaves = [x.requires_grad_() for x in case.values()]
    assert torch.autograd.gradcheck(lambda *given: call(name, dict(zip(case, given, strict=True))), leaves)
    assert torch.autograd.gradgradcheck(lambda *given: call(name, dict(zip(case, given, strict=True))), leaves)


def test_decays_that_are_equal_in_all_channels_give_the_rules_with_scalar_decays() -> None:
    case = draw("chunk_kda")
    case["g"] = case["g"][..., :1].expand_as(case["g"]).contiguous()
    scalar = case | {"g": case["g"][..., 0]}
    torch.testing.assert_close(
        call("chunk_kda", case), api.chunk_gated_delta_rule(**scalar, scale=0.3, output_final_state=True)
    )
    without = {key: x for key, x in case.items() if key != "beta"}
    scalar.pop("beta")
    torch.testing.assert_close(
        call("chunk_gla", without), api.chunk_simple_gla(**scalar, scale=0.3, output_final_state=True)
    )


def test_gates_of_every_width_run_in_the_one_form() -> None:
    case = draw("chunk_gdn2", 1, 70, 1, 2, 5, 3)
    q, k, v, g, b, w, S = case.values()
    for decay in (g, g[..., 0], None):
        for erase in (b, b[..., 0], None):
            for write in (w, w[..., 0], None):
                if write is None and erase is b:
                    continue  # an erase gate for each channel is no write gate
                got = channels.forward(q, k, v, decay, erase, write, scale=0.3, initial_state=S)
                given = {"g": decay, "b": erase, "w": erase if write is None else write}
                torch.testing.assert_close(got, rule(case | given))


# --- packed sequences, memories, dtypes -------------------------------------------------------------------------


@pytest.mark.parametrize("name", FUNCTIONS)
def test_packed_sequences_are_run_apart_and_padding_is_zero(name: str) -> None:
    bounds = [0, 3, 3, 40, 41, 110, 147]
    case = draw(name, 1, 150, N=len(bounds) - 1)
    cu_seqlens = torch.tensor(bounds)

    def apart(x: Case) -> tuple[Tensor, Tensor]:
        outputs, ends = [], []
        for n, (start, stop) in enumerate(pairwise(bounds)):
            state = x["initial_state"][n : n + 1]
            own = {key: y[:, start:stop] for key, y in x.items() if key != "initial_state"}
            o, S = rule(own | {"initial_state": state}) if stop > start else (own["v"], state)
            outputs.append(o)
            ends.append(S)
        return torch.cat([*outputs, 0 * x["v"][:, bounds[-1] :]], 1), torch.cat(ends)

    got = with_gradients(lambda x: call(name, x, cu_seqlens=cu_seqlens), case)
    for key, want in with_gradients(apart, case).items():
        torch.testing.assert_close(got[key], want, rtol=1e-11, atol=1e-11)
    with torch.no_grad():
        for x, want in zip(call(name, case, cu_seqlens=cu_seqlens), apart(case), strict=True):
            torch.testing.assert_close(x, want, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_other_layout_holds_the_same_memory(name: str) -> None:
    case = draw(name)
    turned = case | {"initial_state": case["initial_state"].mT.contiguous()}
    got = with_gradients(lambda x: call(name, x, state_v_first=True), turned)
    want = with_gradients(lambda x: call(name, x), case)
    torch.testing.assert_close(got["o"], want["o"])
    for key, x in want.items():
        if key not in ("S", "dinitial_state"):
            assert got[key].shape == x.shape
    o, S = call(name, turned, state_v_first=True)
    assert torch.equal(S.mT, call(name, case)[1]) and torch.equal(o, call(name, case)[0])
    if name != "chunk_gla":  # fla's has no other arguments
        with pytest.warns(DeprecationWarning, match="transpose_state_layout is called state_v_first now"):
            former = call(name, turned, transpose_state_layout=True)
        assert torch.equal(former[0], o)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_defaults_are_a_scale_of_one_over_the_root_and_no_memory(name: str) -> None:
    case = draw(name)
    case.pop("initial_state")
    o, S = call(name, case, scale=None, output_final_state=False)
    assert S is None
    torch.testing.assert_close(o, rule(case, 12**-0.5)[0])
    empty, S = call(name, {key: x[:, :0] for key, x in case.items()})
    assert empty.shape == (2, 0, 2, 7) and not S.any()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_narrow_inputs_come_back_narrow_with_a_memory_in_float32(name: str, dtype: torch.dtype) -> None:
    case = draw(name, T=40)
    case = {key: x.to(dtype if key in ("q", "k", "v") else torch.float32) for key, x in case.items()}
    o, S = call(name, case)
    assert o.dtype is dtype and S.dtype is torch.float32
    want, end = rule(to(torch.float64, case))
    eps = 4 * torch.finfo(dtype).eps
    torch.testing.assert_close(o.double(), want, rtol=eps, atol=eps)
    torch.testing.assert_close(S.double(), end, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", NORMALISING)
def test_normalised_queries_and_keys_have_their_epsilon_inside_the_root(name: str) -> None:
    case = draw(name, T=20)
    case["q"], case["k"] = 1e-3 * case["q"], 1e-3 * case["k"]  # so short that the epsilon counts

    def by_hand(x: Case) -> tuple[Tensor, Tensor]:
        unit = {key: x[key] / (x[key].square().sum(-1, keepdim=True) + 1e-6).sqrt() for key in "qk"}
        return rule(x | unit)

    got = with_gradients(lambda x: call(name, x, use_qk_l2norm_in_kernel=True), case)
    for key, want in with_gradients(by_hand, case).items():
        torch.testing.assert_close(got[key], want, rtol=1e-10, atol=1e-10 * want.abs().max().item())
    with torch.no_grad():
        torch.testing.assert_close(call(name, case, use_qk_l2norm_in_kernel=True), by_hand(case))


def test_a_memory_is_left_as_it_was() -> None:
    for name in FUNCTIONS:
        case = draw(name, T=9)
        before = case["initial_state"].clone()
        call(name, case)
        assert torch.equal(case["initial_state"], before)


# --- gates before their activation ------------------------------------------------------------------------------


@pytest.mark.parametrize("bound", [None, -5.0, -0.5])
@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("name", NORMALISING)
def test_log_decays_before_their_activation_are_opened_as_described(
    name: str, biased: bool, bound: float | None
) -> None:
    case = draw(name, T=20)
    case["g"] = 3 * torch.randn(case["g"].shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    case["A_log"] = torch.tensor([-0.5, 1.0], dtype=torch.float64)
    if biased:
        case["dt_bias"] = torch.linspace(-2, 2, 24, dtype=torch.float64)

    def by_hand(x: Case) -> tuple[Tensor, Tensor]:
        raw = x["g"] + (x["dt_bias"].view(2, 12) if biased else 0)
        A = x["A_log"].exp()[:, None]
        return rule(x | {"g": -A * F.softplus(raw) if bound is None else bound * (A * raw).sigmoid()})

    options = {"use_gate_in_kernel": True} | ({} if bound is None else {"lower_bound": bound})
    got = with_gradients(lambda x: call(name, x, **options), case)
    for key, want in with_gradients(by_hand, case).items():
        torch.testing.assert_close(got[key], want, rtol=1e-9, atol=1e-9)
    if bound is not None:
        case.pop("A_log")
        want = rule(case | {"g": bound * (case["g"] + (case["dt_bias"].view(2, 12) if biased else 0)).sigmoid()})
        torch.testing.assert_close(call(name, case, **options), want)
        if name.startswith("chunk"):
            torch.testing.assert_close(call(name, case, **options, safe_gate=True), want)


@pytest.mark.parametrize("A_log", [-200.0, 80.0, 1000.0, math.inf])
@pytest.mark.parametrize("bound", [None, -5.0])
def test_gates_before_their_activation_take_parameters_of_any_size(bound: float | None, A_log: float) -> None:
    case = draw("chunk_kda", T=20)
    case |= {"g": 5 * case["g"] + 3, "A_log": torch.full((2,), A_log, dtype=torch.float64)}
    got = with_gradients(lambda x: call("chunk_kda", x, use_gate_in_kernel=True, lower_bound=bound), case)
    for key, x in got.items():
        assert x.isfinite().all(), key
    if bound is not None and A_log > 0:
        want = rule(case | {"g": torch.where(case["g"] > 0, bound, 0.0).double()})
        torch.testing.assert_close((got["o"], got["S"]), want)


@pytest.mark.parametrize("twice", [True, False])
@pytest.mark.parametrize("name", ["chunk_kda", "fused_recurrent_kda"])
def test_beta_before_its_sigmoid_is_opened_as_described(name: str, twice: bool) -> None:
    case = draw(name, T=20)
    raw = case | {"beta": 4 * case["beta"] - 4}
    got = call(name, raw, use_beta_sigmoid_in_kernel=True, allow_neg_eigval=twice)
    torch.testing.assert_close(got, rule(raw | {"beta": (1 + twice) * raw["beta"].sigmoid()}))


# --- extreme but legal numbers ----------------------------------------------------------------------------------


@pytest.mark.parametrize("log", [-math.inf, torch.finfo(torch.float32).min, -1e15, -800.0, -700.0, -90.0, 0.0])
@pytest.mark.parametrize("name", CHUNKS)
def test_a_channel_that_forgets_changes_no_other(name: str, log: float) -> None:
    for T, places in ((40, [20]), (300, [0, 31, 32, 33, 40, 41, 255, 256, 299])):
        case = to(torch.float32, draw(name, T=T, K=4, V=3))
        case["g"][0, places, 0, 1] = log
        if T == 40:
            case["g"][1, :, 1, 2] = log  # a channel that does at every token
        got = assert_within_budget(name, case)
        assert all(x.isfinite().all() for x in got.values())
        if log <= -800:
            assert (got["dg"][0, places, 0, 1] == 0).all()
    case = draw(name, T=9)
    case["g"][0, 4, 0, 1] = log
    torch.testing.assert_close(call(name.replace("chunk", "fused_recurrent"), case), rule(case))  # token by token


def test_no_exponential_of_a_positive_number_is_formed(monkeypatch: pytest.MonkeyPatch) -> None:
    largest = [-math.inf]
    exp = torch.Tensor.exp

    def watched(x: Tensor) -> Tensor:
        largest[0] = max(largest[0], x.max().item())
        return exp(x)

    monkeypatch.setattr(torch.Tensor, "exp", watched)
    case = draw("chunk_gdn2", T=300)
    case["g"] = 100 * case["g"]
    got = with_gradients(lambda x: call("chunk_gdn2", x), case)
    assert largest[0] == 0.0
    monkeypatch.undo()
    for key, want in with_gradients(rule, case).items():
        torch.testing.assert_close(got[key], want, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("what", ["q", "k", "v", "g", "gates"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_a_token_holds_reaches_no_earlier_token_forward_or_back(name: str, what: str) -> None:
    case = draw(name, T=80)
    clean = with_gradients(lambda x: call(name, x), case, slice(0, 45))
    others = [key for key in ("beta", "b", "w") if key in case]
    names = others if what == "gates" else [what]
    if not names:
        return
    spoilt = {key: x.clone() for key, x in case.items()}
    for key in names:
        spoilt[key][:, 45:] = -math.inf if key == "g" else math.nan
    got = with_gradients(lambda x: call(name, x), spoilt, slice(0, 45))
    assert torch.equal(got["o"][:, :45], clean["o"][:, :45])
    for key in spoilt:
        assert got[f"d{key}"].isfinite().all(), key
        torch.testing.assert_close(got[f"d{key}"], clean[f"d{key}"], rtol=1e-12, atol=1e-12)


def test_not_a_number_comes_out_as_such_where_it_is_read() -> None:
    for name in FUNCTIONS:
        case = draw(name, T=80)
        for key in ("q", "k", "v"):
            spoilt = case | {key: case[key].clone()}
            spoilt[key][0, 45] = math.nan
            o, S = call(name, spoilt)
            assert o[0, 45].isnan().all() and o[1].isfinite().all()
            assert key == "q" or S[0].isnan().any()


# --- as PyTorch operations --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CHUNKS)
def test_transforms_of_torch_func_give_what_autograd_gives(name: str) -> None:
    case = draw(name, T=40, K=4, V=3)
    want = with_gradients(lambda x: call(name, x), case)
    generator = torch.Generator().manual_seed(1)
    of_o, of_S = (torch.randn(want[key].shape, generator=generator, dtype=torch.float64) for key in ("o", "S"))

    def loss(x: Case) -> Tensor:
        o, S = call(name, x)
        return (o * of_o).sum() + (S * of_S).sum()

    for key, x in torch.func.grad(loss)(case).items():
        torch.testing.assert_close(x, want[f"d{key}"])
    _, along = torch.func.jvp(loss, (case,), (case,))
    torch.testing.assert_close(along, sum((want[f"d{key}"] * x).sum() for key, x in case.items()))
    each = torch.vmap(lambda x: call(name, {key: y[None] for key, y in x.items()})[0][0])(case)
    torch.testing.assert_close(each, want["o"])


@pytest.mark.parametrize("name", CHUNKS)
def test_the_operators_pass_the_checks_of_pytorch(name: str) -> None:
    case = to(torch.float32, draw(name, 1, 40, K=5, V=3))
    beta = case.get("b", case.get("beta"))
    leaves = [None if x is None else x.requires_grad_() for x in (*list(case.values())[:4], beta)]
    state, w = case["initial_state"].requires_grad_(), case.get("w")
    w = None if w is None else w.requires_grad_()
    torch.library.opcheck(
        torch.ops.gdn_core.chunk, (*leaves, state, None, 0.3, False, True, True, "torch", w)
    )  # fmt: skip
    plain = [None if x is None else x.detach() for x in (*leaves, state)]
    torch.library.opcheck(
        torch.ops.gdn_core.recurrent,
        (*plain, None, 0.3, False, True, True, "torch", None if w is None else w.detach()),
    )


def test_a_compiler_takes_the_functions_whole() -> None:
    case = to(torch.float32, draw("chunk_kda", T=40))
    compiled = torch.compile(lambda x: call("chunk_kda", x), fullgraph=True, backend="aot_eager")
    got, want = with_gradients(compiled, case), with_gradients(lambda x: call("chunk_kda", x), case)
    for key, x in want.items():
        torch.testing.assert_close(got[key], x)


def test_autocast_changes_no_bit() -> None:
    for name in FUNCTIONS:
        case = to(torch.float32, draw(name, T=20))
        want = with_gradients(lambda x, name=name: call(name, x), case)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            got = with_gradients(lambda x, name=name: call(name, x), case)
        assert all(torch.equal(got[key], x) for key, x in want.items())


# --- what is refused --------------------------------------------------------------------------------------------


def test_the_signatures_are_those_of_fla() -> None:
    arrays = ["q", "k", "v"]
    states = ["scale", "initial_state", "output_final_state"]
    switches = ["use_qk_l2norm_in_kernel", "use_gate_in_kernel"]
    beta = ["use_beta_sigmoid_in_kernel", "allow_neg_eigval"]
    safe = ["safe_gate", "lower_bound", "disable_recompute", "return_intermediate_states"]
    wanted = {
        "chunk_kda": [*arrays, "g", "beta", *states, *switches, *beta, *safe, "state_v_first", "cu_seqlens",
                      "cu_seqlens_cpu", "cp_context", "use_graph", "max_num_seqs"],
        "fused_recurrent_kda": [*arrays, "g", "beta", "A_log", "dt_bias", *states, *switches, *beta, "lower_bound",
                                "state_v_first", "cu_seqlens"],
        "chunk_gla": [*arrays, "g", *states, "state_v_first", "cu_seqlens", "cu_seqlens_cpu"],
        "fused_recurrent_gla": [*arrays, "gk", "gv", *states, "reverse", "state_v_first", "cu_seqlens"],
        "chunk_gdn2": [*arrays, "g", "b", "w", *states, *switches, "cu_seqlens", "cu_seqlens_cpu", *safe,
                       "state_v_first", "cp_context"],
        "fused_recurrent_gdn2": [*arrays, "g", "b", "w", "A_log", "dt_bias", *states, *switches, "lower_bound",
                                 "state_v_first", "cu_seqlens"],
    }  # fmt: skip
    for name, names in wanted.items():
        parameters = inspect.signature(getattr(api, name)).parameters.values()
        assert [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD] == names


WRONG = {
    "g": ("expected \\[B, T, HV, K\\] = \\[2, 9, 2, 12\\], got \\[2, 9, 2\\]", lambda x: x[..., 0]),
    "beta": ("expected \\[B, T, HV\\] = \\[2, 9, 2\\], got \\[2, 9, 2, 1\\]", lambda x: x[..., None]),
    "b": ("expected \\[B, T, HV, K\\] = \\[2, 9, 2, 12\\], got \\[2, 9, 2, 11\\]", lambda x: x[..., 1:]),
    "w": ("expected \\[B, T, HV, V\\] = \\[2, 9, 2, 7\\], got \\[2, 9, 2, 6\\]", lambda x: x[..., 1:]),
    "initial_state": ("expected \\[N, HV, K, V\\] = .* got the other layout, \\[2, 2, 7, 12\\]", lambda x: x.mT),
    "q": ("expected \\[B, T, H, K\\] = \\[2, 9, 1, 12\\], got \\[2, 9, 1, 11\\]", lambda x: x[..., 1:]),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_an_array_of_another_shape_is_refused_by_its_name(name: str) -> None:
    case = draw(name, T=9)
    for key in (key for key in WRONG if key in case):
        sentence, spoil = WRONG[key]
        shown = "gk" if (name, key) == ("fused_recurrent_gla", "g") else key
        with pytest.raises(ValueError, match=f"^{shown}: {sentence}"):
            call(name, case | {key: spoil(case[key])})
    case["g"][1, 3, 0, 2] = 0.5
    with pytest.raises(ValueError, match=r"^g: expected log decays in nats, at most 0, got 0\.5 at \[1, 3, 0, 2\]"):
        call(name, case)


def test_the_numbers_of_the_gates_are_checked_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GDN_CORE_DEBUG", "1")
    case = draw("chunk_gdn2", T=9)
    case["b"][0, 2, 1, 4] = 2.5
    with pytest.raises(ValueError, match=r"^b: expected erase gates from 0 to 2, got 2\.5 at \[0, 2, 1, 4\]"):
        call("chunk_gdn2", case)
    case = draw("chunk_gdn2", T=9)
    case["w"][0, 2, 1, 4] = math.inf
    with pytest.raises(ValueError, match=r"^w: expected finite numbers, got inf at \[0, 2, 1, 4\]"):
        call("chunk_gdn2", case)


@pytest.mark.parametrize(("name", "options", "sentence"), [
    ("chunk_kda", {"cp_context": object()}, "chunk_kda does not take cp_context: one sequence is not shared"),
    ("chunk_kda", {"return_intermediate_states": True}, "does not take return_intermediate_states: memories between"),
    ("chunk_kda", {"use_graph": True}, "does not take use_graph"),
    ("chunk_gdn2", {"cp_context": object()}, "chunk_gdn2 does not take cp_context"),
    ("chunk_kda", {"gamma": 1}, "chunk_kda does not take gamma"),
    ("fused_recurrent_gdn2", {"gamma": 1}, "fused_recurrent_gdn2 does not take gamma"),
])  # fmt: skip
def test_an_argument_that_does_not_act_is_refused_in_a_sentence(name: str, options: Case, sentence: str) -> None:
    with pytest.raises(TypeError, match=sentence):
        call(name, draw(name, T=9), **options)


@pytest.mark.parametrize(("options", "sentence"), [
    ({"use_gate_in_kernel": True}, "^A_log: expected an array with use_gate_in_kernel, got none"),
    ({"use_gate_in_kernel": True, "A_log": torch.zeros(3)}, r"^A_log: expected \[HV\] = \[2\], got \[3\]"),
    ({"use_gate_in_kernel": True, "A_log": torch.zeros(2), "dt_bias": torch.zeros(2)},
     r"^dt_bias: expected \[HV \* K\] = \[24\], got \[2\]"),
    ({"use_gate_in_kernel": True, "lower_bound": 0.5}, "^lower_bound: expected a number from -inf to 0, got 0.5"),
    ({"use_gate_in_kernel": True, "lower_bound": 0.0}, "^lower_bound: expected a log decay below 0, got 0"),
    ({"use_gate_in_kernel": True, "lower_bound": -6.0, "safe_gate": True}, "^lower_bound: expected a number from -5"),
    ({"use_gate_in_kernel": True, "A_log": torch.zeros(2), "safe_gate": True}, "^lower_bound: expected a log decay"),
    ({"allow_neg_eigval": True}, "^allow_neg_eigval: expected use_beta_sigmoid_in_kernel with it"),
    ({"cu_seqlens": torch.tensor([0, 9])}, "^cu_seqlens: expected B = 1 with packed sequences, got B = 2"),
    ({"backend": "cuda"}, "^backend: expected one of triton, interpreter, torch, got 'cuda'"),
    ({"transpose_state_layout": True, "state_v_first": True}, "^transpose_state_layout: expected none beside"),
])  # fmt: skip
def test_an_argument_that_does_not_fit_is_refused_in_a_sentence(options: Case, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        call("chunk_kda", draw("chunk_kda", T=9), **options)


def test_hints_of_speed_are_swallowed() -> None:
    case = draw("chunk_kda", T=9)
    want = call("chunk_kda", case)
    hints = {"disable_recompute": True, "safe_gate": True, "chunk_size": 32, "max_num_seqs": 4, "cp_context": None,
             "cu_seqlens_cpu": torch.tensor([0, 9]), "chunk_indices": None, "lower_bound": -5.0}  # fmt: skip
    assert all(torch.equal(x, y) for x, y in zip(call("chunk_kda", case, **hints), want, strict=True))


def test_the_backend_says_what_it_does_not_take() -> None:
    leaves = {key: x.requires_grad_() for key, x in to(torch.float32, draw("chunk_kda", T=9)).items()}
    with pytest.raises(ValueError, match=r"^backend: Triton does not compile: it needs tensors on an NVIDIA GPU"):
        call("chunk_kda", leaves, backend="triton")
