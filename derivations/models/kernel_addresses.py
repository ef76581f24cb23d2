"""The addresses of the project's kernels at sizes that fill a GPU."""

from __future__ import annotations

import random
from typing import Any

import torch
from torch import Tensor

from derivations.engines.ir.addresses import Nowhere
from derivations.engines.ir.chain import Chain
from derivations.models.kernel_sizes import Setting
from derivations.models.torch_forms import SCALE, unsound
from derivations.models.torch_sizes import Size
from gdn_core.ops.compile_check import on_chip
from gdn_core.ops.kernels import chunk, recurrent
from gdn_core.ops.kernels.chip import Chip
from gdn_core.ops.kernels.launches import recording


def addresses(size: Size, setting: Setting, *, decoding: bool, rng: random.Random) -> dict[str, Any]:
    """Run a pass at a size, at the corners of its grids, for its addresses alone; what fails is the residual."""
    s = size

    def empty(*shape: int, dtype: str = "float32") -> Tensor:
        return torch.empty(shape, dtype=getattr(torch, dtype), device="meta")

    q, k = (empty(s.B, s.T, s.H, s.K, dtype=setting.dtype) for _ in range(2))
    v, do = (empty(s.B, s.T, s.HV, s.V, dtype=setting.dtype) for _ in range(2))
    g, beta, S, dS = empty(s.B, s.T, s.HV), empty(s.B, s.T, s.HV), *(empty(s.N, s.HV, s.K, s.V) for _ in range(2))

    def run() -> dict[str, Any]:
        chain = Chain(Nowhere(), rng, arch=setting.arch, level=setting.level)
        chip = Chip(setting.processors, setting.arch, memory=setting.memory)
        with on_chip(chip), recording(torch.device("cpu")) as to:
            given: dict[str, Any] = {"scale": SCALE, "initial_state": S, "state_v_first": False, "cu_seqlens": None}
            if decoding:
                recurrent.recurrent(q, k, v, g, beta, **given, output_final_state=True, normalise=False)
            else:
                saved = chunk.forward(
                    q, k, v, g, beta, **given, output_final_state=True, save_for_backward=True, length=setting.length
                )[2]
                assert saved is not None
                chunk.gradients(saved, do, dS, at_once=bool(setting.memory))
        chain.run_all(to.launches)
        return {"": ""}

    return {f"{setting}, {size}": unsound(run)}
