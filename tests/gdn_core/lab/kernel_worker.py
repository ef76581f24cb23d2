"""A worker that crashes, hangs or computes wrong numbers on request, for tests."""

import importlib.util
import os
import re
import sys
import time
from pathlib import Path

import numpy as np

from gdn_core.lab.worker import process as worker
from gdn_core.lab.worker.frames import Arrays, Header
from gdn_core.ops.kernels.operands import Packed


def abort(header: Header, _: Arrays) -> worker.Answer:
    """End the process as a wild pointer does, every time or until the file that counts has so many bytes."""
    tries = Path(header["tries"])
    tries.write_bytes(tries.read_bytes() + b"." if tries.exists() else b".")
    if tries.stat().st_size <= header["times"]:
        os.abort()
    return {}, {}


def sleep(header: Header, _: Arrays) -> worker.Answer:
    """Take a while, as Python that waits, and say with a file that it has begun."""
    if "began" in header:
        Path(header["began"]).touch()
    time.sleep(header["seconds"])
    return {}, {}


def spin(_: Header, __: Arrays) -> worker.Answer:
    """Never come back, inside C code that holds Python's lock."""
    re.match(r"(a+)+$", "a" * 50 + "b")
    return {}, {}


def fail(header: Header, _: Arrays) -> worker.Answer:
    """Raise what a wrong argument raises, or what a GPU does."""
    raise {"argument": ValueError, "device": RuntimeError}[header["of"]]("no such memory")


def chatter(_: Header, __: Arrays) -> worker.Answer:
    """Print where the answers go."""
    sys.stdout.write("a kernel may print\n")
    sys.stdout.flush()
    os.write(1, b"and so may C\n")
    return {"said": True}, {}


def echo(header: Header, arrays: Arrays) -> worker.Answer:
    """Answer with what came."""
    return header, arrays


def launch_from(header: Header, arrays: Arrays) -> worker.Answer:
    """Launch the kernel of another file."""
    spec = importlib.util.spec_from_file_location(f"kernel_{abs(hash(header['file']))}", header["file"])
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    S = arrays.pop("S")
    packed = Packed(**arrays, wide_decay=header["wide_decay"], wide_key=header["wide_key"])
    out, S = module.launch(packed, S, device="cpu")
    return {}, {"out": out, "S": S}


def poisoned(header: Header, arrays: Arrays) -> worker.Answer:
    """Launch with every buffer inside a larger one of NaN, and tell whether anything around the results was written."""
    import torch

    from gdn_core.ops.kernels import trajectory

    def within_poison(array: np.ndarray) -> torch.Tensor:
        guard = 4096
        poison = np.nan if array.dtype == np.float32 else 2**40
        room = torch.from_numpy(np.full(array.size + 2 * guard, poison, array.dtype))
        held = room[guard : guard + array.size].view(array.shape)
        held.copy_(torch.from_numpy(array))
        return held

    S = within_poison(arrays.pop("S"))
    wide_decay, wide_key = header["wide_decay"], header["wide_key"]
    (R, T, V), K = arrays["v"].shape, S.shape[2]
    out = within_poison(np.full((R, T, V, 2), np.nan, np.float32))
    x, v, wide, table, rows = (within_poison(arrays[name]) for name in ("x", "v", "wide", "table", "rows"))
    block = [1 << (n - 1).bit_length() for n in (R, V, K)]
    trajectory.trajectory_kernel[(1,)](x, v, wide, table, rows, S, out, T, V, K, R, *block, wide_decay, wide_key, T)
    clean = all(
        bool(room[:4096].isnan().all() and room[-4096:].isnan().all())
        for room in (torch.empty(0).set_(held.untyped_storage()) for held in (S, out))
    )
    return {"clean": clean}, {"out": out.numpy(), "S": S.numpy()}


def bare() -> Header:
    """Describe a process without torch, which starts in no time."""
    return {"cuda": False, "triton": False, "refused": "this worker has no kernels", "device": "CPU"}


if __name__ == "__main__":
    breaks = {"abort": abort, "sleep": sleep, "spin": spin, "fail": fail, "chatter": chatter, "echo": echo}
    if "--bare" in sys.argv:
        worker.serve(breaks, describe=bare)
    else:
        worker.serve({**worker.OPERATIONS, **breaks, "launch_from": launch_from, "poisoned": poisoned})
