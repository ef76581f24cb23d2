"""Run Hugging Face transformers' Gated DeltaNet layers on the functions of :mod:`gdn_core.ops.api`.

A layer of Qwen3-Next, Qwen3.5 or OLMo-hybrid looks up its two functions in its own module each time it runs. Replacing
them there takes effect at once, also in models that exist already, and putting the old ones back undoes it.
transformers' own hook (``kernels`` from its hub) is no alternative: it chooses functions when a module is imported, and
takes them from a repository, not from what is installed.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from gdn_core import extras

try:
    from torch import Tensor
except ModuleNotFoundError as error:
    raise extras.explained(error) from None

from gdn_core.ops.api import chunk_gated_delta_rule, fused_recurrent_gated_delta_rule
from gdn_core.ops.backends import Backend

#: The folders of ``transformers.models`` that are known to take the functions.
MODELS = ("qwen3_next", "qwen3_5", "qwen3_5_moe", "olmo_hybrid")
CHUNK, RECURRENT = "torch_chunk_gated_delta_rule", "torch_recurrent_gated_delta_rule"

_replaced: dict[tuple[str, str], Callable[..., Any]] = {}  # by module and name


def enable(*models: str, backend: Backend | None = None) -> tuple[str, ...]:
    """Make transformers' layers use these functions, in this process, until :func:`disable`.

    Args:
        models: folders of ``transformers.models``; by default every one of :data:`MODELS` that the installed
            transformers has.
        backend: what to run on; chosen for each call by default.

    Returns:
        The models that run on these functions now.

    Raises:
        ModuleNotFoundError: if transformers is not installed, or has no such model.
        ValueError: if a model has no such layer.
    """
    extras.need("transformers")
    taken = []
    for model in models or MODELS:
        name = f"transformers.models.{model}.modeling_{model}"
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError:
            if models:
                raise
            continue
        if not (hasattr(module, CHUNK) and hasattr(module, RECURRENT)):
            if models:
                raise ValueError(f"models: expected a model with {CHUNK} and {RECURRENT}, got {model!r}")
            continue
        for function, ours in ((CHUNK, _chunk(backend)), (RECURRENT, _recurrent(backend))):
            _replaced.setdefault((name, function), getattr(module, function))
            setattr(module, function, ours)
        taken.append(model)
    return tuple(taken)


def disable() -> None:
    """Restore the functions of transformers' layers."""
    while _replaced:
        (name, function), theirs = _replaced.popitem()
        setattr(importlib.import_module(name), function, theirs)


@contextmanager
def enabled(*models: str, backend: Backend | None = None) -> Iterator[tuple[str, ...]]:
    """Make transformers' layers use these functions in a ``with`` block; arguments as of :func:`enable`."""
    before = {key: getattr(importlib.import_module(key[0]), key[1]) for key in _replaced}
    try:
        yield enable(*models, backend=backend)
    finally:
        disable()
        for (name, function), ours in before.items():  # restores an outer block or enable()
            module = importlib.import_module(name)
            _replaced[name, function] = getattr(module, function)
            setattr(module, function, ours)


def _chunk(backend: Backend | None) -> Callable[..., tuple[Tensor, Tensor | None]]:
    def gdn_core_chunk_gated_delta_rule(
        query: Tensor,
        key: Tensor,
        value: Tensor,
        g: Tensor,
        beta: Tensor,
        chunk_size: int = 64,
        initial_state: Tensor | None = None,
        output_final_state: bool = False,
        use_qk_l2norm_in_kernel: bool = False,
        cu_seqlens: Tensor | None = None,
        **kwargs: Any,
    ) -> tuple[Tensor, Tensor | None]:
        """Accept a layer's arguments; ``chunk_size`` and those meant for every layer have no effect."""
        return chunk_gated_delta_rule(
            query, key, value, g, beta, initial_state=initial_state, output_final_state=output_final_state,
            use_qk_l2norm_in_kernel=use_qk_l2norm_in_kernel, cu_seqlens=cu_seqlens, backend=backend,
        )  # fmt: skip

    return gdn_core_chunk_gated_delta_rule


def _recurrent(backend: Backend | None) -> Callable[..., tuple[Tensor, Tensor | None]]:
    def gdn_core_recurrent_gated_delta_rule(
        query: Tensor,
        key: Tensor,
        value: Tensor,
        g: Tensor,
        beta: Tensor,
        initial_state: Tensor | None = None,
        output_final_state: bool = False,
        use_qk_l2norm_in_kernel: bool = False,
        cu_seqlens: Tensor | None = None,
        **kwargs: Any,
    ) -> tuple[Tensor, Tensor | None]:
        """Accept a layer's arguments; those meant for every layer have no effect."""
        return fused_recurrent_gated_delta_rule(
            query, key, value, g, beta=beta, initial_state=initial_state, output_final_state=output_final_state,
            use_qk_l2norm_in_kernel=use_qk_l2norm_in_kernel, cu_seqlens=cu_seqlens, backend=backend,
        )  # fmt: skip

    return gdn_core_recurrent_gated_delta_rule
