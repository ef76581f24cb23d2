"""The write rules of the lineage from linear attention to Gated DeltaNet: as data, as one reference, as kernels."""

from gdn_core.rules import LINEAGE, RULES, Gate, WriteRule

__all__ = ["LINEAGE", "RULES", "Gate", "WriteRule"]
