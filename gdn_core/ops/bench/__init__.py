"""Race the public functions: ``python -m gdn_core.bench [--set cpu|gpu] [--only NAME ...] [--json FILE]``.

Every library runs in a process of its own, all on one machine, and every case is timed in rounds in which each of them
has a turn: this project, FlashInfer, flash-qla, flash-linear-attention and transformers' PyTorch fallback, as far as
they are installed. ``--path flashinfer=FOLDER:FOLDER`` takes a library from folders; some cannot be imported beside
others. A library that refuses a case, computes it wrong, crashes or takes too long has a sentence in its place.

First this project runs each case once while nothing else runs: these are its first calls, with an empty compile
cache. Then the others compile, all at the same time, and each compares its outputs and gradients with float64 at the
size that is timed. This project is also compared with the recurrence, within the error budget of the tests. Then the
rounds begin.

On a GPU three times are measured apart: of replays of a CUDA graph, which is the work of the GPU alone; of eager calls,
one after the other, as people train; and of the host in a call, which does not wait for the GPU. Each is the median
over the rounds. The seconds of the first call and the peak memory of the case, inputs included, are printed too; a
first call with others beside it is marked with a tilde. fla's kernels are tuned as fla does it, with 10 ms for a
configuration instead of 100.

Each case ends with its floor: the larger of the bytes that must move over the measured copy bandwidth, and the
operations of the chunk form over the measured matrix rate. Beside it stands the time of the chunks of the longest
sequence, each after the one before, at the measured time of the two products that wait for each other.
"""

from gdn_core import extras

try:
    from gdn_core.ops.bench.command import main
except ModuleNotFoundError as error:
    raise extras.explained(error) from None

__all__ = ["main"]
