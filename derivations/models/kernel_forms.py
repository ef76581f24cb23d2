"""The kernels of the project beside the reference's recurrence: the launches of a pass, on exact numbers.

A pass of :mod:`gdn_core.ops.kernels` runs on tensors without a device, and its launches are recorded, as for a plan.
Each is compiled for a GPU that need not be here, and evaluated in place of run.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes

from derivations.engines.aten.numbers import Numbers
from derivations.engines.aten.tensors import Exact, exactly
from derivations.engines.ir.chain import Chain
from derivations.models.kernel_sizes import Setting
from derivations.models.torch_forms import SCALE, backward_residual, forward_residual
from derivations.models.torch_sizes import Size
from gdn_core.ops.compile_check import on_chip
from gdn_core.ops.kernels import chunk, gradients, recurrent
from gdn_core.ops.kernels.chip import Chip
from gdn_core.ops.kernels.launches import recording

CPU = torch.device("cpu")
GATES = ("g", "beta", "S", "dS")  # float32 whatever the dtype of the rest


class Kernels:
    """The kernels as they are launched in a setting, on exact numbers.

    Args:
        setting: the GPU, the dtype, and how a sequence is cut.
        numbers: the field.
        rng: draws what nobody knows.
    """

    def __init__(self, setting: Setting, numbers: Numbers, rng: random.Random) -> None:
        self._setting, self._numbers, self._rng = setting, numbers, rng

    def _run(self, launcher: Callable[..., Sequence[Tensor | None]], given: dict[str, Any]) -> list[Exact | None]:
        """Record what a pass launches, run it, and return the pass's outputs."""
        setting = self._setting
        chip = Chip(setting.processors, setting.arch, memory=setting.memory)
        chain = Chain(self._numbers, self._rng, arch=setting.arch, level=setting.level)
        with on_chip(chip), recording(CPU) as recorder:
            inputs = {name: self._meta(name, x) for name, x in given.items() if x is not None}
            outputs = launcher(**{**dict.fromkeys(given), **inputs})
        for name, x in inputs.items():
            chain.put(x, self._laid_out(name, given[name].entries).numpy())
        chain.run_all(recorder.launches)
        for name, x in inputs.items():  # a kernel that writes to its inputs is noticed
            given[name].entries.copy_(self._laid_out(name, torch.from_numpy(chain.get(x))))
        return [None if x is None else Exact(torch.from_numpy(chain.get(x)), x.dtype) for x in outputs]

    def _meta(self, name: str, x: Exact) -> Tensor:
        dtype = torch.float32 if name in GATES else getattr(torch, self._setting.dtype)
        return torch.empty(self._laid_out(name, x.entries).shape, dtype=dtype, device="meta")

    def _laid_out(self, name: str, x: Tensor) -> Tensor:
        """Return entries in the order of the kernels' arguments, or back: states may have V before K."""
        return x.mT.contiguous() if self._setting.state_v_first and name in ("S", "dS") else x

    def _state(self, S: Exact | None) -> Any:
        return None if S is None else Exact(self._laid_out("S", S.entries), S.dtype)

    def forward(self, size: Size, given: dict[str, Any]) -> tuple[Any, Any]:
        """Run the chunk form."""

        def launch(q: Any, k: Any, v: Any, g: Any, beta: Any, S: Any) -> Sequence[Tensor | None]:
            return self._forward(size, q, k, v, g, beta, S)[:2]

        with _disable_current_modes():
            o, S = self._run(launch, given)
            return o, self._state(S)

    def _forward(self, size: Size, q: Any, k: Any, v: Any, g: Any, beta: Any, S: Any) -> Any:
        setting = self._setting
        return chunk.forward(
            q, k, v, g, beta, scale=SCALE, initial_state=S, state_v_first=setting.state_v_first,
            cu_seqlens=_cu_seqlens(size), output_final_state=True, save_for_backward=True, length=setting.length,
        )  # fmt: skip

    def backward(self, size: Size, given: dict[str, Any], do: Any, dS: Any) -> dict[str, Any]:
        """Run the chunk form and its backward pass; return gradients by name."""

        def launch(
            q: Any, k: Any, v: Any, g: Any, beta: Any, S: Any, do: Any, dS: Any
        ) -> Sequence[Tensor | None]:
            saved = self._forward(size, q, k, v, g, beta, S)[2]
            return chunk.gradients(saved, do, dS, at_once=bool(self._setting.memory))

        with _disable_current_modes():
            dq, dk, dv, *parts, dstate = self._run(launch, {**given, "do": do, "dS": dS})
        with exactly(self._numbers):  # as the public function ends
            dg, dbeta = (gradients.summed(*each) for each in zip(parts, (given["g"], given["beta"]), strict=True))
        return {"q": dq, "k": dk, "v": dv, "g": dg, "beta": dbeta, "S": self._state(dstate)}

    def recurrent(self, size: Size, given: dict[str, Any]) -> tuple[Any, Any]:
        """Run the recurrence token by token."""

        def launch(q: Any, k: Any, v: Any, g: Any, beta: Any, S: Any) -> Sequence[Tensor | None]:
            return recurrent.recurrent(
                q, k, v, g, beta, scale=SCALE, initial_state=S, state_v_first=self._setting.state_v_first,
                cu_seqlens=_cu_seqlens(size), output_final_state=True, normalise=self._setting.normalise,
            )  # fmt: skip

        with _disable_current_modes():
            o, S = self._run(launch, given)
            return o, self._state(S)


def _cu_seqlens(size: Size) -> Tensor | None:
    return torch.tensor(size.bounds, dtype=torch.int32) if size.lengths else None


def forward(size: Size, setting: Setting, rng: random.Random) -> dict[str, Any]:
    """Compare the chunk form's kernels with the recurrence."""
    numbers = Numbers(rng)
    return _named(setting, forward_residual(size, rng, Kernels(setting, numbers, rng).forward, numbers))


def backward(size: Size, setting: Setting, rng: random.Random) -> dict[str, Any]:
    """Compare the gradients of the chunk form's kernels with the derivative of the recurrence."""
    numbers = Numbers(rng)
    return _named(setting, backward_residual(size, rng, Kernels(setting, numbers, rng).backward, numbers))


def token_by_token(size: Size, setting: Setting, rng: random.Random) -> dict[str, Any]:
    """Compare the kernel of the recurrence with it."""
    numbers = Numbers(rng)
    run = Kernels(setting, numbers, rng).recurrent
    return _named(setting, forward_residual(size, rng, run, numbers, EPSILON if setting.normalise else None))


EPSILON = float(torch.tensor(1e-6).float())


def _named(setting: Setting, residual: dict[str, Any]) -> dict[str, Any]:
    return {f"{setting}, {size}": of for size, of in residual.items()}
