"""The benchmark of the public functions: its processes, its checks, its floor and its report, but not its times."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch

CUDA = torch.cuda.is_available()
if not CUDA:  # read when a kernel is decorated, so before any is imported
    os.environ["TRITON_INTERPRET"] = "1"

pytest.importorskip("triton", reason="Triton has no wheel for this platform")

from gdn_core.ops import bench, calls  # noqa: E402
from gdn_core.ops.bench import cases, check, command, report, runners, sequence  # noqa: E402
from gdn_core.ops.bench.cases import CASES, GATES, Case  # noqa: E402
from gdn_core.ops.bench.children import START, Child, Failed, Late  # noqa: E402
from gdn_core.ops.bench.floor import Rates, floor  # noqa: E402
from gdn_core.ops.bench.race import Entry, Plan, Race  # noqa: E402

SMALL = Case("small", "forward", 1, 48, 1, 2, K=8, V=6)
BOTH = replace(SMALL, name="small both", what="both")
LONG = replace(SMALL, name="long", T=60, H=2)
ROUNDS = 2

# Two libraries: one refuses gradients, and is wrong with two key heads; the other dies of long sequences.
FAKES = {
    "fla/__init__.py": "",
    "fla/ops/__init__.py": "",
    "fla/ops/gated_delta_rule.py": """
from gdn_core.ops import api
def chunk_gated_delta_rule(q, *arrays, **options):
    print("what a library prints is no answer")
    if q.requires_grad:
        raise RuntimeError("this Triton is too old\\nfor gradients")
    return api.chunk_gated_delta_rule(q.shape[2] ** 0.5 * q, *arrays, **options)
""",
    "flash_qla.py": """
