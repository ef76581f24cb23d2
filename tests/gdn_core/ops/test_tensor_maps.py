"""What a kernel may pick depends on the device."""

import pytest

tensor_maps = pytest.importorskip("gdn_core.ops.kernels.tensor_maps", reason="Triton has no wheel for this platform")


@pytest.mark.parametrize(
    ("level", "entry"), [(0, "first"), (75, "first"), (80, "first"), (86, "first"), (90, "second"), (120, "second")]
)
def test_a_device_gets_the_entry_of_the_highest_capability_that_it_has(level: int, entry: str) -> None:
    assert tensor_maps.of_capability({80: "first", 90: "second"}, level) == entry
