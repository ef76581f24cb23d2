"""Hugging Face transformers' layers on these functions: a small random model gives the logits that it gives without."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

transformers = pytest.importorskip("transformers", reason="transformers is an optional extra")

from gdn_core.lab.studies import softmax  # noqa: E402
from gdn_core.ops import calls  # noqa: E402
from gdn_core.ops import transformers as integration  # noqa: E402
from gdn_core.ops.torch import reference as torch_reference  # noqa: E402

SMALL = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 16,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 12,
    "linear_value_head_dim": 10,
    "max_position_embeddings": 256,
}
MIXTURE = {
    "num_experts": 2,
    "num_experts_per_tok": 1,
    "moe_intermediate_size": 16,
    "shared_expert_intermediate_size": 16,
}


def qwen3_next() -> torch.nn.Module:
    config = transformers.Qwen3NextConfig(**SMALL, **MIXTURE)
    return transformers.Qwen3NextForCausalLM(config)


def qwen3_5() -> torch.nn.Module:
    return transformers.Qwen3_5ForCausalLM(transformers.Qwen3_5TextConfig(**SMALL))


def olmo_hybrid() -> torch.nn.Module:
    return transformers.OlmoHybridForCausalLM(transformers.OlmoHybridConfig(**SMALL, pad_token_id=0))


def kimi_linear() -> torch.nn.Module:
    config = transformers.KimiLinearConfig(
        vocab_size=64, hidden_size=32, intermediate_size=32, num_hidden_layers=4, num_attention_heads=2,
        num_key_value_heads=2, kv_lora_rank=8, q_lora_rank=None, qk_nope_head_dim=8, qk_rope_head_dim=4, v_head_dim=8,
        num_experts=2, num_experts_per_token=1, moe_intermediate_size=16, num_shared_experts=1,
        max_position_embeddings=256, pad_token_id=0,
        linear_attn_config={"full_attn_layers": [4], "kda_layers": [1, 2, 3], "head_dim": 12, "num_heads": 2,
                            "short_conv_kernel_size": 4},
    )  # fmt: skip
    return transformers.KimiLinearForCausalLM(config)


MODELS = {"qwen3_next": qwen3_next, "qwen3_5": qwen3_5, "olmo_hybrid": olmo_hybrid, "kimi_linear": kimi_linear}


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    integration.disable()


@torch.no_grad()
def prefill_then_decode(model: torch.nn.Module, tokens: torch.Tensor, split: int) -> torch.Tensor:
    out = model(tokens[:, :split], use_cache=True)
    logits, cache = [out.logits], out.past_key_values
    for t in range(split, tokens.shape[1]):
        out = model(tokens[:, t : t + 1], past_key_values=cache, use_cache=True)
        logits.append(out.logits)
        cache = out.past_key_values
    return torch.cat(logits, 1)


@pytest.mark.parametrize("name", MODELS)
def test_a_model_gives_the_same_logits_in_prefill_and_token_by_token(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    model = MODELS[name]().eval()
    tokens = torch.randint(1, 64, (2, 80))
    theirs = prefill_then_decode(model, tokens, 70)
    forms: list[str] = []
    run = calls.run
    monkeypatch.setattr(calls, "run", lambda form, *args, **options: forms.append(form) or run(form, *args, **options))
    with integration.enabled(name) as taken:
        ours = prefill_then_decode(model, tokens, 70)
    assert taken == (name,)
    assert forms.count("chunk") == 3 and forms.count("recurrent") == 30  # three layers of four, ten tokens
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4 * theirs.abs().max().item())
    again = prefill_then_decode(model, tokens, 70)
    assert len(forms) == 33 and torch.equal(again, theirs)


@pytest.mark.parametrize("name", ["qwen3_next", "kimi_linear"])
def test_a_model_has_the_same_gradients(name: str) -> None:
    torch.manual_seed(0)
    model = MODELS[name]()
    tokens = torch.randint(1, 64, (1, 70))
    gradients = []
    for names in ((), (name,)):
        if names:
            integration.enable(*names)
        model.zero_grad()
        model(tokens, labels=tokens).loss.backward()
        gradients.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
    for theirs, ours in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4 * theirs.abs().max().item() + 1e-7)


def inputs(B: int = 2, T: int = 40) -> dict[str, torch.Tensor]:
    """Draw what a layer under autocast passes: 16 bits, but for the log decays."""
    generator = torch.Generator().manual_seed(0)
    drawn = {name: torch.randn(B, T, H, 8, generator=generator) for name, H in (("query", 2), ("key", 2), ("value", 4))}
    drawn["beta"] = torch.randn(B, T, 4, generator=generator).sigmoid()
    drawn = {name: x.bfloat16() for name, x in drawn.items()}
    return drawn | {"g": -torch.rand(B, T, 4, generator=generator)}


FUNCTIONS = ("torch_chunk_gated_delta_rule", "torch_recurrent_gated_delta_rule")


@pytest.mark.parametrize("T", [1, 40])
@pytest.mark.parametrize("function", FUNCTIONS)
def test_autocast_changes_no_bit(function: str, T: int) -> None:
    from transformers.models.qwen3_next import modeling_qwen3_next

    given = inputs(T=T)
    options = {"output_final_state": True, "use_qk_l2norm_in_kernel": True}

    def run(rule: Any, autocast: bool) -> list[torch.Tensor]:
        leaves = {name: x.clone().requires_grad_() for name, x in given.items()}
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            o, S = rule(**leaves, **options)
            (o.float().sum() + S.square().sum()).backward()
        with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            return [*rule(**given, **options), o, S, *(x.grad for x in leaves.values())]

    with integration.enabled("qwen3_next"):
        ours = getattr(modeling_qwen3_next, function)
        under, outside = run(ours, True), run(ours, False)
    for got, want in zip(under, outside, strict=True):
        assert torch.equal(got, want)
    q, k, v, beta, g = (given[name].double() for name in ("query", "key", "value", "beta", "g"))
    q, k = (x / (x.square().sum(-1, keepdim=True) + 1e-6).sqrt() for x in (q, k))
    _, exact = torch_reference.recurrent(q, k, v, g, beta, beta)
    torch.testing.assert_close(under[1].double(), exact.mT, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_padding_with_garbage_reset_heads_and_no_tokens_go_through(function: str) -> None:
    from transformers.models.qwen3_next import modeling_qwen3_next

    given = inputs()
    with integration.enabled("qwen3_next"):
        ours = getattr(modeling_qwen3_next, function)
        given["g"][0, 10, 1] = -torch.inf
        clean, _ = ours(**given)
        assert clean.isfinite().all()
        for name in ("query", "key", "value", "beta"):
            padded = {key: x.clone() for key, x in given.items()}
            padded[name][0, 30:] = torch.nan
            o, _ = ours(**padded)
            assert torch.equal(o[0, :30], clean[0, :30]) and torch.equal(o[1], clean[1])
        o, S = ours(**{name: x[:, :0] for name, x in given.items()}, output_final_state=True)
        assert o.shape == (2, 0, 4, 8) and not S.any()
        mixed = given | {name: given[name].float() for name in ("query", "key")}
        assert ours(**mixed)[0].dtype is torch.bfloat16


def test_enabling_takes_every_model_there_is_and_disabling_gives_them_back() -> None:
    from transformers.models.qwen3_5 import modeling_qwen3_5
    from transformers.models.qwen3_next import modeling_qwen3_next

    before = modeling_qwen3_next.torch_chunk_gated_delta_rule, modeling_qwen3_5.torch_recurrent_gated_delta_rule
    taken = integration.enable()
    assert taken == integration.models()
    assert {"qwen3_next", "qwen3_5", "qwen3_5_moe", "olmo_hybrid", "kimi_linear"} <= set(taken)
    assert "llama" not in taken
    inside = modeling_qwen3_next.torch_chunk_gated_delta_rule
    assert inside is not before[0]
    with integration.enabled("qwen3_next", backend="torch"):
        assert modeling_qwen3_next.torch_chunk_gated_delta_rule is not inside
    assert modeling_qwen3_next.torch_chunk_gated_delta_rule is inside  # what enable() did goes on
    integration.disable()
    after = modeling_qwen3_next.torch_chunk_gated_delta_rule, modeling_qwen3_5.torch_recurrent_gated_delta_rule
    assert after == before


def test_a_model_is_found_by_what_its_code_defines(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    both = "def torch_chunk_gated_delta_rule(q):\n    pass\ndef torch_recurrent_gated_delta_rule(q):\n    pass\n"
    for folder, text in (("newest", both), ("half", both[:50]), ("method", both.replace("def ", " def "))):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"modeling_{folder}.py").write_text(text)
    spec = SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr(integration.importlib.util, "find_spec", lambda name: spec)
    assert integration.models() == ("newest",)


def test_a_function_that_takes_something_else_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers.models.qwen3_next import modeling_qwen3_next

    monkeypatch.setattr(modeling_qwen3_next, "torch_chunk_gated_delta_rule", lambda q, k, v, beta, g: None)
    with pytest.raises(ValueError, match="expected a model with torch_chunk_gated_delta_rule"):
        integration.enable("qwen3_next")


def test_a_model_without_such_a_layer_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a model with torch_chunk_gated_delta_rule"):
        integration.enable("llama")
    with pytest.raises(ModuleNotFoundError):
        integration.enable("no_such_model")


def test_the_models_of_the_tour_have_the_layers_and_sizes_of_their_configurations() -> None:
    full = [4, 8, 12, 16, 20, 24, 27]  # full_attn_layers of Kimi-Linear-48B-A3B's config.json, counted from 1
    kimi = transformers.KimiLinearConfig(
        linear_attn_config={"full_attn_layers": full, "kda_layers": [n for n in range(1, 28) if n not in full]}
    )
    found = {"kimi-linear": (kimi.layer_types, kimi.kv_lora_rank + kimi.qk_rope_head_dim, kimi.linear_num_heads,
                             kimi.linear_head_dim, kimi.linear_head_dim)}  # fmt: skip
    for name, config in (
        ("qwen3-next", transformers.Qwen3NextConfig()),
        ("qwen3.5", transformers.Qwen3_5TextConfig()),
        ("olmo-hybrid", transformers.OlmoHybridConfig()),
    ):
        wide = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        found[name] = (config.layer_types, 2 * config.num_key_value_heads * wide, config.linear_num_value_heads,
                       config.linear_value_head_dim, config.linear_key_head_dim)  # fmt: skip
    assert set(found) == set(softmax.MODELS)
    for name, (layers, *sizes) in found.items():
        m = softmax.MODELS[name]
        assert [layers.count("full_attention"), layers.count("linear_attention")] == [m.softmax, m.linear]
        assert sizes == [m.cached, m.heads, m.V, m.K]
