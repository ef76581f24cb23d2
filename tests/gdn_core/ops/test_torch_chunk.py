"""The chunk form in PyTorch: against the reference in float64, its gradients, and its error budget in float32."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from gdn_core.ops.operators import chunks
from gdn_core.ops.torch import chunk as torch_chunk
from gdn_core.ops.torch import reference as torch_reference

Case = dict[str, torch.Tensor | None]

SIZES = [  # B, T, H, HV, K, V, chunk_size: ragged tails, T under a chunk, one token, grouped heads, one channel
    (1, 1, 1, 1, 1, 1, 32),
    (2, 37, 2, 4, 5, 3, 8),
    (1, 150, 1, 2, 7, 9, 4),
    (2, 31, 2, 2, 3, 17, 32),
    (1, 65, 1, 3, 33, 1, 16),
]


def chunk(
    q: Any, k: Any, v: Any, g: Any, beta: Any, scale: float, initial_state: Any = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Run the operator in plain PyTorch, and keep what its gradients need."""
    o, S, _ = chunks.chunk(q, k, v, g, beta, initial_state, None, scale, False, True, True, "torch", None)
    return o, S


@pytest.fixture
def of_size(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Set the tokens of a chunk: small ones make many of few tokens."""

    def sized(chunk_size: int) -> None:
        monkeypatch.setattr(torch_chunk, "CHUNK_SIZE", chunk_size)
        monkeypatch.setattr(torch_chunk, "SPAN", chunk_size * torch_chunk.CHUNKS_AT_ONCE)

    return sized


def draw(B: int, T: int, H: int, HV: int, K: int, V: int, *, gated: bool = True, delta: bool = True) -> Case:
    """Keys of any sign about one long, beta to 2, some tokens that forget everything, and a memory to start from."""
    torch.manual_seed(T)
    g = -torch.rand(B, T, HV, dtype=torch.float64)
    g[:, 3::11] = -90.0
    return {
        "q": torch.randn(B, T, H, K, dtype=torch.float64),
        "k": torch.randn(B, T, H, K, dtype=torch.float64) / K**0.5,
        "v": torch.randn(B, T, HV, V, dtype=torch.float64),
        "g": g if gated else None,
        "beta": 2 * torch.rand(B, T, HV, dtype=torch.float64) if delta else None,
        "initial_state": torch.randn(B, HV, K, V, dtype=torch.float64),
    }


def by_reference(case: Case, scale: float) -> tuple[torch.Tensor, torch.Tensor]:
    state = case["initial_state"]
    o, S = torch_reference.recurrent(
        case["q"], case["k"], case["v"], case["g"], case["beta"], case["beta"], scale=scale,
        initial_state=None if state is None else state.transpose(2, 3),
    )  # fmt: skip
    return o, S.transpose(2, 3)


@pytest.mark.parametrize("delta", [True, False], ids=["delta", "additive"])
@pytest.mark.parametrize("gated", [True, False], ids=["gated", "ungated"])
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_outputs_state_and_gradients_are_those_of_the_recurrence(
    sizes: tuple, gated: bool, delta: bool, of_size: Any
) -> None:
    *shape, chunk_size = sizes
    of_size(chunk_size)
    case = draw(*shape, gated=gated, delta=delta)
    given = [x.requires_grad_() for x in case.values() if x is not None]
    results = []
    for o, S in (chunk(**case, scale=0.7), by_reference(case, 0.7)):
        torch.manual_seed(1)
        loss = (o * torch.randn(o.shape).double()).sum() + (S * torch.randn(S.shape).double()).sum()
        results.append((o, S, *torch.autograd.grad(loss, given)))
    for got, want in zip(*results, strict=True):
        torch.testing.assert_close(got, want, rtol=0, atol=1e-11 * (1 + want.abs().max().item()))


def test_the_gradient_agrees_with_finite_differences(of_size: Any) -> None:
    of_size(3)
    case = draw(1, 7, 1, 2, 3, 2)
    case["g"] = case["g"].clamp(min=-2)
    tensors = [x.requires_grad_() for x in case.values()]
    assert torch.autograd.gradcheck(
        lambda q, k, v, g, beta, S: chunk(q, k, v, g, beta, scale=0.5, initial_state=S), tensors
    )


def assert_within_budget(single: Case, exact: Case) -> None:
    """Expect outputs, state and gradients to err at most twice as much as the plain scan in float32."""
    results = []
    for run, case in ((chunk, single), (by_reference, single), (by_reference, exact)):
        given = [x.requires_grad_() for x in case.values() if x is not None]
        o, S = run(**case, scale=0.2) if run is chunk else run(case, 0.2)
        results.append((o, S, *torch.autograd.grad(o.sum() + S.square().sum(), given)))
    for got, plain, want in zip(*results, strict=True):
        budget = 2 * (plain.double() - want).abs().amax() + torch.finfo(torch.float32).eps * want.abs().amax()
        assert (got.double() - want).abs().amax() <= budget


@pytest.mark.parametrize("delta", [True, False], ids=["delta", "additive"])
def test_the_error_in_float32_is_within_twice_that_of_the_plain_scan(delta: bool) -> None:
    exact = draw(1, 300, 2, 4, 24, 16, delta=delta)
    assert_within_budget({name: None if x is None else x.float() for name, x in exact.items()}, exact)


@pytest.mark.parametrize("gated", [True, False], ids=["gated", "ungated"])
def test_the_error_budget_holds_where_every_token_undoes_the_one_before(gated: bool) -> None:
    """Keys that point the same way under a beta near 2: an error is a small difference of large numbers there."""
    exact = draw(1, 300, 2, 2, 24, 16, gated=gated)
    long = torch.nn.functional.normalize(torch.randn(24, dtype=torch.float64), dim=0)
    exact["k"] = torch.nn.functional.normalize(exact["k"] + 3 * long, dim=-1)
    exact["beta"] = 2 - 0.05 * exact["beta"]
    if gated:
        exact["g"] = 0.05 * exact["g"].clamp(min=-1)
    single = {name: None if x is None else x.float() for name, x in exact.items()}
    assert_within_budget(single, {name: None if x is None else x.double() for name, x in single.items()})


def assert_each_within_budget(single: Case) -> None:
    """Expect of every sequence of a batch, which is a draw of its own, what :func:`assert_within_budget` does."""
    exact = {name: None if x is None else x.double() for name, x in single.items()}
    results = []
    for run, case in ((chunk, single), (by_reference, single), (by_reference, exact)):
        given = {name: x.requires_grad_() for name, x in case.items() if x is not None}
        o, S = run(**case, scale=0.2) if run is chunk else run(case, 0.2)
        gradients = torch.autograd.grad(o.sum() + S.square().sum(), list(given.values()))
        results.append({"o": o, "S": S} | {f"d{name}": x for name, x in zip(given, gradients, strict=True)})
    outside = {}
    for name, want in results[2].items():
        error, plain = ((x[name].double() - want).abs().flatten(1).amax(1) for x in results[:2])
        budgets = 2 * plain + torch.finfo(torch.float32).eps * want.abs().flatten(1).amax(1)
        if (error > budgets).any():
            outside[name] = (error / budgets).amax().item()
    assert not outside, f"times the budget: {outside}"


WIDE = (128, 128, 2)  # these take seconds each, so only rules and keys of which the error is largest
NARROW = (24, 16, 12)


@pytest.mark.parametrize(("rule", "keys", "draws"), [
    *((rule, "any", NARROW) for rule in ("gated delta", "delta", "gated additive", "additive")),
    *((rule, keys, NARROW) for rule, keys in (("gated delta", "alike"), ("delta", "alike"), ("delta", "aligned"))),
    *((rule, "any", WIDE) for rule in ("gated delta", "additive")),
    *(("delta", keys, WIDE) for keys in ("alike", "aligned")),
])  # fmt: skip
def test_each_of_several_draws_is_within_the_budget_up_to_wide_heads(rule: str, keys: str, draws: tuple) -> None:
    """Sums over 128 channels round more than sums over 24, and keys aligned to 1 in 30 under a beta of 2 show it."""
    K, V, B = draws
    case = draw(B, 300, 1, 1, K, V, gated="gated" in rule, delta="delta" in rule)
    if keys != "any":
        long = torch.nn.functional.normalize(torch.randn(B, 1, 1, K, dtype=torch.float64), dim=-1)
        scattered = torch.nn.functional.normalize(case["k"], dim=-1)
        case["k"] = torch.nn.functional.normalize(long + scattered / (3 if keys == "alike" else 30), dim=-1)
        case["beta"] = 2 - 0.05 * case["beta"] if keys == "alike" else torch.full_like(case["beta"], 2)
        if keys == "alike" and case["g"] is not None:
            case["g"] = 0.05 * case["g"].clamp(min=-1)
    elif rule == "delta":
        case["k"] = torch.nn.functional.normalize(case["k"], dim=-1)  # longer keys without decay grow a memory
    assert_each_within_budget({name: None if x is None else x.float() for name, x in case.items()})


def test_half_precision_inputs_are_computed_in_float32() -> None:
    case = {name: x.to(torch.bfloat16) for name, x in draw(1, 40, 1, 1, 8, 8).items()}
    o, S = chunk(**case, scale=1.0)
    widened = chunk(**{name: x.float() for name, x in case.items()}, scale=1.0)
    assert o.dtype is torch.bfloat16 and S.dtype is torch.float32
    torch.testing.assert_close(o, widened[0].to(torch.bfloat16))
    torch.testing.assert_close(S, widened[1])


def test_the_future_does_not_reach_back(of_size: Any) -> None:
    of_size(16)
    case = draw(1, 40, 1, 1, 4, 3)
    o, _ = chunk(**case, scale=1.0)
    for name in ("q", "k", "v", "beta"):
        case[name] = case[name].clone()
        case[name][:, 21:] = 1.5
    assert torch.equal(chunk(**case, scale=1.0)[0][:, :21], o[:, :21])


def test_two_halves_with_the_state_between_are_the_whole() -> None:
    case = draw(2, 48, 1, 2, 4, 3)
    whole, end = chunk(**case, scale=1.0)
    parts, S = [], case.pop("initial_state")
    for half in (slice(0, 19), slice(19, 48)):
        o, S = chunk(**{name: x[:, half] for name, x in case.items()}, scale=1.0, initial_state=S)
        parts.append(o)
    torch.testing.assert_close(torch.cat(parts, 1), whole)
    torch.testing.assert_close(S, end)


def test_the_initial_state_is_left_as_it_was() -> None:
    case = draw(1, 20, 1, 1, 4, 3)
    before = case["initial_state"].clone()
    chunk(**case, scale=1.0)
    assert torch.equal(case["initial_state"], before)
