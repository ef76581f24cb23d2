"""Calls that are other calls on rearranged arrays: a gate for each value channel, and tokens in reverse.

A value channel whose gates are its own is a head of its own with one value channel: its column of the memory is read,
erased and written without the others.
"""

from __future__ import annotations

from typing import Any

import torch

from gdn_core.ops import arguments, calls, checks
from gdn_core.ops.backends import Form

Tensor = torch.Tensor


def run(
    form: Form,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    gates: dict[str, Tensor],
    *,
    initial_state: Tensor | None,
    final: bool,
    cu_seqlens: Tensor | None,
    state_v_first: bool = False,
    channels: dict[str, str] | None = None,
    reverse: bool = False,
    **options: Any,
) -> tuple[Tensor, Tensor | None]:
    """Run :func:`gdn_core.ops.calls.run`, which has the other arguments.

    A gate with a number for each value channel runs as V heads with one value channel: V times the keys' work.

    Args:
        form: the form of the computation.
        q: queries.
        k: keys.
        v: values.
        gates: as there; ``gv`` is a log decay for each value channel, which adds to g or gk.
        initial_state: memories, or None.
        final: return the memories after each sequence.
        cu_seqlens: bounds of packed sequences, or None.
        state_v_first: states are [N, HV, V, K].
        channels: the axis, K or V, of each gate that has a number for each channel.
        reverse: read the tokens of each sequence from the last to the first.
        options: the other arguments.

    Raises:
        TypeError: if an array holds no floating-point numbers.
        ValueError: if sizes, devices, numbers or layouts do not fit.
    """
    common: dict[str, Any] = {"final": final, "cu_seqlens": cu_seqlens, **options}
    given = {"initial_state": initial_state, "state_v_first": state_v_first, "channels": channels, **common}
    if reverse:
        packing = {} if cu_seqlens is None else {"cu_seqlens": cu_seqlens}
        arguments.check_tensors({"q": q, "k": k, "v": v, **gates, **packing})
        sizes = checks.check_layout({"q": q, "k": k, "v": v}, no_tokens=True)
        checks.check_gates(gates, sizes, channels)
        if cu_seqlens is not None:
            checks.check_packing("cu_seqlens", cu_seqlens, sizes)
        order = backwards(sizes.T, v.device, cu_seqlens)
        q, k, v = q[:, order], k[:, order], v[:, order]
        o, S = run(form, q, k, v, {name: x[:, order] for name, x in gates.items()}, **given)
        return o[:, order], S
    apart = {name for name, axis in (channels or {}).items() if axis == "V"}
    if not apart:
        return calls.run(form, q, k, v, gates, **given)

    states = {} if initial_state is None else {"initial_state": initial_state}
    arguments.check_tensors({"q": q, "k": k, "v": v, **gates, **states})
    sizes = checks.check_layout({"q": q, "k": k, "v": v}, no_tokens=True)
    checks.check_gates(gates, sizes, channels)
    checks.check_device({"v": v, **gates, **states})
    if initial_state is not None:
        N = sizes.B if cu_seqlens is None else checks.check_packing("cu_seqlens", cu_seqlens, sizes)
        checks.check_states("initial_state", initial_state, sizes, N=N, state_v_first=state_v_first)
        initial_state = (initial_state if state_v_first else initial_state.mT).flatten(1, 2).unsqueeze(2)
    HV, V = sizes.HV, sizes.V
    heads = {name: x.flatten(2, 3) if name in apart else x.repeat_interleave(V, dim=2) for name, x in gates.items()}
    if "gv" in heads:
        gv = heads.pop("gv")
        if "gk" in heads:
            heads["gk"] = heads["gk"] + gv[..., None]
        else:
            heads["g"] = heads["g"] + gv if "g" in heads else gv
    left = {name: "K" for name, axis in (channels or {}).items() if axis == "K"} or None
    o, S = calls.run(
        form, q, k, v.flatten(2, 3).unsqueeze(-1), heads,
        initial_state=initial_state, state_v_first=True, channels=left, **common,
    )  # fmt: skip
    if S is not None:
        S = S.squeeze(2).unflatten(1, (HV, V))  # [N, HV, V, K]
        S = S if state_v_first else S.mT
    return o.squeeze(-1).unflatten(2, (HV, V)), S


def backwards(T: int, device: torch.device, cu_seqlens: Tensor | None) -> Tensor:
    """Return the places of tokens that reverse each sequence and leave padding, [T]; it undoes itself.

    Args:
        T: how many tokens there are.
        device: where they are.
        cu_seqlens: bounds of packed sequences, [N + 1], or None for one sequence. Of bounds that are in no order, which
            the call refuses, the places are still in range.
    """
    t = torch.arange(T, device=device)
    if cu_seqlens is None:
        return t.flip(0)
    bounds = cu_seqlens.to(device=device, dtype=torch.int64)
    n = (torch.searchsorted(bounds, t, right=True) - 1).clamp(0, len(bounds) - 2)
    turned = (bounds[n] + bounds[n + 1] - 1 - t).clamp(0, max(T - 1, 0))
    return torch.where((bounds[0] <= t) & (t < bounds[-1]), turned, t)
