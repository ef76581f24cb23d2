"""The choice of kernels and tiles by device."""

import os

import pytest
import torch

if not torch.cuda.is_available():  # read when Triton is imported, which chip.py does
    os.environ["TRITON_INTERPRET"] = "1"
chip = pytest.importorskip("gdn_core.ops.kernels.chip", reason="Triton has no wheel for this platform")


@pytest.mark.parametrize(
    ("capability", "entry"),
    [(0, "first"), (75, "first"), (80, "first"), (86, "first"), (90, "second"), (120, "second")],
)
def test_a_device_gets_the_entry_of_the_highest_capability_that_it_has(capability: int, entry: str) -> None:
    assert chip.of_capability({80: "first", 90: "second"}, capability) == entry