import os, signal, sys
from gdn_core.ops import api
__version__ = "3.4"
def chunk_gated_delta_rule(q, *arrays, **options):
    if q.shape[1] > 48:
        print("its last words", file=sys.stderr, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    return api.chunk_gated_delta_rule(q, *arrays, **options)
""",
}
SCALED = """
from gdn_core.ops import calls
run = calls.run
calls.run = lambda form, q, *arrays, **options: run(form, 1.001 * q, *arrays, **options)
"""


def written(folder: Path, files: dict[str, str]) -> Path:
    """A folder with these files."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def raced(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, str, dict[str, Any]]:
    """The exit code, the text and the figures of a race of three libraries, in processes of their own."""
    folder = written(tmp_path_factory.mktemp("race"), FAKES)
    said: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(cases.CASES, "cpu", (LONG, SMALL, BOTH))
        patch.setattr(command, "_say", said.append)
        code = bench.main([
            "--set", "cpu", "--libraries", "fla", "flash-qla", "--rounds", str(ROUNDS), "--commit", "abc",
            "--json", str(folder / "figures"), "--path", f"fla={folder}", "--path", f"flash-qla={folder}",
        ])  # fmt: skip
    return code, "\n".join(said), json.loads((folder / "figures").read_text())


def test_a_report_says_what_ran_where_and_how_far_from_the_others_and_the_floor(raced: Any) -> None:
    code, said, figures = raced
    assert code == 0
    for part in ("device", "commit abc", "torch 2", "flash-qla 3.4", "check: 3 of 3", "B1 T48 H1 HV2 K8 V6 float32",
                 "x ours", "floor", "error", "3 of 3 cases"):  # fmt: skip
        assert part in said
    assert figures["machine"]["torch"] in torch.__version__ and set(figures["rates"]) == {"float32"}
    assert [Case(**{**x["case"], "lengths": ()}) for x in figures["results"]] == [LONG, SMALL, BOTH]
    ours, *others = figures["results"][1]["times"]
    assert [x["runner"] for x in (ours, *others)] == ["gdn_core", "fla", "flash-qla"]
    assert all(len(x["rounds"]) == ROUNDS and x["first"] > 0 for x in (ours, *others))
    assert [x["first_alone"] for x in (ours, *others)] == [True, False, False]
    assert set(figures["results"][2]["times"][0]["errors"]) == {"o", "dq", "dk", "dv", "dg", "dbeta"}


def test_a_library_that_fails_has_a_sentence_and_the_rest_goes_on(raced: Any) -> None:
    _, said, figures = raced
    long, small, both = (x["refused"] for x in figures["results"])
    assert long == {
        "fla": "o is off by 4.1e-01 of its size, and 0.02 is allowed",
        "flash-qla": "its process ended with signal 9: its last words",
    }
    assert small == {} and both == {"fla": "this Triton is too old"}  # it is started again
    assert "  fla          this Triton is too old\n" in said


def test_a_wrong_function_of_this_project_is_not_timed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(cases.CASES, "cpu", (SMALL,))
    written(tmp_path, {"sitecustomize.py": SCALED})
    assert bench.main(["--set", "cpu", "--libraries", "gdn_core", "--path", f"gdn_core={tmp_path}"]) == 1
    said = capsys.readouterr().out
    assert "  gdn_core     o is off by" in said and "check: 0 of 1" in said and "(least" not in said


def test_a_process_that_does_not_answer_is_ended() -> None:
    child = Child("gdn_core", "cpu", environment={})
    with pytest.raises(Late, match="longer than 0 s"):
        child.ask("facts", 0)
    assert not child.alive
    with pytest.raises(Failed):
        child.ask("facts", 0)


def test_libraries_take_turns_and_slow_ones_have_fewer_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str]] = []

    class Fake:
        alive = True
        end = print

        def __init__(self, library: str, *_: Any, **__: Any) -> None:
            self.library = library

        def ask(self, do: str, seconds: float, **_: Any) -> dict[str, Any]:
            asked.append((self.library, do))
            if self.library == "transformers":
                raise Failed("it needs another Python")
            if do == "facts":
                return {"versions": {"torch": "2"}}
            if (self.library, do) == ("fla", "round") and asked.count(("fla", "round")) == 2:
                raise Failed("it crashed")
            return {"not_captured": "", "peak": 1, "replayed": None, "eager": 2.0, "host": 3.0}

    monkeypatch.setattr("gdn_core.ops.bench.race.Child", Fake)
    plan = Plan("cuda", ("gdn_core", "transformers", "fla"), {}, {}, rounds=3, limit=1.0, warm_up=1.0, until=1e18)
    said: list[str] = []
    race = Race([SMALL], plan, said.append)
    assert set(race.facts()) == {"gdn_core", "fla"}
    assert said == ["transformers is not timed: it needs another Python"]
    ((_, (ours, fla)),) = race.results()
    rounds = [name for name, do in asked if do == "round"]
    assert rounds == ["gdn_core", "fla", "gdn_core", "fla", "gdn_core"]
    assert (ours.eager, ours.replayed, fla.refused) == ([2.0] * 3, [], "it crashed")
    monkeypatch.setattr("gdn_core.ops.bench.race.SLOW", -1.0)
    asked.clear()
    race = Race([SMALL], replace(plan, rounds=9, libraries=("gdn_core",)), lambda line: None)
    assert len(list(race.results())) == 1 and asked.count(("gdn_core", "round")) == 3
    race = Race([SMALL], replace(plan, until=0.0), lambda line: None)
    assert list(race.results()) == []


def test_packed_sequences_are_given_as_such() -> None:
    seen = []

    def rule(q: torch.Tensor, *arrays: torch.Tensor, **options: Any) -> tuple[torch.Tensor, None]:
        seen.append((q.shape, options["g"], options["cu_seqlens"].tolist()))
        return arrays[1], None

    case = replace(SMALL, lengths=(20, 28))
    given = cases.draw(case, "cpu")
    runners.prepare(rule, case, given)()
    assert case.tokens == "packed 20 + 28" and seen[-1][0] == (1, 48, 1, 8) and seen[-1][2] == [0, 20, 48]

    # FlashInfer: all tokens in a row, and a decay that is no log
    def in_a_row(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, **options: Any) -> torch.Tensor:
        seen.append((q.shape, options["g"], options["cu_seqlens"].tolist()))
        return v

    batch = replace(SMALL, B=3)
    given = cases.draw(batch, "cpu")
    (o,) = runners.prepare(runners._in_a_row(in_a_row), batch, runners.inputs_for("flashinfer", batch, given))()
    assert torch.equal(o, given["v"]) and seen[-1][0] == (144, 1, 8) and seen[-1][2] == [0, 48, 96, 144]
    assert torch.equal(seen[-1][1], given["g"].exp().reshape(144, 2))


