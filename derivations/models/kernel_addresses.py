"""The addresses of the project's kernels at sizes that fill a GPU."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from derivations.engines.ir.addresses import Nowhere
from derivations.engines.ir.chain import Chain
from derivations.models.kernel_sizes import Setting
from derivations.models.torch_forms import SCALE, unsound
from derivations.models.torch_sizes import Size
from gdn_core.ops.compile_check import on_chip
from gdn_core.ops.kernels import channels, chunk, recurrent
from gdn_core.ops.kernels.chip import Chip
from gdn_core.ops.kernels.launches import recording
from gdn_core.rules import Gate

Given = dict[str, Any]


def _chunk(x: Given, last: Given, setting: Setting, options: Given) -> None:
    tokens = (x["q"], x["k"], x["v"], x["g"], x["beta"])
    saved = chunk.forward(*tokens, **options, save_for_backward=True, length=setting.length)[2]
    assert saved is not None
    chunk.gradients(saved, last["do"], last["dS"], at_once=bool(setting.memory))


def _recurrent(x: Given, last: Given, setting: Setting, options: Given) -> None:
    recurrent.recurrent(x["q"], x["k"], x["v"], x["g"], x["beta"], **options, normalise=False)


def _by_channel(x: Given, last: Given, setting: Setting, options: Given) -> None:
    channels.chunk.forward(x["q"], x["k"], x["v"], x["g"], x["b"], x["w"], **options)


def _backward_by_channel(x: Given, last: Given, setting: Setting, options: Given) -> None:
    options = {name: of for name, of in options.items() if name != "output_final_state"}
    channels.chunk.gradients(last["do"], last["dS"], x["q"], x["k"], x["v"], x["g"], x["b"], x["w"], **options)


def _recurrent_by_channel(x: Given, last: Given, setting: Setting, options: Given) -> None:
    channels.steps.steps(x["q"], x["k"], x["v"], x["g"], x["b"], x["w"], **options)


#: The passes, by name; the chunk form with its backward pass.
PASSES: dict[str, Callable[[Given, Given, Setting, Given], None]] = {
    "chunk": _chunk, "recurrent": _recurrent, "by_channel": _by_channel,
    "backward_by_channel": _backward_by_channel, "recurrent_by_channel": _recurrent_by_channel,
}  # fmt: skip


def addresses(size: Size, setting: Setting, name: str, rng: random.Random) -> dict[str, Any]:
    """Run a pass at a size, at the corners of its grids, for its addresses alone; what fails is the residual.

    Args:
        size: the size; with gates by channel those of its rule.
        setting: the GPU, the dtype, and how a sequence is cut.
        name: of the pass, in ``PASSES``.
        rng: draws what nobody knows.
    """
    s = size
    wide = {Gate.SCALAR: (), Gate.KEY: (s.K,), Gate.VALUE: (s.V,)}

    def empty(*shape: int, dtype: str = "float32") -> Tensor:
        return torch.empty(shape, dtype=getattr(torch, dtype), device="meta")

    x: Given = {name: empty(s.B, s.T, s.H, s.K, dtype=setting.dtype) for name in "qk"}
    x["v"], do = (empty(s.B, s.T, s.HV, s.V, dtype=setting.dtype) for _ in range(2))
    x |= {name: empty(s.B, s.T, s.HV, *wide[gate]) for name, gate in s.gates.items()}
    S, dS = (empty(s.N, s.HV, s.K, s.V) for _ in range(2))
    options = {"scale": SCALE, "initial_state": S, "state_v_first": False, "cu_seqlens": None}

    def run() -> dict[str, Any]:
        chain = Chain(Nowhere(), rng, arch=setting.arch, level=setting.level)
        chip = Chip(setting.processors, setting.arch, memory=setting.memory)
        with on_chip(chip), recording(torch.device("cpu")) as to:
            PASSES[name](x, {"do": do, "dS": dS}, setting, {**options, "output_final_state": True})
        chain.run_all(to.launches)
        return {"": ""}

    return {f"{setting}, {size}": unsound(run)}
