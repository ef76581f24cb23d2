"""The benchmark of the public functions: its check, its floor and its report, but not its times."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from gdn_core.ops import bench, calls
from gdn_core.ops.bench import cases, command, runners, timing
from gdn_core.ops.bench.cases import Case
from gdn_core.ops.bench.check import check
from gdn_core.ops.bench.floor import floor

SMALL = Case("small", "forward", 1, 48, 1, 2, K=8, V=6)


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(cases.CASES, "cpu", (SMALL,))
    monkeypatch.setattr(command, "measure_machine", lambda device, dtype: (1e10, 1e11))


def test_a_report_says_what_ran_where_and_how_far_from_the_others_and_the_floor(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench.main(["--set", "cpu", "--json", str(tmp_path / "figures")]) == 0
    said = capsys.readouterr().out
    for part in ("device", "commit", "torch 2", "check: 1 of 1", "B1 T48 H1 HV2 K8 V6 float32", "gdn_core", "floor"):
        assert part in said
    report = json.loads((tmp_path / "figures").read_text())
    assert report["machine"]["torch"] in torch.__version__
    (result,) = report["results"]
    assert result["case"]["dtype"] == "float32" and len(result["times"][0]["rounds"]) == timing.ROUNDS["cpu"]


def test_packed_sequences_are_given_as_such_to_who_takes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def rule(q: torch.Tensor, *arrays: torch.Tensor, **options: Any) -> tuple[torch.Tensor, None]:
        seen.append((q.shape, options["g"].exp(), options["cu_seqlens"].tolist()))
        return arrays[1], None

    case = replace(SMALL, lengths=(20, 28))
    monkeypatch.setattr(timing, "runners", lambda what, device: {"gdn_core": rule, "transformers": None})
    (time,) = timing.race(case, "cpu")
    assert time.runner == "gdn_core" and time.eager == time.median and case.tokens == "packed 20 + 28"
    assert all(shape == (1, 48, 1, 8) and bounds == [0, 20, 48] for shape, _, bounds in seen)
    # FlashInfer: all tokens in a row, and a decay that is no log
    given = cases.draw(replace(SMALL, B=3), "cpu")
    assert torch.equal(runners.inputs_for("flashinfer", given)["g"], given["g"].exp())
    runners._in_a_row(lambda q, k, v, **options: seen.append((q.shape, options["g"], options["cu_seqlens"].tolist())))(
        given["q"], given["k"], given["v"], g=given["g"], beta=given["beta"], initial_state=None
    )
    assert seen[-1][0] == (144, 1, 8) and seen[-1][2] == [0, 48, 96, 144]
    assert torch.equal(seen[-1][1], given["g"].reshape(144, 2))


@pytest.mark.parametrize("what", ["forward", "backward", "both", "decode"])
def test_a_wrong_function_is_not_timed(
    what: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    case = Case("small", what, 1, 48 if what != "decode" else 1, 1, 2)
    monkeypatch.setitem(cases.CASES, "cpu", (case,))
    assert check(case, "cpu") is None
    run = calls.run

    def scaled(form: str, q: torch.Tensor, *arrays: torch.Tensor, **options: object) -> object:
        return run(form, 1.001 * q, *arrays, **options)

    monkeypatch.setattr(calls, "run", scaled)
    assert bench.main(["--set", "cpu"]) == 1
    said = capsys.readouterr().out
    assert "small: o is off by" in said and " ms" not in said


def test_the_floor_is_the_larger_of_moving_and_multiplying() -> None:
    memory = floor(SMALL, copy=1e3, rate=1e30)
    assert memory.bound == "memory"
    assert memory.bytes == 4 * 48 * (2 * 8 + 2 * 2 * 6 + 2 * 2)  # q and k, v and o, g and beta
    assert memory.milliseconds == pytest.approx(memory.bytes)
    matrix = floor(SMALL, copy=1e30, rate=1e3)
    assert matrix.bound == "matrix" and matrix.milliseconds == pytest.approx(matrix.operations)
    both_ways = (Case("back", what, 1, 48, 1, 2, K=8, V=6) for what in ("backward", "both"))
    backward, both = (floor(case, copy=1e3, rate=1e3) for case in both_ways)
    assert backward.bytes == memory.bytes + 4 * 48 * (2 * 8 + 2 * 6 + 2 * 2)  # do for o, and the gradients
    assert (both.bytes, both.operations) == (memory.bytes + backward.bytes, memory.operations + backward.operations)
    decode = floor(Case("one", "decode", 3, 1, 1, 2, K=8, V=6), copy=1e3, rate=1e30)
    assert decode.bytes == 4 * 3 * (2 * 8 + 2 * 2 * 6 + 2 * 2) + 2 * 4 * 3 * 2 * 8 * 6  # and each memory in and out


def test_a_set_that_cannot_run_and_a_case_that_is_not_there_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        bench.main(["--set", "cpu", "--only", "nothing"])
    assert "there are small" in capsys.readouterr().err
    if not torch.cuda.is_available():
        with pytest.raises(SystemExit):
            bench.main(["--set", "gpu"])
        assert "needs an NVIDIA GPU" in capsys.readouterr().err