def test_flashinfer_decodes_from_logits_and_a_memory_that_it_may_change() -> None:
    case = Case("one", "decode", 3, 1, 1, 2, K=8, V=6)
    given = cases.draw(case, "cpu")
    torch.testing.assert_close(given["g"], -torch.nn.functional.softplus(given["a"]))
    torch.testing.assert_close(given["beta"], given["logits"].sigmoid())

    def rule(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, **x: Any) -> tuple[torch.Tensor, torch.Tensor]:
        assert torch.equal(x["a"], given["a"]) and torch.equal(x["b"], given["logits"]) and not x["use_qk_l2norm"]
        assert not x["A_log"].any() and not x["dt_bias"].any() and x["state"].shape == (3, 2, 6, 8)
        x["state"].zero_()
        return v, x["state"]

    o, S = runners.prepare(runners._one_token(rule), case, runners.inputs_for("flashinfer", case, given))()
    assert torch.equal(o, given["v"]) and S.shape == (3, 2, 8, 6) and given["initial_state"].any()


@pytest.mark.parametrize(
    ("library", "case", "sentence"),
    [
        ("flashinfer", BOTH, "no backward"),
        ("flashinfer", replace(SMALL, rule="kda"), "Blackwell"),
        ("flash-qla", replace(SMALL, rule="gla"), "no such function"),
        ("transformers", replace(SMALL, lengths=(48,)), "no packed sequences"),
    ],
)
def test_a_library_without_a_function_says_so(library: str, case: Case, sentence: str) -> None:
    with pytest.raises(runners.Missing, match=sentence):
        runners.find(library, case, "cuda")


KINDS = [(what, rule) for what in ("forward", "backward", "both", "decode") for rule in GATES]


