"""The layer of the lesson, against Transformers' modules with the same weights, and the sizes of its classes."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch

if not torch.cuda.is_available():  # Transformers imports Triton, which reads this then
    os.environ["TRITON_INTERPRET"] = "1"

from gdn_core.lab.studies import layer
from gdn_core.lab.studies.softmax import MODELS

pytest.importorskip("transformers")

from transformers.models.olmo_hybrid import modeling_olmo_hybrid
from transformers.models.qwen3_5 import modeling_qwen3_5
from transformers.models.qwen3_next import modeling_qwen3_next

T, SIZES = 11, (2, 4, 6, 5)  # H, HV, K, V


def module(D: int, heads: tuple[int, int, int, int]) -> torch.nn.Module:
    H, HV, K, V = heads
    config = modeling_qwen3_next.Qwen3NextConfig(
        hidden_size=D, linear_num_key_heads=H, linear_num_value_heads=HV, linear_key_head_dim=K,
        linear_value_head_dim=V, num_hidden_layers=4,
    )  # fmt: skip
    return modeling_qwen3_next.Qwen3NextGatedDeltaNet(config, 0).eval()


def with_weights(made: torch.nn.Module, w: layer.Weights) -> torch.nn.Module:
    named = {"in_proj_qkvz.weight": w.qkvz, "in_proj_ba.weight": w.ba, "conv1d.weight": w.conv[:, None],
             "A_log": w.A_log, "dt_bias": w.dt_bias, "norm.weight": w.norm, "out_proj.weight": w.out}  # fmt: skip
    made.load_state_dict({name: torch.tensor(array, dtype=torch.float32) for name, array in named.items()})
    return made


def drawn(D: int, heads: tuple[int, int, int, int]) -> layer.Weights:
    """Weights as wide as a module has them, so that no gate is shut and no norm is 1."""
    rng = np.random.default_rng(5)
    shapes = {name: tuple(p.shape) for name, p in module(D, heads).named_parameters()}

    def of(name: str) -> np.ndarray:
        return rng.standard_normal(shapes[name]) / 2

    return layer.Weights(
        qkvz=of("in_proj_qkvz.weight"), ba=of("in_proj_ba.weight"), conv=of("conv1d.weight")[:, 0], A_log=of("A_log"),
        dt_bias=of("dt_bias"), norm=1 + of("norm.weight"), out=of("out_proj.weight"),
    )  # fmt: skip


def test_the_layer_is_that_of_transformers_with_the_same_weights() -> None:
    w = drawn(10, SIZES)
    x = np.random.default_rng(6).standard_normal((T, 10))
    with torch.no_grad():
        expected = with_weights(module(10, SIZES), w)(torch.tensor(x[None], dtype=torch.float32))[0]
    np.testing.assert_allclose(layer.forward(x, w, SIZES)["y"], expected, rtol=1e-4, atol=1e-5)


def test_the_text_of_the_lesson_goes_through_the_same_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    heads = (layer.H, layer.HV, layer.K, layer.V)
    made = with_weights(module(layer.D, heads), layer.weights())
    seen: dict[str, torch.Tensor] = {}
    rule = modeling_qwen3_next.torch_chunk_gated_delta_rule

    def noting(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, **options: object) -> object:
        seen.update(q=q, k=k, value=v, g=options["g"], beta=options["beta"])
        result = rule(q, k, v, **options)
        seen["o"] = result[0]
        return result

    monkeypatch.setattr(modeling_qwen3_next, "torch_chunk_gated_delta_rule", noting)
    numbers = layer.of_text("the cat sat on the mat the cat")
    with torch.no_grad():
        expected = made(torch.tensor(numbers["x"][None], dtype=torch.float32))[0]
    np.testing.assert_allclose(numbers["y"], expected, rtol=1e-4, atol=1e-5)
    for name in ("value", "g", "beta", "o"):
        np.testing.assert_allclose(numbers[name], seen[name][0], rtol=1e-4, atol=1e-5, err_msg=name)
    for name, raw in (("query", "q"), ("key", "k")):
        lengths = seen[raw][0].norm(dim=-1, keepdim=True)
        np.testing.assert_allclose(numbers[name], (seen[raw][0] / lengths), rtol=1e-3, atol=1e-4, err_msg=name)
    np.testing.assert_array_equal(numbers["x"][1], numbers["x"][7])  # one word is one vector


def test_one_channel_is_four_terms() -> None:
    text, channel = "a b c a b", 17
    numbers, whole = layer.convolved(text, channel), layer.of_text(text)
    np.testing.assert_allclose(numbers["terms"].sum(axis=1), whole["conv"][:, channel], atol=1e-12)
    taps = whole["conv_weights"][channel]
    for t in range(5):
        expected = sum(taps[3 - j] * whole["mixed"][t - j, channel] for j in range(4) if t >= j)
        assert numbers["conv"][t] == pytest.approx(expected)
        assert numbers["active"][t] == pytest.approx(expected / (1 + np.exp(-expected)))


CLASSES = {
    "qwen3-next": (modeling_qwen3_next.Qwen3NextConfig, modeling_qwen3_next.Qwen3NextGatedDeltaNet),
    "qwen3.5": (modeling_qwen3_5.Qwen3_5TextConfig, modeling_qwen3_5.Qwen3_5GatedDeltaNet),
    "olmo-hybrid": (modeling_olmo_hybrid.OlmoHybridConfig, modeling_olmo_hybrid.OlmoHybridGatedDeltaNet),
}


@pytest.mark.parametrize("model", layer.PROJECTED)
def test_a_published_layer_has_the_parameters_of_its_class(model: str) -> None:
    configuration, kind = CLASSES[model]
    config = configuration()
    with torch.device("meta"):
        made = kind(config, 0)
    counts = {name: p.numel() for name, p in made.named_parameters()}
    numbers, m = layer.parameters(model), MODELS[model]
    assert numbers["total"] == sum(counts.values())
    kinds = [config.layer_types.count(kind) for kind in ("linear_attention", "full_attention")]
    assert kinds == [m.linear, m.softmax]
    assert numbers["count"][3] == counts["conv1d.weight"]
    assert numbers["count"][6] == counts.get("out_proj.weight", counts.get("o_proj.weight"))
    assert numbers["memory"] == made.num_v_heads * made.head_v_dim * made.head_k_dim
