"""The processes that check claims: their answers, and the handling of one that dies or takes too long."""

import json
import subprocess
import sys
from dataclasses import asdict

import pytest

from derivations.mutants.by_machine import every_mutant
from derivations.mutants.refutation import Cost, Refutation
from derivations.registry import load
from derivations.result import Verdict
from derivations.serve import encode, refutation, result
from derivations.workers import Worker, WorkerError, Workers
from tests.derivations.conftest import QUICK, ROOT

STEP = ("every_token_is_an_affine_map", 0, "")
BROKEN = [n for n, mutant in enumerate(every_mutant()) if mutant.place == "gdn_core.reference.step"][1:4]


@pytest.fixture
def worker():
    made = Worker()
    yield made
    made.kill()


def test_a_result_comes_back_from_the_process_as_it_was():
    made = load()[QUICK[0]].check()
    assert result(json.loads(encode(asdict(made)))) == made


def test_a_refutation_comes_back_from_the_process_as_it_was():
    made = Refutation("S", ("a.b", "x", "y"), "claim: step", "2 S")
    assert refutation(json.loads(encode(asdict(made)))) == made


def test_a_worker_does_one_task_after_the_other(worker):
    for name in QUICK:
        made = worker.check(name)
        assert (made.claim, made.verdict) == (name, Verdict.HOLDS)
    found = worker.refute(BROKEN, {STEP: Cost(0.0)})
    assert [refutation.key for refutation in found] == [every_mutant()[n].key for n in BROKEN]
    assert all(refutation.by.startswith(STEP[0]) and refutation.residual for refutation in found)


def test_a_process_that_died_is_replaced_at_the_next_task(worker):
    worker.check(QUICK[0])
    worker._process.kill()
    worker._process.wait()
    with pytest.raises(WorkerError, match="ended"):
        worker.check(QUICK[0])
    assert worker.check(QUICK[0]).verdict is Verdict.HOLDS


def test_a_task_that_takes_too_long_is_stopped_with_a_sentence():
    program = "import sys, time; print('ready', flush=True); sys.stdin.readline(); time.sleep(600)"
    worker = Worker(command=[sys.executable, "-c", program], limit=5)
    with pytest.raises(WorkerError, match="took longer than 5 s"):
        worker.check(QUICK[0])


def test_an_error_in_the_program_ends_every_process():
    with pytest.raises(ZeroDivisionError), Workers(2) as workers:  # noqa: PT012 - the error is the program's
        assert workers.submit(lambda worker: worker.check(QUICK[0])).result().verdict is Verdict.HOLDS
        processes = [worker._process for worker in workers._workers if worker._process]
        raise ZeroDivisionError
    assert processes and all(process.poll() is not None for process in processes)


def test_a_worker_ends_without_a_word_where_the_program_that_asked_was_killed():
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    served = subprocess.Popen([sys.executable, "-m", "derivations.serve"], cwd=ROOT, text=True, **pipes)
    assert served.stdout.readline() == "ready\n"
    served.stdout.close()
    served.stdin.write(json.dumps(["check", {"name": QUICK[0], "seed": 0}]) + "\n")
    served.stdin.close()
    assert (served.wait(timeout=60), served.stderr.read()) == (0, "")
    served.stderr.close()


WAITING = """
import sys, threading
from derivations.serve import serve
def wait():
    print("began", flush=True)
    threading.Event().wait(120)
serve({"wait": wait})
"""


def test_a_worker_ends_in_the_middle_of_a_task_where_the_program_that_asked_was_killed():
    asking = f"""
import sys
from derivations.workers import Worker
Worker(command=(sys.executable, "-c", {WAITING!r})).do("wait", {{}})
"""
    caller = subprocess.Popen([sys.executable, "-c", asking], cwd=ROOT, text=True, stderr=subprocess.PIPE)
    assert caller.stderr.readline() == "began\n"
    caller.kill()
    assert caller.communicate(timeout=60)[1] == ""  # it ends with the last process that may write there


def test_an_interrupt_between_the_ends_of_processes_leaves_none(monkeypatch):
    killed, kill = [], Worker.kill

    def interrupted(worker):
        kill(worker)
        killed.append(worker)
        if len(killed) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(Worker, "kill", interrupted)
    with pytest.raises(KeyboardInterrupt), Workers(3) as workers:  # noqa: PT012 - the first interrupt is here
        workers.submit(lambda worker: worker.check(QUICK[0])).result()
        raise KeyboardInterrupt
    assert {*killed} == {*workers._workers}


def test_a_script_without_a_main_guard_checks_claims_in_parallel(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\n"
        f"sys.path.insert(0, {str(ROOT)!r})\n"
        "from derivations.run import run\n"
        f"print(run({QUICK!r}, mutate=False, jobs=2).faults)\n"
    )
    done = subprocess.run(
        [sys.executable, script], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=True
    )
    assert (done.stdout, done.stderr) == ("()\n", "")
