"""Launches in worker processes: right under concurrency, and unaffected by crashes and hangs of other launches."""

import inspect
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from gdn_core import streams
from gdn_core.lab.trajectory import Trajectory, trajectory
from gdn_core.lab.worker import pool as workers
from gdn_core.lab.worker.pool import LaunchError, Pool, _Line
from gdn_core.rules import RULES

ROOT = Path(__file__).resolve().parents[3]
COMMAND = [sys.executable, str(Path(__file__).with_name("kernel_worker.py"))]
BARE = [*COMMAND, "--bare"]


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    """Two workers that also break on request."""
    pool = Pool(2, command=COMMAND)
    pool.warm()
    yield pool
    pool.close()


@pytest.fixture
def bare() -> Iterator[Pool]:
    """One worker without kernels, which starts in no time."""
    pool = Pool(1, command=BARE)
    yield pool
    pool.close()


@pytest.fixture
def through(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> Pool:
    """The same pool, under every trajectory of the test."""
    monkeypatch.setattr(workers, "pool", lambda **_: pool)
    return pool


def stream(seed: int, T: int = 8) -> streams.Stream:
    rng = np.random.default_rng(seed)
    k = rng.normal(size=(T, 5))
    return streams.Stream(
        q=rng.normal(size=(T, 5)),
        k=k / np.linalg.norm(k, axis=1, keepdims=True),
        v=rng.normal(size=(T, 3)),
        g=-rng.random(T),
        beta=rng.random(T),
        w=rng.random(T),
        delta=rng.random(T),
        A=-np.arange(1.0, 6.0),
    )


def run(seed: int) -> Trajectory:
    return trajectory(list(RULES)[seed % 5 : seed % 5 + 4], stream(seed))


def alike(one: Trajectory, other: Trajectory) -> bool:
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in ("states", "read", "u", "o"))


def pids(pool: Pool) -> set[int]:
    return {worker.process.pid for worker in pool._workers if worker.process}


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits for its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def soon(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    end = time.monotonic() + seconds
    while not (met := condition()) and time.monotonic() < end:
        time.sleep(0.05)
    return met


def test_24_threads_at_once_get_what_each_gets_alone(through: Pool) -> None:
    alone = [run(seed) for seed in range(24)]
    with ThreadPoolExecutor(24) as threads:
        together = list(threads.map(run, range(24)))
    assert all(map(alike, alone, together))
    assert len(pids(through)) == 2


def test_a_launch_that_crashes_every_time_gets_a_sentence_and_harms_no_other(through: Pool, tmp_path: Path) -> None:
    alone = [run(seed) for seed in range(12)]
    header = {"op": "abort", "tries": str(tmp_path / "tries"), "times": 9}
    with ThreadPoolExecutor(13) as threads:
        crash = threads.submit(through.call, header, {})
        together = list(threads.map(run, range(12)))
        with pytest.raises(LaunchError, match=r"ended 3 times under this launch \(exit status -6\)"):
            crash.result()
    assert all(map(alike, alone, together))
    assert (tmp_path / "tries").stat().st_size == 3


def test_a_worker_that_dies_while_idle_is_replaced_unnoticed(through: Pool) -> None:
    before = run(1)
    for pid in pids(through):
        os.kill(pid, signal.SIGKILL)
    assert alike(before, run(1))


@pytest.mark.parametrize("times", [1, 2])
def test_a_launch_that_crashes_once_or_twice_is_run_again(times: int, bare: Pool, tmp_path: Path) -> None:
    bare.call({"op": "abort", "tries": str(tmp_path / "tries"), "times": times}, {})
    assert (tmp_path / "tries").stat().st_size == times + 1


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="looks at a process as Linux shows it")
def test_a_worker_that_interprets_starts_and_launches_without_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = Pool(1)
    try:
        if pool.facts()["cuda"]:
            pytest.skip("kernels are compiled here")
        monkeypatch.setattr(workers, "pool", lambda **_: pool)
        assert run(3).run.backend == "interpreter"
        (pid,) = pids(pool)
        loaded = Path(f"/proc/{pid}/maps").read_text()
        assert "libtriton" in loaded
        assert "libtorch" not in loaded
    finally:
        pool.close()


def test_a_launch_may_take_ten_seconds_unless_it_says_otherwise() -> None:
    assert inspect.signature(Pool.call).parameters["limit"].default == 10.0


def test_nobody_waits_behind_a_launch_that_hangs() -> None:
    pool = Pool(2, command=BARE)
    pool.facts()
    with ThreadPoolExecutor(1) as threads:
        hung = threads.submit(pool.call, {"op": "sleep", "seconds": 600}, {}, limit=8)
        assert soon(lambda: len(pool._line.idle) == 1)
        assert all(answers(pool, number) for number in range(1, 9))
        assert not hung.done()
        pool.close()
        with pytest.raises(LaunchError):
            hung.result()


