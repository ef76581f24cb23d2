"""Measure a whole run: ``python -m derivations.bench``. Prints the time of all, of the median claim, and the memory."""

import os

# As the command does it: one thread a process, set before NumPy is imported.
for _library in ("OPENBLAS", "MKL", "OMP"):
    os.environ.setdefault(f"{_library}_NUM_THREADS", "1")

import argparse  # noqa: E402 - after the settings that NumPy reads
import statistics  # noqa: E402
import sys  # noqa: E402
import threading  # noqa: E402
from pathlib import Path  # noqa: E402

from derivations.registry import load  # noqa: E402
from derivations.reports import summary  # noqa: E402
from derivations.run import run  # noqa: E402


class Memory(threading.Thread):
    """Samples the peak memory of this process and its children, each shared page counted once; on Linux only."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak = 0  # bytes
        self._stopped = threading.Event()

    def run(self) -> None:
        """Sample until stopped."""
        while not self._stopped.wait(0.2):
            self.peak = max(self.peak, sum(_proportional(pid) for pid in _family(os.getpid())))

    def stop(self) -> None:
        """Stop sampling."""
        self._stopped.set()
        self.join()


def _family(pid: int) -> list[int]:
    """Return the ids of a process and of all its descendants."""
    try:  # a child is listed under the thread that started it
        children = [
            child for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()
        ]
    except OSError:
        children = []
    return [pid, *(inner for child in children for inner in _family(int(child)))]


def _proportional(pid: int) -> int:
    """Return the proportional set size of a process in bytes: a page shared by n processes counts 1/n."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:  # it has just ended
        return 0
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def main() -> int:
    """Run all claims, and print times and peak memory."""
    parser = argparse.ArgumentParser(prog="python -m derivations.bench", description=__doc__)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="worker processes; by default one a core")
    options = parser.parse_args()
    memory = Memory()
    memory.start()
    report = run(list(load()), mutate=True, jobs=options.jobs)
    memory.stop()
    seconds = {result.claim: result.seconds for result in report.results}
    mutation = report.mutation.seconds if report.mutation else 0.0
    lines = [
        summary(report),
        f"claims            {report.seconds - mutation:8.2f} s",
        f"mutants           {mutation:8.2f} s",
        f"median claim      {statistics.median(seconds.values()):8.3f} s",
    ]
    for name in sorted(seconds, key=seconds.__getitem__, reverse=True)[:5]:
        lines.append(f"slowest           {seconds[name]:8.2f} s  {name}")
    lines.append(
        f"peak memory       {memory.peak / 2**20:8.0f} MiB" if memory.peak else "peak memory       not measured here"
    )
    sys.stdout.write("\n".join(lines) + "\n")
    return 1 if report.faults else 0


if __name__ == "__main__":
    raise SystemExit(main())
