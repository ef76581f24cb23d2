"""The write rules of the lineage from linear attention to Gated DeltaNet: as data, as one reference, as kernels.

The functions of :mod:`gdn_core.ops.api` are here too, and PyTorch is imported when the first of them is asked for.
All else can be imported with NumPy alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gdn_core.equation import tex
from gdn_core.lab import metrics, scenarios
from gdn_core.lab.trajectory import Trajectory, trajectory
from gdn_core.rules import LINEAGE, RULES, Discretisation, Gate, WriteRule
from gdn_core.streams import Stream

if TYPE_CHECKING:
    from gdn_core.ops.api import (
        chunk_delta_rule,
        chunk_gated_delta_rule,
        chunk_gdn2,
        chunk_gla,
        chunk_kda,
        chunk_linear_attn,
        chunk_retention,
        chunk_simple_gla,
        fused_recurrent_delta_rule,
        fused_recurrent_gated_delta_rule,
        fused_recurrent_gdn2,
        fused_recurrent_gla,
        fused_recurrent_kda,
        fused_recurrent_linear_attn,
        fused_recurrent_retention,
        fused_recurrent_simple_gla,
    )

__all__ = [
    "LINEAGE",
    "RULES",
    "Discretisation",
    "Gate",
    "Stream",
    "Trajectory",
    "WriteRule",
    "chunk_delta_rule",
    "chunk_gated_delta_rule",
    "chunk_gdn2",
    "chunk_gla",
    "chunk_kda",
    "chunk_linear_attn",
    "chunk_retention",
    "chunk_simple_gla",
    "fused_recurrent_delta_rule",
    "fused_recurrent_gated_delta_rule",
    "fused_recurrent_gdn2",
    "fused_recurrent_gla",
    "fused_recurrent_kda",
    "fused_recurrent_linear_attn",
    "fused_recurrent_retention",
    "fused_recurrent_simple_gla",
    "metrics",
    "scenarios",
    "tex",
    "trajectory",
]


def __getattr__(name: str) -> Any:
    """Fetch a function of the API, and PyTorch with it."""
    if name not in __all__:
        raise AttributeError(f"module 'gdn_core' has no attribute {name!r}")
    from gdn_core.ops import api

    return getattr(api, name)
