"""The write rules of the lineage from linear attention to Gated DeltaNet: as data, as one reference, as kernels."""

from gdn_core import metrics, scenarios
from gdn_core.equation import tex
from gdn_core.rules import LINEAGE, RULES, Discretisation, Gate, WriteRule
from gdn_core.streams import Stream
from gdn_core.trajectory import Trajectory, trajectory

__all__ = [
    "LINEAGE",
    "RULES",
    "Discretisation",
    "Gate",
    "Stream",
    "Trajectory",
    "WriteRule",
    "metrics",
    "scenarios",
    "tex",
    "trajectory",
]
