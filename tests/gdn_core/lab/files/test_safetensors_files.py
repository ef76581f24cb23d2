"""Files of safetensors that are refused: damage, and dtypes that are no floats."""

import struct

import numpy as np
import pytest
from safetensors.numpy import save as save_safetensors

from gdn_core.lab.files import read
from gdn_core.lab.limits import LIMITS
from tests.gdn_core.lab.files.made import X, member, raw_safetensors, refused


class TestSafetensors:
    """Damage, and dtypes that are no floats."""

    @pytest.mark.parametrize(
        "data",
        [
            b"abc",
            struct.pack("<Q", 2**63) + b"{}",
            raw_safetensors({"k": member()}, bytes(7)),
            raw_safetensors({"k": member(shape=(-2,))}, bytes(8)),
            raw_safetensors({"k": member(shape=(2**62, 2**62))}, bytes(8)),
            raw_safetensors({"k": member(shape=(3,))}, bytes(8)),
            raw_safetensors({"k": member(dtype="NO")}, bytes(8)),
            raw_safetensors(b'{"k": {}'),
            raw_safetensors(b"[" * 1000),
            raw_safetensors(
                b'{"k":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},'
                b'"k":{"dtype":"F32","shape":[2],"data_offsets":[8,16]}}',
                bytes(16),
            ),
        ],
    )
    def test_a_damaged_file_is_refused(self, data):
        with pytest.raises(
            ValueError, match=r"^'x.safetensors': expected a safetensors file, got a truncated or damaged"
        ):
            read("x.safetensors", data)

    def test_other_numbers_than_floats_are_refused(self):
        refused("x.safetensors", save_safetensors({"k": np.arange(3)}),
                "'x.safetensors', 'k': expected F16, BF16, F32 or F64, got 'I64'", TypeError)  # fmt: skip

    def test_long_directories_and_many_arrays_are_refused(self):
        data = raw_safetensors(b"{" + b" " * 2**21 + b"}")
        refused("x.safetensors", data, "'x.safetensors': expected a header of at most 1 MB, got 2 MB")
        data = save_safetensors({f"a{i}": X for i in range(LIMITS.arrays + 1)})
        refused("x.safetensors", data, "'x.safetensors': expected at most 512 arrays, got 513")
        refused("x.safetensors", save_safetensors({}), "'x.safetensors': expected at least one array, got none")
