"""Run Hugging Face transformers' layers of the delta rule on the functions of :mod:`gdn_core.ops.api`.

A layer of Gated DeltaNet (Qwen3-Next, Qwen3.5, OLMo-hybrid) or of Kimi Delta Attention (Kimi Linear) looks up its two
functions in its own module each time it runs. Replacing them there takes effect at once, also in models that exist
already, and putting the old ones back undoes it. transformers' own hook (``kernels`` from its hub) is no alternative:
it chooses functions when a module is imported, and takes them from a repository, not from what is installed.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gdn_core import extras

try:
    from torch import Tensor
except ModuleNotFoundError as error:
    raise extras.explained(error) from None

from gdn_core.ops import api
from gdn_core.ops.backends import Backend

#: The names of the functions in the modules of transformers, and of those here that replace them.
PAIRS = (
    {
        "torch_chunk_gated_delta_rule": "chunk_gated_delta_rule",
        "torch_recurrent_gated_delta_rule": "fused_recurrent_gated_delta_rule",
    },
    {
        "chunk_kimi_delta_attention": "chunk_kda",
        "recurrent_kimi_delta_attention": "fused_recurrent_kda",
    },
)
ARRAYS = ["query", "key", "value", "g", "beta"]

_replaced: dict[tuple[str, str], Callable[..., Any]] = {}  # by module and name


def models() -> tuple[str, ...]:
    """Return the folders of the installed ``transformers.models`` whose code defines both functions of a pair.

    The code is searched for their names and is not run.

    Raises:
        ModuleNotFoundError: if transformers is not installed.
    """
    extras.need("transformers")
    spec = importlib.util.find_spec("transformers.models")
    folders = [] if spec is None else [Path(place) for place in spec.submodule_search_locations or ()]
    found = []
    for path in sorted(path for folder in folders for path in folder.glob("*/modeling_*.py")):
        defined = set(re.findall(r"^def (\w+)\(", path.read_text(encoding="utf-8"), re.MULTILINE))
        if path.stem == f"modeling_{path.parent.name}" and any(pair.keys() <= defined for pair in PAIRS):
            found.append(path.parent.name)
    return tuple(found)


def enable(*names: str, backend: Backend | None = None) -> tuple[str, ...]:
    """Make transformers' layers use these functions, in this process, until :func:`disable`.

    Args:
        names: folders of ``transformers.models``; by default all that :func:`models` finds.
        backend: what to run on; chosen for each call by default.

    Returns:
        The models that run on these functions now.

    Raises:
        ModuleNotFoundError: if transformers is not installed, or has no such model.
        ValueError: if a model has no such layer.
    """
    extras.need("transformers")
    taken = []
    for model in names or models():
        name = f"transformers.models.{model}.modeling_{model}"
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError:
            if names:
                raise
            continue  # it needs a package that is not installed
        pairs = [pair for pair in PAIRS if all(_replaceable(getattr(module, function, None)) for function in pair)]
        if not pairs and names:
            wanted = ", or ".join(" and ".join(pair) for pair in PAIRS)
            raise ValueError(f"names: expected a model with {wanted}, got {model!r}")
        for function, ours in (item for pair in pairs for item in pair.items()):
            _replaced.setdefault((name, function), getattr(module, function))
            setattr(module, function, _adapted(getattr(api, ours), backend))
        if pairs:
            taken.append(model)
    return tuple(taken)


def _replaceable(function: Any) -> bool:
    """Tell whether a function takes what those here take first."""
    return callable(function) and list(inspect.signature(function).parameters)[: len(ARRAYS)] == ARRAYS


def disable() -> None:
    """Restore the functions of transformers' layers."""
    while _replaced:
        (name, function), theirs = _replaced.popitem()
        setattr(importlib.import_module(name), function, theirs)


@contextmanager
def enabled(*names: str, backend: Backend | None = None) -> Iterator[tuple[str, ...]]:
    """Make transformers' layers use these functions in a ``with`` block; arguments as of :func:`enable`."""
    before = {key: getattr(importlib.import_module(key[0]), key[1]) for key in _replaced}
    try:
        yield enable(*names, backend=backend)
    finally:
        disable()
        for (name, function), ours in before.items():  # restores an outer block or enable()
            module = importlib.import_module(name)
            _replaced[name, function] = getattr(module, function)
            setattr(module, function, ours)


def _adapted(rule: Callable[..., Any], backend: Backend | None) -> Callable[..., tuple[Tensor, Tensor | None]]:
    def gdn_core_rule(
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
        o, final_state = rule(
            query, key, value, g=g, beta=beta, initial_state=initial_state, output_final_state=output_final_state,
            use_qk_l2norm_in_kernel=use_qk_l2norm_in_kernel, cu_seqlens=cu_seqlens, backend=backend,
        )  # fmt: skip
        return o, final_state

    return gdn_core_rule
