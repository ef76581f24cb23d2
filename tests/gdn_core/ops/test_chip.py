"""The choice of kernels and tiles by device."""

import os

import pytest
import torch

if not torch.cuda.is_available():  # read when Triton is imported, which chip.py does
    os.environ["TRITON_INTERPRET"] = "1"
chip = pytest.importorskip("gdn_core.ops.kernels.chip", reason="Triton has no wheel for this platform")
chunk = pytest.importorskip("gdn_core.ops.kernels.chunk", reason="Triton has no wheel for this platform")


@pytest.mark.parametrize(
    ("capability", "entry"),
    [(0, "first"), (75, "first"), (80, "first"), (86, "first"), (90, "second"), (120, "second")],
)
def test_a_device_gets_the_entry_of_the_highest_capability_that_it_has(capability: int, entry: str) -> None:
    assert chip.of_capability({80: "first", 90: "second"}, capability) == entry


@pytest.mark.parametrize(
    ("tokens", "heads", "chunks"),
    [
        (2048, 32, "whole"), (8192, 32, "whole"), (32768, 32, 128), (2048, 16, 8), (8192, 16, 32), (2048, 8, 8),
        (8192, 8, 16), (32768, 8, 64), (32768, 2, 16), (1024, 2, "whole"), (32768, 64, "whole"),
    ],
)  # fmt: skip
def test_a_sequence_is_split_as_was_quickest_on_132_multiprocessors(
    tokens: int, heads: int, chunks: int | str
) -> None:
    length = chunk.segment_length(sequences=1, total=tokens, heads=heads, V=128, processors=132)
    assert ("whole" if 64 * length >= tokens else length) == chunks


@pytest.mark.parametrize("processors", [1, 46, 108, 132, 148])
def test_split_scans_of_one_half_of_the_chip_or_less_fill_it_about_once(processors: int) -> None:
    for sequences, heads, V in ((1, 1, 16), (1, 3, 128), (2, 7, 100), (3, 16, 64), (5, 1, 256)):
        for tokens in (1, 64, 2047, 2048, 70_000, 300_000):
            total = sequences * tokens
            length = chunk.segment_length(sequences=sequences, total=total, heads=heads, V=V, processors=processors)
            programs = sequences * heads * -(-V // 64)
            if length * 64 < tokens:
                assert length >= 8
                assert 2 * programs <= processors
                assert programs * -(-tokens // (64 * length)) <= 2 * processors
            else:
                assert 2 * programs > processors or tokens < 256 * 64
