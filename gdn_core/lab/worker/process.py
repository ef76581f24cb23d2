"""The program of a worker process, which launches kernels on request over standard input and output.

It reports first what it can run, then answers every frame with one frame (:mod:`~gdn_core.lab.worker.frames`), and ends
when its input ends. Triton's interpreter is not thread-safe and dereferences raw pointers, so launches run one at a
time in a process of their own, and a crash does not reach the calling program.
"""

from __future__ import annotations

import ctypes
import gc
import importlib.metadata
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import numpy as np

from gdn_core.lab.worker import front_end
from gdn_core.lab.worker.frames import Arrays, Header, read_frame, write_frame
from gdn_core.ops.kernels.operands import Operands, Packed
from gdn_core.reference import Token, moments

Answer = tuple[Header, Arrays]
Operation = Callable[[Header, Arrays], Answer]

REFUSED = "GDN_CORE_GPU_REFUSED"  # why this process interprets although there is a GPU
GRACE = 5.0  # seconds beyond the limit of a launch after which this process ends itself, should its parent be gone


class _StartOverError(Exception):
    """Triton was imported as a compiler, and this process has to start over as an interpreter."""


def facts() -> Header:
    """Choose between compiling and interpreting kernels on this machine, and try one launch.

    If the trial fails on the GPU (no C compiler for Triton's launcher, too old a device), the process starts over as an
    interpreter and reports the reason. If the interpreter fails too, the answer is that there is no Triton.
    """
    np.seterr(all="ignore")  # an overflow is a result, not a warning
    refused = os.environ.get(REFUSED, "")
    if os.environ.get("TRITON_INTERPRET") == "1":
        refused = refused or "TRITON_INTERPRET=1 is set"
    elif not _pytorch_sees_gpu():
        os.environ["TRITON_INTERPRET"] = "1"  # read once, when the kernel is decorated
        refused = "it needs an NVIDIA GPU, and PyTorch sees none here"
    without = {"cuda": False, "triton": False, "device": _cpu()}
    try:
        from triton.errors import TritonError

        from gdn_core.ops.kernels.trajectory import launch
    except ImportError as error:
        return {**without, "refused": f"it cannot be imported here ({error})"}
    if refused:
        front_end.install()
    try:
        launch(*_one_token(), device="cpu" if refused else "cuda")
    except (TritonError, RuntimeError, OSError, subprocess.SubprocessError) as error:
        if refused:
            return {**without, "refused": f"a trial launch failed ({error})"}
        os.environ.update({REFUSED: f"a trial launch on the GPU failed ({error})", "TRITON_INTERPRET": "1"})
        raise _StartOverError from error
    device = _cpu() if refused else _gpu()
    return {"cuda": not refused, "triton": True, "refused": refused, "device": device}


def _pytorch_sees_gpu() -> bool:
    """Tell whether PyTorch sees a GPU: without importing it, which takes a second, where there is no driver of one."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        if "rocm" not in importlib.metadata.version("torch"):
            return False
    import torch

    torch.set_num_threads(1)  # a launch uses one core
    return torch.cuda.is_available()


def _gpu() -> str:
    """Return the name of the GPU."""
    import torch

    return torch.cuda.get_device_name()


def _cpu() -> str:
    """Return the name of the processor."""
    return f"CPU, {os.cpu_count()} cores"


def _one_token() -> tuple[Packed, np.ndarray]:
    """Return the operands and memory of the smallest launch."""
    one = np.ones((1, 1))
    operands = Operands.of(Token(q=one, k=one, v=one, g=-one[None], b=one, w=one))
    return Packed.of([operands]), np.zeros((1, 1, 1), np.float32)


def trajectory(header: Header, arrays: Arrays) -> Answer:
    """Launch the trajectory kernel."""
    from triton.errors import TritonError

    from gdn_core.ops.kernels.trajectory import launch

    S = arrays.pop("S")
    packed = Packed(**arrays, wide_decay=header["wide_decay"], wide_key=header["wide_key"])
    began = time.perf_counter()
    try:
        out, S = launch(packed, S, device="cpu" if os.environ.get("TRITON_INTERPRET") == "1" else "cuda")
    except TritonError as error:
        raise RuntimeError(f"Triton: {error}") from error
    return {"seconds": time.perf_counter() - began}, {"out": out, "S": S}


def reference(_: Header, arrays: Arrays) -> Answer:
    """Run rules by the reference on torch tensors, if there is no Triton."""
    import torch

    torch.set_num_threads(1)
    began = time.perf_counter()
    memories = torch.from_numpy(arrays["S"])
    R, V, _K = memories.shape
    T = len(arrays["q0"])
    out = torch.zeros(R, T, V, 2)
    for r in range(R):
        decay, k, b, wv, q = (
            torch.from_numpy(arrays[f"{name}{r}"]).expand(T, *arrays[f"{name}{r}"].shape[1:])
            for name in ("decay", "k", "b", "wv", "q")
        )
        x = Token(q=q, k=k, v=wv, g=decay, b=b, w=torch.ones(T, 1))
        rows = wv.shape[1]
        for t in range(T):
            m = moments(memories[r, :rows], x[t], exp=lambda decay: decay)  # the operand is exp(g) already
            out[r, t, :rows] = torch.stack([m.read, m.o], dim=-1)
            memories[r, :rows] = m.written
    return {"seconds": time.perf_counter() - began}, {"out": out.numpy(), "S": memories.numpy()}


OPERATIONS: dict[str, Operation] = {"trajectory": trajectory, "reference": reference}


def serve(operations: dict[str, Operation], *, describe: Callable[[], Header] = facts) -> None:
    """Report what this process can run, then answer frames, one at a time, until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the calling program; this one ends with it
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # printed text must not reach the pipe
    requests: queue.SimpleQueue[tuple[Header, Arrays]] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(requests,), daemon=True).start()
    try:
        write_frame(answers, describe() | {"pid": os.getpid()}, {})
    except _StartOverError:
        os.dup2(answers.fileno(), 1)
        os.execv(sys.executable, sys.orig_argv)
    gc.collect()
    gc.freeze()  # the many objects of Triton stay until the end
    while True:
        header, arrays = requests.get()
        _limit(header["limit"] + GRACE)
        try:
            answer, results = operations[header["op"]](header, arrays)
        except (ValueError, RuntimeError, MemoryError) as error:
            write_frame(answers, {"error": f"{type(error).__name__}: {error}"}, {})
            if isinstance(error, RuntimeError):
                return  # after a failed launch every CUDA call here fails; the next launch gets a new process
        else:
            write_frame(answers, answer, results)
        _limit(0)


def _read(requests: queue.SimpleQueue[tuple[Header, Arrays]]) -> None:
    """Queue incoming frames, and end the process as soon as the input ends, even during a launch."""
    try:
        while True:
            requests.put(read_frame(sys.stdin.buffer))
    except EOFError:
        os._exit(0)


def _limit(seconds: float) -> None:
    """Have the system end this process after so many seconds, even inside C code; 0 cancels that."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds)


if __name__ == "__main__":
    serve(OPERATIONS)
