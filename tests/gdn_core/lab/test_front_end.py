"""The quicker front end of Triton's interpreter: the same bits as without it, and only for the version it is for."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gdn_core import streams
from gdn_core.lab.worker import front_end
from gdn_core.ops.kernels.operands import Operands, Packed
from gdn_core.rules import RULES

ROOT = Path(__file__).resolve().parents[3]
# Sizes that are powers of two, whose blocks have nothing masked out, and such that have; one token, and one channel.
SIZES = ((8, 16, 32), (5, 3, 6), (1, 4, 4), (3, 1, 8), (4, 8, 1))
SETS = (
    ("linear-attention", "mamba-2", "deltanet", "gated-deltanet"),
    ("linear-attention-normalised", "deltanet", "gla"),
    ("s4", "mamba", "kimi-delta-attention"),
    tuple(RULES)[:8],
    tuple(RULES)[8:],
)


def packed(rules: tuple[str, ...], T: int, V: int, K: int) -> tuple[Packed, np.ndarray]:
    rng = np.random.default_rng([T, V, K])
    k = rng.normal(size=(T, K))
    stream = streams.Stream(
        q=rng.normal(size=(T, K)),
        k=k / np.linalg.norm(k, axis=1, keepdims=True),
        v=rng.normal(size=(T, V)),
        g=-rng.random(T),
        beta=rng.random(T),
        w=rng.random(T),
        delta=rng.random(T),
        A=-np.arange(1.0, K + 1),
    )
    operands = Packed.of([Operands.of(streams.tokens(RULES[r], streams.held(RULES[r], stream))) for r in rules])
    R, _, rows = operands.v.shape
    return operands, rng.normal(size=(R, rows, K)).astype(np.float32)


def launched() -> dict[str, list[str]]:
    """Launch every case without the front end, with it but for memory, and with all of it, in this process, and return
    the bits of each.
    """
    from triton.runtime.interpreter import InterpreterBuilder

    from gdn_core.ops.kernels.trajectory import launch

    def bits(case: tuple[Packed, np.ndarray]) -> str:
        operands, S = case
        out, S = launch(operands, S, device="cpu")
        kept = [(out[r, :, :rows], S[r, :rows]) for r, rows in enumerate(operands.rows)]  # others are undefined
        return b"".join(part.tobytes() for pair in kept for part in pair).hex()

    cases = {f"{rules} {size}": packed(rules, *size) for rules in SETS for size in SIZES}
    found = {name: [bits(case)] for name, case in cases.items()}
    load = InterpreterBuilder.create_masked_load
    for moving in (False, True):
        assert front_end.install(moving=moving)
        assert (InterpreterBuilder.create_masked_load is load) is not moving
        for name, case in cases.items():
            found[name].append(bits(case))
    return found


def test_every_launch_has_the_bits_it_has_without() -> None:
    env = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": str(ROOT)}
    ran = subprocess.run([sys.executable, __file__], env=env, capture_output=True, text=True, check=True)
    found = json.loads(ran.stdout)
    assert len(found) == len(SETS) * len(SIZES)
    assert len({before for before, *_ in found.values()}) == len(found)
    for name, launches in found.items():
        assert len(launches) == 3
        assert len(set(launches)) == 1, name


@pytest.mark.parametrize("version", ["3.6.0", "3.7.0", "3.7.1.post1", "3.8.0"])
def test_another_version_of_triton_is_left_as_it_is(version: str) -> None:
    assert not front_end.install(version)


def test_it_is_written_for_the_version_that_is_pinned() -> None:
    pinned = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line.startswith("triton==")]
    assert [line.split(";")[0].strip() for line in pinned] == [f"triton=={front_end.WRITTEN_FOR}"]


def test_addresses_are_cut_where_one_does_not_follow_the_other() -> None:
    rows = np.array([[96, 100, 104], [108, 112, 116], [8, 12, 16], [12, 16, 24]], np.uint64)
    meant = np.ones_like(rows, bool)
    assert front_end.runs(rows, meant, 4) == [(96, 0, 24), (8, 24, 12), (12, 36, 8), (24, 44, 4)]
    meant[2, 1] = False
    assert front_end.runs(rows, meant, 4) is None  # a masked element has a value of its own
    again = np.full(3, 64, np.uint64)
    assert front_end.runs(again, np.ones(3, bool), 4) == [(64, 0, 4), (64, 4, 4), (64, 8, 4)]
    apart = np.arange(front_end.MOST_RUNS + 1, dtype=np.uint64) * 8
    assert front_end.runs(apart, np.ones_like(apart, bool), 4) is None
    assert len(front_end.runs(apart[:-1], np.ones_like(apart[:-1], bool), 4) or []) == front_end.MOST_RUNS


if __name__ == "__main__":
    sys.stdout.write(json.dumps(launched()))