def test_a_worker_that_was_stopped_is_ended_at_the_limit_and_replaced(bare: Pool) -> None:
    bare.facts()
    (stopped,) = pids(bare)
    os.kill(stopped, signal.SIGSTOP)
    with pytest.raises(LaunchError, match=r"took longer than 0.5 s and was stopped"):
        bare.call({"op": "echo"}, {}, limit=0.5)
    assert not alive(stopped)
    assert answers(bare)


def answers(pool: Pool, number: int = 1) -> bool:
    """Whether the pool answers this call, and not one before it."""
    sent = np.full((2, 3), number, np.float32)
    header, arrays = pool.call({"op": "echo", "number": number}, {"sent": sent, "index": np.arange(number)})
    return header["number"] == number and np.array_equal(arrays["sent"], sent) and len(arrays["index"]) == number


@pytest.mark.parametrize("op", ["sleep", "spin"])
def test_a_hang_is_cut_and_the_next_launch_runs(op: str, bare: Pool) -> None:
    bare.facts()
    (hung,) = pids(bare)
    with pytest.raises(LaunchError, match=r"took longer than 0.5 s and was stopped"):
        bare.call({"op": op, "seconds": 60}, {}, limit=0.5)
    assert not alive(hung)
    assert answers(bare)


@pytest.mark.parametrize(("of", "error", "kept"), [("argument", "ValueError", True), ("device", "RuntimeError", False)])
def test_an_error_in_a_launch_is_told_and_costs_a_worker_only_if_the_device_failed(
    of: str, error: str, kept: bool, bare: Pool
) -> None:
    assert answers(bare)
    before = pids(bare)
    with pytest.raises(LaunchError, match=f"a launch failed: {error}: no such memory"):
        bare.call({"op": "fail", "of": of}, {})
    assert answers(bare, 2)
    assert (pids(bare) == before) == kept


def test_ctrl_c_is_for_the_program_and_not_for_its_workers(bare: Pool) -> None:
    bare.facts()
    before = pids(bare)
    for pid in before:
        os.kill(pid, signal.SIGINT)
    assert answers(bare)
    assert pids(bare) == before


def test_what_a_kernel_prints_does_not_reach_the_answers(bare: Pool) -> None:
    assert bare.call({"op": "chatter"}, {})[0] == {"said": True}


def test_who_waits_too_long_for_a_worker_is_told() -> None:
    pool = Pool(1, command=BARE, patience=0.1)
    pool.facts()
    with ThreadPoolExecutor(1) as threads:
        busy = threads.submit(pool.call, {"op": "sleep", "seconds": 1}, {})
        assert soon(lambda: not pool._line.idle)
        with pytest.raises(LaunchError, match=r"no worker came free within 0.1 s"):
            pool.call({"op": "echo"}, {})
        busy.result()
    pool.close()


def test_who_comes_first_is_served_first() -> None:
    (worker,) = Pool(1, command=BARE)._workers
    line = _Line([worker])
    line.take(0)
    with ThreadPoolExecutor(2) as threads:
        waiting = []
        for number in (1, 2):
            waiting.append(threads.submit(line.take, 60))
            assert soon(lambda number=number: len(line._waiting) == number)
        line.give(worker)
        with pytest.raises(LaunchError, match="no worker came free"):  # not past those who wait
            line.take(0)
        assert waiting[0].result() is worker
        assert not waiting[1].done()
        line.give(worker)
        assert waiting[1].result() is worker
    line.give(worker)
    assert line.idle == [worker]


def test_an_interrupted_launch_leaves_no_answer_behind(bare: Pool) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    bare.facts()
    was = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    with pytest.raises(KeyboardInterrupt):
        bare.call({"op": "sleep", "seconds": 1}, {})
    signal.signal(signal.SIGALRM, was)
    assert answers(bare, 7)


def test_a_closed_pool_starts_nothing() -> None:
    pool = Pool(1, command=BARE)
    pool.facts()
    with ThreadPoolExecutor(1) as threads:
        busy = threads.submit(pool.call, {"op": "sleep", "seconds": 60}, {})
        assert soon(lambda: not pool._line.idle)
        pool.close()
        with pytest.raises(LaunchError, match="the workers were ended under this launch"):
            busy.result()
    with pytest.raises(LaunchError, match="the workers have been ended"):
        pool.call({"op": "echo"}, {})
    assert not pids(pool)