@pytest.mark.parametrize(("what", "rule"), [kind for kind in KINDS if kind != ("decode", "gla")])  # no case is
def test_the_check_holds_and_notices_a_scaled_query(what: str, rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case("small", what, 2, 40 if what != "decode" else 1, 1, 2, K=8, V=6, rule=rule)
    assert check.check(case, "cpu") is None
    found = check.errors("gdn_core", case, "cpu")
    assert tuple(found) == check.names(case) and max(found.values()) < 1e-5 and check.wrong(found) is None
    run = calls.run

    def scaled(form: str, q: torch.Tensor, *arrays: torch.Tensor, **options: object) -> object:
        return run(form, 1.001 * q, *arrays, **options)

    monkeypatch.setattr(calls, "run", scaled)
    assert "o is off by" in (check.check(case, "cpu") or "")


@pytest.mark.parametrize("lengths", [(), (13, 35)])
def test_the_errors_are_those_of_the_worst_part(lengths: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    case = replace(BOTH, H=2, HV=4, lengths=lengths)
    right = runners.find("gdn_core", case, "cpu")

    def wrong_at_the_end(*arrays: torch.Tensor, **options: Any) -> tuple[torch.Tensor, None]:
        o = right(*arrays, **options)[0]
        factor = torch.ones_like(o)
        factor[:, -2:, -1] = 1.5
        return o * factor, None

    monkeypatch.setattr(check, "find", lambda *_: wrong_at_the_end)
    found = check.errors("gdn_core", case, "cpu")
    assert found["o"] == pytest.approx(0.5 * (2 / 6) ** 0.5, rel=0.5)  # two of the six tokens of the last eighth
    assert "o is off by" in (check.wrong(found) or "") and "nan" in (check.wrong({"o": float("nan")}) or "")
    assert check.wrong({"o": 0.0, "dg": 0.06}) == "dg is off by 6.0e-02 of its size, and 0.05 is allowed"


def test_the_floor_is_the_larger_of_moving_and_multiplying() -> None:
    memory = floor(SMALL, Rates(copy=1e3, rate=1e30, chunk=1e-3))
    assert memory.bound == "memory" and (memory.chunks, memory.sequence) == (1, 1.0)
    assert memory.bytes == 4 * 48 * (2 * 8 + 2 * 2 * 6 + 2 * 2)  # q and k, v and o, g and beta
    assert memory.milliseconds == memory.memory == pytest.approx(memory.bytes)
    matrix = floor(SMALL, Rates(copy=1e30, rate=1e3))
    assert matrix.bound == "matrix" and matrix.milliseconds == pytest.approx(matrix.operations)
    # of the memory: erase, write and read; of the chunk: products of keys, of queries, and both times values
    assert matrix.operations == 48 * 2 * 2 * (3 * 8 * 6 + 64 * (8 + 6))
    both_ways = (Case("back", what, 1, 48, 1, 2, K=8, V=6) for what in ("backward", "both"))
    backward, both = (floor(case, Rates(1e3, 1e3)) for case in both_ways)
    assert backward.bytes == memory.bytes + 4 * 48 * (2 * 8 + 2 * 6 + 2 * 2)  # do for o, and the gradients
    assert (both.bytes, both.operations) == (memory.bytes + backward.bytes, memory.operations + backward.operations)
    assert (backward.chunks, both.chunks) == (1, 2)
    decode = floor(Case("one", "decode", 3, 1, 1, 2, K=8, V=6), Rates(1e3, 1e30, 1.0))
    assert decode.bytes == 4 * 3 * (2 * 8 + 2 * 2 * 6 + 2 * 2) + 2 * 4 * 3 * 2 * 8 * 6  # and each memory in and out
    assert decode.sequence == 0


def test_the_floor_counts_gates_by_channel_and_the_longest_sequence() -> None:
    gdn2, gla = (floor(replace(SMALL, rule=rule, lengths=(7, 41)), Rates(1e3, 1e30)) for rule in ("gdn2", "gla"))
    arrays = 4 * 48 * (2 * 8 + 2 * 2 * 6)
    assert gdn2.bytes == arrays + 4 * 48 * 2 * (8 + 8 + 6) and gla.bytes == arrays + 4 * 48 * 2 * 8
    assert gla.operations == 48 * 2 * 2 * (2 * 8 * 6 + 64 * (8 + 6) // 2)  # nothing is erased
    assert floor(replace(SMALL, T=300, lengths=(200, 100)), Rates(1.0, 1.0, 1e-3)).sequence == 4.0


def test_chunks_in_sequence_are_two_products_each() -> None:
    S = sequence.in_sequence(3, 32, 16, 16, device := "cuda" if CUDA else "cpu")
    w, k, want = (x.float() for x in sequence._operands[32, 16, 16, device])
    for _ in range(3):
        want = want - k @ (w @ want)
    torch.testing.assert_close(S, want, rtol=2e-2 if CUDA else 1e-5, atol=2e-2 if CUDA else 1e-5)


def test_a_report_shows_what_was_not_captured_or_not_alone() -> None:
    ours = Entry("gdn_core", eager=[2.0, 4.0], host=[1.0], first=3.0, alone=True, errors={"o": 0.01, "dq": 0.02})
    ours.not_captured = "not captured in a graph: it asks the GPU"
    other = Entry("fla", replayed=[6.0], eager=[7.0], host=[1.0], first=9.0, errors={"o": 0.03})
    rates = Rates(1e12, 1e12, 1e-6)
    case = replace(SMALL, T=640)
    shown = report.lines(case, [ours, other], floor(case, rates), rates, "cuda")
    assert "-" in shown[1] and "eager     3.000 ms" in shown[1] and "first call  3.0 s" in shown[1]
    assert shown[1].endswith("error 1.0e-02, dq 2.0e-02") and shown[2].endswith("it asks the GPU")
    assert "first call ~9.0 s" in shown[3] and shown[3].endswith("2.00 x ours")
    assert "10 chunks in sequence x 1.00 us 0.010 ms" in shown[4]
    figures = report.numbers(case, [ours, other], floor(case, rates))
    assert figures["times"][0]["median"] is None and json.dumps(figures)


def test_a_case_crosses_a_pipe() -> None:
    for case in CASES["gpu"]:
        back = json.loads(json.dumps(asdict(case)))
        assert Case(**{**back, "lengths": tuple(back["lengths"])}) == case
    assert len({case.name for case in CASES["gpu"]}) == len(CASES["gpu"])
    assert START > 0


def test_a_call_that_cannot_be_followed_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    wrong = [(["--only", "nothing"], "there are forward"), (["--path", "fla"], "expected LIBRARY=FOLDERS")]
    wrong.append((["--path", "other=x"], "expected LIBRARY=FOLDERS"))
    for arguments, sentence in wrong:
        with pytest.raises(SystemExit):
            bench.main(["--set", "cpu", *arguments])
        assert sentence in capsys.readouterr().err
    if not torch.cuda.is_available():
        with pytest.raises(SystemExit):
            bench.main(["--set", "gpu"])
        assert "needs an NVIDIA GPU" in capsys.readouterr().err
