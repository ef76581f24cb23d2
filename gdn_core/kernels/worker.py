"""The process that launches kernels: ``python -m gdn_core.kernels.worker``, driven over its standard input and output.

It says first what it can run, then answers every frame with one frame (:mod:`gdn_core.frames`), and ends when its
input does. Triton's interpreter is not thread-safe and dereferences raw pointers: here a launch has a process to
itself, and what breaks is not the program that asked.
"""

from __future__ import annotations

import gc
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import numpy as np

from gdn_core.frames import Arrays, Header, read_frame, write_frame
from gdn_core.operands import Packed

Answer = tuple[Header, Arrays]
Operation = Callable[[Header, Arrays], Answer]

REFUSED = "GDN_CORE_GPU_REFUSED"  # why this process interprets although there is a GPU
GRACE = 5.0  # seconds past a launch's limit after which this process ends itself: its parent may be gone


def facts() -> Header:
    """Load what this machine has, choose between compiling and interpreting kernels, and try one launch.

    A GPU that cannot run the trial (no C compiler for Triton's launcher, too old a device) is given up: the process
    starts over as an interpreter, and says why.
    """
    import torch

    torch.set_num_threads(1)  # a launch is one core's work
    np.seterr(all="ignore")  # a memory may overflow: that is an answer, not a warning
    refused = os.environ.get(REFUSED, "")
    cuda = torch.cuda.is_available()
    if os.environ.get("TRITON_INTERPRET") == "1":
        refused = refused or "TRITON_INTERPRET=1 is set"
    elif not cuda:
        os.environ["TRITON_INTERPRET"] = "1"  # read once, when the kernel is decorated
        refused = "it needs an NVIDIA GPU, and PyTorch sees none here"
    try:
        from gdn_core.kernels.trajectory import launch
    except ImportError as error:
        missing = f"Triton cannot be imported here ({error})"
        return {"cuda": False, "triton": False, "refused": missing, "device": _cpu()}
    try:
        one = np.zeros((1, 1, 1), np.float32)
        packed = Packed(
            np.zeros((1, 1, 4), np.float32), one, one[0, 0], np.zeros((1, 2, 4), int), np.ones(1, int), False, False
        )
        launch(packed, torch.from_numpy(one), device="cpu" if refused else "cuda")
    except (RuntimeError, OSError, subprocess.SubprocessError) as error:
        if refused:
            raise
        os.environ.update({REFUSED: f"a trial launch on the GPU failed: {error}", "TRITON_INTERPRET": "1"})
        os.execv(sys.executable, sys.orig_argv)
    device = _cpu() if refused else torch.cuda.get_device_name()
    return {"cuda": not refused, "triton": True, "refused": refused, "device": device}


def _cpu() -> str:
    """Name the processor."""
    return f"CPU, {os.cpu_count()} cores"


def trajectory(header: Header, arrays: Arrays) -> Answer:
    """Launch the trajectory kernel."""
    import torch

    from gdn_core.kernels.trajectory import launch

    S = torch.from_numpy(arrays.pop("S"))
    packed = Packed(**arrays, wide_decay=header["wide_decay"], wide_key=header["wide_key"])
    began = time.perf_counter()
    out, S = launch(packed, S, device="cpu" if os.environ.get("TRITON_INTERPRET") == "1" else "cuda")
    return {"seconds": time.perf_counter() - began}, {"out": out.numpy(), "S": S.numpy()}


def reference(_: Header, arrays: Arrays) -> Answer:
    """Run rules through the reference on torch tensors, where there is no Triton."""
    import torch

    from gdn_core.reference import Token, moments

    began = time.perf_counter()
    S_end = torch.from_numpy(arrays["S"]).clone()
    R, V, _K = S_end.shape
    out = torch.zeros(R, len(arrays["q0"]), V, 2)
    for r in range(R):
        decay, k, b, wv, q = (torch.from_numpy(arrays[f"{name}{r}"]) for name in ("decay", "k", "b", "wv", "q"))
        S = S_end[r, : wv.shape[1]]
        one = torch.ones(1)
        for t in range(len(q)):
            at = (x[min(t, len(x) - 1)] for x in (decay, k, b))
            g, key, gate = at
            m = moments(S, Token(q=q[t], k=key, v=wv[t], g=g, b=gate, w=one), exp=lambda decay: decay)
            out[r, t, : len(S), 0], out[r, t, : len(S), 1] = m.read, m.o
            S = m.written
        S_end[r, : len(S)] = S
    return {"seconds": time.perf_counter() - began}, {"out": out.numpy(), "S": S_end.numpy()}


OPERATIONS: dict[str, Operation] = {"trajectory": trajectory, "reference": reference}


def serve(operations: dict[str, Operation], *, describe: Callable[[], Header] = facts) -> None:
    """Say what this process can run, then answer frames, one at a time, until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the program in front; its end is ours
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what anything prints must not reach the pipe
    requests: queue.SimpleQueue[tuple[Header, Arrays]] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(requests,), daemon=True).start()
    write_frame(answers, describe() | {"pid": os.getpid()}, {})
    gc.collect()
    gc.freeze()  # half a million objects of torch and Triton, not to be walked again
    while True:
        header, arrays = requests.get()
        _limit(header["limit"] + GRACE)
        try:
            answer, results = operations[header["op"]](header, arrays)
        except (ValueError, RuntimeError, MemoryError) as error:
            answer, results = {"error": f"{type(error).__name__}: {error}"}, {}
        _limit(0)
        write_frame(answers, answer, results)


def _read(requests: queue.SimpleQueue[tuple[Header, Arrays]]) -> None:
    """Queue what comes in, and end the process when nothing can come any more, whatever it is doing."""
    try:
        while True:
            requests.put(read_frame(sys.stdin.buffer))
    except EOFError:
        os._exit(0)


def _limit(seconds: float) -> None:
    """Have the system end this process after so many seconds, even inside C code; 0 takes it back."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds)


if __name__ == "__main__":
    serve(OPERATIONS)
