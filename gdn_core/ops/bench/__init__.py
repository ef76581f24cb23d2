"""Race the public functions: ``python -m gdn_core.bench [--set cpu|gpu] [--only NAME ...] [--json FILE]``.

First a check: if outputs or gradients differ from the float64 reference, nothing is timed and the command fails. Then
every case is timed in one process, in rounds. In each round this project runs, and then those of FlashInfer,
flash-linear-attention, flash-qla and transformers' PyTorch fallback that are installed, so that other load on the
machine affects all alike.
Each time is printed with its ratio to the others and to the floor. The floor is the larger of two times: the bytes that
must move over the measured copy bandwidth, and the operations of the chunk form over the measured matrix rate.

On a GPU three times are measured apart: of replays of a CUDA graph, which is the work of the GPU alone; of eager calls,
one after the other, as people train; and of the host in a call, which does not wait for the GPU. The seconds of the
first call, with an empty compile cache, and the peak memory of the case, inputs included, are printed too.
"""

from gdn_core import extras

try:
    from gdn_core.ops.bench.command import main
except ModuleNotFoundError as error:
    raise extras.explained(error) from None

__all__ = ["main"]