def test_two_pools_share_nothing(bare: Pool) -> None:
    other = Pool(1, command=BARE)
    assert other.facts()["pid"] != bare.facts()["pid"]
    with pytest.raises(LaunchError):
        other.call({"op": "sleep", "seconds": 60}, {}, limit=0.1)
    assert answers(bare, 2)
    other.close()
    assert answers(bare, 3)


def test_a_program_has_one_pool_however_it_is_asked_for() -> None:
    assert workers.pool() is workers.pool(interpret=False)
    assert workers.pool() is not workers.pool(interpret=True)


def test_a_program_that_cannot_start_is_told() -> None:
    with pytest.raises(LaunchError, match=r"did not start: .* 'no-such-program'"):
        Pool(1, command=["no-such-program"]).facts()
    with pytest.raises(LaunchError, match=r"ended 3 times under this launch \(exit status 3\)"):
        Pool(1, command=[sys.executable, "-c", "raise SystemExit(3)"]).facts()


SCRIPT = """
import sys
import numpy as np
from gdn_core import streams
from gdn_core.lab.worker import pool as workers
from gdn_core.lab.trajectory import trajectory

one = np.ones((3, 2))
run = trajectory("deltanet", streams.Stream(one, one, one, -one, one / 2, one, one, -one[0]))
assert run.states.shape == (1, 4, 2, 2)
assert not {"torch", "triton"} & set(sys.modules)
workers.pool().warm()
print(*(worker.process.pid for worker in workers.pool()._workers), flush=True)
"""


def started(script: str) -> tuple[subprocess.Popen[str], list[int]]:
    """Run a script until it has printed the pids of its workers."""
    process = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    return process, [int(pid) for pid in process.stdout.readline().split()]


def test_a_script_without_a_main_guard_runs_and_leaves_no_process(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    done = subprocess.run([sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, check=True)
    ran = [int(pid) for pid in done.stdout.split()]
    assert len(ran) == workers.WORKERS
    assert soon(lambda: not any(map(alive, ran)))


@pytest.mark.parametrize("end", ["SIGKILL", "SIGINT"])
def test_no_worker_outlives_its_program_however_it_ends(end: str) -> None:
    process, ran = started(SCRIPT + "import time; time.sleep(60)")
    assert ran
    assert all(map(alive, ran))
    process.send_signal(signal.Signals[end])
    process.wait(timeout=10)
    assert soon(lambda: not any(map(alive, ran)))


def test_a_worker_that_hangs_ends_with_its_program(tmp_path: Path) -> None:
    hangs = tmp_path / "hangs"
    header = {"op": "sleep", "seconds": 600, "began": str(hangs)}
    script = f"""
import threading
from gdn_core.lab.worker.pool import Pool
pool = Pool(1, command={BARE!r})
pool.facts()
threading.Thread(target=pool.call, args=({header!r}, {{}}), daemon=True).start()
print(pool._workers[0].process.pid, flush=True)
import time; time.sleep(60)
"""
    process, ran = started(script)
    assert soon(hangs.exists)
    process.kill()
    process.wait(timeout=10)
    assert soon(lambda: not any(map(alive, ran)))


def test_without_triton_the_reference_runs_in_pytorch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "triton").mkdir()
    (tmp_path / "triton" / "__init__.py").write_text("raise ImportError('not for this machine')")
    bare = Pool(1, env={"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])})
    monkeypatch.setattr(workers, "pool", lambda **_: bare)
    found = run(4).run
    bare.close()
    assert found.backend == "torch"
    assert "not for this machine" in found.refusals["triton"]
    assert "not for this machine" in found.refusals["interpreter"]


@pytest.mark.parametrize(("fails_on", "backend"), [(("cuda",), "interpreter"), (("cuda", "cpu"), "torch")])
def test_a_device_that_fails_its_trial_is_given_up_and_says_why(
    fails_on: tuple[str, ...], backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(f"""
import ctypes

import torch
from triton.runtime import interpreter

load = ctypes.CDLL

def fail(tensor, device):
    raise RuntimeError("no kernel image for " + device)

def refuse(*_, **__):
    raise RuntimeError("no kernel image for cpu")

ctypes.CDLL = lambda name: load(None if name == "libcuda.so.1" else name)  # as if there were a driver
torch.cuda.is_available = lambda: True
torch.Tensor.to = fail
if "cpu" in {fails_on}:
    interpreter.GridExecutor.__call__ = refuse
""")
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    broken = Pool(1, env={"PYTHONPATH": path, "TRITON_INTERPRET": "0"})
    monkeypatch.setattr(workers, "pool", lambda **_: broken)
    found = run(4).run
    broken.close()
    assert found.backend == backend
    assert f"no kernel image for {fails_on[-1]}" in found.refusals["triton"]
